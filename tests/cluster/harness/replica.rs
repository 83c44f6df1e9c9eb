//! One of several controllers that share a Lease, and who of them did what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::audit_event::AuditEvent;
use super::control_plane::ControlPlane;
use super::controller::Controller;
use super::eventually::{PATIENCE, eventually};
use super::identity::Identity;

/// As short as a Lease, which holds whole seconds, leaves room for; the defaults are five times as long.
pub const LEASE: Duration = Duration::from_secs(3);
/// See [`LEASE`].
pub const RENEW_DEADLINE: Duration = Duration::from_secs(2);
/// See [`LEASE`].
pub const RETRY_PERIOD: Duration = Duration::from_millis(500);

const ARGUMENTS: [&str; 5] = [
    "--leader-elect=true",
    "--lease-duration=3s",
    "--renew-deadline=2s",
    "--retry-period=500ms",
    "--log-format=json",
];

/// A running controller that takes part in the election.
pub struct Replica {
    /// The process.
    pub controller: Controller,
    /// What it calls itself in the Lease and in the audit log.
    pub identity: String,
}

impl Replica {
    /// Starts one and waits until its caches are complete.
    pub async fn start(control_plane: &ControlPlane) -> Self {
        Self::start_with(control_plane, &["--concurrency=32"]).await
    }

    /// As [`Self::start`], told more.
    pub async fn start_with(control_plane: &ControlPlane, more: &[&str]) -> Self {
        let controller = Controller::start(control_plane, &[&ARGUMENTS, more].concat()).await;
        let identity = controller
            .log()
            .lines()
            .find_map(identity_in)
            .expect("a replica logs its name");
        Self { controller, identity }
    }

    /// Whether it says that it leads.
    pub fn leads(&self) -> bool {
        self.controller.metrics().value("cofferdam_leader", &[]) == Some(1.0)
    }

    /// Waits until it leads.
    pub async fn eventually_leads(&self) {
        let description = format!("{} leads", self.identity);
        eventually(&description, PATIENCE, || async {
            if self.leads() {
                Ok(())
            } else {
                Err(String::from("it stands by"))
            }
        })
        .await;
    }

    /// Whether this request is one of its own.
    pub fn sent(&self, event: &AuditEvent) -> bool {
        event.user == Identity::Controller.user() && replica_in(&event.user_agent) == Some(&self.identity)
    }
}

/// Two of them, the leader first.
pub async fn start_two(control_plane: &ControlPlane) -> (Replica, Replica) {
    start_two_with(control_plane, &["--concurrency=32"]).await
}

/// As [`start_two`], told more.
pub async fn start_two_with(control_plane: &ControlPlane, more: &[&str]) -> (Replica, Replica) {
    let first = Replica::start_with(control_plane, more).await;
    first.eventually_leads().await;
    (first, Replica::start_with(control_plane, more).await)
}

/// Writes, but for those of the Lease, that a replica made although another had taken the Lease over by then: the one line
/// that says which, for each. The clock is the API server's.
///
/// A write that is received after a successful write of the Lease by somebody else is too late, however little.
pub fn writes_without_the_lease(events: &[Arc<AuditEvent>]) -> Vec<String> {
    let complete = |event: &&Arc<AuditEvent>| {
        event.user == Identity::Controller.user() && event.stage == "ResponseComplete" && event.is_write()
    };
    // When who took it: the answers of the server in their order.
    let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events
        .iter()
        .filter(complete)
        .filter(|event| event.is_of_own_lease() && event.succeeded())
    {
        holders.insert(&event.stage_at, replica_in(&event.user_agent).unwrap_or_default());
    }
    let late = |event: &&Arc<AuditEvent>| {
        let holder = holders.range(..event.received_at.as_str()).next_back();
        holder.is_none_or(|(_, holder)| replica_in(&event.user_agent) != Some(*holder))
    };
    let others = events.iter().filter(complete).filter(|event| !event.is_of_own_lease());
    others
        .filter(late)
        .map(|event| {
            format!(
                "{} received {} {}",
                event.user_agent,
                event.received_at,
                event.summary()
            )
        })
        .collect()
}

/// `cofferdam/0.1.0 (NAME)`.
pub fn replica_in(user_agent: &str) -> Option<&str> {
    user_agent.split_once('(')?.1.strip_suffix(')')
}

fn identity_in(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line["replica"].as_str()?.to_owned())
}

#[test]
fn a_write_after_another_took_the_lease_is_found() {
    let event = |replica: &str, resource: &str, received: &str, stage: &str| {
        let lease = resource == "leases";
        Arc::new(AuditEvent {
            stage: String::from("ResponseComplete"),
            user: Identity::Controller.user().into(),
            user_agent: format!("cofferdam/0.1.0 ({replica})"),
            verb: String::from("update"),
            group: if lease {
                "coordination.k8s.io"
            } else {
                "networking.k8s.io"
            }
            .into(),
            resource: resource.into(),
            namespace: if lease { "cofferdam-system" } else { "shop" }.into(),
            name: String::from("cofferdam"),
            code: 200,
            received_at: received.into(),
            stage_at: stage.into(),
            ..AuditEvent::default()
        })
    };
    let in_time = [
        event("a", "leases", "10", "11"),
        event("a", "networkpolicies", "12", "13"),
        event("b", "leases", "20", "22"),
        // Received before the other took it, answered later.
        event("a", "networkpolicies", "21", "25"),
        event("b", "networkpolicies", "23", "24"),
    ];
    assert_eq!(writes_without_the_lease(&in_time), [""; 0]);
    for (replica, received) in [("a", "23"), ("b", "12"), ("a", "09"), ("c", "23")] {
        let mut events = in_time.to_vec();
        events.push(event(replica, "networkpolicies", received, "30"));
        let found = writes_without_the_lease(&events);
        assert_eq!(found.len(), 1, "{replica} at {received}: {found:?}");
    }
}
