//! The demo's numbers, all from the API server's own audit log: from the end of one request to the end of another, by
//! one clock, in microseconds. What the client and the controller would say of themselves does not enter.

use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::harness::eventually::PATIENCE;
use crate::harness::{AuditEvent, AuditLog, Identity, eventually};

/// What happened after one moment.
pub struct Stopwatch {
    log: AuditLog,
    mark: usize,
}

impl Stopwatch {
    /// Started before the deed.
    pub fn start(log: &AuditLog) -> Self {
        Self {
            log: log.clone(),
            mark: log.mark(),
        }
    }

    /// Waits until the controller answered what somebody else did to a policy, and says how long that took.
    pub async fn heal(&self, namespace: &str, policy: &str) -> SignedDuration {
        let of_policy =
            |event: &AuditEvent| changes_policy(event) && event.namespace == namespace && event.name == policy;
        eventually(&format!("{namespace}/{policy} is healed"), PATIENCE, || async {
            let events = self.events(of_policy);
            let ours = |event: &&Arc<AuditEvent>| event.user == Identity::Controller.user();
            let deed = events.iter().find(|event| !ours(event));
            let heal = events.iter().find(ours);
            deed.zip(heal)
                .map(|(deed, heal)| between(deed, heal))
                .ok_or_else(|| format!("{events:?}"))
        })
        .await
    }

    /// Waits until these policies stand in a new namespace, and says for each how long it did not.
    pub async fn protection(&self, namespace: &str, policies: [&str; 2]) -> [SignedDuration; 2] {
        let of_namespace = |event: &AuditEvent| {
            let is_birth = event.verb == "create" && event.resource == "namespaces" && event.name == namespace;
            is_birth || (changes_policy(event) && event.namespace == namespace)
        };
        eventually(&format!("{namespace} is protected"), PATIENCE, || async {
            let events = self.events(of_namespace);
            let find = |name: &str| {
                let found = events.iter().find(|event| event.name == name);
                found.ok_or_else(|| format!("{events:?}"))
            };
            let birth = find(namespace)?;
            let [first, second] = policies.map(find);
            Ok([between(birth, first?), between(birth, second?)])
        })
        .await
    }

    /// The controller's writes to the policies of a namespace, a line each.
    pub fn writes(&self, namespace: &str) -> Vec<String> {
        let ours = |event: &AuditEvent| {
            changes_policy(event) && event.namespace == namespace && event.user == Identity::Controller.user()
        };
        let mut lines: Vec<_> = self
            .events(ours)
            .iter()
            .map(|event| format!("{} {}", event.verb, event.name))
            .collect();
        lines.sort();
        lines
    }

    /// Who deleted policies whose names begin like this, a line each.
    pub fn deletions_of(&self, prefix: &str) -> Vec<String> {
        let deletion = |event: &AuditEvent| {
            // A deletion of a whole collection names none.
            let named = event.name.is_empty() || event.name.starts_with(prefix);
            changes_policy(event) && event.verb.starts_with("delete") && named
        };
        self.events(deletion)
            .iter()
            .map(|event| format!("{}/{} by {}", event.namespace, event.name, event.user))
            .collect()
    }

    fn events(&self, wanted: impl Fn(&AuditEvent) -> bool) -> Vec<Arc<AuditEvent>> {
        let mut events = self.log.events_since(self.mark);
        events.retain(|event| event.stage == "ResponseComplete" && event.succeeded() && wanted(event));
        events
    }
}

fn changes_policy(event: &AuditEvent) -> bool {
    event.resource == "networkpolicies" && event.is_write()
}

fn between(earlier: &AuditEvent, later: &AuditEvent) -> SignedDuration {
    let at = |event: &AuditEvent| event.stage_at.parse::<Timestamp>().expect("an RFC 3339 time");
    at(later).duration_since(at(earlier))
}

/// `6.3 ms`.
pub fn milliseconds(duration: SignedDuration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
