//! Whether a cluster is what tiers, namespaces and facts ask for: the pure function, on what the API server says now.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam::api::IsolationTier;
use cofferdam::api::names::SERVICE_NAME_LABEL;
use cofferdam::policy::{
    ApiServerFacts, DnsFacts, Exemptions, Fact, Facts, Governor, Namespace, ObservedPolicy, ParsedTier, World, assign,
    plan,
};
use k8s_openapi::api::core::v1::{Namespace as ApiNamespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

/// What differs, in words; `None` where nothing does and every tier says so.
pub async fn difference(admin: &Client) -> Option<String> {
    match look(admin).await {
        Ok(differences) if differences.is_empty() => None,
        Ok(differences) => Some(differences.join("; ")),
        Err(error) => Some(format!("cannot read the cluster: {error}")),
    }
}

async fn look(admin: &Client) -> Result<Vec<String>, kube::Error> {
    let tiers = Api::<DynamicObject>::all_with(admin.clone(), &ApiResource::erase::<IsolationTier>(&()));
    let tiers = tiers.list(&ListParams::default()).await?.items;
    let world = world_of(admin, &tiers).await?;
    let mut differences: Vec<String> = tiers.iter().filter_map(silent_tier).collect();
    let mut policies: BTreeMap<String, Vec<NetworkPolicy>> = BTreeMap::new();
    for policy in Api::<NetworkPolicy>::all(admin.clone())
        .list(&ListParams::default())
        .await?
    {
        policies
            .entry(policy.namespace().unwrap_or_default())
            .or_default()
            .push(policy);
    }
    for namespace in Api::<ApiNamespace>::all(admin.clone())
        .list(&ListParams::default())
        .await?
    {
        let namespace = Namespace::from(namespace.metadata);
        let standing = policies.remove(&namespace.name).unwrap_or_default();
        differences.extend(differences_in(&world, &namespace, standing));
    }
    Ok(differences)
}

/// Tiers and facts as the API server holds them.
pub async fn world_of(admin: &Client, tiers: &[DynamicObject]) -> Result<World, kube::Error> {
    let parsed = tiers
        .iter()
        .map(|tier| ParsedTier::parse(&tier.metadata, tier.data.get("spec").unwrap_or(&Value::Null)));
    let exemptions = Exemptions::new("cofferdam-system", []);
    Ok(World::new(parsed, facts(admin).await?, exemptions))
}

async fn facts(admin: &Client) -> Result<Facts, kube::Error> {
    let (dns, dns_slices) = service(admin, "kube-system", "kube-dns").await?;
    let (api_server, api_server_slices) = service(admin, "default", "kubernetes").await?;
    Ok(Facts {
        dns: Fact::<DnsFacts>::read("kube-system", "kube-dns", dns.as_ref(), &dns_slices),
        api_server: Fact::<ApiServerFacts>::read(api_server.as_ref(), &api_server_slices),
    })
}

async fn service(
    admin: &Client,
    namespace: &str,
    name: &str,
) -> Result<(Option<Service>, Vec<EndpointSlice>), kube::Error> {
    let service = Api::<Service>::namespaced(admin.clone(), namespace)
        .get_opt(name)
        .await?;
    let its = ListParams::default().labels(&format!("{SERVICE_NAME_LABEL}={name}"));
    let slices = Api::<EndpointSlice>::namespaced(admin.clone(), namespace)
        .list(&its)
        .await?;
    Ok((service, slices.items))
}

fn differences_in(world: &World, namespace: &Namespace, standing: Vec<NetworkPolicy>) -> Vec<String> {
    let names: BTreeSet<String> = standing.iter().map(ResourceExt::name_any).collect();
    let observed = standing.into_iter().filter_map(ObservedPolicy::read).collect();
    let mut differences = Vec::new();
    let plan = plan(world, namespace, &observed, None);
    if !plan.is_empty() {
        let writes = plan.writes().map(|write| format!("{:?} {}", write.cause, write.name));
        let removals = plan.removals.iter().map(|removal| format!("remove {}", removal.name));
        let planned: Vec<String> = writes.chain(removals).collect();
        differences.push(format!("{}: {}", namespace.name, planned.join(", ")));
    }
    // Said a second time without the plan: what a tier renders to stands, spec by spec, and nothing else of ours does.
    if let Governor::Tier(governor) = assign(world, namespace, &observed, None).governor {
        let rendered: BTreeSet<String> = governor.rendered.policies.keys().map(ToString::to_string).collect();
        let ours: BTreeSet<String> = names
            .into_iter()
            .filter(|name| name.starts_with("cofferdam-"))
            .collect();
        if ours != rendered {
            differences.push(format!("{}: {ours:?} stand, {rendered:?} are rendered", namespace.name));
        }
        let differs = observed.iter().filter(|(name, live)| {
            let wanted = governor.rendered.policies.get(*name);
            wanted.is_some_and(|wanted| wanted.digest != live.spec)
        });
        differences.extend(differs.map(|(name, _)| format!("{}/{name} has another spec", namespace.name)));
    }
    differences
}

// A tier that does not say yet, or not yet of its present spec, that all is well.
fn silent_tier(tier: &DynamicObject) -> Option<String> {
    let status = &tier.data["status"];
    let ready = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["type"] == "Ready");
    let ready = ready.is_some_and(|ready| ready["status"] == "True");
    let current = status["observedGeneration"].as_i64() == tier.metadata.generation;
    let counts = &status["namespaces"];
    let unfinished = ["pending", "drifted", "failed"]
        .iter()
        .any(|state| counts[state].as_i64().unwrap_or_default() != 0);
    (!ready || !current || unfinished).then(|| format!("tier {} says {status}", tier.name_any()))
}
