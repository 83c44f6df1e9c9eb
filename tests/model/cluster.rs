//! One state of everything: what the server stores, what its watches have yet to show, and what the controller knows
//! and is about to do.

use crate::catalogue::{PlanId, RecordId};
use crate::contents::ContentId;

/// At most so many namespaces.
pub const NAMESPACES: usize = 2;
/// The policies of the model. The last is a tenant's own, which no plan sees.
pub const POLICIES: [&str; 5] = [
    "cofferdam-baseline-ingress",
    "cofferdam-baseline-egress",
    "cofferdam-allow-web-ingress",
    "cofferdam-allow-hole-egress",
    "tenant",
];
/// The allowance for some pods only.
pub const EXTRA: usize = 2;
/// Those of them that have a reserved name.
pub const RESERVED: usize = 4;

/// Which variant of each tier stands, if one does.
pub type Tiers = [Option<u8>; 2];
/// What stands in a namespace.
pub type Shelf = [Option<Object>; POLICIES.len()];

/// A stored policy. Versions and uids are numbered for each name anew: nothing compares those of two names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Object {
    pub content: ContentId,
    pub uid: u8,
    pub version: u8,
}

#[derive(Clone, Debug)]
pub struct State {
    pub tiers: Tiers,
    /// The uid of each tier, or of the next of that name: one that was deleted never comes back.
    pub tier_uids: [u8; 2],
    pub labels: [u8; NAMESPACES],
    pub policies: [Shelf; NAMESPACES],
    pub tier_events: Vec<(u8, Option<u8>)>,
    pub namespace_events: Vec<(u8, u8)>,
    pub policy_events: Vec<PolicyEvent>,
    pub controller: Controller,
    pub left: Budgets,
    /// The last version and the last uid of each name. Follows from the rest, once that is numbered anew.
    clock: [[(u8, u8); POLICIES.len()]; NAMESPACES],
}

#[derive(Clone, Copy, Debug)]
pub struct PolicyEvent {
    pub namespace: u8,
    pub policy: u8,
    /// As it stands, or as it last stood with the version of its deletion.
    pub object: Object,
    pub deleted: bool,
}

/// What may still be done to the cluster from outside.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Budgets {
    pub admin: u8,
    pub tenant: u8,
    pub crashes: u8,
    /// Writes that fail, and answers that are lost.
    pub faults: u8,
}

/// What a crash loses.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    /// Tiers, namespaces, policies.
    pub listed: [bool; 3],
    pub tiers: Tiers,
    pub labels: [u8; NAMESPACES],
    pub policies: [Shelf; NAMESPACES],
    pub acknowledged: [[Acknowledged; RESERVED]; NAMESPACES],
    pub records: [Option<RecordId>; NAMESPACES],
    /// Whether a namespace is in the queue.
    pub dirty: [bool; NAMESPACES],
    pub work: [Work; NAMESPACES],
}

/// As in `src/controller/cache/policy_index.rs`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Acknowledged {
    #[default]
    Nothing,
    Written,
    /// The object of this uid is gone; its version says nothing.
    Deleted(Object),
}

/// Where a reconcile of one namespace is.
#[derive(Clone, Debug, Default)]
pub enum Work {
    #[default]
    Idle,
    Confirming(Confirming),
    Writing(Writing),
}

/// The consistent read before a release, once everything else is written.
#[derive(Clone, Debug)]
pub struct Confirming {
    pub writing: Writing,
    /// What was read so far: first the namespace, then the tiers, then the namespace again.
    pub labels: Option<u8>,
    pub tiers: Option<Tiers>,
    /// Whether the namespace changed since it was read.
    pub moved: bool,
    /// The directions that no tier isolated at some moment since then.
    pub freed: Directions,
}

#[derive(Clone, Debug)]
pub struct Writing {
    pub plan: PlanId,
    /// The revisions that were planned against.
    pub view: Shelf,
    pub all_confirmed: bool,
    /// The directions that no tier isolated at some moment of the consistent read.
    pub freed: Directions,
    pub phase: u8,
    /// For each change of the plan: of which policy, and how far it is.
    pub progress: Vec<(u8, Progress)>,
    /// A bit for each change.
    pub committed: u8,
    pub failed: bool,
    pub must_replan: bool,
    /// Whether everything was written: said before the first removal.
    pub wrote_all: bool,
}

/// Ingress and egress, a bit each.
pub type Directions = u8;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Its phase has not come.
    Waits,
    InFlight,
    /// Stored, and the answer is under way: the object, or nothing where it was deleted.
    Committed(Option<Object>),
    /// Another revision stands there: it is to be read.
    Refused,
    /// It was read, and the answer is under way.
    Read(Option<Object>),
    /// Stored, but no answer will tell.
    Unanswered,
    Over,
}

