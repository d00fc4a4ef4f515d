//! A log that cannot be written: writes are refused, reads go on, and nothing acknowledged is lost.

use crate::support::process::signal;
use crate::support::{Server, encode};
use crate::{info, wait_until};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A small file system in memory, if this process may mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let name = format!("crimson-small-disk-{size}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.ok()?.success().then_some(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A file system that promises more than is below it: writes to it go well, and where there is no room below, their sync
/// fails and they are lost.
struct HollowDisk {
    below: SmallDisk,
    path: std::path::PathBuf,
}

impl HollowDisk {
    fn mount() -> Option<Self> {
        let below = SmallDisk::mount("6m")?;
        let path = std::env::temp_dir().join(format!("crimson-hollow-disk-{}", std::process::id()));
        std::fs::create_dir_all(&path).ok()?;
        let disk = Self { below, path };
        std::fs::File::create(disk.image()).and_then(|file| file.set_len(16 << 20)).ok()?;
        let made = Command::new("mkfs.ext2").args(["-q", "-F"]).arg(disk.image()).status();
        (made.ok()?.success() && disk.mount_image()).then_some(disk)
    }

    fn image(&self) -> std::path::PathBuf {
        self.below.path().join("image")
    }

    /// Mounts it anew: only what is on disk is there then.
    fn mount_again(&self) {
        // Files of a process that was killed may be open for a moment.
        let quiet = std::process::Stdio::null;
        let unmounted = || Command::new("umount").arg(&self.path).stderr(quiet()).status().unwrap().success();
        wait_until("it is unmounted", unmounted);
        assert!(self.mount_image());
    }

    fn mount_image(&self) -> bool {
        let quiet = std::process::Stdio::null;
        let mount =
            Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(&self.path).stderr(quiet()).status();
        mount.is_ok_and(|status| status.success())
    }

    /// Takes all the room below, or gives it back.
    fn set_full(&self, full: bool) {
        let ballast = self.below.path().join("ballast");
        if full {
            assert!(Command::new("sync").arg("-f").arg(&self.path).status().unwrap().success());
            std::fs::write(ballast, vec![b'x'; 8 << 20]).expect_err("there is less");
        } else {
            std::fs::remove_file(ballast).unwrap();
        }
    }
}

impl Drop for HollowDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(std::process::Stdio::null()).status();
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Freezes a file system: whoever writes to it waits until it is dropped.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn freeze(path: &'a Path) -> Self {
        assert!(Command::new("fsfreeze").arg("-f").arg(path).status().unwrap().success());
        Self(path)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(self.0).status();
    }
}

/// The end of a send let out what the session had been answered since, in the middle of the turn: before the log had been
/// given the change that this told of.
#[test]
fn no_reply_overtakes_the_log_behind_an_earlier_one() {
    let Some(disk) = HollowDisk::mount().filter(|_| crate::support::server::has_program("fsfreeze")) else {
        println!("not tested: this process may not mount and freeze file systems");
        return;
    };
    let dir = disk.path.to_str().unwrap();
    let server = Server::crimson(1, &["--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes"]);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    let mut client = server.client();
    assert_eq!(client.show("CONFIG SET appendfsync always"), "OK");
    client.call(&["SADD", "set", &"m".repeat(100)]);
    for size in (40..75).map(|step| step * 1_000) {
        // Nobody reads the reply, so the send of it is under way when the next command comes.
        client.send(&encode(&["SRANDMEMBER", "set", &format!("-{size}")]));
        std::thread::sleep(Duration::from_millis(20));
        signal(server.pid(), libc::SIGSTOP);
        let frozen = Frozen::freeze(&disk.path);
        client.send(&encode(&["SET", "key", &size.to_string()]));
        client.set_read_timeout(Duration::from_millis(100));
        let early = client.try_read();
        signal(server.pid(), libc::SIGCONT);
        if early.is_err() {
            client.set_read_timeout(Duration::from_secs(30));
            client.read();
            client.set_read_timeout(Duration::from_millis(100));
        }
        let answer = client.try_read();
        drop(frozen);
        assert!(answer.is_err(), "SET was answered behind {size} members, while nothing could be written");
        client.set_read_timeout(Duration::from_secs(30));
        assert_eq!(client.read().text(), "OK");
    }
}

