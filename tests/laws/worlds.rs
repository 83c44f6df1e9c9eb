//! Small worlds: a few tiers over a tiny alphabet of labels, one namespace, and whatever stood there before.

use std::collections::BTreeMap;

use cofferdam::policy::{
    ApiServerFacts, DnsFacts, Exemptions, Fact, Facts, Namespace, ParsedTier, SpecDigest, World, plan,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::store::{Store, changes};

/// Names of tiers; the uid of tier `tN` is `uid-tN`.
const TIERS: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// What a world is made of, so that it can be made again in another order, or changed.
#[derive(Clone, Debug)]
pub struct Seed {
    pub tiers: Vec<TierSeed>,
    pub facts: FactsSeed,
    pub namespace: Namespace,
    policies: Vec<PolicySeed>,
    /// Tiers whose complete work stands there before.
    earlier: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct TierSeed {
    name: &'static str,
    pub spec: Value,
    terminating: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct FactsSeed {
    pub dns: bool,
    pub api_server: bool,
}

/// A policy that somebody wrote, with marks that may be forged.
#[derive(Clone, Debug)]
struct PolicySeed {
    name: &'static str,
    spec: Value,
    managed: bool,
    label: Option<&'static str>,
    owner: Option<(&'static str, &'static str)>,
    namespace_owner: Option<&'static str>,
    annotation: Annotation,
    finalizer: bool,
    deleting: bool,
}

#[derive(Clone, Copy, Debug)]
enum Annotation {
    None,
    Garbage,
    Fits,
}

impl Seed {
    pub fn world(&self) -> World {
        world_of(self.tiers.iter(), self.facts)
    }

    /// The same world, written in another order.
    pub fn reordered_world(&self) -> World {
        let reversed = self.tiers.iter().rev().cloned().map(|mut tier| {
            if let Some(allow) = tier.spec["allow"].as_array_mut() {
                allow.reverse();
            }
            tier
        });
        world_of(&reversed.collect::<Vec<_>>(), self.facts)
    }

    /// What stands in the namespace at first.
    pub fn store(&self) -> Store {
        let mut store = Store::default();
        for &index in self.earlier.iter().filter(|&&index| index < self.tiers.len()) {
            let mut tier = self.tiers[index].clone();
            tier.spec["namespaceSelector"] = json!({});
            tier.terminating = false;
            let known = FactsSeed {
                dns: true,
                api_server: true,
            };
            let first = plan(&world_of([&tier], known), &self.namespace, &store.observed(), None);
            changes(&first)
                .into_iter()
                .for_each(|change| store.make(change, &self.namespace));
        }
        self.policies
            .iter()
            .for_each(|policy| store.seed(policy.object(&self.namespace)));
        store
    }

    /// Whether a tier keeps namespaces by what carries its uid: then what stands decides who governs.
    pub fn has_a_tier_without_claim(&self) -> bool {
        self.world().tiers().iter().any(|ranked| ranked.tier.claim().is_none())
    }

    pub fn has_finalizers(&self) -> bool {
        self.policies.iter().any(|policy| policy.finalizer)
    }

    /// Whether a tier wrote a block of every address.
    pub fn allows_everywhere(&self) -> bool {
        self.tiers
            .iter()
            .any(|tier| tier.spec["allow"].to_string().contains("0.0.0.0/0"))
    }

    pub fn without_policies(mut self) -> Self {
        self.policies.clear();
        self.earlier.clear();
        self
    }
}

fn world_of<'a>(tiers: impl IntoIterator<Item = &'a TierSeed>, facts: FactsSeed) -> World {
    let tiers = tiers.into_iter().map(TierSeed::parse);
    World::new(tiers, facts.facts(), Exemptions::new("cofferdam-system", []))
}

impl TierSeed {
    fn parse(&self) -> ParsedTier {
        let created = Time(Timestamp::from_second(1000).unwrap());
        let metadata = ObjectMeta {
            name: Some(self.name.to_owned()),
            uid: Some(format!("uid-{}", self.name)),
            deletion_timestamp: self.terminating.then(|| created.clone()),
            creation_timestamp: Some(created),
            ..ObjectMeta::default()
        };
        ParsedTier::parse(&metadata, &self.spec)
    }
}

impl FactsSeed {
    fn facts(self) -> Facts {
        let mut facts = Facts::unread();
        if self.dns {
            facts.dns = Fact::Known(DnsFacts {
                namespace: String::from("kube-system"),
                pod_labels: BTreeMap::from([(String::from("k8s-app"), String::from("kube-dns"))]),
                endpoints: [].into(),
                pod_ports: [(cofferdam::api::Protocol::UDP, 53)].into(),
                cluster_ips: ["10.0.0.10".parse().unwrap()].into(),
                service_ports: [(cofferdam::api::Protocol::UDP, 53)].into(),
            });
        }
        if self.api_server {
            let https = [(cofferdam::api::Protocol::TCP, 443)];
            facts.api_server = Fact::Known(ApiServerFacts {
                endpoints: [(https.into(), ["192.0.2.1".parse().unwrap()].into())].into(),
                cluster_ips: ["10.0.0.1".parse().unwrap()].into(),
                service_ports: https.into(),
            });
        }
        facts
    }
}

impl PolicySeed {
    fn object(&self, namespace: &Namespace) -> NetworkPolicy {
        let spec = serde_json::from_value(self.spec.clone()).unwrap();
        let mut metadata = json!({"name": self.name, "namespace": namespace.name, "labels": {"theirs": "1"},
            "annotations": {}, "ownerReferences": []});
        if self.managed {
            metadata["labels"]["app.kubernetes.io/managed-by"] = json!("cofferdam");
        }
        if let Some(tier) = self.label {
            metadata["labels"]["cofferdam.dev/tier"] = json!(tier);
        }
        match self.annotation {
            Annotation::None => {}
            Annotation::Garbage => metadata["annotations"]["cofferdam.dev/rendered"] = json!("x"),
            Annotation::Fits => {
                metadata["annotations"]["cofferdam.dev/rendered"] = json!(SpecDigest::of(&spec).to_string());
            }
        }
        let tier = self.owner.map(|(name, of)| {
            json!({"apiVersion": "cofferdam.dev/v1alpha1", "kind": "IsolationTier",
            "name": name, "uid": format!("uid-{of}"), "controller": true})
        });
        let own = self
            .namespace_owner
            .map(|uid| json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace.name, "uid": uid}));
        metadata["ownerReferences"] = tier.into_iter().chain(own).collect();
        if self.finalizer {
            metadata["finalizers"] = json!(["tenant/forever"]);
            if self.deleting {
                metadata["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
            }
        }
        NetworkPolicy {
            metadata: serde_json::from_value(metadata).unwrap(),
            spec: Some(spec),
        }
    }
}

/// Allowances of every preset and shape.
fn allowances() -> Vec<Value> {
    let some = json!({"matchLabels": {"a": "1"}});
    let holed = |cidr: &str, except: &str| json!({"ipBlock": {"cidr": cidr, "except": [except]}});
    vec![
        json!({"name": "dns", "preset": "DNS"}),
        json!({"name": "api", "preset": "KubeAPIServer", "podSelector": some}),
        json!({"name": "same", "preset": "SameNamespace", "ports": [{"port": 80, "endPort": 90}, {"port": "http"}]}),
        json!({"name": "same-some", "preset": "SameNamespace", "podSelector": some}),
        json!({"name": "everywhere", "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]}),
        json!({"name": "from", "from": [{"namespaceSelector": some}, {"podSelector": {}}], "ports": [{"protocol": "UDP"}]}),
        json!({"name": "to", "to": [holed("10.0.0.0/8", "10.1.0.0/16"), {"podSelector": some}, holed("172.16.0.0/12", "172.16.1.0/24")]}),
    ]
}

fn tier_spec() -> impl Strategy<Value = Value> {
    let selector = select(vec![
        json!({}),
        json!({"matchLabels": {"a": "1"}}),
        json!({"matchLabels": {"a": "2"}}),
        json!({"matchExpressions": [{"key": "b", "operator": "Exists"}]}),
    ]);
    let mode = prop_oneof![6 => Just(json!("Enforce")), 2 => Just(json!("Observe")), 1 => Just(json!("Enforc"))];
    let isolate = select(vec![
        json!(null),
        json!(["Ingress"]),
        json!(["Egress"]),
        json!(["Egress", "Ingress"]),
    ]);
    let count = allowances().len();
    let allow = subsequence(allowances(), 0..=count).prop_shuffle();
    let flaw = prop_oneof![6 => Just(None), 1 => Just(Some(json!({"allow": [{"name": "a"}]}))),
        1 => Just(Some(json!({"precedence": "high"}))), 1 => Just(Some(json!({"isolate": ["Ingres"]})))];
    (0..3, selector, mode, isolate, allow, flaw).prop_map(|(precedence, selector, mode, isolate, allow, flaw)| {
        let mut spec = json!({"precedence": precedence, "namespaceSelector": selector, "mode": mode,
            "isolate": isolate, "allow": allow});
        if let Some(Value::Object(flaw)) = flaw {
            spec.as_object_mut().unwrap().extend(flaw);
        }
        spec
    })
}

pub fn tiers() -> impl Strategy<Value = Vec<TierSeed>> {
    let tier = (tier_spec(), prop::bool::weighted(0.1));
    prop::collection::vec(tier, 2..=4).prop_map(|tiers| {
        let named = tiers.into_iter().zip(TIERS);
        named
            .map(|((spec, terminating), name)| TierSeed {
                name,
                spec,
                terminating,
            })
            .collect()
    })
}

pub fn facts() -> impl Strategy<Value = FactsSeed> {
    (prop::bool::weighted(0.6), prop::bool::weighted(0.6)).prop_map(|(dns, api_server)| FactsSeed { dns, api_server })
}

fn namespace() -> impl Strategy<Value = Namespace> {
    let name = prop_oneof![9 => Just("n"), 1 => Just("kube-system")];
    let label = |key: &'static str| prop::option::of(select(vec!["1", "2"])).prop_map(move |value| Some((key, value?)));
    let created = select(vec![Some(999), Some(1000), Some(1001), None]);
    (name, label("a"), label("b"), created, prop::bool::weighted(0.05)).prop_map(
        |(name, a, b, created, terminating)| {
            let labels = a
                .into_iter()
                .chain(b)
                .map(|(key, value)| (key.to_owned(), value.to_owned()));
            Namespace {
                name: name.to_owned(),
                uid: String::from("uid-n"),
                labels: labels.collect(),
                created: created.map(|second| Timestamp::from_second(second).unwrap()),
                terminating,
            }
        },
    )
}

/// Specs that people write: closed, open, open for one direction, and every shorthand that the server defaults.
pub fn specs() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
        json!({"podSelector": {}, "policyTypes": ["Egress"]}),
        json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}),
        json!({"podSelector": {"matchLabels": {}}, "ingress": [], "egress": [{"ports": [{"port": 53}], "to": []}]}),
        json!({"podSelector": {"matchLabels": {"a": "1"}}, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}]}),
        json!({"podSelector": {}, "policyTypes": [], "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": []}}]}]}),
        json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": []}]}}),
    ])
}

