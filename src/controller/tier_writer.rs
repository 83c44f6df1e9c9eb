//! The only writes to tiers: their status and our finalizer, each counted as one reconcile of a tier.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::client::readable::Readable;
use super::client::{REQUEST_DEADLINE, elapsed, within_deadline};
use super::consistent_read::tier_now;
use super::error::WriteError;
use super::kept::first_difference;
use super::tier_versions::TierVersions;
use crate::api::IsolationTier;
use crate::api::names::{API_VERSION, FIELD_MANAGER, TIER_KIND};
use crate::policy::record::Failure;
use crate::policy::{TierIdentity, words};
use crate::telemetry::metrics::{Metrics, ReconcileResult};

/// The value of the label `controller`.
pub(super) const CONTROLLER: &str = "tier";

/// So long it may take to write what is released, whatever comes between: a little longer than one request, so that one
/// that is not answered is counted as such.
pub(super) const WRITING_RELEASES_TAKES: Duration = REQUEST_DEADLINE.saturating_add(Duration::from_secs(1));

/// As often it meets a conflict at most. Who edits a tier without a pause is no reason to ask the API server without one.
const TRIES: usize = 6;

/// Writes to tiers with merge patches: they touch no field that they do not name, not even one that our types do not know.
/// Clones know what any of them was answered.
#[derive(Clone)]
pub(super) struct TierWriter {
    pub(super) client: Client,
    pub(super) metrics: Arc<Metrics>,
    versions: Arc<TierVersions>,
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

type Written = Result<DynamicObject, WriteError>;

impl TierWriter {
    pub(super) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            metrics,
            versions: Arc::default(),
        }
    }

    /// Forgets the tiers that are gone.
    pub(super) fn keep(&self, stands: impl Fn(&str) -> bool) {
        self.versions.keep(stands);
    }

    /// Writes what `status` names of the tier's status. A merge patch replaces lists whole, and keeps what it does not name.
    ///
    /// # Errors
    /// When the API server did not take it; that is counted already.
    pub(super) async fn write_status(&self, tier: &TierIdentity, status: Value) -> Result<Landed, Failure> {
        let started = Instant::now();
        // So that it does not land on a successor of the same name.
        let metadata = json!({"uid": &*tier.uid});
        let written = within_deadline(self.patch_status(tier, &metadata, &status)).await;
        let written = written.map_err(|error| WriteError::of(error, &format!("status of IsolationTier {}", tier.name)));
        self.counted(tier, written, started)
    }

    /// Writes what the tier's status tells of releases, on the newest revision that is known, where `watched` is what the
    /// watch shows: one that was given up and is carried out later finds another, and does not undo what was told since.
    ///
    /// # Errors
    /// When the API server did not take it, or does not keep it as it was sent; that is counted already.
    pub(super) async fn write_releases(
        &self,
        tier: &TierIdentity,
        watched: Option<String>,
        releases: &Value,
    ) -> Result<Landed, Failure> {
        let (started, what) = (
            Instant::now(),
            format!("releases in the status of IsolationTier {}", tier.name),
        );
        let writing = self.write_on_the_newest(tier, watched, releases, &what);
        let written = tokio::time::timeout(WRITING_RELEASES_TAKES, writing).await;
        let written = written.unwrap_or_else(|_late| Err(WriteError::of(elapsed(), &what)));
        self.counted(tier, written, started)
    }

    /// People edit tiers, and we report on them, so that a conflict says nothing: what stands is read, and it is tried again.
    async fn write_on_the_newest(
        &self,
        tier: &TierIdentity,
        watched: Option<String>,
        releases: &Value,
        what: &str,
    ) -> Written {
        let status = json!({"releases": releases});
        let mut known = self.versions.newest(&tier.uid, watched);
        for _ in 0..TRIES {
            let version = match known.take() {
                Some(version) => version,
                None => self.read_version(tier, what).await?,
            };
            let metadata = json!({"uid": &*tier.uid, "resourceVersion": version});
            let written = self.patch_status(tier, &metadata, &status).await;
            match written.map_err(|error| WriteError::of(error, what)) {
                Err(WriteError::OtherRevision) => self.versions.forget(&tier.uid),
                Ok(written) => return as_sent(written, releases, what),
                Err(error) => return Err(error),
            }
        }
        Err(WriteError::OtherRevision)
    }

    /// From the API server: who met a conflict knows that the watch is behind.
    async fn read_version(&self, tier: &TierIdentity, what: &str) -> Result<String, WriteError> {
        let read = tier_now(&self.client, &tier.name).await;
        let live = read.map_err(|error| WriteError::of(error, what))?;
        let same = live.filter(|live| live.uid().as_deref() == Some(&*tier.uid));
        same.and_then(|live| live.resource_version())
            .ok_or(WriteError::ObjectGone)
    }

    async fn patch_status(&self, tier: &TierIdentity, metadata: &Value, status: &Value) -> kube::Result<DynamicObject> {
        let patch = json!({"apiVersion": API_VERSION, "kind": TIER_KIND, "metadata": metadata, "status": status});
        let (api, parameters, patch) = (self.api(), parameters(), Patch::Merge(patch));
        let written = api.patch_status(&tier.name, &parameters, &patch).await;
        written.map(|Readable(written)| written)
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
        let what = format!("finalizer of IsolationTier {}", tier.name);
        let written = written.map(|Readable(written)| written);
        self.counted(tier, written.map_err(|error| WriteError::of(error, &what)), started)
    }

    fn api(&self) -> Api<Readable<DynamicObject>> {
        Api::all_with(self.client.clone(), &ApiResource::erase::<IsolationTier>(&()))
    }

    fn counted(&self, tier: &TierIdentity, written: Written, started: Instant) -> Result<Landed, Failure> {
        let landed = match written {
            Ok(written) => {
                if let Some(version) = written.resource_version() {
                    self.versions.answered(&tier.uid, version);
                }
                Ok(Landed::Yes)
            }
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

/// What the next process would not find there is told to nobody.
fn as_sent(written: DynamicObject, releases: &Value, what: &str) -> Written {
    let difference = first_difference("status.releases", releases, &written.data["status"]["releases"]);
    match difference {
        None => Ok(written),
        Some(difference) => Err(WriteError::Failed(Failure {
            reason: words::REQUEST_FAILED,
            message: format!(
                "{what}: the API server does not keep what it took: {difference}; apply the CustomResourceDefinition of this \
                 release, or look for a webhook that changes it"
            ),
            retry_after: None,
        })),
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
