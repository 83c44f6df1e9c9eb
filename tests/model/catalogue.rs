//! What the numbers in a state stand for, and what the real core says of them: each question is asked once.

use std::collections::HashMap;
use std::rc::Rc;

use cofferdam::policy::record::{Failure, Outcome};
use cofferdam::policy::{
    Action, Exemptions, Facts, Namespace, NamespaceRecord, ObservedPolicies, Plan, PolicyName, Removal, World, assign,
};
use k8s_openapi::jiff::Timestamp;

use crate::cluster::{POLICIES, RESERVED, Shelf, Tiers};
use crate::contents::{Content, ContentId};
use crate::habits::{Habits, Order};
use crate::scenario::Scenario;

pub type PlanId = u16;
pub type RecordId = u16;

/// What a plan is shown as uid and resourceVersion of whatever stands: it must pass them on and not look at them.
pub const SHOWN_UID: &str = "uid-shown";
pub const SHOWN_VERSION: &str = "17";

/// What decides about a plan.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Question {
    pub namespace: u8,
    pub tiers: Tiers,
    pub labels: u8,
    pub observed: [Option<ContentId>; RESERVED],
    pub record: Option<RecordId>,
}

/// A plan with its changes in the order in which they are made.
pub struct Planned {
    pub question: Question,
    pub plan: Plan,
    pub changes: Vec<Change>,
    pub opens_a_direction: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub policy: u8,
    pub kind: ChangeKind,
    /// Changes of one phase are in flight together.
    pub phase: u8,
    pub cannot_wait: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum ChangeKind {
    Create(ContentId),
    Replace(ContentId),
    Remove,
}

/// The phases of a plan; the first is of broken plans only.
pub const BEFORE: u8 = 0;
pub const EXTRAS: u8 = 1;
pub const BASES: u8 = 2;
/// Removals of what opens no direction.
pub const CLEARINGS: u8 = 3;
pub const RELEASES: u8 = 4;

/// The tiers and the labels of the namespace; nothing where they were of no one moment.
pub type ConsistentRead = Option<(Tiers, u8)>;
/// The record before, the plan, the committed changes, whether one failed, whether one met another revision.
type After = (Option<RecordId>, PlanId, u8, bool, bool);

pub struct Catalogue {
    pub scenario: Scenario,
    pub habits: Habits,
    pub contents: Vec<Content>,
    pub content_ids: HashMap<String, ContentId>,
    worlds: HashMap<Tiers, Rc<World>>,
    plans: Vec<Planned>,
    plan_ids: HashMap<Question, PlanId>,
    confirmed: HashMap<(PlanId, ConsistentRead), (PlanId, bool)>,
    records: Vec<NamespaceRecord>,
    record_ids: HashMap<String, RecordId>,
    after: HashMap<After, RecordId>,
    pub moves: HashMap<(u8, u8, Option<ContentId>), Option<Option<ContentId>>>,
    pub cuts: HashMap<(ContentId, Option<ContentId>), bool>,
}

impl Catalogue {
    pub fn new(scenario: Scenario, habits: Habits) -> Self {
        Self {
            scenario,
            habits,
            contents: Vec::new(),
            content_ids: HashMap::new(),
            worlds: HashMap::new(),
            plans: Vec::new(),
            plan_ids: HashMap::new(),
            confirmed: HashMap::new(),
            records: Vec::new(),
            record_ids: HashMap::new(),
            after: HashMap::new(),
            moves: HashMap::new(),
            cuts: HashMap::new(),
        }
    }

    pub fn content(&self, id: ContentId) -> &Content {
        &self.contents[usize::from(id)]
    }

    pub fn planned(&self, id: PlanId) -> &Planned {
        &self.plans[usize::from(id)]
    }

    pub fn record(&self, id: RecordId) -> &NamespaceRecord {
        &self.records[usize::from(id)]
    }

    pub fn world(&mut self, tiers: Tiers) -> Rc<World> {
        let scenario = &self.scenario;
        let world = self.worlds.entry(tiers).or_insert_with(|| {
            let exemptions = Exemptions::new("cofferdam-system", []);
            Rc::new(World::new(scenario.parsed(tiers), Facts::unread(), exemptions))
        });
        Rc::clone(world)
    }

    pub fn namespace(&self, namespace: u8, labels: u8) -> Namespace {
        let team = self.scenario.labels[usize::from(labels)];
        let labels = team.map(|team| (String::from("team"), team.to_owned()));
        Namespace {
            name: namespace_name(namespace),
            uid: namespace_uid(namespace),
            labels: labels.into_iter().collect(),
            created: Some(Timestamp::from_second(2000).unwrap()),
            terminating: false,
        }
    }

    fn observed(&self, contents: [Option<ContentId>; RESERVED]) -> ObservedPolicies {
        let mut observed = ObservedPolicies::new();
        for (name, content) in POLICIES.iter().zip(contents) {
            let policy = content.and_then(|content| self.content(content).observed.clone());
            if let (Some(name), Some(policy)) = (PolicyName::reserved(name), policy) {
                observed.insert(name, policy);
            }
        }
        observed
    }

    /// What the core plans.
    pub fn plan(&mut self, question: Question) -> PlanId {
        if let Some(id) = self.plan_ids.get(&question) {
            return *id;
        }
        let world = self.world(question.tiers);
        let namespace = self.namespace(question.namespace, question.labels);
        let record = question.record.map(|id| self.record(id).clone());
        let observed = self.observed(question.observed);
        let mut plan = (self.habits.planner)(&world, &namespace, &observed, record.as_ref());
        let others = plan.take_what_opens_nothing();
        let id = self.add(question.clone(), others, plan);
        self.plan_ids.insert(question, id);
        id
    }

