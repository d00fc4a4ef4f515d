//! Reads a file of the log, given chunk by chunk, and yields records only when the batch they stand in is known to be
//! good. It opens no file: it says from which offset it wants bytes, and is fed.
//!
//! A batch is held until its end has been seen; one of more than [`AOF_HELD_BYTES_MAX`] is let go meanwhile and asked for
//! again when it has proved good, so that memory is bounded by that and the largest record. Files that Redis wrote have
//! no batches: a record, or everything from MULTI to EXEC, is taken or left as a whole there. Zero bytes from the end of a
//! batch to the end of an increment are room that was written ahead: such a file is whole.
//!
//! ```text
//! loop {
//!     match reader.step() {
//!         Step::Read(offset) => reader.feed(what stands from offset on; nothing at the end of the file),
//!         Step::Record(record) => replay it,
//!         Step::Batch(line) => what came before is a whole batch,
//!         Step::End(end) => break,
//!     }
//! }
//! ```

use super::batch::{Kind, Line, MARK, SegmentId, parse_durable};
use super::checkpoints::{Checkpoints, Place};
use super::foreign::{MAGIC_BYTES, Snapshot};
use super::record::LIMITS;
pub use super::scan::Found;
use super::scan::{Scan, Scanned, Wanted};
use super::walk::{Walked, Walker, Word};
use crate::limits::AOF_HELD_BYTES_MAX;
use crate::resp::Args;
use crate::resp::parser::{Parsed, RequestParser, Scratch};
use std::collections::BTreeMap;
use std::fmt;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// In batches, as Crimson does, those of this segment.
    Batches(SegmentId),
    /// Records alone, as Redis does.
    Plain,
}

/// What the reader has or wants next.
pub enum Step<'a> {
    /// [`Reader::feed`] it with what the file holds from this offset on.
    Read(u64),
    /// A record of a good batch.
    Record(Record<'a>),
    /// The records since the batch before were all of this one, which is good.
    Batch(Line),
    /// There is no more. Asked again, it says the same.
    End(End),
}

/// A record where it stands.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// The command and its arguments.
    pub args: Args<'a>,
}

/// How a file ends. What stands before [`Reader::good_up_to`] has been yielded in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a whole batch, or it is empty. Zero bytes may follow.
    Clean,
    /// The last bytes are not a whole batch, and nothing good is behind: a write was cut off.
    Torn(Damage),
    /// Good batches stand behind one that is not, and none of them says that it ever was durable: what was not synced has
    /// survived a power failure in another order, or it is damaged.
    OutOfOrder(Damage),
    /// Something before the end is damaged.
    Corrupt(Damage),
}

/// What does not fit, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The end of what is good, from where a repair would cut.
    pub at: u64,
    /// Bytes from there to the end of the file; 0 where it makes no sense to cut.
    pub bytes: u64,
    /// Where it was noticed.
    pub noticed_at: u64,
    /// What was noticed.
    pub reason: Reason,
    /// Good batches behind.
    pub found: Found,
}

impl Damage {
    /// Whether the file is to be cut there when that is asked for. A file of which nothing would be left is not cut: it is
    /// none of this log, or everything that it held would be lost.
    pub fn may_be_cut(&self) -> bool {
        self.at > 0 && self.reason.is_mended_by_cutting()
    }

    /// Whether nothing in the file is good, and nothing in it says that it ever was on disk or that it is not what it should
    /// be. So a power failure leaves a new file. Whoever knows that nothing else calls it durable may cut all of it.
    pub fn may_be_emptied(&self) -> bool {
        let fits = self.reason.is_mended_by_cutting() && !matches!(self.reason, Reason::Misplaced { .. });
        self.at == 0 && fits && self.found.synced == 0
    }
}

/// Why a batch or record is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The file ends in its midst.
    Incomplete,
    /// The bytes are not written as records are.
    Malformed(&'static str),
    /// The line at its end is none.
    Line,
    /// Its records are more or fewer bytes than its line says.
    Length,
    /// Its checksum does not hold.
    Checksum,
    /// It belongs to another file.
    Misplaced {
        /// The file it stands in.
        here: SegmentId,
        /// The file it belongs to.
        of: SegmentId,
    },
    /// It has another number than the one that should come: one is missing, or there twice.
    Sequence {
        /// The number that should come.
        expected: u64,
        /// Its number.
        found: u64,
    },
    /// The file is shorter or longer than it was when it was complete.
    Size {
        /// How many bytes it had.
        expected: u64,
    },
    /// It is no file of a log but a snapshot.
    Snapshot(Snapshot),
    /// Zero bytes stand where a batch should begin, and something else behind them.
    Zeros,
    /// The file changed while it was read.
    Changed,
}

