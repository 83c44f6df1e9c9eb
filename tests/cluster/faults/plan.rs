//! The plans: each is a workload and one disturbance of it. Their numbers are their places in the list, so a plan keeps its
//! number as long as what is before it does.

use std::time::Duration;

use super::disturbance::{Disturbance, Mishap, NAMESPACE_RESOURCE, POLICY_RESOURCE, Reading, TIER_RESOURCE};
use super::workload::Workload;
use crate::harness::fault_proxy::{EventFault, Moment};

/// One plan.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Counted from 1.
    pub number: usize,
    /// What happens beside the fault.
    pub workload: Workload,
    /// The fault, and where.
    pub disturbance: Disturbance,
}

const MOMENTS: [Moment; 3] = [Moment::BeforeForwarding, Moment::AfterCommit, Moment::AfterAnswer];

// 403 for as long as a role takes to come back, the others once or twice.
const ON_WRITES: [Mishap; 16] = [
    Mishap::Code(409, 1),
    Mishap::Code(410, 1),
    Mishap::Code(422, 1),
    Mishap::Code(403, 4),
    Mishap::Code(404, 1),
    Mishap::Code(429, 2),
    Mishap::Code(500, 1),
    Mishap::Code(503, 3),
    Mishap::Code(504, 1),
    Mishap::CodeAfterCommit(504),
    Mishap::CodeAfterCommit(500),
    Mishap::Reset(Moment::BeforeForwarding),
    Mishap::Reset(Moment::AfterCommit),
    Mishap::Reset(Moment::AfterAnswer),
    Mishap::Truncated,
    Mishap::Stall(Moment::AfterCommit),
];

const ON_READS: [Mishap; 10] = [
    Mishap::Code(403, 2),
    Mishap::Code(404, 1),
    Mishap::Code(410, 1),
    Mishap::Code(429, 2),
    Mishap::Code(500, 2),
    Mishap::Code(503, 1),
    Mishap::Code(504, 1),
    Mishap::Reset(Moment::BeforeForwarding),
    Mishap::Reset(Moment::AfterAnswer),
    Mishap::Truncated,
];

// Which watch tells of which workload.
const SEEN_BY: [(&str, Workload); 5] = [
    (TIER_RESOURCE, Workload::Edit),
    (NAMESPACE_RESOURCE, Workload::Relabel),
    (NAMESPACE_RESOURCE, Workload::NewNamespace),
    (POLICY_RESOURCE, Workload::Drift),
    ("endpointslices", Workload::Facts),
];

const ON_EVENTS: [EventFault; 7] = [
    EventFault::Close,
    EventFault::Reset,
    EventFault::Truncate,
    EventFault::Expired,
    EventFault::Duplicate,
    EventFault::Delay(Duration::from_millis(700)),
    EventFault::Coalesce(Duration::from_millis(400)),
];

/// Every plan, in the order of their numbers.
pub fn all_plans() -> Vec<Plan> {
    let crashes = Workload::ALL.into_iter().flat_map(crashes);
    let writes = [Workload::Edit, Workload::Drift, Workload::Leave, Workload::Outrank];
    let writes = writes.into_iter().flat_map(write_faults);
    let reads = [Workload::Leave, Workload::Narrow].into_iter().flat_map(read_faults);
    let watches = watch_faults();
    let stale = stale_lists();
    let plans = crashes.chain(writes).chain(reads).chain(watches).chain(stale);
    // New ones come last, so that the others keep their numbers.
    let plans = plans
        .chain(silent_watches())
        .chain(definition_faults())
        .chain(stalls())
        .chain(crashes_of_leaders());
    let plans = plans.chain(Workload::LATER.into_iter().flat_map(self::crashes));
    let plans = plans.chain(status_faults()).chain(finalizer_faults());
    let numbered = plans.zip(1..);
    numbered
        .map(|((workload, disturbance), number)| Plan {
            number,
            workload,
            disturbance,
        })
        .collect()
}

fn crashes(workload: Workload) -> Vec<(Workload, Disturbance)> {
    let at_writes = (1..=workload.writes()).flat_map(|k| MOMENTS.map(|moment| Disturbance::CrashAtWrite(k, moment)));
    let at_status = MOMENTS.map(Disturbance::CrashAtStatus).into_iter();
    let at_status = at_status.filter(|_| workload.changes_a_status());
    at_writes.chain(at_status).map(|crash| (workload, crash)).collect()
}

fn write_faults(workload: Workload) -> Vec<(Workload, Disturbance)> {
    let positions = [1, workload.writes() - 1];
    let faults = positions
        .into_iter()
        .flat_map(|k| ON_WRITES.map(|mishap| Disturbance::Write(k, mishap)));
    faults.map(|fault| (workload, fault)).collect()
}

// Where something is released, so that the status comes first.
fn status_faults() -> Vec<(Workload, Disturbance)> {
    let places = [
        (Workload::Leave, 1),
        (Workload::Leave, 2),
        (Workload::Narrow, 1),
        (Workload::Remove, 1),
        (Workload::Confirm, 1),
        (Workload::Confirm, 2),
    ];
    let stall = Mishap::Stall(Moment::BeforeForwarding);
    let faults = places.into_iter().flat_map(|(workload, k)| {
        let mishaps = ON_WRITES.into_iter().chain([stall]);
        mishaps.map(move |mishap| (workload, Disturbance::Status(k, mishap)))
    });
    faults.collect()
}

