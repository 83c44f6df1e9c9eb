//! Aligned tables, and text of strangers that is fit for a terminal.

use std::io::IsTerminal;

/// What separates two columns, as in kubectl.
const GAP: &str = "   ";

/// A cell, with the colour that it has on a terminal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

/// The colours that mean something here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    /// As it should be.
    Green,
    /// Somebody should look.
    Yellow,
    /// Open, or about to be.
    Red,
    /// Does not count.
    Grey,
}

impl Cell {
    /// A cell of that colour.
    pub fn coloured(text: impl Into<String>, colour: Colour) -> Self {
        Self {
            text: text.into(),
            colour: Some(colour),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            colour: None,
        }
    }
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Grey => "90",
        }
    }
}

/// Whether stdout is a terminal on which colours are wanted (<https://no-color.org>).
pub fn colours_are_wanted() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The widths that the columns need, at least `widths`.
pub fn widths<const N: usize>(rows: &[[Cell; N]], widths: [usize; N]) -> [usize; N] {
    rows.iter().fold(widths, |mut widths, row| {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
        widths
    })
}

/// The rows as lines.
pub fn lines<const N: usize>(rows: &[[Cell; N]], widths: [usize; N], coloured: bool) -> String {
    let line = |row: &[Cell; N]| {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if index == 0 { "" } else { GAP };
            let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let text = match cell.colour.filter(|_| coloured) {
                Some(colour) => format!("\x1b[{}m{}\x1b[0m", colour.code(), cell.text),
                None => cell.text.clone(),
            };
            line.push_str(&format!("{gap}{text}{padding}"));
        }
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// A text that somebody else chose, with everything escaped that could move a cursor, change a colour or turn the
/// direction of reading.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        let invisible = matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        match character.is_control() || invisible {
            true => printable.extend(character.escape_unicode()),
            false => printable.push(character),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_nothing_trails() {
        let rows: [[Cell; 3]; 2] = [
            ["NAME".into(), "STATE".into(), "".into()],
            ["a-longer-name".into(), Cell::coloured("open", Colour::Red), "".into()],
        ];
        let widths = widths(&rows, [0; 3]);
        assert_eq!(
            lines(&rows, widths, false),
            "NAME            STATE\na-longer-name   open\n"
        );
        let coloured = lines(&rows, widths, true);
        assert!(
            coloured.ends_with("a-longer-name   \x1b[31mopen\x1b[0m\n"),
            "{coloured:?}"
        );
    }

    #[test]
    fn nothing_of_a_stranger_reaches_the_terminal_as_a_command() {
        for (text, expected) in [
            ("kubectl-edit", "kubectl-edit"),
            ("Käse 漢字", "Käse 漢字"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{9b}31mb\u{7f}", "a\\u{9b}31mb\\u{7f}"),
            ("line\nbreak\ttab\r", "line\\u{a}break\\u{9}tab\\u{d}"),
            ("\u{202e}drawkcab\u{200b}", "\\u{202e}drawkcab\\u{200b}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
