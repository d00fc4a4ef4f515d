//! Tests of the reader: every way in which a small file can be cut or damaged.

use super::*;
use crate::persistence::aof::batch::{LogId, Sealer, write_durable};
use crate::persistence::aof::record::{append as write_command, write_timestamp};
use proptest::prelude::*;

const LOG: LogId = LogId(0x5e0c_31d0_7a9b_4f26);
const SEGMENT: SegmentId = SegmentId { log: LOG, generation: 3, shard: 1, kind: Kind::Increment };

type Command = Vec<Vec<u8>>;

/// What a reader made of a file.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The commands by batch; those after the last whole batch, if any, are the last element.
    batches: Vec<Vec<Command>>,
    end: End,
    good: u64,
}

fn read_with(mut reader: Reader, file: &[u8], chunk: usize) -> Outcome {
    read_all(&mut reader, file, chunk)
}

fn read_all(reader: &mut Reader, file: &[u8], chunk: usize) -> Outcome {
    let mut batches = vec![Vec::new()];
    let mut reads = 0;
    loop {
        match reader.step() {
            Step::Read(offset) => {
                reads += 1;
                assert!(reads < 100_000, "it reads for ever");
                let rest = &file[file.len().min(offset as usize)..];
                reader.feed(&rest[..rest.len().min(chunk)]);
            }
            Step::Record(record) => {
                assert_eq!(file[record.offset as usize], b'*');
                let command = record.args.iter_from(0).map(<[u8]>::to_vec).collect();
                batches.last_mut().unwrap().push(command);
            }
            Step::Batch(_) => batches.push(Vec::new()),
            Step::End(end) => return Outcome { batches, end, good: reader.good_up_to() },
        }
    }
}

fn read(format: Format, file: &[u8], chunk: usize) -> Outcome {
    read_with(Reader::new(format), file, chunk)
}

/// A file of these batches and the offsets at which it may be cut.
fn segment(batches: &[Vec<Command>]) -> (Vec<u8>, Vec<u64>) {
    let (mut file, mut sealer, mut ends) = (Vec::new(), Sealer::new(SEGMENT), vec![0]);
    for (index, batch) in batches.iter().enumerate() {
        let start = file.len();
        if index % 2 == 1 {
            write_timestamp(&mut file, 1_700_000_000 + index as u64);
        }
        for command in batch {
            write_command(&mut file, command.iter().map(Vec::as_slice));
        }
        assert!(sealer.seal(&mut file, start, 1_700_000_000_000 + index as u64));
        sealer.synced(sealer.sequence());
        ends.push(file.len() as u64);
    }
    (file, ends)
}

