//! The append-only log on a disk that loses power at every moment, fills up and fails: what was synced is there
//! afterwards, in whole batches, and the manifest is the old or the new one.
//!
//! `AOF_SEEDS` says how many seeds are tried.

#[path = "support/disk.rs"]
mod disk;

use crimson::config::Fsync;
use crimson::persistence::aof::pending::{self, Area, Head, Pending, WHOLE};
use crimson::persistence::aof::record::append as write_command;
use crimson::persistence::aof::writer::Job;
use crimson::persistence::aof::{
    Direct, Doubt, End, Entry, Format, Kind, LogId, Manifest, Reader, Sealer, SegmentId, Step, again, writer,
};
use crimson::persistence::storage::Storage;
use crimson::stdx::random::Random;
use disk::Disk;
use std::io;
use std::path::{Path, PathBuf};

const LOG: LogId = LogId(7);
const SEGMENT: SegmentId = SegmentId { log: LOG, generation: 1, shard: 0, kind: Kind::Increment };
const DIR: &str = "/log";
const FILE: &str = "/log/a";

fn seeds() -> u64 {
    std::env::var("AOF_SEEDS").map_or(20, |text| text.parse().expect("AOF_SEEDS is a number"))
}

/// The numbers that the batches of the file carry, and how the file ends.
fn read(disk: &Disk) -> (Vec<u64>, End) {
    let (numbers, end, _) = load(disk);
    (numbers, end)
}

/// The same, and what of the file may be in memory alone.
fn load(disk: &Disk) -> (Vec<u64>, End, Doubt) {
    let (mut reader, mut numbers, mut chunk) = (Reader::new(Format::Batches(SEGMENT)), Vec::new(), [0; 300]);
    loop {
        match reader.step() {
            Step::Read(offset) => {
                let read = disk.read_at(Path::new(FILE), offset, &mut chunk).expect("the file is there");
                reader.feed(&chunk[..read]);
            }
            Step::Record(record) => {
                let number = std::str::from_utf8(record.args.at(1)).expect("a number");
                numbers.push(number.parse().expect("a number"));
            }
            Step::Batch(_) => {}
            Step::End(end) => return (numbers, end, Doubt::of(&reader)),
        }
    }
}

/// Appends batches as a writer does: after an error it cuts what it does not know to be durable and writes it again.
struct Writer<'a> {
    disk: &'a Disk,
    sealer: Sealer,
    /// What is sealed and not known to be durable.
    doubtful: Vec<u8>,
    durable_bytes: u64,
    next: u64,
    acknowledged: u64,
}

impl<'a> Writer<'a> {
    fn new(disk: &'a Disk) -> io::Result<Self> {
        disk.create_dir(Path::new(DIR))?;
        disk.sync_dir(Path::new("/"))?;
        disk.create(Path::new(FILE))?;
        disk.sync_dir(Path::new(DIR))?;
        let sealer = Sealer::new(SEGMENT);
        Ok(Self { disk, sealer, doubtful: Vec::new(), durable_bytes: 0, next: 0, acknowledged: 0 })
    }

    fn append(&mut self, random: &mut Random) -> io::Result<()> {
        let start = self.doubtful.len();
        for _ in 0..1 + random.below(3) {
            let value = vec![b'x'; random.below(1500)];
            write_command(&mut self.doubtful, [&b"N"[..], self.next.to_string().as_bytes(), &value].into_iter());
            self.next += 1;
        }
        self.sealer.seal(&mut self.doubtful, start, 1);
        self.disk.append(Path::new(FILE), &self.doubtful[start..])
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync(Path::new(FILE))?;
        self.sealer.synced(self.sealer.sequence());
        self.durable_bytes += self.doubtful.len() as u64;
        self.doubtful.clear();
        self.acknowledged = self.next;
        Ok(())
    }

    /// Goes on as the next process, which takes for durable what there is.
    fn resume(self, doubt: Doubt) -> Self {
        let sealer = Sealer::resume(SEGMENT, doubt.until.sequence);
        Self { sealer, doubtful: Vec::new(), durable_bytes: doubt.until.offset, acknowledged: self.next, ..self }
    }

    fn again(&mut self) -> io::Result<()> {
        self.disk.truncate(Path::new(FILE), self.durable_bytes)?;
        self.disk.append(Path::new(FILE), &self.doubtful)
    }
}

