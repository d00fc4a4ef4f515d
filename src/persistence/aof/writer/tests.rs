//! The writer against disks that fail, job by job.

use super::*;
use crate::persistence::aof::batch::Line;
use crate::persistence::aof::{End, Format, Kind, LogId, Reader, Step};
use proptest::prelude::*;

const SEGMENT: SegmentId = SegmentId { log: LogId(1), generation: 1, shard: 0, kind: Kind::Increment };

/// One that writes no room ahead.
fn writer(policy: Fsync) -> Writer<u8> {
    let mut writer = Writer::new(policy, 1, Sealer::new(SEGMENT), 0, 0);
    writer.is_narrow = true;
    writer
}

/// The same where the first batch is on disk, so that nothing waits for it.
fn begun(policy: Fsync) -> Writer<u8> {
    let mut writer = writer(policy);
    writer.segments[0].has_head = true;
    writer
}

/// Each sync told the file system how long the file is now, which costs as much as all else.
#[test]
fn room_is_written_ahead_of_durable_batches() {
    let mut writer = Writer::new(Fsync::Always, 1, Sealer::new(SEGMENT), 0, 0);
    writer.append(&mut record(), 0);
    let (_, _, _, len) = job(&mut writer, 0).unwrap();
    assert!(len > AOF_AHEAD_BYTES);
    writer.done(len as i32, 0);
    assert!(!writer.holds_replies());
    let end = writer.file_bytes();
    for _ in 0..3 {
        writer.append(&mut record(), 0);
        let (_, kind, offset, len) = job(&mut writer, 0).unwrap();
        assert!(kind == 'd' && offset >= end && len < 100, "it goes where the zeros are");
        writer.done(len as i32, 0);
    }
    // Where the disk has no room for zeros, it may have some for batches.
    writer.switch(2, SegmentId { generation: 2, ..SEGMENT });
    writer.append(&mut record(), 0);
    let (file, _, _, len) = job(&mut writer, 0).unwrap();
    assert!(file == 2 && len > AOF_AHEAD_BYTES);
    assert_eq!((writer.done(-libc::ENOSPC, 0), writer.trouble()), (Done::Well, None));
    let (_, _, offset, len) = job(&mut writer, 0).unwrap();
    assert!(offset == 0 && len < 200);
    writer.done(len as i32, 0);
    assert!(writer.is_settled() && !writer.holds_replies());
}

/// Small ones; every allocation is aligned to as much.
const DIRECT: Direct = Direct { block_bytes: 16, least_bytes: 64 };

fn is_whole_blocks(offset: u64, bytes: &[u8]) -> bool {
    (offset as usize | bytes.as_ptr() as usize | bytes.len()).is_multiple_of(DIRECT.block_bytes)
}

fn record() -> Vec<u8> {
    b"*1\r\n$4\r\nPING\r\n".to_vec()
}

/// The lines of all whole batches.
fn batches(disk: &[u8]) -> Vec<Line> {
    let lines = disk.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\r\n"));
    lines.filter_map(Line::parse).collect()
}

/// Begins the next job: its file, `w` with the offset and length, `d` where durable, or `s`.
fn job(writer: &mut Writer<u8>, now: i64) -> Option<(u8, char, u64, usize)> {
    writer.next(now, false).map(|job| match job {
        Job::Write { file, offset, bytes, durable, .. } => {
            (*file, if durable { 'd' } else { 'w' }, offset, bytes.len())
        }
        Job::Sync { file } => (*file, 's', 0, 0),
    })
}

#[test]
fn always_holds_replies_until_the_write_is_on_disk() {
    let mut writer = writer(Fsync::Always);
    writer.append(&mut record(), 5);
    assert!(writer.holds_replies());
    let (file, kind, offset, len) = job(&mut writer, 5).unwrap();
    assert_eq!((file, kind, offset), (1, 'd', 0));
    writer.append(&mut record(), 5);
    assert_eq!(job(&mut writer, 5), None, "one job at a time");
    assert_eq!(writer.done(len as i32, 6), Done::Well);
    assert!(writer.holds_replies(), "the second batch is not there yet");
    let (_, _, offset, second) = job(&mut writer, 6).unwrap();
    assert_eq!(offset, len as u64);
    writer.done(second as i32, 7);
    assert!(!writer.holds_replies() && writer.is_settled());
}