impl Reason {
    /// Whether cutting the file before it makes what is left of it good.
    pub fn is_mended_by_cutting(&self) -> bool {
        !matches!(self, Self::Snapshot(_) | Self::Changed)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("the file ends in the middle of it"),
            Self::Malformed(what) => f.write_str(what),
            Self::Line => f.write_str("the line that should end a batch is malformed"),
            Self::Length => f.write_str("the batch is not as long as its line says"),
            Self::Checksum => f.write_str("the checksum of the batch does not hold"),
            Self::Misplaced { here, of } if here.log != of.log && of.log.is_none() => {
                f.write_str("the file belongs to another log, of format 1")
            }
            Self::Misplaced { here, of } if here.log != of.log => {
                write!(f, "the file belongs to another log, {}", of.log)
            }
            Self::Misplaced { of, .. } => write!(
                f,
                "the batch belongs to the {} of shard {} in generation {}",
                of.kind.word(),
                of.shard,
                of.generation
            ),
            Self::Sequence { expected, found } => write!(f, "batch {found} stands where batch {expected} should"),
            Self::Size { expected } => write!(f, "the file should have {expected} bytes"),
            Self::Snapshot(snapshot) => write!(f, "it is {snapshot}, which cannot be read yet"),
            Self::Zeros => f.write_str("zero bytes stand where a batch should begin"),
            Self::Changed => f.write_str("the file changed while it was read"),
        }
    }
}

/// A reader of one file.
pub struct Reader {
    format: Format,
    /// Most bytes of a batch that are held.
    held_max: usize,
    /// What is there of the file, from `base` on.
    window: Vec<u8>,
    base: u64,
    /// The length of the file, once its end has been seen.
    len: Option<u64>,
    state: State,
    walker: Walker,
    /// Checksum of the batch from its start up to `summed`.
    crc: u32,
    summed: u64,
    /// Without batches: whether MULTI has been seen and EXEC not yet.
    in_multi: bool,
    good: u64,
    batches: u64,
    records: u64,
    sequence: u64,
    /// Where the batches end that may not be durable.
    checkpoints: Checkpoints,
    /// By file of other shards, the last batch that a good one here calls durable.
    vouched: BTreeMap<SegmentId, u64>,
    parser: RequestParser,
    scratch: Scratch,
}

enum State {
    /// Walks through a batch to see whether it is good.
    Verify,
    /// Everything from the last good batch to this offset is zero; looks whether the rest is, too.
    Zeros(u64),
    /// Yields the records of a good one.
    Yield(Unit),
    /// Something is wrong at this offset; looks for what is good behind.
    Scan(Scan, u64, Reason),
    Ended(End),
}

/// What stands in a good unit where it is to be yielded from.
enum Next {
    /// A record of so many bytes; where its arguments stand is in the scratch.
    Record(usize),
    /// An annotation line of so many bytes.
    Annotation(u64),
    /// Bytes that must be read first.
    More,
    /// Not what was there when it proved good.
    Gone,
}

/// What is taken or left as a whole, and is good.
#[derive(Clone, Copy)]
struct Unit {
    /// Up to here its records have been yielded.
    at: u64,
    /// Where they end.
    until: u64,
    /// Where the next one begins.
    next: u64,
    line: Option<Line>,
}

impl Reader {
    /// A reader at the start of a file.
    pub fn new(format: Format) -> Self {
        Self::behind(format, Place::default())
    }

    /// A reader that begins where a good batch ends.
    pub fn behind(format: Format, start: Place) -> Self {
        Self {
            format,
            held_max: AOF_HELD_BYTES_MAX,
            window: Vec::new(),
            base: start.offset,
            len: None,
            state: State::Verify,
            walker: Walker::new(start.offset),
            crc: 0,
            summed: start.offset,
            in_multi: false,
            good: start.offset,
            batches: 0,
            records: 0,
            sequence: start.sequence,
            checkpoints: Checkpoints::new(start),
            vouched: BTreeMap::new(),
            parser: RequestParser::default(),
            scratch: Scratch::default(),
        }
    }

