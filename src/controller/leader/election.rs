//! Who leads: what a replica knows of the lease, and what it is to do next. A state machine without a clock and
//! without requests; the driver in [`super::campaign`] makes them and says what came of them.
//!
//! **Invariant.** At most one replica believes to lead, as long as no clock runs faster than another by more than the
//! margin allows (a fifth, with the default times): the holder counts [`LeaseSettings::renew_deadline`] from *before* it sent the request that made or renewed
//! its claim; another counts the longer lease duration from *after* it saw the result. Whatever a request, an answer or
//! a process is delayed by makes the first end earlier and the second begin later. Nobody's wall clock is looked at:
//! a lease has been renewed when its resourceVersion is another.

use std::time::Duration;

use super::settings::LeaseSettings;
use crate::controller::boot_clock::Moment;

/// The lease as the API server stores it, as far as it decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct LeaseRecord {
    /// What a write has to name, and what changes with each.
    pub(super) version: String,
    /// Who leads; empty where the last holder released it.
    pub(super) holder: String,
    /// How long after its last sign the holder may still lead, as it said itself.
    pub(super) duration: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Nothing before this moment.
    WaitUntil(Moment),
    /// GET the lease.
    Read,
    /// POST it, held by us.
    Create,
    /// PUT it over the last version seen, held by us where it was another's.
    Acquire,
    /// PUT it over the last version seen, held by us as it was.
    Renew,
    /// The claim is over, and with it this process.
    Resign,
}

/// What one replica knows and claims.
#[derive(Clone, Debug)]
pub(super) struct Election {
    identity: String,
    settings: LeaseSettings,
    /// The last version of the lease that was seen, and when it was seen first.
    seen: Option<(LeaseRecord, Moment)>,
    /// Whether a read since then found no lease.
    absent: bool,
    /// Whether what was seen may be written over: not after a wait, nor after a conflict.
    current: bool,
    /// When the request was sent that made or last renewed our claim.
    claimed: Option<Moment>,
    /// Nothing is asked before this.
    not_before: Moment,
}

impl Election {
    pub(super) fn new(identity: String, settings: LeaseSettings) -> Self {
        Self {
            identity,
            settings,
            seen: None,
            absent: false,
            current: false,
            claimed: None,
            not_before: Moment::default(),
        }
    }

    /// Until when this replica leads, if it does. At that moment it does no more.
    pub(super) fn claim_ends(&self) -> Option<Moment> {
        Some(self.claimed?.after(self.settings.renew_deadline()))
    }

    /// Who holds the lease, as far as is known; `None` for nobody.
    pub(super) fn holder(&self) -> Option<&str> {
        let (record, _) = self.seen.as_ref().filter(|_| !self.absent)?;
        Some(&*record.holder).filter(|holder| !holder.is_empty())
    }

    /// What to do at this moment.
    pub(super) fn decide(&self, now: Moment) -> Step {
        let claim_ends = self.claim_ends();
        if claim_ends.is_some_and(|ends| ends <= now) {
            return Step::Resign;
        }
        if now < self.not_before {
            return Step::WaitUntil(claim_ends.map_or(self.not_before, |ends| ends.min(self.not_before)));
        }
        if !self.current {
            return Step::Read;
        }
        match self.holder() {
            Some(holder) if holder == self.identity => Step::Renew,
            // Somebody took it away from us by hand, or the clocks differ more than they may.
            Some(_) if self.claimed.is_some() => Step::Resign,
            Some(_) => Step::Acquire,
            None if self.absent => Step::Create,
            None => Step::Acquire,
        }
    }

    /// A read ended at `now` with the lease, or with none.
    pub(super) fn read(&mut self, found: Option<LeaseRecord>, now: Moment) {
        self.absent = found.is_none();
        if let Some(record) = found {
            self.sighted(record, now);
        }
        let taken_until = self.taken_until().filter(|until| now < *until);
        self.current = taken_until.is_none() || self.claimed.is_some();
        if let (false, Some(until)) = (self.current, taken_until) {
            self.not_before = now.after(self.settings.retry_period()).min(until);
        }
    }

    /// A write that was sent at `sent` was answered with what is stored.
    pub(super) fn written(&mut self, stored: LeaseRecord, sent: Moment, now: Moment) {
        self.absent = false;
        self.sighted(stored, now);
        self.not_before = sent.after(self.settings.retry_period());
        // An answer that comes too late gives no claim, and revives none.
        self.current = now < sent.after(self.settings.renew_deadline());
        if self.current {
            self.claimed = Some(sent);
        }
    }

    /// A write met another version, another lease or none: look what stands.
    pub(super) fn refused(&mut self) {
        self.current = false;
    }

    /// A request that was sent at `sent` brought no answer, or none that says anything of the lease. A write may have
    /// been carried out.
    pub(super) fn failed(&mut self, sent: Moment) {
        self.current &= self.claimed.is_some();
        self.not_before = sent.after(self.settings.retry_period());
    }

    /// Gives up the claim. Whether the lease is to be released: it is ours, as far as is known.
    pub(super) fn resign(&mut self) -> bool {
        self.claimed = None;
        self.holder() == Some(&self.identity)
    }

    fn sighted(&mut self, record: LeaseRecord, now: Moment) {
        let known = self.seen.as_ref().is_some_and(|(seen, _)| *seen == record);
        if !known {
            self.seen = Some((record, now));
        }
    }

    /// Until when another may lead. A lease that is gone does not end what its holder may do: who deletes one by hand does
    /// not stop anybody.
    fn taken_until(&self) -> Option<Moment> {
        let (record, since) = self.seen.as_ref()?;
        let by_another = !record.holder.is_empty() && record.holder != self.identity;
        by_another.then(|| since.after(record.duration))
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
