//! The manifest: which files make up the log. It is replaced as a whole, never changed in place.
//!
//! ```text
//! crimson-aof 2                                             the version of the format
//! log 5e0c31d07a9b4f26                                      which log it is; version 1 has no such line
//! shards 2                                                  how many shards wrote it
//! begun 4                                                   a generation that is being made, if one is
//! file appendonly.aof.3.0.base.aof generation 3 shard 0 kind base bytes 8192
//! file appendonly.aof.3.0.incr.aof generation 3 shard 0 kind incr
//! ...                                                       a name with unusual characters stands in "quotes"
//! durable i3.0.17                                           see below
//! lost i3.1.812                                             see below
//! crc32c 0f3a9c27                                           over all bytes before this line
//! ```
//!
//! A generation is a consistent cut over all shards. Bases belong to the oldest generation that is listed, and every
//! generation has an increment of every shard; a shard without a base was empty then. A base is complete when it is
//! listed, so its length is too. What a shard holds is its base and then its increments in order of their generations.
//!
//! `durable i3.0.17` says: batch 17 of shard 0's increment of generation 3 was on disk when this manifest was stored, at an
//! orderly end of the server. The file may be longer by now; one that is shorter has lost something or is an older one.
//!
//! `lost i3.1.812` says: whoever looks after the log knows that batches up to 812 of shard 1's increment of generation 3 are
//! lost, whatever other shards' logs say of them (`check-aof`). A server that loads such a log writes a new generation.
//! Before files of a new generation are made, the manifest says that it is begun. So files that are not listed and belong
//! to it are what was left of a rewrite that has not come to its end; those of a later one tell that the manifest is
//! older than the files.
//!
//! Redis's manifest and its old single file are understood as the log of one shard without batches ([`super::redis`]).

use super::batch::{Kind, LogId, SegmentId, checksum, hexadecimal, parse_place};
use super::reader::{Damage, End, Format, Found, Reason};
use super::record::decimal;
use super::redis;
use crate::limits::{AOF_MANIFEST_BYTES_MAX, SHARDS_MAX};
use crate::persistence::storage::Storage;
use crate::stdx::{os, words};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Its first line, up to the version.
const TITLE: &[u8] = b"crimson-aof ";

/// The version of the format that is written. A log without identity is of the version before.
const VERSION: u64 = 2;

/// How the line begins that tells which log it is.
const LOG: &[u8] = b"log ";

/// How a line begins that tells what is on disk.
const DURABLE: &[u8] = b"durable ";

/// How a line begins that tells what is known to be lost.
const LOST: &[u8] = b"lost ";

/// Which files make up the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Which log it is.
    pub log: LogId,
    /// How many shards wrote it.
    pub shards: u16,
    /// Who wrote it.
    pub origin: Origin,
    /// The files, in the order in which they are listed.
    pub files: Vec<Entry>,
    /// Up to this generation there may be files that are not listed, of rewrites that have not come to their ends.
    pub begun: u64,
    /// By file, a batch that is known to be on disk. Of files that are not listed it says nothing.
    pub durable: BTreeMap<SegmentId, u64>,
    /// By file, the last batch of those that are known to be lost.
    pub lost: BTreeMap<SegmentId, u64>,
    /// Names of those that were empty, or nothing but room written ahead, when the manifest was loaded.
    pub empty: BTreeSet<String>,
}

/// Who wrote the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This server: in batches.
    Crimson,
    /// Redis: plain records.
    Redis,
}

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the directory of the manifest.
    pub name: String,
    /// What it is. In a log of Redis the generation is its sequence number.
    pub segment: SegmentId,
    /// Its length, where it is known that nothing will be added.
    pub bytes: Option<u64>,
}

/// What the end of a file means for who wants to load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is whole.
    Good,
    /// It is good when it is cut there (`aof-load-truncated`).
    Cut(Damage),
    /// It is good when it is cut there, but good batches behind would be lost: nobody does that without being asked.
    OutOfOrder(Damage),
    /// It must not be loaded.
    Refuse(Damage),
}

