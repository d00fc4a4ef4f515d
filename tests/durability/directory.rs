//! The directory of the log while a server runs: it believes itself and not the disk, it has the directory to itself, and
//! it stays in it wherever that is moved to.

use crate::support::{Server, encode};
use crate::{Home, info, wait_until};
use crimson::limits::{AOF_FILENAME_BYTES_MAX, AOF_GENERATIONS_MAX};
use crimson::persistence::aof::{Entry, Kind, LogId, Manifest, SegmentId};
use crimson::persistence::storage::RealStorage;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

const ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
const MANIFEST: &str = "appendonly.aof.manifest";

/// Names and contents of all files.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap())).collect()
}

/// Asks for a rewrite and waits for its end; whether it went well.
fn rewrite(server: &Server) -> bool {
    let count = |field| info(server, field).parse::<u64>().unwrap();
    let before = (count("aof_rewrites"), count("aof_rewrites_consecutive_failures"));
    assert_eq!(server.client().show("BGREWRITEAOF"), "Background append only file rewriting started");
    wait_until("the rewrite has ended", || {
        before != (count("aof_rewrites"), count("aof_rewrites_consecutive_failures"))
            && info(server, "aof_rewrite_in_progress") == "0"
            && info(server, "aof_rewrite_scheduled") == "0"
    });
    info(server, "aof_last_bgrewrite_status") == "ok"
}

fn wait_for_line(server: &Server, line: &str) {
    wait_until(line, || server.log().contains(line));
}

/// The rewrite began at generation 1 again, removed live files, and stored a manifest of empty increments.
#[test]
fn a_manifest_that_goes_or_is_rolled_back_makes_rewrites_fail_and_nothing_else() {
    for rolls_back in [false, true] {
        let home = Home::new();
        let log = home.0.join("appendonlydir");
        let mut server = home.serve(2, ALWAYS);
        let mut client = server.client();
        let older = fs::read(log.join(MANIFEST)).unwrap();
        (0..200).for_each(|number| assert_eq!(client.show(&format!("SET key:{number} {number}")), "OK"));
        assert!(rewrite(&server));
        client.run("SET a 1");
        let manifest = fs::read(log.join(MANIFEST)).unwrap();
        if rolls_back {
            fs::write(log.join(MANIFEST), &older).unwrap();
        } else {
            fs::remove_file(log.join(MANIFEST)).unwrap();
        }
        let before = files(&log);
        assert!(!rewrite(&server));
        let state = if rolls_back { "is not the one that this server has stored" } else { "has gone" };
        wait_for_line(&server, &format!("appendonly.aof.manifest {state}, so nothing is changed there"));
        assert_eq!(files(&log), before);
        client.run("SET b 2");
        // Also where it is switched off and on.
        client.run("CONFIG SET appendonly no");
        wait_until("it is off", || info(&server, "aof_in_force") == "0");
        let before = files(&log);
        let failures = info(&server, "aof_rewrites_consecutive_failures");
        client.run("CONFIG SET appendonly yes");
        wait_until("it fails", || info(&server, "aof_rewrites_consecutive_failures") != failures);
        assert_eq!((files(&log), info(&server, "aof_in_force").as_str()), (before, "0"));
        client.run("CONFIG SET appendonly no");
        server.stop(libc::SIGKILL);
        fs::write(log.join(MANIFEST), &manifest).unwrap();
        let server = home.serve(2, ALWAYS);
        let mut client = server.client();
        assert_eq!(client.show("DBSIZE"), "(integer) 202", "rolls back: {rolls_back}");
        assert_eq!(client.show("MGET a b"), "1) \"1\"\n2) \"2\"");
        assert!(rewrite(&server));
    }
}

/// What the failure's line advises.
#[test]
fn a_log_whose_directory_is_moved_away_while_it_is_off_is_begun_anew() {
    let home = Home::new();
    let log = home.0.join("appendonlydir");
    let mut server = home.serve(2, ALWAYS);
    let mut client = server.client();
    client.run("MSET a 1 b 2 c 3");
    fs::remove_file(log.join(MANIFEST)).unwrap();
    client.run("CONFIG SET appendonly no");
    wait_until("it is off", || info(&server, "aof_in_force") == "0");
    let kept = home.0.join("kept");
    fs::rename(&log, &kept).unwrap();
    let before = files(&kept);
    client.run("CONFIG SET appendonly yes");
    wait_until("it is on", || info(&server, "aof_in_force") == "1");
    client.run("SET d 4");
    server.stop(libc::SIGKILL);
    assert_eq!(files(&kept), before);
    let server = home.serve(1, ALWAYS);
    assert_eq!(server.client().show("DBSIZE"), "(integer) 4");
}

