//! Every interleaving of a small cluster: two tiers, two namespaces, an administrator, a tenant, a garbage collector,
//! watches that are behind, and a controller that may crash anywhere, whose plans are the real ones.
//!
//! **Invariant 1** is judged at each step: where a write of ours opens a direction, there was a moment of the consistent
//! read before it, from its first request to its last, at which no tier isolated that direction. What changes after
//! that read is the only window.
//! **Invariant 2**: nothing is written or deleted but for the tier that governs, and of exactly the revision that was planned
//! against; where nobody governs, only what carries every mark of a tier that stands is deleted. Names that are not
//! reserved cannot occur in a plan: its type has no place for them.
//! **Invariant 4**: from every state, whatever was done and wherever it crashed, the controller comes to rest once nobody
//! disturbs it, and then what stands is the pure function of tiers and labels, also for a controller that starts anew.
//!
//! Not in the model: time (contests), facts (every allowance is literal), finalizers, namespaces that come and go.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a law is broken by panicking

mod broken;
mod catalogue;
mod cluster;
mod contents;
mod encoding;
mod explore;
mod habits;
mod judge;
mod scenario;
mod steps;
mod watching;
mod working;

use catalogue::Catalogue;
use cluster::Budgets;
use explore::{Report, explore};
use habits::Habits;
use scenario::{EGRESS, INGRESS, Scenario, TenantMove, Variant};

/// So many states are explored at most: a scenario that grows past it is to be split.
const STATES: usize = 5_000_000;

const A: Variant = Variant::plain(&["a"], INGRESS);
const B: Variant = Variant::plain(&["a", "b"], INGRESS | EGRESS).at_port(90);

fn run(scenario: Scenario, habits: Habits) -> Report {
    let name = scenario.name;
    let mut catalogue = Catalogue::new(scenario, habits);
    let report = explore(&mut catalogue, STATES);
    let (contents, plans, records) = catalogue.sizes();
    println!(
        "{name}: {} states ({} at rest), {} steps, at most {} deep; {plans} plans, {contents} policies, {records} records",
        report.states, report.at_rest, report.steps, report.depth
    );
    report
}

/// Explores a scenario with our own plans.
fn holds(scenario: Scenario) {
    let report = run(scenario, Habits::ours());
    if let Some(violation) = report.violation {
        panic!("{}", violation.in_words());
    }
}

/// An administrator, a tenant and a crash, in one namespace, where both tiers want something.
fn one_namespace() -> Scenario {
    Scenario {
        name: "one namespace",
        namespaces: 1,
        tiers: [
            vec![A, A.at_port(81).with_extra(), Variant::plain(&["c"], INGRESS)],
            vec![B],
        ],
        labels: vec![Some("a"), Some("b"), None],
        tenant: vec![TenantMove::Delete(0), TenantMove::Open(0)],
        first_tiers: [Some(0), Some(0)],
        first_labels: [0, 0],
        starts_at_rest: true,
        left: Budgets {
            admin: 2,
            tenant: 1,
            crashes: 1,
            faults: 0,
        },
        prompt_answers: true,
    }
}

#[test]
fn one_namespace_two_edits_a_tenant_and_a_crash() {
    holds(one_namespace());
}

#[test]
fn two_namespaces_an_edit_a_tenant_and_a_crash() {
    holds(Scenario {
        name: "two namespaces",
        namespaces: 2,
        tiers: [
            vec![A, Variant::plain(&["c"], INGRESS)],
            vec![Variant::plain(&["a", "b"], INGRESS).at_port(90)],
        ],
        labels: vec![Some("a"), None],
        tenant: vec![TenantMove::Delete(0), TenantMove::Strip(0)],
        ..one_namespace()
    });
}

#[test]
fn answers_that_come_after_the_watch_shows_more() {
    holds(Scenario {
        name: "late answers",
        tiers: [vec![A, A.at_port(81).with_extra()], vec![B]],
        labels: vec![Some("a"), None],
        tenant: vec![
            TenantMove::Delete(0),
            TenantMove::Open(0),
            TenantMove::CreateLabelled(0),
        ],
        left: Budgets {
            admin: 1,
            tenant: 2,
            crashes: 1,
            faults: 0,
        },
        prompt_answers: false,
        ..one_namespace()
    });
}

#[test]
fn every_move_of_a_tenant_while_writes_fail() {
    holds(Scenario {
        name: "a hostile tenant",
        tenant: every_move(),
        labels: vec![Some("a"), None],
        left: Budgets {
            admin: 1,
            tenant: 1,
            crashes: 1,
            faults: 1,
        },
        ..one_namespace()
    });
}

#[test]
fn tiers_that_observe_break_and_are_replaced() {
    holds(Scenario {
        name: "tiers of every kind",
        tiers: [
            vec![
                A,
                A.observing(),
                A.at_port(82).broken(),
                Variant::plain(&["c"], INGRESS).broken(),
                Variant::plain(&["c"], INGRESS),
                A.again(),
            ],
            vec![B],
        ],
        labels: vec![Some("a"), None],
        tenant: vec![TenantMove::Delete(0), TenantMove::Forge(3, 0, 0)],
        left: Budgets {
            admin: 2,
            tenant: 1,
            crashes: 1,
            faults: 0,
        },
        first_tiers: [Some(0), None],
        ..one_namespace()
    });
}

#[test]
fn a_namespace_that_moves_while_its_release_is_confirmed() {
    holds(moving_while_confirmed());
}

#[test]
#[ignore = "some minutes: cargo test --test model -- --ignored"]
fn everything_at_once() {
    holds(Scenario {
        name: "everything at once",
        tiers: [
            vec![
                A,
                A.observing(),
                A.at_port(81).with_extra(),
                Variant::plain(&["c"], EGRESS).broken(),
                Variant::plain(&["c"], EGRESS),
                A.again(),
            ],
            vec![B],
        ],
        tenant: every_move(),
        left: Budgets {
            admin: 2,
            tenant: 1,
            crashes: 1,
            faults: 1,
        },
        ..one_namespace()
    });
}

/// No tier ever lets go of the namespace, but it takes four edits to show.
fn moving_while_confirmed() -> Scenario {
    Scenario {
        name: "moving while confirmed",
        tiers: [
            vec![A, Variant::plain(&["c"], INGRESS)],
            vec![Variant::plain(&["b"], INGRESS)],
        ],
        labels: vec![Some("a"), Some("b")],
        tenant: Vec::new(),
        left: Budgets {
            admin: 4,
            tenant: 0,
            crashes: 0,
            faults: 0,
        },
        ..one_namespace()
    }
}

fn every_move() -> Vec<TenantMove> {
    vec![
        TenantMove::Delete(0),
        TenantMove::Open(0),
        TenantMove::OpenSigned(1),
        TenantMove::Strip(0),
        TenantMove::Unlabel(0),
        TenantMove::CreateLabelled(2),
        TenantMove::Forge(3, 1, 0),
    ]
}
