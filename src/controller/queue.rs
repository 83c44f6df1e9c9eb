//! What is to be done next: a keyed queue with priorities, due times and back-off.
//!
//! A pure state machine. It holds no clock and never waits: every call that needs the time takes it
//! as an argument, and [`crate::controller::work`] does the waiting. The time must not run backwards
//! between calls.
//!
//! **Invariants.** A key waits at most once and is in flight at most once. What is pushed for a key
//! in flight is remembered and waits again as soon as the flight ends: no change is ever lost, and no
//! key is ever worked on twice at a time. Pushing never makes a key later or less urgent.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Why a key waits. The order is the priority: the first is served first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// A direction that should be isolated is open.
    Unprotected,
    /// Somebody else changed what is ours.
    Drift,
    /// A tier, a namespace or a fact about the cluster changed.
    Change,
    /// Nothing is known to have happened: every namespace is looked at now and then.
    Audit,
}

/// What [`Queue::pop`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Popped<K> {
    /// The key is now in flight, until [`Queue::succeeded`] or [`Queue::retry`].
    Ready {
        /// What to work on.
        key: K,
        /// The best class that it was pushed with.
        class: Class,
        /// When it was first pushed since its last success or end of flight, or was due if that is later; retries
        /// keep it.
        queued_since: Instant,
    },
    /// Keys wait, and none is due before this time.
    NotBefore(Instant),
    /// Nothing waits.
    Empty,
}

/// The queue. Every operation takes logarithmic time, for any number of keys.
#[derive(Debug)]
pub struct Queue<K> {
    waiting: HashMap<K, Waiting>,
    /// Not known to be due yet, by due time; the sequence number only tells equal times apart.
    delayed: BTreeMap<(Instant, u64), K>,
    /// Known to be due, by the order of their first push into the class; one map for each class.
    ready: [BTreeMap<u64, K>; Class::ALL.len()],
    in_flight: HashMap<K, Flight>,
    failures: HashMap<K, u32>,
    next_sequence: u64,
}

/// Work that was asked for and is not in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Request {
    class: Class,
    due: Instant,
    since: Instant,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    sequence: u64,
}

#[derive(Debug)]
struct Flight {
    since: Instant,
    /// What was asked for meanwhile.
    again: Option<Request>,
}

/// The wait after a first failure; it doubles with each further one.
const BACK_OFF_BASE: Duration = Duration::from_millis(50);
/// The longest wait after a failure.
const BACK_OFF_CAP: Duration = Duration::from_secs(30);

/// How long to wait after so many failures in a row: 50 ms doubling up to 30 s, less up to a quarter.
///
/// The quarter depends on the key and the count alone. It spreads keys that failed together, and
/// leaves the queue a function of its inputs.
pub fn back_off<K: Hash>(key: &K, failures: u32) -> Duration {
    let doubled = 1_u32
        .checked_shl(failures.saturating_sub(1))
        .and_then(|factor| BACK_OFF_BASE.checked_mul(factor));
    let longest = doubled.map_or(BACK_OFF_CAP, |delay| delay.min(BACK_OFF_CAP));
    longest - longest / 1024 * jitter(key, failures)
}

/// Up to a quarter, in 1024ths.
fn jitter<K: Hash>(key: &K, failures: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    (key, failures).hash(&mut hasher);
    u32::from(hasher.finish().to_le_bytes()[0])
}

impl Class {
    /// Every class, the most urgent first.
    pub const ALL: [Class; 4] = [Class::Unprotected, Class::Drift, Class::Change, Class::Audit];
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            delayed: BTreeMap::new(),
            ready: std::array::from_fn(|_| BTreeMap::new()),
            in_flight: HashMap::new(),
            failures: HashMap::new(),
            next_sequence: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Asks for work on a key, not before `due`.
    ///
    /// A key that waits already keeps its place unless this class is better or this time earlier.
    pub fn push(&mut self, key: K, class: Class, due: Instant, now: Instant) {
        // A look that is asked for in advance waits from its time on.
        let since = due.max(now);
        let asked = Request { class, due, since };
        if let Some(flight) = self.in_flight.get_mut(&key) {
            flight.again = Some(flight.again.map_or(asked, |again| again.merged(asked)));
        } else {
            self.wait(key, asked);
        }
    }

    /// Forgets that a key waits.
    pub fn withdraw(&mut self, key: &K) {
        self.take(key);
    }

