//! A live cluster to a snapshot, with lists alone: nothing is written.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::config::KubeConfigOptions;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;

use super::snapshot::{Snapshot, TierManifest};
use crate::api::IsolationTier;
use crate::api::names::{API_SERVER_SERVICE, SERVICE_NAME_LABEL};
use crate::controller::client::{ClientError, REQUEST_DEADLINE, build_client, within_deadline};

/// Why the cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The runtime.
    #[error("the process cannot be set up: {0}")]
    Process(#[from] std::io::Error),
    /// Neither a kubeconfig nor a pod's ServiceAccount.
    #[error(
        "expected a cluster in KUBECONFIG, ~/.kube/config or a pod's ServiceAccount, found none: {0}; \
         to plan without a cluster, give files with -f"
    )]
    NoCluster(#[from] kube::config::InferConfigError),
    /// The context is not in the kubeconfig.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Certificates, credentials or a proxy.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A list failed.
    #[error("cannot list {0}: {1}")]
    List(&'static str, String),
}

/// What a cluster says.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Its objects.
    pub snapshot: Snapshot,
    /// Whether it knows IsolationTiers at all.
    pub serves_tiers: bool,
}

/// Reads the cluster that `context`, or else the environment, names.
///
/// # Errors
/// When any part cannot be read: a plan from half a cluster would be wrong.
pub fn read_cluster(context: Option<&str>, dns_service: &(String, String)) -> Result<Cluster, LiveError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = match context {
            None => Config::infer().await?,
            Some(context) => {
                let options = KubeConfigOptions {
                    context: Some(context.to_owned()),
                    ..KubeConfigOptions::default()
                };
                Config::from_kubeconfig(&options).await?
            }
        };
        let client = build_client(config, Arc::new(|_| {}), REQUEST_DEADLINE)?;
        read_all(&client, dns_service).await
    })
}

async fn read_all(client: &Client, dns_service: &(String, String)) -> Result<Cluster, LiveError> {
    let mut snapshot = Snapshot::default();
    let tiers = list_tiers(client).await?;
    let serves_tiers = tiers.is_some();
    for tier in tiers.into_iter().flatten() {
        let spec = tier.data.get("spec").cloned().unwrap_or_default();
        let name = tier.metadata.name.clone().unwrap_or_default();
        let metadata = tier.metadata;
        snapshot.tiers.insert(name, TierManifest { metadata, spec });
    }
    let all = ListParams::default();
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    for namespace in list("namespaces", namespaces, &all).await? {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        snapshot.namespaces.insert(name, namespace.metadata);
    }
    let policies = Api::<NetworkPolicy>::all(client.clone());
    for policy in list("networkpolicies", policies, &all).await? {
        snapshot.insert_policy(policy);
    }
    let (namespace, name) = dns_service;
    for (namespace, name) in [(namespace.as_str(), name.as_str()), API_SERVER_SERVICE] {
        let one = ListParams::default().fields(&format!("metadata.name={name}"));
        let services = Api::<Service>::namespaced(client.clone(), namespace);
        snapshot.services.extend(list("services", services, &one).await?);
        let its = ListParams::default().labels(&format!("{SERVICE_NAME_LABEL}={name}"));
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
        snapshot
            .endpoint_slices
            .extend(list("endpointslices", slices, &its).await?);
    }
    Ok(Cluster { snapshot, serves_tiers })
}

/// Decoded object by object, so that a tier that does not parse is reported and not fatal. `None` where the custom
/// resource is not installed.
async fn list_tiers(client: &Client) -> Result<Option<Vec<DynamicObject>>, LiveError> {
    let tiers = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::erase::<IsolationTier>(&()));
    match within_deadline(tiers.list(&ListParams::default())).await {
        Ok(list) => Ok(Some(list.items)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(LiveError::List("isolationtiers", describe(error))),
    }
}

async fn list<K>(what: &'static str, api: Api<K>, params: &ListParams) -> Result<Vec<K>, LiveError>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned,
{
    let listed = within_deadline(api.list(params)).await;
    listed
        .map(|list| list.items)
        .map_err(|error| LiveError::List(what, describe(error)))
}

/// A status object has a sentence for people; the rest of it is for machines.
fn describe(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}
