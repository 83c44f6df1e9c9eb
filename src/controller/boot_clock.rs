//! The clock that claims are told by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment of this machine's boot clock. Moments of two machines have nothing to do with each other.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(Duration);

/// What goes on while a process is stopped (SIGSTOP, a frozen cgroup) and while the machine sleeps. `Instant` is
/// CLOCK_MONOTONIC, which stands still in a machine that sleeps: a laptop, a virtual machine that is paused with its
/// guest's knowledge. A guest that is paused or moved without its knowledge has no clock that could tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere, for development alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Moment {
    /// This moment. Never earlier than one that was read before, in whatever thread.
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanoseconds))
    }

    /// So long after it.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// From an earlier moment to this one; nothing if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// For an atomic: 584 years of uptime fit.
    pub fn as_nanoseconds(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}