    /// The file up to here is good, and its records have been yielded.
    pub fn good_up_to(&self) -> u64 {
        self.good
    }

    /// Good batches so far.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Records yielded so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The number of the last good batch, for [`super::Sealer::resume`]; 0 if there is none.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The end of the last batch that others of the file call durable, or of one before it. What stands behind may be in
    /// the kernel's memory alone.
    pub fn durable(&self) -> Place {
        self.checkpoints.durable()
    }

    /// By file of other shards, the last batch that good ones here call durable.
    pub fn vouched(&self) -> &BTreeMap<SegmentId, u64> {
        &self.vouched
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> usize {
        self.window.capacity()
    }

    /// Takes what the file holds from the offset on that [`Step::Read`] named; nothing at its end.
    pub fn feed(&mut self, chunk: &[u8]) {
        let at = self.base + self.window.len() as u64;
        // A file that grows meanwhile is read up to where its end was first.
        let chunk = match self.len {
            Some(len) => &chunk[..chunk.len().min(len.saturating_sub(at) as usize)],
            None => chunk,
        };
        if chunk.is_empty() {
            self.len = Some(self.len.map_or(at, |len| len.min(at)));
        }
        self.window.extend_from_slice(chunk);
    }

    /// Goes on.
    pub fn step(&mut self) -> Step<'_> {
        loop {
            match &mut self.state {
                State::Verify => {
                    if let Some(offset) = self.verify() {
                        return Step::Read(offset);
                    }
                }
                State::Yield(unit) => {
                    let unit = *unit;
                    if unit.at == unit.until {
                        self.state = State::Verify;
                        self.begin(unit.next);
                        if let Some(line) = unit.line {
                            self.batches += 1;
                            self.sequence = line.sequence;
                            let place = Place { sequence: line.sequence, offset: unit.next };
                            self.checkpoints.note(place, line.synced);
                            return Step::Batch(line);
                        }
                        continue;
                    }
                    match self.parse(unit) {
                        Next::Record(len) => return self.record(unit, len),
                        Next::Annotation(len) => {
                            self.note(unit.at, len);
                            self.state = State::Yield(Unit { at: unit.at + len, ..unit });
                        }
                        Next::More => return Step::Read(self.wanted(unit.at)),
                        Next::Gone => self.fail(unit.at, Reason::Changed),
                    }
                }
                State::Zeros(at) => {
                    let at = *at;
                    if let Some(offset) = self.zeros(at) {
                        return Step::Read(offset);
                    }
                }
                State::Scan(scan, noticed_at, reason) => {
                    let ended = self.len.is_some_and(|len| len <= self.base + self.window.len() as u64);
                    match scan.step(&self.window, self.base, ended) {
                        Scanned::More(keep) => {
                            let offset = self.wanted(keep);
                            return Step::Read(offset);
                        }
                        Scanned::End => {
                            let (noticed_at, reason, found) = (*noticed_at, *reason, scan.found);
                            self.state = State::Ended(self.judge(noticed_at, reason, found));
                        }
                    }
                }
                State::Ended(end) => return Step::End(*end),
            }
        }
    }

    /// Stands at the start of a batch; everything before is good.
    fn begin(&mut self, offset: u64) {
        self.good = offset;
        self.walker = Walker::new(offset);
        self.crc = 0;
        self.summed = offset;
        self.in_multi = false;
    }

    /// Whether the file ends where the window does.
    fn at_end(&self) -> bool {
        self.len.is_some_and(|len| len <= self.base + self.window.len() as u64)
    }

    /// Lets go of everything before `keep`; from where on to read then.
    fn wanted(&mut self, keep: u64) -> u64 {
        let end = self.base + self.window.len() as u64;
        if (self.base..=end).contains(&keep) {
            self.window.drain(..(keep - self.base) as usize);
        } else {
            self.window.clear();
        }
        if self.window.is_empty() && self.window.capacity() > 2 * self.held_max {
            self.window = Vec::new();
        }
        self.base = keep;
        keep + self.window.len() as u64
    }

