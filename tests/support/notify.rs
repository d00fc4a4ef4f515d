//! The end of systemd's notification protocol that a service manager has: a socket that hears what a service tells.

use super::server::make_dir;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A service manager that only listens.
pub struct Supervisor {
    socket: UnixDatagram,
    dir: PathBuf,
}

impl Supervisor {
    /// A socket that every user may write to.
    pub fn new() -> Self {
        let dir = make_dir();
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a new directory takes a socket");
        for path in [&dir, &path] {
            fs::set_permissions(path, Permissions::from_mode(0o777)).expect("our own");
        }
        Self { socket, dir }
    }

    /// What NOTIFY_SOCKET is to be.
    pub fn path(&self) -> String {
        self.dir.join("notify").to_string_lossy().into_owned()
    }

    /// The next message, unless there is none for so long.
    pub fn next(&self, limit: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).expect("not zero");
        let len = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).expect("messages are text"))
    }

    /// All messages up to the one with this line, or none if it does not come.
    pub fn until(&self, wanted: &str) -> Vec<String> {
        let (deadline, mut heard) = (Instant::now() + Duration::from_secs(60), Vec::new());
        while let Some(message) = self.next(deadline.saturating_duration_since(Instant::now())) {
            let found = message.lines().any(|line| line.starts_with(wanted));
            heard.push(message);
            if found {
                return heard;
            }
        }
        panic!("{wanted} does not come; heard was {heard:?}");
    }

    /// All messages of the next time.
    pub fn during(&self, time: Duration) -> Vec<String> {
        let deadline = Instant::now() + time;
        let left = || deadline.checked_duration_since(Instant::now());
        std::iter::from_fn(|| self.next(left()?)).collect()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // What cannot be removed lies in the temporary directory and harms nobody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
