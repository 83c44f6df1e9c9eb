//! What was reported on a tier that is gone, or goes, is told by the status of another. It is reported on the first until the
//! second tells: whoever ends in between leaves behind no status that tells less than there was.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::ReleaseBrake;
use super::writing::Writing;
use crate::controller::tier_writer::{Landed, TierWriter};
use crate::policy::brake::Brake;
use crate::policy::record::Failure;
use crate::policy::{TierIdentity, words};

/// So many tiers are asked in one go; the others wait for the next look.
pub(super) const TIERS_ASKED_AT_MOST: usize = 3;

impl ReleaseBrake {
    /// What nobody else can tell once this tier is gone is told by another before that. Where no other tier stands nobody can.
    ///
    /// # Errors
    /// When none of those that were asked tells: then the tier has to stay.
    pub(in crate::controller) async fn tell_before_it_goes(
        &self,
        tiers: &TierWriter,
        tier: &TierIdentity,
    ) -> Result<(), Failure> {
        let mut persisted = self.persisted.lock().await;
        if !self.state().brake.tiers_of_late().contains(&tier.uid) {
            return Ok(());
        }
        persisted.leaving.insert(Arc::clone(&tier.uid));
        // One that refused another of these a moment ago is not asked for each of them.
        let refuses = |persisted: &Writing, uid: &str| persisted.refusal(uid, Duration::MAX, self.began.elapsed());
        let told = self.have_an_heir_tell(&mut persisted, tiers, refuses).await;
        persisted.leaving.remove(&tier.uid);
        told.map_err(|failure| Failure {
            message: format!(
                "IsolationTier {} stays until another tells what it released: {}",
                tier.name, failure.message
            ),
            ..failure
        })
    }

    /// One heir after the other is asked, those first that refused least often in a row, until one tells of everything that
    /// nobody tells of. `refuses` says why one is not to be asked now. Where there is no heir there is nobody to wait for.
    ///
    /// # Errors
    /// When none of those that were asked tells.
    pub(super) async fn have_an_heir_tell(
        &self,
        persisted: &mut Writing,
        tiers: &TierWriter,
        refuses: impl Fn(&Writing, &str) -> Option<Failure>,
    ) -> Result<(), Failure> {
        let untold = self.untold(persisted);
        if untold.is_empty() {
            return Ok(());
        }
        let mut heirs = self.heirs();
        // Of tiers that all go, one that is about to go would tell by a status that goes with it.
        heirs.retain(|heir| !persisted.leaving.contains(&heir.uid) && untold.iter().any(|uid| *uid != heir.uid));
        heirs.sort_by_key(|heir| persisted.refusals(&heir.uid));
        let (mut asked, mut answer) = (0, Ok(()));
        for heir in heirs {
            if let Some(failure) = refuses(persisted, &heir.uid) {
                answer = Err(failure);
                continue;
            }
            answer = match self.write(persisted, tiers, &heir).await {
                Ok(Landed::Yes) => return Ok(()),
                Ok(_) => Err(found_gone(&heir)),
                Err(failure) => Err(failure),
            };
            asked += 1;
            if asked == TIERS_ASKED_AT_MOST {
                break;
            }
        }
        answer
    }

    /// Of tiers that are gone nothing has to be known but what they released.
    pub(super) fn forget_gone(&self, persisted: &mut Writing) {
        persisted.keep(|uid| self.cache.tier_of_uid(uid).is_some());
    }

    /// The tiers that stay; where none does, those that our finalizer holds: they can tell until they go.
    pub(super) fn heirs(&self) -> Vec<Arc<TierIdentity>> {
        let tiers = self.cache.tiers().into_iter();
        let (mut going, staying): (Vec<_>, Vec<_>) = tiers.partition(|known| known.parsed.identity().terminating);
        going.retain(|known| known.has_our_finalizer());
        let heirs = if staying.is_empty() { going } else { staying };
        heirs.iter().map(|known| Arc::clone(known.parsed.identity())).collect()
    }

    /// The tiers whose releases nobody tells of: they are gone, or go, and no other told since.
    pub(super) fn untold(&self, persisted: &Writing) -> Vec<Arc<str>> {
        let of_late = self.state().brake.tiers_of_late().into_iter();
        let is_there = |uid: &Arc<str>| self.cache.tier_of_uid(uid).is_some();
        of_late
            .filter(|uid| persisted.leaving.contains(uid) || !is_there(uid))
            .collect()
    }

    /// Of which other tiers the status of this one has to tell, if it is written. One that is no heir takes up nothing.
    pub(super) fn taken_up_by(&self, heir: &TierIdentity, persisted: &Writing) -> Vec<Arc<str>> {
        let mut taken_up = self.untold(persisted);
        taken_up.retain(|uid| *uid != heir.uid);
        // The heirs are looked for only where there is something to tell: all tiers are copied for it.
        if !taken_up.is_empty() && !self.heirs().iter().any(|other| other.uid == heir.uid) {
            taken_up.clear();
        }
        taken_up
    }

    /// The status of the heir tells of them.
    pub(super) fn note_reported_on(&self, heir: &Arc<str>, taken_up: &[Arc<str>], persisted: &mut Writing) {
        let mut state = self.state();
        for tier in taken_up {
            state.brake.hand_on(tier, heir);
        }
        persisted.leaving.remove(heir);
    }
}

/// How it is to be once the heir tells of them.
pub(super) fn as_reported_on<'brake>(
    heir: &Arc<str>,
    taken_up: &[Arc<str>],
    brake: &'brake Brake,
) -> Cow<'brake, Brake> {
    let mut brake = Cow::Borrowed(brake);
    for tier in taken_up {
        brake.to_mut().hand_on(tier, heir);
    }
    brake
}

fn found_gone(tier: &TierIdentity) -> Failure {
    Failure {
        reason: words::REQUEST_FAILED,
        message: format!(
            "status of IsolationTier {}: it is gone, which the watch does not show yet; it is tried again",
            tier.name
        ),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests;