#[test]
fn what_was_synced_survives_a_power_failure_at_any_moment() {
    for seed in 0..seeds() {
        for moment in 0.. {
            let (disk, mut random) = (Disk::new(seed), Random::new(seed));
            disk.fail_power_after(moment);
            let Ok(mut writer) = Writer::new(&disk) else {
                disk.restart();
                continue;
            };
            let mut run = || {
                for _ in 0..8 {
                    writer.append(&mut random)?;
                    if random.below(3) == 0 {
                        writer.sync()?;
                    }
                }
                io::Result::Ok(())
            };
            let survived = run().is_ok();
            let (acknowledged, next) = (writer.acknowledged, writer.next);
            disk.restart();
            let (numbers, end) = read(&disk);
            let len = numbers.len() as u64;
            assert!(numbers.iter().copied().eq(0..len), "seed {seed}, moment {moment}: {numbers:?}");
            assert!((acknowledged..=next).contains(&len), "seed {seed}, moment {moment}: {len} of {acknowledged}");
            assert!(!matches!(end, End::Corrupt(_)), "seed {seed}, moment {moment}: {end:?}");
            if survived {
                break;
            }
        }
    }
}

#[test]
fn errors_lose_nothing_that_was_acknowledged() {
    for seed in 0..10 * seeds() {
        let (disk, mut random) = (Disk::new(seed), Random::new(seed));
        let mut writer = Writer::new(&disk).expect("nothing fails yet");
        for _ in 0..20 {
            match random.below(4) {
                0 => disk.fail_write_after(random.below(3) as u64),
                1 => disk.fail_sync_after(random.below(2) as u64),
                2 => disk.set_space(random.below(3000) as u64),
                _ => {}
            }
            let mut good = writer.append(&mut random).and_then(|()| writer.sync()).is_ok();
            disk.set_space(u64::MAX);
            for _ in 0..10 {
                if !good {
                    good = writer.again().and_then(|()| writer.sync()).is_ok();
                }
            }
            assert!(good);
        }
        let (_, end) = read(&disk);
        assert_eq!(end, End::Clean, "seed {seed}");
        let acknowledged = writer.acknowledged;
        disk.restart();
        let (numbers, end) = read(&disk);
        assert!(numbers.into_iter().eq(0..acknowledged) && end == End::Clean, "seed {seed}: {end:?}");
    }
}

#[test]
fn a_manifest_is_the_old_one_or_the_new_one() {
    let manifest = |generation| {
        let mut manifest = Manifest::new(LOG, 1);
        let segment = SegmentId { generation, ..SEGMENT };
        let entry = Entry { name: Manifest::segment_name("a", segment), segment, bytes: None };
        manifest.files.push(entry);
        manifest
    };
    let dir = Path::new(DIR);
    for seed in 0..10 * seeds() {
        for moment in 0..20 {
            let disk = Disk::new(seed);
            disk.create_dir(dir).and_then(|()| disk.sync_dir(Path::new("/"))).expect("nothing fails yet");
            let mut durable = 0;
            disk.fail_power_after(moment);
            for generation in 1..4 {
                if manifest(generation).store(&disk, dir, "a").is_err() {
                    break;
                }
                durable = generation;
            }
            disk.restart();
            match Manifest::load(&disk, dir, "a").expect("a whole one or none") {
                None => assert_eq!(durable, 0, "seed {seed}, moment {moment}"),
                Some(found) => {
                    let generation = found.generation();
                    let expected = durable..=durable + 1;
                    assert!(expected.contains(&generation), "seed {seed}, moment {moment}: {generation} of {durable}");
                    assert_eq!(found, manifest(generation));
                }
            }
        }
    }
}

