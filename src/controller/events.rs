//! Events for people, published beside the work: a slow or refused Event delays no write, and there are only so many of
//! them; see [`super::talk_budget`].

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use super::client::within_deadline;
use super::talk_budget::SharedTalkBudget;
use crate::api::names::{API_VERSION, FIELD_MANAGER, TIER_KIND};
use crate::policy::widening::{Severity, Widening};
use crate::policy::{DriftKind, Namespace, PolicyName, TierIdentity, words};
use crate::telemetry::metrics::{DroppedEvent, Metrics};

/// Events that wait to be published, two for each thing that is said at once at most. Beyond that they are dropped: metrics
/// count what happened, Events only illustrate it.
const WAITING: usize = 2048;
/// The recorder names an Event after its object, with a dot and the time in hexadecimal digits, and the API server takes
/// names of at most 253 characters.
const LONGEST_NAME: usize = 253 - 1 - 16;
/// That Events were dropped is logged at most this often.
const DROPS_LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Where Events are handed in.
#[derive(Clone)]
pub(super) struct Events {
    sender: mpsc::Sender<(Event, ObjectReference)>,
    budget: Arc<SharedTalkBudget>,
    drops: Drops,
}

/// Counts what is not published, and says so now and then.
#[derive(Clone)]
struct Drops {
    metrics: Arc<Metrics>,
    logged: Arc<Mutex<Option<Instant>>>,
}

impl Events {
    /// Where they are handed in, and what publishes them as long as it runs.
    pub(super) fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        let logged = Arc::default();
        let drops = Drops { metrics, logged };
        let refused = drops.clone();
        let publishing = async move {
            let reporter = Reporter {
                controller: FIELD_MANAGER.to_owned(),
                instance: None,
            };
            let recorder = Recorder::new(client, reporter);
            while let Some((event, regarding)) = waiting.recv().await {
                if let Err(error) = within_deadline(recorder.publish(&event, &regarding)).await {
                    tracing::debug!(%error, "an Event was not published");
                    refused.count(DroppedEvent::Refused);
                }
            }
        };
        let events = Self {
            sender,
            budget: Arc::new(SharedTalkBudget::new()),
            drops,
        };
        (events, publishing)
    }

    /// Whether one more thing about a namespace is said, in Events and in the log. To be asked once for each.
    pub(super) fn have_room_for(&self, namespace: &str) -> bool {
        let spent = self.budget.spend(namespace);
        spent.inspect_err(|why| self.drops.count(*why)).is_ok()
    }

    /// A drift was healed; `what` says what had happened.
    pub(super) fn healed(
        &self,
        tier: &TierIdentity,
        namespace: &Namespace,
        policy: &PolicyName,
        kind: DriftKind,
        what: &str,
    ) {
        let (action, now) = match kind {
            DriftKind::Missing => ("Recreate", "is back"),
            DriftKind::Modified => ("Restore", "is as rendered again"),
            DriftKind::Disowned => ("MarkAgain", "is marked as ours again"),
            DriftKind::Surplus => ("Delete", "was deleted"),
        };
        let note = format!("NetworkPolicy {}/{policy} {now}; it was {what}", namespace.name);
        self.publish("DriftHealed", action, note, tier, namespace, policy);
    }

    /// A policy that stood under a reserved name was taken over.
    pub(super) fn taken_over(&self, tier: &TierIdentity, namespace: &Namespace, policy: &PolicyName) {
        let note = format!(
            "NetworkPolicy {}/{policy} stood where a policy of tier {} must stand; its content was replaced",
            namespace.name, tier.name
        );
        self.publish("TakenOver", "TakeOver", note, tier, namespace, policy);
    }

    /// Somebody undoes what we write as often as we write it.
    pub(super) fn contested(&self, tier: &TierIdentity, namespace: &Namespace, policy: &PolicyName, what: &str) {
        let note = format!("NetworkPolicy {}/{policy} is {what}", namespace.name);
        self.publish("Contested", "BackOff", note, tier, namespace, policy);
    }

    /// Somebody else's policy allows more beyond the tier than it did.
    pub(super) fn widened(&self, tier: &TierIdentity, namespace: &str, widening: &Widening) {
        let action = match widening.severity {
            Severity::Port => "AllowPort",
            Severity::Cluster => "AllowCluster",
            Severity::External => "AllowExternal",
            Severity::Open => "AllowEverything",
        };
        let policy = policy_reference(namespace, &widening.policy);
        self.publish_of(words::WIDENED, action, widening.in_words(0), tier, policy);
    }

    /// A tier's summary condition changed.
    pub(super) fn condition_changed(&self, tier: &TierIdentity, ready: bool, reason: &str, message: &str) {
        let type_ = if ready { EventType::Normal } else { EventType::Warning };
        self.send(
            type_,
            reason,
            "Reconcile",
            message.to_owned(),
            tier_reference(tier),
            None,
        );
    }

    /// One Event about the policy and one about the tier. Each names the other as related, and the action tells the
    /// kinds of drift apart: Events that agree in all of these are one Event, which keeps its first note.
    fn publish(
        &self,
        reason: &str,
        action: &str,
        note: String,
        tier: &TierIdentity,
        namespace: &Namespace,
        policy: &PolicyName,
    ) {
        let policy = policy_reference(&namespace.name, &policy.to_string());
        self.publish_of(reason, action, note, tier, policy);
    }

    fn publish_of(&self, reason: &str, action: &str, note: String, tier: &TierIdentity, policy: ObjectReference) {
        let tier = tier_reference(tier);
        let related = Some(tier.clone());
        if policy.name.as_ref().is_some_and(|name| name.len() <= LONGEST_NAME) {
            let (note, policy) = (note.clone(), policy.clone());
            self.send(EventType::Warning, reason, action, note, policy, related);
        }
        self.send(EventType::Warning, reason, action, note, tier, Some(policy));
    }

    fn send(
        &self,
        type_: EventType,
        reason: &str,
        action: &str,
        note: String,
        regarding: ObjectReference,
        related: Option<ObjectReference>,
    ) {
        let note = shortened(note);
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: related,
        };
        if self.sender.try_send((event, regarding)).is_err() {
            self.drops.count(DroppedEvent::Waiting);
        }
    }
}

