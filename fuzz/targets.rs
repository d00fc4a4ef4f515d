//! What is fuzzed: one function a target, each given any bytes. Beyond not panicking, each checks a law: what is read in
//! pieces is what is read whole, what is written is read again, a container behaves like the standard library's.
//!
//! The fuzzer (`fuzz_targets`) and the ordinary test `tests/fuzz_corpus.rs` both run these.
#![allow(dead_code, reason = "each fuzz binary runs one of them")]

#[path = "../tests/support/loopback.rs"]
mod loopback;
#[path = "../tests/support/reply.rs"]
mod reply;

use crimson::config::file::Reader;
use crimson::config::{Config, DIRECTIVES};
use crimson::persistence::aof::batch::{Kind, LogId, Sealer, SegmentId};
use crimson::persistence::aof::{Damage, End, Format, Manifest, Origin, Reader as AofReader, Step};
use crimson::resp::Span;
use crimson::resp::parser::{Parsed, ParserLimits, RequestParser, Scratch};
use crimson::stdx::long_double::LongDouble;
use crimson::stdx::{glob, number, words};
use crimson::structures::intset::IntSet;
use crimson::structures::listpack::Listpack;
use reply::{Malformed, Reply};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

/// A target: any bytes.
pub type Target = fn(&[u8]);

/// All targets by name; `seeds/NAME` holds their first inputs.
pub const TARGETS: &[(&str, Target)] = &[
    ("resp_parser", resp_parser),
    ("engine", engine),
    ("words", split_words),
    ("glob", glob_pattern),
    ("number", numbers),
    ("listpack", listpack),
    ("intset", intset),
    ("config_file", config_file),
    ("aof_reader", aof_reader),
    ("aof_manifest", aof_manifest),
];

/// What a parser makes of input that comes in pieces of `piece` bytes: requests, and the error that ended it.
fn parse_in_pieces(input: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, Option<Vec<u8>>) {
    let limits = ParserLimits { bulk_bytes_max: 1 << 20, authenticated: true };
    let (mut parser, mut scratch) = (RequestParser::default(), Scratch::default());
    let (mut requests, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        if start < end {
            let pending = &input[start..end];
            // The scratch keeps the requests before, as the engine's does when it reads ahead; it is emptied sometimes.
            if requests.len() % 3 == 0 {
                scratch.clear();
            }
            let first = scratch.spans.len();
            match parser.parse(pending, &mut scratch, limits) {
                Ok(Parsed::Request(len)) => {
                    requests.push(arguments(pending, &scratch.spans[first..]));
                    start += checked(len, pending.len());
                    continue;
                }
                Ok(Parsed::Inline(len)) => {
                    requests.push(arguments(&scratch.inline, &scratch.spans[first..]));
                    start += checked(len, pending.len());
                    continue;
                }
                Ok(Parsed::Nothing(len)) => {
                    start += checked(len, pending.len());
                    continue;
                }
                Ok(Parsed::Incomplete(_)) => {}
                Err(error) => return (requests, Some(error.into_owned())),
            }
        }
        if end == input.len() {
            return (requests, None);
        }
        end = (end + piece).min(input.len());
    }
}

fn arguments(buffer: &[u8], spans: &[Span]) -> Vec<Vec<u8>> {
    assert!(!spans.is_empty(), "a request without a name");
    spans.iter().map(|span| buffer[span.start as usize..][..span.len as usize].to_vec()).collect()
}

fn checked(len: usize, available: usize) -> usize {
    assert!(len > 0 && len <= available, "{len} of {available} bytes");
    len
}

/// Requests, whole and in pieces: both must be understood alike.
pub fn resp_parser(data: &[u8]) {
    let whole = parse_in_pieces(data, data.len().max(1));
    for piece in [1, 2, 7] {
        assert_eq!(parse_in_pieces(data, piece), whole, "in pieces of {piece}");
    }
}

/// Whether running it would take ages or act outside: such requests are for tests of their own.
fn is_unfit(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data).to_ascii_lowercase();
    let large_negative = data.windows(6).any(|part| part[0] == b'-' && part[1..].iter().all(u8::is_ascii_digit));
    let acts_outside = ["debug", "shutdown", "rewrite", "config", "pause"].iter().any(|word| text.contains(word));
    large_negative || acts_outside
}

thread_local! {
    /// Making an engine takes far longer than running a few requests, so one is used for all inputs.
    static ENGINE: RefCell<Option<loopback::Loopback>> = const { RefCell::new(None) };
}

/// Requests through a whole engine: every byte it answers must be part of a sound reply.
pub fn engine(data: &[u8]) {
    if is_unfit(data) {
        return;
    }
    // Taken out, so that after a panic the next input gets a new one.
    let mut engine = ENGINE
        .take()
        .unwrap_or_else(|| loopback::Loopback::new(Config { proto_max_bulk_len: 1 << 20, ..Config::default() }));
    engine.reconnect();
    engine.turn(b"FLUSHALL\r\n", &mut Vec::new());
    let mut replies = Vec::new();
    for part in data.chunks(data.len().div_ceil(3).max(1)) {
        if !engine.turn(part, &mut replies) {
            break;
        }
    }
    ENGINE.set(Some(engine));
    let mut at = 0;
    while at < replies.len() {
        match Reply::parse(&replies[at..]) {
            Ok((_, len)) => at += len,
            Err(Malformed::Incomplete) => panic!("the last reply is not whole: {}", replies[at..].escape_ascii()),
            Err(Malformed::Garbage(why)) => panic!("{why} in {}", replies[at..].escape_ascii()),
        }
    }
}

