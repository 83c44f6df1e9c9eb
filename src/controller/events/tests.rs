use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::client::Body;
use tower::service_fn;

use super::{EventType, Events, shortened};
use crate::policy::attribution::audit_query;
use crate::telemetry::metrics::{KnownSeries, Metrics};

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

// The client's deadline ends with the head of an answer: one whose body never ended was waited for as long as the process
// ran, and no further Event was published.
#[tokio::test(start_paused = true)]
async fn an_answer_that_never_ends_silenced_all_further_events() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let never_ending = service_fn(move |_: http::Request<Body>| {
        count.fetch_add(1, Ordering::SeqCst);
        let body = futures::stream::pending::<Result<Frame<bytes::Bytes>, tower::BoxError>>();
        futures::future::ready(Ok::<_, tower::BoxError>(Response::new(StreamBody::new(body))))
    });
    let metrics = Arc::new(Metrics::new(KnownSeries::default()).unwrap());
    let (events, publishing) = Events::new(Client::new(never_ending, "default"), metrics);
    for name in ["one", "other"] {
        let regarding = ObjectReference {
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        events.send(EventType::Normal, "Reason", "Action", String::new(), regarding, None);
    }
    let published = tokio::time::timeout(Duration::from_secs(300), publishing).await;
    assert!(
        published.is_err(),
        "it goes on as long as somebody may hand an Event in"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
