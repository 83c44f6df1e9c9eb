//! Whether the API server keeps what it takes: it drops without a word what the definition of a resource does not know.

use serde_json::Value;

/// More of a value says nothing to people.
const SHOWN_AT_MOST: usize = 80;

/// The first field at or below `path` that is not kept as it was sent, for people. Null is sent for what is not to be there.
/// What is there besides is of a later release.
pub(super) fn first_difference(path: &str, sent: &Value, kept: &Value) -> Option<String> {
    match sent {
        Value::Object(fields) if kept.is_object() => fields
            .iter()
            .find_map(|(name, sent)| first_difference(&format!("{path}.{name}"), sent, &kept[name])),
        sent if sent == kept => None,
        sent => Some(format!("expected {path} to be {}, found {}", shown(sent), shown(kept))),
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() {
        return String::from("nothing");
    }
    let text = value.to_string();
    let short: String = text.chars().take(SHOWN_AT_MOST).collect();
    if short.len() < text.len() {
        format!("{short}...")
    } else {
        short
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_kept_is_named() {
        let sent = json!({"egress": 5, "confirmed": {"digest": "d", "remaining": "x".repeat(99)}, "latestTime": null});
        let kept = |change: fn(&mut Value)| {
            let mut kept = sent.clone();
            change(&mut kept);
            first_difference("status.releases", &sent, &kept)
        };
        assert_eq!(kept(|_| {}), None);
        assert_eq!(
            kept(|kept| _ = kept.as_object_mut().unwrap().remove("latestTime")),
            None
        );
        assert_eq!(kept(|kept| kept["more"] = json!(1)), None);
        for (change, expected) in [
            (
                (|kept| kept["egress"] = json!(1)) as fn(&mut Value),
                "expected status.releases.egress to be 5, found 1",
            ),
            (
                |kept| kept["latestTime"] = json!("t"),
                "expected status.releases.latestTime to be nothing, found \"t\"",
            ),
            (
                |kept| kept["confirmed"]["digest"] = Value::Null,
                "expected status.releases.confirmed.digest to be \"d\", found nothing",
            ),
            (
                |kept| *kept = Value::Null,
                "expected status.releases to be {\"confirmed\":{\"digest\":\"d\",\"remaining\":\"xxx",
            ),
        ] {
            let found = kept(change).unwrap();
            assert!(found.starts_with(expected) && found.len() < 200, "{found}");
        }
    }
}