/// A write of several batches could leave a good one behind a bad one where the power fails in the middle of it.
#[test]
fn a_durable_write_is_one_batch() {
    let mut writer = writer(Fsync::Always);
    let mut disk = Vec::new();
    for appended in 1..4 {
        (0..appended).for_each(|_| writer.append(&mut record(), 0));
        let Some(Job::Write { bytes, durable: true, .. }) = writer.next(0, false) else { panic!("a durable write") };
        assert_eq!(batches(bytes).len(), 1);
        disk.extend_from_slice(bytes);
        let len = bytes.len();
        // Meanwhile more comes.
        writer.append(&mut record(), 0);
        writer.done(if appended == 2 { -libc::EIO } else { len as i32 }, 0);
        if appended == 2 {
            let Some(Job::Write { bytes, .. }) = writer.next(1000, false) else { panic!("it is tried again") };
            assert_eq!((batches(bytes).len(), bytes), (1, &disk[disk.len() - len..]));
            writer.done(len as i32, 1000);
        }
    }
}

/// Under `no` nothing was ever called durable, and a flipped bit of a log that had ended in order was taken for a torn end.
#[test]
fn a_log_that_ends_says_what_is_durable_whatever_the_policy() {
    for policy in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let (mut writer, mut disk) = (writer(policy), Vec::new());
        (0..3).for_each(|_| writer.append(&mut record(), 0));
        let mut jobs = 0;
        while let Some(job) = writer.next(0, true) {
            let len = match job {
                Job::Sync { .. } => 0,
                Job::Write { bytes, .. } => {
                    disk.extend_from_slice(bytes);
                    bytes.len()
                }
            };
            writer.done(len as i32, 0);
            jobs += 1;
            assert!(jobs < 10, "{policy:?}: it comes to an end");
        }
        let lines = batches(&disk);
        let last = lines.last().unwrap();
        assert_eq!((last.length, last.synced), (0, last.sequence - 1), "{policy:?}");
        assert!(writer.is_settled());
    }
}

/// Two shards that vouched for each other wrote a batch each second for ever.
#[test]
fn a_batch_that_only_vouches_is_nothing_to_vouch_for() {
    let mut writer = writer(Fsync::EverySecond);
    let settle = |writer: &mut Writer<u8>, now| {
        while let Some(job) = writer.next(now, true) {
            let len = if let Job::Write { bytes, .. } = job { bytes.len() } else { 0 };
            writer.done(len as i32, now);
        }
    };
    writer.append(&mut record(), 0);
    settle(&mut writer, 0);
    let (_, durable) = writer.durable_batch();
    assert_eq!(durable, 1);
    let end = writer.file_bytes();
    writer.vouch(SegmentId { shard: 1, ..SEGMENT }, 7);
    settle(&mut writer, 5000);
    assert!(writer.file_bytes() > end);
    assert_eq!(writer.durable_batch().1, durable);
    let end = writer.file_bytes();
    settle(&mut writer, 10_000);
    assert_eq!(writer.file_bytes(), end, "and no mark follows");
}

/// An area of so many bytes that keeps nothing.
struct Nowhere(usize);

impl pending::Area for Nowhere {
    fn len(&self) -> usize {
        self.0
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.0);
    }
}

#[test]
fn without_always_replies_wait_until_the_kernel_has_it() {
    for policy in [Fsync::EverySecond, Fsync::No] {
        let mut writer = begun(policy);
        writer.append(&mut record(), 0);
        assert!(writer.holds_replies(), "there is no pending area");
        let (_, _, _, len) = job(&mut writer, 0).unwrap();
        writer.done(len as i32, 0);
        assert!(!writer.holds_replies());
        writer.set_pending(Pending::new(Box::new(Nowhere(300))));
        writer.append(&mut record(), 0);
        assert!(!writer.holds_replies(), "the area has it");
        writer.append(&mut record(), 0);
        assert!(!writer.holds_replies(), "there is room for two");
        writer.append(&mut record(), 0);
        assert!(writer.holds_replies(), "it is full");
        let (_, _, _, len) = job(&mut writer, 0).unwrap();
        writer.done(len as i32, 0);
        assert!(!writer.holds_replies(), "all is written");
    }
}

/// What an area has of a log that was without it for a while does not count before the rest is written.
#[test]
fn a_hole_in_the_pending_area_holds_replies() {
    let mut writer = writer(Fsync::Always);
    writer.set_pending(Pending::new(Box::new(Nowhere(4096))));
    writer.append(&mut record(), 0);
    let (_, _, _, len) = job(&mut writer, 0).unwrap();
    writer.append(&mut record(), 0);
    writer.set_policy(Fsync::No);
    writer.append(&mut record(), 0);
    assert!(writer.holds_replies());
    writer.done(len as i32, 0);
    assert!(!writer.holds_replies(), "what came after the change is in the area");
    writer.set_policy(Fsync::Always);
    assert!(writer.holds_replies());
}

