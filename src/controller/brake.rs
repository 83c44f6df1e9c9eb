//! The mass-change brake, where the workers ask it: one census and one decision at a time, so that two releases never
//! take the last place in the window both.

mod earlier;
mod heirs;
mod persisted;
mod told;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

pub(super) use self::persisted::Word;
use self::writing::Persisted;
use super::cache::Cache;
use super::ledger::Ledger;
use super::visit::Visit;
use crate::api::Direction;
use crate::policy::brake::{Brake, Census, Grant, Held, MaxUnprotected};
use crate::policy::{Plan, PolicyName};

/// What is held is looked at again after this: others may have gone, or turned out not to be wanted.
const HELD_LOOK: Duration = Duration::from_secs(5);
/// As long as it is not known what earlier processes let go, which takes one answer of the API server.
const EARLY_LOOK: Duration = Duration::from_millis(100);
/// An answer that takes longer than this may take for ever: then there is no hurry any more.
const EARLY: Duration = Duration::from_secs(1);
/// What waits for its turn, or for the status to tell of it, is looked at again after as long as it has waited, within these.
const SOON_LOOK: Duration = Duration::from_millis(250);
pub(super) const SELDOM_LOOK: Duration = Duration::from_secs(2);
/// Everything is counted anew after this, whatever is known to have changed.
const CENSUS_FRESH: Duration = Duration::from_secs(10);
/// What is held is found out anew after this: it is reported once a second.
const LISTS_FRESH: Duration = Duration::from_millis(500);

/// Decides about releases.
pub(super) struct ReleaseBrake {
    cache: Arc<Cache>,
    ledger: Arc<Ledger>,
    began: tokio::time::Instant,
    state: Mutex<State>,
    persisted: Persisted,
    /// Whether it is known what earlier processes let go. Before that nothing goes.
    learned: watch::Sender<bool>,
    /// Why that is not known, once it could not be read.
    cannot_learn: Mutex<Option<String>>,
    /// What keeps it from being read may have ended.
    learn_now: Notify,
    /// Since when a release waits for it.
    waits_since: OnceLock<tokio::time::Instant>,
}

struct State {
    brake: Brake,
    judged: Judged,
}

/// What all namespaces want, and what of that waits.
#[derive(Default)]
struct Judged {
    census: Census,
    counted_at: Option<Instant>,
    held: BTreeMap<Arc<str>, Held>,
    listed_at: Option<Instant>,
}

/// What the brake says of one namespace.
#[derive(Default)]
pub(super) struct Ruling {
    pub(super) grants: Vec<Grant>,
    /// When to look again, where something has to stay that the plan would have removed.
    pub(super) retry_in: Option<Duration>,
}

/// The releases that are made now.
#[must_use = "what is made has to be told"]
pub(super) struct Begun(Vec<Grant>);

impl ReleaseBrake {
    pub(super) fn new(cache: Arc<Cache>, ledger: Arc<Ledger>, limit: MaxUnprotected) -> Self {
        Self {
            cache,
            ledger,
            began: tokio::time::Instant::now(),
            state: Mutex::new(State {
                brake: Brake::new(limit),
                judged: Judged::default(),
            }),
            persisted: Persisted::default(),
            learned: watch::Sender::new(false),
            cannot_learn: Mutex::default(),
            learn_now: Notify::new(),
            waits_since: OnceLock::new(),
        }
    }

    /// Takes from the plan what must not go now. What may go counts from now on.
    pub(super) fn rule(&self, visit: &Visit<'_>, plan: &mut Plan) -> Ruling {
        let wanted = visit.releases(plan);
        if wanted.is_empty() {
            return Ruling::default();
        }
        if !self.has_learned() {
            plan.hold_back(&wanted.iter().map(|release| release.direction).collect());
            return Ruling {
                grants: Vec::new(),
                retry_in: Some(self.early_look()),
            };
        }
        let (mut state, now) = (self.state(), self.began.elapsed());
        let State { brake, judged } = &mut *state;
        self.count(brake, judged);
        let namespace = &visit.view.namespace.name;
        // This worker's look at it may be newer than the census.
        judged.census.set_wanted(namespace, wanted.iter().cloned());
        let grants = brake.admit(&judged.census, namespace, now);
        let granted: BTreeSet<_> = grants.iter().map(|grant| &grant.release).collect();
        let held = wanted.iter().filter(|release| !granted.contains(release));
        let held: BTreeSet<Direction> = held.map(|release| release.direction).collect();
        plan.hold_back(&held);
        Ruling {
            retry_in: (!held.is_empty()).then_some(HELD_LOOK),
            grants,
        }
    }

