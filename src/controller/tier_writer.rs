//! The only writes to tiers: their status and our finalizer, each counted as one reconcile of a tier.

use std::sync::Arc;
use std::time::Instant;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::client::readable::Readable;
use super::client::within_deadline;
use super::error::WriteError;
use crate::api::IsolationTier;
use crate::api::names::{API_VERSION, FIELD_MANAGER, TIER_KIND};
use crate::policy::TierIdentity;
use crate::policy::record::Failure;
use crate::telemetry::metrics::{Metrics, ReconcileResult};

/// The value of the label `controller`.
pub(super) const CONTROLLER: &str = "tier";

/// Writes to tiers with merge patches: they touch no field that they do not name, not even one that our types do not know.
#[derive(Clone)]
pub(super) struct TierWriter {
    pub(super) client: Client,
    pub(super) metrics: Arc<Metrics>,
}

/// Whether a write changed the tier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Landed {
    /// It did.
    Yes,
    /// The tier is gone.
    Gone,
    /// It is another than was seen: the watch will say.
    Conflict,
}

impl TierWriter {
    /// Writes what `status` names of the tier's status. A merge patch replaces lists whole, and keeps what it does not name.
    ///
    /// # Errors
    /// When the API server did not take it; that is counted already.
    pub(super) async fn write_status(&self, tier: &TierIdentity, status: Value) -> Result<Landed, Failure> {
        let patch = json!({
            "apiVersion": API_VERSION,
            "kind": TIER_KIND,
            // So that it does not land on a successor of the same name.
            "metadata": {"uid": &*tier.uid},
            "status": status,
        });
        let (api, started) = (self.api(), Instant::now());
        let written = within_deadline(api.patch_status(&tier.name, &parameters(), &Patch::Merge(patch))).await;
        self.counted(written, started, &format!("status of IsolationTier {}", tier.name))
    }

    /// Replaces the tier's finalizers, unless anything of it changed since `resource_version`.
    ///
    /// # Errors
    /// When the API server did not take it; that is counted already.
    pub(super) async fn write_finalizers(
        &self,
        tier: &TierIdentity,
        resource_version: &str,
        finalizers: &[&str],
    ) -> Result<Landed, Failure> {
        let patch = json!({
            "apiVersion": API_VERSION,
            "kind": TIER_KIND,
            "metadata": {"uid": &*tier.uid, "resourceVersion": resource_version, "finalizers": finalizers},
        });
        let (api, started) = (self.api(), Instant::now());
        let written = within_deadline(api.patch(&tier.name, &parameters(), &Patch::Merge(patch))).await;
        self.counted(written, started, &format!("finalizer of IsolationTier {}", tier.name))
    }

    fn api(&self) -> Api<Readable<DynamicObject>> {
        Api::all_with(self.client.clone(), &ApiResource::erase::<IsolationTier>(&()))
    }

    fn counted<T>(&self, written: kube::Result<T>, started: Instant, what: &str) -> Result<Landed, Failure> {
        let landed = match written.map_err(|error| WriteError::of(error, what)) {
            Ok(_) => Ok(Landed::Yes),
            // A tier has no namespace.
            Err(WriteError::ObjectGone | WriteError::NamespaceGone) => Ok(Landed::Gone),
            Err(WriteError::OtherRevision) => Ok(Landed::Conflict),
            Err(WriteError::Failed(failure)) => Err(failure),
        };
        let result = match &landed {
            Ok(_) => ReconcileResult::Success,
            Err(failure) => {
                self.metrics.reconcile_failed(CONTROLLER, failure.reason);
                ReconcileResult::Error
            }
        };
        self.metrics.reconciled(CONTROLLER, result, started.elapsed());
        landed
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
