//! The record of a transaction over several shards. Every shard that it changed logs it whole, so that recovery can
//! complete it on a shard that has lost it:
//!
//! ```text
//! CRIMSON.TRANSACTION <stamp> <own shard> <shard> <payload> <shard> <payload> ...
//! ```
//!
//! The stamp is a number that grows with every such transaction; where two of them concern the same keys, the later one has
//! the greater stamp. A payload is the records of one shard's part, for a reader that begins with database 0; the reader
//! of a segment replays that of its own shard only, and is afterwards in the database in which it was before.

//!
//! A large transaction comes in several such records with the same stamp, one behind the other in the same batch, so that
//! no reader has to hold it whole. All of them name all shards.

use super::record::{self, LIMITS};
use crate::limits::AOF_TRANSACTION_BYTES;
use crate::resp::Args;
use crate::resp::parser::{Parsed, RequestParser, Scratch};
use crate::stdx::number;

/// The name of the record.
pub const NAME: &[u8] = b"CRIMSON.TRANSACTION";

const STAMP_BYTES: usize = 8;
const COUNT_BYTES: usize = 4;
const LENGTH_BYTES: usize = 8;
/// Bytes before the body of a record, about.
const HEAD_BYTES: usize = 80;

/// A transaction as it is logged: the same for all shards but for the number of the own one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its stamp; 0: not taken yet.
    pub stamp: u64,
    shards: u32,
    /// Shards and payloads as they stand in the record.
    body: Vec<u8>,
    /// The same of further records.
    more: Vec<Vec<u8>>,
}

impl Transaction {
    /// A transaction of these parts: shards, in ascending order, and payloads.
    pub fn new<'a>(stamp: u64, parts: impl IntoIterator<Item = (u16, &'a [u8])>) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        Self::with_bound(stamp, &parts, AOF_TRANSACTION_BYTES)
    }

    /// The same in records of about so many bytes.
    fn with_bound(stamp: u64, parts: &[(u16, &[u8])], most: usize) -> Self {
        let shards = parts.len() as u32;
        let bytes: usize = parts.iter().map(|(_, payload)| payload.len()).sum();
        let mut bodies = if bytes <= most { vec![body(parts)] } else { bodies(parts, most) };
        let more = bodies.split_off(1);
        Self { stamp, shards, body: bodies.pop().expect("there is a first one"), more }
    }

    /// Adds what stands in further records.
    pub fn join(&mut self, other: Self) {
        self.more.push(other.body);
        self.more.extend(other.more);
    }

    /// Appends the records of shard `own`.
    pub fn write(&self, own: u16, out: &mut Vec<u8>) {
        let bodies = std::iter::once(&self.body).chain(&self.more);
        out.reserve(bodies.clone().map(|body| body.len() + HEAD_BYTES).sum());
        for body in bodies {
            record::begin(out, 3 + 2 * self.shards as usize);
            record::argument(out, NAME);
            record::number(out, self.stamp);
            record::number(out, own);
            out.extend_from_slice(body);
        }
    }

    /// As an argument that travels with a command to another core.
    pub fn to_argument(&self) -> Vec<u8> {
        let mut argument = [&self.stamp.to_le_bytes()[..], &self.shards.to_le_bytes()].concat();
        for body in std::iter::once(&self.body).chain(&self.more) {
            argument.extend_from_slice(&(body.len() as u64).to_le_bytes());
            argument.extend_from_slice(body);
        }
        argument
    }

    /// From such an argument; `None` if it is none.
    pub fn from_argument(argument: &[u8]) -> Option<Self> {
        let (stamp, rest) = argument.split_first_chunk::<STAMP_BYTES>()?;
        let (shards, rest) = rest.split_first_chunk::<COUNT_BYTES>()?;
        let (stamp, shards) = (u64::from_le_bytes(*stamp), u32::from_le_bytes(*shards));
        let (mut bodies, mut rest) = (Vec::new(), rest);
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk::<LENGTH_BYTES>()?;
            let (body, behind) = behind.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            bodies.push(body.to_vec());
            rest = behind;
        }
        let mut bodies = bodies.into_iter();
        Some(Self { stamp, shards, body: bodies.next()?, more: bodies.collect() })
    }
}

