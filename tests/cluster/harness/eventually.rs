//! Waiting on conditions, never for a guessed time.

use std::future::Future;
use std::time::{Duration, Instant};

// Well below what a heal takes to matter, well above what would load the server of the tests that run beside.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What most conditions get: far above what they take, so that a loaded machine fails nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until `probe` gives a value; its `Err` says what it saw instead, and the last one is what the failure prints.
///
/// ```ignore
/// let policy = eventually("the baseline stands", PATIENCE, || async {
///     policies.get("cofferdam-baseline-ingress").await.map_err(|error| error.to_string())
/// }).await;
/// ```
pub async fn eventually<T, Probe, Attempt>(description: &str, timeout: Duration, mut probe: Probe) -> T
where
    Probe: FnMut() -> Attempt,
    Attempt: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + timeout;
    let mut seen = String::from("no attempt finished");
    loop {
        // A probe that hangs (a stopped server, say) has to end in the same report.
        match tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(state)) => seen = state,
            Err(_) => {}
        }
        assert!(
            Instant::now() < deadline,
            "expected within {timeout:?}: {description}; last seen: {seen}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The other way round: fails as soon as `probe` gives an `Err` within `duration`.
pub async fn holds_for<Probe, Attempt>(description: &str, duration: Duration, mut probe: Probe)
where
    Probe: FnMut() -> Attempt,
    Attempt: Future<Output = Result<(), String>>,
{
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Err(state) = probe().await {
            panic!(
                "expected to hold for {duration:?}: {description}; after {:?}: {state}",
                start.elapsed()
            );
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
