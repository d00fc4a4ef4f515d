//! The pending area: what a core has logged and its file may not have yet. It lies in a file that is mapped into memory, so
//! the kernel keeps what is put there when the process dies, without a system call, and the next start adds it to the log
//! ([`redo`]). It promises nothing when the machine dies: nobody syncs it.
//!
//! Batches are put one behind the other, from the beginning again as soon as the file has what is there: so few bytes of
//! the area are in use, and they stay in the cache. Where there is no room, replies wait until the file has the batch.
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
//! not whole: then the machine has died, and nobody was promised it.

use super::batch::{self, Kind, SegmentId};
use super::manifest::{Entry, Manifest};
use super::{again, check};
use crate::limits::AOF_PENDING_LAP_BYTES;
use crate::persistence::storage::Storage;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

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
            log: batch::LogId(number(8)),
            generation: number(16),
            shard: u16::from_le_bytes([head[24], head[25]]),
            kind: Kind::Increment,
        };
        let head = Self { segment, sequence: number(32), offset: number(40), before: number(48) };
        Some((head, small(28) as usize))
    }
}

/// One core's pending area.
pub struct Pending {
    area: Box<dyn Area>,
    /// Where the next entry goes.
    at: usize,
    /// Entries that the file need not have, from the oldest on: where each begins, and the position of its batch.
    live: VecDeque<(usize, u64)>,
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
        Self { area, at: 0, live: VecDeque::new(), from: 0, until: 0 }
    }

    /// Keeps a batch with what was appended from position `start` up to `end`, if there is room. The file has all up to
    /// `handed`.
    pub fn put(&mut self, head: Head, batch: &[u8], (start, end): (u64, u64), handed: u64) {
        let Ok(len) = u32::try_from(batch.len()) else { return };
        let needed = (HEAD_BYTES + batch.len()).next_multiple_of(ALIGN);
        let Some(at) = self.find_room(needed, handed) else { return };
        // What makes it an entry comes last.
        self.area.put(at + HEAD_BYTES, batch);
        self.area.put(at, &head.to_bytes(len));
        self.live.push_back((at, end));
        self.at = at + needed;
        if self.until != start {
            self.from = start;
        }
        self.until = end;
    }

    /// Where so many bytes can be put.
    fn find_room(&mut self, needed: usize, handed: u64) -> Option<usize> {
        while self.live.front().is_some_and(|(_, position)| *position <= handed) {
            self.live.pop_front();
        }
        let Some(&(oldest, _)) = self.live.front() else {
            return (needed <= self.area.len()).then_some(0);
        };
        if self.at <= oldest {
            // It has begun again from the beginning.
            return (self.at + needed <= oldest).then_some(self.at);
        }
        let fits = self.at + needed <= self.area.len();
        let begins_again = needed <= oldest && (self.at >= AOF_PENDING_LAP_BYTES || !fits);
        if begins_again { Some(0) } else { fits.then_some(self.at) }
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

/// Adds to the increments of a shard what its pending area, `bytes`, has and they lack, durably; or only finds out what it
/// would add, where `writes` is false.
pub fn redo(
    storage: &dyn Storage,
    dir: &Path,
    manifest: &Manifest,
    bytes: &[u8],
    writes: bool,
) -> io::Result<Vec<Redone>> {
    let mut redone: Vec<Redone> = Vec::new();
    let mut ends: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    let entries = entries(bytes);
    for (key, (head, batch)) in &entries {
        let of_shard = manifest.of_shard(head.segment.shard);
        let Some(place) = of_shard.iter().position(|file| file.segment == head.segment) else { continue };
        let file = of_shard[place];
        let path = dir.join(&file.name);
        if !ends.contains_key(file.name.as_str()) {
            ends.insert(&file.name, last_batch(storage, &path, file, storage.len(&path)?)?);
        }
        if ends[file.name.as_str()] >= Some(head.sequence) {
            // It has one of that number. If that is another one, the area belongs to another copy of the log.
            continue;
        }
        let ahead = redone.last().filter(|last| last.name == file.name);
        let len = storage.len(&path)? + if writes { 0 } else { ahead.map_or(0, |last| last.bytes) };
        let before = place.checked_sub(1).map(|index| &of_shard[index]);
        let follows = match head.sequence.checked_sub(1) {
            _ if len < head.offset => false,
            None => false,
            Some(0) => head.offset == 0 && continues(storage, dir, manifest, before, head.before)?,
            Some(last) if !writes && entries.contains_key(&(key.0, last)) && ahead.is_some() => true,
            Some(last) => ends_a_batch(storage, &path, file, last, head.offset)?,
        };
        if !follows || holds(storage, &path, head.offset, batch)? {
            continue;
        }
        if writes {
            // Nothing may be in a file while the one before it is not on disk.
            if head.offset == 0 {
                settle(storage, dir, manifest, &of_shard[..place])?;
            } else if head.sequence == 2 {
                // A power failure must not leave a file that begins with a hole.
                storage.sync(&path)?;
            }
            storage.write_at(&path, head.offset, batch)?;
        }
        match redone.last_mut().filter(|last| last.name == file.name) {
            Some(last) => last.bytes += batch.len() as u64,
            None => redone.push(Redone { name: file.name.clone(), bytes: batch.len() as u64 }),
        }
    }
    if writes {
        redone.iter().try_for_each(|redone| storage.sync(&dir.join(&redone.name)))?;
    }
    Ok(redone)
}

/// Makes durable what the increments hold that are in front of a file. Nothing was written to any of them before all in
/// front of it was on disk.
fn settle(storage: &dyn Storage, dir: &Path, manifest: &Manifest, before: &[&Entry]) -> io::Result<()> {
    for file in before.iter().rev().filter(|file| file.segment.kind == Kind::Increment) {
        if again::read_and_make_durable(storage, &dir.join(&file.name), manifest.format(file))? {
            break;
        }
    }
    Ok(())
}

/// Whether an area has batches that the log's files do not have, those of its older generations aside.
pub fn has_others(storage: &dyn Storage, dir: &Path, manifest: &Manifest, bytes: &[u8]) -> io::Result<bool> {
    let oldest = manifest.files.iter().map(|entry| entry.segment.generation).min().unwrap_or(0);
    for (head, batch) in entries(bytes).into_values() {
        let Head { segment, offset, .. } = head;
        if segment.log == manifest.log && segment.generation < oldest {
            continue;
        }
        let file = manifest.files.iter().find(|file| file.segment == segment);
        let there = file.map(|file| holds(storage, &dir.join(&file.name), offset, batch)).transpose()?;
        if there != Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is there, in order: by generation and number.
fn entries(bytes: &[u8]) -> BTreeMap<(u64, u64), (Head, &[u8])> {
    let (mut found, mut at) = (BTreeMap::new(), 0);
    while at + HEAD_BYTES <= bytes.len() {
        let entry = Head::parse(&bytes[at..at + HEAD_BYTES]);
        let entry = entry.and_then(|(head, len)| Some((head, bytes.get(at + HEAD_BYTES..at + HEAD_BYTES + len)?)));
        match entry.filter(|(head, batch)| batch::is_whole(batch, head.segment, head.sequence)) {
            Some((head, batch)) => {
                found.insert((head.segment.generation, head.sequence), (head, batch));
                at += (HEAD_BYTES + batch.len()).next_multiple_of(ALIGN);
            }
            // Old entries begin anywhere.
            None => at += ALIGN,
        }
    }
    found
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

/// Whether a batch with this number, which is whole, ends at `offset`.
fn ends_a_batch(storage: &dyn Storage, path: &Path, file: &Entry, sequence: u64, offset: u64) -> io::Result<bool> {
    Ok(last_batch(storage, path, file, offset)? == Some(sequence))
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

        /// What `redo` makes of a file with these bytes.
        fn redo(&self, file: &[u8], area: &Memory) -> Vec<u8> {
            let mut manifest = Manifest::new(SEGMENT.log, 1);
            manifest.files.push(Entry { name: "incr".into(), segment: SEGMENT, bytes: None });
            std::fs::write(self.0.join("incr"), file).unwrap();
            let bytes = area.0.borrow().clone();
            let would = redo(&RealStorage, &self.0, &manifest, &bytes, false).unwrap();
            let did = redo(&RealStorage, &self.0, &manifest, &bytes, true).unwrap();
            assert_eq!(would, did, "what it says it would do");
            assert_eq!(redo(&RealStorage, &self.0, &manifest, &bytes, true).unwrap(), [], "once is enough");
            std::fs::read(self.0.join("incr")).unwrap()
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
        assert!(has_others(&RealStorage, &dir.0, &manifest, &memory.0.borrow()).unwrap(), "it is kept");
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
        assert_eq!(dir.redo(b"", &memory), b"", "an entry that does not say what its batch says");
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
