//! Ports that nothing else is about to take.

use std::fs::File;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

// Below Linux's ephemeral range (32768 and up): between our look and the server's bind, an outgoing connection of a test
// that runs beside this one could otherwise be given the very port.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static ISSUED: AtomicU16 = AtomicU16::new(0);
// The kernel lets go of them when the process ends, however it ends.
static CLAIMS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A loopback port that was free a moment ago, never issued twice by test processes that run at once.
pub fn free_port() -> u16 {
    // Two test processes at once (two worktrees, say) start their search in different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = ISSUED.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (u32::from(start) + u32::from(step) * 7).rem_euclid(u32::from(COUNT)) as u16;
        if claim(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!(
        "expected a free loopback port between {FIRST} and {}, found none",
        FIRST + COUNT
    );
}

// A server binds its port seconds after we looked: until then only a lock tells another process, from another worktree,
// that it is taken.
fn claim(port: u16) -> bool {
    let directory = std::env::temp_dir().join("cofferdam-test-ports");
    let file = std::fs::create_dir_all(&directory).and_then(|()| File::create(directory.join(port.to_string())));
    // Where another user made the directory, the look has to do.
    let Ok(file) = file else { return true };
    let locked = file.try_lock().is_ok();
    if locked {
        CLAIMS
            .lock()
            .expect("nothing panics while it holds this lock")
            .push(file);
    }
    locked
}