fn command(line: &str) -> Command {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn example() -> Vec<Vec<Command>> {
    vec![
        vec![command("SET key value"), command("SELECT 3"), command("DEL key")],
        vec![command("PING")],
        vec![command("MULTI"), command("LPUSH l #BATCH:1:00000000:i1.1.1.9:1\r\n *1\r\n"), command("EXEC")],
        vec![command("SET a 1")],
    ]
}

/// The first `count` batches as the reader yields them.
fn first(batches: &[Vec<Command>], count: usize) -> Vec<Vec<Command>> {
    batches[..count].iter().cloned().chain([Vec::new()]).collect()
}

#[test]
fn a_whole_file_is_read_in_chunks_of_any_size() {
    let (file, _) = segment(&example());
    for chunk in 1..=file.len() {
        let outcome = read(Format::Batches(SEGMENT), &file, chunk);
        let expected = Outcome { batches: first(&example(), 4), end: End::Clean, good: file.len() as u64 };
        assert_eq!(outcome, expected, "in chunks of {chunk}");
    }
    assert_eq!(read(Format::Batches(SEGMENT), b"", 1).end, End::Clean);
}

#[test]
fn a_file_that_is_cut_anywhere_ends_with_its_last_whole_batch() {
    let (file, ends) = segment(&example());
    for len in 0..file.len() {
        for chunk in [7, file.len()] {
            let outcome = read(Format::Batches(SEGMENT), &file[..len], chunk);
            let whole = ends.iter().filter(|&&end| end <= len as u64).count() - 1;
            assert_eq!(outcome.batches, first(&example(), whole), "cut at {len}");
            assert_eq!(outcome.good, ends[whole]);
            match outcome.end {
                End::Clean => assert_eq!(ends[whole], len as u64),
                End::Torn(damage) => {
                    let expected = (ends[whole], len as u64 - ends[whole], Reason::Incomplete);
                    assert_eq!((damage.at, damage.bytes, damage.reason), expected);
                }
                End::OutOfOrder(damage) | End::Corrupt(damage) => panic!("cut at {len}: {damage:?}"),
            }
        }
    }
}

/// A damaged file must be cut at a batch boundary or refused, and what is yielded must be what was written.
fn check_damaged(file: &[u8], ends: &[u64], damaged_at: usize, what: &str) {
    let hit = ends.iter().filter(|&&end| end <= damaged_at as u64).count() - 1;
    for chunk in [5, file.len().max(1)] {
        let outcome = read(Format::Batches(SEGMENT), file, chunk);
        assert_eq!(outcome.batches, first(&example(), hit), "{what}");
        assert_eq!(outcome.good, ends[hit], "{what}");
        let last = hit + 2 == ends.len();
        match outcome.end {
            End::Torn(damage) => assert!(last && damage.at == ends[hit], "{what}: {damage:?}"),
            End::Corrupt(damage) => {
                assert!(!last && damage.at == ends[hit], "{what}: {damage:?}");
                assert_eq!(damage.found.batches, (ends.len() - hit - 2) as u64, "{what}");
                assert_eq!(damage.found.first, ends[hit + 1], "{what}");
            }
            End::Clean | End::OutOfOrder(_) => panic!("{what}: {:?}", outcome.end),
        }
    }
}

#[test]
fn no_bit_can_flip_unnoticed() {
    let (file, ends) = segment(&example());
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        check_damaged(&damaged, &ends, bit / 8, &format!("bit {bit}"));
    }
}

#[test]
fn zeros_and_missing_bytes_in_the_middle_are_noticed() {
    let (file, ends) = segment(&example());
    for at in 0..file.len() {
        let mut zeroed = file.clone();
        let end = file.len().min(at + 16);
        zeroed[at..end].fill(0);
        // Zeros that reach into the next batch leave one good batch less behind.
        if ends.contains(&(at as u64)) || ends.iter().all(|&cut| cut <= at as u64 || cut >= end as u64) {
            check_damaged(&zeroed, &ends, at, &format!("zeros at {at}"));
        }
    }
}

#[test]
fn a_batch_cannot_go_missing_come_twice_or_belong_elsewhere() {
    let (file, ends) = segment(&example());
    let part = |range: std::ops::Range<usize>| file[ends[range.start] as usize..ends[range.end] as usize].to_vec();
    let reason = |file: &[u8]| match read(Format::Batches(SEGMENT), file, 64).end {
        End::Corrupt(damage) => damage.reason,
        other => panic!("{other:?}"),
    };
    let missing = [part(0..1), part(2..4)].concat();
    assert_eq!(reason(&missing), Reason::Sequence { expected: 2, found: 3 });
    assert_eq!(reason(&part(1..4)), Reason::Sequence { expected: 1, found: 2 });
    let twice = [part(0..2), part(1..4)].concat();
    assert_eq!(reason(&twice), Reason::Sequence { expected: 3, found: 2 });
    assert_eq!(reason(&[part(0..4), part(3..4)].concat()), Reason::Sequence { expected: 5, found: 4 });
    let other = SegmentId { shard: 2, ..SEGMENT };
    match read(Format::Batches(other), &file, 64).end {
        End::Corrupt(Damage { at: 0, reason, .. }) => {
            assert_eq!(reason, Reason::Misplaced { here: other, of: SEGMENT });
            assert_eq!(reason.to_string(), "the batch belongs to the incr of shard 1 in generation 3");
        }
        end => panic!("{end:?}"),
    }
}

