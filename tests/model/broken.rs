//! Plans that are broken in one way each, and the shortest way to what that does.

use crate::cluster::Budgets;
use crate::habits::{self, Habits, Order};
use crate::scenario::{INGRESS, Scenario, Variant};
use crate::{A, every_move, moving_while_confirmed, one_namespace, run};

/// The least in which nearly everything can go wrong.
fn small() -> Scenario {
    Scenario {
        name: "broken",
        tenant: every_move(),
        labels: vec![Some("a"), None],
        left: Budgets {
            admin: 1,
            tenant: 1,
            crashes: 0,
            faults: 1,
        },
        ..one_namespace()
    }
}

/// Explores with those habits, and expects to find what they break.
fn is_found(scenario: Scenario, habits: Habits, what: &str) {
    let violation = run(scenario, habits).violation.expect("the model does not see it");
    println!("{}", violation.in_words());
    assert!(violation.fault.contains(what), "found instead: {}", violation.fault);
}

#[test]
fn deleting_before_creating_is_found() {
    let habits = Habits {
        order: Order::DeleteBeforeCreate,
        ..Habits::ours()
    };
    is_found(small(), habits, "invariant 1");
}

#[test]
fn adopting_by_label_is_found() {
    let habits = Habits {
        planner: habits::adopting_by_label,
        ..Habits::ours()
    };
    is_found(small(), habits, "invariant 2");
}

#[test]
fn blindness_for_what_lost_its_label_is_found() {
    let habits = Habits {
        planner: habits::blind_without_label,
        ..Habits::ours()
    };
    is_found(small(), habits, "invariant 4");
}

#[test]
fn a_release_without_consistent_read_is_found() {
    let habits = Habits {
        reads_before_release: false,
        ..Habits::ours()
    };
    is_found(small(), habits, "invariant 1");
}

#[test]
fn a_consistent_read_that_is_of_no_moment_is_found() {
    let habits = Habits {
        reads_namespace_twice: false,
        ..Habits::ours()
    };
    is_found(moving_while_confirmed(), habits, "invariant 1");
}

#[test]
fn pruning_although_a_write_failed_is_found() {
    let habits = Habits {
        prunes_only_after_success: false,
        ..Habits::ours()
    };
    let with_extra = Scenario {
        tiers: [vec![A, A.at_port(81).with_extra()], vec![]],
        tenant: Vec::new(),
        first_tiers: [Some(1), None],
        ..small()
    };
    is_found(with_extra, habits, "order");
}

#[test]
fn a_tier_as_the_only_owner_is_found() {
    let habits = Habits {
        two_owners: false,
        ..Habits::ours()
    };
    is_found(small(), habits, "garbage collector");
}

#[test]
fn a_delete_without_preconditions_is_found() {
    let habits = Habits {
        preconditions: false,
        ..Habits::ours()
    };
    is_found(small(), habits, "invariant 2");
}

#[test]
fn a_conflict_that_is_not_looked_at_again_is_found() {
    let habits = Habits {
        retries: false,
        ..Habits::ours()
    };
    is_found(small(), habits, "invariant 4");
}

#[test]
fn an_observe_tier_taken_for_none_is_found() {
    let habits = Habits {
        planner: habits::releasing_what_is_observed,
        ..Habits::ours()
    };
    let observing = Scenario {
        tiers: [vec![A, A.observing()], vec![Variant::plain(&["b"], INGRESS)]],
        first_tiers: [Some(0), Some(0)],
        ..small()
    };
    is_found(observing, habits, "invariant 2");
}

#[test]
fn writing_what_stands_is_found() {
    let habits = Habits {
        planner: habits::never_content,
        ..Habits::ours()
    };
    is_found(small(), habits, "invariant 3");
}
