//! The requests of an election: one at a time, each with a deadline, and what came of it told to [`Election`].

use std::future::Future;

use kube::Api;
use kube::api::{DynamicObject, PostParams};
use tokio::sync::watch;

use super::Candidacy;
use super::election::{Election, LeaseRecord, Step};
use super::lease::{acquired, created, record_of, released, renewed, resource};
use crate::api::names::{FIELD_MANAGER, LEASE};
use crate::controller::boot_clock::Moment;
use crate::controller::client::WriteGate;
use crate::controller::client::readable::Readable;
use crate::controller::error::describe_lease_error;

/// A replica's part in the election.
pub(super) struct Campaign {
    /// Asks, and acquires: what a replica may do that does not lead.
    pub(super) api: Api<Readable<DynamicObject>>,
    /// Renews, and is held to the gate as every other write of a leader.
    pub(super) gated_api: Api<Readable<DynamicObject>>,
    pub(super) election: Election,
    /// The lease as it was last seen, whole: what others wrote into it stays.
    pub(super) lease: Option<DynamicObject>,
    pub(super) candidacy: Candidacy,
    pub(super) identity: String,
    pub(super) gate: WriteGate,
    pub(super) leads: watch::Sender<bool>,
    /// Requests that failed in a row.
    pub(super) failures: u32,
}

impl Campaign {
    /// Runs until the claim is over, or until `stop` says so.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let now = Moment::now();
            match self.election.decide(now) {
                Step::WaitUntil(moment) => tokio::select! {
                    () = tokio::time::sleep(moment.since(now)) => {}
                    _ = stop.changed() => {}
                },
                Step::Read => self.read().await,
                Step::Create => {
                    let lease = created(&self.candidacy.namespace, &self.identity, &self.candidacy.settings);
                    self.write(lease).await;
                }
                Step::Acquire => {
                    let lease = self.known_lease();
                    self.write(acquired(lease, &self.identity, &self.candidacy.settings))
                        .await;
                }
                Step::Renew => {
                    let lease = self.known_lease();
                    self.write(renewed(lease, &self.identity, &self.candidacy.settings))
                        .await;
                }
                Step::Resign => return self.lose(),
            }
        }
        self.release().await;
    }

    /// Nothing is released: who lost the claim does not know what became of its writes.
    fn lose(&self) {
        self.gate.close();
        self.leads.send_replace(false);
        tracing::error!(
            identity = self.identity,
            holder = self.election.holder(),
            "the lease could not be renewed in time, or another holds it: this replica leads no more"
        );
    }

    async fn read(&mut self) {
        let sent = Moment::now();
        let answer = self.in_time(sent, self.api.get_opt(LEASE)).await;
        match answer {
            Ok(found) => {
                let found = found.map(|Readable(lease)| lease);
                self.answered();
                let before = self.election.holder().map(str::to_owned);
                self.election
                    .read(found.as_ref().map(|lease| self.record(lease)), Moment::now());
                self.lease = found;
                let holder = self.election.holder();
                if holder != before.as_deref() && holder.is_some_and(|holder| holder != self.identity) {
                    tracing::info!(
                        holder,
                        identity = self.identity,
                        "another replica leads; this one stands by"
                    );
                }
            }
            Err(error) => self.failed(sent, &error),
        }
    }

    /// Creates the lease, or replaces the version that it carries.
    async fn write(&mut self, lease: DynamicObject) {
        let sent = Moment::now();
        let leads = self.election.claim_ends().is_some();
        let api = if leads { &self.gated_api } else { &self.api };
        match self.in_time(sent, put_or_post(api, &lease)).await {
            Ok(stored) => {
                self.answered();
                self.election.written(self.record(&stored), sent, Moment::now());
                self.lease = Some(stored);
                self.claim();
            }
            // Somebody was first, or the lease is gone; without its namespace there can be none.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                self.election.refused();
            }
            Err(kube::Error::Api(status)) if status.is_not_found() && lease.metadata.resource_version.is_some() => {
                self.election.refused();
            }
            Err(error) => self.failed(sent, &error),
        }
    }

    /// As it was last seen; what replaces it names the version that it was.
    fn known_lease(&self) -> DynamicObject {
        let lease = self.lease.clone();
        lease.unwrap_or_else(|| DynamicObject::new(LEASE, &resource()))
    }

    fn claim(&self) {
        let Some(ends) = self.election.claim_ends() else { return };
        self.gate.open_until(ends);
        if !self.leads.send_replace(true) {
            tracing::info!(identity = self.identity, "this replica leads");
        }
    }

    /// Once the gate is shut and nothing that was let through is in doubt, the next leader need not wait. A conflict is
    /// one of our own renewals whose answer was lost: it is tried once more.
    async fn release(&mut self) {
        for _ in 0..2 {
            let ours = self.election.resign();
            if !ours || self.gate.is_open() {
                return;
            }
            if self.gate.is_in_doubt(self.candidacy.settings.lease_duration()) {
                tracing::warn!(
                    "a write ended without an answer and may still be carried out: the lease is left to run out"
                );
                return;
            }
            let lease = released(self.known_lease());
            let sent = Moment::now();
            match self.in_time(sent, put_or_post(&self.api, &lease)).await {
                Ok(_) => return tracing::info!(identity = self.identity, "the lease is released"),
                Err(kube::Error::Api(status)) if status.is_conflict() => self.read().await,
                Err(error) => return self.failed(sent, &error),
            }
        }
    }

    /// Bounds a request by its share of the time that is left, and by the claim.
    async fn in_time<T>(&self, sent: Moment, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let deadline = self.candidacy.request_deadline();
        let left = self.election.claim_ends().map_or(deadline, |ends| ends.since(sent));
        tokio::time::timeout(deadline.min(left), request)
            .await
            .unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
    }

    fn record(&self, lease: &DynamicObject) -> LeaseRecord {
        record_of(lease, &self.candidacy.settings)
    }

    fn answered(&mut self) {
        self.failures = 0;
    }

    fn failed(&mut self, sent: Moment, error: &kube::Error) {
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            let description = describe_lease_error(&self.candidacy.namespace, error);
            tracing::warn!(failures = self.failures, "{description}");
        }
        self.election.failed(sent);
    }
}

async fn put_or_post(api: &Api<Readable<DynamicObject>>, lease: &DynamicObject) -> kube::Result<DynamicObject> {
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let lease = Readable(lease.clone());
    let stored = match lease.0.metadata.resource_version {
        Some(_) => api.replace(LEASE, &parameters, &lease).await,
        None => api.create(&parameters, &lease).await,
    };
    stored.map(|Readable(lease)| lease)
}
