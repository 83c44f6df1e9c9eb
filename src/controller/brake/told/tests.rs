use super::*;
use crate::policy::brake::{Census, MaxUnprotected, Release};

const NOW: &str = "2026-11-25T18:20:00Z";

fn told(releases: &Value) -> Result<Told, Unreadable> {
    read(releases, NOW.parse().unwrap())
}

fn release(namespace: &str) -> Release {
    Release {
        namespace: namespace.to_owned(),
        direction: Direction::Egress,
        policy_uid: format!("uid-{namespace}").into(),
        tier_uid: "t".into(),
    }
}

#[test]
fn what_cannot_be_what_a_controller_wrote_is_not_nothing() {
    for (wrong, why) in [
        (json!("many"), "invalid type"),
        (json!({"ingress": 1, "egress": 1}), "latestTime"),
        (json!({"ingress": "1", "egress": 1, "latestTime": NOW}), "invalid type"),
        (
            json!({"ingress": -1, "egress": 1, "latestTime": NOW}),
            "expected 0 to 1000000 namespaces, found -1",
        ),
        (
            json!({"ingress": 1, "egress": i64::MAX, "latestTime": NOW}),
            "found 9223372036854775807",
        ),
        (
            json!({"ingress": 1, "egress": 1, "latestTime": NOW, "confirmed": {"remaining": ""}}),
            "digest",
        ),
        (
            json!({"ingress": 1, "egress": 1, "latestTime": NOW, "confirmed": {"digest": "d", "remaining": "AAAA"}}),
            "8 bytes for each release, found 3 bytes",
        ),
        (
            json!({"ingress": 1, "egress": 1, "latestTime": NOW, "confirmed": {"digest": "d", "remaining": "?"}}),
            "Invalid",
        ),
    ] {
        let error = told(&wrong).unwrap_err();
        assert!(error.why.contains(why), "{wrong}: {error:?}");
        assert_eq!(error.left, WINDOW);
    }
}

#[test]
fn releases_count_for_ten_minutes_and_for_no_longer_from_now_on() {
    for (written, left) in [
        ("2026-11-25T18:09:28Z", 0),
        ("2026-11-25T18:09:29Z", 1),
        // Half a minute for what was told and made later: its ten minutes ended before they were over.
        ("2026-11-25T18:19:27Z", 599),
        ("2026-11-25T18:19:28Z", 600),
        ("2026-11-25T18:20:00Z", 600),
        ("2036-11-25T18:20:00Z", 600),
        ("1999-11-25T18:20:00Z", 0),
    ] {
        let told = told(&json!({"ingress": 2, "egress": 0, "latestTime": written})).unwrap();
        assert_eq!(told.left, Duration::from_secs(left), "{written}");
        assert_eq!(told.releases.is_empty(), left == 0);
    }
    assert!(told(&Value::Null).unwrap().releases.is_empty());
}

#[test]
fn what_is_written_down_is_read_again() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(0));
    let mut census = Census::default();
    for namespace in ["a", "b", "c"] {
        census.set(namespace, [release(namespace)], Vec::new());
    }
    let digest = brake.held(&census, Duration::ZERO)["t"].digest.clone();
    assert_eq!(releases_of(&brake, "t", Duration::ZERO)["confirmed"], Value::Null);
    census.confirmations.insert("t".into(), digest.as_str().into());
    brake.held(&census, Duration::ZERO);
    let written = releases_of(&brake, "t", Duration::ZERO);
    let told = read(&written, Timestamp::now()).unwrap();
    assert_eq!(told.confirmed, brake.remaining_of("t"));
    assert_eq!(told.confirmed.unwrap().fingerprints.len(), 3);
}

#[test]
fn what_users_are_told_of_how_long_releases_count_is_so() {
    let counts = (WINDOW + MADE_WITHIN).as_secs();
    let counts = (counts / 60, counts % 60);
    for (name, text) in [
        ("README.md", include_str!("../../../../README.md")),
        ("CHANGELOG.md", include_str!("../../../../CHANGELOG.md")),
        (
            "the runbook",
            include_str!("../../../../docs/runbooks/CofferdamReleasesHeld.md"),
        ),
        (
            "the definition",
            include_str!("../../../../crds/cofferdam.dev_isolationtiers.yaml"),
        ),
    ] {
        let said = minutes_and_seconds(text);
        assert!(!said.is_empty(), "{name} does not say how long");
        assert!(
            said.iter().all(|said| *said == counts),
            "{name}: {said:?}, not {counts:?}"
        );
    }
}

/// Each "N min M s" of the text, lines broken or not.
fn minutes_and_seconds(text: &str) -> Vec<(u64, u64)> {
    let is_no_letter = |char: char| !char.is_alphanumeric();
    let words: Vec<_> = text
        .split_whitespace()
        .map(|word| word.trim_matches(is_no_letter))
        .collect();
    let said = words.windows(4).filter_map(|words| match *words {
        [minutes, "min", seconds, "s"] => Some((minutes.parse().ok()?, seconds.parse().ok()?)),
        _ => None,
    });
    said.collect()
}
