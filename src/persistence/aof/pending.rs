//! The pending area: what a core has logged and its file may not have yet. It lies in a file that is mapped into memory, so
//! the kernel keeps what is put there when the process dies, without a system call, and the next start adds it to the log
//! ([`redo`]). It promises nothing when the machine dies: nobody syncs it.
//!
//! Batches are put one behind the other, from the beginning again when the file has what is there: so few bytes of the area
//! are in use, and they stay in the cache. While the disk is slow, what comes next goes behind all of it. Where there is no
//! room, replies wait until the file has the batch.
//!
//! ```text
//! entry    0 ..  8   "CRIMPEND"
//!          8 .. 16   log id                     little-endian, as all numbers
//!         16 .. 24   generation of the increment
//!         24 .. 26   shard
//!         26 .. 28   zero
//!         28 .. 32   bytes of the batch
//!         32 .. 40   its number
//!         40 .. 48   its offset in the increment
//!         48 .. 56   length of the increment before; all ones: not known, it is whole
//!         56 .. 60   zero
//!         60 .. 64   CRC32C of the 60 bytes before
//!         64 ..      the batch; the next entry begins at a multiple of 8
//! ```
//!
//! A start writes each batch to its place in the increment. That is the same bytes again where the file has them, so it
//! does not matter that old entries stand behind the new ones. A batch is left out where what should stand before it is
//! not whole: then the machine has died, and nobody was promised it, or the increment is not the one that was there.
//!
//! What was put here can be told from what has rotted: the magic goes before the batch is written, and comes last. So
//! whenever the process dies, a head with its magic has its batch, or the file has that; and a new entry takes an old
//! head's front away before anything else of it.

use super::batch::{self, Kind, LogId, SegmentId};
use super::manifest::{Entry, Manifest};
use super::{again, check};
use crate::limits::AOF_PENDING_LAP_BYTES;
use crate::persistence::storage::Storage;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"CRIMPEND";
const HEAD_BYTES: usize = 64;
const ALIGN: usize = 8;

/// The increment before is whole, whatever its length.
pub const WHOLE: u64 = u64::MAX;

/// Memory that outlives the process.
pub trait Area {
    /// How many bytes.
    fn len(&self) -> usize;

    /// Writes `bytes` from `at` on, before whatever is written later.
    fn put(&mut self, at: usize, bytes: &[u8]);

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an entry says of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The increment that it belongs to.
    pub segment: SegmentId,
    /// Its number there.
    pub sequence: u64,
    /// Where it begins there.
    pub offset: u64,
    /// The length of the increment before, or [`WHOLE`].
    pub before: u64,
}

