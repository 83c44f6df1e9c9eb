//! Whether a direction might be opened: what tiers and namespace said when the controller read them, from the audit log.
//! Written from the promise, without the crate's own plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde_json::{Value, json};

use super::audit_event::AuditEvent;
use super::identity::Identity;

/// The tiers and namespaces of a log, at any time of it.
#[derive(Debug)]
pub struct ReleaseJudge<'log> {
    events: &'log [Arc<AuditEvent>],
    /// By uid.
    tiers: BTreeMap<String, Vec<Version>>,
    /// By name.
    namespaces: BTreeMap<String, Vec<Version>>,
}

#[derive(Debug)]
struct Version {
    /// Before that nobody could read it.
    asked_at: String,
    /// From then on everybody did.
    stored_by: String,
    /// Nothing once it is gone.
    object: Option<Value>,
}

impl<'log> ReleaseJudge<'log> {
    /// Reads a whole log.
    pub fn new(events: &'log [Arc<AuditEvent>]) -> Self {
        let (mut tiers, mut namespaces) = (BTreeMap::new(), BTreeMap::new());
        let writes = events.iter().filter(|event| {
            event.stage == "ResponseComplete" && event.is_write() && event.succeeded() && event.subresource.is_empty()
        });
        for event in writes {
            match event.qualified_resource().as_str() {
                "cofferdam.dev/isolationtiers" => note(&mut tiers, event, uid_of(event)),
                "namespaces" => note(&mut namespaces, event, event.name.clone()),
                _ => {}
            }
        }
        Self {
            events,
            tiers,
            namespaces,
        }
    }

    /// Why this deletion of a base policy must not have been.
    pub fn unjustified(&self, event: &AuditEvent) -> Option<String> {
        if event.verb != "delete" {
            return None;
        }
        if event.user == Identity::ControllerManager.user() {
            return Some(format!(
                "the garbage collector opened its direction: {}",
                event.summary()
            ));
        }
        if event.user != Identity::Controller.user() {
            return None;
        }
        let Some((namespace_read, tiers_reads)) = self.last_read(event) else {
            return Some(format!(
                "opened without a look at namespace and tiers: {}",
                event.summary()
            ));
        };
        let direction = if event.name.ends_with("-ingress") {
            "Ingress"
        } else {
            "Egress"
        };
        let versions = self.namespaces.get(&event.namespace)?;
        let namespaces = moments(namespace_read, versions)
            .into_iter()
            .map(|time| at(versions, time));
        let moments_of = |read| moments(read, self.tiers.values().flatten());
        let tiers: Vec<&str> = tiers_reads.into_iter().flat_map(moments_of).collect();
        // A write that was under way while they were read was seen or not: it takes every way of it to be wrong.
        let mut isolated_by = None;
        for labels in namespaces.map(|namespace| namespace.map(labels_of).unwrap_or_default()) {
            for time in &tiers {
                isolated_by = Some(self.isolating_tier(time, &labels, direction)?);
            }
        }
        let name = isolated_by?;
        Some(format!(
            "opened although tier {name} isolated it when that was read: {}",
            event.summary()
        ))
    }

    fn isolating_tier(&self, time: &str, labels: &BTreeMap<String, String>, direction: &str) -> Option<String> {
        let tiers = self.tiers.values().filter_map(|versions| at(versions, time));
        let governor = tiers
            .filter(|tier| governs(tier, labels))
            .max_by_key(|tier| rank(tier))?;
        isolates(governor, direction).then(|| governor["metadata"]["name"].to_string())
    }