#[test]
fn everysec_syncs_once_a_second() {
    let mut writer = writer(Fsync::EverySecond);
    writer.append(&mut record(), 10);
    let (_, kind, _, len) = job(&mut writer, 10).unwrap();
    assert_eq!(kind, 'w');
    writer.done(len as i32, 10);
    assert!(!writer.holds_replies());
    assert_eq!(job(&mut writer, 999), None);
    assert_eq!(job(&mut writer, 1000), Some((1, 's', 0, 0)));
    writer.append(&mut record(), 1001);
    writer.done(0, 1001);
    let (_, kind, offset, _) = job(&mut writer, 1001).unwrap();
    assert_eq!((kind, offset), ('w', len as u64));
}

#[test]
fn after_a_failure_all_is_written_again_that_may_be_missing() {
    let mut writer = writer(Fsync::EverySecond);
    writer.append(&mut record(), 0);
    let (_, _, _, len) = job(&mut writer, 0).unwrap();
    writer.done(len as i32, 0);
    assert_eq!(job(&mut writer, 1000).unwrap().1, 's');
    assert_eq!(writer.done(-libc::EIO, 1000), Done::Failed);
    assert_eq!(writer.trouble(), Some(libc::EIO));
    assert_eq!(job(&mut writer, 1999), None, "it rests for a second");
    assert_eq!(job(&mut writer, 2000), Some((1, 'w', 0, len)), "what the sync did not cover");
    assert_eq!(writer.done(len as i32 - 1, 2000), Done::Well, "an operation may write less than it was given");
    assert_eq!(writer.trouble(), Some(libc::EIO), "nothing is known to be better yet");
    assert_eq!(job(&mut writer, 2000), Some((1, 'w', len as u64 - 1, 1)));
    assert_eq!(writer.done(-libc::ENOSPC, 2000), Done::Failed);
    assert_eq!(writer.trouble(), Some(libc::ENOSPC));
    assert_eq!(job(&mut writer, 3000), Some((1, 'w', 0, len)));
    writer.done(len as i32, 3000);
    assert_eq!(job(&mut writer, 3000).unwrap().1, 's');
    writer.done(0, 3000);
    assert_eq!((writer.trouble(), writer.is_settled()), (None, true));
}

#[test]
fn a_new_file_waits_until_the_old_one_is_on_disk() {
    for policy in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let mut writer = writer(policy);
        writer.append(&mut record(), 0);
        writer.switch(2, SegmentId { generation: 2, ..SEGMENT });
        writer.append(&mut record(), 0);
        let mut jobs = Vec::new();
        while let Some((file, kind, _, len)) = job(&mut writer, 0) {
            jobs.push((file, kind));
            writer.done(len as i32, 0);
        }
        let expected: &[_] = match policy {
            Fsync::Always => &[(1, 'd'), (2, 'd')],
            _ => &[(1, 'w'), (1, 's'), (2, 'w')],
        };
        assert_eq!(jobs, expected, "{policy:?}");
    }
}

/// As many batches of records as make about so many bytes.
fn append_bytes(writer: &mut Writer<u8>, bytes: u64) {
    let end = writer.file_bytes() + bytes;
    while writer.file_bytes() < end {
        writer.append(&mut record(), 0);
    }
}

/// Begins a write, some time after the one before, and ends it well: its offset, its length, and whether it goes past the
/// cache. Syncs before it end well, too.
fn write(writer: &mut Writer<u8>, now: &mut i64) -> (u64, u64, bool) {
    loop {
        *now += ORDER_MS;
        let (written, result) = match writer.next(*now, false).expect("there is something") {
            Job::Sync { .. } => (None, 0),
            Job::Write { offset, bytes, direct, .. } => {
                assert!(!direct || is_whole_blocks(offset, bytes));
                (Some((offset, bytes.len() as u64, direct)), bytes.len() as i32)
            }
        };
        writer.done(result, *now);
        if let Some(written) = written {
            return written;
        }
    }
}

