//! The Lease object: what is read of it, and how it is written.
//!
//! As JSON, field by field: the API server takes times that our types do not hold (`9999-12-31T23:59:59Z`), and a lease that
//! cannot be read has no leader until a person deletes it. None of its times decides.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::election::LeaseRecord;
use super::settings::{LONGEST_TIME, LeaseSettings};
use crate::api::names::LEASE;

/// A released lease lasts this long: for those who count the seconds although nobody holds it.
const RELEASED_SECONDS: i32 = 1;

/// The kind of a lease.
pub(super) fn resource() -> ApiResource {
    ApiResource::erase::<Lease>(&())
}

/// What decides. A duration that is missing or makes no sense counts as ours: the holder is another version, or a person.
/// None of ours is longer than [`LONGEST_TIME`], so that one of years, which somebody wrote by hand, ends too.
pub(super) fn record_of(lease: &DynamicObject, settings: &LeaseSettings) -> LeaseRecord {
    let spec = &lease.data["spec"];
    let seconds = spec["leaseDurationSeconds"].as_u64().filter(|seconds| *seconds > 0);
    let said = seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_TIME));
    LeaseRecord {
        version: lease.resource_version().unwrap_or_default(),
        holder: spec["holderIdentity"].as_str().unwrap_or_default().to_owned(),
        duration: said.unwrap_or(settings.lease_duration()),
    }
}

/// The lease where there is none yet.
pub(super) fn created(namespace: &str, identity: &str, settings: &LeaseSettings) -> DynamicObject {
    let lease = DynamicObject::new(LEASE, &resource()).within(namespace);
    let now = now();
    let lease = with(lease, json!({"acquireTime": now, "leaseTransitions": 0}));
    with(lease, held(identity, settings, &now))
}

/// The lease that was another's, or nobody's.
pub(super) fn acquired(lease: DynamicObject, identity: &str, settings: &LeaseSettings) -> DynamicObject {
    let transitions = lease.data["spec"]["leaseTransitions"].as_i64().unwrap_or_default();
    let transitions = i32::try_from(transitions).unwrap_or_default().saturating_add(1);
    let now = now();
    let lease = with(lease, json!({"acquireTime": now, "leaseTransitions": transitions}));
    with(lease, held(identity, settings, &now))
}

/// The lease that is ours.
pub(super) fn renewed(lease: DynamicObject, identity: &str, settings: &LeaseSettings) -> DynamicObject {
    with(lease, held(identity, settings, &now()))
}

/// The lease that was ours: whoever sees it need not wait.
pub(super) fn released(lease: DynamicObject) -> DynamicObject {
    let now = now();
    // Empty, not absent: an absent field says nothing to a server-side apply of somebody else.
    let nobody =
        json!({"holderIdentity": "", "leaseDurationSeconds": RELEASED_SECONDS, "acquireTime": now, "renewTime": now});
    with(lease, nobody)
}

/// The times are for people and for other tools: no replica of ours compares them with its clock.
fn held(identity: &str, settings: &LeaseSettings, now: &Value) -> Value {
    let seconds = settings.lease_duration().as_secs();
    json!({"holderIdentity": identity, "leaseDurationSeconds": seconds, "renewTime": now})
}

/// The lease with these fields of its spec. Everything else of it stays; its managed fields are the API server's to keep.
fn with(mut lease: DynamicObject, fields: Value) -> DynamicObject {
    lease.metadata.managed_fields = None;
    if !lease.data.is_object() {
        lease.data = json!({});
    }
    let spec = &mut lease.data["spec"];
    if !spec.is_object() {
        *spec = json!({});
    }
    if let (Value::Object(spec), Value::Object(fields)) = (spec, fields) {
        spec.extend(fields);
    }
    lease
}

fn now() -> Value {
    json!(MicroTime(Timestamp::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::client::readable::Readable;

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
            let mut lease = DynamicObject::new(LEASE, &resource());
            lease.data = json!({"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": said}});
            assert_eq!(record_of(&lease, &settings).duration, seconds(expected), "{said:?}");
        }
    }

    // A lease with such a time was not read, and no election went on until somebody deleted it.
    #[test]
    fn a_time_that_our_types_do_not_hold_stopped_the_elections() {
        let seconds = Duration::from_secs;
        let settings = LeaseSettings::new(seconds(15), seconds(10), seconds(2)).unwrap();
        let text = r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease",
            "metadata":{"name":"cofferdam","namespace":"n","resourceVersion":"7",
                "managedFields":[{"manager":"m","operation":"Update","time":"9999-12-31T23:59:59Z"}]},
            "spec":{"holderIdentity":"x","leaseDurationSeconds":20,"leaseTransitions":2,"preferredHolder":"y",
                "acquireTime":"9999-12-31T23:59:59.000000Z","renewTime":"9999-12-31T23:59:59.999999Z"}}"#;
        serde_json::from_str::<Lease>(text).unwrap_err();
        let Readable(lease) = serde_json::from_str::<Readable<DynamicObject>>(text).unwrap();
        let expected = LeaseRecord {
            version: String::from("7"),
            holder: String::from("x"),
            duration: seconds(20),
        };
        assert_eq!(record_of(&lease, &settings), expected);
        let written = serde_json::to_value(acquired(lease, "us", &settings)).unwrap();
        let written = serde_json::from_value::<Lease>(written).unwrap();
        assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(
            written.metadata.managed_fields, None,
            "the API server keeps what stands"
        );
        let spec = written.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("us"));
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert_eq!(spec.lease_transitions, Some(3));
        assert_eq!(spec.preferred_holder.as_deref(), Some("y"), "what others wrote stays");
    }

    #[test]
    fn what_is_written_is_a_lease() {
        let seconds = Duration::from_secs;
        let settings = LeaseSettings::new(seconds(15), seconds(10), seconds(2)).unwrap();
        let typed =
            |lease: &DynamicObject| serde_json::from_value::<Lease>(serde_json::to_value(lease).unwrap()).unwrap();
        let lease = created("n", "us", &settings);
        let first = typed(&lease);
        assert_eq!(first.metadata.namespace.as_deref(), Some("n"));
        let spec = first.spec.unwrap();
        assert_eq!(
            (spec.lease_transitions, &spec.acquire_time),
            (Some(0), &spec.renew_time)
        );
        let second = typed(&renewed(lease.clone(), "us", &settings)).spec.unwrap();
        assert_eq!(
            (second.acquire_time, second.lease_transitions),
            (spec.acquire_time, Some(0))
        );
        let last = typed(&released(lease)).spec.unwrap();
        assert_eq!(last.holder_identity.as_deref(), Some(""));
        assert_eq!(last.lease_duration_seconds, Some(1));
    }
}
