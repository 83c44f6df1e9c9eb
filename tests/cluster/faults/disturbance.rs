//! What goes wrong: a fault at one position of a workload, and how it is armed.

use std::sync::Arc;

use super::stage::Stage;
use crate::harness::fault_proxy::{Answer, EventFault, EventRule, Events, Fault, Moment, Nth, RequestRule, Requests};

pub const POLICY_RESOURCE: &str = "networkpolicies";
pub const TIER_RESOURCE: &str = "isolationtiers";
pub const NAMESPACE_RESOURCE: &str = "namespaces";

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
        let writes = || Requests::writes().of(POLICY_RESOURCE);
        let on_requests = |stage: &Stage, which, first, mishap: Mishap| {
            let (fault, times) = mishap.fault();
            Armed::Request(stage.proxy.on(which, Nth::from(first, times), fault))
        };
        match self {
            Self::CrashAtWrite(k, moment) | Self::CrashOfTheLeader(k, moment) => {
                Armed::Request(stage.proxy.on(writes(), Nth::only(k), Fault::Crash(moment)))
            }
            Self::CrashAtStatus(moment) => {
                let status = Requests::writes().of_subresource(TIER_RESOURCE, "status");
                Armed::Request(stage.proxy.on(status, Nth::only(1), Fault::Crash(moment)))
            }
            Self::Write(k, mishap) => on_requests(stage, writes(), k, mishap),
            Self::Status(k, mishap) => on_requests(
                stage,
                Requests::writes().of_subresource(TIER_RESOURCE, "status"),
                k,
                mishap,
            ),
            Self::Finalizers(mishap) => on_requests(stage, Requests::writes().of(TIER_RESOURCE), 1, mishap),
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
        TIER_RESOURCE => "/apis/cofferdam.dev/v1alpha1/isolationtiers",
        POLICY_RESOURCE => "/apis/networking.k8s.io/v1/networkpolicies",
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
