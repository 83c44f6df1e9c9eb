//! One reconcile of one namespace, a request and an answer at a time, as in `src/controller/reconcile.rs`, `apply.rs`,
//! `release.rs` and `consistent_read.rs`.

use crate::catalogue::{BASES, BEFORE, CLEARINGS, Catalogue, ChangeKind, PlanId, Question, RELEASES};
use crate::cluster::{Acknowledged, Confirming, Object, POLICIES, Progress, Shelf, State, Work, Writing};
use crate::judge;
use crate::watching::written;

/// The controller takes a namespace from its queue, looks and plans.
pub fn begin(state: &mut State, catalogue: &mut Catalogue, namespace: usize) -> Result<(), String> {
    let controller = &mut state.controller;
    controller.dirty[namespace] = false;
    let view = controller.policies[namespace];
    let plan = catalogue.plan(Question {
        namespace: namespace as u8,
        tiers: controller.tiers,
        labels: controller.labels[namespace],
        observed: Question::contents(&view),
        record: controller.records[namespace],
    });
    judge::plan(catalogue, plan)?;
    write(state, catalogue, namespace, plan, view);
    Ok(())
}

/// What of a view the changes of a plan need.
fn only_changed(catalogue: &Catalogue, plan: PlanId, mut view: Shelf) -> Shelf {
    let changes = &catalogue.planned(plan).changes;
    for (policy, object) in view.iter_mut().enumerate() {
        let needed = |kind| !matches!(kind, ChangeKind::Create(_));
        if !changes
            .iter()
            .any(|change| usize::from(change.policy) == policy && needed(change.kind))
        {
            *object = None;
        }
    }
    view
}

/// What is free at any moment of a consistent read may be opened: the read may be of that moment.
pub fn note_what_is_free(state: &mut State, catalogue: &Catalogue) {
    for (namespace, work) in state.controller.work.iter_mut().enumerate() {
        if let Work::Confirming(confirming) = work
            && confirming.labels.is_some()
        {
            confirming.freed |= judge::freed(&catalogue.scenario, state.tiers, state.labels[namespace]);
        }
    }
}

/// The consistent read: LIST of the tiers.
pub fn read_tiers(state: &mut State, catalogue: &mut Catalogue, namespace: usize) {
    if let Work::Confirming(confirming) = &mut state.controller.work[namespace] {
        confirming.tiers = Some(state.tiers);
    }
    if !catalogue.habits.reads_namespace_twice {
        confirmed(state, catalogue, namespace);
    }
}

/// The consistent read is complete.
pub fn confirmed(state: &mut State, catalogue: &mut Catalogue, namespace: usize) {
    let Work::Confirming(confirming) = state.controller.work[namespace].clone() else {
        return;
    };
    let (Some(labels), Some(tiers)) = (confirming.labels, confirming.tiers) else {
        return;
    };
    let read = (!confirming.moved || !catalogue.habits.reads_namespace_twice).then_some((tiers, labels));
    let mut writing = confirming.writing;
    let (plan, all) = catalogue.confirm(writing.plan, read);
    // What is removed comes last: what was written has the same place in both plans.
    writing.progress.truncate(catalogue.planned(plan).changes.len());
    let progress = writing.progress.iter_mut().zip(&catalogue.planned(plan).changes);
    progress.for_each(|(progress, change)| progress.0 = change.policy);
    writing.plan = plan;
    writing.view = only_changed(catalogue, plan, writing.view);
    writing.all_confirmed = all;
    writing.freed = confirming.freed;
    state.controller.work[namespace] = Work::Writing(writing);
    open_phase(state, catalogue, namespace);
    go_on(state, catalogue, namespace);
}

fn write(state: &mut State, catalogue: &mut Catalogue, namespace: usize, plan: PlanId, view: Shelf) {
    let changes = catalogue.planned(plan).changes.iter();
    let progress = changes.map(|change| (change.policy, Progress::Waits)).collect();
    state.controller.work[namespace] = Work::Writing(Writing {
        plan,
        view: only_changed(catalogue, plan, view),
        all_confirmed: true,
        freed: 0,
        phase: BEFORE,
        progress,
        committed: 0,
        failed: false,
        must_replan: false,
        wrote_all: false,
    });
    open_phase(state, catalogue, namespace);
    go_on(state, catalogue, namespace);
}

/// A request fails, and nothing was stored.
pub fn fail(state: &mut State, catalogue: &mut Catalogue, namespace: usize, index: usize) {
    let writing = writing(state, namespace);
    writing.progress[index].1 = Progress::Over;
    writing.failed = true;
    go_on(state, catalogue, namespace);
}

/// The consistent read: GET of the namespace.
pub fn read_namespace(state: &mut State, catalogue: &Catalogue, namespace: usize) {
    let labels = state.labels[namespace];
    if let Work::Confirming(confirming) = &mut state.controller.work[namespace] {
        confirming.labels = Some(labels);
    }
    note_what_is_free(state, catalogue);
}

fn writing(state: &mut State, namespace: usize) -> &mut Writing {
    match &mut state.controller.work[namespace] {
        Work::Writing(writing) => writing,
        _ => unreachable!("nothing is written in namespace {namespace}"),
    }
}

/// Sends the requests of the present phase, as `Writer::apply` does.
fn open_phase(state: &mut State, catalogue: &Catalogue, namespace: usize) {
    let prunes_always = !catalogue.habits.prunes_only_after_success;
    let writing = writing(state, namespace);
    let complete = !writing.failed && !writing.must_replan;
    let changes = &catalogue.planned(writing.plan).changes;
    for (change, (_, progress)) in changes.iter().zip(&mut writing.progress) {
        let goes = change.phase == writing.phase
            && match change.phase {
                BASES => complete || change.cannot_wait,
                CLEARINGS | RELEASES => writing.wrote_all || prunes_always,
                _ => true,
            };
        if goes {
            *progress = Progress::InFlight;
        }
    }
}

