use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::{Value, json};

use super::*;
use crate::api::Direction;
use crate::api::names::FIELD_MANAGER;
use crate::policy::ParsedTier;
use crate::policy::drift_words::SaidMissing;
use crate::policy::fixture::{TIER_CREATED, known_facts, namespace, open_policy, second, tier, world};
use crate::policy::widening::Severity;

const NOW: i64 = TIER_CREATED + 1000;
const WRITTEN: i64 = TIER_CREATED + 10;

fn restricted() -> ParsedTier {
    tier(
        "restricted",
        json!({"allow": [{"name": "same", "preset": "SameNamespace"}]}),
    )
}

/// What stands once the controller has written, as a list shows it.
fn written(world: &World, namespace: &Namespace) -> Vec<NetworkPolicy> {
    let plan = crate::policy::plan(world, namespace, &ObservedPolicies::new(), None);
    let as_stored = |write: &Write| {
        let mut policy = write.object(namespace);
        policy.metadata.uid = Some(format!("uid-{}", write.name));
        policy.metadata.resource_version = Some(String::from("7"));
        policy.metadata.creation_timestamp = Some(Time(second(WRITTEN)));
        policy.metadata.managed_fields = Some(vec![managed(FIELD_MANAGER, WRITTEN, &[])]);
        policy
    };
    plan.writes().map(as_stored).collect()
}

fn managed(manager: &str, time: i64, spec_fields: &[&str]) -> ManagedFieldsEntry {
    let fields: serde_json::Map<_, _> = spec_fields
        .iter()
        .map(|field| (format!("f:{field}"), json!({})))
        .collect();
    serde_json::from_value(json!({
        "manager": manager, "operation": "Update", "time": second(time).to_string(),
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields},
    }))
    .unwrap()
}

fn edit(policy: &mut NetworkPolicy, manager: &str, time: i64, ingress: Value) {
    policy.spec.as_mut().unwrap().ingress = serde_json::from_value(ingress).unwrap();
    let fields = policy.metadata.managed_fields.get_or_insert_default();
    fields.push(managed(manager, time, &["ingress"]));
}

fn settled() -> Told {
    Told {
        settled: true,
        ..Told::default()
    }
}

fn stand<'world>(
    world: &'world World,
    namespace: &Namespace,
    policies: &[NetworkPolicy],
    told: &Told,
) -> Standing<'world> {
    standing(world, namespace, policies, |_| told.clone(), second(NOW))
}

fn ingress(policies: &mut [NetworkPolicy]) -> &mut NetworkPolicy {
    let mut found = policies
        .iter_mut()
        .filter(|policy| policy.metadata.name.as_deref() == Some("cofferdam-baseline-ingress"));
    found.next().unwrap()
}

#[test]
fn the_state_follows_from_who_governs_and_what_stands() {
    let observing = tier("watcher", json!({"mode": "Observe"}));
    let (enforced, empty) = (world([restricted()], known_facts()), world([], known_facts()));
    let observed = world([observing], known_facts());
    let elsewhere = tier("restricted", json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}));
    let elsewhere = world([elsewhere], known_facts());
    let n = namespace("n", &[]);
    let terminating = Namespace {
        terminating: true,
        ..n.clone()
    };
    let ours = written(&enforced, &n);
    let nothing: &[NetworkPolicy] = &[];
    let unresolved = world(
        [tier("restricted", json!({"allow": [{"name": "dns", "preset": "DNS"}]}))],
        crate::policy::Facts::unread(),
    );
    let older = crate::policy::fixture::older_namespace("n");
    for (case, world, namespace, policies, expected) in [
        ("all in place", &enforced, &n, &*ours, State::Protected),
        ("nothing there yet", &enforced, &n, nothing, State::Pending),
        ("waits for DNS", &unresolved, &older, nothing, State::Pending),
        ("no tier, nothing there", &empty, &n, nothing, State::Ungoverned),
        ("no tier, its policies are there", &empty, &n, &*ours, State::Retained),
        ("the tier selects it no more", &elsewhere, &n, &*ours, State::Left),
        ("only observed", &observed, &n, &*ours, State::Observed),
        (
            "exempt by name",
            &enforced,
            &namespace_named("kube-system"),
            nothing,
            State::Exempt,
        ),
        ("being deleted", &enforced, &terminating, nothing, State::Terminating),
    ] {
        let standing = stand(world, namespace, policies, &Told::default());
        assert_eq!(standing.state, expected, "{case}");
        assert!(standing.drift.is_empty(), "{case}: {:?}", standing.drift);
    }
}

