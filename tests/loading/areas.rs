//! Pending areas at start: what they add, and that nothing of them is lost with a start that refuses, or beside files that
//! are not their own.

use crate::area::Memory;
use crate::logs::{Dir, FILENAME, LOG, Written, name};
use crate::support::{Server, wait_until};
use crimson::persistence::aof::pending::{self, Head, Pending, WHOLE};
use crimson::persistence::aof::{Kind, LogId, Manifest, SegmentId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::rc::Rc;

/// So many batches, each a key, has shard 1.
const BATCHES: usize = 6;

/// Bytes of a head in front of a batch.
const HEAD: usize = 64;

/// A log of two shards. The increment of shard 1 lacks the last two batches, which its pending area has, behind two others.
struct Example {
    dir: Dir,
    increment: String,
    area: String,
    /// Where the entries begin in the area.
    entries: Vec<usize>,
}

impl Example {
    /// `vouches`: shard 0 says that the first three batches are on disk.
    fn new(vouches: bool) -> Self {
        let mut log = Written::new(2).without_syncs();
        let mut ends = vec![0];
        let keys: Vec<String> =
            (0..).map(|number| format!("key{number}")).filter(|key| log.owner(key) == 1).take(BATCHES).collect();
        for key in &keys {
            log.batch(1, &[&format!("SET {key} {}", "v".repeat(300))]);
            ends.push(log.length(1));
        }
        if vouches {
            log.vouch(0, 1, 3);
        }
        let (dir, increment, area) = (log.store(), name(1, 1, Kind::Increment), pending::name(FILENAME, 1));
        let whole = dir.bytes(&increment);
        let bytes = Rc::new(RefCell::new(vec![0; 1 << 16]));
        let mut pending = Pending::new(Box::new(Memory(bytes.clone())));
        let segment = SegmentId { log: LOG, generation: 1, shard: 1, kind: Kind::Increment };
        let (mut entries, mut at) = (Vec::new(), 0);
        for number in BATCHES - 4..BATCHES {
            let head = Head { segment, sequence: number as u64 + 1, offset: ends[number] as u64, before: WHOLE };
            pending.put(head, &whole[ends[number]..ends[number + 1]], (number as u64, number as u64 + 1), 0);
            entries.push(at);
            at += (HEAD + ends[number + 1] - ends[number]).next_multiple_of(8);
        }
        dir.write(&area, &bytes.borrow());
        dir.write(&increment, &whole[..ends[BATCHES - 2]]);
        Self { dir, increment, area, entries }
    }

    /// All files with what is in them.
    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.dir.names();
        names.push(self.area.clone());
        names.into_iter().map(|name| (name.clone(), self.dir.bytes(&name))).collect()
    }

    fn put_back(&self, contents: &BTreeMap<String, Vec<u8>>) {
        contents.iter().for_each(|(name, bytes)| self.dir.write(name, bytes));
    }

    fn flip(&self, name: &str, at: usize) {
        let mut bytes = self.dir.bytes(name);
        bytes[at] ^= 4;
        self.dir.write(name, &bytes);
    }

    /// Starts a server that finds all batches and nothing to tell.
    fn assert_whole(&self) {
        let server = self.dir.serve(2, &[]);
        assert_eq!(keys(&server), BATCHES as i64, "{}", server.log());
        assert!(!server.log().contains(&format!("{} has", self.area)), "{}", server.log());
        assert!(self.dir.names().iter().all(|name| !name.contains(".cut")), "{:?}", self.dir.names());
    }
}

fn keys(server: &Server) -> i64 {
    server.client().run("DBSIZE").integer()
}

/// The start renamed the area or added what it had, and then refused. With the right file put back, the next start knew
/// nothing of the writes in it.
#[test]
fn a_start_that_refuses_leaves_the_pending_areas() {
    Example::new(true).assert_whole();
    let manifest = Manifest::name(FILENAME);
    for (what, adds) in [("an emptied increment", false), ("another manifest", false), ("a flipped bit", true)] {
        let example = Example::new(true);
        let right = example.contents();
        match what {
            "an emptied increment" => example.dir.write(&example.increment, b""),
            "another manifest" => {
                let other = Manifest::parse(&right[&manifest]).unwrap();
                let files = other.files.into_iter().map(|mut entry| {
                    entry.segment.log = LogId(7);
                    entry
                });
                let other = Manifest { files: files.collect(), ..Manifest::new(LogId(7), 2) };
                example.dir.write(&manifest, &other.to_bytes());
            }
            _ => example.flip(&example.increment, 50),
        }
        let before = example.contents();
        let told = example.dir.refused(2, &[]);
        let mut after = example.contents();
        if adds {
            // What is in the area follows the end of the file.
            assert!(after[&example.increment].starts_with(&before[&example.increment]), "{what}");
            after.insert(example.increment.clone(), before[&example.increment].clone());
        }
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{what}: {told}");
        assert!(after == before, "{what}: a file has changed");
        example.put_back(&right);
        example.assert_whole();
    }
}