/// A writer of which much is asked, and where what comes next begins: not where a block does.
fn direct_writer(now: &mut i64) -> (Writer<u8>, u64) {
    let mut writer = begun(Fsync::EverySecond);
    writer.set_direct(Some(DIRECT));
    append_bytes(&mut writer, 100);
    let end = writer.file_bytes();
    assert_eq!(write(&mut writer, now), (0, end, false), "nobody knew yet how much is to come");
    assert!(!end.is_multiple_of(16));
    (writer, end)
}

#[test]
fn whole_blocks_go_past_the_cache_and_the_rest_with_what_follows() {
    let mut now = 0;
    let (mut writer, start) = direct_writer(&mut now);
    append_bytes(&mut writer, 100);
    let (first, end) = (start.next_multiple_of(16), writer.file_bytes());
    let last = end - end % 16;
    assert_eq!(write(&mut writer, &mut now), (start, first - start, false), "up to where a block begins");
    assert_eq!(write(&mut writer, &mut now), (first, last - first, true));
    append_bytes(&mut writer, 100);
    let end = writer.file_bytes();
    let (first, last) = (last, end - end % 16);
    assert_eq!(write(&mut writer, &mut now), (first, last - first, true), "the rest begins a block");
    assert_eq!(write(&mut writer, &mut now), (last, end - last, false), "nothing has followed");
    assert_eq!(writer.unwritten_bytes(), 0);
}

/// A power failure left whole blocks that had gone past the cache behind a hole of what was in it: two of 37 starts were
/// refused.
#[test]
fn what_goes_past_the_cache_comes_behind_what_is_in_it() {
    let mut now = 0;
    let (mut writer, start) = direct_writer(&mut now);
    append_bytes(&mut writer, 100);
    let first = (start.next_multiple_of(16) - start) as usize;
    now += ORDER_MS;
    assert_eq!(job(&mut writer, now), Some((1, 's', 0, 0)), "of what came before");
    writer.done(0, now);
    let Some(Job::Write { offset, bytes, durable: true, direct: false, .. }) = writer.next(now, false) else {
        panic!("up to where a block begins, on disk before that")
    };
    assert_eq!((offset, bytes.len()), (start, first));
    writer.done(first as i32, now);
    assert!(matches!(writer.next(now, false), Some(Job::Write { direct: true, .. })));
    writer.done(16, now);
    let rest = writer.file_bytes() - start - first as u64 - 16;
    assert!(writer.unwritten_bytes() >= rest);
    write(&mut writer, &mut now);
    let (_, _, direct) = write(&mut writer, &mut now);
    assert!(!direct, "the end of it");
    // A sync for each change would be too many: so soon all goes through the cache.
    let synced = now;
    append_bytes(&mut writer, 100);
    writer.synced_ms = synced;
    assert!(matches!(writer.next(synced + ORDER_MS - 1, false), Some(Job::Write { direct: false, .. })));
}

#[test]
fn a_file_system_that_wants_no_direct_writes_gets_none() {
    let mut now = 0;
    let (mut writer, start) = direct_writer(&mut now);
    append_bytes(&mut writer, 100);
    let (first, end) = (start.next_multiple_of(16), writer.file_bytes());
    let last = end - end % 16;
    write(&mut writer, &mut now);
    now += ORDER_MS;
    assert!(matches!(writer.next(now, false), Some(Job::Write { direct: true, .. })));
    assert_eq!((writer.done(-libc::EINVAL, now), writer.trouble()), (Done::Well, None));
    assert_eq!(write(&mut writer, &mut now), (first, last - first, false));
    assert_eq!(write(&mut writer, &mut now), (last, end - last, false));
}

/// A writer that has written something without keeping it, and its length.
fn writer_without_syncs() -> (Writer<u8>, usize) {
    let mut writer = begun(Fsync::No);
    writer.append(&mut record(), 0);
    let (_, _, _, len) = job(&mut writer, 0).unwrap();
    writer.done(len as i32, 0);
    (writer, len)
}