impl Head {
    fn to_bytes(self, len: u32) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&self.segment.log.0.to_le_bytes());
        head[16..24].copy_from_slice(&self.segment.generation.to_le_bytes());
        head[24..26].copy_from_slice(&self.segment.shard.to_le_bytes());
        head[28..32].copy_from_slice(&len.to_le_bytes());
        head[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        head[40..48].copy_from_slice(&self.offset.to_le_bytes());
        head[48..56].copy_from_slice(&self.before.to_le_bytes());
        let crc = crc32c::crc32c(&head[..60]);
        head[60..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    fn parse(head: &[u8]) -> Option<(Self, usize)> {
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let small = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        if &head[..8] != MAGIC || crc32c::crc32c(&head[..60]) != small(60) {
            return None;
        }
        let segment = SegmentId {
            log: LogId(number(8)),
            generation: number(16),
            shard: u16::from_le_bytes([head[24], head[25]]),
            kind: Kind::Increment,
        };
        let head = Self { segment, sequence: number(32), offset: number(40), before: number(48) };
        Some((head, small(28) as usize))
    }

    /// What a head of the log `log` says of which the magic or the identity has rotted. Without any magic it is one that
    /// was being put there.
    fn mended(head: &[u8], log: LogId) -> Option<(Self, usize)> {
        let is_zero = |range: Range<usize>| head[range].iter().all(|&byte| byte == 0);
        if log.is_none() || is_zero(0..8) || is_zero(16..24) || !is_zero(26..28) || !is_zero(56..60) {
            return None;
        }
        let mut mended: [u8; HEAD_BYTES] = head.try_into().ok()?;
        mended[..8].copy_from_slice(MAGIC);
        mended[8..16].copy_from_slice(&log.0.to_le_bytes());
        Self::parse(&mended)
    }

    /// Whether it is a head of the log `log`, whatever else it says.
    fn is_of(head: &[u8], log: LogId) -> bool {
        !log.is_none() && &head[..8] == MAGIC && head[8..16] == log.0.to_le_bytes()
    }
}

/// One core's pending area.
pub struct Pending {
    area: Box<dyn Area>,
    /// Where the next entry goes.
    at: usize,
    /// Entries that the file need not have, from the oldest on: where each begins, and the position of its batch.
    live: VecDeque<(usize, u64)>,
    /// Where the oldest ones end, if those behind them have begun again from the beginning.
    turned: Option<usize>,
    /// All that was appended between these positions is here.
    from: u64,
    until: u64,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("at", &self.at).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Pending {
    /// An area in which nothing is.
    pub fn new(area: Box<dyn Area>) -> Self {
        Self { area, at: 0, live: VecDeque::new(), turned: None, from: 0, until: 0 }
    }

    /// Keeps a batch with what was appended from position `start` up to `end`, if there is room. The file has all up to
    /// `handed`.
    pub fn put(&mut self, head: Head, batch: &[u8], (start, end): (u64, u64), handed: u64) {
        let Ok(len) = u32::try_from(batch.len()) else { return };
        let needed = (HEAD_BYTES + batch.len()).next_multiple_of(ALIGN);
        let Some(at) = self.find_room(needed, handed) else { return };
        // What makes it an entry comes last, and what made the old one an entry goes first.
        let head = head.to_bytes(len);
        self.area.put(at, &[0; MAGIC.len()]);
        self.area.put(at + HEAD_BYTES, batch);
        self.area.put(at + MAGIC.len(), &head[MAGIC.len()..]);
        self.area.put(at, MAGIC);
        self.live.push_back((at, end));
        self.at = at + needed;
        if self.until != start {
            self.from = start;
        }
        self.until = end;
    }

    /// Where so many bytes can be put.
    fn find_room(&mut self, needed: usize, handed: u64) -> Option<usize> {
        while let Some(&(start, _)) = self.live.front().filter(|(_, position)| *position <= handed) {
            self.live.pop_front();
            if self.live.front().is_none_or(|&(next, _)| next < start) {
                self.turned = None;
            }
        }
        let Some(&(oldest, _)) = self.live.front() else {
            return (needed <= self.area.len()).then_some(0);
        };
        let (at, len) = (self.at, self.area.len());
        match self.turned {
            Some(_) if at <= oldest && at + needed <= oldest => Some(at),
            // The disk is slow: what is in front stays a while.
            Some(end) if at <= oldest => (end + needed <= len).then_some(end),
            Some(_) => (at + needed <= len).then_some(at),
            None => {
                let fits = at + needed <= len;
                let pays = at >= AOF_PENDING_LAP_BYTES && oldest >= AOF_PENDING_LAP_BYTES / 2;
                if needed <= oldest && (pays || !fits) {
                    self.turned = Some(at);
                    return Some(0);
                }
                fits.then_some(at)
            }
        }
    }

    /// Up to which position everything outlives the process, if the file has all up to `handed`.
    pub fn covers(&self, handed: u64) -> u64 {
        if self.from <= handed { self.until.max(handed) } else { handed }
    }
}

/// The name of a shard's pending area; `filename` is the directive `appendfilename`.
pub fn name(filename: &str, shard: u16) -> String {
    format!("{filename}.{shard}.pending")
}

/// The shard whose pending area a file is, by its name.
pub fn shard_of(name: &str, filename: &str) -> Option<u16> {
    let rest = name.strip_prefix(filename)?.strip_prefix('.')?.strip_suffix(".pending")?;
    rest.parse().ok().filter(|shard: &u16| shard.to_string() == rest)
}

/// What [`redo`] has added to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redone {
    /// The name of the file.
    pub name: String,
    /// Bytes that it lacked.
    pub bytes: u64,
}

/// What has become of an area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What was added to which files.
    pub added: Vec<Redone>,
    /// Batches that the log does not have and that do not follow what it has.
    pub skipped: usize,
    /// Where entries begin that cannot be read and may have what the log lacks.
    pub rotten: Vec<usize>,
}

