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

use super::record;
use crate::resp::Args;
use crate::stdx::number;

/// The name of the record.
pub const NAME: &[u8] = b"CRIMSON.TRANSACTION";

const STAMP_BYTES: usize = 8;
const COUNT_BYTES: usize = 4;

/// A transaction as it is logged: the same for all shards but for the number of the own one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its stamp; 0: not taken yet.
    pub stamp: u64,
    shards: u32,
    /// Shards and payloads as they stand in the record.
    body: Vec<u8>,
}

impl Transaction {
    /// A transaction of these parts: shards, in ascending order, and payloads.
    pub fn new<'a>(stamp: u64, parts: impl IntoIterator<Item = (u16, &'a [u8])>) -> Self {
        let (mut shards, mut body) = (0, Vec::new());
        for (shard, payload) in parts {
            shards += 1;
            record::number(&mut body, shard);
            record::argument(&mut body, payload);
        }
        Self { stamp, shards, body }
    }

    /// Appends the record of shard `own`.
    pub fn write(&self, own: u16, out: &mut Vec<u8>) {
        record::begin(out, 3 + 2 * self.shards as usize);
        record::argument(out, NAME);
        record::number(out, self.stamp);
        record::number(out, own);
        out.extend_from_slice(&self.body);
    }

    /// As an argument that travels with a command to another core.
    pub fn to_argument(&self) -> Vec<u8> {
        [&self.stamp.to_le_bytes()[..], &self.shards.to_le_bytes(), &self.body].concat()
    }

    /// From such an argument; `None` if it is none.
    pub fn from_argument(argument: &[u8]) -> Option<Self> {
        let (stamp, rest) = argument.split_first_chunk::<STAMP_BYTES>()?;
        let (shards, body) = rest.split_first_chunk::<COUNT_BYTES>()?;
        let (stamp, shards) = (u64::from_le_bytes(*stamp), u32::from_le_bytes(*shards));
        Some(Self { stamp, shards, body: body.to_vec() })
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
