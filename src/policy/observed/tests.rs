use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;
use crate::policy::fixture::{open_policy, stored};

fn bytes_kept(policy: &ObservedPolicy) -> usize {
    format!("{policy:?}").len()
}

// A few thousand of these would otherwise fill the memory, and one that fills an object's limits would leave no room for
// our own marks, so that it could never be replaced.
#[test]
fn what_a_tenant_writes_is_kept_up_to_a_bound() {
    let long = "x".repeat(200 << 10);
    let mut policies = vec![open_policy("cofferdam-allow-a"); 4];
    policies[0].metadata.annotations = Some([(String::from("a"), long.clone())].into());
    policies[1].metadata.labels = Some(
        (0..2000)
            .map(|n| (format!("{}-{n}", "l".repeat(50)), "v".repeat(50)))
            .collect(),
    );
    policies[2].metadata.finalizers = Some(
        (0..2000)
            .map(|n| format!("example.com/{}-{n}", "f".repeat(40)))
            .collect(),
    );
    policies[3].metadata.owner_references = Some(vec![OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: String::from("IsolationTier"),
        name: long.clone(),
        uid: long,
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    for policy in policies {
        let kept = bytes_kept(&stored(policy).1);
        assert!(kept < 40 << 10, "{kept} bytes");
    }
}

#[test]
fn what_other_people_usually_write_is_kept_whole() {
    let mut policy = open_policy("cofferdam-allow-a");
    let applied = "x".repeat(10 << 10);
    policy.metadata.annotations = Some(
        [(
            String::from("kubectl.kubernetes.io/last-applied-configuration"),
            applied,
        )]
        .into(),
    );
    let foreign = stored(policy.clone()).1.foreign.unwrap();
    assert_eq!(Some(foreign.annotations), policy.metadata.annotations);
}