/// Whether a direction is about to be opened.
fn reads_first(writing: &Writing, catalogue: &Catalogue) -> bool {
    writing.phase == RELEASES
        && catalogue.planned(writing.plan).opens_a_direction
        && catalogue.habits.reads_before_release
        && (writing.wrote_all || !catalogue.habits.prunes_only_after_success)
}

/// Opens the next phases while nothing is under way, and remembers after the last.
fn go_on(state: &mut State, catalogue: &mut Catalogue, namespace: usize) {
    loop {
        let writing = writing(state, namespace);
        let rests = |progress: &Progress| matches!(progress, Progress::Waits | Progress::Over);
        if !writing.progress.iter().all(|(_, progress)| rests(progress)) {
            return;
        }
        if writing.phase < RELEASES {
            writing.phase += 1;
            if writing.phase == CLEARINGS {
                writing.wrote_all = !writing.failed && !writing.must_replan;
            }
            if reads_first(writing, catalogue) {
                let writing = writing.clone();
                state.controller.work[namespace] = Work::Confirming(Confirming {
                    writing,
                    labels: None,
                    tiers: None,
                    moved: false,
                    freed: 0,
                });
                return;
            }
            open_phase(state, catalogue, namespace);
            continue;
        }
        let must_replan = writing.must_replan || !writing.all_confirmed;
        let (plan, committed, failed) = (writing.plan, writing.committed, writing.failed);
        let record = catalogue.remember(plan, committed, failed, must_replan);
        let controller = &mut state.controller;
        controller.records[namespace] = Some(record);
        controller.work[namespace] = Work::Idle;
        controller.dirty[namespace] |= (failed || must_replan) && catalogue.habits.retries;
        return;
    }
}

/// The server takes a request: it checks preconditions, and stores.
pub fn request(
    state: &mut State,
    catalogue: &mut Catalogue,
    namespace: usize,
    index: usize,
    answer_is_lost: bool,
) -> Result<(), String> {
    let writing = writing(state, namespace);
    let (plan, freed) = (writing.plan, writing.freed);
    let change = catalogue.planned(plan).changes[index];
    let policy = usize::from(change.policy);
    let planned_against = writing.view[policy];
    let standing = state.policies[namespace][policy];
    let same = |one: Option<Object>| one.map(|object| (object.uid, object.version));
    let accepted = match change.kind {
        ChangeKind::Create(_) => standing.is_none(),
        ChangeKind::Replace(_) => same(standing) == same(planned_against),
        ChangeKind::Remove if catalogue.habits.preconditions => {
            standing.is_some() && same(standing) == same(planned_against)
        }
        ChangeKind::Remove => standing.is_some(),
    };
    let (before, shelf) = (judge::isolated(state, catalogue, namespace), state.policies[namespace]);
    let progress = match (accepted, change.kind) {
        (false, _) => Progress::Refused,
        (true, ChangeKind::Replace(content)) if standing.is_some_and(|object| object.content == content) => {
            return Err(format!(
                "invariant 3: {} was written over what is the same",
                POLICIES[policy]
            ));
        }
        (true, ChangeKind::Create(content) | ChangeKind::Replace(content)) => {
            Progress::Committed(Some(state.store(namespace, policy, content)))
        }
        (true, ChangeKind::Remove) => {
            if same(standing) != same(planned_against) {
                return Err(format!(
                    "invariant 2: {} was deleted, which was never planned against",
                    POLICIES[policy]
                ));
            }
            state.delete(namespace, policy);
            Progress::Committed(None)
        }
    };
    let progress = if answer_is_lost { Progress::Unanswered } else { progress };
    self::writing(state, namespace).progress[index].1 = progress;
    judge::release(state, catalogue, namespace, before, freed)?;
    // What is open is closed whatever else fails.
    if !change.cannot_wait {
        judge::cut(state, catalogue, namespace, plan, &shelf)?;
    }
    if catalogue.scenario.prompt_answers {
        if progress == Progress::Refused {
            look(state, namespace, index);
        }
        answer(state, catalogue, namespace, index);
    }
    Ok(())
}

/// The server takes the request that reads what stands there instead.
pub fn look(state: &mut State, namespace: usize, index: usize) {
    let (policy, _) = writing(state, namespace).progress[index];
    let standing = state.policies[namespace][usize::from(policy)];
    writing(state, namespace).progress[index].1 = Progress::Read(standing);
}

/// The controller gets the answer.
pub fn answer(state: &mut State, catalogue: &mut Catalogue, namespace: usize, index: usize) {
    let writing = writing(state, namespace);
    let (policy, progress) = writing.progress[index];
    let policy = usize::from(policy);
    writing.progress[index].1 = Progress::Over;
    let planned_against = writing.view[policy];
    let answered = match progress {
        Progress::Committed(answered) => {
            writing.committed |= 1 << index;
            answered
        }
        Progress::Read(answered) => {
            writing.must_replan = true;
            answered
        }
        _ => {
            writing.failed = true;
            return go_on(state, catalogue, namespace);
        }
    };
    match answered {
        Some(object) => written(state, namespace, policy, object),
        None => {
            let controller = &mut state.controller;
            let known = &mut controller.policies[namespace][policy];
            if let Some(gone) = known.filter(|known| planned_against.is_some_and(|object| object.uid == known.uid)) {
                *known = None;
                controller.acknowledged[namespace][policy] = Acknowledged::Deleted(gone);
            }
        }
    }
    go_on(state, catalogue, namespace);
}
