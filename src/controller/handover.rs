//! Our finalizer on tiers that take their policies along: put on, and taken off when everything is done.
//!
//! A merge patch of `metadata.finalizers` under the resource version that was seen: it names no other field, so that
//! nothing of anybody's spec or metadata is written, and where somebody else changed the list meanwhile it meets a
//! conflict instead of undoing that.

use std::sync::Arc;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;

use super::cache::{Cache, KnownTier};
use super::client::within_deadline;
use super::error::WriteError;
use super::ledger::Ledger;
use super::readable::Readable;
use super::report::CONTROLLER;
use crate::api::IsolationTier;
use crate::api::names::{API_VERSION, FIELD_MANAGER, HANDOVER_FINALIZER, TIER_KIND};
use crate::policy::handover::{FinalizerChange, finalizer_change};
use crate::telemetry::metrics::Metrics;

/// Looks after the finalizers.
pub(super) struct Handover {
    pub(super) cache: Arc<Cache>,
    pub(super) ledger: Arc<Ledger>,
}

impl Handover {
    /// Puts our finalizer where it has to be and takes it from where it is not needed. Returns whether that is done, as
    /// far as it can be now.
    pub(super) async fn settle(&self, client: &Client, metrics: &Metrics) -> bool {
        let definition_ends = self.cache.definition_ends();
        let mut settled = true;
        for known in self.cache.tiers() {
            let outstanding = || self.outstanding(&known);
            if let Some(change) = finalizer_change(&known.parsed, known.is_held(), definition_ends, outstanding) {
                settled &= write(client, metrics, &known, change).await;
            }
        }
        settled
    }

    /// In how many namespaces something is to be done before the tier may go.
    pub(super) fn outstanding(&self, known: &KnownTier) -> usize {
        self.cache.outstanding(&known.parsed, &self.ledger.all())
    }
}

async fn write(client: &Client, metrics: &Metrics, known: &KnownTier, change: FinalizerChange) -> bool {
    let identity = known.parsed.identity();
    let others = known
        .finalizers
        .iter()
        .filter(|finalizer| *finalizer != HANDOVER_FINALIZER);
    let ours = (change == FinalizerChange::Add).then_some(HANDOVER_FINALIZER);
    let finalizers: Vec<&str> = others.map(String::as_str).chain(ours).collect();
    let patch = json!({
        "apiVersion": API_VERSION,
        "kind": TIER_KIND,
        "metadata": {
            "uid": &*identity.uid,
            "resourceVersion": known.resource_version,
            "finalizers": finalizers,
        },
    });
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = Api::<Readable<DynamicObject>>::all_with(client.clone(), &ApiResource::erase::<IsolationTier>(&()));
    match within_deadline(api.patch(&identity.name, &parameters, &Patch::Merge(patch))).await {
        Ok(_) => {
            tracing::info!(tier = &*identity.name, ?change, "finalizer {HANDOVER_FINALIZER}");
            true
        }
        Err(error) => match WriteError::of(error, &format!("finalizer of IsolationTier {}", identity.name)) {
            // It is gone, or was changed: the watch shows what it is by now.
            WriteError::NamespaceGone | WriteError::OtherRevision => true,
            WriteError::Failed(failure) => {
                tracing::warn!(tier = &*identity.name, reason = failure.reason, "{}", failure.message);
                metrics.reconcile_failed(CONTROLLER, failure.reason);
                false
            }
        },
    }
}
