//! What of a table fits on a screen: the namespaces that somebody should look at before all others.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

use super::namespace_status::NamespaceStatus;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    lines: usize,
    columns: usize,
}

impl Screen {
    /// The size of that terminal; `None` where it does not tell.
    pub fn of(terminal: impl AsFd) -> Option<Self> {
        let size = tcgetwinsize(terminal).ok()?;
        (size.ws_row > 0 && size.ws_col > 0).then_some(Self {
            lines: size.ws_row.into(),
            columns: size.ws_col.into(),
        })
    }

    /// Whether that text, with a line below it for the cursor, is seen at once.
    fn holds(self, text: &str) -> bool {
        let taken: usize = text
            .lines()
            .map(|line| visible_characters(line).div_ceil(self.columns).max(1))
            .sum();
        taken < self.lines
    }

    /// The longest of the texts that `draw` makes of those namespaces that this screen holds, with `footer` below it.
    /// Left out are first those that need no look, and the last by name of each kind.
    pub fn fit(
        self,
        statuses: &[NamespaceStatus],
        draw: impl Fn(&[NamespaceStatus]) -> String,
        footer: &str,
    ) -> String {
        let whole = format!("{}{footer}", draw(statuses));
        if self.holds(&whole) {
            return whole;
        }
        let mut by_rank: Vec<usize> = (0..statuses.len()).collect();
        by_rank.sort_by_key(|index| statuses.get(*index).map(rank));
        let first = |count: usize| {
            let mut shown: Vec<_> = by_rank.iter().take(count).copied().collect();
            shown.sort_unstable();
            let shown: Vec<_> = shown.iter().filter_map(|index| statuses.get(*index)).cloned().collect();
            format!("{}{}\n{footer}", draw(&shown), omission(statuses, &shown))
        };
        // The more namespaces, the longer the text: between what is held and what is not there is one step.
        let (mut held, mut too_many) = (0, statuses.len());
        while held + 1 < too_many {
            let middle = held.midpoint(too_many);
            match self.holds(&first(middle)) {
                true => held = middle,
                false => too_many = middle,
            }
        }
        first(held)
    }
}

fn rank(status: &NamespaceStatus) -> u8 {
    match (status.unprotected, status.widened_by.is_empty()) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    }
}

/// `... 54 more, 12 of them not protected`.
fn omission(all: &[NamespaceStatus], shown: &[NamespaceStatus]) -> String {
    let unprotected = |statuses: &[NamespaceStatus]| statuses.iter().filter(|status| status.unprotected).count();
    let omitted = all.len() - shown.len();
    match unprotected(all) - unprotected(shown) {
        0 => format!("... {omitted} more, none of them unprotected"),
        some => format!("... {omitted} more, {some} of them not protected"),
    }
}

/// Characters of a line without the sequences that colour it.
fn visible_characters(line: &str) -> usize {
    let mut coloured = line.split("\x1b[");
    let plain = coloured.next().map_or(0, |start| start.chars().count());
    let after_codes = coloured.map(|part| part.split_once('m').map_or(0, |(_, text)| text.chars().count()));
    plain + after_codes.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::standing::State;

    fn namespace(name: &str, state: State) -> NamespaceStatus {
        NamespaceStatus {
            namespace: name.to_owned(),
            tier: None,
            mode: None,
            state,
            unprotected: state.is_unprotected(),
            since: None,
            drift: Vec::new(),
            changes: Default::default(),
            waiting: Vec::new(),
            widened_by: Vec::new(),
            shadows: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn draw(statuses: &[NamespaceStatus]) -> String {
        let line = |status: &NamespaceStatus| format!("\x1b[32m{}\x1b[0m\n", status.namespace);
        format!("HEADER\n{}", statuses.iter().map(line).collect::<String>())
    }

    fn on(lines: usize, columns: usize, statuses: &[NamespaceStatus]) -> String {
        let text = Screen { lines, columns }.fit(statuses, draw, "");
        text.replace("\x1b[32m", "").replace("\x1b[0m", "").replace('\n', " ")
    }

    #[test]
    fn what_needs_a_look_is_shown_first() {
        let mut statuses: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| namespace(name, State::Protected))
            .into();
        assert_eq!(on(6, 80, &statuses), "HEADER a b c d ");
        assert_eq!(on(5, 80, &statuses), "HEADER a b ... 2 more, none of them unprotected ");
        statuses.push(namespace("e", State::Drifted));
        assert_eq!(on(5, 80, &statuses), "HEADER a e ... 3 more, none of them unprotected ");
        statuses.push(namespace("f", State::Failed));
        assert_eq!(on(4, 80, &statuses), "HEADER e ... 5 more, 1 of them not protected ");
    }

    #[test]
    fn a_line_that_wraps_takes_two_and_colours_take_no_room() {
        let statuses = ["a".repeat(10), "b".repeat(11)].map(|name| namespace(&name, State::Protected));
        assert!(on(6, 10, &statuses).contains('b'), "one line, and two");
        assert!(!on(4, 10, &statuses).contains('b'));
    }

    #[test]
    fn a_screen_for_nothing_still_says_what_is_left_out() {
        let statuses = [namespace("a", State::Ungoverned)];
        assert_eq!(on(1, 80, &statuses), "HEADER ... 1 more, 1 of them not protected ");
    }
}
