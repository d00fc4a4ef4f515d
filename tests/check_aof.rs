//! `crimson check-aof` on the real binary: logs that are whole, torn and damaged, what it tells, repairs and leaves alone.

#[path = "support/area.rs"]
mod area;

use area::Memory;
use crimson::persistence::aof::pending::{Head, Pending, WHOLE};
use crimson::persistence::aof::record::append as write_command;
use crimson::persistence::aof::{Entry, Kind, LogId, Manifest, Sealer, SegmentId, write_durable};
use crimson::persistence::storage::RealStorage;
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

const LOG: LogId = LogId(0x5e0c_31d0_7a9b_4f26);

/// A server's directory that goes with this value.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("crimson-check-aof-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("appendonlydir")).expect("a directory for the test");
        Self(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("appendonlydir")
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.log().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.log().join(name), bytes).expect("a file for the test");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs it; its exit code, and what it tells on both outputs.
fn check(dir: &Path, flags: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_crimson"))
        .arg("check-aof")
        .args(flags)
        .arg(dir)
        .output()
        .expect("the binary starts");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8(told).expect("it tells text"))
}

fn segment(segment: SegmentId, batches: usize) -> Vec<u8> {
    let (mut file, mut sealer) = (Vec::new(), Sealer::new(segment));
    for number in 0..batches {
        let start = file.len();
        write_command(&mut file, [&b"SET"[..], b"key", number.to_string().as_bytes()].into_iter());
        sealer.seal(&mut file, start, 1_700_000_000_000);
        sealer.synced(sealer.sequence());
    }
    file
}

/// A log of one shard with one increment of these records, a batch each; no batch calls another one durable.
fn increment(name: &str, records: &[&[&[u8]]]) -> (Dir, String) {
    let id = SegmentId { log: LOG, generation: 1, shard: 0, kind: Kind::Increment };
    let (dir, mut manifest) = (Dir::new(name), Manifest::new(LOG, 1));
    let (mut file, mut sealer) = (Vec::new(), Sealer::new(id));
    for record in records {
        let start = file.len();
        write_command(&mut file, record.iter().copied());
        sealer.seal(&mut file, start, 1);
    }
    let name = Manifest::segment_name("appendonly.aof", id);
    dir.write(&name, &file);
    manifest.files.push(Entry { name: name.clone(), segment: id, bytes: None });
    manifest.store(&RealStorage, &dir.log(), "appendonly.aof").expect("a manifest for the test");
    (dir, name)
}

const BOTH: &[&str] = &["--fix", "--truncate-at-corruption"];

/// A log of two shards: bases and increments of generation 3, increments of generation 4.
fn example(name: &str) -> Dir {
    let dir = Dir::new(name);
    let mut manifest = Manifest::new(LOG, 2);
    for shard in 0..2 {
        for (generation, kind, batches) in [(3, Kind::Base, 2), (3, Kind::Increment, 4), (4, Kind::Increment, 3)] {
            let id = SegmentId { log: LOG, generation, shard, kind };
            let (name, file) = (Manifest::segment_name("appendonly.aof", id), segment(id, batches));
            dir.write(&name, &file);
            let bytes = (kind == Kind::Base).then_some(file.len() as u64);
            manifest.files.push(Entry { name, segment: id, bytes });
        }
    }
    manifest.store(&RealStorage, &dir.log(), "appendonly.aof").expect("a manifest for the test");
    dir
}

const LAST: &str = "appendonly.aof.4.1.incr.aof";
const MIDDLE: &str = "appendonly.aof.3.1.incr.aof";
const BASE: &str = "appendonly.aof.3.0.base.aof";

fn assert_told(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}

#[test]
fn a_whole_log_is_good_from_either_directory() {
    let dir = example("good");
    for path in [&dir.0, &dir.log()] {
        let (code, told) = check(path, &[]);
        assert_eq!(code, 0, "{told}");
        assert_told(&told, &["2 shards, generation 4, 6 files", "4 batches, 4 records", "The log is good."]);
        assert_eq!(told.matches(": good, ").count(), 6, "{told}");
    }
}