    // The namespace is read, then the tiers, then the namespace again. Tiers may be read for another namespace at the same
    // time, which the log does not tell apart: any of those reads may be the one.
    fn last_read(&self, deletion: &AuditEvent) -> Option<(&AuditEvent, Vec<&AuditEvent>)> {
        let asked = |verb: &'static str, resource: &'static str, name: &str| {
            let name = name.to_owned();
            let by_the_same = self.events.iter().map(|event| &**event).filter(|event| {
                event.user == Identity::Controller.user() && event.writer() == deletion.writer() && event.succeeded()
            });
            by_the_same
                .filter(move |event| event.verb == verb && event.qualified_resource() == resource && event.name == name)
        };
        let namespace = asked("get", "namespaces", &deletion.namespace);
        let mut namespace: Vec<_> = namespace
            .filter(|read| read.received_at <= deletion.received_at)
            .collect();
        namespace.sort_by(|left, right| left.received_at.cmp(&right.received_at));
        let [.., first, second] = *namespace else { return None };
        let tiers = asked("list", "cofferdam.dev/isolationtiers", "");
        let between = tiers.filter(|read| read.received_at >= first.received_at && read.stage_at <= second.stage_at);
        let between: Vec<_> = between.collect();
        (!between.is_empty()).then_some((second, between))
    }
}

fn note(versions: &mut BTreeMap<String, Vec<Version>>, event: &AuditEvent, key: String) {
    let Some(answer) = &event.response_object else { return };
    let versions = versions.entry(key).or_default();
    let no_finalizer = answer["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    // A namespace has a finalizer of its own, in its spec: it is gone once the last of those is.
    let kept_by_spec = event.resource == "namespaces";
    let gone = !answer["metadata"]["deletionTimestamp"].is_null() && no_finalizer && !kept_by_spec;
    let object = (answer["kind"] != "Status" && !gone).then(|| {
        let mut object = answer.clone();
        // A write of the metadata alone is answered with the metadata alone.
        let before = versions.last().and_then(|version| version.object.as_ref());
        if object.get("spec").is_none()
            && let Some(before) = before
        {
            object["spec"] = before["spec"].clone();
        }
        object
    });
    versions.push(Version {
        asked_at: event.received_at.clone(),
        stored_by: event.stage_at.clone(),
        object,
    });
}

fn uid_of(event: &AuditEvent) -> String {
    let answer = event.response_object.as_ref().unwrap_or(&Value::Null);
    let uid = answer["metadata"]["uid"].as_str().or(answer["details"]["uid"].as_str());
    uid.unwrap_or_default().to_owned()
}

fn at<'a>(versions: &'a [Version], time: &str) -> Option<&'a Value> {
    let known = versions
        .iter()
        .rev()
        .find(|version| version.stored_by.as_str() <= time)?;
    known.object.as_ref()
}

// When a read may have been made, as far as it matters to what it saw.
fn moments<'a>(read: &'a AuditEvent, versions: impl IntoIterator<Item = &'a Version>) -> Vec<&'a str> {
    let under_way = versions
        .into_iter()
        .filter(|version| version.asked_at <= read.stage_at && version.stored_by > read.received_at);
    let until = under_way.map(|version| version.stored_by.as_str());
    std::iter::once(read.received_at.as_str()).chain(until).collect()
}

fn labels_of(object: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default()
}

fn governs(tier: &Value, labels: &BTreeMap<String, String>) -> bool {
    let live = tier["metadata"]["deletionTimestamp"].is_null();
    let selector = serde_json::from_value::<LabelSelector>(tier["spec"]["namespaceSelector"].clone());
    let selector = selector.ok().and_then(|selector| Selector::try_from(selector).ok());
    live && tier["spec"]["mode"] == "Enforce" && selector.is_some_and(|selector| selector.matches(labels))
}

// On a tie the first name wins.
fn rank(tier: &Value) -> (i64, std::cmp::Reverse<String>) {
    let name = tier["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    (
        tier["spec"]["precedence"].as_i64().unwrap_or_default(),
        std::cmp::Reverse(name),
    )
}

fn isolates(tier: &Value, direction: &str) -> bool {
    let isolate = &tier["spec"]["isolate"];
    isolate.is_null()
        || isolate
            .as_array()
            .is_some_and(|isolate| isolate.contains(&json!(direction)))
}