impl Drops {
    fn count(&self, why: DroppedEvent) {
        self.metrics.event_dropped(why);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= DROPS_LOGGED_EVERY) {
            *logged = Some(Instant::now());
            tracing::warn!(
                ?why,
                "an Event was not published; cofferdam_events_dropped_total counts all of them, this is said once a minute"
            );
        }
    }
}

fn tier_reference(tier: &TierIdentity) -> ObjectReference {
    ObjectReference {
        api_version: Some(API_VERSION.to_owned()),
        kind: Some(TIER_KIND.to_owned()),
        name: Some(tier.name.to_string()),
        uid: Some(tier.uid.to_string()),
        ..ObjectReference::default()
    }
}

/// The API server refuses an Event whose note is longer than 1024 bytes (`NoteLengthLimit` of its validation).
fn shortened(mut note: String) -> String {
    const LONGEST_NOTE: usize = 1024;
    const CUT_OFF: &str = "...";
    if note.len() > LONGEST_NOTE {
        let cut = (0..=LONGEST_NOTE - CUT_OFF.len())
            .rev()
            .find(|index| note.is_char_boundary(*index));
        note.truncate(cut.unwrap_or_default());
        note.push_str(CUT_OFF);
    }
    note
}

fn policy_reference(namespace: &str, policy: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(String::from("networking.k8s.io/v1")),
        kind: Some(String::from("NetworkPolicy")),
        namespace: Some(namespace.to_owned()),
        name: Some(policy.to_owned()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests;
