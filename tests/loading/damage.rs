//! Logs with a torn end, damaged ones, and such as the disk may not have.

use crate::logs::{Dir, Written, contents, name, record};
use crate::support::wait_until;
use crimson::persistence::aof::Kind;
use std::fs;
use std::time::{Duration, SystemTime};

/// A key of a shard of two.
fn key(shard: u16) -> String {
    Written::new(2).key(shard)
}

/// A log of two shards with a base and three batches each.
fn example() -> Dir {
    let mut log = Written::new(2);
    for shard in 0..2 {
        let key = key(shard);
        log.bytes(shard, Kind::Base, &record(&format!("SET {{{key}}}base 1")));
        for number in 0..3 {
            log.batch(shard, &[&format!("SET {key} {number}")]);
        }
    }
    log.store()
}

/// A sync alone does not bring to disk what an earlier one has failed on.
#[test]
fn what_a_file_does_not_call_durable_is_written_again() {
    let mut log = Written::new(1);
    log.batch(0, &["SET a 1"]);
    let (dir, name) = (log.store(), name(1, 0, Kind::Increment));
    let (path, before) = (dir.path(&name), dir.bytes(&name));
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = fs::File::options().write(true).open(&path).expect("it is there");
    file.set_modified(long_ago).expect("it has a time");
    let server = dir.begin(1, &[]);
    let written = || fs::metadata(&path).and_then(|file| file.modified()).expect("it is there") != long_ago;
    wait_until("it is written", written);
    // Whatever else is written there makes it longer, after a second.
    assert_eq!(dir.bytes(&name), before, "the same again");
    wait_until("it is loaded", || server.client().show("GET a") == "\"1\"");
}

#[test]
fn a_torn_end_is_cut_off() {
    for threads in [1, 2] {
        let dir = example();
        let last = name(1, 1, Kind::Increment);
        let whole = dir.bytes(&last);
        let before = whole.len() / 3 * 2;
        dir.write(&last, &whole[..whole.len() - 3]);
        let told = dir.refused(threads, &["--aof-load-truncated", "no"]);
        let path = dir.path(&last).display().to_string();
        assert!(told.contains(&format!("{path} is torn at offset {before}: ")), "{told}");
        assert!(told.contains("`crimson check-aof --fix"), "{told}");
        assert_eq!(dir.bytes(&last).len(), whole.len() - 3, "nothing has been touched");
        let mut server = dir.serve(threads, &[]);
        let values = [0, 1].map(|shard| server.client().show(&format!("GET {}", key(shard))));
        assert_eq!(values, ["\"2\"", "\"1\""]);
        let lost = whole.len() - 3 - before;
        let line = format!(
            "{path} is torn at offset {before}: the file ends in the middle of it; its last {lost} bytes are dropped, and \
             kept in {path}.cut"
        );
        assert_eq!(dir.bytes(&format!("{last}.cut")), &whole[before..whole.len() - 3]);
        assert!(server.log().contains(&line), "{}", server.log());
        server.client().run("SET after 1");
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
        let server = dir.serve(threads, &["--aof-load-truncated", "no"]);
        assert!(contents(&mut server.client()).contains("0 after "));
        assert!(!server.log().contains("torn"));
    }
}

#[test]
fn a_torn_end_before_empty_files_is_cut_off() {
    let mut log = Written::new(1);
    log.batch(0, &["SET a 1"]);
    let good = log.length(0);
    log.batch(0, &["SET a 2"]);
    log.next_generation();
    let dir = log.store();
    let torn = name(1, 0, Kind::Increment);
    let bytes = dir.bytes(&torn);
    dir.write(&torn, &bytes[..bytes.len() - 1]);
    for start in 0..2 {
        let mut server = dir.serve(1, &[]);
        assert_eq!(server.client().show("GET a"), "\"1\"");
        assert_eq!(server.log().contains("is torn"), start == 0, "{}", server.log());
        assert_eq!(dir.bytes(&torn).len(), good);
        server.client().run("SET b 1");
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
    }
}

#[test]
fn every_cut_of_the_last_file_is_loaded() {
    let dir = example();
    let last = name(1, 0, Kind::Increment);
    let (whole, manifest) = (dir.bytes(&last), dir.bytes("appendonly.aof.manifest"));
    for len in (0..whole.len()).step_by(29) {
        dir.write(&last, &whole[..len]);
        // That of the last orderly end says that all was there.
        dir.write("appendonly.aof.manifest", &manifest);
        let mut server = dir.serve(2, &[]);
        let good = len / (whole.len() / 3);
        let expected = if good == 0 { "(nil)".into() } else { format!("\"{}\"", good - 1) };
        assert_eq!(server.client().show(&format!("GET {}", key(0))), expected, "{len}");
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
        // What is left is durable, and a mark says so.
        let (left, after) = (good * (whole.len() / 3), dir.bytes(&last));
        assert_eq!(&after[..left], &whole[..left], "{len}");
        assert!(if good == 0 { after.is_empty() } else { after[left..].starts_with(b"#BATCH:0:") }, "{len}");
    }
}

#[test]
fn damage_is_refused_with_file_and_offset() {
    for threads in [1, 2] {
        for (kind, at, offset) in [(Kind::Increment, 30, 0), (Kind::Base, 20, 0)] {
            let dir = example();
            let file = name(1, 0, kind);
            let mut bytes = dir.bytes(&file);
            bytes[at] ^= 1;
            dir.write(&file, &bytes);
            let told = dir.refused(threads, &[]);
            let path = dir.path(&file).display().to_string();
            assert!(told.contains(&format!("{path} is damaged at offset {offset}")), "{told}");
            assert_eq!(dir.bytes(&file), bytes, "nothing has been touched");
        }
        let dir = example();
        let file = name(1, 0, Kind::Base);
        let bytes = dir.bytes(&file);
        dir.write(&file, &bytes[..bytes.len() - 1]);
        let told = dir.refused(threads, &[]);
        assert!(told.contains(&format!("{} is damaged at offset 0", dir.path(&file).display())), "{told}");
    }
}

#[test]
fn a_record_that_cannot_be_replayed_is_refused_with_file_and_offset() {
    for (lines, reason) in [
        (&["SET a 1", "NOSUCH a"][..], "unknown command 'NOSUCH'"),
        (&["SET a 1", "GET a"], "'get' is not a command that a log can hold"),
        (&["SET a 1", "LPUSH a 1"], "'lpush' has failed: WRONGTYPE"),
        (&["SET a 1", "SELECT 99"], "there is no database '99'"),
    ] {
        let mut log = Written::new(1);
        log.batch(0, lines);
        let dir = log.store();
        for threads in [1, 2] {
            let told = dir.refused(threads, &[]);
            let place = format!(
                "{} at offset {}: {reason}",
                dir.path(&name(1, 0, Kind::Increment)).display(),
                record(lines[0]).len()
            );
            assert!(told.contains(&place), "{told}\n{place}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_changed_is_refused() {
    let dir = example();
    let file = dir.path(&name(1, 0, Kind::Increment));
    // A directory in its place: nobody can read or write that, whoever runs the test.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let told = dir.refused(2, &[]);
    assert!(told.contains(&file.display().to_string()), "{told}");
}
