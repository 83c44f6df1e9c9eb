//! Tier and facts to NetworkPolicies: one base a direction, and one policy a direction for each allowance
//! that holds for some pods only.
//!
//! The result does not depend on the namespace, so it is made once for each tier and shared by all of them.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use self::rules::{Rule, resolve};
use super::digest::normalise;
use super::{Facts, ParsedTier, PolicyName, SpecDigest, Tier};
use crate::api::{Direction, Preset};

/// The largest spec that is written, in bytes of JSON: below what etcd takes in one request (1.5 MiB by
/// default), with room for metadata.
pub const MAX_SPEC_BYTES: usize = 1 << 20;

/// What a tier wants to stand in each namespace that it governs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// The policies, by name.
    pub policies: BTreeMap<PolicyName, Arc<RenderedPolicy>>,
    /// Allowances that name a direction that is not isolated: they have no effect.
    pub ineffective: BTreeSet<String>,
    /// Whether nothing that we wrote may be pruned, because what is wanted is not known.
    pub keeps_everything: bool,
    /// Whether only what was closed before is closed, because it is not known whether the tier enforces.
    pub heals_only: bool,
}

/// One NetworkPolicy, but for its namespace and owners.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedPolicy {
    /// Already normalised: what the API server gives back for it is equal.
    pub spec: NetworkPolicySpec,
    /// Its digest.
    pub digest: SpecDigest,
    /// The direction that it speaks of.
    pub direction: Direction,
    /// What could not be resolved. Then `spec` is closed to that, and is written only where no good policy
    /// stands.
    pub unresolved: Vec<Unresolved>,
}

/// Why a policy could not be rendered in full.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unresolved {
    /// A preset's fact is unknown.
    Allowance {
        /// The name of the allowance.
        allowance: String,
        /// Which fact is missing.
        preset: Preset,
        /// What was looked for, where, and what was found.
        looked_for: String,
    },
    /// The tier does not parse.
    Tier,
    /// The spec would be larger than [`MAX_SPEC_BYTES`].
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
}

/// Renders a tier.
pub fn render(tier: &ParsedTier, facts: &Facts) -> Rendered {
    match tier {
        ParsedTier::Whole(tier) => render_whole(tier, facts),
        // What a broken tier allows is not known: where it has good policies they stay, elsewhere it denies.
        ParsedTier::Broken(tier) => {
            let bases = tier.isolate.iter().map(|&direction| {
                let policy = policy(direction, None, Vec::new(), vec![Unresolved::Tier]);
                (PolicyName::baseline(direction), Arc::new(policy))
            });
            let heals_only = tier.mode.is_none();
            Rendered {
                policies: bases.collect(),
                keeps_everything: true,
                heals_only,
                ..Rendered::default()
            }
        }
    }
}

fn render_whole(tier: &Tier, facts: &Facts) -> Rendered {
    let mut rendered = Rendered::default();
    for &direction in &tier.isolate {
        let (mut base_rules, mut base_unresolved) = (Vec::new(), Vec::new());
        for allowance in tier
            .allow
            .iter()
            .filter(|allowance| allowance.directions().contains(&direction))
        {
            let (rules, unresolved) = match resolve(allowance, direction, facts) {
                Ok(rules) => (rules, None),
                Err(unresolved) => (Vec::new(), Some(unresolved)),
            };
            // The base closes the direction for the pods of an extra too: it is no more complete than its extras.
            base_unresolved.extend(unresolved.clone());
            match &allowance.pods {
                None => base_rules.extend(rules),
                Some(pods) => {
                    let policy = policy(direction, Some(pods), rules, unresolved.into_iter().collect());
                    rendered
                        .policies
                        .insert(PolicyName::allow(&allowance.name, direction), Arc::new(policy));
                }
            }
        }
        let base = policy(direction, None, base_rules, base_unresolved);
        rendered
            .policies
            .insert(PolicyName::baseline(direction), Arc::new(base));
    }
    let ineffective = tier.allow.iter().filter(|allowance| {
        allowance
            .directions()
            .iter()
            .all(|direction| !tier.isolate.contains(direction))
    });
    rendered.ineffective = ineffective.map(|allowance| allowance.name.clone()).collect();
    rendered
}

fn policy(
    direction: Direction,
    pods: Option<&LabelSelector>,
    rules: Vec<Rule>,
    mut unresolved: Vec<Unresolved>,
) -> RenderedPolicy {
    let mut spec = spec(direction, pods, rules);
    let bytes = serde_json::to_string(&spec).map_or(0, |json| json.len());
    if bytes > MAX_SPEC_BYTES {
        unresolved.push(Unresolved::TooLarge { bytes });
        spec = self::spec(direction, pods, Vec::new());
    }
    let spec = normalise(spec);
    RenderedPolicy {
        digest: SpecDigest::of(&spec),
        spec,
        direction,
        unresolved,
    }
}

/// A policy that selects no pod: it allows nothing and isolates nothing. Written over what is not wanted and
/// cannot be deleted, because somebody's finalizer holds it.
pub fn emptied(direction: Direction) -> RenderedPolicy {
    let requirement = |operator: &str| LabelSelectorRequirement {
        key: String::from("cofferdam.dev/no-pod"),
        operator: operator.to_owned(),
        values: None,
    };
    let no_pod = vec![requirement("Exists"), requirement("DoesNotExist")];
    let no_pod = LabelSelector {
        match_expressions: Some(no_pod),
        match_labels: None,
    };
    policy(direction, Some(&no_pod), Vec::new(), Vec::new())
}

/// A base that allows nothing. Written over one of ours that is not wanted any more and may open the other direction, until it
/// goes.
pub fn closed(direction: Direction) -> RenderedPolicy {
    policy(direction, None, Vec::new(), Vec::new())
}

fn spec(direction: Direction, pods: Option<&LabelSelector>, rules: Vec<Rule>) -> NetworkPolicySpec {
    let mut spec = NetworkPolicySpec {
        pod_selector: Some(pods.cloned().unwrap_or_default()),
        policy_types: Some(vec![direction.as_str().to_owned()]),
        ..NetworkPolicySpec::default()
    };
    match direction {
        Direction::Ingress => spec.ingress = Some(rules.into_iter().map(Rule::into_ingress).collect()),
        Direction::Egress => spec.egress = Some(rules.into_iter().map(Rule::into_egress).collect()),
    }
    spec
}

#[cfg(test)]
mod tests;