/// The sync was tried again and went well without what was lost, and the next start refused the log, though a client had
/// waited until all was on disk.
#[test]
fn what_a_failed_sync_has_lost_is_made_good_by_a_rewrite() {
    let Some(disk) = HollowDisk::mount() else {
        println!("not tested: this process may not mount file systems");
        return;
    };
    let dir = disk.path.to_str().unwrap();
    let arguments = ["--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", "no"];
    let mut server = Server::crimson(2, &arguments);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    let mut client = server.client();
    // The first batch of each file is synced whatever the policy.
    (0..20).for_each(|number| _ = client.run(&format!("SET first:{number} 1")));
    client.run("CONFIG SET appendfsync always");
    assert_eq!(client.show("WAITAOF 1 0 5000"), "1) (integer) 1\n2) (integer) 0");
    client.run("CONFIG SET appendfsync no");
    disk.set_full(true);
    let value = "v".repeat(20_000);
    for number in 1..=60 {
        assert_eq!(client.show(&format!("SET key:{number} {value}")), "OK");
    }
    wait_until("it is written", || info(&server, "aof_buffer_length") == "0");
    client.run("CONFIG SET appendfsync always");
    wait_until("the sync has failed", || info(&server, "aof_last_write_status") == "err");
    assert!(client.show("SET a b").contains("MISCONF"));
    disk.set_full(false);
    wait_until("it is written again", || {
        // The log does it by itself, but rests after a failure.
        if info(&server, "aof_rewrites_consecutive_failures") != "0" {
            client.run("BGREWRITEAOF");
        }
        client.show("SET a b") == "OK"
    });
    assert_ne!(info(&server, "aof_rewrites"), "0");
    assert_eq!(client.show("WAITAOF 1 0 5000"), "1) (integer) 1\n2) (integer) 0");
    server.stop(libc::SIGKILL);
    disk.mount_again();
    let server = Server::crimson(2, &arguments);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    let mut client = server.client();
    assert_eq!(client.show("GET a"), "\"b\"");
    for number in 1..=60 {
        assert_eq!(client.show(&format!("STRLEN key:{number}")), "(integer) 20000", "key:{number}");
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    for policy in ["always", "everysec"] {
        let Some(disk) = SmallDisk::mount("2m") else {
            println!("not tested: this process may not mount a file system");
            return;
        };
        let ballast = disk.path().join("ballast");
        std::fs::write(&ballast, vec![b'x'; 1_200_000]).unwrap();
        let dir = disk.path().to_str().unwrap();
        let arguments = ["--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", policy];
        let mut server = Server::crimson(2, &arguments);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        let mut acknowledged = 0;
        let value = "v".repeat(2000);
        // Until one is refused, or loses its connection with always.
        wait_until("the disk is full", || {
            let mut client = server.client();
            for _ in 0..50 {
                let next = acknowledged + 1;
                match client.try_call(&["SET", &format!("key:{next}"), &value]) {
                    Ok((reply, _)) if !reply.is_error() => acknowledged = next,
                    _ => break,
                }
            }
            info(&server, "aof_last_write_status") == "err"
        });
        let mut client = server.client();
        assert_eq!(client.show("GET key:1"), format!("\"{value}\""), "reads go on");
        let refused = "(error) MISCONF Errors writing to the AOF file: No space left on device";
        assert_eq!(client.show("SET a b"), refused);
        assert_eq!(client.show("PING"), refused);
        std::fs::remove_file(&ballast).unwrap();
        wait_until("it is written again", || client.show("SET a b") == "OK");
        assert_eq!(info(&server, "aof_last_write_status"), "ok");
        server.stop(libc::SIGTERM);
        let server = Server::crimson(2, &arguments);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        let mut client = server.client();
        assert_eq!(client.show("GET a"), "\"b\"");
        for number in 1..=acknowledged {
            assert_eq!(client.show(&format!("STRLEN key:{number}")), "(integer) 2000", "{policy}: key:{number}");
        }
    }
}

/// The second rewrite began while the snapshot of the first, which nobody wanted any more, still went through the keys: it
/// took over what was left of that, and made it the log.
#[test]
fn a_rewrite_right_after_one_that_has_failed_does_not_end_well_with_less() {
    let Some(disk) = SmallDisk::mount("3m") else {
        println!("not tested: this process may not mount a file system");
        return;
    };
    let server = Server::crimson(1, &["--bind", "127.0.0.1", "--dir", disk.path().to_str().unwrap()]);
    let mut client = server.client();
    let keys = 600_000;
    for chunk in 0..keys / 1000 {
        let set = |number: i32| encode(&["SET", &format!("key:{number}"), "0123456789"]);
        let commands: Vec<u8> = (chunk * 1000..(chunk + 1) * 1000).flat_map(set).collect();
        client.send(&commands);
        (0..1000).for_each(|_| assert!(!client.read().is_error()));
    }
    // The disk has no room for the keys, so none of these can end well.
    let failures = || info(&server, "aof_rewrites_consecutive_failures").parse::<u64>().expect("a number");
    for number in 1..=10 {
        while failures() < number {
            client.run("BGREWRITEAOF");
            assert_eq!(info(&server, "aof_rewrites"), "0");
        }
    }
    assert_eq!(info(&server, "aof_last_bgrewrite_status"), "err");
    assert_eq!(client.run("DBSIZE").integer(), i64::from(keys));
}

/// Writes were refused until there was room, though nobody wanted a log any more.
#[test]
fn a_log_that_cannot_be_written_is_switched_off() {
    for policy in ["always", "everysec"] {
        let Some(disk) = SmallDisk::mount("1m") else {
            println!("not tested: this process may not mount a file system");
            return;
        };
        let dir = disk.path().to_str().unwrap();
        let arguments = ["--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", policy];
        let mut server = Server::crimson(2, &arguments);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        let value = "v".repeat(2000);
        wait_until("the disk is full", || {
            let mut client = server.client();
            let set = |number| client.try_call(&["SET", &format!("key:{number}"), &value]);
            let _ = (0..50).map(set).find(|reply| !matches!(reply, Ok((reply, _)) if !reply.is_error()));
            info(&server, "aof_last_write_status") == "err"
        });
        let mut client = server.client();
        assert!(client.show("SET a b").contains("MISCONF"));
        client.run("CONFIG SET appendonly no");
        // From then on, for everybody.
        assert_eq!(client.show("MSET a 1 b 2 c 3 d 4"), "OK", "{policy}");
        assert_eq!(server.client().show("MSET a 1 b 2 c 3 d 4"), "OK", "{policy}");
        assert_eq!((info(&server, "aof_enabled"), info(&server, "aof_last_write_status")), ("0".into(), "ok".into()));
        wait_until("it is given up", || server.log().contains("that could not be written are not in it"));
        let lines = |server: &Server| server.log().lines().filter(|line| line.contains("append-only log")).count();
        let told = lines(&server);
        // Longer than until it is tried again.
        let end = std::time::Instant::now() + std::time::Duration::from_millis(2500);
        while std::time::Instant::now() < end {
            assert_eq!(client.show("MSET a 1 b 2 c 3 d 4"), "OK", "{policy}");
        }
        assert_eq!(lines(&server), told, "one line for each change of state: {}", server.log());
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
    }
}

/// It was answered with OK, and nothing told that nothing was logged.
#[test]
fn a_log_that_cannot_be_switched_on_is_seen_not_to_be_in_force() {
    let Some(disk) = SmallDisk::mount("1m") else {
        println!("not tested: this process may not mount a file system");
        return;
    };
    let dir = disk.path().to_str().unwrap();
    let mut server = Server::crimson(2, &["--bind", "127.0.0.1", "--dir", dir]);
    let mut client = server.client();
    let value = "v".repeat(2000);
    (0..1000).for_each(|number| assert_eq!(client.call(&["SET", &format!("key:{number}"), &value]).text(), "OK"));
    // All that is seen at one moment.
    let state = || {
        let text = server.client().run("INFO persistence").text();
        let of = |field: &str| text.lines().find_map(|line| line.trim().strip_prefix(field).map(String::from)).unwrap();
        let under_way = of("aof_rewrite_in_progress:") == "1" || of("aof_rewrite_scheduled:") == "1";
        (of("aof_enabled:"), of("aof_in_force:"), under_way, of("aof_rewrites_consecutive_failures:"))
    };
    assert_eq!(client.show("CONFIG SET appendonly yes"), "OK");
    // Longer than until it is tried again.
    wait_until("it has failed twice", || {
        let (enabled, in_force, under_way, failures) = state();
        assert_eq!((enabled.as_str(), in_force.as_str(), under_way), ("1", "0", true));
        failures == "2"
    });
    assert_eq!(info(&server, "aof_last_bgrewrite_status"), "err");
    let told = server.log();
    let line = "Can't switch the append-only log on: No space left on device; trying again from time to time";
    assert_eq!(told.matches(line).count(), 1, "{told}");
    assert_eq!(told.matches(" # ").count(), told.matches("WARNING").count() + 1, "{told}");
    assert_eq!(client.show("SET a 1"), "OK", "as with a log that is not in force");
    client.run("FLUSHALL");
    client.run("SET b 2");
    client.run("BGREWRITEAOF");
    wait_until("it is on", || state().1 == "1");
    assert_eq!(state(), ("1".into(), "1".into(), false, "0".into()));
    client.run("SET c 3");
    server.stop(libc::SIGTERM);
    let server = Server::crimson(1, &["--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes"]);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    assert_eq!(server.client().show("MGET b c"), "1) \"2\"\n2) \"3\"");
}

/// Bytes of all files of the log but its manifest.
fn log_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("appendonlydir")).unwrap().flatten();
    let segments = files.filter(|file| file.file_name().to_string_lossy().ends_with(".aof"));
    segments.map(|file| file.metadata().unwrap().len()).sum()
}