/// A start that went well without the batches of an area wrote it over an older one that was kept.
#[test]
fn a_pending_area_that_does_not_fit_is_kept_under_a_free_name() {
    // With one core the area belongs to no shard of today.
    for threads in [2, 1] {
        let example = Example::new(false);
        let right = example.contents();
        let (area, older) = (&example.area, format!("{}.cut", example.area));
        example.dir.write(&older, b"kept by an earlier start");
        example.dir.write(&example.increment, b"");
        let mut server = example.dir.serve(threads, &[]);
        let path = example.dir.path(area).display().to_string();
        assert!(
            server.log().contains(&format!("{path} has batches that do not follow what is in the log (4)")),
            "{}",
            server.log()
        );
        wait_until("it is told", || server.log().contains(&format!("{path} is kept as {path}.cut2")));
        assert_eq!(example.dir.bytes(&older), b"kept by an earlier start");
        assert!(example.dir.bytes(&format!("{area}.cut2")) == right[area]);
        assert_eq!(server.stop(libc::SIGTERM), Some(0));
        // With the right files, and its own name again, it is added.
        let kept = example.dir.bytes(&format!("{area}.cut2"));
        std::fs::read_dir(example.dir.path(""))
            .unwrap()
            .for_each(|file| std::fs::remove_file(file.unwrap().path()).unwrap());
        example.put_back(&right);
        example.dir.write(area, &kept);
        example.assert_whole();
    }
}

/// A start served without the batch of an entry in which a bit had flipped, and told nobody.
#[test]
fn rot_in_a_pending_area_is_told_and_the_area_is_kept() {
    // In the magic, the identity, the number, the checksum and the batch of the last entry, and of the one before.
    for (offset, lost) in [2, 10, 33, 61, HEAD + 6].into_iter().flat_map(|offset| [(offset, 1), (offset, 2)]) {
        let example = Example::new(true);
        let first = example.entries[example.entries.len() - lost];
        example.flip(&example.area, first + offset);
        let rotten = example.dir.bytes(&example.area);
        let server = example.dir.serve(2, &[]);
        assert_eq!(keys(&server), (BATCHES - lost) as i64, "a bit at {offset}");
        let path = example.dir.path(&example.area).display().to_string();
        let told = format!("{path} has entries that cannot be read (1, the first at {first})");
        assert!(server.log().contains(&told), "a bit at {offset}: {}", server.log());
        wait_until("it is told", || server.log().contains(&format!("{path} is kept as {path}.cut")));
        assert!(example.dir.bytes(&format!("{}.cut", example.area)) == rotten, "a bit at {offset}");
    }
    // Two entries that the increment has anyway.
    let example = Example::new(true);
    example.flip(&example.area, HEAD + 6);
    example.assert_whole();
}

/// The process was killed by SIGXFSZ; and a full disk was told of the area, not of the file that had no room.
#[test]
fn a_start_without_room_for_what_is_pending_names_the_increment() {
    let example = Example::new(true);
    let before = example.contents();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_crimson")])
        .args(["--threads", "2", "--port", "0", "--bind", "127.0.0.1", "--appendonly", "yes", "--dir"])
        .arg(&example.dir.0)
        .arg("--unixsocket")
        .arg(example.dir.0.join("socket"))
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let (increment, area) = (example.dir.path(&example.increment), example.dir.path(&example.area));
    let line = format!(
        "{}: File too large. Nothing is lost: what it lacks is in {}, and a start adds it when there is room for it",
        increment.display(),
        area.display()
    );
    assert!(told.contains(&line), "{told}");
    assert!(example.contents() == before, "a file has changed");
    example.assert_whole();
}
