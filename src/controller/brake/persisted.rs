//! What outlives the process: before a release is made, the status of its tier says that it is, and what was confirmed. A
//! controller that starts counts what it finds there, so that no loop of crashes opens more than the limit, and goes on with
//! what was confirmed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use super::ReleaseBrake;
use super::heirs::{TIERS_ASKED_AT_MOST, as_reported_on};
use super::told::releases_of;
use super::writing::Writing;
use crate::controller::patience::Patience;
use crate::controller::tier_writer::{Landed, TierWriter};
use crate::policy::brake::Grant;
use crate::policy::record::Failure;
use crate::policy::{TierIdentity, words};

/// Whether the status of its tier tells of a release.
#[derive(Debug)]
pub(in crate::controller) enum Word {
    /// It does.
    Told,
    /// It does not, and may soon: it is under way, or another is, or the tier turned out to be gone.
    NotYet,
    /// It cannot at present.
    Refused(Failure),
}

impl ReleaseBrake {
    /// Writes down that these releases are about to be made. Nobody waits for that longer than until the deadline: what is
    /// under way by then goes on by itself, and one at a time is.
    pub(in crate::controller) async fn write_down(
        self: &Arc<Self>,
        tiers: &TierWriter,
        grants: &[Grant],
        deadline: Instant,
    ) -> Word {
        for grant in grants {
            let waits_since = self.began.elapsed();
            let Ok(persisted) = timeout_at(deadline, Arc::clone(&self.persisted).lock_owned()).await else {
                return Word::NotYet;
            };
            if self.is_told(&persisted, grant) {
                continue;
            }
            let write = Arc::clone(self).write_where_it_stays(persisted, tiers.clone(), grant.clone(), waits_since);
            match timeout_at(deadline, tokio::spawn(write)).await {
                Ok(Ok(Word::Told)) => {}
                Ok(Ok(word)) => return word,
                Err(_late) => return Word::NotYet,
                // As if it had been this worker: the process ends by that.
                Ok(Err(error)) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_cancelled) => return Word::NotYet,
                },
            }
        }
        Word::Told
    }

    fn is_told(&self, persisted: &Writing, grant: &Grant) -> bool {
        let stands = |uid: &str| self.cache.tier_of_uid(uid).is_some();
        let (state, now) = (self.state(), self.began.elapsed());
        persisted.tells_of(grant, &state.brake, now, stands)
    }

    /// Whose status has to tell of it. Not its own tier's, where that turned out to be gone and the place was handed on.
    fn teller_of(&self, grant: &Grant) -> Arc<str> {
        let state = self.state();
        let handed_on = grant.place_taken_at().and_then(|_| state.brake.told_by(grant));
        Arc::clone(handed_on.unwrap_or(&grant.release.tier_uid))
    }

    /// A tier that turns out to be gone is told of by the next. Where there is none at all nobody can tell of it, and nothing
    /// is released: whatever may be released is of a tier, or is governed by one, so that the cache is behind. It does not
    /// keep the last tier from going: one that takes its policies along stands, and tells, until they are gone.
    async fn write_where_it_stays(
        self: Arc<Self>,
        mut persisted: OwnedMutexGuard<Writing>,
        tiers: TierWriter,
        grant: Grant,
        waits_since: Duration,
    ) -> Word {
        self.forget_gone(&mut persisted);
        let tier_uid = self.teller_of(&grant);
        let own = self.cache.tier_of_uid(&tier_uid);
        let refuses = |persisted: &Writing, uid: &str| persisted.refusal(uid, waits_since, self.began.elapsed());
        // While others stay, one that goes takes up nothing; what was released by then is told before more is.
        if own.as_ref().is_some_and(|own| own.terminating)
            && let Err(failure) = self.have_an_heir_tell(&mut persisted, &tiers, refuses).await
        {
            return Word::Refused(failure);
        }
        let heirs = self.heirs().into_iter().filter(|heir| heir.uid != tier_uid);
        for tier in own.into_iter().chain(heirs).take(TIERS_ASKED_AT_MOST) {
            if let Some(failure) = refuses(&persisted, &tier.uid) {
                return Word::Refused(failure);
            }
            match self.write(&mut persisted, &tiers, &tier).await {
                Ok(Landed::Gone) => {}
                // The tier that has the place may have been another than the one that was written, if that went meanwhile.
                Ok(_) if self.is_told(&persisted, &grant) => return Word::Told,
                Ok(_) => return Word::NotYet,
                Err(failure) => return Word::Refused(failure),
            }
        }
        Word::NotYet
    }

    /// Writes down what was confirmed and what of that is still to be done, and has another tier tell what one released that
    /// is gone since: the first whose status is taken. What fails is tried again when the tier's patience ends.
    pub(in crate::controller) async fn tend(&self, tiers: &TierWriter, patience: &mut Patience) {
        let is_untold = {
            let mut persisted = self.persisted.lock().await;
            self.forget_gone(&mut persisted);
            !self.untold(&persisted).is_empty()
        };
        let mut heirs_to_ask = TIERS_ASKED_AT_MOST;
        for known in self.cache.tiers() {
            let (tier, mut persisted) = (known.parsed.identity(), self.persisted.lock().await);
            let owes_its_own = persisted.is_owed_by(&tier.uid, self.state().brake.remaining_size(&tier.uid).as_ref());
            let takes_up = is_untold && !self.taken_up_by(tier, &persisted).is_empty();
            if !owes_its_own && !takes_up {
                patience.succeeded(&tier.uid);
                continue;
            }
            if !patience.may_try(&tier.uid) || (!owes_its_own && heirs_to_ask == 0) {
                continue;
            }
            heirs_to_ask = heirs_to_ask.saturating_sub(usize::from(takes_up));
            match self.write(&mut persisted, tiers, tier).await {
                Ok(_) => patience.succeeded(&tier.uid),
                Err(failure) => patience.failed(&tier.uid, &tier.name, &failure),
            }
        }
    }

    /// Has the status of a tier tell of its releases, and of those that nobody else can tell of.
    ///
    /// # Errors
    /// When the API server did not take it: then those are reported where they were.
    pub(super) async fn write(
        &self,
        persisted: &mut Writing,
        tiers: &TierWriter,
        tier: &TierIdentity,
    ) -> Result<Landed, Failure> {
        let taken_up = self.taken_up_by(tier, persisted);
        let now = self.began.elapsed();
        let (releases, remaining) = {
            let state = self.state();
            let told = as_reported_on(&tier.uid, &taken_up, &state.brake);
            (
                releases_of(&told, &tier.uid, now),
                state.brake.remaining_size(&tier.uid),
            )
        };
        let watched = self.cache.version_of_tier(&tier.uid);
        let written = tiers.write_releases(tier, watched, &releases).await;
        match written.and_then(|landed| refuse_conflict(landed, tier)) {
            Ok(Landed::Yes) => {
                persisted.note_written(&tier.uid, remaining, now);
                self.note_reported_on(&tier.uid, &taken_up, persisted);
                Ok(Landed::Yes)
            }
            Ok(landed) => {
                persisted.note_gone(&tier.uid);
                Ok(landed)
            }
            Err(failure) => {
                persisted.note_refusal(&tier.uid, &failure, self.began.elapsed());
                Err(failure)
            }
        }
    }
}

/// A conflict does not say that the tier is gone: others wrote it again and again meanwhile.
fn refuse_conflict(landed: Landed, tier: &TierIdentity) -> Result<Landed, Failure> {
    match landed {
        Landed::Conflict => Err(Failure {
            reason: words::REQUEST_FAILED,
            message: format!(
                "releases in the status of IsolationTier {}: it was changed meanwhile; it is tried again",
                tier.name
            ),
            retry_after: None,
        }),
        Landed::Yes | Landed::Gone => Ok(landed),
    }
}

#[cfg(test)]
pub(super) mod tests;