/// A rewrite that fails leaves the files before it in the log, and those that it has begun behind them.
#[test]
fn the_size_of_the_log_is_that_of_its_files_whatever_becomes_of_a_rewrite() {
    let Some(disk) = SmallDisk::mount("4m") else {
        println!("not tested: this process may not mount a file system");
        return;
    };
    let arguments = ["--bind", "127.0.0.1", "--dir", disk.path().to_str().unwrap(), "--appendonly", "yes"];
    let mut server = Server::crimson(2, &arguments);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    let mut client = server.client();
    let mut fill = |from: usize| {
        for number in from..from + 1000 {
            assert_eq!(client.call(&["SET", &format!("key:{number}"), &"v".repeat(1000)]).text(), "OK");
        }
    };
    let same = |server: &Server, when: &str| {
        wait_until(when, || info(server, "aof_current_size").parse() == Ok(log_bytes(disk.path())));
    };
    fill(0);
    same(&server, "all is written");
    // No room for another copy of the keys.
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![b'x'; 2_500_000]).unwrap();
    for failures in ["1", "2"] {
        server.client().run("BGREWRITEAOF");
        wait_until("it fails", || info(&server, "aof_rewrites_consecutive_failures") == failures);
        assert_eq!(info(&server, "aof_last_bgrewrite_status"), "err");
        server.client().run("SET small value");
        same(&server, "a rewrite has failed");
        assert!(log_bytes(disk.path()) > 1_000_000);
    }
    std::fs::remove_file(&ballast).unwrap();
    fill(0);
    same(&server, "there is room again");
    server.client().run("BGREWRITEAOF");
    wait_until("it ends well", || info(&server, "aof_rewrites") == "1");
    same(&server, "it is rewritten");
    assert!(log_bytes(disk.path()) < 1_200_000);
    server.stop(libc::SIGTERM);
    let server = Server::crimson(2, &arguments);
    wait_until("it is loaded", || server.client().show("PING") == "PONG");
    same(&server, "it is loaded");
}