    /// What was granted is not made.
    pub(super) fn withdraw(&self, grants: Vec<Grant>) {
        if grants.is_empty() {
            return;
        }
        let mut state = self.state();
        grants.into_iter().for_each(|grant| state.brake.withdraw(grant));
    }

    /// What was granted waits with its places. Returns when to look again: ever more seldom, since thousands may wait.
    pub(super) fn keep_waiting(&self, grants: Vec<Grant>) -> Duration {
        let (mut state, now) = (self.state(), self.began.elapsed());
        let since = grants.iter().filter_map(Grant::place_taken_at).min();
        grants.into_iter().for_each(|grant| state.brake.keep_waiting(grant));
        let waited = since.map_or(SELDOM_LOOK, |since| now.saturating_sub(since));
        waited.clamp(SOON_LOOK, SELDOM_LOOK)
    }

    /// What the consistent read left in the plan is made now; the others give their places back.
    pub(super) fn begin(&self, grants: Vec<Grant>, plan: &Plan) -> Begun {
        let mut begun = Vec::new();
        if grants.is_empty() {
            return Begun(begun);
        }
        let (mut state, now) = (self.state(), self.began.elapsed());
        for grant in grants {
            let mut removals = plan.removals.iter();
            if removals.any(|removal| removal.uid == grant.release.policy_uid) {
                state.brake.count_from(&grant, now);
                begun.push(grant);
            } else {
                state.brake.withdraw(grant);
            }
        }
        Begun(begun)
    }

    /// Those releases are made, as far as they were committed. All of them count from now on, since nobody knows when in
    /// between the API server made them.
    pub(super) fn answered(&self, begun: &Begun, plan: &Plan, committed: &BTreeSet<PolicyName>) {
        if begun.0.is_empty() {
            return;
        }
        let (mut state, now) = (self.state(), self.began.elapsed());
        let State { brake, judged } = &mut *state;
        begun.0.iter().for_each(|grant| brake.count_from(grant, now));
        let made = plan.removals.iter().filter(|removal| committed.contains(&removal.name));
        let made: BTreeSet<_> = made.map(|removal| &removal.uid).collect();
        let is_made = |grant: &&Grant| made.contains(&grant.release.policy_uid);
        let Some(Grant { release, .. }) = begun.0.iter().find(is_made) else {
            return;
        };
        let wanted = judged.census.wanted_in(&release.namespace);
        let left: Vec<_> = wanted
            .filter(|release| !made.contains(&release.policy_uid))
            .cloned()
            .collect();
        judged.census.set_wanted(&release.namespace, left);
        brake.narrow(&judged.census, &release.namespace);
    }

    /// What waits, by the uid of the tier; nothing before it is known what earlier processes were told: a confirmation of
    /// theirs would be taken for a new one.
    pub(super) fn held(&self) -> BTreeMap<Arc<str>, Held> {
        if !self.has_learned() {
            return BTreeMap::new();
        }
        let mut state = self.state();
        let State { brake, judged } = &mut *state;
        self.count(brake, judged);
        let fresh = judged.listed_at.is_some_and(|at| at.elapsed() < LISTS_FRESH);
        if !fresh {
            self.list(brake, judged);
        }
        judged.held.clone()
    }

    /// Brings the census up to date. What a tier's annotation confirms is read whenever that may have changed.
    fn count(&self, brake: &mut Brake, judged: &mut Judged) {
        let stale = judged.counted_at.is_none_or(|at| at.elapsed() >= CENSUS_FRESH);
        if self.cache.count_again(&mut judged.census, brake, &self.ledger, stale) {
            judged.counted_at = Some(Instant::now());
            self.list(brake, judged);
        }
    }

    fn list(&self, brake: &mut Brake, judged: &mut Judged) {
        judged.held = brake.held(&judged.census, self.began.elapsed());
        judged.listed_at = Some(Instant::now());
    }

    /// The state is consistent between any two statements, so a panic elsewhere is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
