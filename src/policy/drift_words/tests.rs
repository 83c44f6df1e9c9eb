use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn record(drifted: &[(String, DriftKind)]) -> NamespaceRecord {
    let drifted = drifted.iter().map(|(name, kind)| {
        let open = OpenDrift {
            kind: *kind,
            since: Timestamp::UNIX_EPOCH,
        };
        (PolicyName::reserved(name).unwrap(), open)
    });
    NamespaceRecord {
        drifted: drifted.collect(),
        ..NamespaceRecord::default()
    }
}

fn named(name: &str, kind: DriftKind) -> (String, DriftKind) {
    (name.to_owned(), kind)
}

#[test]
fn the_words_are_these() {
    let said = drift_in_words(&record(&[
        named("cofferdam-allow-a-egress", DriftKind::Modified),
        named("cofferdam-baseline-egress", DriftKind::Missing),
    ]));
    assert_eq!(
        said,
        "cofferdam-baseline-egress missing, cofferdam-allow-a-egress modified, not healed yet"
    );
}

#[test]
fn the_third_of_four_is_read_too() {
    let said = drift_in_words(&record(&[
        named("cofferdam-allow-a-egress", DriftKind::Missing),
        named("cofferdam-baseline-egress", DriftKind::Missing),
        named("cofferdam-baseline-ingress", DriftKind::Missing),
        named("cofferdam-exception-x", DriftKind::Surplus),
    ]));
    let mut read = SaidMissing::default();
    read.read(&said);
    assert!(read.named.contains("cofferdam-baseline-ingress"), "{said}: {read:?}");
}

#[test]
fn what_is_worded_otherwise_says_nothing() {
    let mut read = SaidMissing::default();
    for text in [
        "",
        "all missing",
        "a missing, b missing",
        "a and 3 more",
        "missing, not healed yet",
    ] {
        read.read(text);
    }
    assert_eq!(read, SaidMissing::default());
}

proptest! {
    // A name may hold whatever the API server takes, also the words that the list is made of.
    #[test]
    fn every_missing_policy_is_read_back_and_no_other_while_all_are_named(
        drifted in prop::collection::btree_map(
            "cofferdam-(baseline|allow|exception)-([a-z]{1,4}|missing|and|more|3)(-missing|[.]and[.]2[.]more)?",
            prop::sample::select(DriftKind::ALL.to_vec()),
            1..8,
        ),
    ) {
        let drifted: Vec<_> = drifted.into_iter().collect();
        let mut read = SaidMissing::default();
        read.read(&drift_in_words(&record(&drifted)));
        for (name, kind) in &drifted {
            let name = PolicyName::reserved(name).unwrap();
            if *kind == DriftKind::Missing {
                prop_assert!(read.may_contain(&name), "{name}: {read:?}");
            } else if drifted.len() <= MAX_NAMED {
                prop_assert!(!read.may_contain(&name), "{name}: {read:?}");
            }
        }
    }
}