#[test]
fn good_batches_behind_a_bad_one_that_was_never_durable_are_out_of_order() {
    for synced in 0..4 {
        let (mut file, mut sealer) = (Vec::new(), Sealer::new(SEGMENT));
        let mut ends = Vec::new();
        for number in 1..=5 {
            let start = file.len();
            write_command(&mut file, [&b"PING"[..]].into_iter());
            sealer.seal(&mut file, start, 1);
            ends.push(file.len() as u64);
            if number <= synced {
                sealer.synced(number);
            }
        }
        for bad in 0..4 {
            let mut damaged = file.clone();
            damaged[ends[bad] as usize - 10] ^= 1;
            let end = read(Format::Batches(SEGMENT), &damaged, 64).end;
            let durable = (bad as u64) < synced;
            let behind = 4 - bad as u64;
            match end {
                End::OutOfOrder(damage) => {
                    assert!(!durable && damage.found.batches == behind, "{synced} {bad}: {damage:?}");
                }
                End::Corrupt(damage) => {
                    assert!(durable && damage.found.batches == behind, "{synced} {bad}: {damage:?}");
                }
                End::Clean | End::Torn(_) => panic!("{synced} {bad}: {end:?}"),
            }
        }
    }
}

#[test]
fn large_batches_are_read_twice_and_not_held() {
    let big = vec![vec![b'x'; 3000]; 40];
    let commands = vec![big.clone(), vec![vec![b'y'; 10]; 5000], command("PING")];
    let batches = vec![vec![command("SET a b")], commands, vec![big], vec![command("SET c d")]];
    let (file, ends) = segment(&batches);
    for chunk in [100, 1000, file.len()] {
        for len in [file.len(), ends[3] as usize, ends[2] as usize - 1] {
            let mut reader = Reader::new(Format::Batches(SEGMENT));
            reader.held_max = 2000;
            let outcome = read_with(reader, &file[..len], chunk);
            let whole = ends.iter().filter(|&&end| end <= len as u64).count() - 1;
            assert_eq!(outcome.batches, first(&batches, whole));
            assert_eq!(outcome.end == End::Clean, ends[whole] == len as u64);
        }
        let mut damaged = file.clone();
        damaged[ends[1] as usize + 500] ^= 1;
        let mut reader = Reader::new(Format::Batches(SEGMENT));
        reader.held_max = 2000;
        let outcome = read_with(reader, &damaged, chunk);
        let End::Corrupt(damage) = outcome.end else { panic!("{:?}", outcome.end) };
        assert_eq!((damage.at, damage.found), (ends[1], Found { batches: 2, first: ends[2], synced: 3 }));
    }
}

#[test]
fn announced_lengths_cost_nothing() {
    for text in ["*2147483647\r\n", "*2\r\n$4294967200\r\n", "*2\r\n$4294967200\r\nabc", "*2147483647\r\n$1\r\na\r\n"] {
        for format in [Format::Plain, Format::Batches(SEGMENT)] {
            let mut reader = Reader::new(format);
            loop {
                match reader.step() {
                    Step::Read(offset) => reader.feed(&text.as_bytes()[text.len().min(offset as usize)..]),
                    Step::End(end) => {
                        assert!(matches!(end, End::Torn(_)), "{end:?}");
                        break;
                    }
                    _ => panic!("nothing is whole"),
                }
            }
            assert!(reader.held_bytes() < 1000);
        }
    }
}

#[test]
fn files_of_redis_are_cut_at_whole_records_and_transactions() {
    let mut file = Vec::new();
    let mut ends = vec![0];
    write_timestamp(&mut file, 1);
    ends.push(file.len());
    for line in ["SET a b", "DEL a"] {
        write_command(&mut file, command(line).iter().map(Vec::as_slice));
        ends.push(file.len());
    }
    write_command(&mut file, [&b"MULTI"[..]].into_iter());
    write_timestamp(&mut file, 2);
    write_command(&mut file, [&b"INCR"[..], b"x"].into_iter());
    write_command(&mut file, [&b"EXEC"[..]].into_iter());
    ends.push(file.len());
    let records = [0, 0, 1, 2, 5];
    for len in 0..=file.len() {
        for chunk in [1, 9, 1000] {
            let outcome = read(Format::Plain, &file[..len], chunk);
            let whole = ends.iter().filter(|&&end| end <= len).count() - 1;
            assert_eq!(outcome.good, ends[whole] as u64, "cut at {len}");
            assert_eq!(outcome.batches[0].len(), records[whole]);
            match outcome.end {
                End::Clean => assert_eq!(ends[whole], len),
                End::Torn(damage) => assert_eq!(damage.bytes, (len - ends[whole]) as u64),
                End::OutOfOrder(damage) | End::Corrupt(damage) => panic!("cut at {len}: {damage:?}"),
            }
        }
    }
    let mut damaged = file;
    damaged[ends[2]] = b'?';
    assert!(matches!(read(Format::Plain, &damaged, 10).end, End::Corrupt(damage) if damage.at == ends[2] as u64));
}

