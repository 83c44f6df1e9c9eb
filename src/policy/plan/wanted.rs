//! What is to be done about one policy that a tier wants.

use std::sync::Arc;

use super::{Action, Write};
use crate::policy::drift::{self, Cause, Written};
use crate::policy::render::closed;
use crate::policy::{Namespace, ObservedPolicy, PolicyName, RenderedPolicy, TierIdentity, World};

/// One wanted policy, with everything that decides about it.
pub(super) struct Wanted<'a> {
    pub(super) world: &'a World,
    pub(super) tier: &'a Arc<TierIdentity>,
    pub(super) namespace: &'a Namespace,
    pub(super) name: &'a PolicyName,
    pub(super) policy: &'a Arc<RenderedPolicy>,
    pub(super) live: Option<&'a ObservedPolicy>,
    pub(super) written: Option<&'a Written>,
    pub(super) heals_only: bool,
}

pub(super) enum Decision {
    Keep(Written),
    Wait,
    Write(Write),
}

impl Wanted<'_> {
    pub(super) fn decide(&self) -> Decision {
        if let Some(live) = self.live {
            if drift::in_sync(self.policy, self.tier, &self.namespace.uid, live) {
                return Decision::Keep(Written {
                    spec: live.spec,
                    tier: Arc::clone(self.tier),
                });
            }
            if !self.policy.unresolved.is_empty()
                && let Some(last_good) = self.last_good(live)
            {
                return Decision::Keep(last_good.clone());
            }
        }
        if !self.policy.unresolved.is_empty() && !self.may_close() {
            return Decision::Wait;
        }
        Decision::Write(self.write())
    }

    /// Unknown is not empty: what was last written stays, for whichever tier, as long as it is what stands. But what allows nothing
    /// is no better than what can be rendered of its tier now; it may have been closed while nobody wanted it.
    fn last_good(&self, live: &ObservedPolicy) -> Option<&Written> {
        let written = self.written?;
        let allows_nothing = || written.spec == closed(self.policy.direction).digest;
        let is_as_written = written.spec == live.spec && live.only_its_direction;
        (is_as_written && !(written.tier.uid == self.tier.uid && allows_nothing())).then_some(written)
    }

    /// Whether a policy that lacks an unresolved allowance may be written. A workload that already runs and
    /// was never isolated is not cut off by a first enforcement that cannot see what it needs. What stands
    /// under a reserved name is replaced all the same: stripped of its marks, ours looks like anybody's.
    fn may_close(&self) -> bool {
        if self.live.is_some() {
            return true;
        }
        if !self.name.is_base() {
            // An extra only adds to its base.
            return false;
        }
        let younger = match (self.namespace.created, self.tier.created) {
            (Some(namespace), Some(tier)) => namespace >= tier,
            _ => false,
        };
        self.written.is_some() || (younger && !self.heals_only)
    }

    fn write(&self) -> Write {
        let (action, cause) = match self.live {
            None => (
                Action::Create,
                if self.written.is_some() {
                    Cause::Drift(drift::DriftKind::Missing)
                } else {
                    Cause::Pending
                },
            ),
            Some(live) => (
                Action::over(live),
                drift::cause_of_difference(self.world, &self.namespace.uid, live, self.written),
            ),
        };
        Write {
            name: self.name.clone(),
            policy: Arc::clone(self.policy),
            tier: Arc::clone(self.tier),
            action,
            cause,
        }
    }
}
