//! The only writer of policies: POST for what is missing, PUT over exactly the revision that was planned
//! against, DELETE of exactly that object.

use std::time::Instant;

use futures::{StreamExt, stream};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::client::readable::Readable;
use super::client::within_deadline;
use super::error::WriteError;
use super::removal_turns::RemovalTurns;
use crate::api::names::FIELD_MANAGER;
use crate::policy::record::Outcome;
use crate::policy::{Action, Namespace, Plan, PolicyName, Removal, Write};

/// Changes of one namespace in flight at most: a tenant who creates thousands of policies under reserved names must not
/// fill the way for everybody else.
const CHANGES_PER_NAMESPACE: usize = 8;

/// Writes plans.
pub(super) struct Writer {
    client: Client,
    /// Bounds the changes in flight, whatever the number of workers.
    permits: Semaphore,
    /// Of these, the deletions: where they hang, what closes goes on.
    deletions: RemovalTurns,
}

impl Writer {
    pub(super) fn new(client: Client, concurrency: usize) -> Self {
        Self {
            client,
            permits: Semaphore::new(concurrency),
            deletions: RemovalTurns::among(concurrency),
        }
    }

    /// Makes a plan's writes: extras, then bases and closings. A base that is missing, or that somebody changed, is written
    /// whatever else fails; one that stands as we left it is not narrowed before its extras stand.
    pub(super) async fn write(&self, cache: &Cache, namespace: &Namespace, plan: &Plan) -> Outcome {
        let mut outcome = Outcome::default();
        self.write_all(cache, namespace, plan.extras.iter(), &mut outcome).await;
        let extras_stand = outcome.is_complete();
        let bases = plan.bases.iter().filter(|base| extras_stand || base.cannot_wait());
        self.write_all(cache, namespace, bases.chain(&plan.closings), &mut outcome)
            .await;
        outcome
    }

    /// Makes removals of a plan, once all was written. After `release_until`, where they are a release, none is sent any more:
    /// the read before it is too old by then.
    pub(super) async fn remove(
        &self,
        cache: &Cache,
        namespace: &Namespace,
        removals: &[Removal],
        release_until: Option<Instant>,
        outcome: &mut Outcome,
    ) {
        let deletions = removals.iter();
        let deletions = deletions.map(|removal| self.remove_one(cache, namespace, removal, release_until));
        for (removal, result) in removals.iter().zip(few_at_a_time(deletions).await) {
            record(outcome, &removal.name, result);
        }
    }

    async fn write_all<'a>(
        &self,
        cache: &Cache,
        namespace: &Namespace,
        writes: impl Iterator<Item = &'a Write> + Clone,
        outcome: &mut Outcome,
    ) {
        let results = few_at_a_time(writes.clone().map(|write| self.write_one(cache, namespace, write))).await;
        for (write, result) in writes.zip(results) {
            record(outcome, &write.name, result);
        }
    }

    async fn write_one(&self, cache: &Cache, namespace: &Namespace, write: &Write) -> Result<(), WriteError> {
        let api = Api::<Readable<NetworkPolicy>>::namespaced(self.client.clone(), &namespace.name);
        let object = Readable(write.object(namespace));
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        // The semaphore is never closed; were it, writing without a permit only loses the bound.
        let permit = self.permits.acquire().await.ok();
        let result = match &write.action {
            Action::Create => within_deadline(api.create(&parameters, &object)).await,
            Action::Replace { .. } => within_deadline(api.replace(write.name.as_str(), &parameters, &object)).await,
        };
        drop(permit);
        match result {
            Ok(Readable(written)) => {
                cache.written(&namespace.name, written, Some(&write.policy));
                Ok(())
            }
            Err(error) => {
                let planned = match &write.action {
                    Action::Create => None,
                    Action::Replace { uid, .. } => Some(&**uid),
                };
                self.failed(cache, namespace, &write.name, planned, error).await
            }
        }
    }

    async fn remove_one(
        &self,
        cache: &Cache,
        namespace: &Namespace,
        removal: &Removal,
        release_until: Option<Instant>,
    ) -> Result<(), WriteError> {
        let api = Api::<Readable<NetworkPolicy>>::namespaced(self.client.clone(), &namespace.name);
        let parameters = DeleteParams::default().preconditions(Preconditions {
            uid: Some(removal.uid.to_string()),
            resource_version: Some(removal.resource_version.to_string()),
        });
        let turns = match release_until {
            Some(_) => &self.deletions.releases,
            None => &self.deletions.others,
        };
        let turn = turns.acquire().await.ok();
        let permit = self.permits.acquire().await.ok();
        // That wait may be long where the API server is slow.
        if release_until.is_some_and(|until| tokio::time::Instant::now().into_std() > until) {
            return Err(WriteError::OtherRevision);
        }
        let result = within_deadline(api.delete(removal.name.as_str(), &parameters)).await;
        drop((permit, turn));
        match result {
            Ok(left) => match left.left() {
                // Somebody's finalizer holds it: it still stands, which takes another plan. The watch brings none about,
                // since what it shows is known by now.
                Some(Readable(held)) if !held.finalizers().is_empty() => {
                    cache.written(&namespace.name, held, None);
                    Err(WriteError::OtherRevision)
                }
                _ => {
                    cache.deleted(&namespace.name, &removal.name, &removal.uid);
                    Ok(())
                }
            },
            Err(error) => {
                self.failed(cache, namespace, &removal.name, Some(&removal.uid), error)
                    .await
            }
        }
    }

    /// A write that met another revision reads what stands there, so that the next plan is made from it and
    /// not from a cache that is behind.
    async fn failed(
        &self,
        cache: &Cache,
        namespace: &Namespace,
        name: &PolicyName,
        planned: Option<&str>,
        error: kube::Error,
    ) -> Result<(), WriteError> {
        let error = WriteError::of(error, &format!("NetworkPolicy {}/{name}", namespace.name));
        if matches!(error, WriteError::ObjectGone | WriteError::OtherRevision) {
            let api = Api::<Readable<NetworkPolicy>>::namespaced(self.client.clone(), &namespace.name);
            match within_deadline(api.get_opt(name.as_str())).await {
                Ok(Some(Readable(live))) => cache.written(&namespace.name, live, None),
                // The object that was planned against is gone. What the cache knows by now may be another.
                Ok(None) => {
                    if let Some(uid) = planned {
                        cache.deleted(&namespace.name, name, uid);
                    }
                }
                Err(error) => {
                    return Err(WriteError::of(
                        error,
                        &format!("NetworkPolicy {}/{name}", namespace.name),
                    ));
                }
            }
        }
        Err(error)
    }
}

async fn few_at_a_time<T>(changes: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let changes: Vec<_> = changes.collect();
    stream::iter(changes).buffered(CHANGES_PER_NAMESPACE).collect().await
}

fn record(outcome: &mut Outcome, name: &PolicyName, result: Result<(), WriteError>) {
    match result {
        Ok(()) => _ = outcome.committed.insert(name.clone()),
        Err(WriteError::NamespaceGone) => outcome.namespace_gone = true,
        Err(WriteError::ObjectGone | WriteError::OtherRevision) => outcome.must_replan = true,
        Err(WriteError::Failed(failure)) => _ = outcome.failure.get_or_insert(failure),
    }
}

#[cfg(test)]
mod tests;
