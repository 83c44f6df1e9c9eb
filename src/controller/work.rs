//! The queue with the waiting around it: many workers ask for [`WorkQueue::next`], watches push.
//!
//! A push wakes one worker, and a worker that leaves work behind wakes the next: a burst sets as many
//! workers to work as it needs, and one event never wakes all of them. For what is not due yet, one
//! worker keeps the time for everybody.

mod ticket;

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub use self::ticket::Ticket;
use super::queue::{Class, Popped, Queue};

/// A [`Queue`] that is shared between those who push and those who work. Clones share it.
#[derive(Debug)]
pub struct WorkQueue<K: Clone + Eq + Hash> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K> {
    state: Mutex<State<K>>,
    /// Tells one sleeping worker to look, or, if none sleeps, the next that would.
    look: Notify,
}

#[derive(Debug)]
struct State<K> {
    queue: Queue<K>,
    /// Whether somebody has asked for work.
    is_served: bool,
    closed: bool,
    /// When the worker that keeps the time will look by itself.
    alarm: Option<Instant>,
}

/// What a worker that wants a key is to do.
enum Next<K> {
    Work {
        key: K,
        class: Class,
        queued_since: Instant,
    },
    /// Sleep until told to look.
    Sleep,
    /// Sleep until told to look, or until this time: this worker keeps the time.
    KeepTime(Instant),
    Stop,
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            queue: Queue::default(),
            is_served: false,
            closed: false,
            alarm: None,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                look: Notify::new(),
            }),
        }
    }

    /// Asks for work on a key, not before `due`; see [`Queue::push`].
    ///
    /// As long as nobody works, because another replica does, only the last word on a key counts: what was asked for
    /// before has been done by somebody else, or is asked for again.
    pub fn push(&self, key: K, class: Class, due: Instant) {
        let mut state = self.shared.state();
        let now = now();
        if !state.is_served {
            state.queue.withdraw(&key);
        }
        state.queue.push(key, class, due, now);
        self.shared.call_for_help(&state, now);
    }

    /// Whether somebody has asked for work.
    pub fn is_served(&self) -> bool {
        self.shared.state().is_served
    }

    /// Since when something has been due that nobody has taken up; `None` if nothing is due, or nobody works here.
    pub fn due_since(&self) -> Option<Instant> {
        let state = self.shared.state();
        state
            .queue
            .due_since(now())
            .filter(|_| state.is_served && !state.closed)
    }

    /// The next key to work on, as soon as there is one; `None` once the queue is closed.
    ///
    /// Cancel safe: a call that is dropped takes no key and keeps nobody else from theirs.
    pub async fn next(&self) -> Option<Ticket<K>> {
        let shared = &self.shared;
        loop {
            // Before looking: what is pushed between the look and the sleep must end the sleep.
            let told = shared.look.notified();
            match shared.next() {
                Next::Stop => return None,
                Next::Work {
                    key,
                    class,
                    queued_since,
                } => return Some(Ticket::new(key, class, queued_since, Arc::clone(shared))),
                Next::Sleep => told.await,
                Next::KeepTime(until) => {
                    let mut alarm = Alarm {
                        shared,
                        until,
                        cancelled: true,
                    };
                    // Why the sleep ended makes no difference: look again.
                    let _ = tokio::time::timeout_at(until.into(), told).await;
                    alarm.cancelled = false;
                }
            }
        }
    }

    /// Asks at once for what waits for its back-off; see [`Queue::retry_now`].
    pub fn retry_now(&self) {
        let mut state = self.shared.state();
        let now = now();
        state.queue.retry_now(now);
        self.shared.call_for_help(&state, now);
    }

    /// Ends the work: every [`WorkQueue::next`] returns `None` from now on. What waits is left.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.look.notify_waiters();
    }
}

/// The worker that keeps the time, while it sleeps.
struct Alarm<'a, K: Clone + Eq + Hash> {
    shared: &'a Shared<K>,
    until: Instant,
    cancelled: bool,
}

impl<K: Clone + Eq + Hash> Shared<K> {
    fn next(&self) -> Next<K> {
        let mut state = self.state();
        if state.closed {
            return Next::Stop;
        }
        state.is_served = true;
        let now = now();
        match state.queue.pop(now) {
            Popped::Ready {
                key,
                class,
                queued_since,
            } => {
                self.call_for_help(&state, now);
                Next::Work {
                    key,
                    class,
                    queued_since,
                }
            }
            Popped::NotBefore(due) if state.alarm.is_none_or(|at| due < at) => {
                state.alarm = Some(due);
                Next::KeepTime(due)
            }
            Popped::NotBefore(_) | Popped::Empty => Next::Sleep,
        }
    }

    /// Has one more worker look, if something is due or nobody keeps the time for what will be.
    fn call_for_help(&self, state: &State<K>, now: Instant) {
        let alarm = state.alarm;
        if state
            .queue
            .next_due(now)
            .is_some_and(|due| due <= now || alarm.is_none_or(|at| due < at))
        {
            self.look.notify_one();
        }
    }

    /// The state is consistent between any two statements, so a panic elsewhere is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Drop for Alarm<'_, K> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.alarm == Some(self.until) {
            state.alarm = None;
        }
        if self.cancelled {
            self.shared.call_for_help(&state, now());
        }
    }
}

impl<K: Clone + Eq + Hash> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Clone + Eq + Hash> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// The clock of the runtime: the one that its timers go by, also where a test turns it by hand.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
