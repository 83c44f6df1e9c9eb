//! Whether the definition of tiers ends. The API server deletes its tiers one by one then, and without this a namespace
//! would go from each to the next weaker one, until nobody is left who would put it right again.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Client, Resource};

use crate::api::IsolationTier;
use crate::controller::client::readable::Readable;
use crate::controller::client::within_deadline;

/// Whether a tier's event may come from the end of the definition, or of a tier whose definition ended.
pub(super) fn may_tell_of_an_end<K: Resource>(event: &Event<K>) -> bool {
    match event {
        Event::Delete(_) | Event::InitDone => true,
        Event::Apply(tier) => tier.meta().deletion_timestamp.is_some(),
        Event::Init | Event::InitApply(_) => false,
    }
}

/// The uid of the tier that the event says is gone or going.
pub(super) fn ending_tier<K: Resource>(event: &Event<K>) -> Option<String> {
    match event {
        Event::Delete(tier) => tier.meta().uid.clone(),
        Event::Apply(tier) => tier
            .meta()
            .uid
            .clone()
            .filter(|_| tier.meta().deletion_timestamp.is_some()),
        Event::Init | Event::InitApply(_) | Event::InitDone => None,
    }
}

/// Reads it. It is marked as going before the first of its tiers is deleted, so what is read after that tells.
///
/// # Errors
/// What the API server or the connection says; then nothing is known.
pub(super) async fn definition_ends(client: &Client) -> Result<bool, kube::Error> {
    let definitions = Api::<Readable<PartialObjectMeta<CustomResourceDefinition>>>::all(client.clone());
    let name = format!("{}.{}", IsolationTier::plural(&()), IsolationTier::group(&()));
    let definition = within_deadline(definitions.get_opt(&name)).await?;
    Ok(definition.is_none_or(|Readable(definition)| definition.metadata.deletion_timestamp.is_some()))
}
