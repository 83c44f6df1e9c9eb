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
use crate::controller::client::readable::{Readable, StandIn};
use crate::controller::client::{ClientError, REQUEST_DEADLINE, build_client, within_deadline};

/// A namespace without what decides nothing of it.
pub type NamespaceMetadata = PartialObjectMeta<Namespace>;

/// Why the cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The runtime.
    #[error("the process cannot be set up: {0}")]
    Process(#[from] std::io::Error),
    /// Neither a kubeconfig nor a pod's ServiceAccount.
    #[error(
        "expected a cluster in KUBECONFIG, ~/.kube/config or a pod's ServiceAccount, found none: {0}; \
         to do without a cluster, give files with -f"
    )]
    NoCluster(#[from] kube::config::InferConfigError),
    /// The context is not in the kubeconfig.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Certificates, credentials or a proxy.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A list failed.
    #[error("cannot list {what}: {why}{advice}")]
    List {
        /// The resource.
        what: &'static str,
        /// What the server or the connection said.
        why: String,
        /// What to do, where that is known.
        advice: &'static str,
    },
    /// The one namespace that was asked for.
    #[error("cannot read namespace {0}: {1}")]
    Namespace(String, String),
}

/// How much of a cluster is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope<'a> {
    /// Every namespace.
    Cluster,
    /// One namespace: a tenant may be allowed no more. What presets are resolved from need not be readable then.
    Namespace(&'a str),
}

/// What a cluster says.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Its objects.
    pub snapshot: Snapshot,
    /// Whether it knows IsolationTiers at all.
    pub serves_tiers: bool,
    /// What could not be read of what presets are resolved from: resource, namespace and why.
    pub unreadable_facts: Vec<String>,
}

/// What the API server says to a list of what it refuses to one who may read a single namespace.
const ONE_NAMESPACE: &str = "; to see one namespace, name it with -n";

/// A runtime for requests that are made one after the other.
///
/// # Errors
/// When the process may not have one.
pub fn runtime() -> Result<tokio::runtime::Runtime, LiveError> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A client for the cluster that `context`, or else the environment, names.
///
/// # Errors
/// When none is named, or what names it cannot be used. Whether it answers, the first request shows.
pub async fn connect(context: Option<&str>) -> Result<Client, LiveError> {
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
    Ok(build_client(config, Arc::new(|_| {}), REQUEST_DEADLINE)?)
}

/// Reads a cluster.
///
/// # Errors
/// When any part cannot be read: a plan from half a cluster would be wrong.
pub async fn read_cluster(
    client: &Client,
    dns_service: &(String, String),
    scope: Scope<'_>,
) -> Result<Cluster, LiveError> {
    let mut cluster = Cluster::default();
    let tiers = list_tiers(client).await?;
    cluster.serves_tiers = tiers.is_some();
    for tier in tiers.into_iter().flatten() {
        cluster.snapshot.insert_tier(TierManifest::from(tier));
    }
    read_namespaces(client, scope, &mut cluster.snapshot).await?;
    let (namespace, name) = dns_service;
    for (namespace, name) in [(namespace.as_str(), name.as_str()), API_SERVER_SERVICE] {
        match list_facts(client, namespace, name).await {
            Ok((services, slices)) => {
                cluster.snapshot.services.extend(services);
                cluster.snapshot.endpoint_slices.extend(slices);
            }
            Err(error) if scope == Scope::Cluster => return Err(error),
            Err(error) => cluster.unreadable_facts.push(error.to_string()),
        }
    }
    Ok(cluster)
}

/// Reads namespaces and the policies in them.
///
/// # Errors
/// When either cannot be read.
pub async fn read_namespaces(client: &Client, scope: Scope<'_>, snapshot: &mut Snapshot) -> Result<(), LiveError> {
    let all = ListParams::default();
    let policies = match scope {
        Scope::Cluster => {
            let namespaces = Api::<Readable<NamespaceMetadata>>::all(client.clone());
            let namespaces = list("namespaces", ONE_NAMESPACE, namespaces, &all).await?;
            let metadata = namespaces.into_iter().map(|namespace| namespace.metadata);
            metadata.for_each(|metadata| snapshot.insert_namespace(metadata));
            Api::all(client.clone())
        }
        Scope::Namespace(name) => {
            let metadata = read_namespace(client, name).await?.metadata;
            snapshot.insert_namespace(metadata);
            Api::namespaced(client.clone(), name)
        }
    };
    let policies = list::<NetworkPolicy>("networkpolicies", "", policies, &all).await?;
    policies.into_iter().for_each(|policy| snapshot.insert_policy(policy));
    Ok(())
}

async fn list_facts(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<(Vec<Service>, Vec<EndpointSlice>), LiveError> {
    let one = ListParams::default().fields(&format!("metadata.name={name}"));
    let services = Api::namespaced(client.clone(), namespace);
    let its = ListParams::default().labels(&format!("{SERVICE_NAME_LABEL}={name}"));
    let slices = Api::namespaced(client.clone(), namespace);
    Ok((
        list("services", "", services, &one).await?,
        list("endpointslices", "", slices, &its).await?,
    ))
}

async fn read_namespace(client: &Client, name: &str) -> Result<NamespaceMetadata, LiveError> {
    let namespaces = Api::<Readable<NamespaceMetadata>>::all(client.clone());
    let read = within_deadline(namespaces.get(name)).await;
    read.map(|namespace| namespace.0)
        .map_err(|error| LiveError::Namespace(name.to_owned(), describe(error)))
}

/// Decoded object by object, so that a tier that does not parse is reported and not fatal. `None` where the custom
/// resource is not installed.
async fn list_tiers(client: &Client) -> Result<Option<Vec<DynamicObject>>, LiveError> {
    let resource = ApiResource::erase::<IsolationTier>(&());
    let tiers = Api::<Readable<DynamicObject>>::all_with(client.clone(), &resource);
    match within_deadline(tiers.list(&ListParams::default())).await {
        Ok(list) => Ok(Some(list.items.into_iter().map(|tier| tier.0).collect())),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(LiveError::List {
            what: "isolationtiers",
            why: describe(error),
            advice: "",
        }),
    }
}

async fn list<K>(
    what: &'static str,
    advice_if_forbidden: &'static str,
    api: Api<Readable<K>>,
    params: &ListParams,
) -> Result<Vec<K>, LiveError>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + StandIn,
{
    match within_deadline(api.list(params)).await {
        Ok(list) => Ok(list.items.into_iter().map(|item| item.0).collect()),
        Err(error) => {
            let forbidden = matches!(&error, kube::Error::Api(status) if status.code == 403);
            Err(LiveError::List {
                what,
                why: describe(error),
                advice: if forbidden { advice_if_forbidden } else { "" },
            })
        }
    }
}

/// A status object has a sentence for people; the rest of it is for machines.
pub fn describe(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}
