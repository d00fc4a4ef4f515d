//! Files that are whole and yet not what the log should have there: of another log, older ones, empty ones, of other
//! programs, of an earlier format.

use crate::logs::{Dir, FILENAME, LOG, Written, contents, name};
use crate::support::wait_until;
use crimson::persistence::aof::{Kind, LogId, Manifest};
use crimson::persistence::storage::RealStorage;
use std::fs;
use std::process::Command;

/// A log of two shards in which each says of the other what it has on disk: shard 0 has two batches, shard 1 three.
fn vouching(log: LogId) -> Written {
    let mut written = Written::of(log, 2);
    let keys = [0, 1].map(|shard| written.key(shard));
    written.batch(1, &[&format!("SET {} 1", keys[1])]);
    written.batch(1, &[&format!("SET {} 2", keys[1])]);
    written.batch(0, &[&format!("SET {} 1", keys[0])]);
    written.vouch(0, 1, 2);
    written.vouch(1, 0, 1);
    written
}

fn manifest(dir: &Dir) -> Manifest {
    Manifest::load(&RealStorage, &dir.path(""), FILENAME).expect("readable").expect("there is one")
}

/// One shard's increment that was empty or older loaded with one warning line.
#[test]
fn a_file_that_has_lost_what_another_shard_calls_durable_stops_the_start() {
    let whole = vouching(LOG).store();
    let (first, second) = (name(1, 0, Kind::Increment), name(1, 1, Kind::Increment));
    let bytes = whole.bytes(&second);
    let line = memchr::memmem::find(&bytes, b"#BATCH:").expect("it has batches");
    let older = line + memchr::memchr(b'\n', &bytes[line..]).expect("a line ends") + 1;
    for (left, lost) in [(0, "batch 0, but"), (older, "batch 1, but")] {
        let dir = vouching(LOG).store();
        dir.write(&second, &bytes[..left]);
        for (threads, more) in [(1, &[][..]), (2, &[]), (2, &["--aof-load-truncated", "no"])] {
            let told = dir.refused(threads, more);
            for part in
                [&format!("{second} ends with {lost} {first} says that batch 2 of it was on disk")[..], "check-aof"]
            {
                assert!(told.contains(part), "{told}");
            }
            assert_eq!(dir.bytes(&second).len(), left, "nothing has been touched");
        }
    }
    assert_eq!(contents(&mut whole.serve(2, &[]).client()).lines().count(), 2);
}

#[test]
fn a_torn_file_is_not_cut_where_another_shard_has_seen_more() {
    let dir = vouching(LOG).store();
    let second = name(1, 1, Kind::Increment);
    let bytes = dir.bytes(&second);
    // In its second batch.
    let torn = &bytes[..bytes.len() / 2];
    dir.write(&second, torn);
    let told = dir.refused(2, &[]);
    assert!(told.contains("batch 2 of it was on disk: batch 2 is lost"), "{told}");
    assert_eq!(dir.bytes(&second), torn);
    assert!(!dir.path(&format!("{second}.cut")).exists());
}

/// One shard's file of another log of the same generation loaded, and equal stamps of both counted as one transaction.
#[test]
fn a_file_of_another_log_stops_the_start() {
    let (dir, other) = (vouching(LOG).store(), vouching(LogId(9)).store());
    for shard in [0, 1] {
        let file = name(1, shard, Kind::Increment);
        let own = dir.bytes(&file);
        dir.write(&file, &other.bytes(&file));
        for threads in [1, 2] {
            let told = dir.refused(threads, &[]);
            let path = dir.path(&file).display().to_string();
            let reason = "the file belongs to another log, 0000000000000009";
            assert!(told.contains(&format!("{path} is damaged at offset 0")) && told.contains(reason), "{told}");
            assert!(told.contains("Put the right file back") && !told.contains("cut it"), "{told}");
        }
        assert_eq!(dir.bytes(&file), other.bytes(&file));
        dir.write(&file, &own);
    }
    assert_eq!(contents(&mut dir.serve(2, &[]).client()).lines().count(), 2);
}

