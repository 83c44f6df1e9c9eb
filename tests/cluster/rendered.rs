//! Whatever admission lets through becomes NetworkPolicies that the API server takes, and gives back as they were written.

use std::path::Path;
use std::sync::Arc;

use cofferdam::policy::render::render;
use cofferdam::policy::{
    Action, ApiServerFacts, Cause, DnsFacts, Fact, Facts, Namespace, ParsedTier, SpecDigest, Write,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client};

use crate::harness::ControlPlane;
use crate::harness::scenario_namespaces::{create_namespace, unique_name};

#[tokio::test(flavor = "multi_thread")]
async fn every_valid_tier_renders_to_policies_that_the_api_server_accepts_unchanged() {
    let control_plane = ControlPlane::shared().await;
    let admin = control_plane.admin().await;
    let facts = read_facts(&admin).await;
    let name = unique_name("rendered");
    let namespace = Namespace::from(create_namespace(&admin, &name, &[]).await.metadata);
    let api: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &name);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let (mut tiers, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiers/valid")).unwrap() {
        let path = entry.unwrap().path();
        let mut tier: DynamicObject = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        // An owner without uid is refused; the fixture was never stored, so it has none.
        tier.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
        let tier = ParsedTier::parse(&tier.metadata, &tier.data["spec"]);
        assert!(matches!(tier, ParsedTier::Whole(_)), "{}: {tier:?}", path.display());
        tiers += 1;
        for (policy_name, policy) in render(&tier, &facts).policies {
            assert_eq!(policy.unresolved, [], "{}", path.display());
            let write = Write {
                name: policy_name,
                tier: Arc::clone(tier.identity()),
                action: Action::Create,
                cause: Cause::Pending,
                policy,
            };
            match api.create(&dry_run, &write.object(&namespace)).await {
                Ok(stored) if SpecDigest::of(stored.spec.as_ref().unwrap()) == write.policy.digest => {}
                Ok(stored) => wrong.push(format!("{}: changed to {:?}", path.display(), stored.spec)),
                Err(error) => wrong.push(format!("{}: {}: {error}", path.display(), write.name)),
            }
        }
    }
    assert!(tiers > 20, "only {tiers} fixtures");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// From the server, as the controller reads them.
async fn read_facts(admin: &Client) -> Facts {
    let slices = async |namespace: &str, service: &str| {
        let labels = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        Api::<EndpointSlice>::namespaced(admin.clone(), namespace)
            .list(&labels)
            .await
            .unwrap()
            .items
    };
    let service = async |namespace: &str, name: &str| {
        Api::<Service>::namespaced(admin.clone(), namespace)
            .get(name)
            .await
            .unwrap()
    };
    let dns = (
        service("kube-system", "kube-dns").await,
        slices("kube-system", "kube-dns").await,
    );
    let api_server = (
        service("default", "kubernetes").await,
        slices("default", "kubernetes").await,
    );
    Facts {
        dns: Fact::<DnsFacts>::read("kube-system", "kube-dns", Some(&dns.0), &dns.1),
        api_server: Fact::<ApiServerFacts>::read(Some(&api_server.0), &api_server.1),
    }
}
