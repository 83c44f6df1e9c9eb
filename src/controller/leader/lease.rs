//! The Lease object: what is read of it, and how it is written.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::election::LeaseRecord;
use super::settings::{LONGEST_TIME, LeaseSettings};
use crate::api::names::LEASE;

/// A released lease lasts this long: for those who count the seconds although nobody holds it.
const RELEASED_SECONDS: i32 = 1;

/// What decides. A duration that is missing or makes no sense counts as ours: the holder is another version, or a person.
/// None of ours is longer than [`LONGEST_TIME`], so that one of years, which somebody wrote by hand, ends too.
pub(super) fn record_of(lease: &Lease, settings: &LeaseSettings) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    let said = seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let said = said.map(|said| said.min(LONGEST_TIME));
    LeaseRecord {
        version: lease.resource_version().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        duration: said.unwrap_or(settings.lease_duration()),
    }
}

/// The lease where there is none yet.
pub(super) fn created(namespace: &str, identity: &str, settings: &LeaseSettings) -> Lease {
    let metadata = ObjectMeta {
        name: Some(LEASE.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    let now = MicroTime(Timestamp::now());
    let spec = LeaseSpec {
        acquire_time: Some(now.clone()),
        lease_transitions: Some(0),
        ..held(LeaseSpec::default(), identity, settings, now)
    };
    Lease {
        metadata,
        spec: Some(spec),
    }
}

/// The lease that was another's, or nobody's.
pub(super) fn acquired(mut lease: Lease, identity: &str, settings: &LeaseSettings) -> Lease {
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        acquire_time: Some(now.clone()),
        lease_transitions: Some(spec.lease_transitions.unwrap_or_default().saturating_add(1)),
        ..held(spec, identity, settings, now)
    });
    lease
}

/// The lease that is ours.
pub(super) fn renewed(mut lease: Lease, identity: &str, settings: &LeaseSettings) -> Lease {
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(held(spec, identity, settings, MicroTime(Timestamp::now())));
    lease
}

/// The lease that was ours: whoever sees it need not wait.
pub(super) fn released(mut lease: Lease) -> Lease {
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        // Empty, not absent: an absent field says nothing to a server-side apply of somebody else.
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(RELEASED_SECONDS),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        ..spec
    });
    lease
}

/// The times are for people and for other tools: no replica of ours compares them with its clock.
fn held(spec: LeaseSpec, identity: &str, settings: &LeaseSettings, now: MicroTime) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(settings.lease_duration().as_secs()).ok(),
        renew_time: Some(now),
        ..spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_no_replica_would_write_does_not_keep_the_lease_for_ever() {
        let seconds = Duration::from_secs;
        let settings = LeaseSettings::new(seconds(15), seconds(10), seconds(2)).unwrap();
        for (said, expected) in [
            (Some(60), 60),
            (Some(3600), 3600),
            (Some(i32::MAX), 3600),
            (Some(0), 15),
            (Some(-1), 15),
            (Some(i32::MIN), 15),
            (None, 15),
        ] {
            let spec = LeaseSpec {
                holder_identity: Some(String::from("somebody")),
                lease_duration_seconds: said,
                ..LeaseSpec::default()
            };
            let lease = Lease {
                spec: Some(spec),
                ..Lease::default()
            };
            assert_eq!(record_of(&lease, &settings).duration, seconds(expected), "{said:?}");
        }
    }
}
