//! How many removals may be on their way. Those that open a direction take half, the others a quarter, neither any of the
//! other's: whatever hangs in one, deletions of the other go, and the last quarter closes.

use tokio::sync::Semaphore;

/// Turns, of workers or of requests.
pub(super) struct RemovalTurns {
    /// For what opens a direction, which takes more than a deletion.
    pub(super) releases: Semaphore,
    /// For what opens none.
    pub(super) others: Semaphore,
}

impl RemovalTurns {
    /// Of so many that may be on their way in all. Of one or two nothing is left for what closes.
    pub(super) fn among(concurrency: usize) -> Self {
        Self {
            releases: Semaphore::new((concurrency / 2).max(1)),
            others: Semaphore::new((concurrency / 4).max(1)),
        }
    }
}
