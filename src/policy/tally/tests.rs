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
            retry_after: None,
        }),
        ..governed(&world, number)
    });
    assert!(status.len() < 32 << 10, "{} bytes", status.len());
}

fn widened(number: usize, tier_uid: &str, severity: Option<Severity>) -> WideningSummary {
    let mut policies = PoliciesBySeverity::default();
    severity.into_iter().for_each(|severity| policies.add(severity));
    WideningSummary {
        namespace_uid: format!("n{number}"),
        tier_uid: tier_uid.into(),
        policies,
        worst: severity.map(|severity| (severity, format!("theirs widens {number}"))),
        complete: true,
    }
}

fn said_of_widened(
    spec: &serde_json::Value,
    summaries: &[Option<WideningSummary>],
    before: Option<&crate::api::IsolationTierStatus>,
) -> (TierTally, crate::api::IsolationTierStatus) {
    let metadata: ObjectMeta = serde_json::from_value(json!({"name": "t", "uid": "t1"})).unwrap();
    let world = World::new(
        [ParsedTier::parse(&metadata, spec)],
        Facts::unread(),
        Exemptions::new("cofferdam-system", []),
    );
    let namespaces: Vec<_> = (0..summaries.len()).map(namespace).collect();
    let records: Vec<_> = (0..summaries.len())
        .map(|number| NamespaceRecord {
            state: NamespaceState::Protected,
            ..governed(&world, number)
        })
        .collect();
    let known =
        (0..summaries.len()).map(|number| (&namespaces[number], Some(&records[number]), summaries[number].as_ref()));
    let tally = tally(&world, known).tiers.remove("t").unwrap();
    let status = tier_status(&world.tiers()[0], &tally, before, Timestamp::UNIX_EPOCH);
    (tally, status)
}

fn reporting() -> serde_json::Value {
    json!({"namespaceSelector": {}, "mode": "Enforce"})
}

#[test]
fn the_worst_widenings_are_listed_and_all_are_counted_and_the_tier_stays_ready() {
    let summaries: Vec<_> = (0..40)
        .map(|number| {
            Some(widened(
                number,
                "t1",
                Some(if number == 33 { Severity::Open } else { Severity::Port }),
            ))
        })
        .collect();
    let (tally, status) = said_of_widened(&reporting(), &summaries, None);
    assert_eq!(
        (tally.widening.of(Severity::Open), tally.widening.of(Severity::Port)),
        (1, 39)
    );
    assert_eq!(status.problems.len(), MAX_PROBLEMS);
    assert_eq!(status.problems[0].namespace.as_deref(), Some("hostile-33"));
    assert!(status.problems.iter().all(|problem| problem.reason == "Widened"));
    assert_eq!(status.condition("Ready").unwrap().status, "True");
}

#[test]
fn what_is_wrong_otherwise_is_listed_first() {
    let summaries: Vec<_> = (0..40)
        .map(|number| Some(widened(number, "t1", Some(Severity::Open))))
        .collect();
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce", "isolate": ["Ingress"], "allow": [{"name": "dns", "preset": "DNS"}]});
    let (_, status) = said_of_widened(&spec, &summaries, None);
    assert_eq!(status.problems[0].reason, "AllowanceHasNoEffect");
    assert_eq!(status.problems[1].reason, "Widened");
}

#[test]
fn what_was_held_to_another_tier_or_namespace_does_not_count_nor_what_is_ignored() {
    let of_another_namespace = WideningSummary {
        namespace_uid: String::from("before"),
        ..widened(1, "t1", Some(Severity::Open))
    };
    let summaries = [Some(widened(0, "t0", Some(Severity::Open))), Some(of_another_namespace)];
    let (tally, _) = said_of_widened(&reporting(), &summaries, None);
    assert_eq!((tally.widening.total(), tally.not_audited.len()), (0, 2));
    let ignoring = json!({"namespaceSelector": {}, "mode": "Enforce", "foreignPolicies": "Ignore"});
    let (tally, status) = said_of_widened(&ignoring, &[Some(widened(0, "t1", Some(Severity::Open)))], None);
    assert_eq!(
        (tally.widening.total(), tally.not_audited.len(), status.problems.len()),
        (0, 0, 0)
    );
}

// A process that has just started knows nothing: what was said would be unsaid, and said again a second later.
#[test]
fn what_was_said_of_a_namespace_stands_until_it_is_audited() {
    let (_, before) = said_of_widened(&reporting(), &[Some(widened(0, "t1", Some(Severity::Open)))], None);
    assert_eq!(before.problems.len(), 1);
    let (_, status) = said_of_widened(&reporting(), &[None], Some(&before));
    assert_eq!(status.problems, before.problems);
    let (_, status) = said_of_widened(&reporting(), &[Some(widened(0, "t1", None))], Some(&before));
    assert_eq!(status.problems, []);
}
