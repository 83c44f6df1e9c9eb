//! What the audit log says of heals and of fights.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::drive::Round;
use super::seen::{Rule, Seen, name};
use crate::harness::{AuditEvent, Identity};

/// So many heals within [`REMEMBERED`] are no fight yet.
const HEALS_AT_ONCE: usize = 5;
/// Seconds for which a heal counts, and for which the other has to be quiet for a fight to be over.
const REMEMBERED: f64 = 60.0;
/// Seconds by which the clock of the controller and the log may be apart: within that of an edge both answers are right.
const EDGE: f64 = 3.0;

/// A write of the controller that undid what a tenant did.
#[derive(Clone, Debug)]
pub struct Heal {
    pub namespace: String,
    pub policy: String,
    pub tier: String,
    pub kind: &'static str,
    /// When it was committed, in Unix seconds.
    pub at: f64,
    /// Seconds from the event that showed the drift to the write: longer than the write itself took.
    pub took_at_least: f64,
    /// Shorter than from the request that made the drift to the last write of the same look.
    pub took_at_most: f64,
}

/// What the controller healed in a round, where a tenant and nobody else changed something. `before` has who governed.
pub fn heals(round: &Round, before: &Seen, events: &[Arc<AuditEvent>]) -> Vec<Heal> {
    let namespaces = before
        .namespaces
        .iter()
        .filter(|namespace| round.tampered.contains(name(namespace)));
    let of_namespace = |namespace: &Value| {
        let Rule::Tier(tier) = before.rule(namespace) else {
            return Vec::new();
        };
        let writes = events.iter().map(|event| &**event);
        let writes = writes.filter(|event| is_policy_write(event) && event.namespace == name(namespace));
        heals_among(&writes.collect::<Vec<_>>(), name(tier))
    };
    namespaces.flat_map(of_namespace).collect()
}

fn heals_among(writes: &[&AuditEvent], tier: &str) -> Vec<Heal> {
    let mut others: BTreeMap<&str, (Option<&Value>, f64)> = BTreeMap::new();
    let mut heals = Vec::new();
    for (index, write) in writes.iter().enumerate() {
        let spec = write.response_object.as_ref().map(|object| &object["spec"]);
        if !is_ours(write) {
            others.insert(&write.name, (spec, seconds(&write.received_at)));
            continue;
        }
        let Some((found, since)) = others.get(write.name.as_str()).copied() else {
            continue;
        };
        let kind = match write.verb.as_str() {
            "create" => "missing",
            "delete" => "surplus",
            _ if found == spec => "disowned",
            _ => "modified",
        };
        let of_the_same_look = writes[index..].iter().take_while(|later| is_ours(later));
        let last = of_the_same_look
            .map(|later| seconds(&later.stage_at))
            .fold(0.0, f64::max);
        heals.push(Heal {
            namespace: write.namespace.clone(),
            policy: write.name.clone(),
            tier: tier.to_owned(),
            kind,
            at: seconds(&write.stage_at),
            took_at_least: seconds(&write.stage_at) - seconds(&write.received_at),
            took_at_most: last - since,
        });
    }
    heals
}

/// Who fights over what.
#[derive(Clone, Debug, Default)]
pub struct Fights {
    /// By namespace and policy.
    heals: BTreeMap<(String, String), Vec<f64>>,
}

impl Fights {
    pub fn note<'a>(&mut self, heals: impl IntoIterator<Item = &'a Heal>) {
        for heal in heals {
            let key = (heal.namespace.clone(), heal.policy.clone());
            self.heals.entry(key).or_default().push(heal.at);
        }
        for heals in self.heals.values_mut() {
            heals.sort_by(f64::total_cmp);
        }
    }

    /// The contested policies of each namespace.
    ///
    /// # Errors
    /// When a fight is about to begin to count, or to end: then it may be counted or not.
    pub fn contested(&self, now: f64) -> Result<BTreeMap<&str, usize>, String> {
        let mut contested = BTreeMap::new();
        for ((namespace, policy), heals) in &self.heals {
            match (
                is_contested(heals, now, REMEMBERED - EDGE),
                is_contested(heals, now, REMEMBERED + EDGE),
            ) {
                (true, true) => *contested.entry(namespace.as_str()).or_default() += 1,
                (false, false) => {}
                _ => return Err(format!("the fight over {namespace}/{policy} may be over or not")),
            }
        }
        Ok(contested)
    }

    /// How many looks of their own these fights may have caused of late: when a heal that was put off is due, and when the
    /// fight is over.
    pub fn looks(&self, now: f64) -> u64 {
        let fights = self
            .heals
            .values()
            .filter(|heals| is_contested(heals, now, 2.0 * REMEMBERED));
        fights.map(|heals| 2 * heals.len() as u64).sum()
    }
}

fn is_contested(heals: &[f64], now: f64, remembered: f64) -> bool {
    let (mut lately, mut fighting) = (Vec::new(), false);
    for heal in heals {
        fighting &= lately.last().is_some_and(|last| heal - last < remembered);
        lately.retain(|earlier| heal - earlier < remembered);
        lately.push(*heal);
        fighting |= lately.len() > HEALS_AT_ONCE;
    }
    fighting && lately.last().is_some_and(|last| now - last < remembered)
}

pub fn is_policy_write(event: &AuditEvent) -> bool {
    event.resource == "networkpolicies" && event.is_write() && event.succeeded() && event.stage == "ResponseComplete"
}

pub fn is_ours(event: &AuditEvent) -> bool {
    event.user == Identity::Controller.user()
}

/// Unix time of what the API server wrote down.
pub fn seconds(time: &str) -> f64 {
    let time: Timestamp = time.parse().expect("the API server's own time");
    time.as_microsecond() as f64 / 1e6
}

#[test]
fn a_fight_begins_with_the_sixth_heal_and_ends_a_minute_after_the_last() {
    let mut fights = Fights::default();
    let heal = |at: f64| Heal {
        namespace: "a".into(),
        policy: "p".into(),
        tier: "t".into(),
        kind: "modified",
        at,
        took_at_least: 0.0,
        took_at_most: 0.0,
    };
    fights.note(&[1.0, 2.0, 3.0, 4.0, 5.0].map(heal));
    assert_eq!(fights.contested(6.0), Ok(BTreeMap::new()));
    fights.note([&heal(6.0)]);
    assert_eq!(fights.contested(7.0), Ok(BTreeMap::from([("a", 1)])));
    assert_eq!(fights.contested(62.0), Ok(BTreeMap::from([("a", 1)])));
    assert!(fights.contested(66.0).is_err());
    assert_eq!(fights.contested(70.0), Ok(BTreeMap::new()));
    // Each an old heal later: never six within a minute.
    fights.note(&[100.0, 120.0, 140.0, 160.0, 180.0, 200.0].map(heal));
    assert_eq!(fights.contested(201.0), Ok(BTreeMap::new()));
}