/// Shards and payloads as they stand in a record.
fn body(parts: &[(u16, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (shard, payload) in parts {
        record::number(&mut body, *shard);
        record::argument(&mut body, payload.as_ref());
    }
    body
}

/// The same for several records, each with all shards and payloads of about so many bytes in all.
fn bodies(parts: &[(u16, &[u8])], most: usize) -> Vec<Vec<u8>> {
    let (mut bodies, mut bytes) = (Vec::new(), 0);
    let mut filling: Vec<(u16, Vec<u8>)> = parts.iter().map(|(shard, _)| (*shard, Vec::new())).collect();
    for (number, (_, payload)) in parts.iter().enumerate() {
        each_piece(payload, most, |database, piece| {
            if bytes > 0 && bytes + piece.len() > most {
                bodies.push(body(&filling));
                filling.iter_mut().for_each(|(_, payload)| payload.clear());
                bytes = 0;
            }
            if database != b"0" {
                record::append(&mut filling[number].1, [&b"SELECT"[..], database].into_iter());
            }
            filling[number].1.extend_from_slice(piece);
            bytes += piece.len();
        });
    }
    bodies.push(body(&filling));
    bodies
}

/// Gives pieces of a payload to `give`, whole records of about so many bytes, with the database in which each begins.
fn each_piece(payload: &[u8], most: usize, mut give: impl FnMut(&[u8], &[u8])) {
    let (mut scratch, mut begin, mut at) = (Scratch::default(), 0, 0);
    let (mut database, mut begin_database) = (b"0".to_vec(), b"0".to_vec());
    while at < payload.len() {
        scratch.clear();
        let parsed = RequestParser::default().parse(&payload[at..], &mut scratch, LIMITS);
        // What is no record, which this server would not write, stays whole.
        let Ok(Parsed::Request(len)) = parsed else { break };
        if at > begin && at + len - begin > most {
            give(&begin_database, &payload[begin..at]);
            (begin, begin_database) = (at, database.clone());
        }
        let args = Args::new(&payload[at..], &scratch.spans);
        if args.len() == 2 && args.at(0).eq_ignore_ascii_case(b"select") {
            database = args.at(1).to_vec();
        }
        at += len;
    }
    if begin < payload.len() {
        give(&begin_database, &payload[begin..]);
    }
}

/// The record of a transaction that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionView<'a> {
    /// Its stamp.
    pub stamp: u64,
    /// The shard whose segment it stands in.
    pub own: u16,
    /// Shards and payloads, by ascending shard.
    pub parts: Vec<(u16, &'a [u8])>,
}

impl<'a> TransactionView<'a> {
    /// Whether this is such a record at all.
    #[inline]
    pub fn is_one(args: Args<'_>) -> bool {
        args.at(0).eq_ignore_ascii_case(NAME)
    }

    /// Reads the record; `None` if it is malformed.
    pub fn parse(args: Args<'a>) -> Option<Self> {
        if args.len() < 5 || args.len().is_multiple_of(2) {
            return None;
        }
        let shard = |text| number::parse_i64(text).and_then(|shard| u16::try_from(shard).ok());
        let stamp = number::parse_i64(args.at(1)).and_then(|stamp| u64::try_from(stamp).ok())?;
        let own = shard(args.at(2))?;
        let part = |index| Some((shard(args.at(index))?, args.at(index + 1)));
        let mut parts = (3..args.len()).step_by(2).map(part).collect::<Option<Vec<_>>>()?;
        parts.sort_by_key(|(shard, _)| *shard);
        let distinct = parts.windows(2).all(|pair| pair[0].0 != pair[1].0);
        (stamp > 0 && distinct).then_some(Self { stamp, own, parts })
    }

    /// The payload of `shard`, if it takes part.
    pub fn payload(&self, shard: u16) -> Option<&'a [u8]> {
        self.parts.iter().find(|(part, _)| *part == shard).map(|(_, payload)| *payload)
    }

    /// The same transaction, to be logged elsewhere.
    pub fn to_transaction(&self) -> Transaction {
        Transaction::new(self.stamp, self.parts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Span;

    type Read = (u64, u16, Vec<(u16, Vec<u8>)>);

    fn read(words: &[&[u8]]) -> Option<Read> {
        let (mut buffer, mut spans) = (Vec::new(), Vec::new());
        for word in words {
            spans.push(Span { start: buffer.len() as u32, len: word.len() as u32 });
            buffer.extend_from_slice(word);
        }
        let view = TransactionView::parse(Args::new(&buffer, &spans))?;
        Some((view.stamp, view.own, view.parts.iter().map(|(shard, payload)| (*shard, payload.to_vec())).collect()))
    }

    #[test]
    fn what_is_written_can_be_read() {
        let transaction = Transaction::new(7, [(2, &b"two"[..]), (0, b"")]);
        assert_eq!(Transaction::from_argument(&transaction.to_argument()), Some(transaction.clone()));
        let mut out = Vec::new();
        transaction.write(2, &mut out);
        let text = "*7|$19|CRIMSON.TRANSACTION|$1|7|$1|2|$1|2|$3|two|$1|0|$0||".replace('|', "\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), text);
        let read = read(&[NAME, b"7", b"2", b"2", b"two", b"0", b""]).unwrap();
        assert_eq!(read, (7, 2, vec![(0, b"".to_vec()), (2, b"two".to_vec())]));
    }

    /// One of a value that the log held whole could be written with more bytes than its reader takes.
    #[test]
    fn a_large_one_comes_in_several_records() {
        let mut payloads = [Vec::new(), Vec::new()];
        for number in 0..100 {
            let shard = usize::from(number >= 40);
            if number == 20 || number == 70 {
                record::append(&mut payloads[shard], [&b"SELECT"[..], b"3"].into_iter());
            }
            let key = format!("key:{number:03}");
            record::append(&mut payloads[shard], [&b"SET"[..], key.as_bytes(), b"value"].into_iter());
        }
        let parts = [(1, &payloads[0][..]), (4, &payloads[1])];
        let transaction = Transaction::with_bound(9, &parts, 400);
        assert!(transaction.more.len() > 8, "{}", transaction.more.len());
        assert_eq!(Transaction::from_argument(&transaction.to_argument()), Some(transaction.clone()));
        let mut out = Vec::new();
        transaction.write(4, &mut out);
        let (mut rest, mut found, mut joined) = (&out[..], [Vec::new(), Vec::new()], None::<Transaction>);
        while !rest.is_empty() {
            let mut scratch = Scratch::default();
            let Ok(Parsed::Request(len)) = RequestParser::default().parse(rest, &mut scratch, LIMITS) else {
                panic!("no record")
            };
            assert!(len < 600, "{len}");
            let view = TransactionView::parse(Args::new(rest, &scratch.spans)).unwrap();
            assert_eq!((view.stamp, view.own, view.parts.len()), (9, 4, 2));
            for (found, (_, payload)) in found.iter_mut().zip(&view.parts) {
                let mut database = b"0".to_vec();
                each_piece(payload, 0, |at, piece| {
                    database = at.to_vec();
                    if !piece.starts_with(b"*2") {
                        found.extend_from_slice(&database);
                        found.extend_from_slice(piece);
                    }
                });
            }
            match &mut joined {
                None => joined = Some(view.to_transaction()),
                Some(joined) => joined.join(view.to_transaction()),
            }
            rest = &rest[len..];
        }
        let expected = [0..40, 40..100].map(|range| {
            let mut expected = Vec::new();
            for number in range {
                expected.extend_from_slice(if (20..40).contains(&number) || number >= 70 { b"3" } else { b"0" });
                let key = format!("key:{number:03}");
                record::append(&mut expected, [&b"SET"[..], key.as_bytes(), b"value"].into_iter());
            }
            expected
        });
        assert!(found == expected, "the pieces are not the whole");
        assert_eq!(joined, Some(transaction));
    }

    #[test]
    fn malformed_ones_are_refused() {
        for words in [
            &[NAME, b"7", b"2"][..],
            &[NAME, b"7", b"2", b"2"],
            &[NAME, b"0", b"2", b"2", b""],
            &[NAME, b"x", b"2", b"2", b""],
            &[NAME, b"7", b"-2", b"2", b""],
            &[NAME, b"7", b"2", b"70000", b""],
            &[NAME, b"7", b"2", b"2", b"", b"2", b""],
        ] {
            assert_eq!(read(words), None, "{words:?}");
        }
        assert_eq!(Transaction::from_argument(b"short"), None);
    }
}
