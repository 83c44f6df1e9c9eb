//! A state as bytes: equal bytes, equal states. They are compared whole, so that no two states pass for one.

use crate::cluster::{Acknowledged, Budgets, Object, Progress, Shelf, State, Work, Writing};

/// What a field of the encoding holds where there is nothing.
const NOTHING: u8 = 0xff;

impl State {
    /// Call it on a canonical state.
    pub fn encoded(&self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(160);
        let Budgets {
            admin,
            tenant,
            crashes,
            faults,
        } = self.left;
        bytes.extend([admin, tenant, crashes, faults]);
        tiers(&mut bytes, self.tiers);
        bytes.extend(self.tier_uids);
        bytes.extend(self.labels);
        self.policies.iter().for_each(|policies| shelf(&mut bytes, policies));
        bytes.push(self.tier_events.len() as u8);
        for (tier, variant) in &self.tier_events {
            bytes.extend([*tier, variant.unwrap_or(NOTHING)]);
        }
        bytes.push(self.namespace_events.len() as u8);
        for (namespace, labels) in &self.namespace_events {
            bytes.extend([*namespace, *labels]);
        }
        bytes.push(self.policy_events.len() as u8);
        for event in &self.policy_events {
            bytes.extend([event.namespace, event.policy, u8::from(event.deleted)]);
            object(&mut bytes, event.object);
        }
        self.encode_controller(&mut bytes);
        bytes.into()
    }

    fn encode_controller(&self, bytes: &mut Vec<u8>) {
        let controller = &self.controller;
        bytes.extend(controller.listed.map(u8::from));
        tiers(bytes, controller.tiers);
        bytes.extend(controller.labels);
        bytes.extend(controller.dirty.map(u8::from));
        controller.policies.iter().for_each(|policies| shelf(bytes, policies));
        for acknowledged in controller.acknowledged.iter().flatten() {
            match acknowledged {
                Acknowledged::Nothing => bytes.push(0),
                Acknowledged::Written => bytes.push(1),
                Acknowledged::Deleted(object) => bytes.extend([2, object.uid]),
            }
        }
        for record in controller.records {
            bytes.extend(record.map_or([NOTHING; 2], u16::to_le_bytes));
        }
        controller.work.iter().for_each(|work| encode_work(bytes, work));
    }
}

fn encode_work(bytes: &mut Vec<u8>, work: &Work) {
    match work {
        Work::Idle => bytes.push(0),
        Work::Confirming(confirming) => {
            bytes.push(1);
            encode_writing(bytes, &confirming.writing);
            match confirming.tiers {
                Some(read) => tiers(bytes, read),
                None => bytes.push(NOTHING - 1),
            }
            bytes.extend([
                confirming.labels.unwrap_or(NOTHING),
                u8::from(confirming.moved),
                confirming.freed,
            ]);
        }
        Work::Writing(writing) => {
            bytes.push(2);
            encode_writing(bytes, writing);
        }
    }
}

fn encode_writing(bytes: &mut Vec<u8>, writing: &Writing) {
    bytes.extend(writing.plan.to_le_bytes());
    shelf(bytes, &writing.view);
    bytes.extend([
        u8::from(writing.all_confirmed),
        writing.freed,
        writing.phase,
        writing.committed,
        u8::from(writing.failed),
        u8::from(writing.must_replan),
        u8::from(writing.wrote_all),
        writing.progress.len() as u8,
    ]);
    for (policy, progress) in &writing.progress {
        bytes.push(*policy);
        encode_progress(bytes, *progress);
    }
}

fn encode_progress(bytes: &mut Vec<u8>, progress: Progress) {
    let (kind, answer) = match progress {
        Progress::Waits => (0, None),
        Progress::InFlight => (1, None),
        Progress::Committed(answer) => (2, Some(answer)),
        Progress::Refused => (3, None),
        Progress::Read(answer) => (4, Some(answer)),
        Progress::Unanswered => (5, None),
        Progress::Over => (6, None),
    };
    bytes.push(kind);
    match answer {
        None => {}
        Some(None) => bytes.push(NOTHING),
        Some(Some(read)) => object(bytes, read),
    }
}

fn tiers(bytes: &mut Vec<u8>, tiers: [Option<u8>; 2]) {
    bytes.extend(tiers.map(|variant| variant.unwrap_or(NOTHING)));
}

fn shelf(bytes: &mut Vec<u8>, shelf: &Shelf) {
    for policy in shelf {
        match policy {
            Some(policy) => object(bytes, *policy),
            None => bytes.push(NOTHING),
        }
    }
}

/// The uid comes first: it is never [`NOTHING`].
fn object(bytes: &mut Vec<u8>, object: Object) {
    let [low, high] = object.content.to_le_bytes();
    bytes.extend([object.uid, object.version, low, high]);
}