#[test]
fn a_log_of_format_1_is_loaded_and_gets_an_identity() {
    for threads in [1, 2] {
        let mut log = Written::of(LogId::NONE, 2);
        let keys = [0, 1].map(|shard| log.key(shard));
        for (shard, key) in keys.iter().enumerate() {
            log.batch(shard as u16, &[&format!("SET {key} {shard}")]);
        }
        let dir = log.store();
        assert!(dir.bytes("appendonly.aof.manifest").starts_with(b"crimson-aof 1\nshards 2\n"));
        let mut server = dir.serve(threads, &[]);
        let before = contents(&mut server.client());
        assert_eq!(before.lines().count(), 2);
        let renewed = manifest(&dir);
        assert_eq!((renewed.log.is_none(), renewed.generation(), renewed.shards), (false, 2, threads as u16));
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
        let server = dir.serve(threads, &[]);
        assert_eq!(contents(&mut server.client()), before);
        assert_eq!(manifest(&dir).log, renewed.log, "it stays the same log");
    }
}

#[test]
fn logs_of_two_servers_are_two() {
    let dirs = [Dir::new(), Dir::new()];
    dirs.iter().for_each(|dir| drop(dir.serve(2, &[])));
    let [first, second] = dirs.each_ref().map(|dir| manifest(dir).log);
    assert!(first != second && !first.is_none() && !second.is_none());
}

#[test]
fn a_snapshot_where_a_file_of_the_log_should_be_is_named() {
    for (start, what) in [(&b"REDIS0011"[..], "an RDB file of Redis"), (b"VALKEY080", "an RDB file of Valkey")] {
        let dir = vouching(LOG).store();
        let file = name(1, 1, Kind::Increment);
        dir.write(&file, start);
        let told = dir.refused(2, &[]);
        assert!(told.contains(&format!("{file}: it is {what}")) && told.contains("Put the right file back"), "{told}");
        assert_eq!(dir.bytes(&file), start);
    }
}

#[test]
fn room_written_ahead_is_no_damage_and_the_log_goes_on_before_it() {
    let dir = vouching(LOG).store();
    for shard in [0, 1] {
        let file = name(1, shard, Kind::Increment);
        dir.write(&file, &[&dir.bytes(&file)[..], &vec![0; 3 << 20]].concat());
    }
    for start in 0..3 {
        let mut server = dir.serve(2, &["--aof-load-truncated", "no"]);
        assert_eq!(contents(&mut server.client()).lines().count(), 2 + start);
        assert!(!server.log().contains("torn"), "{}", server.log());
        server.client().run(&format!("SET more{start} 1"));
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
    }
}

#[test]
fn good_batches_behind_a_bad_one_stop_the_start_whatever_the_policy() {
    for policy in ["no", "everysec", "always"] {
        let mut log = Written::new(1).without_syncs();
        for value in 0..3 {
            log.batch(0, &[&format!("SET key {value}")]);
        }
        let (dir, file) = (log.store(), name(1, 0, Kind::Increment));
        let mut bytes = dir.bytes(&file);
        let third = bytes.len() / 3;
        bytes[third + 20] ^= 1;
        dir.write(&file, &bytes);
        let told = dir.refused(1, &["--appendfsync", policy]);
        let path = dir.path(&file).display().to_string();
        assert!(told.contains(&format!("{path} is out of order at offset {third}")), "{told}");
        assert!(told.contains("1 good batches behind it") && told.contains("check-aof --fix"), "{told}");
        assert_eq!(dir.bytes(&file), bytes, "nothing has been touched");
    }
}

