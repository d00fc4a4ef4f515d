//! Batches: what was appended at once, ended by an annotation line that tells whether all of it is there.
//!
//! ```text
//! records ...                                       as `record` draws them; #TS: lines may stand between them
//! #BATCH:1234:0f3a9c27:5e0c31d07a9b4f26.i3.0.17.15:1700000000000\r\n
//!        │    │        │                ││ │ │  │  └ when it was sealed, in milliseconds of Unix time
//!        │    │        │                ││ │ │  └ the last batch that was known to be durable then; 0: none
//!        │    │        │                ││ │ └ its number in the file: 1, 2, 3, ...
//!        │    │        │                ││ └ the shard that wrote it
//!        │    │        │                │└ the generation of the file
//!        │    │        │                └ b: a base, i: an increment
//!        │    │        └ the log that the file belongs to; format 1 has neither this nor the dot behind it
//!        │    └ CRC32C of the records and of this line without these eight digits and without CR LF
//!        └ bytes of the records, from the end of the line before
//! ```
//!
//! All numbers are decimal without leading zeros, but for the checksum and the log: eight and sixteen lower-case hexadecimal
//! digits. Each batch can be verified by itself. The numbers tell of a batch that is missing or there twice, and the rest of
//! a file that is not where it belongs. To Redis such a line is a comment. A batch without records only tells which batch
//! is durable.
//!
//! One shard's log also tells what another one has on disk, in a line between records of a batch:
//!
//! ```text
//! #DURABLE:i3.1.812\r\n                              batch 812 of shard 1's increment of generation 3 was durable
//! ```
//!
//! What was not synced may survive a power failure in any order, so a good batch may stand behind a bad one without
//! anything being wrong with the disk. The number of the durable batch tells that from damage: if a batch is bad that a
//! later one calls durable, the file is damaged.

use super::record::decimal;
use crate::stdx::os;
use std::{fmt, io};

/// How the line begins.
pub(super) const MARK: &[u8] = b"#BATCH:";

/// Most bytes of the line: no number has more than 20 digits.
pub(super) const LINE_BYTES_MAX: usize = MARK.len() + 20 + 1 + 8 + 1 + 17 + 1 + 20 + 1 + 5 + 2 * (1 + 20) + 1 + 20 + 2;

/// Words with dots between them in the name of a batch, that of its log among them.
const WORDS: usize = 5;

/// How the line begins that tells what another shard's log has on disk.
const DURABLE: &[u8] = b"#DURABLE:";

/// Which log a file belongs to: a random number, shown as 16 hexadecimal digits. Files of two logs are never taken for
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

impl LogId {
    /// Logs of format 1 and of Redis have none.
    pub const NONE: Self = Self(0);

    /// One for a new log.
    pub fn draw() -> io::Result<Self> {
        loop {
            match Self(os::random_u64()?) {
                Self::NONE => {}
                id => return Ok(id),
            }
        }
    }

    /// Whether the log has none.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Sixteen lower-case hexadecimal digits, not all of them zero.
    pub(super) fn parse(digits: &[u8]) -> Option<Self> {
        let (high, low) = digits.split_at_checked(8)?;
        let id = u64::from(checksum(high)?) << 32 | u64::from(checksum(low)?);
        (id != 0).then_some(Self(id))
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a file of the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A shard's data as it was at one moment.
    Base,
    /// What has changed since.
    Increment,
}

impl Kind {
    /// As annotation lines and Redis's manifest write it.
    pub fn letter(self) -> char {
        match self {
            Self::Base => 'b',
            Self::Increment => 'i',
        }
    }

    /// As file names and messages write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Increment => "incr",
        }
    }
}

/// Which file of the log a batch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The log that it is part of.
    pub log: LogId,
    /// The consistent cut over all shards that the file begins with.
    pub generation: u64,
    /// The shard that writes it.
    pub shard: u16,
    /// What it holds.
    pub kind: Kind,
}