/// Writes until that is refused, on a disk that becomes full; how many were acknowledged.
fn write_until_refused(server: &Server) -> usize {
    let mut client = server.client();
    let value = "v".repeat(500);
    let mut set = |number: &usize| client.try_call(&["SET", &format!("key:{number}"), &value]);
    let acknowledged = (0..100_000).take_while(|number| set(number).is_ok_and(|(reply, _)| !reply.is_error())).count();
    assert!(acknowledged > 10, "the disk is full from the start");
    acknowledged
}

/// SIGXFSZ ended the process without a line.
#[test]
fn a_limit_of_the_size_of_files_is_a_write_that_fails() {
    let arguments = ["--bind", "127.0.0.1", "--appendonly", "yes"];
    for policy in ["everysec", "always"] {
        let mut server = Server::crimson(1, &[&arguments[..], &["--appendfsync", policy]].concat());
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        limit_files(&server, 1 << 20);
        let acknowledged = write_until_refused(&server);
        assert!(server.log().contains("File too large"), "{policy}: {}", server.log());
        limit_files(&server, libc::RLIM_INFINITY);
        wait_until("it is written", || server.client().show("SET key:0 v") == "OK");
        assert!(acknowledged > 0 && server.client().run("DBSIZE").integer() as usize >= acknowledged, "{policy}");
        assert_eq!(server.stop(libc::SIGTERM), Some(0), "{policy}: {}", server.log());
    }
}

