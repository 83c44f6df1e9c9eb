//! The judge of a scenario: over every revision that the API server stored, was there ever one that must not be?

use std::collections::BTreeSet;
use std::sync::Arc;

use cofferdam::api::Direction;
use cofferdam::api::names::{MANAGED_BY_LABEL, RENDERED_ANNOTATION};
use serde_json::{Value, json};

use super::audit_event::AuditEvent;
use super::control_plane::ControlPlane;
use super::identity::Identity;
use super::policy_history::{Revision, policy_histories};
use super::release_judge::ReleaseJudge;

/// Judges what happened in some namespaces, from their creation on.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    namespaces: BTreeSet<String>,
    expected_releases: Vec<(String, String)>,
    judged_since: Option<usize>,
    servers_restart: bool,
}

impl Observer {
    /// An observer of these namespaces.
    pub fn of<Name: Into<String>>(namespaces: impl IntoIterator<Item = Name>) -> Self {
        Self {
            namespaces: namespaces.into_iter().map(Into::into).collect(),
            expected_releases: Vec::new(),
            judged_since: None,
            servers_restart: false,
        }
    }

    /// Declares that the scenario makes the controller delete the baseline of this direction, once.
    pub fn expect_release(mut self, namespace: &str, direction: Direction) -> Self {
        self.expected_releases
            .push((namespace.to_owned(), baseline_name(direction).to_owned()));
        self
    }

    /// Looks only at what came after this [`super::AuditLog::mark`], and judges each release by what tiers and namespace
    /// said when the controller read them last, so that none has to be declared.
    pub fn since(mut self, mark: usize) -> Self {
        self.judged_since = Some(mark);
        self
    }

    /// Expects API servers to start while the controller runs: one that has not read the roles yet refuses everybody.
    pub fn while_servers_restart(mut self) -> Self {
        self.servers_restart = true;
        self
    }

    /// Fails the test with every violation; call it last.
    pub async fn verdict(&self, control_plane: &ControlPlane) {
        let violations = self.violations_in(&control_plane.audit_log().settled(control_plane).await);
        assert!(
            violations.is_empty(),
            "the observer saw what must never be:\n{}",
            violations.join("\n")
        );
    }

    /// Every violation among `events`, a line each.
    pub fn violations_in(&self, events: &[Arc<AuditEvent>]) -> Vec<String> {
        let all_events = events;
        let events = &all_events[self.judged_since.unwrap_or_default()..];
        let mut violations = self.writes_to_what_is_not_ours(events);
        violations.extend(more_than_one_writer(events));
        let release_judge = self.judged_since.map(|_| ReleaseJudge::new(all_events));
        for ((namespace, name), history) in policy_histories(events, &self.namespaces) {
            let mut found: Vec<String> = history.iter().filter(by_controller).filter_map(malformed).collect();
            found.extend(history.windows(2).filter_map(lost_metadata));
            match &release_judge {
                _ if !is_baseline(&name) => {}
                Some(judge) => found.extend(history.iter().filter_map(|revision| judge.unjustified(&revision.event))),
                None => found.extend(self.unexpected_releases(&namespace, &name, &history)),
            }
            violations.extend(found.into_iter().map(|text| format!("{namespace}/{name}: {text}")));
        }
        violations
    }

    // The requests themselves, whatever they led to: permissions that lack, and objects that are not ours.
    fn writes_to_what_is_not_ours(&self, events: &[Arc<AuditEvent>]) -> Vec<String> {
        let mut violations = Vec::new();
        let ours = |event: &&Arc<AuditEvent>| {
            event.user == Identity::Controller.user()
                && (event.namespace.is_empty() || self.namespaces.contains(&event.namespace))
        };
        for event in events.iter().filter(ours) {
            if event.is_missing_permission() && self.servers_restart {
                continue;
            }
            if event.is_missing_permission() {
                violations.push(format!("the shipped role lacks a permission: {}", event.summary()));
            }
            let allowed = match event.qualified_resource().as_str() {
                "networking.k8s.io/networkpolicies" => match event.verb.as_str() {
                    "deletecollection" => false,
                    // What somebody else put under a reserved name is pruned, even where we would never write it.
                    "delete" => is_reserved_name(&event.name),
                    _ => is_our_name(&event.name),
                },
                "coordination.k8s.io/leases" => event.is_of_own_lease(),
                "cofferdam.dev/isolationtiers" => event.verb == "patch" && names_only_finalizers(event),
                "events.k8s.io/events" | "cofferdam.dev/isolationtiers/status" => true,
                _ => false,
            };
            if event.is_write() && !allowed {
                violations.push(format!("a write to what is not ours: {}", event.summary()));
            }
        }
        violations
    }

    fn unexpected_releases(&self, namespace: &str, name: &str, history: &[Revision]) -> Vec<String> {
        let expected = self
            .expected_releases
            .iter()
            .filter(|(space, policy)| space == namespace && policy == name)
            .count();
        // By the verb, not by the absence that follows: a finalizer may hold the object until somebody else lets it go.
        let deletions: Vec<usize> = (0..history.len())
            .filter(|index| history[*index].event.verb == "delete" && by_controller(&&history[*index]))
            .collect();
        let describe = |index: &usize| {
            let recreated = history.get(index + 1).is_some_and(|next| by_controller(&next));
            let what = if recreated {
                "replaced in two steps, open in between"
            } else {
                "deleted, its direction is open"
            };
            format!("{what}: {}", history[*index].event.summary())
        };
        deletions.iter().skip(expected).map(describe).collect()
    }
}