fn namespace_named(name: &str) -> Namespace {
    namespace(name, &[])
}

#[test]
fn what_only_the_controller_knows_is_taken_from_it() {
    let world = world([restricted()], known_facts());
    let n = namespace("n", &[]);
    let ours = written(&world, &n);
    let failed = Told {
        failed: true,
        ..Told::default()
    };
    let contested = Told {
        contested: true,
        ..Told::default()
    };
    assert_eq!(stand(&world, &n, &[], &failed).state, State::Failed);
    assert_eq!(stand(&world, &n, &ours, &contested).state, State::Contested);
    // What was said before all was put right does not count.
    assert_eq!(stand(&world, &n, &ours, &failed).state, State::Protected);
}

#[test]
fn an_edit_is_drift_with_who_and_what_and_since_when() {
    let world = world([restricted()], known_facts());
    let n = namespace("n", &[]);
    let mut policies = written(&world, &n);
    edit(ingress(&mut policies), "kubectl-patch", WRITTEN + 5, json!([{}]));
    let standing = stand(&world, &n, &policies, &Told::default());
    assert_eq!(standing.state, State::Drifted);
    assert_eq!(standing.since, Some(second(WRITTEN + 5)));
    let [drift] = &*standing.drift else {
        panic!("{:?}", standing.drift)
    };
    assert_eq!(drift.kind, DriftKind::Modified);
    let attribution = drift.attribution.as_ref().unwrap();
    assert_eq!(attribution.manager.as_ref().unwrap().name, "kubectl-patch");
    assert_eq!(attribution.changes[0].path, "spec.ingress[0].from");
}

#[test]
fn a_time_that_cannot_be_right_is_no_time() {
    let world = world([restricted()], known_facts());
    let n = namespace("n", &[]);
    for (time, expected) in [
        (WRITTEN, Some(second(WRITTEN))),
        (NOW + 60, Some(second(NOW + 60))),
        (WRITTEN - 1, None),
        (NOW + 3600, None),
    ] {
        let mut policies = written(&world, &n);
        edit(ingress(&mut policies), "liar", time, json!([{}]));
        let standing = stand(&world, &n, &policies, &Told::default());
        assert_eq!((standing.state, standing.since), (State::Drifted, expected), "{time}");
    }
    let mut policies = written(&world, &n);
    ingress(&mut policies).metadata.managed_fields = None;
    assert_eq!(stand(&world, &n, &policies, &Told::default()).since, None);
}

#[test]
fn what_is_protected_is_so_since_the_last_change_to_its_policies() {
    let world = world([restricted()], known_facts());
    let n = namespace("n", &[]);
    let mut policies = written(&world, &n);
    assert_eq!(stand(&world, &n, &policies, &settled()).since, Some(second(WRITTEN)));
    ingress(&mut policies).metadata.managed_fields = Some(vec![managed(FIELD_MANAGER, WRITTEN + 60, &[])]);
    policies.push(open_policy("theirs"));
    assert_eq!(
        stand(&world, &n, &policies, &settled()).since,
        Some(second(WRITTEN + 60))
    );
}

fn said(message: &str) -> SaidMissing {
    let mut missing = SaidMissing::default();
    missing.read(message);
    missing
}

// A missing policy has no marks. That it was there is known where the tier said so and its sibling still stands.
#[test]
fn what_is_missing_is_drift_only_where_it_is_known_to_have_been_there() {
    let world = world([restricted()], known_facts());
    let n = namespace("n", &[]);
    let mut policies = written(&world, &n);
    policies.retain(|policy| policy.metadata.name.as_deref() != Some("cofferdam-baseline-ingress"));
    let named = Told {
        missing: said("cofferdam-baseline-ingress missing, not healed yet"),
        ..Told::default()
    };
    for (case, policies, told, expected) in [
        (
            "the tier was in place, and a sibling is",
            &*policies,
            settled(),
            State::Drifted,
        ),
        ("the controller says so", &policies, named.clone(), State::Drifted),
        ("a tier that changed since", &policies, Told::default(), State::Pending),
        ("a namespace that may be new", &[], settled(), State::Pending),
        ("the other one is missing too", &[], named, State::Drifted),
    ] {
        let standing = stand(&world, &n, policies, &told);
        assert_eq!(standing.state, expected, "{case}");
        let kinds: Vec<_> = standing.drift.iter().map(|drift| drift.kind).collect();
        let drifted = expected == State::Drifted;
        assert_eq!(kinds, vec![DriftKind::Missing; usize::from(drifted)], "{case}");
        assert!(standing.drift.iter().all(|drift| drift.attribution.is_none()), "{case}");
    }
}

