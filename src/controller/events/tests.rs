use super::shortened;
use crate::policy::attribution::audit_query;

#[test]
fn a_note_was_cut_before_the_query_that_it_names_ended() {
    let (namespace, policy) = ("n".repeat(63), "p".repeat(253));
    let query = audit_query(&namespace, &policy);
    let note = format!(
        "NetworkPolicy {namespace}/{policy} is back; it was deleted; the API does not tell by whom, an audit log does: {query}"
    );
    assert_eq!(shortened(note.clone()), note);
}

// Seen as four bytes a character: 500 of them were more than the API server takes.
#[test]
fn a_note_of_wide_characters_was_refused() {
    for word in ["a", "é", "𝔸"] {
        let note = shortened(word.repeat(2000));
        assert!(note.len() <= 1024 && note.len() > 1000, "{}", note.len());
        assert!(note.ends_with(&format!("{word}...")), "{note}");
    }
    assert_eq!(shortened("a".repeat(1024)).len(), 1024);
    assert!(shortened("a".repeat(1024)).ends_with('a'));
}