#[test]
fn a_torn_end_is_cut_when_asked_and_kept() {
    let dir = example("torn");
    let whole = dir.bytes(LAST);
    let torn = [&whole[..], b"*3\r\n$3\r\nSET\r\n$3\r\nk"].concat();
    dir.write(LAST, &torn);
    let (code, told) = check(&dir.0, &[]);
    assert_eq!((code, dir.bytes(LAST)), (1, torn), "{told}");
    let at = format!("{LAST}: torn at {}: the last 18 of {} bytes are not whole", whole.len(), whole.len() + 18);
    // As a server would, unless it is told not to.
    let verdict = "The log can be loaded without its torn end, which a server cuts off at its start; with \
                   aof-load-truncated 'no' it cannot be loaded as it is.";
    assert_told(&told, &[&at, "--fix would cut it there: 18 bytes lost", verdict]);
    let (code, told) = check(&dir.0, &["--fix"]);
    assert_eq!((code, dir.bytes(LAST)), (0, whole.clone()), "{told}");
    assert_eq!(dir.bytes(&format!("{LAST}.cut")), b"*3\r\n$3\r\nSET\r\n$3\r\nk");
    dir.write(LAST, &whole[..whole.len() - 1]);
    assert_eq!(check(&dir.0, &["--fix"]).0, 0);
    assert!(dir.bytes(&format!("{LAST}.cut2")).starts_with(b"*3"));
    assert_eq!(check(&dir.0, &[]).0, 0);
}

#[test]
fn other_damage_is_cut_only_when_that_is_said() {
    let dir = example("corrupt");
    let mut damaged = dir.bytes(MIDDLE);
    let batch = damaged.len() / 4;
    damaged[batch + 5] ^= 1;
    dir.write(MIDDLE, &damaged);
    for flags in [&[][..], &["--fix"]] {
        let (code, told) = check(&dir.0, flags);
        assert_eq!((code, dir.bytes(MIDDLE)), (1, damaged.clone()), "{told}");
        let corrupt = format!("{MIDDLE}: corrupt at {batch}");
        let lost =
            format!("--fix --truncate-at-corruption would cut it there: {} bytes lost, 2 good batches", 3 * batch);
        assert_told(&told, &["\nThe log cannot be loaded as it is.\n"]);
        assert_told(&told, &[&corrupt, &format!("2 good batches behind, the first at {}", 2 * batch), &lost]);
    }
    let (code, told) = check(&dir.0, &["--fix", "--truncate-at-corruption"]);
    assert_eq!((code, dir.bytes(MIDDLE)), (0, damaged[..batch].to_vec()), "{told}");
    assert_eq!(dir.bytes(&format!("{MIDDLE}.cut")), damaged[batch..].to_vec());
    assert_eq!(check(&dir.0, &[]).0, 0);
}

#[test]
fn an_earlier_file_may_not_be_torn() {
    let dir = example("earlier");
    let whole = dir.bytes(MIDDLE);
    dir.write(MIDDLE, &whole[..whole.len() - 3]);
    let (code, told) = check(&dir.0, &["--fix"]);
    assert_eq!((code, dir.bytes(MIDDLE).len()), (1, whole.len() - 3), "{told}");
    assert_told(&told, &[&format!("{MIDDLE}: corrupt at "), "the file ends in the middle of it"]);
}

#[test]
fn a_base_that_lost_its_end_is_noticed_and_its_length_set_right() {
    let dir = example("base");
    let whole = dir.bytes(BASE);
    dir.write(BASE, &whole[..whole.len() / 2]);
    let (code, told) = check(&dir.0, &["--fix"]);
    assert_eq!(code, 1, "{told}");
    assert_told(&told, &[&format!("the file should have {} bytes", whole.len())]);
    assert_eq!(check(&dir.0, &["--fix", "--truncate-at-corruption"]).0, 0);
    assert_eq!(check(&dir.0, &[]).0, 0);
}

