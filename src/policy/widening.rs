//! Which of other people's NetworkPolicies allow what the tier does not.
//!
//! NetworkPolicies add up: whoever may create one opens what the tier closes, and nothing of ours changes by it. A
//! policy is called harmless only where every connection that it allows is one that the tier allows to the same
//! pods, by the semantics of the API. That is containment of sets, and decided exactly: policies are read
//! (`reading`) into boxes over labels, addresses and ports, which are cut along each other (`region`).
//!
//! **Never call a policy harmless that is not.** Reported though it may be harmless:
//! * what the API server would refuse, since nobody knows what an enforcer makes of it;
//! * pods, where the tier allows their addresses only, and the reverse: enforcers differ in whether a block of
//!   addresses holds for pods;
//! * a rule without ports, where the tier lists every port of each protocol: other protocols have no ports;
//! * a named port to a block of addresses, where enforcers differ in whether a name can mean anything;
//! * namespaces other than this one, as though any labels could be on any name;
//! * what takes more than [`EFFORT`] to decide, or more than [`MAX_SPEC_BYTES`] to write.

mod detail;
mod foreign_policy;
mod interval_set;
mod judgement;
mod judgements;
mod label_set;
pub mod openness;
mod reading;
mod region;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::NetworkPolicySpec;

use self::detail::Described;
pub use self::foreign_policy::{ForeignPolicy, ForeignSpec, MAX_SPEC_BYTES, NotKept};
pub use self::judgements::{Judge, Judgements, PoliciesBySeverity, SAID_AGAIN_AFTER, WideningSummary};
use self::label_set::{Labels, Subject, demand};
use self::reading::{PortName, Ports, each_port, everyone, peer_set, rules};
use self::region::Region;
use super::{Governor, Namespace, Rendered};
use crate::api::Direction;

/// How much is compared for one direction of a policy before what is left counts as beyond the tier: in listed
/// values, ranges and rules that were looked at. Real policies take some hundreds; without a limit a tenant could
/// write one that takes for ever.
pub const EFFORT: usize = 100_000;

/// That a policy allows what the tier does not, in one direction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Widening {
    /// The name of the policy.
    pub policy: String,
    /// The direction.
    pub direction: Direction,
    /// How far it goes beyond the tier at worst.
    pub severity: Severity,
    /// What goes that far first, and what the tier allows of it.
    pub detail: String,
}

/// How far a policy goes beyond the tier.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// More ports, to peers that the tier allows.
    Port,
    /// Pods of the cluster: of other namespaces, or of the same one.
    Cluster,
    /// Blocks of addresses.
    External,
    /// Everywhere: no peers listed, or blocks that hold at least half of what a family of addresses uses.
    Open,
}

impl Widening {
    /// What is wrong and how to put it right, where `others` policies of the namespace widen it too.
    pub fn in_words(&self, others: u64) -> String {
        let Self {
            policy,
            direction,
            severity,
            detail,
        } = self;
        let others = match others {
            0 => String::new(),
            1 => String::from("; 1 more policy here widens the tier"),
            others => format!("; {others} more policies here widen the tier"),
        };
        format!(
            "NetworkPolicy {policy} widens {}, severity {}: {detail}{others}. Narrow or delete it, allow in the tier what is \
             needed, or set spec.foreignPolicies to Ignore",
            direction.as_str(),
            severity.as_str()
        )
    }

    /// The worst first; of equally bad ones by name.
    fn rank(&self) -> (Reverse<Severity>, &str, Direction) {
        (Reverse(self.severity), &self.policy, self.direction)
    }
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Port, Self::Cluster, Self::External, Self::Open];

    /// The word for it, in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Cluster => "cluster",
            Self::External => "external",
            Self::Open => "open",
        }
    }
}

/// What widens a namespace, the worst first, then by name and direction; nothing where no tier governs it. The controller,
/// which judges policy by policy and remembers, comes to the same.
pub fn widenings_of_namespace<'a>(
    governor: Governor<'_>,
    namespace: &Namespace,
    foreign: impl IntoIterator<Item = &'a ForeignPolicy>,
) -> Vec<Widening> {
    let Some(allowed) = AllowedByTier::of(governor, namespace) else {
        return Vec::new();
    };
    let widenings = foreign.into_iter().flat_map(|policy| allowed.widenings(policy));
    let mut widenings: Vec<_> = widenings.collect();
    widenings.sort_by(|left, right| left.rank().cmp(&right.rank()));
    widenings
}

