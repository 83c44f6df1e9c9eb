//! The plans: each is a workload and one disturbance of it. Their numbers are their places in the list, so a plan keeps its
//! number as long as what is before it does.

use std::sync::Arc;
use std::time::Duration;

use super::stage::Stage;
use super::workload::Workload;
use crate::harness::fault_proxy::{Answer, EventFault, EventRule, Events, Fault, Moment, Nth, RequestRule, Requests};

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

/// A fault at one position of a workload.
#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    /// The controller dies at its k-th write of a policy.
    CrashAtWrite(usize, Moment),
    /// The controller dies at its first write of a status.
    CrashAtStatus(Moment),
    /// As [`Self::CrashAtWrite`], of a controller that leads by a Lease: the next one has to wait for it.
    CrashOfTheLeader(usize, Moment),
    /// The k-th write of a policy goes wrong.
    Write(usize, Mishap),
    /// The k-th write of a status goes wrong: before a release is made, a status says so.
    Status(usize, Mishap),
    /// The first write of a tier's finalizers goes wrong.
    Finalizers(Mishap),
    /// The consistent read before a release goes wrong, or, for the watches' kinds, their lists after a restart.
    Read(&'static str, Reading, Mishap),
    /// Watches of a resource end, and cannot be opened again at once.
    WatchStart(&'static str, Mishap),
    /// The n-th event of a watch goes wrong.
    Event(&'static str, usize, EventFault),
    /// The watches' version has expired, and the list that follows says what stood before the workload.
    StaleList(&'static str),
}

/// Which reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// The GET or LIST before a release.
    BeforeRelease,
    /// The list that a controller which just started begins with.
    AtStart,
}

/// A way for a request to go wrong.
#[derive(Clone, Copy, Debug)]
pub enum Mishap {
    /// This answer, so many times.
    Code(u16, usize),
    /// This answer, to a request that the server carried out.
    CodeAfterCommit(u16),
    /// No answer: the connection is reset.
    Reset(Moment),
    /// Half of the JSON.
    Truncated,
    /// No answer for longer than the controller waits.
    Stall(Moment),
}

/// What was armed for a plan.
pub enum Armed {
    /// A rule about requests.
    Request(Arc<RequestRule>),
    /// A rule about events.
    Event(Arc<EventRule>),
}

const MOMENTS: [Moment; 3] = [Moment::BeforeForwarding, Moment::AfterCommit, Moment::AfterAnswer];
const POLICIES: &str = "networkpolicies";
const TIERS: &str = "isolationtiers";
const NAMESPACES: &str = "namespaces";

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
    (TIERS, Workload::Edit),
    (NAMESPACES, Workload::Relabel),
    (NAMESPACES, Workload::NewNamespace),
    (POLICIES, Workload::Drift),
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
    let swallowed = (1..=4).map(|nth| (Workload::Drift, Disturbance::Event(POLICIES, nth, EventFault::Swallow)));
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
        read(NAMESPACES, Moment::BeforeForwarding),
        read(TIERS, Moment::BeforeForwarding),
        read(TIERS, Moment::AfterCommit),
        (
            Workload::Edit,
            Disturbance::WatchStart(TIERS, Mishap::Stall(Moment::BeforeForwarding)),
        ),
        (
            Workload::Drift,
            Disturbance::WatchStart(POLICIES, Mishap::Stall(Moment::BeforeForwarding)),
        ),
    ]
}

fn read_faults(workload: Workload) -> Vec<(Workload, Disturbance)> {
    let before = [NAMESPACES, TIERS].into_iter();
    let before =
        before.flat_map(|resource| ON_READS.map(|mishap| Disturbance::Read(resource, Reading::BeforeRelease, mishap)));
    let at_start = [NAMESPACES, TIERS, POLICIES].into_iter();
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
    let tiers = of_tiers.into_iter().map(stale(TIERS));
    let namespaces = of_namespaces.into_iter().map(stale(NAMESPACES));
    let policies = of_policies.into_iter().map(stale(POLICIES));
    tiers.chain(namespaces).chain(policies).collect()
}

impl Mishap {
    fn fault(self) -> (Fault, usize) {
        match self {
            Self::Code(code, times) => (Fault::Answer(Answer::usual(code)), times),
            Self::CodeAfterCommit(code) => (Fault::AnswerAfterCommit(Answer::usual(code)), 1),
            Self::Reset(moment) => (Fault::Reset(moment), 1),
            Self::Truncated => (Fault::TruncatedJson, 1),
            Self::Stall(moment) => (Fault::Stall(moment), 1),
        }
    }
}

