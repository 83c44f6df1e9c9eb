//! Since when a state holds, as far as the API tells. What it does not tell is not made up.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Drift, State};
use crate::policy::{Namespace, PolicyName};

/// A server's clock may be ahead of ours by so much.
const CLOCKS_DIFFER_BY: SignedDuration = SignedDuration::from_secs(300);

/// Since when the namespace is in that state.
///
/// Of a protected one: the last change to any of its policies, since nothing changed after it. Of a drifted one: the first
/// of the edits that the policies tell of; it drifted then at the latest. Times in managed fields are what the client says
/// that wrote them: one before the policy was there, or after now, is no time at all.
pub(super) fn since(
    state: State,
    namespace: &Namespace,
    policies: &[NetworkPolicy],
    drift: &[Drift],
    now: Timestamp,
) -> Option<Timestamp> {
    match state {
        State::Protected => {
            let ours = policies.iter().filter(|policy| is_reserved(policy));
            let changes: Option<Vec<_>> = ours.map(|policy| last_change(policy, now)).collect();
            changes?.into_iter().max()
        }
        State::Drifted => {
            let edits = drift.iter().filter_map(|drift| {
                let manager = drift.attribution.as_ref()?.manager.as_ref()?;
                let policy = policies
                    .iter()
                    .find(|policy| policy.metadata.name.as_deref() == Some(drift.policy.as_str()))?;
                manager.time.filter(|time| is_plausible(policy, *time, now))
            });
            edits.min()
        }
        // By name, so from the start. One that is only in a file was never created.
        State::Exempt => namespace.created.filter(|created| is_past(*created, now)),
        State::Terminating
        | State::Contested
        | State::Failed
        | State::Pending
        | State::Left
        | State::Retained
        | State::Observed
        | State::Ungoverned => None,
    }
}

fn is_reserved(policy: &NetworkPolicy) -> bool {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    PolicyName::reserved(name).is_some()
}

/// `None` where its managed fields are missing or no time in them can be right.
fn last_change(policy: &NetworkPolicy, now: Timestamp) -> Option<Timestamp> {
    let entries = policy.metadata.managed_fields.iter().flatten();
    let times = entries.filter_map(|entry| entry.time.as_ref().map(|time| time.0));
    times.filter(|time| is_plausible(policy, *time, now)).max()
}

/// The API server itself sets the creation time.
fn is_plausible(policy: &NetworkPolicy, time: Timestamp, now: Timestamp) -> bool {
    let created = policy.metadata.creation_timestamp.as_ref();
    created.is_some_and(|created| created.0 <= time) && is_past(time, now)
}

fn is_past(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) <= CLOCKS_DIFFER_BY
}
