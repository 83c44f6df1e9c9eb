//! Ports that nothing else is about to take.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

// Below Linux's ephemeral range (32768 and up): between our look and the server's bind, an outgoing connection of a test
// that runs beside this one could otherwise be given the very port.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static ISSUED: AtomicU16 = AtomicU16::new(0);

/// A loopback port that was free a moment ago, never issued twice by one process.
pub fn free_port() -> u16 {
    // Two test processes at once (two worktrees, say) start their search in different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = ISSUED.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (u32::from(start) + u32::from(step) * 7).rem_euclid(u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!(
        "expected a free loopback port between {FIRST} and {}, found none",
        FIRST + COUNT
    );
}