/// Lines with quotes: what was split and quoted again must split the same.
pub fn split_words(data: &[u8]) {
    if let Some(found) = words::split(data) {
        let line: Vec<String> = found.iter().map(|word| words::quote(word)).collect();
        assert_eq!(words::split(line.join(" ").as_bytes()), Some(found), "{line:?}");
    }
}

/// A pattern and a text, divided by the first NUL byte.
pub fn glob_pattern(data: &[u8]) {
    let cut = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (pattern, text) = (&data[..cut], data.get(cut + 1..).unwrap_or_default());
    let matches = glob::matches(pattern, text);
    if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
        assert_eq!(matches, pattern == text, "without special bytes only the same text matches");
    }
    let escaped: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
    assert!(glob::matches(&escaped, text), "a text matches itself, escaped");
    assert!(glob::matches(b"*", text));
}

/// Integers and long doubles from text, and back.
pub fn numbers(data: &[u8]) {
    let expected = std::str::from_utf8(data).ok().and_then(|text| {
        let parsed: i64 = text.parse().ok()?;
        (parsed.to_string() == text).then_some(parsed)
    });
    assert_eq!(number::parse_i64(data), expected);
    if let Some(parsed) = LongDouble::parse(data).filter(|parsed| parsed.is_finite()) {
        let text = parsed.to_text();
        let again =
            LongDouble::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} was written and cannot be read"));
        // Digits behind the seventeenth are lost once; after that nothing changes any more.
        assert_eq!(again.to_text(), text);
    }
}

/// Bytes as a listpack, walked from both ends; and bytes as changes to one, beside a `VecDeque`.
pub fn listpack(data: &[u8]) {
    if let Some(list) = Listpack::from_bytes(data) {
        let forward: Vec<Vec<u8>> = list.iter().map(|element| element.to_vec()).collect();
        let mut backward: Vec<Vec<u8>> = list.iter().rev().map(|element| element.to_vec()).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), list.len());
        let again = Listpack::from_bytes(list.as_bytes()).expect("its own bytes are a listpack");
        assert_eq!(again.as_bytes(), list.as_bytes());
    }
    let (mut list, mut model) = (Listpack::new(), VecDeque::new());
    for step in data.chunks(3).take(400) {
        let value = value_of(step);
        let position = step.get(1).map_or(0, |&byte| i64::from(byte as i8));
        match step[0] % 6 {
            0 | 1 => {
                list.push_back(&value[..]);
                model.push_back(value);
            }
            2 => {
                list.push_front(&value[..]);
                model.push_front(value);
            }
            action => change(&mut list, &mut model, action, position, value),
        }
        assert_eq!(list.len(), model.len());
    }
    assert!(list.iter().map(|element| element.to_vec()).eq(model.iter().cloned()));
}

/// Changes the element at `position`, counted from either end, if there is one.
fn change(list: &mut Listpack, model: &mut VecDeque<Vec<u8>>, action: u8, position: i64, value: Vec<u8>) {
    let len = model.len() as i64;
    let index = if position < 0 { position + len } else { position };
    let found = list.seek(position);
    assert_eq!(found.is_some(), (0..len).contains(&index), "seek {position} of {len}");
    let Some(found) = found else { return };
    let index = index as usize;
    match action {
        3 => {
            list.remove(found);
            model.remove(index);
        }
        4 => {
            list.insert_before(found, &value[..]);
            model.insert(index, value);
        }
        _ => {
            list.replace(found, &value[..]);
            model[index] = value;
        }
    }
}

/// A text, an integer as text or a long text, from a few bytes.
fn value_of(step: &[u8]) -> Vec<u8> {
    let last = *step.last().unwrap_or(&0);
    match last % 4 {
        0 => step.to_vec(),
        1 => (i64::from(last) << (last % 56)).to_string().into_bytes(),
        2 => (-i64::from(last)).to_string().into_bytes(),
        _ => vec![last; usize::from(last) * 20],
    }
}

