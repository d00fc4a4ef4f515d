//! The directory of the log: begun, incomplete, with files that do not belong there.

use crate::logs::{Dir, FILENAME, Written, name, records};
use crate::support::wait_until;
use crimson::persistence::aof::{Kind, LogId, Manifest};
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
    note_begun(&dir, 3);
    let strays = [name(2, 0, Kind::Base), name(3, 0, Kind::Increment), format!("temp-{}", Manifest::name(FILENAME))];
    let others = ["appendonly.aof.1.incr.aof", "appendonly.aof.1.0.incr.aof.cut", "notes.txt"];
    strays.iter().map(String::as_str).chain(others).for_each(|name| dir.write(name, b"x"));
    let server = dir.serve(1, &[]);
    assert_eq!(server.client().show("GET a"), "\"1\"");
    wait_until("they are removed", || strays.iter().all(|stray| !dir.names().contains(stray)));
    let names = dir.names();
    assert!(others.iter().all(|other| names.contains(&other.to_string())), "{names:?}");
    for stray in strays {
        let line = format!("Removing {}", dir.path(&stray).display());
        wait_until("it is told", || server.log().contains(&line));
    }
}

/// Has the manifest say that a generation is begun.
fn note_begun(dir: &Dir, generation: u64) {
    let manifest = Manifest::parse(&dir.bytes(&Manifest::name(FILENAME))).unwrap();
    dir.write(&Manifest::name(FILENAME), &Manifest { begun: generation, ..manifest }.to_bytes());
}

/// All names, and what is in the files.
fn contents_of(dir: &Dir) -> Vec<(String, Vec<u8>)> {
    dir.names().into_iter().map(|name| (name.clone(), dir.bytes(&name))).collect()
}

/// A log of generation 2, and the manifest of generation 1 that was there before.
fn rewritten() -> (Dir, Vec<(String, Vec<u8>)>) {
    let dir = Dir::new();
    let mut server = dir.serve(2, &["--appendfsync", "always"]);
    let mut client = server.client();
    client.run("MSET a 1 b 2 c 3");
    let older = contents_of(&dir);
    client.run("BGREWRITEAOF");
    wait_until("it is rewritten", || client.run("INFO persistence").text().contains("aof_rewrites:1"));
    client.run("MSET d 4 e 5 f 6");
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    (dir, older)
}

/// The start took the files of the log for what a crash had left, and removed them before it refused.
#[test]
fn a_manifest_that_is_older_than_the_files_stops_the_start_and_nothing_is_removed() {
    let (dir, older) = rewritten();
    let manifest = Manifest::name(FILENAME);
    let right = dir.bytes(&manifest);
    // The manifest alone, and all that was there then, as if a copy had been put back.
    let alone: Vec<_> = older.iter().filter(|(name, _)| *name == manifest).cloned().collect();
    for restored in [alone, older] {
        restored.iter().for_each(|(name, bytes)| dir.write(name, bytes));
        let before = contents_of(&dir);
        let told = dir.refused(2, &[]);
        assert!(
            told.contains("appendonly.aof.2.0.") && told.contains("The manifest is older than the files"),
            "{told}"
        );
        assert_eq!(contents_of(&dir), before);
    }
    dir.write(&manifest, &right);
    let server = dir.serve(2, &[]);
    assert_eq!(server.client().show("DBSIZE"), "(integer) 6");
    assert!(dir.names().iter().all(|name| !name.starts_with("appendonly.aof.1.")), "{:?}", dir.names());
}