/// Where even the first batch is bad nothing helped: no cut left anything.
#[test]
fn a_file_that_begins_with_a_hole_is_given_up_when_that_is_said() {
    let mut log = Written::new(1).without_syncs();
    (0..3).for_each(|value| log.batch(0, &[&format!("SET key{value} 1")]));
    let (dir, file) = (log.store(), name(1, 0, Kind::Increment));
    let mut bytes = dir.bytes(&file);
    bytes[..50].fill(0);
    dir.write(&file, &bytes);
    let told = dir.refused(1, &[]);
    assert!(told.contains("is out of order at offset 0") && told.contains("--fix --truncate-at-corruption"), "{told}");
    check(&dir, &["--fix"], 1);
    assert_eq!(dir.bytes(&file), bytes);
    check(&dir, &["--fix", "--truncate-at-corruption"], 0);
    assert_eq!(dir.bytes(&format!("{file}.cut")), bytes);
    let mut server = dir.serve(1, &[]);
    assert_eq!(server.client().show("SET key 1"), "OK");
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    assert_eq!(contents(&mut dir.serve(1, &[]).client()).lines().count(), 1);
}

/// Nobody had called anything durable: a file that was emptied or cut back after an orderly end loaded without a line.
#[test]
fn a_file_that_has_lost_something_since_an_orderly_end_stops_the_start() {
    for (policy, threads) in ["no", "everysec", "always"].iter().flat_map(|policy| [(*policy, 1), (*policy, 2)]) {
        let (dir, keys) = (Dir::new(), Written::new(threads));
        let more = ["--appendfsync", policy];
        let mut server = dir.serve(usize::from(threads), &more);
        for shard in 0..threads {
            (0..3).for_each(|value| _ = server.client().run(&format!("SET {} {value}", keys.key(shard))));
        }
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
        assert_eq!(manifest(&dir).durable.len(), usize::from(threads));
        for file in (0..threads).map(|shard| name(1, shard, Kind::Increment)) {
            let whole = dir.bytes(&file);
            let first = memchr::memmem::find(&whole, b"#BATCH:").expect("it has batches");
            let older = first + memchr::memchr(b'\n', &whole[first..]).expect("a line ends") + 1;
            for (left, last) in [(0, 0), (older, 1)] {
                dir.write(&file, &whole[..left]);
                let told = dir.refused(usize::from(threads), &more);
                let lost = format!("{file} ends with batch {last}, but the manifest says that batch ");
                assert!(told.contains(&lost), "{policy}, {threads}: {told}");
                check(&dir, &["--fix"], 1);
                assert_eq!(dir.bytes(&file), &whole[..left], "nothing has been touched");
            }
            dir.write(&file, &whole);
        }
        check(&dir, &[], 0);
        let copy = copy(&dir);
        // A lower bound: it stays true while the log goes on.
        let mut server = dir.serve(usize::from(threads), &more);
        assert_eq!(contents(&mut server.client()).lines().count(), usize::from(threads));
        server.client().run(&format!("SET {} more", keys.key(0)));
        let noted = manifest(&dir).durable;
        server.stop(libc::SIGKILL);
        assert_eq!(manifest(&dir).durable, noted, "a kill leaves what was there");
        assert_eq!(dir.serve(usize::from(threads), &more).client().show(&format!("GET {}", keys.key(0))), "\"more\"");
        let mut older = copy.serve(usize::from(threads), &more);
        assert_eq!(older.client().show(&format!("GET {}", keys.key(0))), "\"2\"", "a whole older copy is loaded");
        assert!(older.client().show("BGREWRITEAOF").contains("started"));
        let files = || manifest(&copy).files;
        wait_until("it is rewritten", || files().iter().all(|file| file.segment.generation == 2));
        assert!(manifest(&copy).durable.is_empty(), "of files that are gone nothing is said");
        assert_eq!(older.stop(libc::SIGTERM), Some(0));
        check(&copy, &[], 0);
    }
}

/// A whole copy of a log.
fn copy(dir: &Dir) -> Dir {
    let copy = Dir::new();
    dir.names().iter().for_each(|name| copy.write(name, &dir.bytes(name)));
    copy
}