#[test]
fn what_is_missing_or_no_log_is_told() {
    let dir = example("missing");
    fs::remove_file(dir.log().join(BASE)).expect("it is there");
    let (code, told) = check(&dir.0, &["--fix", "--truncate-at-corruption"]);
    assert_eq!(code, 1);
    assert_told(&told, &[&format!("{BASE}: missing")]);
    let mut manifest = dir.bytes("appendonly.aof.manifest");
    manifest[20] ^= 1;
    dir.write("appendonly.aof.manifest", &manifest);
    let (code, told) = check(&dir.0, &[]);
    assert_eq!(code, 1);
    assert_told(&told, &["appendonly.aof.manifest: its checksum does not hold"]);
    fs::remove_file(dir.log().join("appendonly.aof.manifest")).expect("it is there");
    for path in [&dir.0, &dir.log()] {
        let (code, told) = check(path, &["--fix"]);
        assert_eq!(code, 1);
        let place = dir.log().display().to_string();
        assert_told(
            &told,
            &[&format!("{place}: there are files of an append-only log, but no manifest that lists them")],
        );
    }
    let (code, told) = check(&Dir::new("empty").0, &[]);
    assert_eq!(code, 1);
    assert_told(&told, &["there is no append-only log"]);
    let (code, told) = check(&dir.0.join("nosuch"), &[]);
    assert_eq!(code, 1);
    assert_told(&told, &["nosuch: "]);
    assert_eq!(check(&dir.0, &["--truncate-at-corruption"]).0, 1);
}

#[test]
fn logs_of_redis_are_checked_too() {
    let dir = Dir::new("redis");
    let mut records = Vec::new();
    write_command(&mut records, [&b"SET"[..], b"a", b"1"].into_iter());
    dir.write("appendonly.aof.1.base.aof", &records);
    dir.write("appendonly.aof.1.incr.aof", &[&records[..], b"*1\r\n$4\r\nPI"].concat());
    let manifest = "file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    dir.write("appendonly.aof.manifest", manifest.as_bytes());
    let (code, told) = check(&dir.0, &["--fix"]);
    assert_eq!((code, dir.bytes("appendonly.aof.1.incr.aof")), (0, records.clone()), "{told}");
    assert_told(&told, &["a log of Redis, 2 files"]);
    dir.write("appendonly.aof.1.base.aof", b"REDIS0011");
    let (code, told) = check(&dir.0, &["--fix", "--truncate-at-corruption"]);
    assert_eq!((code, dir.bytes("appendonly.aof.1.base.aof")), (1, b"REDIS0011".to_vec()));
    assert_told(&told, &["it is an RDB file of Redis (version 11), which cannot be read yet"]);
    let old = Dir::new("single");
    fs::write(old.0.join("appendonly.aof"), &records).expect("a file for the test");
    let (code, told) = check(&old.0, &[]);
    assert_eq!(code, 0, "{told}");
    assert_told(&told, &["appendonly.aof: good, 27 bytes, 1 records"]);
}

/// A base of Valkey was cut to nothing, and the log called good.
#[test]
fn a_snapshot_is_named_and_never_cut() {
    let dir = Dir::new("valkey");
    dir.write("appendonly.aof.1.base.rdb", b"VALKEY080 and so on");
    dir.write("appendonly.aof.1.incr.aof", b"");
    let manifest = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    dir.write("appendonly.aof.manifest", manifest.as_bytes());
    for flags in [&[][..], &["--fix"], BOTH] {
        let (code, told) = check(&dir.0, flags);
        assert_eq!((code, dir.bytes("appendonly.aof.1.base.rdb")), (1, b"VALKEY080 and so on".to_vec()), "{told}");
        assert_told(&told, &["it is an RDB file of Valkey (version 80)", "The log cannot be loaded as it is."]);
        assert!(!told.contains("would cut"), "{told}");
    }
    let ours = example("valkey-ours");
    ours.write(BASE, b"VALKEY080 and so on");
    let (code, told) = check(&ours.0, BOTH);
    assert_eq!((code, ours.bytes(BASE)), (1, b"VALKEY080 and so on".to_vec()), "{told}");
    assert_told(&told, &["it is an RDB file of Valkey (version 80)", "restore the file"]);
}