    /// Takes the key to work on now: of those that are due, the best class, and of those the one that
    /// was pushed into the class first.
    pub fn pop(&mut self, now: Instant) -> Popped<K> {
        self.note_what_is_due(now);
        let Some(key) = self.ready.iter_mut().find_map(|class| Some(class.pop_first()?.1)) else {
            return match self.delayed.first_key_value() {
                Some(((due, _), _)) => Popped::NotBefore(*due),
                None => Popped::Empty,
            };
        };
        let Some(Waiting { request, .. }) = self.take(&key) else {
            return Popped::Empty; // cannot be: what is ready waits
        };
        let Request { class, since, .. } = request;
        self.in_flight.insert(key.clone(), Flight { since, again: None });
        Popped::Ready {
            key,
            class,
            queued_since: since,
        }
    }

    /// When [`Queue::pop`] will find the next key: `now` if one is due, `None` if nothing waits.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.ready.iter().any(|class| !class.is_empty()) {
            return Some(now);
        }
        self.delayed.first_key_value().map(|((due, _), _)| (*due).max(now))
    }

    /// Since when the first key of a class has been due, of those that are: `None` if none is.
    pub fn due_since(&self, now: Instant) -> Option<Instant> {
        let first = |class: &BTreeMap<u64, K>| Some(self.waiting.get(class.first_key_value()?.1)?.request.due);
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        let due = self.ready.iter().filter_map(first).chain(delayed).min();
        due.filter(|due| *due <= now)
    }

    /// Ends the flight of a key whose work is complete, and forgets its failures.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
        if let Some(again) = self.in_flight.remove(key).and_then(|flight| flight.again) {
            self.wait(key.clone(), again);
        }
    }

    /// Ends the flight of a key whose work failed, and asks for it again after [`back_off`], and not before `at_least`
    /// has passed: more by up to a quarter, which spreads keys that were all told the same.
    ///
    /// What was pushed meanwhile is not held back by the failure: it may be what mends it. A key that is
    /// not in flight does not come back.
    pub fn retry(&mut self, key: &K, class: Class, at_least: Duration, now: Instant) {
        let Some(flight) = self.in_flight.remove(key) else {
            return;
        };
        let failures = self.failures.entry(key.clone()).or_insert(0);
        *failures = failures.saturating_add(1);
        let failed = Request {
            class,
            due: now + back_off(key, *failures).max(at_least + at_least / 1024 * jitter(key, *failures)),
            since: flight.since,
        };
        self.wait(key.clone(), flight.again.map_or(failed, |again| failed.merged(again)));
    }

    /// What waits for its back-off is due now: what made it fail may have ended. The failures still count.
    pub fn retry_now(&mut self, now: Instant) {
        let failed = self.failures.keys().filter(|key| self.waiting.contains_key(*key));
        for key in failed.cloned().collect::<Vec<_>>() {
            let Some(waiting) = self.waiting.get(&key) else {
                continue;
            };
            let Request { class, since, .. } = waiting.request;
            self.wait(key, Request { class, due: now, since });
        }
    }

    /// Moves what has become due to its class. Each key moves once, so that a pop stays cheap.
    fn note_what_is_due(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            let key = first.remove();
            if let Some(Waiting { request, sequence }) = self.waiting.get(&key) {
                self.ready[request.class as usize].insert(*sequence, key);
            }
        }
    }

    /// Puts a key that is not in flight in its place, merged with what it already waits for.
    fn wait(&mut self, key: K, asked: Request) {
        let (request, sequence) = match self.waiting.get(&key) {
            None => (asked, None),
            Some(Waiting { request: old, sequence }) => {
                let merged = old.merged(asked);
                if merged == *old {
                    return;
                }
                // A better class is entered at its end; an earlier time keeps the turn.
                (merged, (merged.class == old.class).then_some(*sequence))
            }
        };
        self.take(&key);
        let sequence = sequence.unwrap_or_else(|| {
            self.next_sequence += 1;
            self.next_sequence
        });
        self.delayed.insert((request.due, sequence), key.clone());
        self.waiting.insert(key, Waiting { request, sequence });
    }

    /// Takes a key out of the places where it waits.
    fn take(&mut self, key: &K) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        let Request { class, due, .. } = waiting.request;
        self.ready[class as usize].remove(&waiting.sequence);
        self.delayed.remove(&(due, waiting.sequence));
        Some(waiting)
    }
}

impl Request {
    /// One request that serves both: the best class, the earliest time, the longest wait so far.
    fn merged(self, other: Request) -> Request {
        Request {
            class: self.class.min(other.class),
            due: self.due.min(other.due),
            since: self.since.min(other.since),
        }
    }
}

#[cfg(test)]
mod tests;
