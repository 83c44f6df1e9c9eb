//! What of a plan is put off because somebody fights over an object.

use std::time::Duration;

use super::Plan;
use crate::policy::contest::{Contest, Contests};
use crate::policy::{Cause, DriftKind, PolicyName};

/// A drift whose heal is put off because somebody fights over the object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PutOff {
    /// The policy.
    pub name: PolicyName,
    /// How it differs.
    pub kind: DriftKind,
    /// Until when, by the clock that contests are told by.
    pub until: Duration,
}

impl Plan {
    /// Puts off the heals of contested objects. What must not come before one of them waits with it: a base is not
    /// narrowed before its extras stand, and what we wrote is not removed before everything stands. What somebody
    /// else put there goes at once.
    ///
    /// Once the first of them is due, what waits takes all of them along: who fights over two objects in turn would
    /// otherwise keep what the tier does not allow any more.
    pub fn put_off_contested(&mut self, contests: &Contests, now: Duration) {
        if self.changes_what_stands() && self.heals_a_contested_object(contests, now) {
            return;
        }
        let put_off = |name: &PolicyName, cause| drift_that_waits(name, cause, contests, now);
        let writes = self.writes().filter_map(|write| put_off(&write.name, write.cause));
        let writes: Vec<_> = writes.collect();
        let removals = self.removals.iter();
        let removals = removals.filter_map(|removal| put_off(&removal.name, removal.cause));
        let removals: Vec<_> = removals.collect();

        let stays = |waiting: &[PutOff], name: &PolicyName| waiting.iter().all(|put_off| put_off.name != *name);
        let extras_stand = writes.iter().all(|put_off| put_off.name.is_base());
        self.extras.retain(|extra| stays(&writes, &extra.name));
        self.bases
            .retain(|base| stays(&writes, &base.name) && (extras_stand || base.cannot_wait()));
        self.closings.retain(|closing| stays(&writes, &closing.name));
        self.removals.retain(|removal| {
            stays(&removals, &removal.name) && (writes.is_empty() || removal.cause != Cause::Pending)
        });
        self.put_off = writes.into_iter().chain(removals).collect();
    }

    /// Whether a base is to be narrowed, or something of ours removed, because tier, namespace or facts changed.
    fn changes_what_stands(&self) -> bool {
        self.bases.iter().any(|base| !base.cannot_wait())
            || self.removals.iter().any(|removal| removal.cause == Cause::Pending)
    }

    fn heals_a_contested_object(&self, contests: &Contests, now: Duration) -> bool {
        let contested = |name: &PolicyName| contests.get(name).is_some_and(Contest::is_contested);
        let mut writes = self.writes();
        writes.any(|write| {
            let (name, cause) = (&write.name, write.cause);
            matches!(cause, Cause::Drift(_))
                && contested(name)
                && drift_that_waits(name, cause, contests, now).is_none()
        })
    }
}

fn drift_that_waits(name: &PolicyName, cause: Cause, contests: &Contests, now: Duration) -> Option<PutOff> {
    let Cause::Drift(kind) = cause else {
        return None;
    };
    let until = contests.get(name)?.waits_until(name, kind, now)?;
    let name = name.clone();
    Some(PutOff { name, kind, until })
}