/// Its sync was tried again and went well without the bytes, and what was acknowledged later lay behind a gap.
#[test]
fn a_failed_sync_of_what_is_not_kept_is_a_gap_until_a_newer_generation_is_in_force() {
    for policy in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let (mut writer, _) = writer_without_syncs();
        writer.set_policy(policy);
        let (len, vouched) = (record().len() as u64, b"#DURABLE:i1.0.1\r\n".len() as u64);
        let mut position = len;
        if policy == Fsync::EverySecond {
            // Something that is kept follows.
            writer.append(&mut record(), 0);
            let (_, kind, _, written) = job(&mut writer, 0).unwrap();
            assert_eq!(kind, 'w');
            writer.done(written as i32, 0);
            position += len;
        } else if policy == Fsync::No {
            writer.switch(2, SegmentId { generation: 2, ..SEGMENT });
        }
        assert_eq!(job(&mut writer, 1000), Some((1, 's', 0, 0)));
        assert_eq!(writer.done(-libc::EIO, 1000), Done::Failed);
        assert_eq!((writer.gap(), writer.trouble(), writer.synced()), (Some(1), Some(libc::EIO), 0));
        if policy != Fsync::No {
            writer.switch(2, SegmentId { generation: 2, ..SEGMENT });
        }
        // A rewrite that fails, and another one.
        writer.append(&mut record(), 1000);
        position += vouched + len;
        writer.switch(3, SegmentId { generation: 3, ..SEGMENT });
        writer.append(&mut record(), 1000);
        assert_eq!((job(&mut writer, 2000), writer.mend(1)), (None, false));
        assert!(!writer.is_settled() && writer.gap() == Some(1));
        assert_eq!((writer.mend(3), writer.mend(3)), (true, false));
        assert_eq!((writer.gap(), writer.trouble(), writer.synced()), (None, None, position));
        assert_eq!(writer.positions(), (position + vouched + len, position));
        writer.is_narrow = true;
        let (file, _, offset, written) = job(&mut writer, 2000).unwrap();
        assert_eq!((file, offset, written as u64), (3, 0, writer.file_bytes()), "{policy:?}");
        writer.done(written as i32, 2000);
        position += vouched + len;
        assert_eq!(writer.positions(), (position, position), "{policy:?}");
        position -= if policy == Fsync::Always { 0 } else { vouched + len };
        assert_eq!(writer.synced(), position, "{policy:?}");
    }
}

#[test]
fn what_is_synced_before_a_sync_fails_is_no_gap() {
    let (mut writer, start) = writer_without_syncs();
    assert!(matches!(writer.next(0, true), Some(Job::Sync { .. })));
    writer.done(0, 0);
    writer.set_policy(Fsync::EverySecond);
    writer.append(&mut record(), 0);
    let (_, _, _, len) = job(&mut writer, 0).unwrap();
    writer.done(len as i32, 0);
    assert_eq!(job(&mut writer, 1000), Some((1, 's', 0, 0)));
    writer.done(-libc::EIO, 1000);
    assert!(writer.gap().is_none() && !writer.mend(2));
    assert_eq!(job(&mut writer, 2000), Some((1, 'w', start as u64, len)));
}

#[test]
fn a_log_that_is_switched_off_gives_up_what_has_a_gap() {
    let (mut writer, len) = writer_without_syncs();
    assert!(matches!(writer.next(0, true), Some(Job::Sync { .. })));
    writer.done(-libc::EIO, 0);
    writer.append(&mut record(), 0);
    assert!(writer.mend(u64::MAX) && writer.is_settled());
    assert_eq!((writer.trouble(), writer.unwritten_bytes()), (None, 0));
    assert!(writer.held_bytes() < 100 && writer.file_bytes() > len as u64);
}

#[test]
fn what_was_written_in_parts_is_synced_as_a_whole() {
    for before in [Fsync::EverySecond, Fsync::Always] {
        let mut writer = writer(before);
        writer.append(&mut record(), 0);
        let (_, _, _, len) = job(&mut writer, 0).unwrap();
        writer.done(5, 0);
        writer.set_policy(Fsync::Always);
        assert_eq!(job(&mut writer, 0), Some((1, 'w', 5, len - 5)), "{before:?}");
        writer.done(len as i32 - 5, 0);
        assert!(writer.holds_replies());
        assert_eq!(job(&mut writer, 0), Some((1, 's', 0, 0)));
        writer.done(0, 0);
        assert!(writer.is_settled() && !writer.holds_replies());
    }
}

#[test]
fn what_is_on_disk_is_known_whatever_the_policy() {
    for policy in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let mut writer = begun(policy);
        writer.append(&mut record(), 0);
        let (_, _, _, len) = job(&mut writer, 0).unwrap();
        writer.append(&mut record(), 0);
        writer.done(len as i32, 0);
        let written = if policy == Fsync::Always { record().len() as u64 } else { 0 };
        assert_eq!(writer.synced(), written, "{policy:?}");
        let (_, _, _, len) = job(&mut writer, 0).unwrap();
        writer.done(len as i32, 0);
        if policy != Fsync::Always {
            assert!(matches!(writer.next(0, true), Some(Job::Sync { .. })));
            writer.append(&mut record(), 0);
            writer.done(0, 0);
        }
        assert_eq!(writer.synced(), 2 * record().len() as u64, "{policy:?}");
    }
}