impl SegmentId {
    /// The kind and generation, and the shard, as lines have them: `i3` and `1`.
    fn parse<'t>(log: LogId, mut words: impl Iterator<Item = &'t [u8]>) -> Option<Self> {
        let (kind, generation) = words.next()?.split_first()?;
        let kind = match kind {
            b'b' => Kind::Base,
            b'i' => Kind::Increment,
            _ => return None,
        };
        let generation = decimal(generation)?;
        let shard = u16::try_from(decimal(words.next()?)?).ok()?;
        Some(Self { log, generation, shard, kind })
    }

    fn write(self, out: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        out.push(self.kind.letter() as u8);
        out.extend_from_slice(number.format(self.generation).as_bytes());
        out.push(b'.');
        out.extend_from_slice(number.format(self.shard).as_bytes());
    }
}

/// Appends to the records of a batch that batch `sequence` of `segment`, a file of another shard, is durable.
pub fn write_durable(out: &mut Vec<u8>, segment: SegmentId, sequence: u64) {
    out.extend_from_slice(DURABLE);
    segment.write(out);
    out.push(b'.');
    out.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Understands such a line of a log, without its CR LF.
pub(super) fn parse_durable(text: &[u8], log: LogId) -> Option<(SegmentId, u64)> {
    parse_place(text.strip_prefix(DURABLE)?, log)
}

/// A file and a batch in it: `i3.1.812`.
pub(super) fn parse_place(text: &[u8], log: LogId) -> Option<(SegmentId, u64)> {
    let mut words = text.split(|&byte| byte == b'.');
    let segment = SegmentId::parse(log, &mut words)?;
    let sequence = decimal(words.next()?)?;
    words.next().is_none().then_some((segment, sequence))
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}.{}", self.kind.letter(), self.generation, self.shard)
    }
}

/// An annotation line, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bytes of the records before it.
    pub length: u64,
    /// Checksum of the records and of the rest of the line.
    pub crc: u32,
    /// The file it belongs to.
    pub segment: SegmentId,
    /// Number of the batch in the file.
    pub sequence: u64,
    /// Number of the last batch that was known to be durable when this one was sealed.
    pub synced: u64,
    /// When it was sealed, in milliseconds of Unix time.
    pub unix_ms: u64,
}

impl Line {
    /// Understands the line at the start of `text`, up to and without its CR LF. Only what [`Sealer::seal`] writes is
    /// understood.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = text.strip_prefix(MARK)?.split(|&byte| byte == b':');
        let length = decimal(fields.next()?)?;
        let crc = checksum(fields.next()?)?;
        let mut name = fields.next()?.split(|&byte| byte == b'.');
        let log = if name.clone().count() == WORDS { LogId::parse(name.next()?)? } else { LogId::NONE };
        let segment = SegmentId::parse(log, &mut name)?;
        let sequence = decimal(name.next()?)?;
        let synced = decimal(name.next()?)?;
        let unix_ms = decimal(fields.next()?)?;
        let whole = name.next().is_none() && fields.next().is_none();
        whole.then_some(Self { length, crc, segment, sequence, synced, unix_ms })
    }

    /// Whether `text`, which this line was read from, is as it was sealed behind records whose CRC32C is `records`.
    pub fn holds(&self, text: &[u8], records: u32) -> bool {
        let digits = MARK.len() + itoa::Buffer::new().format(self.length).len() + 1;
        let (before, behind) = (&text[..digits], &text[digits + 8..]);
        crc32c::crc32c_append(crc32c::crc32c_append(records, before), behind) == self.crc
    }
}

/// The line that `bytes` end with, and its length with its CR LF; `None` if they do not end with one.
pub(super) fn line_at_end(bytes: &[u8]) -> Option<(Line, usize)> {
    let text = bytes.strip_suffix(b"\r\n")?;
    let start = memchr::memrchr(b'\n', text).map_or(0, |before| before + 1);
    Some((Line::parse(&text[start..])?, bytes.len() - start))
}

/// Whether `bytes` are a whole batch of `segment` with this number.
pub(super) fn is_whole(bytes: &[u8], segment: SegmentId, sequence: u64) -> bool {
    let Some((line, line_bytes)) = line_at_end(bytes) else { return false };
    let (records, text) = bytes.split_at(bytes.len() - line_bytes);
    let text = &text[..line_bytes - 2];
    let fits = line.length == records.len() as u64 && line.segment == segment && line.sequence == sequence;
    fits && line.holds(text, crc32c::crc32c(records))
}

/// Eight lower-case hexadecimal digits.
pub(super) fn checksum(digits: &[u8]) -> Option<u32> {
    if digits.len() != 8 {
        return None;
    }
    digits.iter().try_fold(0, |crc, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(crc << 4 | u32::from(value))
    })
}