impl Manifest {
    /// A new log without files.
    pub fn new(log: LogId, shards: u16) -> Self {
        let (files, begun, durable, lost, empty) = Default::default();
        Self { log, shards, origin: Origin::Crimson, files, begun, durable, lost, empty }
    }

    /// A log of Redis, of these files.
    pub fn of_redis(files: Vec<Entry>) -> Self {
        Self { origin: Origin::Redis, files, ..Self::new(LogId::NONE, 1) }
    }

    /// Redis's old log in a single file.
    pub fn single(name: &str) -> Self {
        let segment = SegmentId { log: LogId::NONE, generation: 1, shard: 0, kind: Kind::Increment };
        Self::of_redis(vec![Entry { name: name.into(), segment, bytes: None }])
    }

    /// The name of a manifest; `filename` is the directive `appendfilename`.
    pub fn name(filename: &str) -> String {
        format!("{filename}.manifest")
    }

    /// The name of a file; `filename` is the directive `appendfilename`.
    pub fn segment_name(filename: &str, segment: SegmentId) -> String {
        format!("{filename}.{}.{}.{}.aof", segment.generation, segment.shard, segment.kind.word())
    }

    /// Reads the manifest of the log in `dir`, Crimson's or Redis's; `None` if there is no such file. The error is what
    /// to tell the user, without the name of the file.
    pub fn load(storage: &dyn Storage, dir: &Path, filename: &str) -> Result<Option<Self>, String> {
        match Self::read(storage, dir, filename).map_err(|error| os::error_text(&error))? {
            Some(text) => Self::parse(&text).map(|manifest| Some(manifest.look_for_empty(storage, dir))),
            None => Ok(None),
        }
    }

    /// The bytes of the manifest of the log in `dir`; `None` if there is no such file.
    pub fn read(storage: &dyn Storage, dir: &Path, filename: &str) -> io::Result<Option<Vec<u8>>> {
        match storage.read(&dir.join(Self::name(filename)), AOF_MANIFEST_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, knowing which files are empty now.
    pub fn look_for_empty(mut self, storage: &dyn Storage, dir: &Path) -> Self {
        let names = self.files.iter().filter(|entry| entry.segment.kind == Kind::Increment).map(|entry| &entry.name);
        self.empty = names.filter(|name| is_blank(storage, &dir.join(name)).unwrap_or(false)).cloned().collect();
        self
    }

    /// Makes this the manifest of the log in `dir`, durably.
    pub fn store(&self, storage: &dyn Storage, dir: &Path, filename: &str) -> io::Result<()> {
        storage.replace(dir, &Self::name(filename), &self.to_bytes())
    }

    /// Understands a manifest, Crimson's or Redis's.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if !text.starts_with(TITLE) {
            return redis::parse_manifest(text);
        }
        let mut lines = body(text)?.split(|&byte| byte == b'\n').enumerate().peekable();
        let version =
            lines.next().and_then(|(_, line)| decimal(line.strip_prefix(TITLE)?)).ok_or("it has no version")?;
        if version > VERSION {
            return Err(format!(
                "its format has version {version}, written by a newer Crimson; this server knows up to {VERSION}"
            ));
        }
        let named = lines.next_if(|(_, line)| version == VERSION && line.starts_with(LOG));
        let log = named.and_then(|(_, line)| LogId::parse(line.strip_prefix(LOG)?));
        if log.is_none() && version == VERSION {
            return Err("it does not say which log it is".into());
        }
        let shards = lines.next().and_then(|(_, line)| decimal(line.strip_prefix(b"shards ")?));
        let shards = shards.filter(|shards| (1..=SHARDS_MAX as u64).contains(shards)).ok_or("it has no shards")?;
        let mut manifest = Self::new(log.unwrap_or(LogId::NONE), shards as u16);
        for (index, line) in lines {
            manifest.add(line).ok_or_else(|| format!("line {} is not understood", index + 1))?;
        }
        manifest.validate()?;
        Ok(manifest)
    }

