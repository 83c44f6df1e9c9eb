//! What is known of other people's policies in one namespace, so that only what changed is judged again.
//!
//! A judgement holds for a spec, for what it is held to (the tier's policies and the directions that it isolates) and for
//! what of the namespace counts (its name and labels). Whoever writes a thousand policies, or one ten times a second, must
//! neither keep others from being judged nor hide one policy behind the rest: what waits longest is judged first, and
//! everything that was judged so far counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{AllowedByTier, ForeignPolicy, ForeignSpec, Severity, Widening};
use crate::api::Direction;
use crate::policy::{Governor, Namespace, Rendered};

/// What was said of a policy is not said again within this, unless it is worse.
pub const SAID_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// What was said of policies that are gone is remembered for that many of a namespace.
const MOST_GONE: usize = 100;

/// What is known of other people's policies in one namespace.
#[derive(Clone, Debug, Default)]
pub struct Judgements {
    held_to: Option<HeldTo>,
    policies: BTreeMap<String, Known>,
    /// The names of those that are to be judged, the one that waits longest first; each once.
    pending: VecDeque<String>,
    /// The policy that is worst, as it was judged.
    worst: Option<Widening>,
    said: BTreeMap<String, Said>,
    /// Whether what is found is no news, until all is judged once.
    stood_before: bool,
    /// Widenings that appeared or got worse, and that nobody took yet.
    news: Vec<Widening>,
}

/// What all judgements depend on besides the policy.
#[derive(Clone, Debug, PartialEq)]
struct HeldTo {
    tier_uid: Arc<str>,
    rendered: Arc<Rendered>,
    isolate: BTreeSet<Direction>,
    namespace_uid: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// One policy.
#[derive(Clone, Debug)]
struct Known {
    spec: ForeignSpec,
    /// As it was judged last, under the same tier; `None` until then.
    judged: Option<Option<Severity>>,
}

/// What was said of a policy.
#[derive(Clone, Copy, Debug)]
struct Said {
    severity: Severity,
    at: Duration,
}

/// What a namespace adds to the report on its tier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WideningSummary {
    /// The uid of the namespace: a recreated one starts anew.
    pub namespace_uid: String,
    /// The uid of the tier that the policies were held to.
    pub tier_uid: Arc<str>,
    /// How many policies widen it; each counts once, as bad as it is at worst.
    pub policies: PoliciesBySeverity,
    /// What is said of the worst of them; nothing where none widens.
    pub worst: Option<(Severity, String)>,
    /// Whether all were judged.
    pub complete: bool,
}

/// Numbers of policies, by severity.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoliciesBySeverity([u64; Severity::ALL.len()]);

impl PoliciesBySeverity {
    /// How many there are of a severity.
    pub fn of(&self, severity: Severity) -> u64 {
        self.0[severity as usize]
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Counts one more.
    pub fn add(&mut self, severity: Severity) {
        self.0[severity as usize] += 1;
    }

    /// Counts those of another namespace too.
    pub fn add_all(&mut self, other: &Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
    }
}

/// Holds policies to what governs now. Equal specs are judged once.
pub struct Judge<'a> {
    allowed: AllowedByTier<'a>,
    known: HashMap<ForeignSpec, Vec<(Direction, Severity, String)>>,
}

impl<'a> Judge<'a> {
    /// Judges by `allowed`.
    pub fn new(allowed: AllowedByTier<'a>) -> Self {
        Self {
            allowed,
            known: HashMap::new(),
        }
    }

    /// How a policy widens at worst.
    fn worst(&mut self, name: &str, spec: &ForeignSpec) -> Option<Widening> {
        let known = self.known.entry(spec.clone()).or_insert_with(|| {
            let policy = ForeignPolicy {
                name: String::new(),
                spec: spec.clone(),
            };
            let widenings = self.allowed.widenings(&policy).into_iter();
            widenings
                .map(|widening| (widening.direction, widening.severity, widening.detail))
                .collect()
        });
        let of_this_name = known.iter().map(|(direction, severity, detail)| Widening {
            policy: name.to_owned(),
            direction: *direction,
            severity: *severity,
            detail: detail.clone(),
        });
        of_this_name.min_by(|left, right| left.rank().cmp(&right.rank()))
    }
}

impl Judgements {
    /// Nothing is judged yet. What widens a namespace that `stood_before` we came is no news: after every restart it would
    /// be said again.
    pub fn new(stood_before: bool) -> Self {
        Self {
            stood_before,
            ..Self::default()
        }
    }

    /// There was nothing to judge: whatever comes is news.
    pub fn of_nothing() -> Self {
        Self::default()
    }

    /// Whether [`Self::of_nothing`] says as much, of a namespace that was audited.
    pub fn are_of_nothing(&self) -> bool {
        self.policies.is_empty() && self.pending.is_empty() && self.said.is_empty() && self.news.is_empty()
    }