impl State {
    pub fn new(tiers: Tiers, labels: [u8; NAMESPACES], left: Budgets) -> Self {
        Self {
            tiers,
            tier_uids: [1; 2],
            labels,
            policies: Default::default(),
            tier_events: Vec::new(),
            namespace_events: Vec::new(),
            policy_events: Vec::new(),
            controller: Controller::default(),
            left,
            clock: Default::default(),
        }
    }

    /// Stores an object, new or in place of another, and tells the watch.
    pub fn store(&mut self, namespace: usize, policy: usize, content: ContentId) -> Object {
        let (version, last_uid) = &mut self.clock[namespace][policy];
        *version += 1;
        let uid = match self.policies[namespace][policy] {
            Some(before) => before.uid,
            None => {
                *last_uid += 1;
                *last_uid
            }
        };
        let object = Object {
            content,
            uid,
            version: *version,
        };
        self.policies[namespace][policy] = Some(object);
        self.tell(namespace, policy, object, false);
        object
    }

    /// Deletes an object, and tells the watch.
    pub fn delete(&mut self, namespace: usize, policy: usize) {
        let Some(last) = self.policies[namespace][policy].take() else {
            return;
        };
        let version = &mut self.clock[namespace][policy].0;
        *version += 1;
        let object = Object {
            version: *version,
            ..last
        };
        self.tell(namespace, policy, object, true);
    }

    fn tell(&mut self, namespace: usize, policy: usize, object: Object, deleted: bool) {
        if self.controller.listed[2] && policy < RESERVED {
            self.policy_events.push(PolicyEvent {
                namespace: namespace as u8,
                policy: policy as u8,
                object,
                deleted,
            });
        }
    }

    /// Forgets what nothing can ask for any more, and numbers versions and uids anew, so that what behaves alike is equal.
    pub fn canonicalise(&mut self) {
        for (namespace, acknowledged) in self.controller.acknowledged.iter_mut().enumerate() {
            for (policy, acknowledged) in acknowledged.iter_mut().enumerate() {
                let of_it = |event: &PolicyEvent| (event.namespace, event.policy) == (namespace as u8, policy as u8);
                if !self.policy_events.iter().any(of_it) {
                    *acknowledged = Acknowledged::Nothing;
                }
            }
        }
        let mut used = [[(0u64, 0u64); POLICIES.len()]; NAMESPACES];
        self.objects(|namespace, policy, object| {
            let (versions, uids) = &mut used[namespace][policy];
            *versions |= 1 << object.version;
            *uids |= 1 << object.uid;
        });
        // Zero is no number of an object.
        let rank = |used: u64, number: u8| (used & ((2u64 << number) - 1) & !1).count_ones() as u8;
        self.objects(|namespace, policy, object| {
            let (versions, uids) = used[namespace][policy];
            object.version = rank(versions, object.version);
            object.uid = rank(uids, object.uid);
        });
        for (clock, used) in self.clock.iter_mut().flatten().zip(used.iter().flatten()) {
            *clock = (rank(used.0, 62), rank(used.1, 62));
        }
    }

    /// Every mention of an object.
    fn objects(&mut self, mut visit: impl FnMut(usize, usize, &mut Object)) {
        let mut visit_shelf = |namespace: usize, shelf: &mut Shelf| {
            for (policy, object) in shelf.iter_mut().enumerate() {
                if let Some(object) = object {
                    visit(namespace, policy, object);
                }
            }
        };
        for namespace in 0..NAMESPACES {
            visit_shelf(namespace, &mut self.policies[namespace]);
            visit_shelf(namespace, &mut self.controller.policies[namespace]);
            match &mut self.controller.work[namespace] {
                Work::Idle => {}
                Work::Confirming(confirming) => visit_shelf(namespace, &mut confirming.writing.view),
                Work::Writing(writing) => visit_shelf(namespace, &mut writing.view),
            }
        }
        for event in &mut self.policy_events {
            visit(event.namespace.into(), event.policy.into(), &mut event.object);
        }
        for (namespace, acknowledged) in self.controller.acknowledged.iter_mut().enumerate() {
            for (policy, acknowledged) in acknowledged.iter_mut().enumerate() {
                if let Acknowledged::Deleted(object) = acknowledged {
                    object.version = 0;
                    visit(namespace, policy, object);
                }
            }
        }
        for (namespace, work) in self.controller.work.iter_mut().enumerate() {
            let Work::Writing(writing) = work else { continue };
            for (policy, progress) in writing.progress.iter_mut() {
                if let Progress::Committed(Some(object)) | Progress::Read(Some(object)) = progress {
                    visit(namespace, usize::from(*policy), object);
                }
            }
        }
    }
}
