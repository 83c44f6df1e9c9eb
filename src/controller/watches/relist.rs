//! Now and then all policies are listed beside their watch, which goes on: what it did not show is found then.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams};

use super::Watches;
use super::page_size::PageSize;
use crate::controller::cache::OlderThanTheWatch;
use crate::controller::cache::Watched;
use crate::controller::client::readable::Readable;
use crate::controller::client::within_deadline;
use crate::controller::error::chain;
use crate::controller::queue::Class;
use crate::controller::random::random_fraction;

/// A list that failed is tried again after this, where the interval is not shorter.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
enum RelistError {
    #[error("cannot list networkpolicies: {}", chain(.0))]
    List(#[from] kube::Error),
    #[error("the API server listed networkpolicies as they were before what its watch has shown already")]
    OlderThanTheWatch,
}

impl Watches {
    /// Lists all policies every `interval`, for ever.
    pub(super) async fn relist_policies(self, interval: Duration) {
        self.cache.wait_for(&[Watched::Policies]).await;
        tokio::time::sleep(interval.mul_f64(random_fraction())).await;
        loop {
            let pause = match self.relist().await {
                Ok(concerned) if concerned.is_empty() => interval,
                Ok(concerned) => {
                    let namespaces = concerned.len();
                    tracing::warn!(
                        namespaces,
                        "a list of networkpolicies shows what no watch event had shown"
                    );
                    self.look_at(concerned, Class::Drift);
                    interval
                }
                Err(error) => {
                    tracing::warn!("{error}; it is tried again");
                    if matches!(error, RelistError::OlderThanTheWatch) {
                        // As after a restored backup: watches from a version that is yet to come show nothing until then.
                        self.went_back.send_replace(());
                    }
                    interval.min(RETRY_AFTER)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The namespaces where something is otherwise than the watch had shown.
    async fn relist(&self) -> Result<BTreeSet<String>, RelistError> {
        let api = Api::<Readable<NetworkPolicy>>::all(self.client.clone());
        let mut concerned = BTreeSet::new();
        let (mut parameters, mut size) = (ListParams::default(), PageSize::usual());
        self.cache.policies_relist_begins();
        let foreign = self.cache.foreign_policies();
        foreign.relist_begins();
        loop {
            parameters.limit = Some(size.objects());
            let list = match within_deadline(api.list(&parameters)).await {
                Ok(list) => list,
                Err(error) => {
                    size = size.smaller(&error).ok_or(error)?;
                    continue;
                }
            };
            size = size.after_a_page();
            let page: Vec<_> = list.items.into_iter().map(|Readable(policy)| policy).collect();
            let version = list.metadata.resource_version.unwrap_or_default();
            foreign.relisted(&version, &page);
            concerned.extend(self.cache.policies_relisted(&version, page)?);
            parameters.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                concerned.extend(self.cache.policies_relist_ends());
                self.audit_widening(foreign.relist_ends());
                return Ok(concerned);
            }
        }
    }
}

impl From<OlderThanTheWatch> for RelistError {
    fn from(_: OlderThanTheWatch) -> Self {
        Self::OlderThanTheWatch
    }
}
