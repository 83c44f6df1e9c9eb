use k8s_openapi::jiff::Timestamp;
use kube::core::ObjectMeta;
use serde_json::json;

use super::*;
use crate::policy::record::{Failure, OpenDrift};
use crate::policy::status::tier_status;
use crate::policy::{Exemptions, Facts, ParsedTier, PolicyName};

fn world() -> World {
    let metadata: ObjectMeta = serde_json::from_value(json!({"name": "t", "uid": "t1"})).unwrap();
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce"});
    World::new(
        [ParsedTier::parse(&metadata, &spec)],
        Facts::unread(),
        Exemptions::new("cofferdam-system", []),
    )
}

fn namespace(number: usize) -> Namespace {
    Namespace {
        name: format!("hostile-{number}"),
        uid: format!("n{number}"),
        labels: BTreeMap::new(),
        created: None,
        terminating: false,
    }
}

fn governed(world: &World, number: usize) -> NamespaceRecord {
    NamespaceRecord {
        namespace_uid: format!("n{number}"),
        governor: Some(Arc::clone(world.tiers()[0].tier.identity())),
        ..NamespaceRecord::default()
    }
}

fn said_of(world: &World, record_of: impl Fn(usize) -> NamespaceRecord) -> (TierTally, String) {
    let namespaces: Vec<_> = (0..40).map(|number| (namespace(number), record_of(number))).collect();
    let with_records = namespaces
        .iter()
        .map(|(namespace, record)| (namespace, Some(record), None));
    let tally = tally(world, with_records).tiers.remove("t").unwrap();
    let status = tier_status(&world.tiers()[0], &tally, None, Timestamp::UNIX_EPOCH);
    (tally, serde_json::to_string(&status).unwrap())
}

// The API server takes no object of more than 1.5 MiB: the status of a tier would stop where a tenant likes it to.
#[test]
fn a_thousand_policies_with_the_longest_names_make_neither_status_nor_gauges_large() {
    let world = world();
    let (tally, status) = said_of(&world, |number| {
        let drifted = (0..1_000).map(|policy| {
            let name = format!("cofferdam-allow-{policy:0>237}");
            let kind = DriftKind::ALL[policy % 2];
            let since = Timestamp::UNIX_EPOCH;
            (PolicyName::reserved(&name).unwrap(), OpenDrift { kind, since })
        });
        NamespaceRecord {
            drifted: drifted.collect(),
            ..governed(&world, number)
        }
    });
    assert!(status.len() < 32 << 10, "{} bytes", status.len());
    assert!(status.contains("and 997 more, not healed yet"), "{status}");
    assert_eq!(tally.policies_drifted.values().sum::<u64>(), 40_000);
    assert_eq!(tally.drifted.len(), 80, "once for each kind in each namespace");
}

#[test]
fn what_an_api_server_says_of_a_write_is_cut() {
    let world = world();
    let (_, status) = said_of(&world, |number| NamespaceRecord {
        state: NamespaceState::Failed(Failure {
            reason: "Invalid",
            message: "x".repeat(1 << 20),
        }),
        ..governed(&world, number)
    });
    assert!(status.len() < 32 << 10, "{} bytes", status.len());
}
