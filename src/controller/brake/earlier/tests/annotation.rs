//! What people write into the annotation that confirms, and what was confirmed to earlier processes.

use super::*;

const CONFIRMED: &str = "0123456789abcdef";

/// A tier of whose confirmed list one release is still to be done, or whose status nobody can read, with that annotation.
fn annotated(is_readable: bool, annotation: Option<&str>) -> DynamicObject {
    let confirmed = json!({"digest": CONFIRMED, "remaining": "AAAAAAAAAAA="});
    let ingress = if is_readable { 0 } else { -1 };
    let releases =
        json!({"ingress": ingress, "egress": 0, "latestTime": Timestamp::now().to_string(), "confirmed": confirmed});
    let mut tier = tier("t", &releases);
    let annotations = annotation.map(|annotation| (CONFIRM_ANNOTATION.to_owned(), annotation.to_owned()));
    tier.metadata.annotations = Some(annotations.into_iter().collect());
    tier
}

// Whoever took it back, or wrote a word of his own, would have it go on after the next restart.
#[tokio::test]
async fn what_was_confirmed_goes_on_only_where_the_annotation_still_can_be_a_digest() {
    let other = "fedcba9876543210";
    for (annotation, readable, unreadable) in [
        (None, Some((CONFIRMED, 0)), None),
        (Some("yes, all of them"), Some((CONFIRMED, 0)), None),
        (Some(CONFIRMED), Some((CONFIRMED, 1)), Some((CONFIRMED, 0))),
        // It may have been made with the first one.
        (Some(other), Some((CONFIRMED, 1)), Some((other, 0))),
    ] {
        for (is_readable, expected) in [(true, readable), (false, unreadable)] {
            let brake = super::super::super::persisted::tests::brake_with_a_tier();
            brake.inherit_from(&[annotated(is_readable, annotation)]).await;
            let remaining = brake.state().brake.remaining_size("t");
            let remaining = remaining.as_ref().map(|(digest, size)| (&**digest, *size));
            assert_eq!(remaining, expected, "{annotation:?} {is_readable}");
        }
    }
}