fn policies() -> impl Strategy<Value = Vec<PolicySeed>> {
    let names = vec![
        "cofferdam-baseline-ingress",
        "cofferdam-baseline-egress",
        "cofferdam-allow-api-egress",
        "cofferdam-allow-same-some-ingress",
        "cofferdam-allow-hole-ingress",
        "cofferdam-exception-x-egress",
        "cofferdam-baseline-other",
        "default-deny",
        "cofferdam",
    ];
    let tier = || select(TIERS.to_vec());
    let owner = prop::option::of(
        prop_oneof![3 => tier().prop_map(|name| (name, name)), 1 => (tier(), tier()),
        1 => tier().prop_map(|name| (name, "gone"))],
    );
    let annotation = select(vec![
        Annotation::None,
        Annotation::Garbage,
        Annotation::Fits,
        Annotation::Fits,
    ]);
    let marks = (
        any::<bool>(),
        prop::option::of(tier()),
        owner,
        select(vec![None, Some("uid-n"), Some("uid-other")]),
        annotation,
    );
    let held = (prop::bool::weighted(0.2), any::<bool>());
    let policy = (select(names), specs(), marks, held).prop_map(|(name, spec, marks, (finalizer, deleting))| {
        let (managed, label, owner, namespace_owner, annotation) = marks;
        PolicySeed {
            name,
            spec,
            managed,
            label,
            owner,
            namespace_owner,
            annotation,
            finalizer,
            deleting,
        }
    });
    prop::collection::vec(policy, 0..4)
}

pub fn seeds() -> impl Strategy<Value = Seed> {
    let earlier = prop::collection::vec(0..4usize, 0..2);
    (tiers(), facts(), namespace(), policies(), earlier).prop_map(|(tiers, facts, namespace, policies, earlier)| Seed {
        tiers,
        facts,
        namespace,
        policies,
        earlier,
    })
}