    /// Walks on to the end of the batch; from where on bytes are wanted.
    fn verify(&mut self) -> Option<u64> {
        let there = self.base..=self.base + self.window.len() as u64;
        if !there.contains(&self.walker.at) {
            return Some(self.wanted(self.walker.at));
        }
        if self.walker.at == 0 && !self.window.is_empty() {
            if let Some(snapshot) = Snapshot::of(&self.window) {
                self.fail(0, Reason::Snapshot(snapshot));
                return None;
            }
            if self.window.len() < MAGIC_BYTES && !self.at_end() {
                return Some(self.wanted(0));
            }
        }
        if self.walker.at == self.good && self.may_have_room() && self.window.get(self.index_of(self.good)) == Some(&0)
        {
            self.state = State::Zeros(self.good);
            return None;
        }
        match self.walker.walk(&self.window, self.base) {
            Walked::More => return self.more(),
            Walked::Record(word) if self.format == Format::Plain => self.plain(word),
            Walked::Record(_) => {}
            Walked::Annotation(start) => self.annotation(start),
            Walked::Malformed(what) => self.fail(self.walker.at, Reason::Malformed(what)),
        }
        None
    }

    /// Where this offset, which is there, is in the window.
    fn index_of(&self, offset: u64) -> usize {
        (offset - self.base) as usize
    }

    /// Whether the file may end with room that was written ahead.
    fn may_have_room(&self) -> bool {
        matches!(self.format, Format::Batches(SegmentId { kind: Kind::Increment, .. }))
    }

    /// Looks whether all is zero from `at` on; from where on bytes are wanted for it.
    fn zeros(&mut self, at: u64) -> Option<u64> {
        let end = self.base + self.window.len() as u64;
        if let Some(zeros) = first_not_zero(&self.window[self.index_of(at)..]) {
            self.fail(at + zeros as u64, Reason::Zeros);
        } else if self.at_end() {
            self.state = State::Ended(End::Clean);
        } else {
            self.state = State::Zeros(end);
            return Some(self.wanted(end));
        }
        None
    }

    /// Takes note of what an annotation line of a good batch says.
    fn note(&mut self, at: u64, len: u64) {
        let Format::Batches(own) = self.format else { return };
        let start = self.index_of(at);
        let line = self.window[start..start + len as usize].strip_suffix(b"\r\n").unwrap_or_default();
        if let Some((segment, sequence)) = parse_durable(line, own.log) {
            let last = self.vouched.entry(segment).or_default();
            *last = sequence.max(*last);
        }
    }

    /// The walker has seen all that is there.
    fn more(&mut self) -> Option<u64> {
        if self.at_end() {
            let end = self.base + self.window.len() as u64;
            if end == self.good {
                self.state = State::Ended(End::Clean);
            } else {
                self.fail(end, Reason::Incomplete);
            }
            return None;
        }
        let held = self.base <= self.good && self.walker.at - self.good <= self.held_max as u64;
        if held {
            return Some(self.wanted(self.good));
        }
        self.sum(self.walker.at);
        Some(self.wanted(self.walker.at))
    }

    /// Sums up the batch up to `until`.
    fn sum(&mut self, until: u64) {
        let range = (self.summed - self.base) as usize..(until - self.base) as usize;
        self.crc = crc32c::crc32c_append(self.crc, &self.window[range]);
        self.summed = until;
    }

    /// Without batches: a record has been walked through.
    fn plain(&mut self, word: Word) {
        match word {
            Word::Multi => self.in_multi = true,
            Word::Exec => self.in_multi = false,
            Word::Other => {}
        }
        if !self.in_multi {
            let next = self.walker.at;
            self.state = State::Yield(Unit { at: self.good, until: next, next, line: None });
        }
    }

