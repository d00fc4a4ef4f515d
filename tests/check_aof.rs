//! `crimson check-aof` on the real binary: logs that are whole, torn and damaged, what it tells, repairs and leaves alone.

use crimson::persistence::aof::record::append as write_command;
use crimson::persistence::aof::{Entry, Kind, LogId, Manifest, Sealer, SegmentId};
use crimson::persistence::storage::RealStorage;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