/// The same, written.
pub(super) fn hexadecimal(crc: u32) -> [u8; 8] {
    std::array::from_fn(|index| b"0123456789abcdef"[(crc >> (28 - 4 * index) & 15) as usize])
}

/// Ends the batches of one file, one after another.
#[derive(Clone, Copy, Debug)]
pub struct Sealer {
    segment: SegmentId,
    /// Number of the last batch; 0 before the first.
    sequence: u64,
    /// Number of the last batch that is known to be durable.
    synced: u64,
}

impl Sealer {
    /// For a new file.
    pub fn new(segment: SegmentId) -> Self {
        Self::resume(segment, 0)
    }

    /// For a file whose last good batch has the number `sequence` and is durable.
    pub fn resume(segment: SegmentId, sequence: u64) -> Self {
        Self { segment, sequence, synced: sequence }
    }

    /// A sync has made durable all batches up to this number.
    pub fn synced(&mut self, sequence: u64) {
        debug_assert!(sequence <= self.sequence, "a batch that is sealed");
        self.synced = self.synced.max(sequence);
    }

    /// The number of the last batch; 0 if there is none.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of the last batch that is known to be durable; 0 if there is none.
    pub fn durable(&self) -> u64 {
        self.synced
    }

    /// The file.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Makes a batch of the records that `buffer` holds from `start` on, by appending the line that ends it. Without
    /// records nothing happens. Whether there is a batch.
    pub fn seal(&mut self, buffer: &mut Vec<u8>, start: usize, unix_ms: u64) -> bool {
        let has_records = start < buffer.len();
        if has_records {
            self.end(buffer, start, unix_ms);
        }
        has_records
    }

    /// Appends a batch without records: it tells which batch is durable.
    pub fn mark(&mut self, buffer: &mut Vec<u8>, unix_ms: u64) {
        self.end(buffer, buffer.len(), unix_ms);
    }

