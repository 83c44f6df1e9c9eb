//! Who drifted a policy, and which of its fields: told in the same words in an Event on the policy, in one on the tier and in
//! the log, after the heal. Where the API does not know, the query that is named instead finds it.

use std::process::Command;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_policies::{Governed, OTHER_MANAGER};
use crate::harness::{AuditEvent, ControlPlane, ControlPlaneOptions, Controller, Identity};

const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";
const EXTRA: &str = "cofferdam-allow-to-mail-egress";

// Of its own, so that the audit log is short and the log is of nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn who_and_what_are_told_after_the_heal_in_events_and_log() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let governed = Governed::on(&control_plane, "told").await;

    let opened = governed.merge(INGRESS, json!({"spec": {"ingress": [{}]}})).await;
    governed.is_healed(&controller, "modified", 1).await;
    let entries = opened.metadata.managed_fields.unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry.manager.as_deref() == Some(OTHER_MANAGER));
    let (operation, time) = entry
        .map(|entry| (entry.operation.clone().unwrap(), entry.time.as_ref().unwrap().0))
        .unwrap();
    let changed = format!("changed by {OTHER_MANAGER} ({operation}, {time}): spec.ingress[0].from was [");
    let told = is_told(&governed, &controller, INGRESS, &changed).await;
    assert!(told.contains("became absent"), "{told}");

    governed.merge(EGRESS, json!({"metadata": {"labels": null}})).await;
    governed
        .drift_is(&controller, &[("modified", 1), ("disowned", 1)])
        .await;
    let stripped =
        "stripped of our marks by an unknown manager (what only removes a field leaves no trace): metadata.labels";
    is_told(&governed, &controller, EGRESS, stripped).await;

    governed.tenant.delete(EXTRA, &DeleteParams::default()).await.unwrap();
    governed
        .drift_is(&controller, &[("modified", 1), ("disowned", 1), ("missing", 1)])
        .await;
    let deleted = "deleted; the API does not tell by whom, an audit log does: jq '";
    let told = is_told(&governed, &controller, EXTRA, deleted).await;
    let audit = control_plane.audit_log().settled(&control_plane).await;
    assert_eq!(who_the_query_names(&told, &control_plane), Identity::Tenant.user());

    for policy in [INGRESS, EGRESS, EXTRA] {
        comes_after_the_heal(&audit, &governed.name, policy);
    }
    governed.verdict().await;
}

/// Waits for a Warning about the policy and one about its tier, which say the same as a line of the log. Returns what they say.
async fn is_told(governed: &Governed<'_>, controller: &Controller, policy: &str, words: &str) -> String {
    let mut told = Vec::new();
    for (namespace, kind, name) in [
        (governed.name.as_str(), "NetworkPolicy", policy),
        // Where Events about what is cluster-wide are kept.
        ("default", "IsolationTier", governed.name.as_str()),
    ] {
        let events: Api<Event> = Api::namespaced(governed.admin.clone(), namespace);
        let awaited = format!("a Warning about {kind} {name}: {words}");
        let warning = eventually(&awaited, PATIENCE, || async {
            let list = events.list(&ListParams::default()).await;
            let list = list.map_err(|error| error.to_string())?;
            let about = list.items.into_iter().filter(|event| {
                event.regarding.as_ref().is_some_and(|regarding| {
                    regarding.kind.as_deref() == Some(kind) && regarding.name.as_deref() == Some(name)
                })
            });
            let notes: Vec<_> = about
                .map(|event| (event.type_, event.note.unwrap_or_default()))
                .collect();
            let found = notes.iter().find(|(kind, note)| {
                kind.as_deref() == Some("Warning") && note.contains(policy) && note.contains(words)
            });
            found.map(|(_, note)| note.clone()).ok_or_else(|| format!("{notes:?}"))
        });
        told.push(warning.await);
    }
    assert_eq!(told[0], told[1]);
    let (_, what) = told[0].split_once("; it was ").unwrap();
    let log = controller.log();
    let mut healed = log.lines().filter(|line| line.contains("healed: "));
    let quoted = serde_json::to_string(what).unwrap();
    let in_log = healed.any(|line| line.contains(what) || line.contains(quoted.trim_matches('"')));
    assert!(in_log, "{what}\n{log}");
    what.to_owned()
}

/// Runs the query that the words name on the log that the API server wrote.
fn who_the_query_names(told: &str, control_plane: &ControlPlane) -> String {
    let (_, query) = told.split_once("jq '").unwrap();
    let (query, log) = query.split_once("' ").unwrap();
    assert_eq!(log, "audit.log");
    let path = control_plane.audit_log().path().to_owned();
    let output = Command::new("jq").args(["--raw-output", query]).arg(path).output();
    let output = output.expect("jq, to run the query as a person would: apt-get install jq");
    let named = String::from_utf8_lossy(&output.stdout);
    let mut users: Vec<_> = named.lines().collect();
    users.dedup();
    users.join(" ")
}

/// Explaining never delays a heal.
fn comes_after_the_heal(audit: &[std::sync::Arc<AuditEvent>], namespace: &str, policy: &str) {
    let is_ours = |event: &&std::sync::Arc<AuditEvent>| event.user == Identity::Controller.user() && event.succeeded();
    let mut heals = audit.iter().filter(is_ours).filter(|event| {
        event.resource == "networkpolicies" && event.is_write() && event.namespace == namespace && event.name == policy
    });
    let healed_at = &heals.next_back().unwrap().stage_at;
    let told = audit
        .iter()
        .filter(is_ours)
        .filter(|event| event.resource == "events" && event.is_write() && event.name.starts_with(policy));
    let told_at: Vec<_> = told.map(|event| &event.received_at).collect();
    assert!(!told_at.is_empty(), "no Event about {policy} in the audit log");
    assert!(
        told_at.iter().all(|at| *at >= healed_at),
        "{policy}: {told_at:?} before {healed_at}"
    );
}
