//! Damage at every byte of small logs that a server has written under each policy: the next start refuses and changes
//! nothing, or it loads what was there; where that is less, what it has cut off lies beside the file.
//!
//! Some bytes are tried; all of them with `DAMAGE_EVERY_BYTE=1`.

use crate::logs::{Dir, contents};
use crate::support::Client;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Bytes that are tried of a log unless all are.
const SAMPLES: usize = 12;

/// A server that runs or has refused to.
struct Tried(Child);

impl Drop for Tried {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server; what it holds, or `None` where it has refused to start, and what it has told.
fn start(dir: &Dir) -> (Option<String>, String) {
    let (socket, log) = (dir.0.join("socket"), dir.0.join("told"));
    let _ = fs::remove_file(&socket);
    let out = File::create(&log).expect("a file for the test");
    let mut tried = Tried(
        Command::new(env!("CARGO_BIN_EXE_crimson"))
            .args(["--threads", "2", "--port", "0", "--appendonly", "yes", "--appendfsync", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(&dir.0)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("another handle"))
            .stderr(out)
            .spawn()
            .expect("the binary starts"),
    );
    loop {
        let told = fs::read_to_string(&log).expect("readable");
        if told.contains("Ready to accept") {
            return (Some(contents(&mut Client::unix(&socket))), told);
        }
        if let Some(status) = tried.0.try_wait().expect("its own child") {
            assert_eq!(status.code(), Some(1), "{told}");
            return (None, told);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn files(dir: &Dir) -> Vec<(String, Vec<u8>)> {
    dir.names().into_iter().map(|name| (name.clone(), dir.bytes(&name))).collect()
}

/// A log that a server has written.
fn written(policy: &str) -> (Dir, String) {
    let dir = Dir::new();
    let mut server = dir.serve(2, &["--appendfsync", policy]);
    let mut client = server.client();
    for number in 0..4 {
        client.run(&format!("SET key{number} {number}"));
        client.run(&format!("MSET a{number} 1 b{number} 2 c{number} 3"));
    }
    let held = contents(&mut client);
    drop(client);
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    (dir, held)
}

#[test]
fn no_byte_of_a_log_of_any_policy_can_change_silently() {
    let all = std::env::var_os("DAMAGE_EVERY_BYTE").is_some();
    for policy in ["no", "everysec", "always"] {
        let (dir, held) = written(policy);
        let before = files(&dir);
        let bytes: usize = before.iter().map(|(_, bytes)| bytes.len()).sum();
        let step = if all { 1 } else { bytes / SAMPLES };
        let places = before.iter().flat_map(|(name, bytes)| (0..bytes.len()).map(move |at| (name, at)));
        for (name, at) in places.step_by(step.max(1)) {
            let what = format!("{policy}: {name} at {at}");
            let mut damaged = dir.bytes(name);
            damaged[at] ^= 1 << (at % 8);
            dir.write(name, &damaged);
            let there = files(&dir);
            let (found, told) = start(&dir);
            match found {
                None => assert_eq!(files(&dir), there, "{what}: it has changed something\n{told}"),
                Some(found) => {
                    let is_less = found.lines().all(|line| held.contains(line));
                    let is_kept = dir.names().iter().any(|name| name.ends_with(".cut"));
                    assert!(is_less && (found == held || is_kept), "{what}: {found}\n{told}");
                }
            }
            dir.names().iter().for_each(|name| fs::remove_file(dir.path(name)).expect("it is there"));
            before.iter().for_each(|(name, bytes)| dir.write(name, bytes));
        }
    }
}
