//! What the API server saw: its audit log as typed records, and the questions that scenarios ask of it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::audit_event::AuditEvent;
use super::control_plane::ControlPlane;
use super::eventually::{PATIENCE, eventually, holds_for};
use super::identity::Identity;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

/// The audit log of one control plane; clones share what was parsed.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
    parsed: Arc<Mutex<Parsed>>,
}

#[derive(Debug, Default)]
struct Parsed {
    offset: u64,
    partial_line: Vec<u8>,
    events: Vec<Arc<AuditEvent>>,
}

impl AuditLog {
    /// The log that a server writes to `path`.
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            parsed: Arc::default(),
        }
    }

    /// Where the server writes it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every event so far, oldest first. A request that was answered a moment ago may still be missing: see [`Self::settled`].
    pub fn events(&self) -> Vec<Arc<AuditEvent>> {
        let mut parsed = self.parsed.lock().expect("no test panics while it holds this lock");
        parsed.read_on(&self.path);
        parsed.events.clone()
    }

    /// How many events there are: an argument for [`Self::events_since`].
    pub fn mark(&self) -> usize {
        self.events().len()
    }

    /// The events after a [`Self::mark`].
    pub fn events_since(&self, mark: usize) -> Vec<Arc<AuditEvent>> {
        self.events().split_off(mark)
    }

    /// Every event, once the log holds all that was answered before this call: the server may answer a request a moment
    /// before it writes it down, so this asks for something that nobody else asks for and waits until that is in the log.
    pub async fn settled(&self, control_plane: &ControlPlane) -> Vec<Arc<AuditEvent>> {
        let marker = format!("audit-marker-{}", self.mark());
        let namespaces: Api<Namespace> = Api::all(control_plane.admin().await);
        // It does not exist; the request is what counts.
        namespaces
            .get_opt(&marker)
            .await
            .expect("reading a namespace as the admin");
        eventually("the audit log holds the marker", PATIENCE, || async {
            let events = self.events();
            if events.iter().any(|event| event.name == marker) {
                Ok(events)
            } else {
                Err(format!("{} events", events.len()))
            }
        })
        .await
    }

    /// Finished writes by `identity` after `mark`, refused ones too: what "quiet" counts. A leader that renews its Lease is
    /// quiet.
    pub fn writes_since(&self, mark: usize, identity: Identity) -> Vec<Arc<AuditEvent>> {
        let mut events = self.events_since(mark);
        events.retain(|event| {
            event.stage == "ResponseComplete"
                && event.user == identity.user()
                && event.is_write()
                && !event.is_of_own_lease()
        });
        events
    }

    /// Fails at the first write by `identity` within `duration`. For a control plane of its own: on the shared one there is
    /// always somebody who gives the controller something to do.
    pub async fn stays_quiet(&self, control_plane: &ControlPlane, identity: Identity, duration: Duration) {
        let mark = self.settled(control_plane).await.len();
        holds_for(&format!("{identity:?} writes nothing"), duration, || async {
            let writes: Vec<String> = self
                .writes_since(mark, identity)
                .iter()
                .map(|event| event.summary())
                .collect();
            if writes.is_empty() {
                Ok(())
            } else {
                Err(writes.join("\n"))
            }
        })
        .await;
    }

    /// Every (qualified resource, verb) that `identity` used, running watches included.
    pub fn verbs_used_by(&self, identity: Identity) -> BTreeSet<(String, String)> {
        self.events()
            .iter()
            .filter(|event| event.user == identity.user() && !event.resource.is_empty())
            .map(|event| (event.qualified_resource(), event.verb.clone()))
            .collect()
    }

    /// Requests by `identity` that a missing permission refused. On the shared control plane the tests of the harness make
    /// some on purpose; there, an [`super::Observer`] looks at a scenario's own namespaces.
    pub fn missing_permissions_of(&self, identity: Identity) -> Vec<Arc<AuditEvent>> {
        let mut events = self.events();
        events.retain(|event| event.user == identity.user() && event.is_missing_permission());
        events
    }
}

impl Parsed {
    fn read_on(&mut self, path: &std::path::Path) {
        // Before the first request there is no file.
        let Ok(mut file) = File::open(path) else { return };
        file.seek(SeekFrom::Start(self.offset))
            .expect("seeking in the audit log");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("reading the audit log");
        self.offset += bytes.len() as u64;
        self.partial_line.extend(bytes);
        // What follows the last newline is still being written.
        let Some(end) = self.partial_line.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let rest = self.partial_line.split_off(end + 1);
        for line in self
            .partial_line
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            self.events
                .push(Arc::new(serde_json::from_slice(line).expect("an audit event a line")));
        }
        self.partial_line = rest;
    }
}