/// A flipped bit in the first record made --fix cut everything. A power failure without syncs may leave that as well, and then
/// nothing cut it.
#[test]
fn a_file_is_cut_to_nothing_only_when_that_is_said() {
    let commands: &[&[&[u8]]] = &[&[b"SET", b"a", b"1"], &[b"SET", b"a", b"2"]];
    for cut in [false, true] {
        let (dir, file) = increment(&format!("nothing-{cut}"), commands);
        let whole = dir.bytes(&file);
        let damaged = if cut { whole[..20].to_vec() } else { [b"*4", &whole[2..]].concat() };
        let more = if cut { "" } else { ", 1 good batches among them" };
        let loss = format!("{} bytes lost{more}", damaged.len());
        dir.write(&file, &damaged);
        for flags in [&[][..], &["--fix"]] {
            let (code, told) = check(&dir.0, flags);
            assert_eq!((code, dir.bytes(&file)), (1, damaged.clone()), "{told}");
            let would = format!("--fix --truncate-at-corruption would cut all of it: {loss}");
            assert_told(
                &told,
                &["nothing in it is good, and --fix does not cut it to nothing: restore the file", &would],
            );
        }
        let (code, told) = check(&dir.0, BOTH);
        assert_eq!((code, dir.bytes(&file)), (0, Vec::new()), "{told}");
        assert_told(&told, &[&format!("{file}: cut to nothing: {loss}; what was cut off is in "), "The log is good."]);
        assert_eq!(dir.bytes(&format!("{file}.cut")), damaged);
        assert_eq!(check(&dir.0, &[]).0, 0);
    }
    let base = example("nothing-base");
    let damaged = [b"?", &base.bytes(BASE)[1..]].concat();
    base.write(BASE, &damaged);
    let (code, told) = check(&base.0, BOTH);
    assert_eq!((code, base.bytes(BASE)), (1, damaged), "{told}");
}

/// Whatever says that something of a file was on disk, it is not cut to nothing: itself, another file, the manifest.
#[test]
fn a_file_that_was_on_disk_is_never_cut_to_nothing() {
    let commands: &[&[&[u8]]] = &[&[b"SET", b"a", b"1"], &[b"SET", b"a", b"2"]];
    let (noted, file) = increment("noted", commands);
    let location = noted.log();
    let mut manifest =
        Manifest::load(&RealStorage, &location, "appendonly.aof").expect("readable").expect("there is one");
    manifest.durable.insert(manifest.files[0].segment, 2);
    manifest.store(&RealStorage, &location, "appendonly.aof").expect("a manifest for the test");
    assert_eq!(check(&noted.0, &[]).0, 0);
    let itself = example("itself");
    for (dir, file) in [(noted, file.as_str()), (itself, LAST)] {
        let damaged = [b"*4", &dir.bytes(file)[2..]].concat();
        dir.write(file, &damaged);
        for flags in [&[][..], &["--fix"], BOTH] {
            let (code, told) = check(&dir.0, flags);
            assert_eq!((code, dir.bytes(file)), (1, damaged.clone()), "{told}");
            assert_told(&told, &["nothing in it is good, and it is not cut to nothing: restore the file"]);
        }
    }
}

#[test]
fn what_is_out_of_order_is_cut_when_asked_and_kept() {
    let commands: &[&[&[u8]]] = &[&[b"SET", b"a", b"1"], &[b"SET", b"a", b"2"], &[b"SET", b"a", b"3"]];
    let (dir, file) = increment("order", commands);
    let mut damaged = dir.bytes(&file);
    let batch = damaged.len() / 3;
    damaged[batch + 5] ^= 1;
    dir.write(&file, &damaged);
    let (code, told) = check(&dir.0, &[]);
    assert_eq!((code, dir.bytes(&file)), (1, damaged.clone()), "{told}");
    assert_told(
        &told,
        &[&format!("{file}: out of order at {batch} (seen at "), "--fix would cut it there", "1 good batches"],
    );
    assert_told(&told, &["The log cannot be loaded as it is."]);
    let (code, told) = check(&dir.0, &["--fix"]);
    assert_eq!((code, dir.bytes(&file)), (0, damaged[..batch].to_vec()), "{told}");
    assert_eq!(dir.bytes(&format!("{file}.cut")), damaged[batch..].to_vec());
}

