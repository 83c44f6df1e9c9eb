//! Tenants who may write NetworkPolicies in a governed namespace: they neither block protection nor keep a hole.

use super::*;

const HOLE: &str = "cofferdam-allow-hole-egress";

/// A policy of a tenant that is being deleted, and that their finalizer holds.
fn held(policy: &str) -> (PolicyName, ObservedPolicy) {
    let (name, mut held) = stored(open_policy(policy));
    held.deleting = true;
    held.foreign
        .get_or_insert_default()
        .finalizers
        .push(String::from("tenant/forever"));
    (name, held)
}

fn governed() -> (World, Namespace, ObservedPolicies) {
    let (world, namespace) = (world([tier_x()], known_facts()), namespace("n", &[]));
    let standing = protected(&world, &namespace);
    (world, namespace, standing)
}

#[test]
fn a_hole_that_a_finalizer_holds_is_emptied() {
    let (world, namespace, mut standing) = governed();
    standing.extend([held(HOLE)]);
    let emptying = plan(&world, &namespace, &standing, None);
    assert_eq!(causes(&emptying), [(HOLE, Cause::Drift(DriftKind::Surplus))]);
    let object = emptying.extras[0].object(&namespace);
    assert_eq!(object.metadata.finalizers, Some(vec![String::from("tenant/forever")]));
    let spec = object.spec.as_ref().unwrap();
    assert_eq!((&spec.ingress, &spec.egress), (&None, &None));
    // It selects no pod: nothing else is isolated by it.
    let requirements = spec.pod_selector.as_ref().unwrap().match_expressions.as_ref().unwrap();
    let operators: Vec<_> = requirements
        .iter()
        .map(|requirement| requirement.operator.as_str())
        .collect();
    assert_eq!(
        (operators, requirements[0].key == requirements[1].key),
        (vec!["Exists", "DoesNotExist"], true)
    );
    // Once, until somebody fills it again.
    let (hole, mut emptied) = stored(object);
    emptied.deleting = true;
    standing.insert(hole.clone(), emptied);
    assert!(plan(&world, &namespace, &standing, None).is_empty());
    let second = plan(
        &world,
        &namespace,
        &standing,
        Some(&record_of(&world, &namespace, &emptying)),
    );
    assert!(second.is_empty());
    standing.get_mut(&hole).unwrap().spec = held(HOLE).1.spec;
    let third = plan(
        &world,
        &namespace,
        &standing,
        Some(&record_of(&world, &namespace, &second)),
    );
    assert_eq!(causes(&third), [(HOLE, Cause::Drift(DriftKind::Surplus))]);
}

#[test]
fn a_base_of_a_released_direction_that_a_finalizer_holds_stays() {
    // Emptying it would open the direction without the consistent read that a deletion takes.
    let (_, namespace, mut standing) = governed();
    let ingress_only = world([tier("x", json!({"isolate": ["Ingress"]}))], known_facts());
    standing.retain(|name, _| name.baseline_direction().is_some());
    standing.get_mut(&name(BASE_EGRESS)).unwrap().deleting = true;
    let plan = plan(&ingress_only, &namespace, &standing, None);
    assert_eq!((causes(&plan), plan.in_place.len()), (vec![], 2));
}

#[test]
fn a_stranger_under_the_name_of_a_base_that_a_finalizer_holds_is_emptied() {
    let namespace = namespace("n", &[]);
    let ingress_only = world([tier("x", json!({"isolate": ["Ingress"]}))], known_facts());
    let mut standing = protected(&ingress_only, &namespace);
    standing.extend([held(BASE_EGRESS)]);
    assert_eq!(
        causes(&plan(&ingress_only, &namespace, &standing, None)),
        [(BASE_EGRESS, Cause::Drift(DriftKind::Surplus))]
    );
}

#[test]
fn a_wanted_policy_that_a_finalizer_holds_is_healed_in_place() {
    let (world, namespace, mut standing) = governed();
    standing.extend([held(BASE_EGRESS)]);
    let healing = plan(&world, &namespace, &standing, None);
    assert!(
        matches!(
            healing.bases[..],
            [Write {
                action: Action::Replace { .. },
                ..
            }]
        ) && healing.removals.is_empty()
    );
    standing.extend(observed(&namespace, healing.writes()));
    standing.get_mut(&name(BASE_EGRESS)).unwrap().deleting = true;
    assert!(plan(&world, &namespace, &standing, None).is_empty());
    standing.remove(&name(BASE_EGRESS));
    assert_eq!(
        plan(&world, &namespace, &standing, None).bases[0].action,
        Action::Create
    );
}

#[test]
fn who_was_there_first_is_replaced_and_keeps_only_its_own_metadata() {
    let (world, namespace) = (world([tier_x()], known_facts()), namespace("n", &[]));
    let mut squatter = open_policy(BASE_EGRESS);
    let text = |text: &str| text.to_owned();
    squatter.metadata.labels = Some([(text("theirs"), text("1")), (text("cofferdam.dev/tier"), text("y"))].into());
    squatter.metadata.annotations =
        Some([(text("theirs"), text("2")), (text("cofferdam.dev/rendered"), text("x"))].into());
    let standing = [stored(squatter)].into();
    let plan = plan(&world, &namespace, &standing, None);
    let object = plan
        .bases
        .iter()
        .find(|write| write.name.as_str() == BASE_EGRESS)
        .unwrap()
        .object(&namespace);
    let metadata = serde_json::to_value(&object.metadata).unwrap();
    assert_eq!(
        metadata["labels"],
        json!({"theirs": "1", "cofferdam.dev/tier": "x", "app.kubernetes.io/managed-by": "cofferdam"})
    );
    assert_eq!(metadata["annotations"]["theirs"], "2");
    let tier = json!({"apiVersion": "cofferdam.dev/v1alpha1", "kind": "IsolationTier", "name": "x", "uid": "uid-x", "controller": true});
    let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": "n", "uid": "uid-n"});
    assert_eq!(metadata["ownerReferences"], json!([tier, owner]));
    assert_eq!(
        (&metadata["uid"], &metadata["resourceVersion"]),
        (&json!("uid-policy"), &json!("7"))
    );
    assert_eq!(stored(object).1.spec, plan.bases[0].policy.digest);
}

#[test]
fn an_owner_that_does_not_exist_is_healed() {
    // The garbage collector looks an owner up by its name: under another one, the namespace counts as gone, and
    // deleting the tier would delete the policy.
    let (world, namespace, _) = governed();
    let first = plan(&world, &namespace, &ObservedPolicies::new(), None);
    let objects = first.writes().map(|write| {
        let mut object = write.object(&namespace);
        for owner in object
            .metadata
            .owner_references
            .iter_mut()
            .flatten()
            .filter(|owner| owner.kind == "Namespace")
        {
            owner.name = String::from("other");
        }
        stored(object)
    });
    let plan = plan(&world, &namespace, &objects.collect(), None);
    assert_eq!(
        plan.drift().map(|(_, kind)| kind).collect::<Vec<_>>(),
        [DriftKind::Disowned; 3]
    );
}
