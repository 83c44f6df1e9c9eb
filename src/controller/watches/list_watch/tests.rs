use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::controller::client::REQUEST_DEADLINE;

/// What the server does with the next request.
enum Answer {
    Whole(u16, Value),
    /// These lines, and then it ends.
    Ends(Vec<Value>),
    /// These lines, and then nothing more, not even an end, for so long.
    Hangs(Vec<Value>, Duration),
}

struct Server {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Server {
    fn that(answers: impl IntoIterator<Item = Answer>) -> (Arc<Self>, ListWatch<Namespace>) {
        let server = Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
        });
        let serving = Arc::clone(&server);
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = serving.answer(&request);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        let client = Client::new(service, "default");
        (server, ListWatch::new(Api::all(client), Selection::default()))
    }

    fn answer(&self, request: &Request<Body>) -> Response<Streamed> {
        self.asked.lock().unwrap().push(request.uri().to_string());
        let (code, lines, hangs) = match self.answers.lock().unwrap().pop_front().expect("another answer") {
            Answer::Whole(code, body) => (code, vec![body], Duration::ZERO),
            Answer::Ends(lines) => (200, lines, Duration::ZERO),
            Answer::Hangs(lines, time) => (200, lines, time),
        };
        Response::builder().status(code).body(streamed(lines, hangs)).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let watch = |uri: &String| {
            let version = uri
                .split("resourceVersion=")
                .nth(1)
                .map(|rest| rest.split('&').next().unwrap());
            match version {
                Some(version) if uri.contains("watch=true") => format!("watch {version}"),
                _ if uri.contains("continue=") => String::from("list on"),
                _ => String::from("list"),
            }
        };
        asked.iter().map(watch).collect()
    }
}

type Streamed = StreamBody<BoxStream<'static, std::io::Result<Frame<Bytes>>>>;

fn streamed(lines: Vec<Value>, hangs: Duration) -> Streamed {
    let frame = |line: Value| Ok(Frame::data(Bytes::from(format!("{line}\n"))));
    let silence = stream::once(async move {
        tokio::time::sleep(hangs).await;
        Ok(Frame::data(Bytes::new()))
    });
    StreamBody::new(stream::iter(lines.into_iter().map(frame)).chain(silence).boxed())
}

fn namespace(name: &str, version: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "resourceVersion": version.to_string()}})
}

fn list(names: &[&str], version: u64, continues: &str) -> Answer {
    let items: Vec<Value> = names.iter().map(|name| namespace(name, 1)).collect();
    let metadata = json!({"resourceVersion": version.to_string(), "continue": continues});
    Answer::Whole(
        200,
        json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": metadata, "items": items}),
    )
}

fn event(kind: &str, name: &str, version: u64) -> Value {
    json!({"type": kind, "object": namespace(name, version)})
}

fn status(code: u16) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "no", "reason": "No", "code": code,
    })
}

fn in_words(step: Result<Step<Namespace>, Broken>) -> String {
    let named = |word: &str, namespace: &Namespace| format!("{word} {}", namespace.name_any());
    match step {
        Ok(Step::Event(Event::Init)) => String::from("list begins"),
        Ok(Step::Event(Event::InitApply(object))) => named("listed", &object),
        Ok(Step::Event(Event::InitDone)) => String::from("list ends"),
        Ok(Step::Event(Event::Apply(object))) => named("is", &object),
        Ok(Step::Event(Event::Delete(object))) => named("gone", &object),
        Ok(Step::Opened) => String::from("opened"),
        Ok(Step::Works) => String::from("works"),
        Err(Broken::List(_)) => String::from("cannot list"),
        Err(Broken::Open(_)) => String::from("cannot open"),
        Err(Broken::Watch(_)) => String::from("broke off"),
        Err(Broken::Ended(status)) => format!("ended with {}", status.code),
        Err(Broken::EndedEarly) => String::from("ended early"),
        Err(Broken::Silent) => String::from("silent"),
        Err(Broken::WentBack) => String::from("went back"),
        Err(Broken::WithoutVersion) => String::from("without version"),
    }
}

async fn steps(resource: &mut ListWatch<Namespace>, count: usize) -> Vec<String> {
    let mut steps = Vec::new();
    for _ in 0..count {
        steps.push(in_words(resource.next().await));
    }
    steps
}

const FOR_EVER: Duration = Duration::from_secs(100_000);
const LISTED: [&str; 3] = ["list begins", "list ends", "opened"];

