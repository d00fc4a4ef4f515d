//! The append-only log on the real binary: servers that are killed under load, full disks, switching it on and off.

#[path = "../support/mod.rs"]
mod support;

mod directory;
mod kills;
mod large;
mod switches;
mod trouble;
mod waits;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{Server, wait_until};

/// A directory that outlives the servers that use it.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("crimson-durability-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    /// A server in it that has loaded what there is.
    fn serve(&self, threads: usize, more: &[&str]) -> Server {
        let dir = self.0.to_str().expect("a path that is text");
        let arguments = [&["--bind", "127.0.0.1", "--dir", dir], more].concat();
        let server = Server::crimson(threads, &arguments);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        server
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed lies in the temporary directory and harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A field of INFO.
fn info(server: &Server, field: &str) -> String {
    let text = server.client().run("INFO everything").text();
    let line = text.lines().find_map(|line| line.trim().trim_matches('"').strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in INFO")).to_string()
}
