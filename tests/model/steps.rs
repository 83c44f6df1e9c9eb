//! Everything that can happen next: in the cluster, to its watches, and in the controller.

use crate::catalogue::Catalogue;
use crate::cluster::{Controller, Progress, RESERVED, State, Work};
use crate::judge;
use crate::watching::{deliver, list};
use crate::working::{answer, begin, confirmed, fail, look, note_what_is_free, read_namespace, read_tiers, request};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// An administrator edits, creates or deletes a tier.
    EditTier(u8, Option<u8>),
    /// An administrator changes the label of a namespace.
    Relabel(u8, u8),
    /// A tenant makes a move.
    Tenant(u8, u8),
    Crash,
    /// A request fails, and nothing was stored.
    Fail(u8, u8),
    /// A request is stored, and its answer is lost.
    LoseAnswer(u8, u8),
    /// The garbage collector finds a policy whose tier is gone.
    Collect(u8, u8),
    /// The controller lists, and watches from there.
    List(Kind),
    /// A watch shows its next event.
    Deliver(Kind),
    /// The controller takes a namespace from its queue, looks and plans.
    Plan(u8),
    /// The consistent read: GET of the namespace.
    ReadNamespace(u8),
    /// The consistent read: LIST of the tiers.
    ReadTiers(u8),
    /// The consistent read: GET of the namespace, which has to be unchanged.
    ReadNamespaceAgain(u8),
    /// The server takes the request for a change of a namespace's plan.
    Request(u8, u8),
    /// The controller gets the answer.
    Answer(u8, u8),
    /// The server takes the request that reads what stands there instead.
    Look(u8, u8),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Tiers,
    Namespaces,
    Policies,
}

pub const KINDS: [Kind; 3] = [Kind::Tiers, Kind::Namespaces, Kind::Policies];

/// Who makes a step. Each of them goes on in the end, if it can; nobody else ever has to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Actor {
    /// Administrators, tenants, failures: never obliged.
    Outside,
    Watch(Kind),
    Worker(u8),
    GarbageCollector,
}

impl Step {
    pub fn actor(self) -> Actor {
        match self {
            Self::EditTier(..)
            | Self::Relabel(..)
            | Self::Tenant(..)
            | Self::Crash
            | Self::Fail(..)
            | Self::LoseAnswer(..) => Actor::Outside,
            Self::Collect(..) => Actor::GarbageCollector,
            Self::List(kind) | Self::Deliver(kind) => Actor::Watch(kind),
            Self::Plan(namespace)
            | Self::ReadTiers(namespace)
            | Self::ReadNamespace(namespace)
            | Self::ReadNamespaceAgain(namespace)
            | Self::Request(namespace, _)
            | Self::Answer(namespace, _)
            | Self::Look(namespace, _) => Actor::Worker(namespace),
        }
    }
}

impl Actor {
    /// A bit for each but the outside.
    pub fn bit(self) -> u8 {
        match self {
            Self::Outside => 0,
            Self::Watch(kind) => 1 << (kind as u8),
            Self::Worker(namespace) => 8 << namespace,
            Self::GarbageCollector => 128,
        }
    }
}

/// Every step that can be made.
pub fn enabled(state: &State, catalogue: &mut Catalogue) -> Vec<Step> {
    let mut steps = Vec::new();
    from_outside(state, catalogue, &mut steps);
    for namespace in 0..catalogue.scenario.namespaces {
        for policy in 0..RESERVED {
            if is_garbage(state, catalogue, namespace, policy) {
                steps.push(Step::Collect(namespace as u8, policy as u8));
            }
        }
    }
    let listed = state.controller.listed;
    for kind in KINDS {
        let waiting = match kind {
            Kind::Tiers => state.tier_events.len(),
            Kind::Namespaces => state.namespace_events.len(),
            Kind::Policies => state.policy_events.len(),
        };
        if !listed[kind as usize] {
            steps.push(Step::List(kind));
        } else if waiting > 0 {
            steps.push(Step::Deliver(kind));
        }
    }
    if listed == [true; 3] {
        for namespace in 0..catalogue.scenario.namespaces {
            of_worker(state, namespace, &mut steps);
        }
    }
    steps
}

fn from_outside(state: &State, catalogue: &mut Catalogue, steps: &mut Vec<Step>) {
    let namespaces = catalogue.scenario.namespaces;
    if state.left.admin > 0 {
        for (tier, variants) in catalogue.scenario.tiers.iter().enumerate() {
            let lives = |variant: &u8| variants[usize::from(*variant)].uid >= state.tier_uids[tier];
            let variants = (0..variants.len() as u8).filter(lives).map(Some).chain([None]);
            let others = variants.filter(|variant| *variant != state.tiers[tier]);
            steps.extend(others.map(|variant| Step::EditTier(tier as u8, variant)));
        }
        for namespace in 0..namespaces {
            let labels = 0..catalogue.scenario.labels.len() as u8;
            let others = labels.filter(|labels| *labels != state.labels[namespace]);
            steps.extend(others.map(|labels| Step::Relabel(namespace as u8, labels)));
        }
    }
    if state.left.tenant > 0 {
        // The tenant has the first namespace.
        for index in 0..catalogue.scenario.tenant.len() as u8 {
            let policy = catalogue.scenario.tenant[usize::from(index)].policy();
            let before = state.policies[0][policy].map(|object| object.content);
            if catalogue.tenant_moves(0, index, before).is_some() {
                steps.push(Step::Tenant(0, index));
            }
        }
    }
    if state.left.crashes > 0 {
        steps.push(Step::Crash);
    }
}