/// A base of Valkey was called damaged, with the advice to cut it.
#[test]
fn snapshots_are_named_as_what_they_are_and_never_cut() {
    for (start, told) in [
        (&b"REDIS0011\xfa"[..], "it is an RDB file of Redis (version 11), which cannot be read yet"),
        (b"VALKEY080\xfa", "it is an RDB file of Valkey (version 80), which cannot be read yet"),
    ] {
        for (format, chunk) in [(Format::Plain, 100), (Format::Batches(SEGMENT), 1)] {
            let End::Corrupt(damage) = read(format, start, chunk).end else { panic!("{told}") };
            assert_eq!((damage.reason.to_string().as_str(), damage.may_be_cut()), (told, false));
        }
    }
}

#[test]
fn zeros_from_a_whole_batch_to_the_end_are_room_written_ahead() {
    let (file, ends) = segment(&example());
    for room in [1, 4096, 100_000] {
        for (whole, &good) in ends.iter().enumerate() {
            let tail = [&file[..good as usize], &vec![0; room]].concat();
            for chunk in [7 + room / 10, tail.len()] {
                let outcome = read(Format::Batches(SEGMENT), &tail, chunk);
                assert_eq!(outcome, Outcome { batches: first(&example(), whole), end: End::Clean, good });
            }
        }
    }
    // Not behind a batch that is cut off, not in other files, and not where something else follows.
    let torn = [&file[..file.len() - 3], &[0; 4096]].concat();
    assert!(matches!(read(Format::Batches(SEGMENT), &torn, 100).end, End::Torn(_)));
    let base = SegmentId { kind: Kind::Base, ..SEGMENT };
    let room = [0; 100];
    assert!(matches!(read(Format::Batches(base), &room, 10).end, End::Torn(_)));
    assert!(matches!(read(Format::Plain, &room, 10).end, End::Corrupt(_)));
    let followed = [&file[..], &room, b"x"].concat();
    let end = read(Format::Batches(SEGMENT), &followed, 10).end;
    assert!(matches!(end, End::Torn(Damage { reason: Reason::Zeros, bytes: 101, .. })), "{end:?}");
}

#[test]
fn a_batch_behind_zeros_is_out_of_order() {
    let (file, ends) = segment(&example());
    let (hole, end) = (ends[1] as usize..ends[2] as usize, ends[3] as usize);
    let mut holed = file[..end].to_vec();
    holed[hole].fill(0);
    // Batch 3 calls batch 2 durable, which is gone.
    assert!(matches!(read(Format::Batches(SEGMENT), &holed, 10).end, End::Corrupt(_)));
    let mut sealer = Sealer::resume(SEGMENT, 0);
    let mut gap = file[..ends[1] as usize].to_vec();
    sealer.seal(&mut b"x".to_vec(), 0, 1);
    sealer.seal(&mut b"x".to_vec(), 0, 1);
    gap.extend([0; 50]);
    let start = gap.len();
    write_command(&mut gap, [&b"PING"[..]].into_iter());
    sealer.seal(&mut gap, start, 1);
    for chunk in [1, 10, gap.len()] {
        let end = read(Format::Batches(SEGMENT), &gap, chunk).end;
        let End::OutOfOrder(damage) = end else { panic!("{end:?}") };
        assert_eq!((damage.at, damage.found.first, damage.reason), (ends[1], start as u64, Reason::Zeros));
    }
}

