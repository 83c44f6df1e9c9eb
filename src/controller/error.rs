//! What went wrong, in words that say what to do.

use std::time::Duration;

use kube::core::Status;

use crate::api::names::LEASE;
use crate::policy::record::Failure;
use crate::policy::words;

/// How a write failed, or a read before one, as far as it matters what comes next.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The namespace of the object is gone or going: nothing is wrong.
    NamespaceGone,
    /// The object itself is gone that was planned against.
    ObjectGone,
    /// What stands is another revision than was planned against, or what was read of it is too old: look again.
    OtherRevision,
    /// Everything else.
    Failed(Failure),
}

/// As long as the longest wait of our own.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

impl WriteError {
    /// Tells the errors of one write apart. `what` names the object for people.
    pub(super) fn of(error: kube::Error, what: &str) -> Self {
        let kube::Error::Api(status) = error else {
            let message = format!("{what}: {}; it is tried again", chain(&error));
            return Self::Failed(Failure {
                reason: words::REQUEST_FAILED,
                message,
                retry_after: None,
            });
        };
        let terminating = status.details.as_ref().is_some_and(|details| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "NamespaceTerminating")
        });
        let of_namespace = status
            .details
            .as_ref()
            .is_some_and(|details| details.kind == "namespaces");
        match status.code {
            403 if terminating => return Self::NamespaceGone,
            404 if of_namespace => return Self::NamespaceGone,
            404 if !is_denied_by_admission(&status.message) => return Self::ObjectGone,
            409 if !is_denied_by_admission(&status.message) => return Self::OtherRevision,
            _ => {}
        }
        let (reason, advice) = reason_and_advice(&status);
        Self::Failed(Failure {
            reason,
            message: format!("{what}: {}; {advice}", status.message),
            retry_after: retry_after(&status),
        })
    }
}

/// Why a write was refused, from a closed set, and what to do about it.
fn reason_and_advice(status: &Status) -> (&'static str, &'static str) {
    match status.code {
        403 if status.message.contains("exceeded quota") => (
            words::QUOTA_EXCEEDED,
            "raise the namespace's ResourceQuota for networkpolicies",
        ),
        _ if is_denied_by_admission(&status.message) => (
            words::ADMISSION_DENIED,
            "let it admit what the controller's ServiceAccount writes",
        ),
        403 => (
            words::FORBIDDEN,
            "apply config/rbac, or look for the admission plugin that denies it",
        ),
        422 => (words::INVALID, "report this: a rendered policy should never be invalid"),
        429 => (words::TOO_MANY_REQUESTS, "it is tried again"),
        _ => (words::REQUEST_FAILED, "it is tried again"),
    }
}

/// Whether a webhook or a ValidatingAdmissionPolicy of the cluster said no. They choose the code themselves: a policy
/// denies with 422 unless told otherwise, a webhook with whatever it likes.
fn is_denied_by_admission(message: &str) -> bool {
    let denied = message.contains("denied the request") || message.contains("denied request");
    denied && (message.contains("admission webhook") || message.contains("ValidatingAdmissionPolicy"))
}

/// What `Retry-After` said, bounded: a server that asks for an hour would leave everything open for an hour.
pub(super) fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST_RETRY_AFTER))
}

/// The definition of tiers cannot be read, for people.
pub(super) fn describe_definition_error(error: &kube::Error) -> String {
    let cause = match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    };
    format!("cannot read the CustomResourceDefinition isolationtiers.cofferdam.dev: {cause}; apply config/rbac")
}

/// The lease by which one replica leads cannot be read or written, for people.
pub(super) fn describe_lease_error(namespace: &str, error: &kube::Error) -> String {
    let what = format!("Lease {namespace}/{LEASE}");
    match error {
        kube::Error::Api(status) if status.code == 403 => format!(
            "{what}: {}; apply config/rbac, or run a single replica with --leader-elect=false",
            status.message
        ),
        kube::Error::Api(status) if status.code == 404 => format!(
            "{what}: {}; create the namespace, name another with --namespace, or run a single replica with --leader-elect=false",
            status.message
        ),
        kube::Error::Api(status) => format!("{what}: {}; it is tried again", status.message),
        other => format!("{what}: {}; it is tried again", chain(other)),
    }
}

/// An error with its causes. kube's messages often hold their sources already: those are not repeated.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