/// How one policy widens what `rendered` allows in a namespace: at most once for each direction of `isolate`.
/// For many policies of a namespace make [`AllowedByTier`] once.
pub fn widenings(
    rendered: &Rendered,
    isolate: &BTreeSet<Direction>,
    namespace: &Namespace,
    foreign: &ForeignPolicy,
) -> Vec<Widening> {
    AllowedByTier::new(rendered, isolate, namespace).widenings(foreign)
}

/// What a tier allows in a namespace, in the form that policies are compared with.
pub struct AllowedByTier<'a> {
    namespace: &'a Namespace,
    directions: BTreeMap<Direction, Vec<Allowed<'a>>>,
}

/// The peers of one kind in one rule of the tier.
struct Allowed<'a> {
    region: Region<'a>,
    names: BTreeSet<PortName<'a>>,
    described: Described<'a>,
}

impl<'a> AllowedByTier<'a> {
    /// Reads what the tier's policies allow in the directions that it isolates.
    pub fn new(rendered: &'a Rendered, isolate: &BTreeSet<Direction>, namespace: &'a Namespace) -> Self {
        let specs = || rendered.policies.values().map(|policy| &policy.spec);
        let allowed = |direction| specs().flat_map(move |spec| allowed_by(spec, direction, namespace));
        Self {
            namespace,
            directions: isolate
                .iter()
                .map(|&direction| (direction, allowed(direction).collect()))
                .collect(),
        }
    }

    /// What policies are held to where `governor` governs; `None` where no tier does, or it says `Ignore`. A broken tier is
    /// held to allow nothing: what it is meant to allow is not known.
    pub fn of(governor: Governor<'a>, namespace: &'a Namespace) -> Option<Self> {
        let ranked = governor.reporting_tier()?;
        Some(Self::new(&ranked.rendered, ranked.tier.isolate(), namespace))
    }

    /// How one policy widens it: at most once for each direction.
    pub fn widenings(&self, foreign: &ForeignPolicy) -> Vec<Widening> {
        let spec = foreign.spec.read();
        let judge = |(&direction, allowed): (&Direction, &Vec<Allowed<'_>>)| {
            let (severity, detail) = match &spec {
                Ok(spec) => judgement::judge(spec, direction, allowed, self.namespace)?,
                Err(not_compared) => (Severity::Open, not_compared.detail(direction)?),
            };
            Some(Widening {
                policy: foreign.name.clone(),
                direction,
                severity,
                detail,
            })
        };
        self.directions.iter().filter_map(judge).collect()
    }
}

/// What cannot be read allows nothing here.
fn allowed_by<'a>(spec: &'a NetworkPolicySpec, direction: Direction, namespace: &'a Namespace) -> Vec<Allowed<'a>> {
    let mut selected = Labels::new();
    let selector = spec.pod_selector.as_ref();
    if selector.is_some_and(|selector| demand(&mut selected, Subject::SelectedPod, selector).is_none()) {
        return Vec::new();
    }
    let mut allowed = Vec::new();
    for rule in rules(spec, direction) {
        let ports = if rule.ports.is_empty() {
            Ports::every()
        } else {
            each_port(rule.ports).flatten().collect()
        };
        let peers = rule
            .peers
            .iter()
            .filter_map(|peer| Some((Some(peer), peer_set(peer, namespace)?)));
        let everyone = rule.peers.is_empty().then(everyone).into_iter().flatten();
        for (peer, set) in peers.chain(everyone.map(|set| (None, set))) {
            allowed.push(Allowed {
                region: set.region(&selected, ports.numbers.clone()),
                names: ports.names.clone(),
                described: Described {
                    selected: selector,
                    peer,
                    ports: rule.ports,
                },
            });
        }
    }
    allowed
}

#[cfg(test)]
mod tests;