#[tokio::test(start_paused = true)]
async fn it_lists_page_by_page_and_watches_from_there() {
    let events = vec![
        event("ADDED", "c", 12),
        event("MODIFIED", "a", 13),
        event("DELETED", "b", 14),
    ];
    let (server, mut resource) = Server::that([
        list(&["a"], 10, "next"),
        list(&["b"], 10, ""),
        Answer::Hangs(events, FOR_EVER),
    ]);
    let told = [
        "list begins",
        "listed a",
        "listed b",
        "list ends",
        "opened",
        "is c",
        "is a",
        "gone b",
    ];
    assert_eq!(steps(&mut resource, told.len()).await, told);
    assert_eq!(server.asked(), ["list", "list on", "watch 10"]);
}

#[tokio::test(start_paused = true)]
async fn it_watches_on_from_the_last_version_that_it_saw() {
    let bookmark = json!({"type": "BOOKMARK", "object": namespace("", 20)});
    let (server, mut resource) = Server::that([
        list(&[], 10, ""),
        Answer::Hangs(vec![event("ADDED", "a", 12)], WATCH_DURATION),
        Answer::Hangs(vec![bookmark], WATCH_DURATION),
        Answer::Hangs(Vec::new(), FOR_EVER),
    ]);
    assert_eq!(steps(&mut resource, 3).await, LISTED);
    let told = ["is a", "works", "opened", "works", "works", "opened"];
    assert_eq!(steps(&mut resource, told.len()).await, told);
    assert_eq!(server.asked(), ["list", "watch 10", "watch 12", "watch 20"]);
}

