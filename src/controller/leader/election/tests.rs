//! Case by case: what a replica does next, given what it saw.

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(milliseconds: u64) -> Moment {
    Moment::default().after(Duration::from_millis(milliseconds))
}

/// A lease of 15 s, trusted for 10, asked for every 2.
fn election() -> Election {
    Election::new(
        "me".into(),
        LeaseSettings::new(seconds(15), seconds(10), seconds(2)).unwrap(),
    )
}

fn lease(version: &str, holder: &str) -> LeaseRecord {
    LeaseRecord {
        version: version.into(),
        holder: holder.into(),
        duration: seconds(15),
    }
}

/// Leads by a lease that it created with a request sent at 1 s.
fn leader() -> Election {
    let mut election = election();
    election.read(None, at(1000));
    election.written(lease("1", "me"), at(1000), at(1500));
    election
}

#[test]
fn looks_before_it_does_anything() {
    assert_eq!(election().decide(at(0)), Step::Read);
}

#[test]
fn what_a_first_look_leads_to() {
    let cases = [
        ("no lease", None, Step::Create),
        ("a released one", Some(lease("7", "")), Step::Acquire),
        ("our own: its answer was lost", Some(lease("7", "me")), Step::Renew),
        // How old it is cannot be told: its times are of another clock.
        ("another's", Some(lease("7", "other")), Step::WaitUntil(at(3000))),
    ];
    for (description, found, expected) in cases {
        let mut election = election();
        election.read(found, at(1000));
        assert_eq!(election.decide(at(1000)), expected, "{description}");
        assert_eq!(election.claim_ends(), None, "{description}: looking claims nothing");
    }
}

#[test]
fn another_is_waited_for_from_its_last_sign_on() {
    let mut election = election();
    election.read(Some(lease("1", "other")), at(1000));
    assert_eq!(election.decide(at(3000)), Step::Read);
    election.read(Some(lease("2", "other")), at(3000));
    // No sign any more. The last look is at the very end, not one period later.
    for second in [5, 7, 9, 11, 13, 15] {
        assert_eq!(election.decide(at(second * 1000)), Step::Read, "{second} s");
        election.read(Some(lease("2", "other")), at(second * 1000));
        let next = (second + 2) * 1000;
        assert_eq!(election.decide(at(next - 1)), Step::WaitUntil(at(next)), "{second} s");
    }
    election.read(Some(lease("2", "other")), at(17_000));
    assert_eq!(election.decide(at(17_000)), Step::WaitUntil(at(18_000)));
    assert_eq!(election.decide(at(18_000)), Step::Read);
    election.read(Some(lease("2", "other")), at(18_000));
    assert_eq!(election.decide(at(18_000)), Step::Acquire);
}

#[test]
fn a_lease_lasts_as_long_as_its_holder_says() {
    let mut election = election();
    let longer = LeaseRecord {
        duration: seconds(60),
        ..lease("1", "other")
    };
    election.read(Some(longer.clone()), at(0));
    election.read(Some(longer.clone()), at(59_999));
    assert_eq!(election.decide(at(59_999)), Step::WaitUntil(at(60_000)));
    election.read(Some(longer), at(60_000));
    assert_eq!(election.decide(at(60_000)), Step::Acquire);
}

#[test]
fn a_deleted_lease_does_not_end_what_its_holder_may_do() {
    let mut election = election();
    election.read(Some(lease("1", "other")), at(0));
    election.read(None, at(2000));
    assert_eq!(election.decide(at(2000)), Step::WaitUntil(at(4000)));
    election.read(None, at(15_000));
    assert_eq!(election.decide(at(15_000)), Step::Create);
}

#[test]
fn a_claim_counts_from_before_its_request_was_sent() {
    let mut election = leader();
    assert_eq!(election.claim_ends(), Some(at(11_000)));
    assert_eq!(election.decide(at(2999)), Step::WaitUntil(at(3000)));
    assert_eq!(election.decide(at(3000)), Step::Renew);
    election.written(lease("2", "me"), at(3000), at(7000));
    assert_eq!(election.claim_ends(), Some(at(13_000)));
    assert_eq!(
        election.decide(at(7000)),
        Step::Renew,
        "two seconds after the last request, not after its answer"
    );
}

#[test]
fn a_claim_ends_on_time_whatever_was_about_to_be_done() {
    for failed_at in [None, Some(3000), Some(10_900)] {
        let mut election = leader();
        if let Some(sent) = failed_at {
            election.failed(at(sent));
        }
        assert_ne!(election.decide(at(10_999)), Step::Resign, "{failed_at:?}");
        assert_eq!(election.decide(at(11_000)), Step::Resign, "{failed_at:?}");
    }
    let mut waiting = leader();
    waiting.failed(at(10_000));
    assert_eq!(
        waiting.decide(at(10_500)),
        Step::WaitUntil(at(11_000)),
        "woken at its end"
    );
}

#[test]
fn an_answer_that_comes_after_the_claim_ended_revives_nothing() {
    // Frozen between request and answer.
    let mut leading = leader();
    leading.written(lease("2", "me"), at(3000), at(13_000));
    assert_eq!(leading.decide(at(13_000)), Step::Resign);
    let mut standing_by = election();
    standing_by.read(None, at(1000));
    standing_by.written(lease("1", "me"), at(1000), at(11_000));
    assert_eq!(standing_by.claim_ends(), None);
    assert_eq!(standing_by.decide(at(11_000)), Step::Read);
    standing_by.read(Some(lease("1", "me")), at(11_000));
    assert_eq!(standing_by.decide(at(11_000)), Step::Renew);
}

#[test]
fn a_leader_that_meets_another_version_looks_whose_it_is() {
    let cases = [
        (
            "our own, of a request whose answer was lost",
            Some(lease("9", "me")),
            Step::Renew,
        ),
        ("nobody's: released by hand", Some(lease("9", "")), Step::Acquire),
        ("deleted by hand", None, Step::Create),
        ("another's", Some(lease("9", "other")), Step::Resign),
    ];
    for (description, found, expected) in cases {
        let mut election = leader();
        election.refused();
        assert_eq!(election.decide(at(3000)), Step::Read, "{description}");
        election.read(found, at(3000));
        assert_eq!(election.decide(at(3000)), expected, "{description}");
    }
}

#[test]
fn a_failed_request_is_tried_again_after_a_period() {
    let mut standing_by = election();
    standing_by.failed(at(1000));
    assert_eq!(standing_by.decide(at(1500)), Step::WaitUntil(at(3000)));
    assert_eq!(standing_by.decide(at(3000)), Step::Read);
    standing_by.read(None, at(3000));
    standing_by.failed(at(3000));
    assert_eq!(
        standing_by.decide(at(5000)),
        Step::Read,
        "the write may have been carried out"
    );
    let mut leading = leader();
    leading.failed(at(3000));
    assert_eq!(
        leading.decide(at(8000)),
        Step::Renew,
        "at once where the failure took longer than a period"
    );
}

#[test]
fn only_what_is_ours_is_released() {
    let mut leading = leader();
    assert!(leading.resign());
    assert_eq!(leading.claim_ends(), None);
    assert!(!election().resign());
    let mut standing_by = election();
    standing_by.read(Some(lease("1", "other")), at(1000));
    assert!(!standing_by.resign());
    let mut lost_answer = election();
    lost_answer.read(Some(lease("1", "me")), at(1000));
    assert!(lost_answer.resign(), "nobody else would free it");
}
