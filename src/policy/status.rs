//! What is said of a tier: kstatus conditions, counts and problems.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::brake::Held;
use super::tally::{MAX_PROBLEMS, TierTally, bounded};
use super::{ParsedTier, RankedTier, TierIdentity, Unresolved, words};
use crate::api::{IsolationTierStatus, NamespaceCounts, NamespaceProblem};

/// How long an allowance may stay unresolved before the tier is stalled: a DNS rollout takes less.
pub const STALLED_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// What is said of a tier. `previous` keeps the transition times of what did not change.
pub fn tier_status(
    ranked: &RankedTier,
    tally: &TierTally,
    previous: Option<&IsolationTierStatus>,
    now: Timestamp,
) -> IsolationTierStatus {
    let mut problems = tier_problems(ranked);
    problems.extend(tally.problems.iter().cloned());
    problems.extend(widened_problems(tally, previous));
    problems.truncate(MAX_PROBLEMS);
    let generation = ranked.tier.identity().generation;
    let verdict = Verdict::of(ranked, tally, previous, now);
    IsolationTierStatus {
        observed_generation: generation,
        conditions: verdict.conditions(generation, previous, now),
        namespaces: Some(tally.namespaces),
        problems,
        releases: previous.and_then(|previous| previous.releases.clone()),
    }
}

/// What is said of a tier that takes its policies along while it is deleted: in how many namespaces something is still
/// to be done, and what of that is held.
pub fn departing_status(
    tier: &TierIdentity,
    outstanding: usize,
    held: Option<&Held>,
    previous: Option<&IsolationTierStatus>,
    now: Timestamp,
) -> IsolationTierStatus {
    let message = if outstanding == 0 {
        String::from(
            "deleted with deletionPolicy Remove: all is done; it goes once the status of another tier tells what it released of late, \
             if anything, and nobody else's finalizer keeps it; the log of the controller says what fails",
        )
    } else {
        format!(
            "deleted with deletionPolicy Remove: {} to be handed over to another tier or released; with deletionPolicy Retain \
             its policies would stay",
            namespaces(i64::try_from(outstanding).unwrap_or(i64::MAX))
        )
    };
    let verdict = Verdict {
        ready: "False",
        reason: if held.is_some() {
            words::HELD
        } else {
            words::HANDING_OVER
        },
        message: held.map_or(message, |held| held.in_words(&tier.name)),
        reconciling: held.is_none().then_some(words::HANDING_OVER),
        stalled: held.is_some(),
    };
    IsolationTierStatus {
        observed_generation: tier.generation,
        conditions: verdict.conditions(tier.generation, previous, now),
        namespaces: Some(NamespaceCounts::default()),
        problems: Vec::new(),
        releases: previous.and_then(|previous| previous.releases.clone()),
    }
}

/// Comes last, so that whoever may write policies cannot hide what is wrong otherwise. What was said of a namespace that
/// is not audited yet, as all are when the process starts, is said until it is.
fn widened_problems(tally: &TierTally, previous: Option<&IsolationTierStatus>) -> Vec<NamespaceProblem> {
    let problem = |namespace: &String, message: &String| NamespaceProblem {
        namespace: Some(namespace.clone()),
        reason: words::WIDENED.to_owned(),
        message: bounded(message.clone()),
    };
    let widened = tally.widened.iter();
    let mut problems: Vec<_> = widened
        .map(|((_, namespace), message)| problem(namespace, message))
        .collect();
    let still_said = previous
        .into_iter()
        .flat_map(|status| &status.problems)
        .filter(|before| {
            let namespace = before.namespace.as_ref().filter(|_| before.reason == words::WIDENED);
            namespace.is_some_and(|namespace| {
                tally.not_audited.contains(namespace) && !tally.widened.keys().any(|(_, known)| known == namespace)
            })
        });
    problems.extend(still_said.cloned());
    problems
}