#[test]
fn a_long_tail_of_zeros_is_not_held() {
    const ROOM: u64 = 1 << 30;
    let (file, _) = segment(&example());
    let (mut reader, chunk) = (Reader::new(Format::Batches(SEGMENT)), vec![0; 1 << 20]);
    let len = file.len() as u64 + ROOM;
    loop {
        match reader.step() {
            Step::Read(offset) if offset < file.len() as u64 => reader.feed(&file[offset as usize..]),
            Step::Read(offset) => reader.feed(&chunk[..(len - offset).min(1 << 20) as usize]),
            Step::End(end) => break assert_eq!(end, End::Clean),
            _ => {}
        }
        assert!(reader.held_bytes() <= 4 << 20, "{} bytes are held", reader.held_bytes());
    }
    assert_eq!(reader.good_up_to(), file.len() as u64);
}

/// A torn last batch with a value in it that looked like a batch was taken for damage, with a good batch behind it.
#[test]
fn a_value_that_looks_like_a_batch_does_not_make_a_torn_end_damage() {
    let (whole, _) = segment(&example());
    let other = SegmentId { log: LogId(9), ..SEGMENT };
    for (segment, sequence) in [
        (other, 7),
        (SegmentId { log: LogId::NONE, ..SEGMENT }, 7),
        (SegmentId { generation: 2, ..SEGMENT }, 7),
        (SegmentId { shard: 0, ..SEGMENT }, 7),
        // Copied from this file.
        (SEGMENT, 2),
        (SEGMENT, 4),
    ] {
        let mut value = b"*1\r\n$4\r\nPING\r\n".to_vec();
        Sealer::resume(segment, sequence).seal(&mut value, 0, 1);
        let mut file = whole.clone();
        let start = file.len();
        write_command(&mut file, [&b"SET"[..], b"k", &value].into_iter());
        let end = file.len();
        Sealer::resume(SEGMENT, 4).seal(&mut file, start, 1);
        assert_eq!(read(Format::Batches(SEGMENT), &file, 100).end, End::Clean);
        for len in start + 1..file.len() {
            let outcome = read(Format::Batches(SEGMENT), &file[..len], 100);
            assert!(matches!(outcome.end, End::Torn(_)), "{segment} cut at {len}: {:?}", outcome.end);
        }
        // A sector that was not written.
        file[start..end - 2].iter_mut().take(9).for_each(|byte| *byte = 0);
        let outcome = read(Format::Batches(SEGMENT), &file, 100);
        assert!(matches!(outcome.end, End::Torn(_)), "{segment}: {:?}", outcome.end);
    }
}

/// A shard's file of another log was loaded as if it were of this one.
#[test]
fn a_file_of_another_log_is_named() {
    let other = SegmentId { log: LogId(9), ..SEGMENT };
    let (file, _) = segment(&example());
    let End::Corrupt(damage) = read(Format::Batches(other), &file, 64).end else { panic!("it is of another log") };
    assert_eq!(damage.reason.to_string(), "the file belongs to another log, 5e0c31d07a9b4f26");
    assert!(!damage.may_be_cut());
}

#[test]
fn marks_and_what_they_call_durable_are_read() {
    let mut sealer = Sealer::new(SEGMENT);
    let mut file = Vec::new();
    let other = SegmentId { shard: 2, ..SEGMENT };
    write_durable(&mut file, other, 8);
    write_command(&mut file, [&b"PING"[..]].into_iter());
    write_durable(&mut file, other, 7);
    write_durable(&mut file, SegmentId { generation: 4, ..other }, 1);
    sealer.seal(&mut file, 0, 1);
    sealer.synced(1);
    sealer.mark(&mut file, 2);
    let good = file.len();
    write_durable(&mut file, other, 100);
    for chunk in [1, 9, file.len()] {
        let (mut reader, mut synced) = (Reader::new(Format::Batches(SEGMENT)), Vec::new());
        let end = loop {
            match reader.step() {
                Step::Read(offset) => reader.feed(&file[offset as usize..file.len().min(offset as usize + chunk)]),
                Step::Record(_) => {}
                Step::Batch(line) => synced.push(line.synced),
                Step::End(end) => break end,
            }
        };
        assert!(matches!(end, End::Torn(_)) && reader.good_up_to() == good as u64, "{end:?}");
        assert_eq!((reader.sequence(), &synced[..]), (2, &[0, 1][..]));
        let vouched: Vec<_> = reader.vouched().iter().map(|(segment, last)| (*segment, *last)).collect();
        assert_eq!(
            vouched,
            [(other, 8), (SegmentId { generation: 4, ..other }, 1)],
            "only what stands in good batches"
        );
    }
}

