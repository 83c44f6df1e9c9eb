//! The consistent read before a direction is opened: watches may be behind, and deleting a base on old news
//! would open a namespace that a tier selects by now.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace as ApiNamespace;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};

use super::cache::View;
use super::client::readable::Readable;
use super::client::within_deadline;
use crate::api::IsolationTier;
use crate::policy::{Namespace, NamespaceRecord, ParsedTier, Plan, World, plan};

/// How old a consistent read may be when a release is made on it. Far more than the read takes; where it takes longer, tiers
/// and namespace may have changed, and are read again.
pub(super) const CONSISTENT_READ_HOLDS: Duration = Duration::from_secs(5);

/// Plans again from the API server's present state: GET the namespace, LIST the tiers, without a resource
/// version, so that both are read from etcd. `None` if the namespace is gone, or changed meanwhile: then what was read
/// was never true at one moment, and a tier that took it over in between would not be seen.
///
/// # Errors
/// What the API server or the connection says; then nothing may be deleted.
pub(super) async fn plan_from_consistent_read(
    client: &Client,
    view: &View,
    record: Option<&NamespaceRecord>,
) -> Result<Option<Plan>, kube::Error> {
    let namespaces = Api::<Readable<PartialObjectMeta<ApiNamespace>>>::all(client.clone());
    let name = &view.namespace.name;
    let Some(Readable(live)) = within_deadline(namespaces.get_opt(name)).await? else {
        return Ok(None);
    };
    let version = live.resource_version();
    let namespace = Namespace::from(live.metadata);
    if namespace.uid != view.namespace.uid {
        return Ok(None);
    }
    let tiers = list_tiers(client).await?;
    let tiers = tiers.iter().map(|tier| {
        let spec = tier.data.get("spec").unwrap_or(&serde_json::Value::Null);
        ParsedTier::parse(&tier.metadata, spec)
    });
    let world = World::new(tiers, view.world.facts().clone(), view.world.exemptions().clone());
    let after = within_deadline(namespaces.get_opt(name)).await?;
    if after.and_then(|Readable(after)| after.resource_version()) != version {
        return Ok(None);
    }
    Ok(Some(plan(&world, &namespace, &view.observed, record)))
}

/// Every tier as it stands now: without a resource version, so that it is read from etcd.
///
/// # Errors
/// What the API server or the connection says.
pub(super) async fn list_tiers(client: &Client) -> Result<Vec<DynamicObject>, kube::Error> {
    list_tiers_with(client, &ListParams::default()).await
}

/// A tier as it stands now. A list of one, since the role lets the controller list tiers and not get them.
///
/// # Errors
/// What the API server or the connection says.
pub(super) async fn tier_now(client: &Client, name: &str) -> Result<Option<DynamicObject>, kube::Error> {
    let parameters = ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(list_tiers_with(client, &parameters).await?.pop())
}

async fn list_tiers_with(client: &Client, parameters: &ListParams) -> Result<Vec<DynamicObject>, kube::Error> {
    let tiers = Api::<Readable<DynamicObject>>::all_with(client.clone(), &ApiResource::erase::<IsolationTier>(&()));
    let list = within_deadline(tiers.list(parameters)).await?;
    Ok(list.items.into_iter().map(|Readable(tier)| tier).collect())
}

#[cfg(test)]
mod tests;