impl Taken {
    /// What is wrong with the area, to be told behind its name; `None`: the log has all of it.
    pub fn fault(&self) -> Option<String> {
        let rotten =
            |first: &usize| format!("entries that cannot be read ({}, the first at {first})", self.rotten.len());
        let skipped = || format!("batches that do not follow what is in the log ({})", self.skipped);
        match (self.rotten.first(), self.skipped) {
            (None, 0) => None,
            (None, _) => Some(skipped()),
            (Some(first), 0) => Some(rotten(first)),
            (Some(first), _) => Some(format!("{} and {}", rotten(first), skipped())),
        }
    }
}

/// Why an area could not be added to the log.
#[derive(Debug)]
pub struct Failure {
    /// The name of the file that could not be read or written.
    pub name: String,
    /// Whether it was being written.
    pub writes: bool,
    /// What went wrong.
    pub error: io::Error,
}

impl Failure {
    fn reading(file: &Entry) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { name: file.name.clone(), writes: false, error }
    }

    fn writing(file: &Entry) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { name: file.name.clone(), writes: true, error }
    }
}

/// Adds to the increments of a shard what its pending area, `bytes`, has and they lack, durably; or only finds out what it
/// would add, where `writes` is false.
pub fn redo(
    storage: &dyn Storage,
    dir: &Path,
    manifest: &Manifest,
    bytes: &[u8],
    writes: bool,
) -> Result<Taken, Failure> {
    let Contents { whole, rotten } = Contents::of(bytes, manifest.log);
    let (ends, taken) = (BTreeMap::new(), Taken::default());
    let mut redo = Redo { storage, dir, manifest, whole: &whole, writes, ends, taken };
    whole.values().try_for_each(|&(head, batch)| redo.take(head, batch))?;
    for (at, entry) in rotten {
        if redo.may_be_lacking(entry)? {
            redo.taken.rotten.push(at);
        }
    }
    for entry in manifest.files.iter().filter(|_| writes) {
        if redo.taken.added.iter().any(|added| added.name == entry.name) {
            storage.sync(&dir.join(&entry.name)).map_err(Failure::writing(entry))?;
        }
    }
    Ok(redo.taken)
}

/// Gives an area a name that is free, `NAME.cut` or with a number behind it, durably.
pub fn set_aside(storage: &dyn Storage, dir: &Path, name: &str) -> io::Result<PathBuf> {
    let kept = check::unused_name(storage, dir, name)?;
    storage.rename(&dir.join(name), &kept)?;
    storage.sync_dir(dir)?;
    Ok(kept)
}

/// What a batch is to the log.
enum Fit {
    /// It has it.
    There,
    /// It lacks it, and has all in front of it.
    Next,
    /// It has no place for it.
    Nowhere,
}

/// Adding an area to the log.
struct Redo<'a> {
    storage: &'a dyn Storage,
    dir: &'a Path,
    manifest: &'a Manifest,
    whole: &'a Whole<'a>,
    writes: bool,
    /// By file, the number of the batch at its end.
    ends: BTreeMap<&'a str, Option<u64>>,
    taken: Taken,
}