    /// What the present core plans without any record, whatever the habits.
    pub fn real_plan(&mut self, question: &Question) -> Plan {
        let world = self.world(question.tiers);
        let namespace = self.namespace(question.namespace, question.labels);
        let record = question.record.map(|id| self.record(id));
        cofferdam::policy::plan(&world, &namespace, &self.observed(question.observed), record)
    }

    /// `others` are those of the removals that wait for no consistent read.
    fn add(&mut self, question: Question, others: Vec<Removal>, mut plan: Plan) -> PlanId {
        let namespace = self.namespace(question.namespace, question.labels);
        let mut changes = Vec::new();
        for write in plan.writes() {
            let object = self.habits.sent(write.object(&namespace));
            let content = self.intern(&object);
            let policy = place(&write.name);
            let phase = if write.name.is_base() { BASES } else { EXTRAS };
            let kind = match &write.action {
                Action::Create => ChangeKind::Create(content),
                Action::Replace {
                    resource_version, uid, ..
                } => {
                    assert_eq!(
                        (&**resource_version, &**uid),
                        (SHOWN_VERSION, SHOWN_UID),
                        "preconditions"
                    );
                    ChangeKind::Replace(content)
                }
            };
            let change = Change {
                policy,
                kind,
                phase,
                cannot_wait: write.cannot_wait(),
            };
            match kind {
                ChangeKind::Replace(content) if self.habits.order == Order::DeleteBeforeCreate => {
                    changes.push(Change {
                        kind: ChangeKind::Remove,
                        phase: BEFORE,
                        ..change
                    });
                    changes.push(Change {
                        kind: ChangeKind::Create(content),
                        ..change
                    });
                }
                _ => changes.push(change),
            }
        }
        let clearings = others.iter().map(|removal| (removal, CLEARINGS));
        let releases = plan.removals.iter().map(|removal| (removal, RELEASES));
        for (removal, phase) in clearings.chain(releases) {
            let preconditions = (&*removal.resource_version, &*removal.uid);
            assert_eq!(preconditions, (SHOWN_VERSION, SHOWN_UID), "preconditions");
            changes.push(Change {
                policy: place(&removal.name),
                kind: ChangeKind::Remove,
                phase,
                cannot_wait: false,
            });
        }
        plan.removals.extend(others);
        let id = self.plans.len() as PlanId;
        self.plans.push(Planned {
            question,
            opens_a_direction: plan.removals.iter().any(|removal| removal.name.is_base()),
            plan,
            changes,
        });
        id
    }

    /// What is left of a plan once a consistent read found these tiers and labels, and whether that is all of it; nothing
    /// is confirmed where the read found nothing that holds.
    pub fn confirm(&mut self, id: PlanId, read: ConsistentRead) -> (PlanId, bool) {
        if let Some(known) = self.confirmed.get(&(id, read)) {
            return *known;
        }
        let question = self.planned(id).question.clone();
        let confirming = read.map(|(tiers, labels)| {
            let confirming = self.plan(Question {
                tiers,
                labels,
                ..question.clone()
            });
            self.planned(confirming).plan.clone()
        });
        let mut plan = self.planned(id).plan.clone();
        let others = plan.take_what_opens_nothing();
        let all = plan.keep_removals_also_in(&confirming.unwrap_or_default());
        let left = if all { id } else { self.add(question, others, plan) };
        self.confirmed.insert((id, read), (left, all));
        (left, all)
    }

    /// What is remembered once those changes of a plan, a bit each, were committed.
    pub fn remember(&mut self, id: PlanId, committed: u8, failed: bool, must_replan: bool) -> RecordId {
        let question = self.planned(id).question.clone();
        let key = (question.record, id, committed, failed, must_replan);
        if let Some(known) = self.after.get(&key) {
            return *known;
        }
        let (world, namespace) = (
            self.world(question.tiers),
            self.namespace(question.namespace, question.labels),
        );
        let record = question.record.map(|id| self.record(id).clone());
        let assignment = assign(&world, &namespace, &self.observed(question.observed), record.as_ref());
        let planned = self.planned(id);
        let committed = planned.changes.iter().enumerate();
        let committed = committed.filter(|(index, _)| key.2 & (1 << index) != 0);
        let name = |change: &Change| PolicyName::reserved(POLICIES[usize::from(change.policy)]).unwrap();
        let outcome = Outcome {
            committed: committed.map(|(_, change)| name(change)).collect(),
            failure: failed.then(|| Failure {
                reason: "Fault",
                message: String::from("a fault"),
                retry_after: None,
            }),
            must_replan,
            ..Outcome::default()
        };
        let now = Timestamp::from_second(3000).unwrap();
        let after = NamespaceRecord::after(
            record.as_ref(),
            &assignment,
            &namespace,
            &planned.plan,
            &outcome,
            Vec::new(),
            now,
        );
        let text = format!("{after:?}");
        let next = self.records.len() as RecordId;
        let record = *self.record_ids.entry(text).or_insert(next);
        if record == next {
            self.records.push(after);
        }
        self.after.insert(key, record);
        record
    }

    /// Numbers of contents, plans and records.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.contents.len(), self.plans.len(), self.records.len())
    }
}

impl Question {
    pub fn contents(shelf: &Shelf) -> [Option<ContentId>; RESERVED] {
        std::array::from_fn(|policy| shelf[policy].map(|object| object.content))
    }
}

pub fn namespace_name(namespace: u8) -> String {
    format!("n{namespace}")
}

pub fn namespace_uid(namespace: u8) -> String {
    format!("uid-n{namespace}")
}

fn place(name: &PolicyName) -> u8 {
    let place = POLICIES.iter().position(|policy| *policy == name.as_str());
    place.unwrap_or_else(|| panic!("the model has no policy {name}")) as u8
}