fn finalizer_faults() -> Vec<(Workload, Disturbance)> {
    let workloads = [Workload::Remove, Workload::RemoveToNext].into_iter();
    let faults = workloads.flat_map(|workload| ON_WRITES.map(|mishap| (workload, Disturbance::Finalizers(mishap))));
    faults.collect()
}

fn crashes_of_leaders() -> Vec<(Workload, Disturbance)> {
    let places = [
        (Workload::Edit, 1),
        (Workload::Edit, 5),
        (Workload::Leave, 2),
        (Workload::Drift, 3),
    ];
    let crashes = places.into_iter();
    crashes
        .flat_map(|(workload, k)| MOMENTS.map(|moment| (workload, Disturbance::CrashOfTheLeader(k, moment))))
        .collect()
}

// What ends by itself only after a minute, and what only a list beside the watch shows.
fn silent_watches() -> Vec<(Workload, Disturbance)> {
    let silent = SEEN_BY.map(|(resource, workload)| (workload, Disturbance::Event(resource, 1, EventFault::Silence)));
    let swallowed = (1..=4).map(|nth| {
        (
            Workload::Drift,
            Disturbance::Event(POLICY_RESOURCE, nth, EventFault::Swallow),
        )
    });
    silent.into_iter().chain(swallowed).collect()
}

// A tier that is gone is looked at again: it went alone, or its definition goes.
fn definition_faults() -> Vec<(Workload, Disturbance)> {
    let definition = "customresourcedefinitions";
    let faults = [Workload::HandOver, Workload::Recreate].into_iter();
    faults
        .flat_map(|workload| {
            ON_READS.map(|mishap| (workload, Disturbance::Read(definition, Reading::BeforeRelease, mishap)))
        })
        .collect()
}

fn stalls() -> Vec<(Workload, Disturbance)> {
    let write = |workload, k, moment| (workload, Disturbance::Write(k, Mishap::Stall(moment)));
    let read = |resource, moment| {
        let stall = Mishap::Stall(moment);
        (
            Workload::Leave,
            Disturbance::Read(resource, Reading::BeforeRelease, stall),
        )
    };
    vec![
        write(Workload::Create, 1, Moment::BeforeForwarding),
        write(Workload::Edit, 1, Moment::BeforeForwarding),
        write(Workload::Leave, 2, Moment::BeforeForwarding),
        write(Workload::TakeOver, 1, Moment::AfterCommit),
        read(NAMESPACE_RESOURCE, Moment::BeforeForwarding),
        read(TIER_RESOURCE, Moment::BeforeForwarding),
        read(TIER_RESOURCE, Moment::AfterCommit),
        (
            Workload::Edit,
            Disturbance::WatchStart(TIER_RESOURCE, Mishap::Stall(Moment::BeforeForwarding)),
        ),
        (
            Workload::Drift,
            Disturbance::WatchStart(POLICY_RESOURCE, Mishap::Stall(Moment::BeforeForwarding)),
        ),
    ]
}

fn read_faults(workload: Workload) -> Vec<(Workload, Disturbance)> {
    let before = [NAMESPACE_RESOURCE, TIER_RESOURCE].into_iter();
    let before =
        before.flat_map(|resource| ON_READS.map(|mishap| Disturbance::Read(resource, Reading::BeforeRelease, mishap)));
    let at_start = [NAMESPACE_RESOURCE, TIER_RESOURCE, POLICY_RESOURCE].into_iter();
    let at_start =
        at_start.flat_map(|resource| ON_READS.map(|mishap| Disturbance::Read(resource, Reading::AtStart, mishap)));
    // One workload says enough of a start.
    let at_start = at_start.filter(|_| workload == Workload::Leave);
    before.chain(at_start).map(|fault| (workload, fault)).collect()
}

fn watch_faults() -> Vec<(Workload, Disturbance)> {
    let starts = SEEN_BY
        .into_iter()
        .flat_map(|(resource, workload)| ON_READS.map(|mishap| (workload, Disturbance::WatchStart(resource, mishap))));
    let events = SEEN_BY.into_iter().flat_map(|(resource, workload)| {
        let last = if matches!(workload, Workload::Drift | Workload::Relabel) {
            2
        } else {
            1
        };
        (1..=last).flat_map(move |nth| ON_EVENTS.map(|fault| (workload, Disturbance::Event(resource, nth, fault))))
    });
    starts.chain(events).collect()
}

// Only where the change itself writes an object of that resource: the list is made stale by the first event of its watch.
fn stale_lists() -> Vec<(Workload, Disturbance)> {
    let of_tiers = [
        Workload::Create,
        Workload::Edit,
        Workload::Narrow,
        Workload::Widen,
        Workload::Outrank,
        Workload::Enforce,
        Workload::HandOver,
        Workload::Recreate,
        Workload::Remove,
    ];
    let of_namespaces = [Workload::Leave, Workload::Relabel, Workload::NewNamespace];
    let of_policies = [
        Workload::Edit,
        Workload::Widen,
        Workload::Outrank,
        Workload::Relabel,
        Workload::Drift,
        Workload::NewNamespace,
    ];
    let stale = |resource| move |workload| (workload, Disturbance::StaleList(resource));
    let tiers = of_tiers.into_iter().map(stale(TIER_RESOURCE));
    let namespaces = of_namespaces.into_iter().map(stale(NAMESPACE_RESOURCE));
    let policies = of_policies.into_iter().map(stale(POLICY_RESOURCE));
    tiers.chain(namespaces).chain(policies).collect()
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let workload = format!("{:?}", self.workload);
        write!(formatter, "{:>4}  {workload:<13} {}", self.number, self.disturbance)
    }
}
