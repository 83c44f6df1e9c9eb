//! `make demo`: what Cofferdam does, on a real API server, in under a minute. Needs no cluster and touches none.
//!
//! A program beside the tests, not one of them, because it stands on what they stand on: the servers, their ports and
//! logs, processes that cannot outlive this one, and the audit log, which is where its numbers come from.
//!
//! Reading order: `story` (the steps), `stage` (what runs), `narrator` (how it looks), `stopwatch` (where the numbers come from).
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a panic is how a step says that it failed

use std::process::ExitCode;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};

#[path = "../cluster/harness/mod.rs"]
mod harness;
mod narrator;
mod stage;
mod stopwatch;
mod story;

use narrator::Narrator;

/// As a shell gives it for a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let started = Instant::now();
    let narrator = Narrator::for_stdout();
    let story = tokio::spawn(story::tell(narrator));
    let stop = story.abort_handle();
    let interrupted = tokio::spawn(async move {
        wait_for_a_signal().await;
        stop.abort();
    });
    // Ended either way, the story has dropped what it started, and so ended it.
    let ended = story.await;
    interrupted.abort();
    match ended {
        Ok(()) => {
            narrator.result(&format!("{} seconds in all", started.elapsed().as_secs()));
            ExitCode::SUCCESS
        }
        Err(error) if error.is_cancelled() => {
            narrator.result("interrupted: everything that this started has ended");
            ExitCode::from(INTERRUPTED)
        }
        Err(_) => {
            narrator.result("failed, as said above; everything that this started has ended");
            ExitCode::FAILURE
        }
    }
}

async fn wait_for_a_signal() {
    let [mut interrupt, mut terminate, mut hangup] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| signal(kind).expect("a signal handler"));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