impl<'a> Redo<'a> {
    fn take(&mut self, head: Head, batch: &[u8]) -> Result<(), Failure> {
        if self.is_replaced(head.segment) {
            return Ok(());
        }
        let files = self.manifest.of_shard(head.segment.shard);
        let Some(place) = files.iter().position(|file| file.segment == head.segment) else {
            self.taken.skipped += 1;
            return Ok(());
        };
        let (before, file) = (&files[..place], files[place]);
        match self.fit(head, batch, before, file).map_err(Failure::reading(file))? {
            Fit::There => {}
            Fit::Next => self.add(head, batch, before, file)?,
            Fit::Nowhere => self.taken.skipped += 1,
        }
        Ok(())
    }

    /// Whether the log has a newer generation than this, in which all of it is.
    fn is_replaced(&self, segment: SegmentId) -> bool {
        let oldest = self.manifest.files.iter().map(|entry| entry.segment.generation).min().unwrap_or(0);
        segment.log == self.manifest.log && segment.generation < oldest
    }

    fn fit(&mut self, head: Head, batch: &[u8], before: &[&Entry], file: &'a Entry) -> io::Result<Fit> {
        let (storage, path) = (self.storage, self.dir.join(&file.name));
        let len = match storage.len(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fit::Nowhere),
            len => len?,
        };
        if holds(storage, &path, head.offset, batch)? {
            return Ok(Fit::There);
        }
        if !self.ends.contains_key(file.name.as_str()) {
            self.ends.insert(&file.name, last_batch(storage, &path, file, len)?);
        }
        if self.ends[file.name.as_str()] >= Some(head.sequence) {
            // It has one of that number, another one: the area belongs to another copy of the log.
            return Ok(Fit::Nowhere);
        }
        let imagined = self.taken.added.last().filter(|last| !self.writes && last.name == file.name);
        let len = len + imagined.map_or(0, |last| last.bytes);
        let follows = match head.sequence.checked_sub(1) {
            _ if len < head.offset => false,
            None => false,
            Some(0) => head.offset == 0 && continues(storage, self.dir, self.manifest, before.last(), head.before)?,
            Some(last) if imagined.is_some() && self.whole.contains_key(&(head.segment.generation, last)) => true,
            Some(last) => last_batch(storage, &path, file, head.offset)? == Some(last),
        };
        Ok(if follows { Fit::Next } else { Fit::Nowhere })
    }

    fn add(&mut self, head: Head, batch: &[u8], before: &[&Entry], file: &Entry) -> Result<(), Failure> {
        if self.writes {
            // Nothing may be in a file while the one before it is not on disk.
            if head.offset == 0 {
                settle(self.storage, self.dir, self.manifest, before)?;
            } else if head.sequence == 2 {
                // A power failure must not leave a file that begins with a hole.
                self.storage.sync(&self.dir.join(&file.name)).map_err(Failure::writing(file))?;
            }
            let written = self.storage.write_at(&self.dir.join(&file.name), head.offset, batch);
            written.map_err(Failure::writing(file))?;
        }
        match self.taken.added.last_mut().filter(|last| last.name == file.name) {
            Some(last) => last.bytes += batch.len() as u64,
            None => self.taken.added.push(Redone { name: file.name.clone(), bytes: batch.len() as u64 }),
        }
        Ok(())
    }

    /// Whether the log may lack the batch of an entry that is not whole: where its head can be read, that tells.
    fn may_be_lacking(&self, entry: Option<(Head, usize)>) -> Result<bool, Failure> {
        let Some((head, len)) = entry else { return Ok(true) };
        if self.is_replaced(head.segment) {
            return Ok(false);
        }
        let Some(file) = self.manifest.files.iter().find(|file| file.segment == head.segment) else {
            return Ok(true);
        };
        let end = head.offset.saturating_add(len as u64);
        match last_batch(self.storage, &self.dir.join(&file.name), file, end) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            last => last.map(|last| last != Some(head.sequence)).map_err(Failure::reading(file)),
        }
    }
}

