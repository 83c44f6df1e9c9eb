//! Who leads may write, for as long as the claim lasts, and not a moment longer: the gate through which every request
//! goes that would change something, whoever makes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::controller::boot_clock::Moment;

/// Open while this replica leads. Clones are one gate.
///
/// Asking costs two loads and a read of the clock; no lock, so that no writer waits for another.
#[derive(Clone, Debug)]
pub struct WriteGate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Nanoseconds of [`Moment`]; never set back.
    open_until: AtomicU64,
    closed: AtomicBool,
    /// How long what was sent may stay without acknowledgement before the connection is given up.
    late_at_most: Option<Duration>,
    traffic: watch::Sender<Traffic>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    in_flight: usize,
    /// When a write last ended without an answer: it may still be carried out.
    last_unanswered: Option<Moment>,
}

/// Nobody but the leader writes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this replica does not lead: nothing was sent")]
pub struct NotLeading;

/// A write that was let through. Dropped without [`Pass::answered`], it may still be carried out.
#[derive(Debug)]
pub(super) struct Pass {
    gate: WriteGate,
    answered: bool,
}

impl WriteGate {
    fn new(open_until: u64, late_at_most: Option<Duration>) -> Self {
        Self {
            shared: Arc::new(Shared {
                open_until: AtomicU64::new(open_until),
                closed: AtomicBool::new(false),
                late_at_most,
                traffic: watch::Sender::default(),
            }),
        }
    }

    /// For who only reads.
    pub(in crate::controller) fn never_open() -> Self {
        Self::new(0, None)
    }

    /// Where no other replica is expected.
    pub(in crate::controller) fn always_open() -> Self {
        Self::new(u64::MAX, None)
    }

    /// Shut until a claim opens it. `late_at_most` is what may pass between the last write of one leader and the first of
    /// the next.
    pub(in crate::controller) fn opened_by_a_claim(late_at_most: Duration) -> Self {
        Self::new(0, Some(late_at_most))
    }

    /// Lets writes through until that moment, or until a later one that was named before.
    pub(in crate::controller) fn open_until(&self, moment: Moment) {
        self.shared
            .open_until
            .fetch_max(moment.as_nanoseconds(), Ordering::SeqCst);
    }

    /// Lets nothing through any more.
    pub(in crate::controller) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }

    /// Whether a write may be sent at this very moment.
    pub(in crate::controller) fn is_open(&self) -> bool {
        !self.shared.closed.load(Ordering::SeqCst)
            && Moment::now().as_nanoseconds() < self.shared.open_until.load(Ordering::SeqCst)
    }

    /// Waits until no write is in flight.
    pub(in crate::controller) async fn idle(&self) {
        let mut traffic = self.shared.traffic.subscribe();
        // The sender lives in self, so this cannot fail.
        let _ = traffic.wait_for(|traffic| traffic.in_flight == 0).await;
    }

    /// Whether a write that was sent within this time may still be carried out: it is in flight, or it was given up
    /// without an answer.
    pub(in crate::controller) fn is_in_doubt(&self, within: Duration) -> bool {
        let traffic = *self.shared.traffic.borrow();
        let recently = |unanswered: Moment| Moment::now().since(unanswered) < within;
        traffic.in_flight > 0 || traffic.last_unanswered.is_some_and(recently)
    }

    pub(super) fn late_at_most(&self) -> Option<Duration> {
        self.shared.late_at_most
    }

    /// A write begins. Counted before it is allowed: who closes the gate and then sees nothing in flight knows that
    /// nothing comes.
    pub(super) fn enter(&self) -> Result<Pass, NotLeading> {
        self.shared.traffic.send_modify(|traffic| traffic.in_flight += 1);
        let mut pass = Pass {
            gate: self.clone(),
            answered: false,
        };
        if self.is_open() {
            return Ok(pass);
        }
        pass.answered = true;
        Err(NotLeading)
    }
}

impl Pass {
    /// What became of it is known: the server answered, or it was never sent.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let unanswered = (!self.answered).then(Moment::now);
        self.gate.shared.traffic.send_modify(|traffic| {
            traffic.in_flight = traffic.in_flight.saturating_sub(1);
            traffic.last_unanswered = unanswered.or(traffic.last_unanswered);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_by_a_claim_and_shuts_with_it() {
        let gate = WriteGate::opened_by_a_claim(Duration::from_secs(5));
        assert!(!gate.is_open() && gate.enter().is_err());
        let now = Moment::now();
        gate.open_until(now.after(Duration::from_millis(200)));
        // A claim that is older than another does not shorten it.
        gate.open_until(now.after(Duration::from_millis(100)));
        assert!(gate.is_open());
        while Moment::now().since(now) < Duration::from_millis(150) {
            assert!(gate.is_open() || Moment::now().since(now) >= Duration::from_millis(200));
        }
        while Moment::now().since(now) < Duration::from_millis(200) {}
        assert!(!gate.is_open() && gate.enter().is_err());
        assert!(!gate.is_in_doubt(Duration::MAX), "what was refused was not sent");
    }

    #[test]
    fn once_closed_no_claim_opens_it() {
        let gate = WriteGate::always_open();
        let clone = gate.clone();
        gate.close();
        clone.open_until(Moment::now().after(Duration::from_secs(60)));
        assert!(!gate.is_open() && !clone.is_open());
        assert!(!WriteGate::never_open().is_open());
    }

    #[tokio::test]
    async fn is_idle_when_the_last_write_ended() {
        let gate = WriteGate::always_open();
        gate.idle().await;
        let (first, second) = (gate.enter().unwrap(), gate.enter().unwrap());
        let idle = tokio::spawn({
            let gate = gate.clone();
            async move { gate.idle().await }
        });
        first.answered();
        tokio::task::yield_now().await;
        assert!(!idle.is_finished() && gate.is_in_doubt(Duration::ZERO));
        second.answered();
        idle.await.unwrap();
        assert!(!gate.is_in_doubt(Duration::MAX));
    }

    #[test]
    fn a_write_without_an_answer_leaves_a_doubt_for_a_time() {
        let gate = WriteGate::always_open();
        drop(gate.enter().unwrap());
        assert!(gate.is_in_doubt(Duration::from_secs(60)));
        assert!(!gate.is_in_doubt(Duration::ZERO));
        gate.enter().unwrap().answered();
        assert!(
            gate.is_in_doubt(Duration::from_secs(60)),
            "an answer to another write settles nothing"
        );
    }
}