/// A log was called good that no server loads.
#[test]
fn good_means_that_a_server_of_this_version_loads_it() {
    let transaction = |payload: &'static [u8]| -> Vec<&'static [u8]> {
        vec![b"CRIMSON.TRANSACTION", b"5", b"0", b"0", payload, b"1", b"*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n"]
    };
    for (record, flags, reason) in [
        (vec![&b"NOSUCH"[..], b"a"], &[][..], "unknown command 'NOSUCH'"),
        (vec![b"GET", b"a"], &[], "'get' is not a command that a log can hold"),
        (vec![b"SET", b"a"], &[], "wrong number of arguments for 'set'"),
        (vec![b"SELECT", b"16"], &[], "there is no database '16'"),
        (vec![b"SELECT", b"3"], &["--databases", "3"], "there is no database '3'"),
        (vec![b"MULTI"], &[], "MULTI where none belongs"),
        (vec![b"CRIMSON.TRANSACTION", b"5", b"1", b"0", b""], &[], "a malformed record of a transaction"),
        (transaction(b"*1\r\n"), &[], "a malformed record of a transaction"),
        (transaction(b"*2\r\n$6\r\nNOSUCH\r\n$1\r\na\r\n"), &[], "unknown command 'NOSUCH'"),
    ] {
        let (dir, file) = increment("loads", &[&[b"SET", b"a", b"1"], &record]);
        let (code, told) = check(&dir.0, flags);
        assert_eq!(code, 1, "{told}");
        assert_told(
            &told,
            &[&format!("{file}: cannot be loaded: at offset "), reason, "The log cannot be loaded as it is."],
        );
    }
    let (dir, _) = increment("loads-well", &[&[b"SELECT", b"16"], &transaction(b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n")]);
    assert_eq!(check(&dir.0, &["--databases", "17"]).0, 0);
}

#[test]
fn what_another_shard_calls_durable_must_be_there() {
    let dir = example("durable");
    let id = |shard| SegmentId { log: LOG, generation: 4, shard, kind: Kind::Increment };
    let mut file = dir.bytes(LAST);
    let (whole, start) = (file.len(), file.len());
    write_durable(&mut file, id(0), 3);
    Sealer::resume(id(1), 3).seal(&mut file, start, 1);
    dir.write(LAST, &file);
    assert_eq!(check(&dir.0, &[]).0, 0);
    let first = "appendonly.aof.4.0.incr.aof";
    let batch = dir.bytes(first).len() / 3;
    // Shorter, torn, and of another log.
    let (good, full) = (dir.bytes(first)[..2 * batch].to_vec(), dir.bytes(first));
    dir.write(first, &full[..2 * batch + 9]);
    let (code, told) = check(&dir.0, &["--fix"]);
    assert_eq!((code, dir.bytes(first).len()), (1, 2 * batch + 9), "{told}");
    let lost = format!("{first} ends with batch 2, but {LAST} says that batch 3 of it was on disk: batch 3 is lost");
    assert_told(&told, &[&lost, "--fix --truncate-at-corruption would cut it there"]);
    dir.write(first, &good);
    let (code, told) = check(&dir.0, &["--fix"]);
    assert_eq!(code, 1, "{told}");
    assert_told(&told, &["restore what is missing; --fix --truncate-at-corruption would go on without what is lost"]);
    let other = segment(SegmentId { log: LogId(9), ..id(0) }, 3);
    dir.write(first, &other);
    let (code, told) = check(&dir.0, BOTH);
    assert_eq!((code, dir.bytes(first)), (1, other), "{told}");
    assert_told(&told, &["the file belongs to another log, 0000000000000009", "restore the file"]);
    let zeros = [&vec![0; batch][..], &full[batch..2 * batch]].concat();
    dir.write(first, &zeros);
    let (code, told) = check(&dir.0, BOTH);
    assert_eq!((code, dir.bytes(first)), (1, zeros), "{told}");
    dir.write(first, &good);
    assert_eq!(check(&dir.0, BOTH).0, 0);
    assert_eq!((check(&dir.0, &[]).0, dir.bytes(LAST).len() > whole), (0, true));
}

#[test]
fn room_written_ahead_is_good() {
    let dir = example("room");
    let whole = dir.bytes(LAST);
    dir.write(LAST, &[&whole[..], &[0; 5000]].concat());
    let (code, told) = check(&dir.0, &[]);
    assert_eq!(code, 0, "{told}");
    assert_told(
        &told,
        &[&format!("{LAST}: good, {} bytes, 3 batches, 3 records, and room for 5000 bytes", whole.len())],
    );
}

#[test]
fn a_manifest_of_a_newer_format_is_named() {
    let dir = example("newer");
    let body = "crimson-aof 3\nsomething new\n";
    dir.write("appendonly.aof.manifest", format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())).as_bytes());
    let (code, told) = check(&dir.0, BOTH);
    assert_eq!(code, 1);
    assert_told(&told, &["its format has version 3, written by a newer Crimson; this server knows up to 2"]);
}

/// A file that the manifest does not list kept servers from starting, and the log was called good.
#[test]
fn a_file_that_is_newer_than_the_manifest_is_told() {
    let dir = example("newer");
    let stray = "appendonly.aof.5.0.incr.aof";
    dir.write(stray, b"");
    let (code, told) = check(&dir.0, &[]);
    assert_eq!(code, 0, "{told}");
    dir.write(stray, b"x");
    for flags in [&[][..], BOTH] {
        let (code, told) = check(&dir.0, flags);
        assert_eq!((code, dir.bytes(stray)), (1, b"x".to_vec()), "{told}");
        let path = dir.log().join(stray);
        assert_told(
            &told,
            &[&format!("{} is not part of the log", path.display()), "The log cannot be loaded as it is."],
        );
    }
}

/// Where `appendfilename` began with `temp-`, the manifest was taken for one that is being written.
#[test]
fn a_log_named_like_what_takes_a_manifests_place_is_found() {
    let id = SegmentId { log: LOG, generation: 1, shard: 0, kind: Kind::Increment };
    let (dir, mut manifest) = (Dir::new("named"), Manifest::new(LOG, 1));
    let name = Manifest::segment_name("temp-x", id);
    dir.write(&name, &segment(id, 2));
    manifest.files.push(Entry { name, segment: id, bytes: None });
    manifest.store(&RealStorage, &dir.log(), "temp-x").expect("a manifest for the test");
    dir.write("temp-temp-x.manifest", b"what a crash has left");
    for path in [&dir.0, &dir.log()] {
        let (code, told) = check(path, &[]);
        assert_eq!(code, 0, "{told}");
        assert_told(&told, &["temp-x.manifest: 1 shards", "The log is good."]);
    }
}

/// The log was called good, and a start served without what was in the entry.
#[test]
fn an_entry_of_a_pending_area_that_has_rotted_is_told() {
    let (dir, name) = increment("rot", &[&[b"SET", b"a", b"1"]]);
    let first = dir.bytes(&name);
    let id = SegmentId { log: LOG, generation: 1, shard: 0, kind: Kind::Increment };
    let mut second = b"*1\r\n$4\r\nPING\r\n".to_vec();
    Sealer::resume(id, 1).seal(&mut second, 0, 1);
    let bytes = Rc::new(RefCell::new(vec![0; 4096]));
    let head = Head { segment: id, sequence: 2, offset: first.len() as u64, before: WHOLE };
    Pending::new(Box::new(Memory(bytes.clone()))).put(head, &second, (0, 1), 0);
    let area = "appendonly.aof.0.pending";
    dir.write(area, &bytes.borrow());
    let (code, told) = check(&dir.0, &[]);
    assert_eq!(code, 0, "{told}");
    assert_told(&told, &[&format!("{name}: {} bytes more are in {area}", second.len())]);
    for at in [3, 40, 70] {
        let mut rotten = bytes.borrow().clone();
        rotten[at] ^= 1;
        dir.write(area, &rotten);
        let (_, told) = check(&dir.0, &["--fix"]);
        assert_told(&told, &[&format!("{area}: entries that cannot be read (1, the first at 0)")]);
        assert_eq!((dir.bytes(&name), dir.bytes(area)), (first.clone(), rotten), "a bit at {at}");
    }
}