#[test]
fn a_file_whose_name_a_rewrite_needs_is_left_alone() {
    let home = Home::new();
    let stranger = home.0.join("appendonlydir").join("appendonly.aof.2.0.base.aof");
    let server = home.serve(1, ALWAYS);
    let mut client = server.client();
    client.run("SET a 1");
    fs::write(&stranger, b"mine").unwrap();
    assert!(!rewrite(&server));
    wait_for_line(&server, "appendonly.aof.2.0.base.aof is there already, and not this server's");
    assert_eq!(fs::read(&stranger).unwrap(), b"mine");
    assert_eq!(client.show("SET b 2"), "OK");
    assert!(rewrite(&server), "the next generation has another number");
    assert_eq!(fs::read(&stranger).unwrap(), b"mine");
}

/// It took no lock and replaced the other server's log.
#[test]
fn a_rewrite_without_a_log_leaves_the_log_of_another_server_alone() {
    let home = Home::new();
    let mut first = home.serve(1, ALWAYS);
    (0..50).for_each(|number| drop(first.client().run(&format!("SET key:{number} x"))));
    let before = files(&home.0.join("appendonlydir"));
    let second = home.serve(2, &[]);
    second.client().run("SET other x");
    for _ in 0..2 {
        assert!(!rewrite(&second));
    }
    wait_for_line(&second, "appendonlydir is in use by another process");
    assert_eq!(second.log().matches("is in use by another process").count(), 2, "each that is asked for is told");
    assert_eq!(files(&home.0.join("appendonlydir")), before);
    first.stop(libc::SIGKILL);
    assert!(rewrite(&second), "it is free now");
    let third = Command::new(env!("CARGO_BIN_EXE_crimson"))
        .args(["--port", "0", "--unixsocket", "socket", "--appendonly", "yes", "--dir", home.0.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&third.stdout).contains("is in use by another process"), "{third:?}");
}

/// The directory was made anew, without a lock, and a second server could start on the same log.
#[test]
fn a_directory_that_is_renamed_stays_the_server_s_own() {
    for renames_dir in [false, true] {
        let home = Home::new();
        let server_dir = home.0.join("data");
        fs::create_dir(&server_dir).unwrap();
        let dir = server_dir.to_str().unwrap();
        let arguments = [&["--bind", "127.0.0.1", "--dir", dir], ALWAYS].concat();
        let mut first = Server::crimson(2, &arguments);
        wait_until("it serves", || first.client().show("PING") == "PONG");
        first.client().run("MSET a 1 b 2");
        let (from, to) = match renames_dir {
            true => (server_dir.clone(), home.0.join("moved")),
            false => (server_dir.join("appendonlydir"), server_dir.join("moved")),
        };
        fs::rename(&from, &to).unwrap();
        first.client().run("SET c 3");
        assert!(rewrite(&first));
        first.client().run("SET d 4");
        assert!(!from.exists(), "nothing is made where it was");
        // Another server there has a log of its own.
        fs::create_dir_all(&server_dir).unwrap();
        let mut second = Server::crimson(1, &arguments);
        wait_until("it serves", || second.client().show("PING") == "PONG");
        assert_eq!(second.client().show("DBSIZE"), "(integer) 0");
        second.client().run("SET second x");
        assert!(rewrite(&first) && rewrite(&second));
        first.stop(libc::SIGKILL);
        second.stop(libc::SIGKILL);
        fs::remove_dir_all(&from).unwrap();
        fs::rename(&to, &from).unwrap();
        let server = Server::crimson(2, &arguments);
        wait_until("it serves", || server.client().show("PING") == "PONG");
        assert_eq!(server.client().show("DBSIZE"), "(integer) 4", "renames dir: {renames_dir}");
    }
}

#[test]
fn a_directory_that_is_deleted_is_not_made_anew() {
    let home = Home::new();
    let log = home.0.join("appendonlydir");
    let server = home.serve(2, ALWAYS);
    let mut client = server.client();
    client.run("SET a 1");
    fs::remove_dir_all(&log).unwrap();
    assert!(!rewrite(&server));
    wait_for_line(&server, "appendonly.aof.manifest has gone");
    assert!(!log.exists());
    // Off and on again it is a log that there was not.
    client.run("CONFIG SET appendonly no");
    wait_until("it is off", || info(&server, "aof_in_force") == "0");
    client.run("CONFIG SET appendonly yes");
    wait_until("it is on", || info(&server, "aof_in_force") == "1");
    assert!(log.join(MANIFEST).exists());
}

/// The directory of the lock followed `dir`, and that of the files did not.
#[test]
fn a_log_is_switched_on_where_the_directives_say() {
    let home = Home::new();
    let other = home.0.join("other");
    fs::create_dir(&other).unwrap();
    let server = home.serve(2, &["--enable-protected-configs", "yes"]);
    let mut client = server.client();
    client.run("SET a 1");
    assert!(rewrite(&server));
    assert!(home.0.join("appendonlydir").join(MANIFEST).exists());
    let set = |client: &mut crate::support::Client, name: &str, value: &str| {
        client.call(&["CONFIG", "SET", name, value]).to_string()
    };
    assert_eq!(set(&mut client, "dir", other.to_str().unwrap()), "OK");
    assert_eq!(set(&mut client, "appendonly", "yes"), "OK");
    wait_until("it is on", || info(&server, "aof_in_force") == "1");
    assert!(other.join("appendonlydir").join(MANIFEST).exists());
    assert!(rewrite(&server));
}