/// What is left after these events: a sync fails, the process is killed before it has written the bytes again, the next one
/// finds them in memory, makes the file durable so, and goes on; the power fails.
fn left_after_a_failed_sync_and_a_kill(seed: u64, make_durable: fn(&Disk, Doubt) -> io::Result<()>) -> (u64, bool) {
    let (disk, mut random) = (Disk::new(seed), Random::new(seed));
    let mut writer = Writer::new(&disk).expect("nothing fails yet");
    for _ in 0..random.below(5) {
        writer.append(&mut random).expect("nothing fails yet");
        if random.below(2) == 0 {
            writer.sync().expect("nothing fails yet");
        }
    }
    writer.append(&mut random).expect("nothing fails yet");
    disk.fail_sync_after(0);
    assert!(writer.sync().is_err());
    let (numbers, end, doubt) = load(&disk);
    assert!(numbers.into_iter().eq(0..writer.next) && end == End::Clean, "seed {seed}: all can be read");
    make_durable(&disk, doubt).expect("nothing fails any more");
    let mut writer = writer.resume(doubt);
    writer.append(&mut random).and_then(|()| writer.sync()).expect("nothing fails any more");
    let acknowledged = writer.acknowledged;
    disk.restart();
    let (numbers, end) = read(&disk);
    (acknowledged, numbers.into_iter().eq(0..acknowledged) && end == End::Clean)
}

/// The next start synced the file, which made nothing durable, and vouched for it: answered writes were lost in the middle
/// of the log.
#[test]
fn what_a_failed_sync_has_left_in_memory_is_written_again_by_the_next_start() {
    let write_again = |disk: &Disk, doubt| again::make_durable(disk, Path::new(FILE), Format::Batches(SEGMENT), doubt);
    let sync = |disk: &Disk, _| disk.sync(Path::new(FILE));
    let mut lost = 0;
    for seed in 0..10 * seeds() {
        let (acknowledged, whole) = left_after_a_failed_sync_and_a_kill(seed, write_again);
        assert!(whole, "seed {seed}: of {acknowledged}");
        lost += u64::from(!left_after_a_failed_sync_and_a_kill(seed, sync).1);
    }
    assert!(lost > seeds(), "a sync alone is not enough on this disk");
}

/// Writes with the real writer until the power fails, if it does; how the increment ends then.
fn end_of_an_increment(seed: u64, policy: Fsync, moment: u64) -> (End, bool) {
    let (disk, mut random, mut now) = (Disk::new(seed), Random::new(seed), 0);
    let file = PathBuf::from(FILE);
    disk.create_dir(Path::new(DIR)).and_then(|()| disk.create(&file)).expect("nothing fails yet");
    [Path::new("/"), Path::new(DIR)].iter().for_each(|dir| disk.sync_dir(dir).expect("nothing fails yet"));
    disk.fail_power_after(moment);
    let mut writer = writer::Writer::new(policy, file, Sealer::new(SEGMENT), 0, now);
    writer.set_direct(Some(Direct { block_bytes: 16, least_bytes: 64 }));
    let mut has_power = true;
    for number in 0..12 {
        let (mut records, value) = (Vec::new(), vec![b'x'; random.below(1500)]);
        write_command(&mut records, [&b"N"[..], number.to_string().as_bytes(), &value].into_iter());
        writer.append(&mut records, now);
        now += random.below(300) as i64;
        for _ in 0..random.below(3) {
            let done = match writer.next(now, false) {
                None => break,
                Some(Job::Sync { file }) => disk.sync(file).map(|()| 0),
                Some(Job::Write { file, offset, bytes, durable, .. }) => {
                    let written = disk.write_at(file, offset, bytes);
                    written.and_then(|()| if durable { disk.sync(file) } else { Ok(()) }).map(|()| bytes.len() as i32)
                }
            };
            match done {
                Ok(result) => _ = writer.done(result, now),
                Err(_) => has_power = false,
            }
            if !has_power {
                break;
            }
        }
        if !has_power {
            break;
        }
    }
    disk.restart();
    (read(&disk).1, has_power)
}

/// The first batches were in the page cache, others behind them on disk, and no cut left anything.
#[test]
fn an_increment_never_begins_with_a_hole_after_a_power_failure() {
    for policy in [Fsync::EverySecond, Fsync::No, Fsync::Always] {
        let mut out_of_order = 0;
        for seed in 0..5 * seeds() {
            for moment in 0.. {
                let (end, survived) = end_of_an_increment(seed, policy, moment);
                match end {
                    End::OutOfOrder(damage) => {
                        out_of_order += 1;
                        assert!(damage.at > 0, "{policy:?}, seed {seed}, moment {moment}: {damage:?}");
                    }
                    End::Corrupt(_) => panic!("{policy:?}, seed {seed}, moment {moment}: {end:?}"),
                    End::Clean | End::Torn(_) => {}
                }
                if survived {
                    break;
                }
            }
        }
        assert_eq!(out_of_order == 0, policy == Fsync::Always, "{policy:?}: later holes are not what this is about");
    }
}

