//! What can go wrong with a request, and with the events of a watch.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

/// When, in the course of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// The API server never hears of it.
    BeforeForwarding,
    /// The API server has done it, and the controller never hears of that.
    AfterCommit,
    /// The controller has the answer; for a cut connection, half of it.
    AfterAnswer,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The controller is killed with SIGKILL.
    Crash(Moment),
    /// This answer instead of the API server's, which never hears of the request.
    Answer(Answer),
    /// The API server does what it is asked; this answer hides that.
    AnswerAfterCommit(Answer),
    /// The connection is reset.
    Reset(Moment),
    /// Half of the answer, as if it were all.
    TruncatedJson,
    /// No answer until the rule is lifted, or the controller gives up.
    Stall(Moment),
    /// The API server hears of it so much later.
    Delay(Duration),
    /// The API server hears of it when the rule is lifted, though the controller gave up, or died.
    HoldBack,
}

/// An answer that the proxy makes.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// `Retry-After`.
    pub retry_after: Option<u32>,
    /// JSON.
    pub body: Bytes,
}

/// What happens to an event of a watch.
#[derive(Clone, Copy, Debug)]
pub enum EventFault {
    /// It never comes.
    Swallow,
    /// It comes twice.
    Duplicate,
    /// It comes later, and so does all that follows it on that watch.
    Delay(Duration),
    /// As [`Self::Delay`]; of the events about one object that wait, only the last comes.
    Coalesce(Duration),
    /// The watch ends in its place.
    Close,
    /// The connection is reset in its place.
    Reset,
    /// The watch stays open, and nothing comes any more until the rule is lifted; then it ends.
    Silence,
    /// Half of it, and the watch ends.
    Truncate,
    /// An `ERROR` event in its place: 410, the version that the watch stands at has expired.
    Expired,
}

/// Which events of a watch a rule is about; what is not said matches everything but bookmarks.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub kind: Option<&'static str>,
    /// Of the object.
    pub namespace: Option<String>,
    /// Of the object.
    pub name: Option<String>,
}

/// One line of a watch.
#[derive(Clone, Debug)]
pub struct EventLine {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`, `ERROR`.
    pub kind: String,
    /// Of the object, or empty.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// As the API server sent it, its newline included.
    pub bytes: Bytes,
}

impl Fault {
    /// In a few words, for a table.
    pub fn in_words(&self) -> String {
        match self {
            Self::Answer(answer) => answer.code.to_string(),
            Self::AnswerAfterCommit(answer) => format!("{} after commit", answer.code),
            other => format!("{other:?}"),
        }
    }
}

impl Answer {
    /// A refusal in the API server's form.
    pub fn refusal(code: u16, reason: &str, message: &str) -> Self {
        Self::status(
            code,
            json!({"status": "Failure", "reason": reason, "message": message, "code": code}),
        )
    }

    /// As [`Self::refusal`], with the reason and message that the API server itself gives for this code.
    pub fn usual(code: u16) -> Self {
        let (reason, message) = match code {
            403 => (
                "Forbidden",
                "networkpolicies.networking.k8s.io is forbidden: User cannot do this",
            ),
            404 => ("NotFound", "the object was not found"),
            409 => (
                "Conflict",
                "the object has been modified; please apply your changes to the latest version",
            ),
            410 => ("Expired", "too old resource version"),
            422 => ("Invalid", "NetworkPolicy is invalid: spec: Invalid value"),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => ("Timeout", "request did not complete within the allotted timeout"),
            _ => ("InternalError", "Internal error occurred"),
        };
        Self {
            retry_after: (code == 429).then_some(1),
            ..Self::refusal(code, reason, message)
        }
    }

    /// An older answer again.
    pub fn replay(body: Bytes) -> Self {
        Self {
            code: 200,
            retry_after: None,
            body,
        }
    }

    fn status(code: u16, fields: Value) -> Self {
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}});
        for (name, value) in fields.as_object().into_iter().flatten() {
            status[name] = value.clone();
        }
        Self {
            code,
            retry_after: None,
            body: status.to_string().into(),
        }
    }
}

impl Events {
    /// Every one but bookmarks.
    pub fn any() -> Self {
        Self::default()
    }

    /// Those of this kind.
    pub fn of_kind(kind: &'static str) -> Self {
        Self {
            kind: Some(kind),
            ..Self::default()
        }
    }

    /// About objects in this namespace.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// About the object of this name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Whether an event is one of them.
    pub fn include(&self, line: &EventLine) -> bool {
        line.kind != "BOOKMARK"
            && self.kind.is_none_or(|kind| kind == line.kind)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == line.namespace)
            && self.name.as_ref().is_none_or(|name| *name == line.name)
    }
}

impl EventLine {
    /// Reads a line of a watch.
    pub fn read(bytes: Bytes) -> Self {
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &value["object"]["metadata"];
        Self {
            kind: text(&value["type"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            bytes,
        }
    }

    /// The end of a watch whose version has expired.
    pub fn expired() -> Bytes {
        let status: Value = serde_json::from_slice(&Answer::usual(410).body).unwrap_or_default();
        Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": status})))
    }
}
