//! One request, as the API server wrote it down.

use serde::Deserialize;
use serde_json::Value;

/// One request, at one stage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "RawEvent")]
pub struct AuditEvent {
    /// `ResponseComplete`; `ResponseStarted` for a watch that still runs; `Panic`.
    pub stage: String,
    /// The id of the request, which its sender may choose.
    pub audit_id: String,
    /// Who asked.
    pub user: String,
    /// Program that asked.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group, empty for the core.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Empty for what is cluster-wide.
    pub namespace: String,
    /// Empty for a list.
    pub name: String,
    /// HTTP status.
    pub code: u16,
    /// `Forbidden`, `AlreadyExists`, ...
    pub reason: String,
    /// What the server answered where it refused.
    pub message: String,
    /// `causes` and the rest of a refusal.
    pub details: Value,
    /// Path and query.
    pub request_uri: String,
    /// What was sent; only for writes to NetworkPolicies, tiers and namespaces.
    pub request_object: Option<Value>,
    /// What was stored; only for writes to NetworkPolicies, tiers and namespaces.
    pub response_object: Option<Value>,
    /// RFC 3339 with microseconds.
    pub received_at: String,
    /// RFC 3339 with microseconds.
    pub stage_at: String,
}

impl AuditEvent {
    /// Whether the request would change something, whatever came of it. Dry runs do not count.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        ) && !self.request_uri.contains("dryRun=")
    }

    /// Whether it is about the Lease by which one replica leads.
    pub fn is_of_own_lease(&self) -> bool {
        let place = (self.namespace.as_str(), self.name.as_str());
        self.qualified_resource() == "coordination.k8s.io/leases"
            && matches!(place, ("cofferdam-system", "cofferdam" | ""))
    }

    /// Whether the server did what it was asked.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// A 403 that says "you lack a permission": not one for a terminating namespace, nor for an exceeded quota.
    pub fn is_missing_permission(&self) -> bool {
        let terminating = self.details["causes"]
            .as_array()
            .is_some_and(|causes| causes.iter().any(|cause| cause["reason"] == "NamespaceTerminating"));
        self.code == 403 && !terminating && !self.message.contains("exceeded quota")
    }

    /// `networking.k8s.io/networkpolicies`, `cofferdam.dev/isolationtiers/status`, `namespaces`.
    pub fn qualified_resource(&self) -> String {
        let group = if self.group.is_empty() {
            String::new()
        } else {
            format!("{}/", self.group)
        };
        let subresource = if self.subresource.is_empty() {
            String::new()
        } else {
            format!("/{}", self.subresource)
        };
        format!("{group}{}{subresource}", self.resource)
    }

    /// The process that asked, where it did so through a [`super::FaultProxy`].
    pub fn writer(&self) -> Option<&str> {
        let (writer, _) = self.audit_id.rsplit_once('-')?;
        writer.starts_with("writer-").then_some(writer)
    }

    /// One line for failure messages.
    pub fn summary(&self) -> String {
        format!(
            "{} {} {} {} {}/{} -> {} {} {}",
            self.stage_at,
            self.user,
            self.verb,
            self.qualified_resource(),
            self.namespace,
            self.name,
            self.code,
            self.reason,
            self.message
        )
    }
}

// The wire format, as audit.k8s.io/v1 nests it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    stage: String,
    #[serde(default, rename = "auditID")]
    audit_id: String,
    verb: String,
    user: RawUser,
    #[serde(default)]
    user_agent: String,
    #[serde(default, rename = "requestURI")]
    request_uri: String,
    #[serde(default)]
    object_ref: RawObjectRef,
    #[serde(default)]
    response_status: RawStatus,
    request_object: Option<Value>,
    response_object: Option<Value>,
    #[serde(default)]
    request_received_timestamp: String,
    #[serde(default)]
    stage_timestamp: String,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    code: u16,
    reason: String,
    message: String,
    details: Value,
}

impl From<RawEvent> for AuditEvent {
    fn from(raw: RawEvent) -> Self {
        let stored_name = raw
            .response_object
            .as_ref()
            .and_then(|object| object["metadata"]["name"].as_str());
        let name = if raw.object_ref.name.is_empty() {
            stored_name.unwrap_or_default().into()
        } else {
            raw.object_ref.name
        };
        Self {
            stage: raw.stage,
            audit_id: raw.audit_id,
            user: raw.user.username,
            user_agent: raw.user_agent,
            verb: raw.verb,
            group: raw.object_ref.api_group,
            resource: raw.object_ref.resource,
            subresource: raw.object_ref.subresource,
            namespace: raw.object_ref.namespace,
            name,
            code: raw.response_status.code,
            reason: raw.response_status.reason,
            message: raw.response_status.message,
            details: raw.response_status.details,
            request_uri: raw.request_uri,
            request_object: raw.request_object,
            response_object: raw.response_object,
            received_at: raw.request_received_timestamp,
            stage_at: raw.stage_timestamp,
        }
    }
}