    /// Appends the line that ends the batch.
    fn end(&mut self, buffer: &mut Vec<u8>, start: usize, unix_ms: u64) {
        self.sequence += 1;
        let crc = crc32c::crc32c(&buffer[start..]);
        let mut number = itoa::Buffer::new();
        let line = buffer.len();
        buffer.extend_from_slice(MARK);
        buffer.extend_from_slice(number.format(line - start).as_bytes());
        buffer.push(b':');
        let digits = buffer.len();
        buffer.push(b':');
        if !self.segment.log.is_none() {
            let LogId(id) = self.segment.log;
            buffer.extend_from_slice(&hexadecimal((id >> 32) as u32));
            buffer.extend_from_slice(&hexadecimal(id as u32));
            buffer.push(b'.');
        }
        self.segment.write(buffer);
        buffer.push(b'.');
        buffer.extend_from_slice(number.format(self.sequence).as_bytes());
        buffer.push(b'.');
        buffer.extend_from_slice(number.format(self.synced).as_bytes());
        buffer.push(b':');
        buffer.extend_from_slice(number.format(unix_ms).as_bytes());
        let crc = crc32c::crc32c_append(crc, &buffer[line..]);
        buffer.extend_from_slice(b"\r\n");
        buffer.splice(digits..digits, hexadecimal(crc));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOG: LogId = LogId(0x5e0c_31d0_7a9b_4f26);
    const SEGMENT: SegmentId = SegmentId { log: LOG, generation: 3, shard: 0, kind: Kind::Increment };

    #[test]
    fn the_line_is_as_drawn() {
        let mut buffer = b"before*1\r\n$4\r\nPING\r\n".to_vec();
        let mut sealer = Sealer::resume(SEGMENT, 16);
        assert!(sealer.seal(&mut buffer, 6, 1_700_000_000_000));
        let text = String::from_utf8(buffer.clone()).unwrap();
        let line = text.strip_prefix("before*1\r\n$4\r\nPING\r\n").unwrap();
        let crc = crc32c::crc32c(b"*1\r\n$4\r\nPING\r\n#BATCH:14::5e0c31d07a9b4f26.i3.0.17.16:1700000000000");
        assert_eq!(line, format!("#BATCH:14:{crc:08x}:5e0c31d07a9b4f26.i3.0.17.16:1700000000000\r\n"));
        let before = buffer.clone();
        assert!(!sealer.seal(&mut buffer, before.len(), 1));
        assert_eq!((buffer, sealer.sequence()), (before, 17));
    }

    #[test]
    fn a_mark_is_a_batch_without_records() {
        let (mut buffer, mut sealer) = (b"before".to_vec(), Sealer::resume(SEGMENT, 16));
        sealer.mark(&mut buffer, 1);
        let crc = crc32c::crc32c(b"#BATCH:0::5e0c31d07a9b4f26.i3.0.17.16:1");
        let text = format!("before#BATCH:0:{crc:08x}:5e0c31d07a9b4f26.i3.0.17.16:1\r\n");
        assert_eq!((String::from_utf8(buffer).unwrap(), sealer.sequence()), (text, 17));
    }

    #[test]
    fn format_1_has_no_log_in_its_lines() {
        let (mut buffer, segment) = (b"x".to_vec(), SegmentId { log: LogId::NONE, ..SEGMENT });
        Sealer::resume(segment, 16).seal(&mut buffer, 0, 1);
        assert!(buffer.ends_with(b":i3.0.17.16:1\r\n"), "{}", buffer.escape_ascii());
        assert_eq!(Line::parse(&buffer[1..buffer.len() - 2]).map(|line| line.segment), Some(segment));
    }

    #[test]
    fn what_another_shard_has_on_disk_is_as_drawn() {
        let (mut line, segment) = (Vec::new(), SegmentId { shard: 1, ..SEGMENT });
        write_durable(&mut line, segment, 812);
        assert_eq!(line, b"#DURABLE:i3.1.812\r\n");
        assert_eq!(parse_durable(b"#DURABLE:i3.1.812", LOG), Some((segment, 812)));
        for wrong in ["#DURABLE:", "#DURABLE:i3.1", "#DURABLE:i3.1.812.1", "#DURABLE:x3.1.812", "#durable:i3.1.812"] {
            assert_eq!(parse_durable(wrong.as_bytes(), LOG), None, "{wrong}");
        }
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn only_what_is_written_is_a_line() {
        let good = "#BATCH:14:0f3a9c27:5e0c31d07a9b4f26.i3.0.17.16:1700000000000";
        assert!(Line::parse(good.as_bytes()).is_some());
        for (from, to) in [
            ("#BATCH", "#batch"),
            (":14:", ":014:"),
            (":14:", ":+14:"),
            (":14:", "::"),
            ("0f3a9c27", "0F3a9c27"),
            ("0f3a9c27", "f3a9c27"),
            ("5e0c31d07a9b4f26", "5E0c31d07a9b4f26"),
            ("5e0c31d07a9b4f26", "e0c31d07a9b4f26"),
            ("5e0c31d07a9b4f26", "0000000000000000"),
            (".i3", ".x3"),
            (".i3", ".I3"),
            (".i3", ".i"),
            (".0.", ".65536."),
            (".17", ""),
            (".16", ""),
            (".17", ".17.1.1"),
            (".17", ".18446744073709551616"),
            ("1700000000000", "1700000000000:"),
            ("1700000000000", "1700000000000 "),
            ("1700000000000", ""),
        ] {
            let wrong = good.replacen(from, to, 1);
            assert_ne!(wrong, good, "{from}");
            assert_eq!(Line::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn lines_come_back(log: u64, generation: u64, shard: u16, base: bool, sequence in 0..u64::MAX, unix_ms: u64, records in 1..9usize) {
            let kind = if base { Kind::Base } else { Kind::Increment };
            let segment = SegmentId { log: LogId(log), generation, shard, kind };
            let mut buffer = vec![b'x'; records];
            prop_assert!(Sealer::resume(segment, sequence).seal(&mut buffer, 0, unix_ms));
            let text = &buffer[records..buffer.len() - 2];
            prop_assert!(text.len() + 2 <= LINE_BYTES_MAX);
            let line = Line::parse(text).unwrap();
            let expected =
                Line { length: records as u64, crc: line.crc, segment, sequence: sequence + 1, synced: sequence, unix_ms };
            prop_assert_eq!(line, expected);
            prop_assert!(line.holds(text, crc32c::crc32c(&buffer[..records])));
            prop_assert!(!line.holds(text, crc32c::crc32c(&buffer[..records - 1])));
        }
    }
}
