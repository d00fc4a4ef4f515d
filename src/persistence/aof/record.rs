//! Records: commands as RESP arrays of bulk strings, the same bytes that a client would send.
//!
//! ```text
//! *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n
//!  │    │    │
//!  │    │    └ the argument, any bytes, and CR LF
//!  │    └ its length in bytes
//!  └ how many arguments
//! ```
//!
//! A file and every batch begin at database 0; `SELECT n` stands where another one is meant. What has to be run in one go
//! stands between `MULTI` and `EXEC`. A transaction over several shards is one record in the log of each of them:
//!
//! ```text
//! CRIMSON.TRANSACTION <stamp> <own shard> <shard> <payload> [<shard> <payload> ...]
//! ```
//!
//! Numbers are decimal. A payload is the records of that shard's part and begins at database 0 too; the own part is among
//! them. Shards stand in ascending order.

use crate::limits::AOF_RECORD_BYTES_MAX;
use crate::resp::Args;
use crate::resp::parser::{Parsed, ParserLimits, RequestParser, Scratch};

/// The name of the record of a transaction over several shards.
pub const TRANSACTION: &[u8] = b"CRIMSON.TRANSACTION";

/// Appends the record of one command.
pub fn write_command<'a>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    write_head(out, b'*', args.len());
    for argument in args {
        write_bulk(out, argument);
    }
}

/// Appends `MULTI`, behind which stands what has to be run in one go.
pub fn write_multi(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
}

/// Appends `EXEC`, which ends it.
pub fn write_exec(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
}

/// Appends Redis's annotation of the time, which stands in front of the records of a second.
pub fn write_timestamp(out: &mut Vec<u8>, unix_seconds: u64) {
    out.extend_from_slice(b"#TS:");
    write_number(out, unix_seconds);
    out.extend_from_slice(b"\r\n");
}

/// Appends the record of a transaction over several shards, as shard `own` logs it. `parts` are the shards with their
/// payloads, in ascending order, `own` among them.
pub fn write_transaction<P: AsRef<[u8]>>(out: &mut Vec<u8>, stamp: u64, own: u16, parts: &[(u16, P)]) {
    debug_assert!(parts.is_sorted_by(|a, b| a.0 < b.0), "shards in ascending order");
    debug_assert!(parts.iter().any(|part| part.0 == own), "the own part is among them");
    write_head(out, b'*', 3 + 2 * parts.len());
    write_bulk(out, TRANSACTION);
    let mut text = itoa::Buffer::new();
    write_bulk(out, text.format(stamp).as_bytes());
    write_bulk(out, text.format(own).as_bytes());
    for (shard, payload) in parts {
        write_bulk(out, text.format(*shard).as_bytes());
        write_bulk(out, payload.as_ref());
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    write_number(out, count as u64);
    out.extend_from_slice(b"\r\n");
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends records and says SELECT where the database changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encoder {
    /// The database that a reader has selected after what was appended so far.
    database: usize,
}

impl Encoder {
    /// At the start of a batch or payload: database 0 is selected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends SELECT if what follows is for another database than what came before.
    #[inline]
    pub fn select(&mut self, out: &mut Vec<u8>, database: usize) {
        if self.database != database {
            self.database = database;
            let mut text = itoa::Buffer::new();
            write_command(out, [&b"SELECT"[..], text.format(database).as_bytes()].into_iter());
        }
    }

    /// Appends a command on `database`.
    #[inline]
    pub fn command<'a>(&mut self, out: &mut Vec<u8>, database: usize, args: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.select(out, database);
        write_command(out, args);
    }
}

/// A record of a transaction over several shards, read.
#[derive(Clone, Copy)]
pub struct Transaction<'a> {
    /// Tells it from all others, and its place among those it conflicts with.
    pub stamp: u64,
    /// The shard whose log it was read from.
    pub own: u16,
    args: Args<'a>,
}

impl<'a> Transaction<'a> {
    /// Whether `args` are such a record, well-formed or not.
    pub fn is_one(args: Args<'_>) -> bool {
        args.at(0).eq_ignore_ascii_case(TRANSACTION)
    }

    /// Understands a record; `None` where it is not well-formed.
    pub fn decode(args: Args<'a>) -> Option<Self> {
        if !Self::is_one(args) || args.len() < 5 || args.len() % 2 != 1 {
            return None;
        }
        let stamp = decimal(args.at(1))?;
        let own = u16::try_from(decimal(args.at(2))?).ok()?;
        let mut before = None;
        let mut found = false;
        for index in (3..args.len()).step_by(2) {
            let shard = u16::try_from(decimal(args.at(index))?).ok()?;
            if before.is_some_and(|before| before >= shard) {
                return None;
            }
            before = Some(shard);
            found |= shard == own;
        }
        found.then_some(Self { stamp, own, args })
    }

    /// The shards that take part with their payloads, in ascending order.
    pub fn parts(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let args = self.args;
        (3..args.len()).step_by(2).map(move |index| {
            let shard = decimal(args.at(index)).expect("looked at when it was decoded");
            (shard as u16, args.at(index + 1))
        })
    }

    /// The payload of `shard`, if it takes part.
    pub fn part(&self, shard: u16) -> Option<&'a [u8]> {
        self.parts().find(|part| part.0 == shard).map(|part| part.1)
    }

    /// Appends the record as shard `own`, which must be one of those that take part, logs it.
    pub fn write_for(&self, out: &mut Vec<u8>, own: u16) {
        let parts: Vec<(u16, &[u8])> = self.parts().collect();
        write_transaction(out, self.stamp, own, &parts);
    }
}