#[test]
fn what_lost_every_mark_is_drift_where_it_is_known_to_have_been_ours() {
    let world = world([restricted()], known_facts());
    let n = namespace("n", &[]);
    for (change, expected) in [(None, DriftKind::Disowned), (Some(json!([{}])), DriftKind::Modified)] {
        let mut policies = written(&world, &n);
        let stripped = ingress(&mut policies);
        stripped.metadata.labels = None;
        stripped.metadata.annotations = None;
        stripped.metadata.owner_references = None;
        if let Some(rules) = change {
            edit(stripped, "thief", WRITTEN + 5, rules);
        }
        let standing = stand(&world, &n, &policies, &settled());
        let kinds: Vec<_> = standing.drift.iter().map(|drift| drift.kind).collect();
        assert_eq!(kinds, [expected]);
        assert_eq!(stand(&world, &n, &policies, &Told::default()).state, State::Pending);
    }
}

// What stood before is not known then: the last good policy had rules that cannot be rendered now.
#[test]
fn no_field_is_named_where_what_is_wanted_is_not_known() {
    let with_dns = || tier("restricted", json!({"allow": [{"name": "dns", "preset": "DNS"}]}));
    let n = namespace("n", &[]);
    let mut policies = written(&world([with_dns()], known_facts()), &n);
    let egress = policies
        .iter_mut()
        .find(|policy| policy.metadata.name.as_deref() == Some(PolicyName::baseline(Direction::Egress).as_str()));
    egress.unwrap().spec = Some(NetworkPolicySpec {
        policy_types: Some(vec![String::from("Egress")]),
        ..serde_json::from_value(json!({"podSelector": {}, "egress": [{}]})).unwrap()
    });
    let world = world([with_dns()], crate::policy::Facts::unread());
    let standing = stand(&world, &n, &policies, &Told::default());
    let [drift] = &*standing.drift else {
        panic!("{:?}", standing.drift)
    };
    assert_eq!(drift.kind, DriftKind::Modified);
    assert!(drift.attribution.as_ref().unwrap().changes.is_empty());
}

#[test]
fn what_widens_comes_with_the_worst_first() {
    let world = world([restricted()], known_facts());
    let n = namespace("n", &[]);
    let mut policies = written(&world, &n);
    policies.push(serde_json::from_value(json!({
        "metadata": {"name": "a-port"}, "spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}]}], "policyTypes": ["Egress"]},
    })).unwrap());
    policies.push(open_policy("open"));
    let standing = stand(&world, &n, &policies, &Told::default());
    let found: Vec<_> = standing
        .widenings
        .iter()
        .map(|widening| (widening.policy.as_str(), widening.severity))
        .collect();
    let open = ("open", Severity::Open);
    assert_eq!(found, [open, open, ("a-port", Severity::External)]);
    assert_eq!(standing.state, State::Protected, "somebody else's policy is no drift");
}

#[test]
fn a_status_of_another_release_says_nothing() {
    for status in [json!(null), json!("text"), json!({"problems": 7})] {
        assert_eq!(Told::read(&status, 1, "n"), Told::default());
    }
}

#[test]
fn the_status_of_a_tier_tells_of_one_namespace() {
    let status = json!({
        "observedGeneration": 3,
        "conditions": [{"type": "Ready", "status": "True", "reason": "ReconcileSucceeded", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "problems": [
            {"namespace": "n", "reason": "Contested", "message": "cofferdam-baseline-ingress is fought over"},
            {"namespace": "n", "reason": "Drifted", "message": "cofferdam-baseline-egress missing, cofferdam-allow-a-egress modified, not healed yet"},
            {"namespace": "other", "reason": "Forbidden", "message": "not here"},
            {"namespace": "wide", "reason": "Widened", "message": "a policy of theirs opens it"},
        ],
    });
    assert!(
        !Told::read(&status, 3, "wide").failed,
        "what somebody else allows is no failure of ours"
    );
    let told = Told::read(&status, 3, "n");
    assert!(told.settled && told.contested && !told.failed);
    let missing = |name| told.missing.may_contain(&PolicyName::reserved(name).unwrap());
    assert!(missing("cofferdam-baseline-egress") && !missing("cofferdam-allow-a-egress"));
    assert_eq!(told.problems.len(), 2);
    let told = Told::read(&status, 4, "other");
    assert!(!told.settled && told.failed && !told.contested);
}