/// Bytes as an intset; and bytes as changes to one, beside a `BTreeSet`.
pub fn intset(data: &[u8]) {
    if let Some(set) = IntSet::from_bytes(data) {
        let values: Vec<i64> = set.iter().collect();
        assert!(values.is_sorted_by(|a, b| a < b));
        assert!(values.iter().all(|&value| set.contains(value)));
        assert_eq!(set.as_bytes(), data);
    }
    let (mut set, mut model) = (IntSet::new(), BTreeSet::new());
    for step in data.chunks(3).take(1000) {
        let raw = i64::from(step.get(1).copied().unwrap_or(0) as i8);
        let value = raw << (step.get(2).copied().unwrap_or(0) % 57);
        match step[0] % 3 {
            0 => assert_eq!(set.remove(value), model.remove(&value)),
            _ => assert_eq!(set.insert(value), model.insert(value)),
        }
        assert_eq!(set.contains(value), model.contains(&value));
        assert_eq!(set.len(), model.len());
    }
    assert!(set.iter().eq(model.iter().copied()));
    if !set.is_empty() {
        let again = IntSet::from_bytes(set.as_bytes()).expect("its own bytes are an intset");
        assert!(again.iter().eq(model.iter().copied()));
    }
}

/// A configuration file: what was read, written out and read again, is the same.
pub fn config_file(data: &[u8]) {
    // Other files are no part of what is tested.
    if data.windows(7).any(|part| part.eq_ignore_ascii_case(b"include")) {
        return;
    }
    let mut config = Config::default();
    if Reader::new(&mut config, Path::new("/")).text(data, "fuzz").is_err() {
        return;
    }
    let lines: Vec<String> = DIRECTIVES.iter().flat_map(|directive| directive.lines(&config)).collect();
    let mut again = Config::default();
    let read = Reader::new(&mut again, Path::new("/")).text(lines.join("\n").as_bytes(), "written");
    assert!(read.is_ok(), "{} in:\n{}", read.unwrap_err(), lines.join("\n"));
    for directive in DIRECTIVES {
        assert_eq!(directive.show(&again), directive.show(&config), "{}", directive.name);
    }
}

/// The segments that seeds of `aof_reader` are written for: of a log with an identity, and of one of format 1.
const SEGMENT: SegmentId =
    SegmentId { log: LogId(0x5e0c_31d0_7a9b_4f26), generation: 1, shard: 0, kind: Kind::Increment };
const WITHOUT_LOG: SegmentId = SegmentId { log: LogId::NONE, ..SEGMENT };

/// What is read of a file that comes in pieces of `piece` bytes: the records' offsets, and how it ends.
fn read_aof(format: Format, file: &[u8], piece: usize) -> (Vec<u64>, End, u64) {
    let (mut reader, mut offsets) = (AofReader::new(format), Vec::new());
    loop {
        match reader.step() {
            Step::Read(offset) => {
                let rest = &file[file.len().min(offset as usize)..];
                reader.feed(&rest[..rest.len().min(piece)]);
            }
            Step::Record(record) => offsets.push(record.offset),
            Step::Batch(_) => {}
            Step::End(end) => return (offsets, end, reader.good_up_to()),
        }
    }
}

/// A file of the append-only log, whole and in pieces; and what it is cut down to is good. Behind it stands one batch more,
/// so that the fuzzer need not find a checksum to get behind a damaged one.
pub fn aof_reader(data: &[u8]) {
    read_and_cut(Format::Plain, data);
    for segment in [SEGMENT, WITHOUT_LOG] {
        let format = Format::Batches(segment);
        read_and_cut(format, data);
        let mut followed = data.to_vec();
        followed.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
        Sealer::resume(segment, u64::MAX - 1).seal(&mut followed, data.len(), 1);
        let (end, good) = read_and_cut(format, &followed);
        assert!(!matches!(end, End::Torn(_)), "a good batch at its end would be cut: {end:?}, good up to {good}");
    }
}

/// How it ends and up to where it is good.
fn read_and_cut(format: Format, file: &[u8]) -> (End, u64) {
    let whole = read_aof(format, file, file.len().max(1));
    for piece in [1, 13] {
        assert_eq!(read_aof(format, file, piece), whole, "in pieces of {piece}");
    }
    let (offsets, end, good) = whole;
    match end {
        End::Clean => assert!(file[good as usize..].iter().all(|&byte| byte == 0), "room that was written ahead"),
        End::Torn(Damage { at, bytes, .. }) | End::OutOfOrder(Damage { at, bytes, .. }) => {
            assert_eq!((at, at + bytes), (good, file.len() as u64));
        }
        End::Corrupt(Damage { at, .. }) => assert_eq!(at, good),
    }
    assert_eq!(read_aof(format, &file[..good as usize], 100), (offsets, End::Clean, good));
    (end, good)
}

/// A manifest: what was read, written out and read again, is the same. Without the right checksum it must be Redis's.
pub fn aof_manifest(data: &[u8]) {
    let crc = data.iter().rposition(|&byte| byte == b'\n').map(|end| crc32c::crc32c(&data[..=end]));
    let sealed = [data, format!("crc32c {:08x}\n", crc.unwrap_or_default()).as_bytes()].concat();
    for text in [data, &sealed] {
        let Ok(manifest) = Manifest::parse(text) else { continue };
        for shard in 0..manifest.shards {
            let files = manifest.of_shard(shard);
            let torn = files.iter().filter(|entry| manifest.may_be_torn(entry)).count();
            assert!(torn <= 1, "only the last write may have been cut off");
        }
        if manifest.origin == Origin::Crimson {
            assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
        }
    }
}