/// Makes durable what the increments hold that are in front of a file. Nothing was written to any of them before all in
/// front of it was on disk.
fn settle(storage: &dyn Storage, dir: &Path, manifest: &Manifest, before: &[&Entry]) -> Result<(), Failure> {
    for file in before.iter().rev().filter(|file| file.segment.kind == Kind::Increment) {
        let settled = again::read_and_make_durable(storage, &dir.join(&file.name), manifest.format(file));
        if settled.map_err(Failure::writing(file))? {
            break;
        }
    }
    Ok(())
}

/// Batches in order: by generation and number.
type Whole<'a> = BTreeMap<(u64, u64), (Head, &'a [u8])>;

/// What is in an area.
#[derive(Default)]
struct Contents<'a> {
    /// Whole entries.
    whole: Whole<'a>,
    /// Where the others begin that were whole once and were not replaced, and what their heads say.
    rotten: Vec<(usize, Option<(Head, usize)>)>,
}

impl<'a> Contents<'a> {
    /// Of an area of the log `log`.
    fn of(bytes: &'a [u8], log: LogId) -> Self {
        let (mut contents, mut at) = (Self::default(), 0);
        while at + HEAD_BYTES <= bytes.len() {
            let head = &bytes[at..at + HEAD_BYTES];
            let parsed = Head::parse(head);
            let entry = parsed.and_then(|(head, len)| Some((head, bytes.get(at + HEAD_BYTES..at + HEAD_BYTES + len)?)));
            if let Some((head, batch)) =
                entry.filter(|(head, batch)| batch::is_whole(batch, head.segment, head.sequence))
            {
                contents.whole.insert((head.segment.generation, head.sequence), (head, batch));
                at += (HEAD_BYTES + batch.len()).next_multiple_of(ALIGN);
                continue;
            }
            let rotten = parsed.or_else(|| Head::mended(head, log));
            if rotten.is_some() || Head::is_of(head, log) {
                contents.rotten.push((at, rotten));
            }
            // Old entries begin anywhere.
            at += ALIGN;
        }
        contents
    }
}

/// Whether the increment before is as long as it was when the next one was begun, and whole.
fn continues(
    storage: &dyn Storage,
    dir: &Path,
    manifest: &Manifest,
    before: Option<&&Entry>,
    len: u64,
) -> io::Result<bool> {
    let Some(before) = before.filter(|before| len != WHOLE && before.segment.kind == Kind::Increment) else {
        return Ok(true);
    };
    Ok(check::check(storage, dir, manifest, before, &mut |_| {}, &mut |_| Ok(()))?.good == len)
}

/// The number of the whole batch that ends at `offset`.
fn last_batch(storage: &dyn Storage, path: &Path, file: &Entry, offset: u64) -> io::Result<Option<u64>> {
    let start = offset.saturating_sub(batch::LINE_BYTES_MAX as u64);
    let tail = read(storage, path, start, (offset - start) as usize)?;
    let Some((line, line_bytes)) = batch::line_at_end(&tail) else { return Ok(None) };
    let Some(begin) = line.length.checked_add(line_bytes as u64).and_then(|len| offset.checked_sub(len)) else {
        return Ok(None);
    };
    let whole = read(storage, path, begin, (offset - begin) as usize)?;
    Ok(batch::is_whole(&whole, file.segment, line.sequence).then_some(line.sequence))
}