/// When a status has to be looked at again although nothing happens: when unresolved becomes stalled.
pub fn stalls_at(status: &IsolationTierStatus) -> Option<Timestamp> {
    let ready = status.condition(words::READY)?;
    let waits = ready.reason == words::ALLOWANCE_UNRESOLVED && status.condition(words::STALLED).is_none();
    waits
        .then_some(ready.last_transition_time.0)
        .and_then(|since| since.checked_add(STALLED_AFTER).ok())
}

struct Verdict {
    ready: &'static str,
    reason: &'static str,
    message: String,
    reconciling: Option<&'static str>,
    stalled: bool,
}

impl Verdict {
    fn conditions(self, generation: i64, previous: Option<&IsolationTierStatus>, now: Timestamp) -> Vec<Condition> {
        let conditions = [
            (words::READY, Some((self.ready, self.reason))),
            (words::RECONCILING, self.reconciling.map(|reason| ("True", reason))),
            (words::STALLED, self.stalled.then_some(("True", self.reason))),
        ];
        let conditions = conditions.into_iter().filter_map(|(type_, status_and_reason)| {
            let (status, reason) = status_and_reason?;
            let before = previous.and_then(|previous| previous.condition(type_));
            // From the moment that it is unresolved on it is told when that is stalled, whatever was wrong before.
            let as_long = |condition: &&Condition| {
                condition.reason == reason
                    || ![condition.reason.as_str(), reason].contains(&words::ALLOWANCE_UNRESOLVED)
            };
            let same = before.filter(|condition| condition.status == status).filter(as_long);
            Some(Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message: self.message.clone(),
                observed_generation: Some(generation),
                last_transition_time: same.map_or(Time(to_the_second(now)), |same| same.last_transition_time.clone()),
            })
        });
        conditions.collect()
    }

    fn of(ranked: &RankedTier, tally: &TierTally, previous: Option<&IsolationTierStatus>, now: Timestamp) -> Self {
        let counts = &tally.namespaces;
        if let ParsedTier::Broken(tier) = &ranked.tier {
            let problems: Vec<_> = tier.problems.iter().map(ToString::to_string).collect();
            return Self::bad(words::INVALID_SPEC, bounded(problems.join("; ")), None);
        }
        if let Some(held) = &tally.held {
            return Self::bad(words::HELD, held.in_words(&ranked.tier.identity().name), None);
        }
        let enforces_somewhere =
            !ranked.tier.is_observe() && counts.protected + counts.pending + counts.drifted + counts.failed > 0;
        if let Some((reason, message)) = unresolved(ranked).into_iter().next().filter(|_| enforces_somewhere) {
            let waited = previous
                .and_then(|status| since(status, reason))
                .is_some_and(|since| now.duration_since(since) >= STALLED_AFTER);
            let stalled = waited || reason == words::POLICY_TOO_LARGE;
            return Self::bad(reason, message, (!stalled).then_some(words::PROGRESSING_WITH_RETRY));
        }
        if let Some((reason, message)) = unfinished(tally) {
            return Self::bad(reason, bounded(message), Some(words::PROGRESSING_WITH_RETRY));
        }
        if counts.pending > 0 {
            return Self {
                ready: "Unknown",
                reason: words::PROGRESSING,
                message: format!(
                    "{} of {} namespaces are still to be written",
                    counts.pending, counts.selected
                ),
                reconciling: Some(words::PROGRESSING),
                stalled: false,
            };
        }
        let protected = || format!("{} protected", namespaces(counts.protected));
        let observed = || {
            let observed = namespaces(counts.observed);
            format!("{observed} observed; nothing is written in mode Observe")
        };
        Self {
            ready: "True",
            reason: words::RECONCILE_SUCCEEDED,
            message: if ranked.tier.is_observe() {
                observed()
            } else {
                protected()
            },
            reconciling: None,
            stalled: false,
        }
    }

    /// Where nothing is said to go on, nothing does without somebody's help.
    fn bad(reason: &'static str, message: String, reconciling: Option<&'static str>) -> Self {
        Self {
            ready: "False",
            reason,
            message,
            stalled: reconciling.is_none(),
            reconciling,
        }
    }
}

