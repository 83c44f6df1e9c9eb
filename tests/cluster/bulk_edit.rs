//! A thousand policies edited at once: as many writes, no read, and a namespace that appears meanwhile does not wait for them.

use std::sync::Arc;

use futures::{StreamExt, stream};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::own_control_plane::OwnControlPlane;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{BOTH_BASES, apply_tier, eventually_governed, mark, selecting};
use crate::harness::{AuditEvent, ControlPlaneOptions, Controller, Identity, Observer};

const TIER: &str = "bulk";
const NAMESPACES: usize = 500;
/// Far more than the controller writes at a time, so that edits pile up.
const EDITS_AT_A_TIME: usize = 32;
const WRITES_AT_A_TIME: &str = "4";
const NEW: &str = "bulk-meanwhile";

fn name(number: usize) -> String {
    format!("bulk-{number:03}")
}

fn policies(client: &Client, namespace: &str) -> Api<NetworkPolicy> {
    Api::namespaced(client.clone(), namespace)
}

async fn create_all(admin: &Client) {
    let create = |number| async move { create_namespace(admin, &name(number), &[("scenario", TIER)]).await };
    let created = stream::iter(0..NAMESPACES)
        .map(create)
        .buffer_unordered(EDITS_AT_A_TIME);
    assert_eq!(created.count().await, NAMESPACES);
}

/// Waits until `count` policies stand, each with the digest of its spec: closed, and as many versions as they have.
async fn all_are_closed(admin: &Client, count: usize) {
    eventually("every policy is closed", 4 * PATIENCE, || async {
        let all: Api<NetworkPolicy> = Api::all(admin.clone());
        let list = all
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        let rules = |policy: &NetworkPolicy| {
            let spec = policy.spec.clone().unwrap_or_default();
            spec.ingress.unwrap_or_default().len() + spec.egress.unwrap_or_default().len()
        };
        let closed = list.items.iter().filter(|policy| rules(policy) == 0).count();
        if (closed, list.items.len()) == (count, count) {
            Ok(())
        } else {
            Err(format!("{closed} of {} are closed", list.items.len()))
        }
    })
    .await;
}

async fn open(admin: &Client, namespace: &str, policy: &str) {
    let direction = if policy == BOTH_BASES[0] { "egress" } else { "ingress" };
    let everyone = Patch::Merge(json!({"spec": {direction: [{}]}}));
    let parameters = PatchParams {
        field_manager: Some("bulk-edit".into()),
        ..PatchParams::default()
    };
    let opened = policies(admin, namespace).patch(policy, &parameters, &everyone).await;
    let opened = opened.unwrap_or_else(|error| panic!("{namespace}/{policy}: {error}"));
    assert_eq!(opened.name_any(), policy);
}

/// Opens every policy, and creates one more namespace half way: the controller stands still until then, so that whatever the
/// machine does all of the first half waits to be healed.
async fn open_all_and_create_one_meanwhile(admin: &Client, controller: &Controller) {
    controller.stop();
    let bases = (0..NAMESPACES).flat_map(|number| BOTH_BASES.map(|policy| (number, policy)));
    let edits = stream::iter(bases).map(|(number, policy)| async move { open(admin, &name(number), policy).await });
    let mut edits = std::pin::pin!(edits.buffer_unordered(EDITS_AT_A_TIME));
    for _ in 0..NAMESPACES {
        edits.next().await.expect("twice as many edits as namespaces");
    }
    let rest = async { while edits.next().await.is_some() {} };
    tokio::join!(rest, async {
        create_namespace(admin, NEW, &[("scenario", TIER)]).await;
        controller.cont();
    });
}

fn done(event: &AuditEvent) -> Timestamp {
    event.stage_at.parse().expect("a time of the audit log")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_edits_cost_a_thousand_writes_and_delay_no_new_namespace() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &["--concurrency", WRITES_AT_A_TIME]).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, TIER, &selecting(TIER, "mode: Enforce\n")).await;
    create_all(&admin).await;
    all_are_closed(&admin, 2 * NAMESPACES).await;

    let start = mark(&control_plane).await;
    open_all_and_create_one_meanwhile(&admin, &controller).await;
    all_are_closed(&admin, 2 * NAMESPACES + 2).await;
    eventually_governed(&admin, NEW, TIER, &BOTH_BASES).await;
    controller
        .eventually_metrics("every heal is counted, once", |metrics| {
            let healed = |name| metrics.sum(name, &[("tier", TIER), ("kind", "modified")]);
            let counts = ["cofferdam_drift_detected_total", "cofferdam_drift_corrected_total"].map(healed);
            if counts.iter().all(|count| (count - 1000.0).abs() < 0.5) {
                Ok(())
            } else {
                Err(format!("{counts:?}"))
            }
        })
        .await;

    let events = control_plane.audit_log().settled(&control_plane).await.split_off(start);
    let of = |user: Identity| {
        let own = events.iter().filter(move |event| event.user == user.user());
        own.filter(|event| event.stage == "ResponseComplete")
    };
    let on_policies = |verb: &str| -> Vec<&Arc<AuditEvent>> {
        let own = of(Identity::Controller).filter(|event| event.resource == "networkpolicies");
        own.filter(|event| event.verb == verb).collect()
    };
    let (heals, created) = (on_policies("update"), on_policies("create"));
    assert_eq!((heals.len(), created.len()), (2 * NAMESPACES, 2));
    assert_eq!(on_policies("delete").len(), 0);
    assert!(heals.iter().chain(&created).all(|write| write.succeeded()));

    // What may go on beside it: watches, Events, a status, the lease.
    let reads: Vec<String> = of(Identity::Controller)
        .filter(|event| ["get", "list"].contains(&event.verb.as_str()) && event.resource != "leases")
        .map(|event| event.summary())
        .collect();
    assert!(
        reads.is_empty(),
        "nothing is read between an edit and its heal: {reads:#?}"
    );

    let mut appeared = of(Identity::Admin).filter(|event| event.verb == "create" && event.name == NEW);
    let appeared = done(appeared.next().expect("the namespace was created"));
    let protected = created.iter().map(|event| done(event)).max().unwrap();
    let edits = of(Identity::Admin).filter(|event| event.verb == "patch" && done(event) <= appeared);
    let healed_before = heals.iter().filter(|heal| done(heal) <= appeared).count();
    let waiting = edits.count().saturating_sub(healed_before);
    assert!(
        waiting >= NAMESPACES,
        "nothing to wait for: only {waiting} edits were not healed yet"
    );
    let overtaken_by = heals
        .iter()
        .filter(|heal| done(heal) > appeared && done(heal) < protected);
    let overtaken_by = overtaken_by.count();
    println!(
        "{waiting} heals were waiting when the namespace appeared; {overtaken_by} of them came before its policies"
    );
    assert!(
        overtaken_by < waiting / 2,
        "{overtaken_by} of {waiting} waiting heals came before the policies of a new namespace"
    );
    Observer::of((0..NAMESPACES).map(name).chain([NEW.to_owned()]))
        .verdict(&control_plane)
        .await;
}