/// Each added an increment of every shard, until neither a rewrite nor a start could read the manifest.
#[test]
fn rewrites_that_fail_do_not_make_the_manifest_grow_without_end() {
    let home = Home::new();
    let log = home.0.join("appendonlydir");
    fs::create_dir(&log).unwrap();
    let id = LogId(7);
    let mut manifest = Manifest::new(id, 1);
    for generation in 1..=AOF_GENERATIONS_MAX as u64 {
        let segment = SegmentId { log: id, generation, shard: 0, kind: Kind::Increment };
        let name = Manifest::segment_name("appendonly.aof", segment);
        fs::write(log.join(&name), b"").unwrap();
        manifest.files.push(Entry { name, segment, bytes: None });
    }
    manifest.store(&RealStorage, &log, "appendonly.aof").unwrap();
    let mut server = home.serve(1, ALWAYS);
    let mut client = server.client();
    client.run("SET a 1");
    let before = files(&log);
    assert!(!rewrite(&server));
    wait_for_line(&server, "rewrites have failed one after another");
    assert_eq!(files(&log), before);
    client.run("SET b 2");
    client.run("CONFIG SET appendonly no");
    wait_until("it is off", || info(&server, "aof_in_force") == "0");
    client.run("CONFIG SET appendonly yes");
    wait_until("it is on", || info(&server, "aof_in_force") == "1");
    assert_eq!(files(&log).len(), 4, "a base, an increment, the pending area and the manifest");
    assert!(rewrite(&server));
    server.stop(libc::SIGKILL);
    let server = home.serve(1, ALWAYS);
    assert_eq!(server.client().show("MGET a b"), "1) \"1\"\n2) \"2\"");
}

#[test]
fn a_directory_whose_path_is_no_text_is_refused_with_the_reason() {
    let home = Home::new();
    let dir = home.0.join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&dir).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_crimson"))
        .current_dir(&dir)
        .args(["--port", "0", "--unixsocket", "socket", "--appendonly", "yes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("its path is not UTF-8"), "{output:?}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    let link = home.0.join("link");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let server = home.serve(1, &["--enable-protected-configs", "yes"]);
    let mut client = server.client();
    let before = client.show("CONFIG GET dir");
    let told = client.call(&["CONFIG", "SET", "dir", link.to_str().unwrap()]).to_string();
    assert!(told.contains("its path is not UTF-8"), "{told}");
    assert_eq!(client.show("CONFIG GET dir"), before);
}

#[test]
fn names_that_the_system_would_not_take_are_refused_at_start() {
    let (longest, dir_name) = ("n".repeat(AOF_FILENAME_BYTES_MAX), "d".repeat(255));
    let home = Home::new();
    let arguments = [ALWAYS, &["--appendfilename", &longest, "--appenddirname", &dir_name]].concat();
    let mut server = home.serve(2, &arguments);
    server.client().run("MSET a 1 b 2 c 3");
    assert!(rewrite(&server));
    server.stop(libc::SIGKILL);
    let server = home.serve(3, &arguments);
    assert_eq!(server.client().show("DBSIZE"), "(integer) 3");
    for (name, value) in [("--appendfilename", longest + "n"), ("--appenddirname", "d".repeat(256))] {
        let refused = Command::new(env!("CARGO_BIN_EXE_crimson")).args(["--port", "0", name, &value]).output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains("a name of at most"), "{told}");
    }
}

/// INFO showed neither: the rewrite was no longer wanted, and not under way yet.
#[test]
fn a_rewrite_is_seen_from_when_it_is_answered_until_it_has_ended() {
    for log in ["no", "yes"] {
        let home = Home::new();
        let server = home.serve(2, &["--appendonly", log]);
        let mut client = server.client();
        client.run("MSET a 1 b 2 c 3");
        for number in 1..=60 {
            client.send(&encode(&["BGREWRITEAOF"]));
            assert_eq!(client.read().to_string(), "Background append only file rewriting started");
            let mut seen = 0;
            loop {
                let text = client.call(&["INFO", "persistence"]).text();
                let is = |line: &str| text.lines().any(|other| other.trim() == line);
                if !is("aof_rewrite_in_progress:1") && !is("aof_rewrite_scheduled:1") {
                    assert!(is(&format!("aof_rewrites:{number}")), "seen {seen} times: {text}");
                    break;
                }
                seen += 1;
            }
        }
    }
}
