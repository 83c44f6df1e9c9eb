//! The time as the core is told it where only distances matter.

use std::time::{Duration, Instant};

/// Counts from a moment of this process on. Copies count alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessClock {
    began: Instant,
}

impl ProcessClock {
    /// Counts from now on.
    pub(super) fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// What it shows.
    pub(super) fn now(self) -> Duration {
        self.began.elapsed()
    }

    /// When it shows `at`.
    pub(super) fn instant(self, at: Duration) -> Instant {
        self.began + at
    }
}