/// Whoever has put another manifest there is told, and it stays.
#[test]
fn an_orderly_end_changes_no_manifest_of_another_log() {
    let (dir, other) = (Dir::new(), vouching(LOG).store());
    let mut server = dir.serve(1, &[]);
    server.client().run("SET a 1");
    let foreign = other.bytes("appendonly.aof.manifest");
    dir.write("appendonly.aof.manifest", &foreign);
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    assert!(server.log().contains("Can't note in the manifest what is on disk: the manifest "), "{}", server.log());
    assert_eq!(dir.bytes("appendonly.aof.manifest"), foreign);
}

/// A torn last batch with a valid batch line in a value counted as damage with a good batch behind it.
#[test]
fn a_value_that_looks_like_a_batch_does_not_stop_a_restart() {
    let forged = vouching(LogId(9));
    let (file, value) = (name(1, 0, Kind::Increment), forged.store().bytes(&name(1, 0, Kind::Increment)));
    let dir = Dir::new();
    let mut server = dir.serve(1, &[]);
    assert_eq!(server.client().show("SET a 1"), "OK");
    let (own, before) = (dir.bytes(&file), dir.bytes("appendonly.aof.manifest"));
    for value in [&value[..], &own] {
        assert_eq!(server.client().call(&[&b"SET"[..], b"b", value]).text(), "OK");
    }
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    let whole = dir.bytes(&file);
    for cut in [1, 20, 60] {
        let _ = fs::remove_file(dir.path(&format!("{file}.cut")));
        dir.write(&file, &whole[..whole.len() - cut]);
        // That of the orderly end says that all was there.
        dir.write("appendonly.aof.manifest", &before);
        let mut server = dir.serve(1, &[]);
        assert_eq!(server.client().show("GET a"), "\"1\"");
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
    }
}

/// Transactions were "completed" that a torn end cannot have taken.
#[test]
fn a_transaction_that_is_missing_before_a_newer_file_stops_the_start() {
    let mut log = Written::new(2);
    let keys = [0, 1].map(|shard| log.key(shard));
    let part = |shard: u16| (shard, vec![format!("SET {} both", keys[usize::from(shard)])]);
    log.transaction(5, &[part(0), part(1)], &[0]);
    let before = log.store();
    assert_eq!(contents(&mut before.serve(2, &[]).client()).matches("both").count(), 2, "a torn end took it");
    log.next_generation();
    log.batch(1, &[&format!("SET {{{}}}more 1", keys[1])]);
    let dir = log.store();
    for threads in [1, 2] {
        let told = dir.refused(threads, &[]);
        assert!(
            told.contains("the transaction with stamp 5 is missing in the incr of shard 1 in generation 1"),
            "{told}"
        );
    }
    check(&dir, &[], 1);
    check(&dir, &["--fix", "--truncate-at-corruption"], 0);
    assert_eq!(contents(&mut dir.serve(2, &[]).client()).matches("both").count(), 2);
}

#[test]
fn what_is_known_to_be_lost_no_longer_stops_the_start() {
    let (dir, second) = (vouching(LOG).store(), name(1, 1, Kind::Increment));
    dir.write(&second, b"");
    dir.refused(2, &[]);
    check(&dir, &["--fix", "--truncate-at-corruption"], 0);
    let mut server = dir.serve(2, &[]);
    assert_eq!(contents(&mut server.client()).lines().count(), 1);
    assert_eq!((manifest(&dir).generation(), manifest(&dir).lost.len()), (2, 0), "a new generation knows of no loss");
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
    dir.serve(2, &[]);
}

fn check(dir: &Dir, flags: &[&str], code: i32) {
    let binary = Command::new(env!("CARGO_BIN_EXE_crimson")).arg("check-aof").args(flags).arg(&dir.0).output();
    let output = binary.expect("the binary starts");
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
}
