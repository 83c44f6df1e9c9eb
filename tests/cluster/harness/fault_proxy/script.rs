//! Which fault comes when: rules that count what they match.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::api_request::{ApiRequest, Requests};
use super::fault::{EventFault, EventLine, Events, Fault};

/// Which of the requests or events that match: from the first to the last of these numbers, counted from 1.
#[derive(Clone, Copy, Debug)]
pub struct Nth {
    first: usize,
    last: usize,
}

/// One rule; it counts what it matches, also while it does nothing.
#[derive(Debug)]
pub struct Rule<Which, Does> {
    which: Which,
    nth: Nth,
    does: Does,
    matched: AtomicUsize,
    struck: AtomicUsize,
    lifted: watch::Sender<bool>,
}

/// A rule about requests.
pub type RequestRule = Rule<Requests, Fault>;
/// A rule about the events of watches.
pub type EventRule = Rule<(Requests, Events), EventFault>;

/// The rules, in the order in which they were made: of those that apply, the first acts.
#[derive(Debug, Default)]
pub struct Script {
    requests: Mutex<Vec<Arc<RequestRule>>>,
    events: Mutex<Vec<Arc<EventRule>>>,
}

impl Nth {
    /// This one alone.
    pub fn only(number: usize) -> Self {
        Self {
            first: number,
            last: number,
        }
    }

    /// As many as this, from the first on.
    pub fn first(count: usize) -> Self {
        Self { first: 1, last: count }
    }

    /// As many as this, from that number on.
    pub fn from(first: usize, count: usize) -> Self {
        Self {
            first,
            last: first + count - 1,
        }
    }

    /// All, until the rule is lifted.
    pub fn every() -> Self {
        Self {
            first: 1,
            last: usize::MAX,
        }
    }
}

impl<Which, Does> Rule<Which, Does> {
    fn new(which: Which, nth: Nth, does: Does) -> Arc<Self> {
        Arc::new(Self {
            which,
            nth,
            does,
            matched: AtomicUsize::new(0),
            struck: AtomicUsize::new(0),
            lifted: watch::Sender::new(false),
        })
    }

    /// What it does.
    pub fn does(&self) -> &Does {
        &self.does
    }

    /// How many requests or events it matched so far.
    pub fn matched(&self) -> usize {
        self.matched.load(Ordering::SeqCst)
    }

    /// How often it acted so far.
    pub fn struck(&self) -> usize {
        self.struck.load(Ordering::SeqCst)
    }

    /// Ends it, and what it holds up.
    pub fn lift(&self) {
        self.lifted.send_replace(true);
    }

    /// Returns once it is lifted.
    pub async fn wait_until_lifted(&self) {
        // The sender lives in self, so this cannot fail.
        let _ = self.lifted.subscribe().wait_for(|lifted| *lifted).await;
    }

    fn strikes(&self) -> bool {
        let number = self.matched.fetch_add(1, Ordering::SeqCst) + 1;
        !*self.lifted.borrow() && (self.nth.first..=self.nth.last).contains(&number)
    }

    fn count_strike(&self) {
        self.struck.fetch_add(1, Ordering::SeqCst);
    }
}

impl Script {
    /// Adds a rule about requests.
    pub fn on_requests(&self, which: Requests, nth: Nth, fault: Fault) -> Arc<RequestRule> {
        let rule = Rule::new(which, nth, fault);
        self.requests.lock().expect("no panic holds it").push(Arc::clone(&rule));
        rule
    }

    /// Adds a rule about the events of these watches.
    pub fn on_events(&self, watches: Requests, events: Events, nth: Nth, fault: EventFault) -> Arc<EventRule> {
        let rule = Rule::new((watches, events), nth, fault);
        self.events.lock().expect("no panic holds it").push(Arc::clone(&rule));
        rule
    }

    /// Ends every rule.
    pub fn lift_all(&self) {
        for rule in self.requests.lock().expect("no panic holds it").drain(..) {
            rule.lift();
        }
        for rule in self.events.lock().expect("no panic holds it").drain(..) {
            rule.lift();
        }
    }

    /// What happens to this request.
    pub fn strikes_request(&self, request: &ApiRequest) -> Option<Arc<RequestRule>> {
        let rules = self.requests.lock().expect("no panic holds it");
        first(rules.iter().filter(|rule| rule.which.include(request)))
    }

    /// What happens to this event of that watch.
    pub fn strikes_event(&self, watch: &ApiRequest, line: &EventLine) -> Option<Arc<EventRule>> {
        let rules = self.events.lock().expect("no panic holds it");
        let concerned = |rule: &&Arc<EventRule>| rule.which.0.include(watch) && rule.which.1.include(line);
        first(rules.iter().filter(concerned))
    }
}

// All of them count; the first whose turn it is acts.
fn first<'a, Which: 'a, Does: 'a>(
    concerned: impl Iterator<Item = &'a Arc<Rule<Which, Does>>>,
) -> Option<Arc<Rule<Which, Does>>> {
    let striking: Vec<_> = concerned.filter(|rule| rule.strikes()).collect();
    let rule = striking.first()?;
    rule.count_strike();
    Some(Arc::clone(rule))
}
