//! Documents to a snapshot, strictly: what a server would drop in silence is refused here, where a person can mend it.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::documents::{Document, InputProblem, Place};
use super::schema_limits::exceeded_limits;
use super::snapshot::{Snapshot, TierManifest};
use crate::api::IsolationTierSpec;
use crate::api::names::{API_VERSION, GROUP, NAMESPACE_NAME_LABEL, TIER_KIND};
use crate::cli::wording::listed;
use crate::controller::client::readable::Readable;
use crate::policy::ParsedTier;
use crate::policy::tier::unknown_fields;

/// What files say.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The objects.
    pub snapshot: Snapshot,
    /// How many objects there were of kinds that decide nothing here.
    pub ignored: BTreeMap<String, usize>,
    /// Everything that is wrong.
    pub problems: Vec<InputProblem>,
    seen: BTreeMap<ObjectKey, (Place, Value)>,
}

/// Kind, namespace and name.
type ObjectKey = (String, String, String);

/// The fields of a tier beside `spec`, whose own are known by its type, and `metadata`.
const TIER_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

impl Manifests {
    /// Reads every document.
    pub fn read(documents: Vec<Document>) -> Self {
        let mut manifests = Self::default();
        for document in documents {
            if let Err(problems) = manifests.insert(&document) {
                let placed = problems
                    .into_iter()
                    .map(|message| InputProblem::new(&document.place, message));
                manifests.problems.extend(placed);
            }
        }
        manifests
    }

    /// What was given and does not count, and what was not given and would.
    pub fn notes(&self, over_a_cluster: bool) -> Vec<String> {
        let mut ignored = self.ignored.clone();
        let snapshot = &self.snapshot;
        if over_a_cluster {
            let standing = [
                ("NetworkPolicy", snapshot.policies.values().map(Vec::len).sum()),
                ("Service", snapshot.services.len()),
                ("EndpointSlice", snapshot.endpoint_slices.len()),
            ];
            // What stands there, and what presets resolve from, the cluster itself says.
            ignored.extend(standing.map(|(kind, count)| (kind.to_owned(), count)));
            ignored.retain(|_, count| *count > 0);
        }
        let mut notes = Vec::new();
        if !ignored.is_empty() {
            let kinds: Vec<_> = ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            notes.push(format!(
                "note: ignored, because they decide nothing here: {}",
                kinds.join(", ")
            ));
        }
        if over_a_cluster {
            return notes;
        }
        if snapshot.namespaces.is_empty() {
            notes.push(String::from(
                "note: no Namespace was given, so there is nothing to plan for: kubectl get namespaces --output=yaml > namespaces.yaml",
            ));
        }
        let homeless = snapshot
            .policies
            .keys()
            .filter(|name| !snapshot.namespaces.contains_key(*name));
        let homeless: Vec<_> = homeless.map(String::as_str).collect();
        if !homeless.is_empty() {
            notes.push(format!(
                "note: left out, because there are policies for them but no Namespace: {}",
                listed(&homeless)
            ));
        }
        notes
    }

    fn insert(&mut self, document: &Document) -> Result<(), Vec<String>> {
        let object = &document.object;
        let (Some(kind), Some(api_version)) = (object["kind"].as_str(), object["apiVersion"].as_str()) else {
            return Err(vec![String::from(
                "is not a Kubernetes object: expected apiVersion and kind",
            )]);
        };
        let namespaced = match (group_of(api_version), kind) {
            (GROUP, TIER_KIND) | ("", "Namespace") => false,
            ("networking.k8s.io", "NetworkPolicy") | ("", "Service") | ("discovery.k8s.io", "EndpointSlice") => true,
            _ => {
                *self.ignored.entry(kind.to_owned()).or_default() += 1;
                return Ok(());
            }
        };
        let name = name_of(object, kind, namespaced)?;
        if self.is_repeated(document, kind, &name)? {
            return Ok(());
        }
        match kind {
            TIER_KIND => self.insert_tier(object, &name.1),
            "Namespace" => self.insert_namespace(object, &name.1),
            "NetworkPolicy" => read_policy(object).map(|policy| self.snapshot.insert_policy(policy)),
            "Service" => read(object, kind).map(|service| self.snapshot.services.push(service)),
            _ => read(object, kind).map(|slice| self.snapshot.endpoint_slices.push(slice)),
        }
    }

