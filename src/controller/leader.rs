//! One of several replicas leads, by a Lease. Reading order: `election` decides, `campaign` asks and writes, the gate of
//! [`super::client`] is what holds everybody to it.

mod campaign;
mod election;
mod identity;
mod lease;
mod settings;

use std::time::Duration;

use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::campaign::Campaign;
use self::election::Election;
pub use self::identity::own_identity;
pub use self::settings::{LONGEST_TIME, LeaseSettings, LeaseSettingsError};
use super::client::WriteGate;

/// An election to take part in.
#[derive(Clone, Debug)]
pub struct Candidacy {
    /// Where the Lease is.
    pub namespace: String,
    /// Its times.
    pub settings: LeaseSettings,
}

/// What this replica is in the election.
pub(super) struct Leadership {
    /// Closed once the candidacy is over.
    leads: watch::Receiver<bool>,
    state: State,
}

enum State {
    /// The sender only keeps the channel open.
    Unopposed { _leads: watch::Sender<bool> },
    Running {
        campaign: JoinHandle<()>,
        stop: watch::Sender<bool>,
    },
}

impl Candidacy {
    /// The gate that a claim of this election opens.
    pub(super) fn gate(&self) -> WriteGate {
        WriteGate::opened_by_a_claim(self.settings.margin())
    }

    /// How long a request for the lease may take.
    pub(super) fn request_deadline(&self) -> Duration {
        self.settings.request_deadline()
    }

    /// Takes part from now on. `ungated` is a client that may acquire before the gate is open, `gated` everybody's.
    pub(super) fn stand(self, identity: String, ungated: Client, gated: Client, gate: WriteGate) -> Leadership {
        let (leads, watched) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let campaign = Campaign {
            api: Api::namespaced_with(ungated, &self.namespace, &lease::resource()),
            gated_api: Api::namespaced_with(gated, &self.namespace, &lease::resource()),
            election: Election::new(identity.clone(), self.settings),
            lease: None,
            candidacy: self,
            identity,
            gate,
            leads,
            failures: 0,
        };
        Leadership {
            leads: watched,
            state: State::Running {
                campaign: tokio::spawn(campaign.run(stopped)),
                stop,
            },
        }
    }
}

impl Leadership {
    /// Leads from the start, and for ever.
    pub(super) fn unopposed() -> Self {
        let (sender, leads) = watch::channel(true);
        Self {
            leads,
            state: State::Unopposed { _leads: sender },
        }
    }

    /// Waits until this replica leads.
    pub(super) async fn begun(&self) {
        if self.leads.clone().wait_for(|leads| *leads).await.is_err() {
            // It is over before it began, which is for `lost` to say.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the candidacy is over without our asking for it: the claim, or a panic.
    pub(super) async fn lost(&self) {
        let mut leads = self.leads.clone();
        while leads.changed().await.is_ok() {}
    }

    /// Ends the candidacy. The lease is released if the gate is shut and no write is in doubt.
    pub(super) async fn resign(self) {
        if let State::Running { campaign, stop } = self.state {
            stop.send_replace(true);
            // A panic there has been reported, and leaves nothing to do.
            let _ = campaign.await;
        }
    }
}