/// What is wrong with the namespaces, if anything is.
fn unfinished(tally: &TierTally) -> Option<(&'static str, String)> {
    let counts = &tally.namespaces;
    let message_of = |wanted: &dyn Fn(&str) -> bool| {
        let first = tally.problems.iter().find(|problem| wanted(&problem.reason));
        first.map_or_else(String::new, |problem| match &problem.namespace {
            Some(namespace) => format!("{namespace}: {}", problem.message),
            None => problem.message.clone(),
        })
    };
    // A fight goes on between two heals, too: Ready must not flap with them.
    if counts.failed == 0 && tally.contested > 0 {
        let message = message_of(&|reason| reason == words::CONTESTED);
        return Some((words::CONTESTED, message));
    }
    let bad = counts.failed + counts.drifted;
    let informs = [words::WOULD_CHANGE, words::PRECEDENCE_TIE, words::CONTESTED];
    let message = message_of(&|reason| !informs.contains(&reason));
    let message = format!(
        "{bad} of {} namespaces are not as they should be: {message}",
        counts.selected
    );
    (bad > 0).then_some((words::PROGRESSING_WITH_RETRY, message))
}

fn namespaces(count: i64) -> String {
    format!("{count} namespace{}", if count == 1 { "" } else { "s" })
}

/// Since when the status says `Ready=False` for this reason.
fn since(status: &IsolationTierStatus, reason: &str) -> Option<Timestamp> {
    let ready = status.condition(words::READY)?;
    (ready.status == "False" && ready.reason == reason).then_some(ready.last_transition_time.0)
}

/// Problems of the tier itself, whatever its namespaces.
pub fn tier_problems(ranked: &RankedTier) -> Vec<NamespaceProblem> {
    let mut problems: Vec<_> = unresolved(ranked)
        .into_iter()
        .map(|(reason, message)| NamespaceProblem {
            namespace: None,
            reason: reason.to_owned(),
            message,
        })
        .collect();
    if let ParsedTier::Broken(tier) = &ranked.tier {
        problems.extend(tier.problems.iter().map(|problem| NamespaceProblem {
            namespace: None,
            reason: words::INVALID_SPEC.to_owned(),
            message: bounded(problem.to_string()),
        }));
    }
    problems.extend(ranked.rendered.ineffective.iter().map(|name| NamespaceProblem {
        namespace: None,
        reason: words::ALLOWANCE_HAS_NO_EFFECT.to_owned(),
        message: format!("allowance {name} speaks of a direction that the tier does not isolate; add it to spec.isolate or drop the allowance"),
    }));
    problems.dedup();
    problems
}

fn unresolved(ranked: &RankedTier) -> Vec<(&'static str, String)> {
    let all = ranked.rendered.policies.iter().flat_map(|(name, policy)| {
        policy.unresolved.iter().filter_map(move |unresolved| match unresolved {
            Unresolved::Tier => None,
            Unresolved::Allowance {
                allowance, looked_for, ..
            } => Some((
                words::ALLOWANCE_UNRESOLVED,
                format!("allowance {allowance}: {looked_for}"),
            )),
            Unresolved::TooLarge { bytes } => {
                let most = super::render::MAX_SPEC_BYTES;
                let message = format!(
                    "{name} would have {bytes} bytes, more than {most}; the last good policy stays: split the tier"
                );
                Some((words::POLICY_TOO_LARGE, message))
            }
        })
    });
    // A base repeats what its extras lack.
    let distinct: BTreeSet<_> = all.collect();
    distinct.into_iter().collect()
}

/// `metadata/v1` times have whole seconds; a fraction would be a difference to what the server gives back.
fn to_the_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