/// Sets the limit of the size of files of a server that runs.
fn limit_files(server: &Server, bytes: u64) {
    let limit = format!("--fsize={}:unlimited", if bytes == libc::RLIM_INFINITY { -1 } else { bytes as i64 });
    let status = Command::new("prlimit").args(["--pid", &server.pid().to_string(), &limit]).status();
    assert!(status.unwrap().success());
}

/// "Bye bye", exit code 0, and 340 of 2,278 acknowledged writes were gone.
#[test]
fn an_orderly_end_on_a_full_disk_is_refused_or_tells_what_is_left_and_loses_nothing() {
    for (policy, threads, kill) in
        [("everysec", 1, false), ("no", 2, false), ("everysec", 2, true), ("always", 2, false)]
    {
        let Some(disk) = SmallDisk::mount("7m") else {
            eprintln!("no file system of its own for this test: it tests nothing");
            return;
        };
        let dir = disk.path().to_str().unwrap();
        std::fs::write(disk.path().join("ballast"), vec![b'x'; 1 << 20]).unwrap();
        let arguments = ["--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", policy];
        let mut server = Server::crimson(threads, &arguments);
        let acknowledged = write_until_refused(&server);
        let mut client = server.client();
        assert_eq!(client.show("SHUTDOWN"), "(error) ERR Errors trying to SHUTDOWN. Check logs.", "{policy}");
        assert_eq!(client.show("GET key:0").len(), 502, "{policy}: it goes on");
        if kill {
            server.stop(libc::SIGKILL);
        } else {
            assert_eq!(server.stop(libc::SIGTERM), Some(1), "{policy}");
            let told = server.log();
            assert!(
                told.contains("is not whole on disk: No space left on device") && !told.contains("bye bye"),
                "{told}"
            );
            let manifest = std::fs::read_to_string(disk.path().join("appendonlydir/appendonly.aof.manifest")).unwrap();
            assert!(!manifest.contains("\ndurable "), "{manifest}");
        }
        std::fs::remove_file(disk.path().join("ballast")).unwrap();
        let mut server = Server::crimson(threads, &arguments);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        let keys = server.client().run("DBSIZE").integer() as usize;
        assert!(keys >= acknowledged, "{policy}: {keys} of {acknowledged}\n{}", server.log());
        assert!(server.client().try_call(&["SHUTDOWN"]).is_err(), "{policy}: now it ends");
        assert_eq!(server.stop(0), Some(0), "{policy}");
        let left = std::fs::read_dir(disk.path().join("appendonlydir")).unwrap();
        let left =
            left.map(|entry| entry.unwrap().file_name()).filter(|name| name.to_str().unwrap().ends_with(".pending"));
        assert_eq!(left.count(), 0, "{policy}: all is in the log");
    }
}