impl Disturbance {
    /// Prepares the stage, which has settled before the workload's change.
    pub async fn arm(self, stage: &mut Stage) -> Armed {
        let writes = || Requests::writes().of(POLICIES);
        let on_requests = |stage: &Stage, which, first, mishap: Mishap| {
            let (fault, times) = mishap.fault();
            Armed::Request(stage.proxy.on(which, Nth::from(first, times), fault))
        };
        match self {
            Self::CrashAtWrite(k, moment) | Self::CrashOfTheLeader(k, moment) => {
                Armed::Request(stage.proxy.on(writes(), Nth::only(k), Fault::Crash(moment)))
            }
            Self::CrashAtStatus(moment) => {
                let status = Requests::writes().of_subresource(TIERS, "status");
                Armed::Request(stage.proxy.on(status, Nth::only(1), Fault::Crash(moment)))
            }
            Self::Write(k, mishap) => on_requests(stage, writes(), k, mishap),
            Self::Status(k, mishap) => {
                on_requests(stage, Requests::writes().of_subresource(TIERS, "status"), k, mishap)
            }
            Self::Finalizers(mishap) => on_requests(stage, Requests::writes().of(TIERS), 1, mishap),
            Self::Read(resource, Reading::BeforeRelease, mishap) => {
                on_requests(stage, Requests::reads().of(resource), 1, mishap)
            }
            Self::Read(resource, Reading::AtStart, mishap) => {
                let armed = on_requests(stage, Requests::with(&["list"]).of(resource), 1, mishap);
                stage.restart_controller();
                armed
            }
            Self::WatchStart(resource, mishap) => {
                let watches = Requests::watches().of(resource);
                let armed = on_requests(stage, watches.clone(), 1, mishap);
                stage.proxy.close_watches(watches);
                armed
            }
            Self::Event(resource, nth, fault) => {
                let watches = Requests::watches().of(resource);
                Armed::Event(stage.proxy.on_events(watches, Events::any(), Nth::only(nth), fault))
            }
            Self::StaleList(resource) => stale_list(stage, resource).await,
        }
    }

    /// Whether it is at a write whose number must not change: then writes come one after another.
    pub fn wants_writes_in_order(self) -> bool {
        matches!(self, Self::CrashAtWrite(..) | Self::CrashOfTheLeader(..))
    }

    /// What the controller is told beside what every plan tells it.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::CrashOfTheLeader(..) => &[
                "--leader-elect=true",
                "--lease-duration=3s",
                "--renew-deadline=2s",
                "--retry-period=500ms",
            ],
            // What the watch swallowed, only the next list shows.
            Self::Event(_, _, EventFault::Swallow) => &["--relist-interval=2s"],
            _ => &[],
        }
    }

    /// Whether the controller may write more often than the undisturbed one: it was told, for a while, what is no longer so.
    pub fn may_write_more(self) -> bool {
        matches!(self, Self::StaleList(_))
    }
}

// The first event of the change finds an expired version, and the list that follows knows nothing of the change.
async fn stale_list(stage: &Stage, resource: &'static str) -> Armed {
    let path = match resource {
        TIERS => "/apis/cofferdam.dev/v1alpha1/isolationtiers",
        POLICIES => "/apis/networking.k8s.io/v1/networkpolicies",
        _ => "/api/v1/namespaces",
    };
    let older = stage.proxy.list_now(path).await;
    let watches = Requests::watches().of(resource);
    stage
        .proxy
        .on_events(watches, Events::any(), Nth::only(1), EventFault::Expired);
    let lists = Requests::with(&["list"]).of(resource);
    Armed::Request(
        stage
            .proxy
            .on(lists, Nth::only(1), Fault::Answer(Answer::replay(older))),
    )
}

impl Armed {
    /// How often the fault came.
    pub fn struck(&self) -> usize {
        match self {
            Self::Request(rule) => rule.struck(),
            Self::Event(rule) => rule.struck(),
        }
    }
}

impl std::fmt::Display for Disturbance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CrashAtWrite(k, moment) => write!(formatter, "crash at write {k}, {}", in_words(*moment)),
            Self::CrashOfTheLeader(k, moment) => {
                write!(formatter, "crash of the leader at write {k}, {}", in_words(*moment))
            }
            Self::CrashAtStatus(moment) => write!(formatter, "crash at the first status, {}", in_words(*moment)),
            Self::Write(k, mishap) => write!(formatter, "write {k}: {mishap}"),
            Self::Status(k, mishap) => write!(formatter, "status {k}: {mishap}"),
            Self::Finalizers(mishap) => write!(formatter, "finalizers: {mishap}"),
            Self::Read(what, Reading::BeforeRelease, mishap) => write!(formatter, "{what} before a release: {mishap}"),
            Self::Read(what, Reading::AtStart, mishap) => write!(formatter, "list of {what} at the start: {mishap}"),
            Self::WatchStart(what, mishap) => write!(formatter, "watch of {what} opened again: {mishap}"),
            Self::Event(what, nth, fault) => write!(formatter, "event {nth} of {what}: {fault:?}"),
            Self::StaleList(what) => write!(formatter, "list of {what} is stale"),
        }
    }
}

impl std::fmt::Display for Mishap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code, 1) => write!(formatter, "{code}"),
            Self::Code(code, times) => write!(formatter, "{code}, {times} times"),
            Self::CodeAfterCommit(code) => write!(formatter, "{code}, though committed"),
            Self::Reset(moment) => write!(formatter, "connection reset, {}", in_words(*moment)),
            Self::Truncated => formatter.write_str("half of the JSON"),
            Self::Stall(moment) => write!(formatter, "no answer, {}", in_words(*moment)),
        }
    }
}

fn in_words(moment: Moment) -> &'static str {
    match moment {
        Moment::BeforeForwarding => "before it is forwarded",
        Moment::AfterCommit => "committed, not answered",
        Moment::AfterAnswer => "answered",
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let workload = format!("{:?}", self.workload);
        write!(formatter, "{:>4}  {workload:<13} {}", self.number, self.disturbance)
    }
}