#[test]
fn nothing_is_removed_where_a_listed_file_is_missing_or_damaged() {
    let mut log = Written::new(2);
    log.on("a", &["SET a 1"]);
    let dir = log.store();
    note_begun(&dir, 2);
    dir.write(&name(2, 0, Kind::Base), b"what a rewrite has left");
    let whole = dir.bytes(&name(1, 1, Kind::Increment));
    fs::remove_file(dir.path(&name(1, 1, Kind::Increment))).unwrap();
    let before = contents_of(&dir);
    let told = dir.refused(2, &[]);
    assert!(told.contains("No such file or directory"), "{told}");
    assert_eq!(contents_of(&dir), before);
    // What is only found while it is loaded.
    dir.write(&name(1, 1, Kind::Increment), &[&whole[..], b"#BATCH:"].concat());
    let before = contents_of(&dir);
    dir.refused(2, &["--aof-load-truncated", "no"]);
    assert_eq!(contents_of(&dir), before);
    dir.write(&name(1, 1, Kind::Increment), &whole);
    let server = dir.serve(2, &[]);
    assert_eq!(server.client().show("GET a"), "\"1\"");
    wait_until("it is removed", || !dir.names().contains(&name(2, 0, Kind::Base)));
}

/// Files without a manifest were all that was there, and the next start refused.
#[test]
fn a_kill_while_the_log_is_switched_on_does_not_stop_the_next_start() {
    let dir = Dir::new();
    dir.write(&Manifest::name(FILENAME), &Manifest { begun: 1, ..Manifest::new(LogId(7), 2) }.to_bytes());
    dir.write(&name(1, 0, Kind::Base), b"half a base");
    dir.write(&name(1, 1, Kind::Increment), b"what belonged to no log yet");
    let server = dir.serve(2, &[]);
    assert_eq!(server.client().show("DBSIZE"), "(integer) 0");
    wait_until("they are removed", || dir.names().iter().all(|name| !name.starts_with("appendonly.aof.1.")));
    drop(server);

    for wait_us in [0, 300, 1000, 3000, 10_000, 30_000] {
        let dir = Dir::new();
        let mut server = dir.begin(2, &["--appendonly", "no"]);
        let mut client = server.client();
        client.run("DEBUG POPULATE 50000");
        assert_eq!(client.show("CONFIG SET appendonly yes"), "OK");
        std::thread::sleep(std::time::Duration::from_micros(wait_us));
        server.stop(libc::SIGKILL);
        let server = dir.serve(1, &[]);
        let keys = server.client().run("DBSIZE").integer();
        assert!([0, 50_000].contains(&keys), "{keys} keys, killed after {wait_us} us");
    }
}

/// What a start has left that was to make Redis's log one of ours.
#[test]
fn a_kill_while_a_log_of_redis_is_taken_over_does_not_stop_the_next_start() {
    let records = records(&["SET a 1"]);
    let dir = Dir::new();
    dir.write("appendonly.aof.1.incr.aof", &records);
    let manifest = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    dir.write(&Manifest::name(FILENAME), format!("{manifest}#crimson begun 2\n").as_bytes());
    dir.write(&name(2, 0, Kind::Base), b"half a base");
    // Without that note it is a log of ours beside the manifest of Redis.
    dir.write(&Manifest::name(FILENAME), manifest.as_bytes());
    let before = contents_of(&dir);
    let told = dir.refused(2, &[]);
    assert!(told.contains("is not part of the log"), "{told}");
    assert_eq!(contents_of(&dir), before);
    dir.write(&Manifest::name(FILENAME), format!("{manifest}#crimson begun 2\n").as_bytes());
    let server = dir.serve(2, &[]);
    assert_eq!(server.client().show("GET a"), "\"1\"");
    drop(server);

    // The single file of older versions has no manifest that could say so.
    let dir = Dir::new();
    fs::write(dir.0.join(FILENAME), &records).unwrap();
    dir.write(&name(2, 0, Kind::Base), b"half a base");
    let told = dir.refused(2, &[]);
    assert!(told.contains("but not its manifest"), "{told}");
    dir.write(
        &format!("temp-{}", Manifest::name(FILENAME)),
        &Manifest { begun: 2, ..Manifest::new(LogId(7), 2) }.to_bytes(),
    );
    let server = dir.serve(2, &[]);
    assert_eq!(server.client().show("GET a"), "\"1\"");
    assert!(dir.0.join(FILENAME).exists());
    let names = || dir.names();
    wait_until("it is cleared", || {
        names().iter().all(|name| !name.contains("temp-") && !name.starts_with("appendonly.aof.2."))
    });
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