    /// Adds what a line says.
    fn add(&mut self, line: &[u8]) -> Option<()> {
        if let Some(generation) = parse_begun(line) {
            self.begun = generation;
            return Some(());
        }
        let log = self.log;
        for (key, batches) in [(DURABLE, &mut self.durable), (LOST, &mut self.lost)] {
            if let Some(batch) = line.strip_prefix(key) {
                let (segment, sequence) = parse_place(batch, log)?;
                return batches.insert(segment, sequence).is_none().then_some(());
            }
        }
        self.files.push(parse_file(line, log)?);
        Some(())
    }

    /// These batches are on disk, as far as their files are listed.
    pub fn note_durable(&mut self, batches: &BTreeMap<SegmentId, u64>) {
        for (segment, &sequence) in batches {
            if !self.lists(*segment) {
                continue;
            }
            let known = self.durable.entry(*segment).or_default();
            *known = sequence.max(*known);
        }
    }

    /// The text of Crimson's manifest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = match self.log {
            LogId::NONE => format!("crimson-aof {}\nshards {}\n", VERSION - 1, self.shards),
            log => format!("crimson-aof {VERSION}\nlog {log}\nshards {}\n", self.shards),
        };
        self.write_begun(&mut text);
        for Entry { name, segment: SegmentId { generation, shard, kind, .. }, bytes } in &self.files {
            let name = if words::needs_quotes(name.as_bytes()) { words::quote(name.as_bytes()) } else { name.clone() };
            let kind = kind.word();
            write!(text, "file {name} generation {generation} shard {shard} kind {kind}").expect(TO_A_STRING);
            if let Some(bytes) = bytes {
                write!(text, " bytes {bytes}").expect(TO_A_STRING);
            }
            text.push('\n');
        }
        let listed = self.durable.iter().filter(|(segment, _)| self.lists(**segment));
        for (segment, sequence) in listed {
            writeln!(text, "durable {segment}.{sequence}").expect(TO_A_STRING);
        }
        for (segment, sequence) in &self.lost {
            writeln!(text, "lost {segment}.{sequence}").expect(TO_A_STRING);
        }
        let mut text = text.into_bytes();
        let crc = crc32c::crc32c(&text);
        text.extend_from_slice(b"crc32c ");
        text.extend_from_slice(&hexadecimal(crc));
        text.push(b'\n');
        text
    }

    /// Whether what it lists is a log as the module describes it; else what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        let mut segments = BTreeSet::new();
        let mut increments: BTreeMap<u64, usize> = BTreeMap::new();
        for Entry { name, segment, bytes } in &self.files {
            if !is_file_name(name) {
                return Err(format!("{} is not a file name", words::quote(name.as_bytes())));
            }
            if !names.insert(name) || !segments.insert(segment) {
                return Err(format!("{name} is listed twice"));
            }
            if segment.shard >= self.shards {
                return Err(format!("{name} belongs to a shard that there is not"));
            }
            if segment.kind == Kind::Base && bytes.is_none() {
                return Err(format!("{name} is a base without a length"));
            }
            if segment.kind == Kind::Increment {
                *increments.entry(segment.generation).or_default() += 1;
            }
        }
        if let Some((generation, _)) = increments.iter().find(|entry| *entry.1 != usize::from(self.shards)) {
            return Err(format!("generation {generation} has not an increment of every shard"));
        }
        if self.durable.keys().any(|segment| !segments.contains(segment)) {
            return Err("a batch of a file that is not listed is called durable".into());
        }
        let oldest = increments.keys().next();
        let misplaced = |entry: &&Entry| entry.segment.kind == Kind::Base && Some(&entry.segment.generation) != oldest;
        match self.files.iter().find(misplaced) {
            Some(entry) => Err(format!("{} is a base of another generation than the oldest", entry.name)),
            None => Ok(()),
        }
    }

    /// Whether a file is part of the log.
    pub fn lists(&self, segment: SegmentId) -> bool {
        self.files.iter().any(|entry| entry.segment == segment)
    }

    /// The files of a shard in the order in which they are loaded.
    pub fn of_shard(&self, shard: u16) -> Vec<&Entry> {
        let mut files: Vec<&Entry> = self.files.iter().filter(|entry| entry.segment.shard == shard).collect();
        files.sort_by_key(|entry| (entry.segment.kind, entry.segment.generation));
        files
    }

    /// The newest generation; 0 in a log without files.
    pub fn generation(&self) -> u64 {
        self.files.iter().map(|entry| entry.segment.generation).max().unwrap_or(0)
    }

    /// The newest generation of which there may be a file; 0 in a log without files.
    pub fn newest(&self) -> u64 {
        self.begun.max(self.generation())
    }

    /// The line that says which generation is begun, if that is not listed.
    fn write_begun(&self, text: &mut String) {
        if self.begun > self.generation() {
            writeln!(text, "{BEGUN}{}", self.begun).expect(TO_A_STRING);
        }
    }

    /// How one of its files is written.
    pub fn format(&self, entry: &Entry) -> Format {
        match self.origin {
            Origin::Crimson => Format::Batches(entry.segment),
            Origin::Redis => Format::Plain,
        }
    }

    /// Whether the last write to the file may have been cut off: it is the last increment of its shard, or nothing is in
    /// those behind it, for nothing is written there before this one is on disk. In a log of Redis it is the last file,
    /// whatever it is.
    pub fn may_be_torn(&self, entry: &Entry) -> bool {
        let files = self.of_shard(entry.segment.shard);
        let behind = files.iter().skip_while(|file| **file != entry).skip(1);
        let last = behind.into_iter().all(|file| self.empty.contains(&file.name));
        last && (self.origin == Origin::Redis || entry.segment.kind == Kind::Increment)
    }

    /// What it means that reading `entry` came to `end` at `good_up_to`.
    pub fn judge(&self, entry: &Entry, end: End, good_up_to: u64) -> Verdict {
        match end {
            End::Torn(damage) if self.may_be_torn(entry) => Verdict::Cut(damage),
            End::OutOfOrder(damage) if self.may_be_torn(entry) => Verdict::OutOfOrder(damage),
            End::Torn(damage) | End::OutOfOrder(damage) | End::Corrupt(damage) => Verdict::Refuse(damage),
            End::Clean => match entry.bytes {
                Some(bytes) if bytes != good_up_to => Verdict::Refuse(Damage {
                    at: good_up_to,
                    bytes: 0,
                    noticed_at: good_up_to,
                    reason: Reason::Size { expected: bytes },
                    found: Found::default(),
                }),
                _ => Verdict::Good,
            },
        }
    }
}

