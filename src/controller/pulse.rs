//! Whether the loop gets on: something that is due and that nobody takes up for minutes means that it is stuck, and only a
//! restart helps. An API server that is away is no reason: each request ends by its deadline, and each end is progress.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Several times what a request may take: whoever waits for the API server gives a sign long before.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(120);

/// When somebody last got on.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Mutex<Instant>,
}

impl Pulse {
    /// Beats once.
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new(now()),
        }
    }

    /// A worker took up work, or ended it, or a request of one ended.
    pub(super) fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = now();
    }

    /// For how long nobody has got on although something has been due since `due_since`; nothing while that is not long.
    pub(super) fn stuck_for(&self, due_since: Option<Instant>) -> Option<Duration> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = now().saturating_duration_since(due_since?.max(last));
        (stuck >= STUCK_AFTER).then_some(stuck)
    }
}

/// The clock of the queue.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_due_for_minutes_and_not_taken_up_is_stuck() {
        let pulse = Pulse::new();
        tokio::time::advance(STUCK_AFTER * 5).await;
        assert_eq!(
            pulse.stuck_for(None),
            None,
            "nothing is due: there is no need for a sign"
        );
        let due = now();
        assert_eq!(pulse.stuck_for(Some(due)), None, "it is due only now");
        tokio::time::advance(STUCK_AFTER - Duration::from_secs(1)).await;
        assert_eq!(pulse.stuck_for(Some(due)), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.stuck_for(Some(due)), Some(STUCK_AFTER));
        pulse.beat();
        assert_eq!(pulse.stuck_for(Some(due)), None, "somebody gets on");
        tokio::time::advance(STUCK_AFTER).await;
        assert!(pulse.stuck_for(Some(due)).is_some(), "and then nobody any more");
    }
}