/// `cofferdam-baseline-ingress` or `-egress`.
pub fn baseline_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "cofferdam-baseline-ingress",
        Direction::Egress => "cofferdam-baseline-egress",
    }
}

fn is_baseline(name: &str) -> bool {
    [Direction::Ingress, Direction::Egress]
        .map(baseline_name)
        .contains(&name)
}

fn is_our_name(name: &str) -> bool {
    let directed = name.ends_with("-ingress") || name.ends_with("-egress");
    is_baseline(name) || (directed && name.starts_with("cofferdam-allow-"))
}

/// Whether the name is inside the grammar that decides what is ours in a governed namespace.
pub fn is_reserved_name(name: &str) -> bool {
    ["cofferdam-baseline-", "cofferdam-allow-", "cofferdam-exception-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

// All that the controller may write to a tier itself is our finalizer, at the revision that it saw.
fn names_only_finalizers(event: &AuditEvent) -> bool {
    let Some(Value::Object(patch)) = &event.request_object else {
        return false;
    };
    let mut fields: Vec<&str> = patch.keys().map(String::as_str).collect();
    let metadata = patch.get("metadata").and_then(Value::as_object);
    fields.extend(metadata.into_iter().flatten().map(|(field, _)| field.as_str()));
    fields.sort_unstable();
    fields == ["apiVersion", "finalizers", "kind", "metadata", "resourceVersion", "uid"]
}

fn by_controller(revision: &&Revision) -> bool {
    revision.event.user == Identity::Controller.user()
}

// Labels, annotations and finalizers of others that a write of the controller dropped.
fn lost_metadata(pair: &[Revision]) -> Option<String> {
    let [before, after] = pair else { return None };
    let (old, new) = (before.object.as_ref()?, after.object.as_ref()?);
    if after.event.verb != "update" || !by_controller(&after) {
        return None;
    }
    let foreign = |object: &Value, field: &str| -> BTreeSet<String> {
        let entries = object["metadata"][field].as_object().into_iter().flatten();
        let foreign = entries.filter(|(key, _)| !key.starts_with("cofferdam.dev/") && *key != MANAGED_BY_LABEL);
        foreign.map(|(key, value)| format!("{field} {key}={value}")).collect()
    };
    let finalizers = |object: &Value| -> BTreeSet<String> {
        let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        finalizers.map(|finalizer| format!("finalizer {finalizer}")).collect()
    };
    let of = |object: &Value| -> BTreeSet<String> {
        let mut all = foreign(object, "labels");
        all.extend(foreign(object, "annotations"));
        all.extend(finalizers(object));
        all
    };
    let lost: Vec<String> = of(old).difference(&of(new)).cloned().collect();
    (!lost.is_empty()).then(|| {
        format!(
            "lost what was somebody else's: {}: {}",
            lost.join(", "),
            after.event.summary()
        )
    })
}

// Where requests say which process made them: once another one writes, the one before it must not.
fn more_than_one_writer(events: &[Arc<AuditEvent>]) -> Option<String> {
    let mut writes: Vec<_> = events
        .iter()
        .filter(|event| event.user == Identity::Controller.user() && event.is_write() && event.resource != "leases")
        .filter(|event| event.stage == "ResponseComplete" && event.writer().is_some())
        .collect();
    writes.sort_by(|left, right| left.received_at.cmp(&right.received_at));
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    let returns = writes.windows(2).find(|pair| {
        let (before, now) = (
            pair[0].writer().unwrap_or_default(),
            pair[1].writer().unwrap_or_default(),
        );
        before != now && {
            gone.insert(before);
            gone.contains(now)
        }
    })?;
    Some(format!("two writers at once: {}", returns[1].summary()))
}

// What is wrong with an object that the controller stored. Written from the promise, not from the renderer.
fn malformed(revision: &Revision) -> Option<String> {
    let object = revision.object.as_ref()?;
    // A delete that a finalizer holds leaves the object as others made it.
    if revision.event.verb == "delete" {
        return None;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let (direction, rules, other_rules, peers) = match name.ends_with("-ingress") {
        true => ("Ingress", "ingress", "egress", "from"),
        false => ("Egress", "egress", "ingress", "to"),
    };
    let spec = &object["spec"];
    let everyone = |rule: &Value| rule[peers].as_array().is_none_or(Vec::is_empty);
    let mut faults = Vec::new();
    if object["metadata"]["annotations"][RENDERED_ANNOTATION]
        .as_str()
        .is_none_or(str::is_empty)
    {
        faults.push(format!("lacks the annotation {RENDERED_ANNOTATION}"));
    }
    if spec["policyTypes"] != json!([direction]) {
        faults.push(format!(
            "has policyTypes {} where [\"{direction}\"] belongs",
            spec["policyTypes"]
        ));
    }
    if is_baseline(name) && !selects_every_pod(&spec["podSelector"]) {
        faults.push(format!("has podSelector {} where {{}} belongs", spec["podSelector"]));
    }
    if spec[rules].as_array().is_some_and(|rules| rules.iter().any(everyone)) {
        faults.push(format!(
            "has a rule without peers, which lets everyone through: {}",
            spec[rules]
        ));
    }
    if !spec[other_rules].is_null() {
        faults.push(format!("has {other_rules} rules: {}", spec[other_rules]));
    }
    (!faults.is_empty()).then(|| {
        format!(
            "the controller stored an object that {}: {}",
            faults.join("; "),
            revision.event.summary()
        )
    })
}

fn selects_every_pod(selector: &Value) -> bool {
    // An absent podSelector reads as the empty one; the server leaves empty parts out.
    selector.as_object().is_none_or(serde_json::Map::is_empty)
}