/// A number as records write it: decimal, no sign, no leading zeros. `None` for anything else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'..=b'9'] => Some(u64::from(text[0] - b'0')),
        [b'1'..=b'9', rest @ ..] if rest.len() < 20 => text.iter().try_fold(0u64, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        }),
        _ => None,
    }
}

/// Bytes that should be records are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The records of bytes that are all there, such as a payload, one after another.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    scratch: Scratch,
}

/// Arguments as long as a record can be; there is no client to protect from here.
pub(super) const LIMITS: ParserLimits =
    ParserLimits { bulk_bytes_max: AOF_RECORD_BYTES_MAX as i64, authenticated: true };

impl<'a> Records<'a> {
    /// The records of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, scratch: Scratch::default() }
    }

    /// The next record; `None` behind the last one.
    #[allow(clippy::should_implement_trait, reason = "what it yields borrows from it")]
    pub fn next(&mut self) -> Result<Option<Args<'_>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let len = parse_record(self.rest, &mut self.scratch)?;
        let (record, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(Some(Args::new(record, &self.scratch.spans)))
    }
}

/// Reads the record at the start of `input`, all of which is there: its length; where its arguments stand is in the
/// scratch.
pub(super) fn parse_record(input: &[u8], scratch: &mut Scratch) -> Result<usize, Malformed> {
    let input = &input[..input.len().min(AOF_RECORD_BYTES_MAX as usize)];
    if input.first() != Some(&b'*') {
        return Err(Malformed);
    }
    scratch.clear();
    match RequestParser::default().parse(input, scratch, LIMITS) {
        Ok(Parsed::Request(len)) => Ok(len),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, Malformed> {
        let (mut records, mut found) = (Records::new(bytes), Vec::new());
        while let Some(args) = records.next()? {
            found.push(args.iter_from(0).map(<[u8]>::to_vec).collect());
        }
        Ok(found)
    }

    #[test]
    fn commands_are_resp_arrays_with_select_where_the_database_changes() {
        let (mut out, mut encoder) = (Vec::new(), Encoder::new());
        encoder.command(&mut out, 0, [&b"SET"[..], b"k", b""].into_iter());
        encoder.command(&mut out, 12, [&b"DEL"[..], b"\r\n"].into_iter());
        encoder.command(&mut out, 12, [&b"DEL"[..], b"x"].into_iter());
        let expected = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n\
                        *2\r\n$3\r\nDEL\r\n$2\r\n\r\n\r\n*2\r\n$3\r\nDEL\r\n$1\r\nx\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut frame = Vec::new();
        write_multi(&mut frame);
        write_exec(&mut frame);
        assert_eq!(all(&frame), Ok(vec![vec![b"MULTI".to_vec()], vec![b"EXEC".to_vec()]]));
    }

    #[test]
    fn transactions_are_understood_strictly() {
        let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let decode = |line: &str| {
            let mut out = Vec::new();
            let words = words(line);
            write_command(&mut out, words.iter().map(Vec::as_slice));
            let mut records = Records::new(&out);
            let args = records.next().unwrap().unwrap();
            Transaction::decode(args).map(|t| (t.stamp, t.own, t.parts().map(|part| part.0).collect::<Vec<_>>()))
        };
        assert_eq!(decode("CRIMSON.TRANSACTION 7 2 0 a 2 b"), Some((7, 2, vec![0, 2])));
        assert_eq!(decode("crimson.transaction 18446744073709551615 0 0 a"), Some((u64::MAX, 0, vec![0])));
        for wrong in [
            "SET 7 2 0 a 2 b",
            "CRIMSON.TRANSACTION 7 2",
            "CRIMSON.TRANSACTION 7 2 0 a 2",
            "CRIMSON.TRANSACTION 7 1 0 a 2 b",
            "CRIMSON.TRANSACTION 7 2 2 a 0 b",
            "CRIMSON.TRANSACTION 7 2 2 a 2 b",
            "CRIMSON.TRANSACTION 07 0 0 a",
            "CRIMSON.TRANSACTION -1 0 0 a",
            "CRIMSON.TRANSACTION 18446744073709551616 0 0 a",
            "CRIMSON.TRANSACTION 1 65536 65536 a",
        ] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            commands in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 0..6),
        ) {
            let mut out = Vec::new();
            for command in &commands {
                write_command(&mut out, command.iter().map(Vec::as_slice));
            }
            prop_assert_eq!(all(&out), Ok(commands));
        }

        #[test]
        fn transactions_come_back(
            stamp: u64,
            parts in prop::collection::btree_map(any::<u16>(), prop::collection::vec(any::<u8>(), 0..30), 1..5),
            which: prop::sample::Index,
        ) {
            let parts: Vec<(u16, Vec<u8>)> = parts.into_iter().collect();
            let (own, other) = (parts[which.index(parts.len())].0, parts[0].0);
            let mut out = Vec::new();
            write_transaction(&mut out, stamp, own, &parts);
            let mut records = Records::new(&out);
            let read = Transaction::decode(records.next().unwrap().unwrap()).unwrap();
            prop_assert_eq!((read.stamp, read.own), (stamp, own));
            prop_assert!(read.parts().eq(parts.iter().map(|part| (part.0, &part.1[..]))));
            prop_assert_eq!(read.part(own).map(<[u8]>::to_vec), parts.iter().find(|part| part.0 == own).map(|part| part.1.clone()));
            let (mut again, mut expected) = (Vec::new(), Vec::new());
            read.write_for(&mut again, other);
            write_transaction(&mut expected, stamp, other, &parts);
            prop_assert_eq!(again, expected);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop::sample::select(&b"*$0123456789-\r\nab#"[..]), 0..40)) {
            let _ = all(&bytes);
        }
    }
}
