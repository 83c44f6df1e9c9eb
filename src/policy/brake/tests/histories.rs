//! Whatever happens in whatever order, restarts included: the bound holds.

use proptest::prelude::*;

use super::*;

const TIERS: [&str; 2] = ["t", "u"];
const NAMESPACES: usize = 12;

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// This namespace loses that tier, or is isolated again.
    Toggle(usize, &'static str),
    /// All of them lose their tiers.
    Everything,
    /// All are isolated again: what is wanted next is few enough not to be held with the others.
    Nothing,
    /// It asks, the status tells of it, and it goes.
    Ask(usize),
    /// It asks, and waits for the status.
    KeepWaiting(usize),
    /// It asks, and the consistent read wants it no more.
    Withdraw(usize),
    Confirm(&'static str),
    /// The process ends, and another goes on with what the statuses tell.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tier = || prop::sample::select(&TIERS);
    let step = prop_oneof![
        1 => (1..400_u64).prop_map(Step::Wait),
        4 => (0..NAMESPACES, tier()).prop_map(|(number, tier)| Step::Toggle(number, tier)),
        1 => Just(Step::Everything),
        8 => (0..NAMESPACES).prop_map(Step::Ask),
        2 => (0..NAMESPACES).prop_map(Step::KeepWaiting),
        1 => (0..NAMESPACES).prop_map(Step::Withdraw),
        1 => tier().prop_map(Step::Confirm),
        1 => Just(Step::Restart),
    ];
    // By chance these hardly ever come together: one is released as soon as it is wanted, and the next process is asked shortly
    // before the window of the one before ends.
    let several = prop_oneof![
        20 => step.prop_map(|step| vec![step]),
        3 => (0..NAMESPACES, tier()).prop_map(|(number, tier)| vec![Step::Toggle(number, tier), Step::Ask(number)]),
        1 => (540..600_u64).prop_map(|wait| vec![Step::Nothing, Step::Restart, Step::Wait(wait)]),
    ];
    prop::collection::vec(several, 1..180).prop_map(|steps| steps.concat())
}

/// What happened so far.
struct History {
    limit: MaxUnprotected,
    brake: Brake,
    now: Duration,
    /// The tier that each namespace lost.
    wanted: BTreeMap<usize, &'static str>,
    confirmations: BTreeMap<Arc<str>, Arc<str>>,
    confirmed: BTreeSet<Release>,
    /// What the statuses tell, and when that was counted.
    told: BTreeMap<&'static str, (Duration, BTreeMap<Direction, u64>)>,
    /// Without a confirmation.
    opened: Vec<(Duration, (String, Direction))>,
    /// How often each namespace was released: as often its policies were others.
    released: BTreeMap<usize, usize>,
}

impl History {
    fn new(limit: u64) -> Self {
        let limit = MaxUnprotected::Namespaces(limit);
        Self {
            limit,
            brake: Brake::new(limit),
            now: seconds(0),
            wanted: BTreeMap::new(),
            confirmations: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            told: BTreeMap::new(),
            opened: Vec::new(),
            released: BTreeMap::new(),
        }
    }

    fn census(&self) -> Census {
        let mut census = census((NAMESPACES - self.wanted.len()) as u64, []);
        for (number, tier) in &self.wanted {
            let released = self.released.get(number).copied().unwrap_or_default();
            let both = Direction::ALL.map(|direction| Release {
                policy_uid: format!("uid-{number}-{}-{released}", direction.as_str()).into(),
                ..release(*number, direction, tier)
            });
            census.set(&format!("n{number:03}"), both, Vec::new());
        }
        census.confirmations = self.confirmations.clone();
        census
    }

    fn goes_on(&mut self, step: &Step) {
        let census = self.census();
        self.brake.held(&census, self.now);
        match *step {
            Step::Wait(more) => self.now += seconds(more),
            Step::Toggle(number, tier) => {
                if self.wanted.remove(&number).is_none() {
                    self.wanted.insert(number, tier);
                }
                let name = format!("n{number:03}");
                self.confirmed.retain(|release| release.namespace != name);
            }
            Step::Everything => (0..NAMESPACES).for_each(|number| {
                self.wanted.entry(number).or_insert(TIERS[number % TIERS.len()]);
            }),
            Step::Nothing => {
                self.wanted.clear();
                self.confirmed.clear();
            }
            Step::Ask(number) => self.asks(number, &census),
            Step::KeepWaiting(number) => {
                let grants = self.brake.admit(&census, &format!("n{number:03}"), self.now);
                grants.into_iter().for_each(|grant| self.brake.keep_waiting(grant));
            }
            Step::Withdraw(number) => {
                let grants = self.brake.admit(&census, &format!("n{number:03}"), self.now);
                grants.into_iter().for_each(|grant| self.brake.withdraw(grant));
            }
            Step::Confirm(tier) => {
                if let Some(held) = self.brake.held(&census, self.now).remove(tier) {
                    self.confirmed.extend(held.releases);
                    self.confirmations.insert(tier.into(), held.digest.as_str().into());
                }
            }
            Step::Restart => self.restarts(),
        }
    }

    fn asks(&mut self, number: usize, census: &Census) {
        let grants = self.brake.admit(census, &format!("n{number:03}"), self.now);
        let Some(tier) = self.wanted.get(&number).filter(|_| !grants.is_empty()) else {
            return;
        };
        self.told.insert(tier, (self.now, self.brake.recent_of(tier)));
        let goes: BTreeSet<_> = grants.iter().map(|grant| grant.release.direction).collect();
        for grant in grants {
            assert!(census.wants(&grant.release));
            self.brake.count_from(&grant, self.now);
            if !self.confirmed.remove(&grant.release) {
                self.opened.push((self.now, grant.release.key()));
            }
        }
        // Both are always wanted together.
        assert_eq!(goes, Direction::ALL.into());
        self.wanted.remove(&number);
        *self.released.entry(number).or_default() += 1;
    }

    fn restarts(&mut self) {
        let remaining = TIERS.map(|tier| self.brake.remaining_of(tier).map(|remaining| (tier.into(), remaining)));
        self.brake = Brake::new(self.limit);
        for (tier, (told_at, recent)) in &self.told {
            self.brake
                .inherit(recent.iter().map(|(direction, namespaces)| Inherited {
                    tier_uid: (*tier).into(),
                    direction: *direction,
                    namespaces: *namespaces,
                    until: *told_at + WINDOW,
                    unreadable: None,
                }));
        }
        self.brake.inherit_confirmations(remaining.into_iter().flatten());
    }

    fn of_late(&self, direction: Direction) -> BTreeSet<&String> {
        let opened = self.opened.iter();
        let of_late = opened.filter(|(at, (_, opened))| *opened == direction && self.now < *at + WINDOW);
        of_late.map(|(_, (namespace, _))| namespace).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn within_no_window_more_than_the_limit_is_opened_unconfirmed(steps in steps(), limit in 0..9_u64) {
        let mut history = History::new(limit);
        for step in steps {
            history.goes_on(&step);
            for direction in Direction::ALL {
                let of_late = history.of_late(direction);
                prop_assert!(of_late.len() as u64 <= limit, "{of_late:?}");
            }
        }
    }
}
