//! Two who write one object: after a few heals in a row each further one waits, so that a fight costs a write
//! now and then and never a hot loop.
//!
//! Times are told by a clock that only goes forward, as the time since any fixed moment: a wall clock that is set
//! back would hold a heal for that much longer.
//!
//! **Bound.** A contested policy stays as the other left it until [`LONGEST_WAIT`] after our last heal at most, and where it
//! may let through what the tier does not, until [`LONGEST_WAIT_OPEN`] after it. A heal a few seconds is no hot loop, and who
//! comes back less often than that is healed at once, however long the fight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attribution::opponent;
use super::{DriftKind, NamespaceRecord, ObservedPolicies, Plan, PolicyName};

/// So many heals within [`WINDOW`] are answered at once; the next one makes the object contested.
const HEALS_AT_ONCE: usize = 5;
/// How long a heal is remembered, and how long the other has to be quiet for the fight to be over.
const WINDOW: Duration = Duration::from_secs(60);
/// The wait after the first heal of a contested object; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait of what lets nothing through meanwhile.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait of what may let something through: a contested policy is never left open for longer.
pub const LONGEST_WAIT_OPEN: Duration = Duration::from_secs(5);
/// So many names are remembered in a namespace before those that nobody wants are not any more: a tenant can invent names
/// without end, and each of them costs the tenant a write too.
const MOST_REMEMBERED: usize = 64;

/// The heals of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contest {
    /// When it was healed, the latest last: no more than [`HEALS_AT_ONCE`] + 1 of them.
    heals: Vec<Duration>,
    /// How many heals since it is contested.
    rounds: u32,
    /// The field manager of the latest difference, where the API tells it.
    opponent: Option<Box<str>>,
}

/// The contests of one namespace, by policy.
pub type Contests = BTreeMap<PolicyName, Contest>;

impl Contest {
    /// The object was healed, of what `opponent` had done. Returns whether it is contested since this heal.
    pub fn healed(&mut self, now: Duration, opponent: Option<&str>) -> bool {
        if self.is_over(now) {
            *self = Self::default();
        }
        self.heals.push(now);
        self.opponent = opponent.map(Box::from);
        self.heals.retain(|heal| now.saturating_sub(*heal) < WINDOW);
        let excess = self.heals.len().saturating_sub(HEALS_AT_ONCE + 1);
        self.heals.drain(..excess);
        let begins = self.rounds == 0 && self.heals.len() > HEALS_AT_ONCE;
        if begins || self.rounds > 0 {
            self.rounds = self.rounds.saturating_add(1);
        }
        begins
    }

    /// Until when the heal of such a drift waits; `None` if it does not.
    pub fn waits_until(&self, policy: &PolicyName, drift: DriftKind, now: Duration) -> Option<Duration> {
        let last = self.heals.last().filter(|_| self.is_contested())?;
        let longest = if may_be_open(policy, drift) {
            LONGEST_WAIT_OPEN
        } else {
            LONGEST_WAIT
        };
        let doublings = self.rounds.saturating_sub(1).min(8);
        let until = last.saturating_add((FIRST_WAIT * (1 << doublings)).min(longest));
        (now < until).then_some(until)
    }

    /// Whether somebody fights over the object.
    pub fn is_contested(&self) -> bool {
        self.rounds > 0
    }

    /// The field manager that undoes what we write, where the API tells it: who deletes leaves no trace.
    pub fn opponent(&self) -> Option<&str> {
        self.opponent.as_deref()
    }

    /// What is going on and what to do.
    pub fn in_words(&self) -> String {
        let who = match self.opponent() {
            Some(manager) => format!("field manager {manager}"),
            None => String::from("somebody that the API does not name (an audit log does)"),
        };
        format!(
            "changed by {who} as often as it is healed, which waits for up to {} s now, or {} s where it may be open; stop it \
             there, or have the tier say what it wants",
            LONGEST_WAIT.as_secs(),
            LONGEST_WAIT_OPEN.as_secs()
        )
    }

    /// When it is over, if the other is quiet from now on.
    pub fn over_at(&self) -> Option<Duration> {
        self.heals.last().map(|last| last.saturating_add(WINDOW))
    }

    /// Whether the other was quiet long enough that nothing needs to be remembered.
    pub fn is_over(&self, now: Duration) -> bool {
        self.over_at().is_none_or(|over| over <= now)
    }
}

/// Whether a policy that drifted like this may let through what its tier does not. Without our marks it says what it said,
/// and an extra that is missing only takes away; nobody looks closer than that, since what looks narrow may be wide.
fn may_be_open(policy: &PolicyName, drift: DriftKind) -> bool {
    match drift {
        DriftKind::Modified | DriftKind::Surplus => true,
        DriftKind::Missing => policy.is_base(),
        DriftKind::Disowned => false,
    }
}

/// What is remembered of the fights in a namespace once `plan` came to these commits. `observed` is what stood before.
pub fn contests_after(
    previous: Option<&NamespaceRecord>,
    plan: &Plan,
    committed: &BTreeSet<PolicyName>,
    observed: &ObservedPolicies,
    now: Duration,
) -> Contests {
    let mut contests = previous.map(|record| record.contests.clone()).unwrap_or_default();
    contests.retain(|_, contest| !contest.is_over(now));
    for (policy, drift) in plan.drift().filter(|(policy, _)| committed.contains(*policy)) {
        let full = contests.len() >= MOST_REMEMBERED;
        if full && drift == DriftKind::Surplus && !contests.contains_key(policy) {
            continue;
        }
        let opponent = opponent(plan, observed, policy);
        let contest = contests.entry(policy.clone()).or_default();
        contest.healed(now, opponent.as_deref());
    }
    contests
}

/// When a namespace has to be looked at although nothing happens: a heal was put off until then, or a fight is over.
pub fn next_look(plan: &Plan, contests: &Contests) -> Option<Duration> {
    let contested = contests.values().filter(|contest| contest.is_contested());
    let put_off = plan.put_off.iter().map(|put_off| put_off.until);
    put_off.chain(contested.filter_map(Contest::over_at)).min()
}

#[cfg(test)]
mod tests;