/// What this shard had answered stood behind the reply of another one when the disk was full, and left with that as if it
/// was safe: 12 and 24 of them were gone after a kill.
#[test]
fn replies_behind_those_of_other_shards_are_not_sent_when_a_write_has_failed() {
    let value = "v".repeat(2000);
    for round in 0..8 {
        let Some(disk) = SmallDisk::mount("160m") else {
            eprintln!("no file system of its own for this test: it tests nothing");
            return;
        };
        let dir = disk.path().to_str().unwrap();
        std::fs::write(disk.path().join("ballast"), vec![b'x'; 20 << 20]).unwrap();
        let arguments = ["--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--appendfsync", "always"];
        let mut server = Server::crimson(if round % 2 == 0 { 4 } else { 2 }, &arguments);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        let mut client = server.client();
        (0..20).for_each(|number| drop(client.run(&format!("SET first:{number} x"))));
        // What zero bytes have been written ahead for still fits.
        let mut fill = std::fs::File::create(disk.path().join("fill")).unwrap();
        while fill.write(&[b'x'; 512]).is_ok_and(|written| written > 0) {}
        let (mut acknowledged, mut goes_on, mut next) = (Vec::new(), true, 0);
        while goes_on {
            let keys: Vec<String> = (next..next + 50).map(|number| format!("k{number}")).collect();
            next += 50;
            let commands: Vec<u8> = keys.iter().flat_map(|key| encode(&["SET", key, &value])).collect();
            if client.try_send(&commands).is_err() {
                break;
            }
            for key in keys {
                match client.try_read() {
                    Ok((reply, _)) if !reply.is_error() => acknowledged.push(key),
                    Ok(_) => goes_on = false,
                    Err(_) => {
                        goes_on = false;
                        break;
                    }
                }
            }
            assert!(next < 100_000, "the disk is never full");
        }
        assert_eq!(server.stop(libc::SIGKILL), None);
        ["ballast", "fill"].iter().for_each(|name| std::fs::remove_file(disk.path().join(name)).unwrap());
        let server = Server::crimson(2, &arguments);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        let mut client = server.client();
        let gone = acknowledged.iter().filter(|key| client.run(&format!("EXISTS {key}")).integer() == 0).count();
        assert_eq!(gone, 0, "round {round}: of {} acknowledged", acknowledged.len());
    }
}

/// SHUTDOWN ended the server, with exit code 0, before the log that was switched on a moment ago held anything.
#[test]
fn a_server_whose_log_is_not_in_force_yet_does_not_end_by_shutdown() {
    let home = crate::Home::new();
    let mut server = home.serve(1, &[]);
    let mut client = server.client();
    let value = "v".repeat(1000);
    for chunk in 0..100 {
        let set = |number: usize| encode(&["SET", &format!("key:{number}"), &value]);
        client.send(&(chunk * 1000..(chunk + 1) * 1000).flat_map(set).collect::<Vec<_>>());
        (0..1000).for_each(|_| drop(client.read()));
    }
    assert_eq!(client.show("CONFIG SET appendonly yes"), "OK");
    assert_eq!(client.show("SHUTDOWN"), "(error) ERR Errors trying to SHUTDOWN. Check logs.");
    wait_until("it is in force", || info(&server, "aof_in_force") == "1");
    assert!(client.try_call(&["SHUTDOWN"]).is_err(), "now it ends");
    assert_eq!(server.stop(0), Some(0));
    let mut server = home.serve(1, &["--appendonly", "yes"]);
    let mut client = server.client();
    assert_eq!(client.run("DBSIZE").integer(), 100_000);
    // A signal ends it all the same, and tells.
    assert_eq!(client.show("CONFIG SET appendonly no"), "OK");
    wait_until("it is off", || info(&server, "aof_in_force") == "0");
    client.send(&[encode(&["CONFIG", "SET", "appendonly", "yes"])].concat());
    client.read();
    assert_eq!(server.stop(libc::SIGTERM), Some(1), "{}", server.log());
    assert!(server.log().contains("was not in force yet"), "{}", server.log());
}
