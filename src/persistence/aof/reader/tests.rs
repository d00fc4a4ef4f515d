//! Tests of the reader: every way in which a small file can be cut or damaged.

use super::*;
use crate::persistence::aof::batch::Sealer;
use crate::persistence::aof::record::{write_command, write_exec, write_multi, write_timestamp};
use proptest::prelude::*;

const SEGMENT: SegmentId = SegmentId { generation: 3, shard: 1, kind: crate::persistence::aof::Kind::Increment };

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
                End::Corrupt(damage) => panic!("cut at {len}: {damage:?}"),
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
            End::Clean => panic!("{what}: silently wrong"),
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
    let mut tail = file.clone();
    tail.extend([0; 4096]);
    let outcome = read(Format::Batches(SEGMENT), &tail, 100);
    assert!(matches!(outcome.end, End::Torn(Damage { bytes: 4096, .. })), "{:?}", outcome.end);
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
        End::Corrupt(Damage { at: 0, reason: Reason::Misplaced(SEGMENT), .. }) => {}
        end => panic!("{end:?}"),
    }
}

#[test]
fn good_batches_behind_a_bad_one_that_was_never_durable_are_cut_with_it() {
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
                End::Torn(damage) => assert!(!durable && damage.found.batches == behind, "{synced} {bad}: {damage:?}"),
                End::Corrupt(damage) => {
                    assert!(durable && damage.found.batches == behind, "{synced} {bad}: {damage:?}")
                }
                End::Clean => panic!("silently wrong"),
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
    write_multi(&mut file);
    write_timestamp(&mut file, 2);
    write_command(&mut file, [&b"INCR"[..], b"x"].into_iter());
    write_exec(&mut file);
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
                End::Corrupt(damage) => panic!("cut at {len}: {damage:?}"),
            }
        }
    }
    let mut damaged = file;
    damaged[ends[2]] = b'?';
    assert!(matches!(read(Format::Plain, &damaged, 10).end, End::Corrupt(damage) if damage.at == ends[2] as u64));
    let rdb = read(Format::Plain, b"REDIS0011\xfa", 100).end;
    assert!(matches!(rdb, End::Corrupt(Damage { reason: Reason::Rdb, .. })), "{rdb:?}");
}

#[test]
fn contents_that_look_like_batches_end_the_search() {
    // Every line claims everything before it, and none holds.
    let mut file = b"*1\r\n$99999999\r\n".to_vec();
    for _ in 0..4000 {
        let line = format!("#BATCH:{}:00000000:i3.1.1.1:1\r\n", file.len());
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