struct Mapped(Disk, &'static str);

impl Area for Mapped {
    fn len(&self) -> usize {
        4096
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0.put_mapped(Path::new(self.1), at, bytes);
    }
}

/// A start put the first batch of an increment there from the pending area, when the one before was in memory alone.
#[test]
fn nothing_is_added_to_an_increment_before_the_one_before_is_written_again() {
    let (dir, next, area) = (Path::new(DIR), "/log/b", "/log/a.0.pending");
    let newer = SegmentId { generation: 2, ..SEGMENT };
    let mut manifest = Manifest::new(LOG, 1);
    for (name, segment) in [("a", SEGMENT), ("b", newer)] {
        manifest.files.push(Entry { name: name.into(), segment, bytes: None });
    }
    for seed in 0..10 * seeds() {
        let (disk, mut random) = (Disk::new(seed), Random::new(seed));
        let mut writer = Writer::new(&disk).expect("nothing fails yet");
        for name in [next, area] {
            disk.create(Path::new(name)).and_then(|()| disk.sync_dir(dir)).expect("nothing fails yet");
        }
        (0..3).for_each(|_| writer.append(&mut random).expect("nothing fails yet"));
        disk.fail_sync_after(0);
        assert!(writer.sync().is_err());
        let mut batch = b"*1\r\n$4\r\nPING\r\n".to_vec();
        Sealer::new(newer).seal(&mut batch, 0, 1);
        let head = Head { segment: newer, sequence: 1, offset: 0, before: WHOLE };
        Pending::new(Box::new(Mapped(disk.clone(), area))).put(head, &batch, (0, 1), 0);
        let bytes = disk.read(Path::new(area), 4096).expect("it is there");
        let taken = pending::redo(&disk, dir, &manifest, &bytes, true).expect("nothing fails any more");
        assert_eq!(taken.added.len(), 1);
        disk.restart();
        assert_eq!(disk.read(Path::new(next), 4096).expect("it is there"), batch);
        let (numbers, end) = read(&disk);
        assert!(numbers.into_iter().eq(0..writer.next) && end == End::Clean, "seed {seed}: {end:?}");
    }
}

/// A start that was cut short had added what was pending behind a first batch that was in memory alone.
#[test]
fn a_start_adds_nothing_behind_a_first_batch_that_is_not_on_disk() {
    const AREA: &str = "/log/a.0.pending";
    let (dir, file) = (Path::new(DIR), Path::new(FILE));
    let mut manifest = Manifest::new(LOG, 1);
    manifest.files.push(Entry { name: "a".into(), segment: SEGMENT, bytes: None });
    for (seed, has_first) in (0..5 * seeds()).flat_map(|seed| [(seed, true), (seed, false)]) {
        for moment in 0..8 {
            let disk = Disk::new(seed);
            disk.create_dir(dir).and_then(|()| disk.sync_dir(Path::new("/"))).expect("nothing fails yet");
            for name in [FILE, AREA] {
                disk.create(Path::new(name)).and_then(|()| disk.sync_dir(dir)).expect("nothing fails yet");
            }
            let (mut sealer, mut offset) = (Sealer::new(SEGMENT), 0);
            let mut area = Pending::new(Box::new(Mapped(disk.clone(), AREA)));
            for number in 0..3 {
                let mut batch = Vec::new();
                write_command(&mut batch, [&b"N"[..], number.to_string().as_bytes(), b"value"].into_iter());
                sealer.seal(&mut batch, 0, 1);
                let head = Head { segment: SEGMENT, sequence: sealer.sequence(), offset, before: WHOLE };
                area.put(head, &batch, (number, number + 1), 0);
                if number == 0 && has_first {
                    disk.append(file, &batch).expect("nothing fails yet");
                }
                offset += batch.len() as u64;
            }
            let bytes = disk.read(Path::new(AREA), 4096).expect("it is there");
            disk.fail_power_after(moment);
            let redone = pending::redo(&disk, dir, &manifest, &bytes, true);
            disk.restart();
            let (numbers, end) = read(&disk);
            assert!(!matches!(end, End::OutOfOrder(damage) if damage.at == 0), "seed {seed}, moment {moment}: {end:?}");
            assert!(redone.is_err() || numbers.len() == 3, "seed {seed}, moment {moment}: all is on disk");
        }
    }
}
