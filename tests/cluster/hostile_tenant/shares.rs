//! Whose time a heal takes: from the edit to the request that heals it, which is the watch's and the healer's, and that request
//! itself, which is the API server's.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::harness::policy_history::policy_histories;
use crate::harness::{AuditEvent, Identity, Metrics};

/// What the controller asks for (`src/controller/client/api_call.rs`): label values of these and no others.
const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];
const RESOURCES: [&str; 9] = [
    "namespaces",
    "services",
    "networkpolicies",
    "isolationtiers",
    "isolationtiers/status",
    "endpointslices",
    "events",
    "leases",
    "customresourcedefinitions",
];

/// One heal, in milliseconds by the clock of the API server.
#[derive(Clone, Copy, Debug)]
pub struct Heal {
    pub edited_at: Timestamp,
    /// From the answer to the edit to the request that heals it.
    pub reaction: f64,
    /// From that request to its answer.
    pub write: f64,
}

impl Heal {
    pub fn took(&self) -> f64 {
        self.reaction + self.write
    }
}

/// Every edit that is followed by its heal.
pub fn heals(events: &[Arc<AuditEvent>], namespaces: &BTreeSet<String>) -> Vec<Heal> {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let between = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64() * 1000.0;
    let mut heals = Vec::new();
    for history in policy_histories(events, namespaces).into_values() {
        for pair in history.windows(2) {
            let [edit, heal] = [&pair[0].event, &pair[1].event];
            if edit.verb == "patch" && heal.verb != "patch" {
                let (edited_at, asked_at) = (time(&edit.stage_at), time(&heal.received_at));
                heals.push(Heal {
                    edited_at,
                    reaction: between(edited_at, asked_at),
                    write: between(asked_at, time(&heal.stage_at)),
                });
            }
        }
    }
    heals
}

/// How many policies of a namespace the tenant wrote, and how many requests about them the controller made.
pub fn requests(events: &[Arc<AuditEvent>], namespace: &str) -> (usize, usize) {
    let about = events.iter().filter(|event| {
        event.stage == "ResponseComplete" && event.resource == "networkpolicies" && event.namespace == namespace
    });
    let by = |identity: Identity| about.clone().filter(move |event| event.user == identity.user());
    let theirs = by(Identity::Tenant).filter(|event| event.is_write()).count();
    (theirs, by(Identity::Controller).count())
}

/// Everything that the controller has spent on a processor, in milliseconds.
pub fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split(' ').collect();
    let ticks: f64 = [12, 13]
        .map(|field| fields[field].parse::<f64>().expect("ticks"))
        .iter()
        .sum();
    ticks * 10.0 // Linux has 100 a second
}

/// How the API server answers is another series when it first happens. So this one may grow, but only within its sets: what
/// the controller asks for, and status codes of HTTP or two words for no answer.
pub fn strange_requests(metrics: &Metrics) -> Vec<String> {
    let samples = metrics
        .samples()
        .filter(|(name, ..)| *name == "cofferdam_api_requests_total");
    let is_strange = |labels: &std::collections::BTreeMap<String, String>| {
        let code = labels["code"].parse::<u16>();
        let known_code = code.map_or(["deadline", "no_response"].contains(&&*labels["code"]), |code| {
            (100..600).contains(&code)
        });
        labels.len() != 3
            || !VERBS.contains(&&*labels["verb"])
            || !RESOURCES.contains(&&*labels["resource"])
            || !known_code
    };
    let strange = samples.filter(|(_, labels, _)| is_strange(labels));
    strange.map(|(_, labels, _)| format!("{labels:?}")).collect()
}