const CUT_OFF: &str = "it does not end with its checksum";
const TO_A_STRING: &str = "writing to a String does not fail";

/// What stands before the checksum, if that holds; else what is wrong.
fn body(text: &[u8]) -> Result<&[u8], String> {
    let whole = text.strip_suffix(b"\n").ok_or(CUT_OFF)?;
    let last = memchr::memrchr(b'\n', whole).ok_or(CUT_OFF)? + 1;
    let crc = whole[last..].strip_prefix(b"crc32c ").and_then(checksum).ok_or(CUT_OFF)?;
    if crc != crc32c::crc32c(&text[..last]) {
        return Err("its checksum does not hold".into());
    }
    Ok(&text[..last - 1])
}

/// Whether nothing is in a file but zero bytes, room that was written ahead.
fn is_blank(storage: &dyn Storage, path: &Path) -> io::Result<bool> {
    let (mut piece, mut at) = ([0; BLANK_PIECE_BYTES], 0);
    loop {
        match storage.read_at(path, at, &mut piece)? {
            0 => return Ok(true),
            read if piece[..read].iter().any(|&byte| byte != 0) => return Ok(false),
            read => at += read as u64,
        }
    }
}

/// Bytes of a file that are looked at together.
const BLANK_PIECE_BYTES: usize = 4096;

/// How the line begins that says which generation is begun.
pub(super) const BEGUN: &str = "begun ";

/// The generation that is begun, if the line says that.
pub(super) fn parse_begun(line: &[u8]) -> Option<u64> {
    decimal(line.strip_prefix(BEGUN.as_bytes())?)
}

