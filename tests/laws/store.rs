//! The NetworkPolicies of one namespace, as an API server keeps them: preconditions, defaults, finalizers.

use std::collections::BTreeMap;

use cofferdam::policy::{
    Action, Namespace, ObservedPolicies, ObservedPolicy, Plan, PolicyName, Removal, SpecDigest, Write,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::validation::assert_valid;

/// What is stored, by name.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub policies: BTreeMap<String, NetworkPolicy>,
    revision: u64,
}

/// One change of a plan.
#[derive(Clone, Copy, Debug)]
pub enum Change<'plan> {
    Write(&'plan Write),
    Remove(&'plan Removal),
}

/// Every change, in the order of the plan.
pub fn changes(plan: &Plan) -> Vec<Change<'_>> {
    plan.writes()
        .map(Change::Write)
        .chain(plan.removals.iter().map(Change::Remove))
        .collect()
}

impl Change<'_> {
    pub fn name(&self) -> &PolicyName {
        match self {
            Self::Write(write) => &write.name,
            Self::Remove(removal) => &removal.name,
        }
    }
}

impl Store {
    /// Stores an object that was there before.
    pub fn seed(&mut self, mut policy: NetworkPolicy) {
        self.revision += 1;
        policy.metadata.uid = Some(format!("uid-{}", self.revision));
        let name = policy.metadata.name.clone().unwrap();
        self.policies.insert(name, self.stored(policy));
    }

    /// Makes one change; panics where a server would refuse it.
    pub fn make(&mut self, change: Change<'_>, namespace: &Namespace) {
        match change {
            Change::Write(write) => self.write(write, namespace),
            Change::Remove(removal) => self.remove(removal),
        }
    }

    fn write(&mut self, write: &Write, namespace: &Namespace) {
        let mut policy = write.object(namespace);
        let name = write.name.to_string();
        assert_valid(policy.spec.as_ref().unwrap());
        self.revision += 1;
        let live = self.policies.get(&name);
        match &write.action {
            Action::Create => {
                assert!(live.is_none(), "POST over {name}, which exists");
                policy.metadata.uid = Some(format!("uid-{}", self.revision));
            }
            Action::Replace { .. } => {
                let live = &live
                    .unwrap_or_else(|| panic!("PUT of {name}, which does not exist"))
                    .metadata;
                assert_eq!(policy.metadata.uid, live.uid, "PUT over another object");
                assert_eq!(
                    policy.metadata.resource_version, live.resource_version,
                    "PUT over another revision"
                );
                assert_eq!(policy.metadata.finalizers, live.finalizers, "PUT changed finalizers");
                policy.metadata.deletion_timestamp = live.deletion_timestamp.clone();
            }
        }
        let stored = self.stored(policy);
        self.policies.insert(name, stored);
    }

    fn remove(&mut self, removal: &Removal) {
        let live = self
            .policies
            .get_mut(removal.name.as_str())
            .expect("DELETE of what does not exist");
        assert_eq!(
            live.metadata.uid.as_deref(),
            Some(&*removal.uid),
            "DELETE of another object"
        );
        assert_eq!(
            live.metadata.resource_version.as_deref(),
            Some(&*removal.resource_version),
            "of another revision"
        );
        assert!(
            live.metadata.deletion_timestamp.is_none(),
            "DELETE of what is being deleted"
        );
        if live.metadata.finalizers.is_none() {
            self.policies.remove(removal.name.as_str());
        } else {
            self.revision += 1;
            live.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
            live.metadata.resource_version = Some(self.revision.to_string());
        }
    }

    /// What a tenant does to one of the policies with reserved names: deletes it, or gives it a spec with an
    /// annotation that fits.
    pub fn tamper(&mut self, index: usize, spec: Option<Value>) {
        let mut reserved = self.policies.keys().filter(|name| PolicyName::reserved(name).is_some());
        let Some(name) = reserved.nth(index).cloned() else {
            return;
        };
        let mut policy = self.policies.remove(&name).unwrap();
        let Some(spec) = spec else { return };
        let spec = serde_json::from_value(spec).unwrap();
        let annotations = policy.metadata.annotations.get_or_insert_default();
        annotations.insert(
            String::from("cofferdam.dev/rendered"),
            SpecDigest::of(&spec).to_string(),
        );
        policy.spec = Some(spec);
        self.revision += 1;
        let stored = self.stored(policy);
        self.policies.insert(name, stored);
    }

    /// Through JSON and the defaults of `k8s.io/kubernetes/pkg/apis/networking/v1`.
    fn stored(&self, policy: NetworkPolicy) -> NetworkPolicy {
        let mut json = serde_json::to_value(policy).unwrap();
        json["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let spec = &mut json["spec"];
        let has_egress = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
        if spec["policyTypes"].as_array().is_none_or(Vec::is_empty) {
            spec["policyTypes"] = if has_egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
        }
        if spec["podSelector"].is_null() {
            spec["podSelector"] = json!({});
        }
        for direction in ["ingress", "egress"] {
            for rule in spec[direction].as_array_mut().into_iter().flatten() {
                for port in rule["ports"]
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                    .filter(|port| port["protocol"].is_null())
                {
                    port["protocol"] = json!("TCP");
                }
            }
        }
        drop_empty(&mut json["spec"]);
        json["spec"]
            .as_object_mut()
            .unwrap()
            .entry("podSelector")
            .or_insert_with(|| json!({}));
        serde_json::from_value(json).unwrap()
    }

    /// What a watch shows of it.
    pub fn observed(&self) -> ObservedPolicies {
        self.policies
            .values()
            .filter_map(|policy| ObservedPolicy::read(policy.clone()))
            .collect()
    }

    /// Everything but uids and revisions.
    pub fn contents(&self) -> BTreeMap<&str, Value> {
        let content = |policy: &NetworkPolicy| {
            let mut json = serde_json::to_value(policy).unwrap();
            let metadata = json["metadata"].as_object_mut().unwrap();
            metadata.retain(|field, _| field != "uid" && field != "resourceVersion");
            json
        };
        self.policies
            .iter()
            .map(|(name, policy)| (name.as_str(), content(policy)))
            .collect()
    }

    /// What no plan may touch: every object whose name is not reserved.
    pub fn foreign(&self) -> BTreeMap<&str, &NetworkPolicy> {
        let foreign = self
            .policies
            .iter()
            .filter(|(name, _)| PolicyName::reserved(name).is_none());
        foreign.map(|(name, policy)| (name.as_str(), policy)).collect()
    }
}

/// Empty lists have `omitempty` in the Go types; an empty rule or selector stays.
fn drop_empty(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty()));
            fields.values_mut().for_each(drop_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}