/// Whether a file holds these bytes there.
fn holds(storage: &dyn Storage, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<bool> {
    Ok(read(storage, path, offset, bytes.len())? == bytes)
}

/// So many bytes of a file, fewer at its end.
fn read(storage: &dyn Storage, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let there = storage.len(path)?.saturating_sub(offset).min(len as u64) as usize;
    let (mut bytes, mut filled) = (vec![0; there], 0);
    while filled < there {
        match storage.read_at(path, offset + filled as u64, &mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::aof::{LogId, Sealer};
    use crate::persistence::storage::RealStorage;
    use crate::stdx::random::Random;
    use std::cell::RefCell;
    use std::path::PathBuf;
    use std::rc::Rc;

    const SEGMENT: SegmentId = SegmentId { log: LogId(5), generation: 1, shard: 0, kind: Kind::Increment };

    #[derive(Clone)]
    struct Memory(Rc<RefCell<Vec<u8>>>);

    impl Area for Memory {
        fn len(&self) -> usize {
            self.0.borrow().len()
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// So many batches, one behind the other in a file.
    fn batches(count: usize) -> Vec<(Head, Vec<u8>)> {
        let (mut sealer, mut offset) = (Sealer::new(SEGMENT), 0);
        (0..count)
            .map(|number| {
                let mut batch = format!("*2\r\n$4\r\nECHO\r\n$3\r\n{number:03}\r\n").into_bytes();
                sealer.seal(&mut batch, 0, 1);
                let head = Head { segment: SEGMENT, sequence: sealer.sequence(), offset, before: WHOLE };
                offset += batch.len() as u64;
                (head, batch)
            })
            .collect()
    }

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("crimson-pending-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        /// What `redo` makes of a file with these bytes, where nothing has rotted.
        fn redo(&self, file: &[u8], area: &Memory) -> Vec<u8> {
            let (file, taken) = self.take(file, area);
            assert!(taken.rotten.is_empty(), "{taken:?}");
            file
        }

        /// What `redo` makes of a file with these bytes, and says.
        fn take(&self, file: &[u8], area: &Memory) -> (Vec<u8>, Taken) {
            let mut manifest = Manifest::new(SEGMENT.log, 1);
            manifest.files.push(Entry { name: "incr".into(), segment: SEGMENT, bytes: None });
            std::fs::write(self.0.join("incr"), file).unwrap();
            let bytes = area.0.borrow().clone();
            let would = redo(&RealStorage, &self.0, &manifest, &bytes, false).unwrap();
            let did = redo(&RealStorage, &self.0, &manifest, &bytes, true).unwrap();
            assert_eq!(would, did, "what it says it would do");
            let again = redo(&RealStorage, &self.0, &manifest, &bytes, true).unwrap();
            assert_eq!(again, Taken { added: Vec::new(), ..did.clone() }, "once is enough");
            (std::fs::read(self.0.join("incr")).unwrap(), did)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_a_file_lacks_is_added_from_any_point_on() {
        let (dir, batches) = (Dir::new("any"), batches(20));
        let whole: Vec<u8> = batches.iter().flat_map(|(_, batch)| batch.clone()).collect();
        let memory = Memory(Rc::new(RefCell::new(vec![0; 1200])));
        let mut pending = Pending::new(Box::new(memory.clone()));
        // The file is three batches behind, always.
        for (number, (head, batch)) in batches.iter().enumerate() {
            let position = number as u64;
            pending.put(*head, batch, (position, position + 1), position.saturating_sub(3));
            assert_eq!(pending.covers(position.saturating_sub(3)), position + 1, "there is room for four");
            let (start, end) =
                (batches[number.saturating_sub(3)].0.offset as usize, head.offset as usize + batch.len());
            for len in start..=end {
                assert_eq!(dir.redo(&whole[..len], &memory), &whole[..end], "batch {number}, {len} bytes");
            }
        }
    }

    #[test]
    fn nothing_is_put_behind_a_hole() {
        let (dir, batches) = (Dir::new("hole"), batches(3));
        let memory = Memory(Rc::new(RefCell::new(vec![0; 4096])));
        let mut pending = Pending::new(Box::new(memory.clone()));
        pending.put(batches[2].0, &batches[2].1, (2, 3), 2);
        let first = &batches[0].1;
        assert_eq!(&dir.redo(first, &memory), first, "the second is missing");
        let mut damaged = [&first[..], &batches[1].1].concat();
        damaged[first.len() + 3] ^= 1;
        assert_eq!(dir.redo(&damaged, &memory), damaged, "the second is not whole");
    }

    /// Two copies of a directory have gone on by themselves, and an area of one lies beside the files of the other.
    #[test]
    fn what_a_file_has_is_not_replaced() {
        let (dir, batches) = (Dir::new("copies"), batches(3));
        let memory = Memory(Rc::new(RefCell::new(vec![0; 4096])));
        let mut pending = Pending::new(Box::new(memory.clone()));
        (1..3).for_each(|number| pending.put(batches[number].0, &batches[number].1, (number as u64, 3), 0));
        let (mut sealer, first) = (Sealer::resume(SEGMENT, 1), batches[0].1.clone());
        let mut other = b"*2\r\n$4\r\nECHO\r\n$5\r\nother\r\n".to_vec();
        sealer.seal(&mut other, 0, 1);
        let file = [first, other].concat();
        assert_eq!(dir.redo(&file, &memory), file);
        let mut manifest = Manifest::new(SEGMENT.log, 1);
        manifest.files.push(Entry { name: "incr".into(), segment: SEGMENT, bytes: None });
        let taken = redo(&RealStorage, &dir.0, &manifest, &memory.0.borrow(), true).unwrap();
        assert_eq!(taken, Taken { skipped: 2, ..Taken::default() }, "it is kept");
    }

    /// Whatever the file has at which time, no entry is put over one that it may not have, and only a full area takes none.
    #[test]
    fn entries_that_count_are_never_overwritten() {
        let mut random = Random::new(7);
        for len in [1000, 5000, 40_000, 3 << 20] {
            let memory = Memory(Rc::new(RefCell::new(vec![0; len])));
            let mut pending = Pending::new(Box::new(memory));
            let (mut live, mut handed): (VecDeque<(Range<usize>, u64)>, u64) = (VecDeque::new(), 0);
            let (mut put, mut full) = (0, 0);
            for position in 0..20_000 {
                let bytes = 1 + random.below(len / 8);
                pending.put(batches_head(position), &vec![1; bytes], (position, position + 1), handed);
                live.retain(|(_, end)| *end > handed);
                let taken = pending.live.back().filter(|(_, end)| *end == position + 1).map(|&(at, _)| at);
                let needed = (HEAD_BYTES + bytes).next_multiple_of(ALIGN);
                match taken {
                    Some(at) => {
                        let new = at..at + needed;
                        assert!(
                            new.end <= len && live.iter().all(|(old, _)| old.end <= new.start || new.end <= old.start)
                        );
                        live.push_back((new, position + 1));
                        put += 1;
                    }
                    None => {
                        let used: usize = live.iter().map(|(range, _)| range.len()).sum();
                        full += usize::from(used + needed < len / 2);
                    }
                }
                if random.below(3) == 0 {
                    handed += random.below((position + 2 - handed) as usize) as u64;
                }
            }
            assert!(put > 15_000 && full < 100, "{put} of {len}, {full} times none with half of it free");
        }
    }

    fn batches_head(position: u64) -> Head {
        Head { segment: SEGMENT, sequence: position + 1, offset: 100 * position, before: WHOLE }
    }

    /// An area that does not change any more after so many steps of eight bytes.
    struct Dying(Memory, Rc<RefCell<usize>>);

    impl Area for Dying {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            for (step, bytes) in bytes.chunks(8).enumerate() {
                let mut left = self.1.borrow_mut();
                if *left > 0 {
                    *left -= 1;
                    self.0.put(at + 8 * step, bytes);
                }
            }
        }
    }

    /// Entries that are cut off by the death of the process, in any lap, are nothing that has rotted.
    #[test]
    fn what_was_being_put_there_has_not_rotted() {
        let (dir, batches) = (Dir::new("dying"), batches(12));
        let whole: Vec<u8> = batches.iter().flat_map(|(_, batch)| batch.clone()).collect();
        let mut steps = 0;
        loop {
            let (memory, left) = (Memory(Rc::new(RefCell::new(vec![0; 600]))), Rc::new(RefCell::new(steps)));
            let mut pending = Pending::new(Box::new(Dying(memory.clone(), left.clone())));
            let mut put = 0;
            for (number, (head, batch)) in batches.iter().enumerate() {
                let position = number as u64;
                pending.put(*head, batch, (position, position + 1), position.saturating_sub(1));
                put += usize::from(*left.borrow() > 0);
            }
            let there = batches[put.saturating_sub(1).min(11)].0.offset as usize;
            let (file, taken) = dir.take(&whole[..there], &memory);
            assert_eq!((file.len() >= there, taken.fault()), (true, None), "{steps} steps");
            if *left.borrow() > 0 {
                break;
            }
            steps += 1;
        }
        assert!(steps > 12 * 15, "{steps} steps");
    }

    /// A flipped bit anywhere in an entry that the file lacks is told.
    #[test]
    fn an_entry_that_has_rotted_is_told() {
        let (dir, batches) = (Dir::new("rot"), batches(3));
        let memory = Memory(Rc::new(RefCell::new(vec![0; 4096])));
        let mut pending = Pending::new(Box::new(memory.clone()));
        (0..3).for_each(|number| pending.put(batches[number].0, &batches[number].1, (number as u64, 3), 0));
        let (first, last) = (&batches[0].1, 2 * (HEAD_BYTES + batches[1].1.len()).next_multiple_of(ALIGN));
        for bit in 0..8 * (HEAD_BYTES + batches[2].1.len()) {
            let at = last + bit / 8;
            memory.0.borrow_mut()[at] ^= 1 << (bit % 8);
            let (file, taken) = dir.take(first, &memory);
            assert_eq!(file, [&first[..], &batches[1].1].concat(), "bit {bit}");
            assert_eq!((taken.skipped, &taken.rotten[..]), (0, &[last][..]), "bit {bit}");
            memory.0.borrow_mut()[at] ^= 1 << (bit % 8);
        }
        // What the file has may rot.
        memory.0.borrow_mut()[HEAD_BYTES] ^= 1;
        assert_eq!(dir.take(first, &memory).1.fault(), None);
    }

    #[test]
    fn an_area_of_another_log_changes_nothing() {
        let (dir, batches) = (Dir::new("other"), batches(1));
        let memory = Memory(Rc::new(RefCell::new(vec![0; 4096])));
        let mut pending = Pending::new(Box::new(memory.clone()));
        let other = SegmentId { log: LogId(6), ..SEGMENT };
        let mut batch = b"*1\r\n$4\r\nPING\r\n".to_vec();
        Sealer::new(other).seal(&mut batch, 0, 1);
        pending.put(Head { segment: other, ..batches[0].0 }, &batch, (0, 1), 0);
        assert_eq!(dir.redo(b"", &memory), b"");
        pending.put(batches[0].0, &batch, (1, 2), 0);
        let (file, taken) = dir.take(b"", &memory);
        assert_eq!((&file[..], taken.rotten.len()), (&b""[..], 1), "an entry that does not say what its batch says");
    }

    #[test]
    fn a_full_area_takes_no_more_before_the_file_has_it() {
        let batches = batches(3);
        let memory = Memory(Rc::new(RefCell::new(vec![0; 300])));
        let mut pending = Pending::new(Box::new(memory));
        (0..3).for_each(|number| {
            let position = number as u64;
            pending.put(batches[number].0, &batches[number].1, (position, position + 1), 0);
        });
        assert_eq!((pending.covers(0), pending.covers(3)), (2, 3));
    }
}