/// Whether it names a file in the same directory.
pub(super) fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn parse_file(line: &[u8], log: LogId) -> Option<Entry> {
    let words = words::split(line)?;
    let (words, bytes) = match &words[..] {
        [words @ .., key, bytes] if key == b"bytes" => (words, Some(decimal(bytes)?)),
        words => (words, None),
    };
    let [file, name, generation_key, generation, shard_key, shard, kind_key, kind] = words else { return None };
    let keys = [&file[..], generation_key, shard_key, kind_key];
    if keys != [&b"file"[..], b"generation", b"shard", b"kind"] {
        return None;
    }
    let kind = [Kind::Base, Kind::Increment].into_iter().find(|known| known.word().as_bytes() == kind)?;
    let shard = u16::try_from(decimal(shard)?).ok()?;
    let segment = SegmentId { log, generation: decimal(generation)?, shard, kind };
    Some(Entry { name: String::from_utf8(name.clone()).ok()?, segment, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOG: LogId = LogId(0x5e0c_31d0_7a9b_4f26);

    fn entry(filename: &str, generation: u64, shard: u16, kind: Kind) -> Entry {
        let segment = SegmentId { log: LOG, generation, shard, kind };
        let bytes = (kind == Kind::Base).then_some(100 + generation);
        Entry { name: Manifest::segment_name(filename, segment), segment, bytes }
    }

    /// Bases of generation 3 and increments of 3 and 4.
    fn example(filename: &str) -> Manifest {
        let mut manifest = Manifest::new(LOG, 2);
        for shard in 0..2 {
            manifest.files.push(entry(filename, 4, shard, Kind::Increment));
            manifest.files.push(entry(filename, 3, shard, Kind::Increment));
        }
        manifest.files.push(entry(filename, 3, 1, Kind::Base));
        manifest
    }

    #[test]
    fn it_is_written_as_drawn() {
        let mut manifest = example("appendonly.aof");
        manifest.files.drain(..3);
        manifest.lost.insert(manifest.files[0].segment, 812);
        manifest.durable.insert(manifest.files[0].segment, 17);
        // Of a file that is no part of the log any more nothing is said.
        manifest.durable.insert(SegmentId { generation: 2, ..manifest.files[0].segment }, 5);
        let text = String::from_utf8(manifest.to_bytes()).unwrap();
        let body = "crimson-aof 2\nlog 5e0c31d07a9b4f26\nshards 2\n\
                    file appendonly.aof.3.1.incr.aof generation 3 shard 1 kind incr\n\
                    file appendonly.aof.3.1.base.aof generation 3 shard 1 kind base bytes 103\n\
                    durable i3.1.17\nlost i3.1.812\n";
        assert_eq!(text, format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())));
    }

    #[test]
    fn a_generation_that_is_begun_is_told_until_it_is_listed() {
        let mut manifest = example("a");
        assert_eq!((manifest.generation(), manifest.newest()), (4, 4));
        manifest.begun = 5;
        let text = String::from_utf8(manifest.to_bytes()).unwrap();
        assert!(text.contains("shards 2\nbegun 5\nfile "), "{text}");
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest.clone()));
        assert_eq!((manifest.generation(), manifest.newest()), (4, 5));
        manifest.files.extend((0..2).map(|shard| entry("a", 5, shard, Kind::Increment)));
        assert!(!String::from_utf8(manifest.to_bytes()).unwrap().contains("begun"));
        // There may be nothing else: a log is being switched on where there was none.
        let begun = Manifest { begun: 1, ..Manifest::new(LogId(7), 2) };
        assert_eq!(Manifest::parse(&begun.to_bytes()), Ok(begun));
    }

    #[test]
    fn files_are_loaded_in_order_and_only_the_last_may_be_torn() {
        let manifest = example("a");
        assert_eq!((manifest.validate(), manifest.generation()), (Ok(()), 4));
        let of_shard = |shard| manifest.of_shard(shard).iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>();
        assert_eq!(of_shard(0), ["a.3.0.incr.aof", "a.4.0.incr.aof"]);
        assert_eq!(of_shard(1), ["a.3.1.base.aof", "a.3.1.incr.aof", "a.4.1.incr.aof"]);
        let torn: Vec<bool> = manifest.of_shard(1).into_iter().map(|entry| manifest.may_be_torn(entry)).collect();
        assert_eq!(torn, [false, false, true]);
        let base = manifest.of_shard(1)[0];
        assert_eq!(manifest.judge(base, End::Clean, 103), Verdict::Good);
        let short = manifest.judge(base, End::Clean, 60);
        assert!(matches!(short, Verdict::Refuse(Damage { at: 60, reason: Reason::Size { expected: 103 }, .. })));
    }

    #[test]
    fn no_byte_can_change_or_go_missing() {
        let text = example("appendonly.aof").to_bytes();
        for len in 0..text.len() {
            assert!(Manifest::parse(&text[..len]).is_err(), "cut at {len}");
        }
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::parse(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let sealed = |body: &str| {
            let crc = crc32c::crc32c(body.as_bytes());
            Manifest::parse(format!("{body}crc32c {crc:08x}\n").as_bytes())
        };
        let body = "crimson-aof 2\nlog 5e0c31d07a9b4f26\nshards 1\nfile a generation 3 shard 0 kind incr\n\
                    file b generation 3 shard 0 kind base bytes 1\n";
        assert!(sealed(body).is_ok());
        assert!(sealed("crimson-aof 2\nlog 5e0c31d07a9b4f26\nshards 1\n").is_ok());
        for (from, to, reason) in [
            (
                "crimson-aof 2",
                "crimson-aof 3",
                "its format has version 3, written by a newer Crimson; this server knows up to 2",
            ),
            ("log 5e0c31d07a9b4f26\n", "", "it does not say which log it is"),
            ("5e0c31d07a9b4f26", "0000000000000000", "it does not say which log it is"),
            ("crimson-aof 2", "crimson-aof 1", "it has no shards"),
            ("shards 1", "shards 0", "it has no shards"),
            ("shards 1", "shards 1025", "it has no shards"),
            ("shards 1", "shards 2", "generation 3 has not an increment of every shard"),
            ("file b", "file a", "a is listed twice"),
            ("file b", "file ../b", "\"../b\" is not a file name"),
            (" bytes 1", "", "b is a base without a length"),
            ("file a", "lost i3.0", "line 4 is not understood"),
            ("file a", "durable i3.0", "line 4 is not understood"),
            ("file a", "durable i2.0.7\nfile a", "a batch of a file that is not listed is called durable"),
            (" bytes 1", " bytes x", "line 5 is not understood"),
            ("kind base", "kind bose", "line 5 is not understood"),
            ("kind base", "", "line 5 is not understood"),
            ("b generation 3", "b generation 4", "b is a base of another generation than the oldest"),
            ("shard 0 kind base", "shard 1 kind base", "b belongs to a shard that there is not"),
        ] {
            assert_eq!(sealed(&body.replacen(from, to, 1)), Err(reason.to_string()), "{from} -> {to}");
        }
    }

    #[test]
    fn a_manifest_of_version_1_is_still_read() {
        let body = "crimson-aof 1\nshards 1\nfile a generation 3 shard 0 kind incr\n";
        let text = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let segment = SegmentId { log: LogId::NONE, generation: 3, shard: 0, kind: Kind::Increment };
        assert_eq!((manifest.log, manifest.files[0].segment), (LogId::NONE, segment));
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), text);
    }

    proptest! {
        #[test]
        fn manifests_come_back(filename in "[a-z \"'\\\\é\n\t]{1,12}", cut in 0..5usize) {
            let mut manifest = example(&filename);
            manifest.files.truncate(if cut < 4 { 0 } else { 5 });
            manifest.durable = manifest.files.iter().skip(cut).map(|entry| (entry.segment, cut as u64)).collect();
            manifest.lost = manifest.files.iter().take(cut).map(|entry| (entry.segment, cut as u64)).collect();
            prop_assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Manifest::parse(&text);
            let _ = Manifest::parse(&[TITLE, &text[..]].concat());
        }
    }
}