    /// An annotation line has been walked through, which begins at `start`.
    fn annotation(&mut self, start: u64) {
        let Format::Batches(segment) = self.format else {
            if !self.in_multi && start == self.good {
                self.begin(self.walker.at);
            }
            return;
        };
        let next = self.walker.at;
        let line = (start - self.base) as usize..(next - self.base) as usize - 2;
        if !self.window[line.clone()].starts_with(MARK) {
            return;
        }
        // The line is summed up apart.
        self.sum(start);
        let text = &self.window[line];
        let reason = match Line::parse(text) {
            None => Reason::Line,
            Some(line) if line.length != start - self.good => Reason::Length,
            Some(line) if !line.holds(text, self.crc) => Reason::Checksum,
            Some(line) if line.segment != segment => Reason::Misplaced { here: segment, of: line.segment },
            Some(line) if self.sequence.checked_add(1) != Some(line.sequence) => {
                Reason::Sequence { expected: self.sequence.saturating_add(1), found: line.sequence }
            }
            Some(line) => {
                self.state = State::Yield(Unit { at: self.good, until: start, next, line: Some(line) });
                return;
            }
        };
        self.fail(start, reason);
    }

    /// What begins at `self.good` is not good. Looks for what is good behind it, and for the end of the file.
    fn fail(&mut self, noticed_at: u64, reason: Reason) {
        self.parser.reset();
        self.state = if reason.is_mended_by_cutting() {
            let wanted = match self.format {
                Format::Batches(segment) => Some(Wanted { segment, behind: self.sequence.saturating_add(1) }),
                Format::Plain => None,
            };
            // There is no line before what is not zero.
            let at = if reason == Reason::Zeros { noticed_at } else { self.good };
            State::Scan(Scan::new(wanted, self.good, at, self.held_max), noticed_at, reason)
        } else {
            let damage = Damage { at: self.good, bytes: 0, noticed_at, reason, found: Found::default() };
            State::Ended(End::Corrupt(damage))
        };
    }

    /// What it means that nothing but `found` is good behind `self.good`.
    fn judge(&self, noticed_at: u64, reason: Reason, found: Found) -> End {
        let bytes = self.len.map_or(0, |len| len.saturating_sub(self.good));
        let damage = Damage { at: self.good, bytes, noticed_at, reason, found };
        match (self.format, reason) {
            (Format::Plain, Reason::Incomplete) => End::Torn(damage),
            // A batch that is whole but in the wrong place is no write that was cut off.
            (Format::Plain, _) | (_, Reason::Misplaced { .. } | Reason::Sequence { .. }) => End::Corrupt(damage),
            _ if found.synced > self.sequence => End::Corrupt(damage),
            _ if found.batches > 0 => End::OutOfOrder(damage),
            _ => End::Torn(damage),
        }
    }

    /// Reads what is to be yielded next.
    fn parse(&mut self, unit: Unit) -> Next {
        let end = self.base + self.window.len() as u64;
        // What has been there before must be there again.
        let missing =
            if end >= unit.until || self.len.is_some_and(|len| len < unit.until) { Next::Gone } else { Next::More };
        if !(self.base..end).contains(&unit.at) {
            return if unit.at < self.base { Next::More } else { missing };
        }
        let until = unit.until.min(end);
        let input = &self.window[(unit.at - self.base) as usize..(until - self.base) as usize];
        if input[0] == b'#' {
            return memchr::memchr(b'\n', input).map_or(missing, |end| Next::Annotation(end as u64 + 1));
        }
        if self.parser.needed_bytes().is_none() {
            self.scratch.clear();
        }
        match self.parser.parse(input, &mut self.scratch, LIMITS) {
            Ok(Parsed::Request(len)) => Next::Record(len),
            Ok(Parsed::Incomplete(_)) => missing,
            _ => Next::Gone,
        }
    }

    /// The record of `len` bytes that has just been parsed.
    fn record(&mut self, unit: Unit, len: usize) -> Step<'_> {
        self.state = State::Yield(Unit { at: unit.at + len as u64, ..unit });
        self.records += 1;
        let start = (unit.at - self.base) as usize;
        let args = Args::new(&self.window[start..start + len], &self.scratch.spans);
        Step::Record(Record { offset: unit.at, args })
    }
}

/// How many bytes are zero before the first that is not.
fn first_not_zero(bytes: &[u8]) -> Option<usize> {
    const PIECE_BYTES: usize = 256;
    let is_zero = |piece: &[u8]| piece.iter().fold(0, |all, byte| all | byte) == 0;
    let zeros = bytes.chunks(PIECE_BYTES).take_while(|piece| is_zero(piece)).count() * PIECE_BYTES;
    let rest = bytes.get(zeros..)?;
    rest.iter().position(|&byte| byte != 0).map(|position| zeros + position)
}

#[cfg(test)]
mod tests;