    /// Whether the same object was there before. Two that differ are an error: which one holds would depend on the
    /// order of files.
    fn is_repeated(&mut self, document: &Document, kind: &str, name: &(String, String)) -> Result<bool, Vec<String>> {
        let key = (kind.to_owned(), name.0.clone(), name.1.clone());
        match self.seen.get(&key) {
            None => {
                self.seen.insert(key, (document.place.clone(), document.object.clone()));
                Ok(false)
            }
            Some((_, before)) if *before == document.object => Ok(true),
            Some((place, _)) => Err(vec![format!(
                "{kind} {} is written differently in {place}: keep one of the two",
                name.1
            )]),
        }
    }

    fn insert_tier(&mut self, object: &Value, name: &str) -> Result<(), Vec<String>> {
        let (metadata, problems) = read_tier(object);
        if !problems.is_empty() {
            return Err(problems
                .into_iter()
                .map(|problem| format!("IsolationTier {name}: {problem}"))
                .collect());
        }
        let tier = TierManifest {
            metadata,
            spec: object["spec"].clone(),
            status: object["status"].clone(),
        };
        self.snapshot.tiers.insert(name.to_owned(), tier);
        Ok(())
    }

    fn insert_namespace(&mut self, object: &Value, name: &str) -> Result<(), Vec<String>> {
        let mut metadata: ObjectMeta = read(&object["metadata"], "metadata of Namespace")?;
        // As the API server does: tiers and peers select by this label.
        metadata
            .labels
            .get_or_insert_default()
            .insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned());
        self.snapshot.namespaces.insert(name.to_owned(), metadata);
        Ok(())
    }
}

/// The metadata of a tier, and everything that the API server or the controller would say against it.
fn read_tier(object: &Value) -> (ObjectMeta, Vec<String>) {
    let mut problems = Vec::new();
    if object["apiVersion"] != API_VERSION {
        problems.push(format!(
            "expected apiVersion {API_VERSION}, found {}",
            object["apiVersion"]
        ));
    }
    let strange = object.as_object().into_iter().flat_map(|fields| fields.keys());
    let mut unknown: Vec<_> = strange
        .filter(|field| !TIER_FIELDS.contains(&field.as_str()))
        .cloned()
        .collect();
    let metadata = match read::<ObjectMeta>(&object["metadata"], "metadata") {
        Ok(metadata) => metadata,
        Err(unreadable) => {
            problems.extend(unreadable);
            ObjectMeta::default()
        }
    };
    let spec = &object["spec"];
    if let Ok(read) = IsolationTierSpec::deserialize(spec) {
        unknown.extend(unknown_below("spec", spec, &read));
    }
    unknown.extend(unknown_below("metadata", &object["metadata"], &metadata));
    problems.extend(
        unknown
            .into_iter()
            .map(|field| format!("{field}: is not a field; see kubectl explain isolationtier")),
    );
    if let ParsedTier::Broken(tier) = ParsedTier::parse(&metadata, spec) {
        problems.extend(tier.problems.iter().map(ToString::to_string));
    }
    problems.extend(exceeded_limits(spec));
    (metadata, problems)
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Namespace, empty for what is cluster-wide, and name.
fn name_of(object: &Value, kind: &str, namespaced: bool) -> Result<(String, String), Vec<String>> {
    let field = |field: &str| object["metadata"][field].as_str().filter(|value| !value.is_empty());
    let Some(name) = field("name") else {
        return Err(vec![format!("{kind}: expected metadata.name, found none")]);
    };
    match field("namespace") {
        _ if !namespaced => Ok((String::new(), name.to_owned())),
        Some(namespace) => Ok((namespace.to_owned(), name.to_owned())),
        None => Err(vec![format!("{kind} {name}: expected metadata.namespace, found none")]),
    }
}

/// What kubectl printed may hold times that only a server can read.
fn read_policy(object: &Value) -> Result<NetworkPolicy, Vec<String>> {
    read::<Readable<NetworkPolicy>>(object, "NetworkPolicy").map(|policy| policy.0)
}

fn read<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, Vec<String>> {
    T::deserialize(value).map_err(|error| vec![format!("{what} cannot be read: {error}")])
}

fn unknown_below(field: &str, written: &Value, read: &impl serde::Serialize) -> Vec<String> {
    // What was read from JSON goes back to JSON; were that ever untrue, every field would be called unknown.
    let read = serde_json::to_value(read).unwrap_or_default();
    unknown_fields(written, &read)
        .into_iter()
        .map(|path| format!("{field}.{path}"))
        .collect()
}
