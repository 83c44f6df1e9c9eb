use super::*;
use crate::policy::widening::PoliciesBySeverity;

fn summary(complete: bool) -> WideningSummary {
    WideningSummary {
        namespace_uid: "n".into(),
        tier_uid: "t".into(),
        policies: PoliciesBySeverity::default(),
        worst: None,
        complete,
    }
}

// Ten thousand namespaces without anybody else's policy held 14 MiB of judgements of nothing.
#[test]
fn of_a_namespace_without_foreign_policies_no_judgement_is_kept() {
    let ledger = WideningLedger::default();
    assert!(ledger.take("n").is_none(), "nothing is known yet");
    assert!(ledger.record("n", Judgements::new(true), Some(summary(true))));
    assert!(ledger.entries().judgements.is_empty());
    assert!(ledger.take("n").is_some(), "what comes now did not stand before us");
    assert!(!ledger.record("n", Judgements::of_nothing(), Some(summary(true))));
}

// Where a tier holds them to nothing, or not all was judged, it is not known yet whether what stands is news.
#[test]
fn what_was_not_audited_stays_as_it_was() {
    let ledger = WideningLedger::default();
    for summary in [None, Some(summary(false))] {
        ledger.record("n", Judgements::new(true), summary);
        assert_eq!(ledger.entries().judgements.len(), 1);
        assert!(ledger.take("n").is_some());
    }
}