fn of_worker(state: &State, namespace: usize, steps: &mut Vec<Step>) {
    let worker = namespace as u8;
    match &state.controller.work[namespace] {
        Work::Idle if state.controller.dirty[namespace] => steps.push(Step::Plan(worker)),
        Work::Idle => {}
        Work::Confirming(confirming) if confirming.labels.is_none() => steps.push(Step::ReadNamespace(worker)),
        Work::Confirming(confirming) if confirming.tiers.is_none() => steps.push(Step::ReadTiers(worker)),
        Work::Confirming(_) => steps.push(Step::ReadNamespaceAgain(worker)),
        Work::Writing(writing) => {
            for (index, (_, progress)) in writing.progress.iter().enumerate() {
                let index = index as u8;
                match progress {
                    Progress::Waits | Progress::Over => {}
                    Progress::InFlight => {
                        steps.push(Step::Request(worker, index));
                        if state.left.faults > 0 {
                            steps.extend([Step::Fail(worker, index), Step::LoseAnswer(worker, index)]);
                        }
                    }
                    Progress::Refused => steps.push(Step::Look(worker, index)),
                    Progress::Committed(_) | Progress::Read(_) | Progress::Unanswered => {
                        steps.push(Step::Answer(worker, index));
                    }
                }
            }
        }
    }
}

fn is_garbage(state: &State, catalogue: &Catalogue, namespace: usize, policy: usize) -> bool {
    let Some(object) = state.policies[namespace][policy] else {
        return false;
    };
    let Some(owner) = &catalogue.content(object.content).tier_owner else {
        return false;
    };
    let scenario = &catalogue.scenario;
    let lives = |tier| {
        scenario
            .variant(state.tiers, tier)
            .is_some_and(|variant| variant.uid(tier) == *owner)
    };
    !(0..state.tiers.len()).any(lives)
}

/// Makes a step; what must never be is told.
///
/// # Errors
/// The invariant that the step breaks.
pub fn make(state: &mut State, step: Step, catalogue: &mut Catalogue) -> Result<(), String> {
    match step {
        Step::EditTier(tier, variant) => {
            state.left.admin -= 1;
            state.tiers[usize::from(tier)] = variant;
            let uid = &mut state.tier_uids[usize::from(tier)];
            *uid = match variant {
                Some(variant) => catalogue.scenario.tiers[usize::from(tier)][usize::from(variant)].uid,
                None => *uid + 1,
            };
            if state.controller.listed[Kind::Tiers as usize] {
                state.tier_events.push((tier, variant));
            }
            note_what_is_free(state, catalogue);
        }
        Step::Relabel(namespace, labels) => {
            state.left.admin -= 1;
            state.labels[usize::from(namespace)] = labels;
            if state.controller.listed[Kind::Namespaces as usize] {
                state.namespace_events.push((namespace, labels));
            }
            if let Work::Confirming(confirming) = &mut state.controller.work[usize::from(namespace)] {
                confirming.moved = confirming.labels.is_some();
            }
            note_what_is_free(state, catalogue);
        }
        Step::Tenant(namespace, index) => {
            state.left.tenant -= 1;
            let policy = catalogue.scenario.tenant[usize::from(index)].policy();
            let before = state.policies[usize::from(namespace)][policy].map(|object| object.content);
            match catalogue.tenant_moves(namespace, index, before) {
                Some(Some(content)) => _ = state.store(namespace.into(), policy, content),
                _ => state.delete(namespace.into(), policy),
            }
        }
        Step::Crash => {
            state.left.crashes -= 1;
            state.controller = Controller::default();
            state.tier_events.clear();
            state.namespace_events.clear();
            state.policy_events.clear();
        }
        Step::Collect(namespace, policy) => return collect(state, catalogue, namespace.into(), policy.into()),
        Step::List(kind) => list(state, kind, catalogue.scenario.namespaces),
        Step::Deliver(kind) => deliver(state, catalogue, kind),
        Step::Plan(namespace) => return begin(state, catalogue, namespace.into()),
        Step::ReadNamespace(namespace) => read_namespace(state, catalogue, namespace.into()),
        Step::ReadTiers(namespace) => read_tiers(state, catalogue, namespace.into()),
        Step::ReadNamespaceAgain(namespace) => confirmed(state, catalogue, namespace.into()),
        Step::Request(namespace, index) => return request(state, catalogue, namespace.into(), index.into(), false),
        Step::LoseAnswer(namespace, index) => {
            state.left.faults -= 1;
            return request(state, catalogue, namespace.into(), index.into(), true);
        }
        Step::Fail(namespace, index) => {
            state.left.faults -= 1;
            fail(state, catalogue, namespace.into(), index.into());
        }
        Step::Look(namespace, index) => {
            look(state, namespace.into(), index.into());
            if catalogue.scenario.prompt_answers {
                answer(state, catalogue, namespace.into(), index.into());
            }
        }
        Step::Answer(namespace, index) => answer(state, catalogue, namespace.into(), index.into()),
    }
    Ok(())
}

fn collect(state: &mut State, catalogue: &mut Catalogue, namespace: usize, policy: usize) -> Result<(), String> {
    let Some(object) = state.policies[namespace][policy] else {
        return Ok(());
    };
    let before = judge::isolated(state, catalogue, namespace);
    match catalogue.collected(object.content) {
        Some(content) => _ = state.store(namespace, policy, content),
        None => state.delete(namespace, policy),
    }
    judge::collection(state, catalogue, namespace, before)
}