/// The first batches were in the page cache when others behind them went past it, and a power failure left a file that
/// began with a hole.
#[test]
fn nothing_is_written_behind_a_first_batch_that_is_not_on_disk() {
    for policy in [Fsync::EverySecond, Fsync::No] {
        for size in [1, 1000] {
            let mut writer = writer(policy);
            writer.set_direct(Some(DIRECT));
            writer.append(&mut record().repeat(size), 0);
            let head = writer.file_bytes();
            append_bytes(&mut writer, 1000);
            let (start, end) = (head as usize, writer.file_bytes());
            assert_eq!(job(&mut writer, 0), Some((1, 'w', 0, start)), "the first batch alone, whole");
            writer.done(5, 0);
            assert_eq!(job(&mut writer, 0), Some((1, 'w', 5, start - 5)));
            writer.done(start as i32 - 5, 0);
            assert_eq!(job(&mut writer, 0), Some((1, 's', 0, 0)), "{policy:?}");
            writer.done(-libc::EIO, 0);
            assert_eq!((job(&mut writer, 1000), writer.gap()), (Some((1, 'w', 0, start)), None), "it is kept");
            writer.done(start as i32, 1000);
            assert_eq!(job(&mut writer, 1000), Some((1, 's', 0, 0)));
            writer.done(0, 1000);
            let mut written = head;
            while written < end {
                let Some((1, 'w' | 'd', offset, len)) = job(&mut writer, 1000) else { panic!("no sync any more") };
                assert_eq!(offset, written);
                writer.done(len as i32, 1000);
                written += len as u64;
            }
        }
    }
}

proptest! {
    /// Whatever fails, what is on disk in the end is what was appended.
    #[test]
    fn nothing_is_lost(
        steps in prop::collection::vec((0..6u8, any::<bool>()), 1..60),
        policy in 0..3usize,
        direct in any::<bool>(),
    ) {
        let mut writer = writer(Fsync::from_index(policy));
        writer.set_direct(direct.then_some(DIRECT));
        let mut disk: Vec<u8> = Vec::new();
        let mut expected = 0;
        // How many batches were on disk when each was sealed.
        let (mut durable, mut when_sealed) = (0, Vec::new());
        let mut now = 0;
        let go = |writer: &mut Writer<u8>, disk: &mut Vec<u8>, durable: &mut u64, now: i64, fails: bool, flush: bool| {
            let mut syncs = true;
            let result = match writer.next(now, flush) {
                None => return false,
                Some(Job::Sync { .. }) => 0,
                Some(Job::Write { offset, bytes, direct, durable, .. }) => {
                    syncs = durable;
                    assert!(!direct || is_whole_blocks(offset, bytes));
                    let bytes = if fails { &bytes[..bytes.len() / 2] } else { bytes };
                    disk.truncate(offset as usize);
                    disk.extend_from_slice(bytes);
                    bytes.len() as i32
                }
            };
            writer.done(if fails { -libc::EIO } else { result }, now);
            if syncs && !fails {
                *durable = batches(disk).len() as u64;
            }
            true
        };
        for (step, fails) in steps {
            let before = durable;
            match step {
                0 | 1 => {
                    expected += 1;
                    writer.append(&mut record(), now);
                }
                2 => now += 400,
                _ => { go(&mut writer, &mut disk, &mut durable, now, fails, false); }
            }
            when_sealed.resize(writer.segments[0].sealer.sequence() as usize, before);
        }
        now += 5000;
        let mut before = durable;
        while go(&mut writer, &mut disk, &mut durable, now, false, true) {
            when_sealed.resize(writer.segments[0].sealer.sequence() as usize, before);
            before = durable;
        }
        prop_assert!(writer.is_settled());
        for (line, durable) in batches(&disk).iter().zip(when_sealed) {
            prop_assert!(line.synced <= durable, "batch {} is called durable", line.synced);
        }
        let mut reader = Reader::new(Format::Batches(SEGMENT));
        let end = loop {
            match reader.step() {
                Step::Read(offset) => reader.feed(&disk[offset as usize..]),
                Step::End(end) => break end,
                _ => {}
            }
        };
        prop_assert_eq!((end, reader.records()), (End::Clean, expected));
    }
}