// A half-open connection: no bytes come, and no end.
#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_noticed_after_a_minute_and_opened_again() {
    let (server, mut resource) = Server::that([
        list(&[], 10, ""),
        Answer::Hangs(vec![event("ADDED", "a", 12)], FOR_EVER),
        Answer::Hangs(vec![event("ADDED", "b", 13)], FOR_EVER),
    ]);
    steps(&mut resource, 4).await;
    let began = Instant::now();
    assert_eq!(steps(&mut resource, 1).await, ["silent"]);
    assert!(began.elapsed() <= Duration::from_secs(65), "{:?}", began.elapsed());
    assert_eq!(steps(&mut resource, 2).await, ["opened", "is b"]);
    assert_eq!(server.asked(), ["list", "watch 10", "watch 12"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_before_its_time_is_a_failure() {
    let (_, mut resource) = Server::that([
        list(&[], 10, ""),
        Answer::Ends(vec![event("ADDED", "a", 12)]),
        Answer::Ends(Vec::new()),
    ]);
    steps(&mut resource, 3).await;
    let told = ["is a", "ended early", "opened", "ended early"];
    assert_eq!(steps(&mut resource, told.len()).await, told);
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_is_never_asked_for_again() {
    for (answer, word) in [
        (Answer::Whole(410, status(410)), "cannot open"),
        (
            Answer::Ends(vec![json!({"type": "ERROR", "object": status(410)})]),
            "opened",
        ),
    ] {
        let (server, mut resource) = Server::that([
            list(&[], 10, ""),
            answer,
            list(&["a"], 30, ""),
            Answer::Ends(Vec::new()),
        ]);
        steps(&mut resource, 2).await;
        assert_eq!(steps(&mut resource, 1).await, [word]);
        if word == "opened" {
            assert_eq!(steps(&mut resource, 1).await, ["ended with 410"]);
        }
        let told = ["list begins", "listed a", "list ends", "opened"];
        assert_eq!(steps(&mut resource, told.len()).await, told);
        assert_eq!(server.asked(), ["list", "watch 10", "list", "watch 30"]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_refusal_lists_nothing_anew() {
    let (server, mut resource) = Server::that([
        list(&[], 10, ""),
        Answer::Whole(503, status(503)),
        Answer::Ends(vec![json!({"type": "ERROR", "object": status(500)})]),
        Answer::Hangs(Vec::new(), FOR_EVER),
    ]);
    steps(&mut resource, 2).await;
    let told = ["cannot open", "opened", "ended with 500", "opened"];
    assert_eq!(steps(&mut resource, told.len()).await, told);
    assert_eq!(server.asked(), ["list", "watch 10", "watch 10", "watch 10"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_answer_never_ends_is_given_up() {
    let (_, mut resource) = Server::that([Answer::Hangs(vec![json!({})], FOR_EVER), list(&[], 10, "")]);
    let began = Instant::now();
    assert_eq!(steps(&mut resource, 2).await, ["list begins", "cannot list"]);
    assert_eq!(began.elapsed(), REQUEST_DEADLINE * 2);
    assert_eq!(steps(&mut resource, 2).await, ["list begins", "list ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_expires_between_two_pages_begins_anew() {
    let (server, mut resource) = Server::that([
        list(&["a"], 10, "next"),
        Answer::Whole(410, status(410)),
        list(&["b"], 11, ""),
    ]);
    let told = [
        "list begins",
        "listed a",
        "cannot list",
        "list begins",
        "listed b",
        "list ends",
    ];
    assert_eq!(steps(&mut resource, told.len()).await, told);
    assert_eq!(server.asked(), ["list", "list on", "list"]);
}

// Asked for again, it would come again, and nothing behind it would ever be seen.
#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_read_does_not_end_the_watch() {
    let unreadable = json!({"type": "ADDED", "object": {"metadata": {"name": 7}}});
    let (server, mut resource) = Server::that([
        list(&[], 10, ""),
        Answer::Hangs(vec![unreadable, event("ADDED", "a", 12)], FOR_EVER),
    ]);
    steps(&mut resource, 3).await;
    assert_eq!(steps(&mut resource, 2).await, ["broke off", "is a"]);
    assert_eq!(server.asked(), ["list", "watch 10"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_version_everything_is_listed_anew() {
    let (_, mut resource) = Server::that([
        Answer::Whole(
            200,
            json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": {}, "items": []}),
        ),
        list(&[], 10, ""),
        Answer::Ends(vec![json!({"type": "ADDED", "object": {"metadata": {"name": "a"}}})]),
    ]);
    let told = [
        "list begins",
        "without version",
        "list begins",
        "list ends",
        "opened",
        "without version",
        "list begins",
    ];
    assert_eq!(steps(&mut resource, told.len()).await, told);
}

// As after a restored backup: it went on from what was yet to come, and showed nothing until then.
#[tokio::test(start_paused = true)]
async fn a_watch_of_an_etcd_that_was_set_back_showed_nothing() {
    let too_large = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Timeout", "code": 504,
        "message": "Too large resource version: 10, current: 3",
    });
    let (server, mut resource) = Server::that([list(&[], 10, ""), Answer::Whole(504, too_large), list(&[], 3, "")]);
    let told = ["list begins", "list ends", "cannot open", "list begins", "list ends"];
    assert_eq!(steps(&mut resource, told.len()).await, told);
    assert_eq!(server.asked(), ["list", "watch 10", "list"]);
    for older in [
        event("ADDED", "a", 4),
        event("DELETED", "a", 9),
        json!({"type": "BOOKMARK", "object": namespace("", 4)}),
    ] {
        let (server, mut resource) = Server::that([
            list(&[], 10, ""),
            Answer::Hangs(vec![older], FOR_EVER),
            list(&["a"], 4, ""),
        ]);
        assert_eq!(steps(&mut resource, 3).await, LISTED);
        let told = ["went back", "list begins", "listed a", "list ends"];
        assert_eq!(steps(&mut resource, told.len()).await, told);
        assert_eq!(server.asked(), ["list", "watch 10", "list"]);
    }
}

// Told while the watch waits, or while nobody waits for it: then, which of the two is looked at first is up to chance.
#[tokio::test(start_paused = true)]
async fn whenever_it_is_told_that_etcd_was_set_back_all_is_listed_anew() {
    for told_between_two_steps in [true, false].repeat(32) {
        let (server, mut resource) = Server::that([
            list(&[], 10, ""),
            Answer::Hangs(Vec::new(), FOR_EVER),
            list(&["a"], 4, ""),
            Answer::Hangs(Vec::new(), FOR_EVER),
        ]);
        let (tell, mut went_back) = watch::channel(());
        assert_eq!(steps(&mut resource, 3).await, LISTED);
        let telling = async {
            if !told_between_two_steps {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tell.send_replace(());
        };
        if told_between_two_steps {
            telling.await;
            assert_eq!(in_words(resource.next_unless(&mut went_back).await), "list begins");
        } else {
            let (step, ()) = tokio::join!(resource.next_unless(&mut went_back), telling);
            assert_eq!(in_words(step), "list begins");
        }
        assert_eq!(steps(&mut resource, 3).await, ["listed a", "list ends", "opened"]);
        assert_eq!(server.asked(), ["list", "watch 10", "list", "watch 4"]);
    }
}