/// An orderly stop that left only "synced 0" behind let a flipped bit look like a torn end.
#[test]
fn a_mark_behind_makes_a_flipped_bit_damage() {
    let (mut file, mut sealer) = (Vec::new(), Sealer::new(SEGMENT));
    write_command(&mut file, [&b"PING"[..]].into_iter());
    sealer.seal(&mut file, 0, 1);
    let end = file.len();
    sealer.synced(1);
    sealer.mark(&mut file, 2);
    for bit in 0..end * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let end = read(Format::Batches(SEGMENT), &damaged, 64).end;
        assert!(matches!(end, End::Corrupt(_)), "bit {bit}: {end:?}");
    }
}

#[test]
fn contents_that_look_like_batches_end_the_search() {
    // Every line claims everything before it, and none holds.
    let mut file = b"*1\r\n$99999999\r\n".to_vec();
    for _ in 0..4000 {
        let line = format!("#BATCH:{}:00000000:{LOG}.i3.1.9.1:1\r\n", file.len());
        file.extend_from_slice(line.as_bytes());
    }
    let mut reader = Reader::new(Format::Batches(SEGMENT));
    reader.held_max = 1000;
    let outcome = read_with(reader, &file, 100_000);
    assert_eq!((outcome.good, outcome.batches.len()), (0, 1));
}

proptest! {
    #[test]
    fn any_batches_come_back(
        batches in prop::collection::vec(
            prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..4), 1..4), 0..5),
        chunk in 1..200usize,
    ) {
        let (file, _) = segment(&batches);
        let outcome = read(Format::Batches(SEGMENT), &file, chunk);
        let expected = Outcome { batches: first(&batches, batches.len()), end: End::Clean, good: file.len() as u64 };
        prop_assert_eq!(outcome, expected);
    }

    #[test]
    fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), chunk in 1..50usize) {
        read(Format::Plain, &bytes, chunk);
        read(Format::Batches(SEGMENT), &bytes, chunk);
    }
}

/// A start writes again what stands behind.
#[test]
fn it_knows_up_to_where_the_file_is_called_durable() {
    let (mut file, mut sealer, mut ends) = (Vec::new(), Sealer::new(SEGMENT), vec![0]);
    for (number, synced) in [0, 0, 2, 2, 1, 5].into_iter().enumerate() {
        let start = file.len();
        sealer.synced(synced);
        write_command(&mut file, [b"ECHO", number.to_string().as_bytes()].into_iter());
        assert!(sealer.seal(&mut file, start, 1));
        ends.push(file.len() as u64);
    }
    for (batches, durable) in [(0, 0), (1, 0), (2, 0), (3, 2), (4, 2), (5, 2), (6, 5)] {
        let mut reader = Reader::new(Format::Batches(SEGMENT));
        let outcome = read_all(&mut reader, &file[..ends[batches] as usize], 7);
        assert_eq!(outcome.end, End::Clean);
        assert_eq!(reader.durable(), Place { sequence: durable, offset: ends[durable as usize] }, "{batches} batches");
        // One that begins there reads the rest.
        let mut rest = Reader::behind(Format::Batches(SEGMENT), reader.durable());
        let outcome = read_all(&mut rest, &file[..ends[batches] as usize], 7);
        assert_eq!((outcome.end, outcome.good), (End::Clean, ends[batches]));
        assert_eq!((rest.sequence(), rest.batches()), (batches as u64, batches as u64 - durable));
    }
}
