//! What the integration tests share: servers that live as long as a test, a small client that shows the raw bytes of
//! replies, and what `/proc` tells about a process.
//!
//! Each test binary takes this in with `mod support;` and uses its own part of it.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

pub mod client;
pub mod notify;
pub mod process;
pub mod reply;
pub mod server;

pub use client::{Client, encode, words};
pub use notify::Supervisor;
pub use reply::Reply;
pub use server::Server;

use std::time::{Duration, Instant};

/// Calls `probe` until it yields something, for at most `limit`.
pub fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`poll`] with a generous limit; panics with `what` when it does not come about.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    assert!(poll(Duration::from_secs(30), || holds().then_some(())).is_some(), "did not come about: {what}");
}