    /// This is what governs and what stands now: whatever differs from what was judged is to be judged.
    pub fn update(&mut self, governor: Governor<'_>, namespace: &Namespace, foreign: Vec<ForeignPolicy>) {
        let held_to = HeldTo::of(governor, namespace);
        let same_tier = self.held_to.as_ref().map(HeldTo::uids) == held_to.as_ref().map(HeldTo::uids);
        let all_anew = self.held_to != held_to;
        self.held_to = held_to;
        let mut before = std::mem::take(&mut self.policies);
        let mut waiting: BTreeSet<String> = self.pending.iter().cloned().collect();
        for ForeignPolicy { name, spec } in foreign {
            let known = before.remove(&name);
            let changed = known.as_ref().is_none_or(|known| known.spec != spec);
            let judged = known.and_then(|known| known.judged).filter(|_| same_tier);
            if (changed || all_anew) && waiting.insert(name.clone()) {
                self.pending.push_back(name.clone());
            }
            self.policies.insert(name, Known { spec, judged });
        }
        if self.held_to.is_none() {
            self.pending.clear();
        }
        let gone = |worst: &Widening| !self.policies.contains_key(&worst.policy);
        if all_anew || self.worst.as_ref().is_some_and(gone) {
            self.worst = None;
        }
        self.stood_before &= !self.is_complete();
    }

    /// Judges the policy that waits longest. `now` is of any clock that does not run backwards. Returns whether there was
    /// one.
    pub fn judge_next(&mut self, judge: &mut Judge<'_>, now: Duration) -> bool {
        let Some(name) = self.pending.pop_front() else {
            return false;
        };
        // It may be gone by now.
        if let Some(known) = self.policies.get_mut(&name) {
            let worst = judge.worst(&name, &known.spec);
            let before = known.judged.flatten();
            known.judged = Some(worst.as_ref().map(|worst| worst.severity));
            if self.worst.as_ref().is_some_and(|known| known.policy == name) {
                self.worst = None;
            }
            if let Some(worst) = worst.filter(|worst| Some(worst.severity) > before) {
                self.say(worst, now);
            }
        }
        self.stood_before &= !self.is_complete();
        true
    }

    /// Widenings that appeared or got worse since this was last asked.
    pub fn take_news(&mut self) -> Vec<Widening> {
        std::mem::take(&mut self.news)
    }

    /// Whether everything is judged.
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }

    /// What is to be reported; `None` where policies are held to nothing.
    pub fn summary(&mut self, judge: &mut Judge<'_>, namespace: &Namespace) -> Option<WideningSummary> {
        let tier_uid = Arc::clone(&self.held_to.as_ref()?.tier_uid);
        let judged = |(name, known): (&'_ String, &Known)| Some((known.judged??, name.clone()));
        let mut policies = PoliciesBySeverity::default();
        let widening = self.policies.iter().filter_map(judged);
        // Of equally bad ones the first by name.
        let mut worst: Option<(Severity, String)> = None;
        for (severity, name) in widening {
            policies.add(severity);
            if worst.as_ref().is_none_or(|(worst, _)| severity > *worst) {
                worst = Some((severity, name));
            }
        }
        if let Some((_, name)) = &worst
            && self.worst.as_ref().is_none_or(|known| known.policy != *name)
            && let Some(known) = self.policies.get(name)
        {
            self.worst = judge.worst(name, &known.spec);
        }
        let worst = worst.and_then(|(severity, _)| {
            let others = policies.total() - 1;
            Some((severity, self.worst.as_ref()?.in_words(others)))
        });
        Some(WideningSummary {
            namespace_uid: namespace.uid.clone(),
            tier_uid,
            policies,
            worst,
            complete: self.is_complete(),
        })
    }

    /// Of how many policies it is remembered what was said.
    #[cfg(test)]
    pub(super) fn remembers(&self) -> usize {
        self.said.len()
    }

    /// Once for a policy, until it gets worse: not for every edit.
    fn say(&mut self, widening: Widening, now: Duration) {
        let again = |said: &Said| widening.severity > said.severity || now >= said.at + SAID_AGAIN_AFTER;
        if !self.said.get(&widening.policy).is_none_or(again) {
            return;
        }
        if self.said.len() >= self.policies.len() + MOST_GONE {
            self.said.retain(|name, _| self.policies.contains_key(name));
        }
        let said = Said {
            severity: widening.severity,
            at: now,
        };
        self.said.insert(widening.policy.clone(), said);
        if !self.stood_before {
            self.news.push(widening);
        }
    }
}

impl HeldTo {
    fn of(governor: Governor<'_>, namespace: &Namespace) -> Option<Self> {
        let ranked = governor.reporting_tier()?;
        Some(Self {
            tier_uid: Arc::clone(&ranked.tier.identity().uid),
            rendered: Arc::clone(&ranked.rendered),
            isolate: ranked.tier.isolate().clone(),
            namespace_uid: namespace.uid.clone(),
            namespace: namespace.name.clone(),
            labels: namespace.labels.clone(),
        })
    }

    fn uids(&self) -> (&str, &str) {
        (&self.tier_uid, &self.namespace_uid)
    }
}
