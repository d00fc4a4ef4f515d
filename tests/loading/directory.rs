//! The directory of the log: begun, incomplete, with files that do not belong there.

use crate::logs::{Dir, FILENAME, Written, name};
use crate::support::wait_until;
use crimson::persistence::aof::{Kind, Manifest};
use std::fs;

#[test]
fn a_new_log_is_begun() {
    let dir = Dir::new();
    fs::remove_dir(dir.path("")).unwrap();
    let mut server = dir.serve(2, &[]);
    assert_eq!(server.client().show("MSET a 1 b 2 c 3"), "OK");
    let expected = [name(1, 0, Kind::Increment), name(1, 1, Kind::Increment), Manifest::name(FILENAME)];
    assert_eq!(dir.names(), expected);
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    let server = dir.serve(2, &[]);
    assert_eq!(server.client().show("DBSIZE"), "(integer) 3");
}

#[test]
fn other_names_are_possible() {
    let dir = Dir::new();
    let names = ["--appenddirname", "my log", "--appendfilename", "the \"aof\""];
    let mut server = dir.serve(1, &names);
    server.client().run("SET a 1");
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    assert!(dir.0.join("my log").join("the \"aof\".manifest").exists());
    let server = dir.serve(2, &names);
    assert_eq!(server.client().show("GET a"), "\"1\"");
}

#[test]
fn what_a_crash_has_left_is_removed() {
    let mut log = Written::new(1);
    log.on("a", &["SET a 1"]);
    let dir = log.store();
    let strays = [name(2, 0, Kind::Base), name(2, 0, Kind::Increment), format!("temp-{}", Manifest::name(FILENAME))];
    let others = ["appendonly.aof.1.incr.aof", "appendonly.aof.1.0.incr.aof.cut", "notes.txt"];
    strays.iter().map(String::as_str).chain(others).for_each(|name| dir.write(name, b"x"));
    let server = dir.serve(1, &[]);
    assert_eq!(server.client().show("GET a"), "\"1\"");
    let names = dir.names();
    assert!(strays.iter().all(|stray| !names.contains(stray)), "{names:?}");
    assert!(others.iter().all(|other| names.contains(&other.to_string())), "{names:?}");
    for stray in strays {
        let line = format!("Removing {}", dir.path(&stray).display());
        wait_until("it is told", || server.log().contains(&line));
    }
}

#[test]
fn a_log_that_is_not_whole_is_refused() {
    let example = || {
        let mut log = Written::new(2);
        log.on("a", &["SET a 1"]);
        log.store()
    };
    let manifest = Manifest::name(FILENAME);
    let dir = example();
    let missing = dir.path(&name(1, 1, Kind::Increment));
    fs::remove_file(&missing).unwrap();
    let told = dir.refused(2, &[]);
    assert!(told.contains(&format!("{}: No such file or directory", missing.display())), "{told}");

    let dir = example();
    let mut bytes = dir.bytes(&manifest);
    bytes[20] ^= 1;
    dir.write(&manifest, &bytes);
    let told = dir.refused(2, &[]);
    assert!(told.contains(&format!("{}: its checksum does not hold", dir.path(&manifest).display())), "{told}");

    let dir = example();
    fs::remove_file(dir.path(&manifest)).unwrap();
    let told = dir.refused(2, &[]);
    assert!(told.contains("holds files of an append-only log, but not its manifest"), "{told}");

    // A start that was cut off before there was a manifest has left nothing but empty files.
    let dir = Dir::new();
    dir.write(&name(1, 0, Kind::Increment), b"");
    dir.write(&name(1, 9, Kind::Increment), b"");
    let server = dir.serve(1, &[]);
    assert_eq!(server.client().show("DBSIZE"), "(integer) 0");
    assert_eq!(dir.names(), [name(1, 0, Kind::Increment), manifest]);
    drop(server);

    let dir = Dir::new();
    fs::remove_dir(dir.path("")).unwrap();
    fs::write(dir.path("").parent().unwrap().join("appendonlydir"), b"").unwrap();
    let told = dir.refused(1, &[]);
    assert!(told.contains("appendonlydir: Not a directory"), "{told}");
}

#[test]
fn two_servers_do_not_share_a_log() {
    let dir = Dir::new();
    let mut first = dir.serve(1, &[]);
    let told = dir.refused(1, &[]);
    assert!(told.contains("appendonlydir is in use by another process"), "{told}");
    first.client().run("SET a 1");
    assert_eq!(first.stop(libc::SIGKILL), None);
    let second = dir.serve(1, &[]);
    assert!(["\"1\"", "(nil)"].contains(&&second.client().show("GET a")[..]));
}
