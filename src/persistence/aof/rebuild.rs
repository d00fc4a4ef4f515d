//! The records that make a key's whole value, for a file that begins anew and for changes of which nothing shorter can be
//! said. Large values come in several records, so that none of them holds up its reader for long, or takes much memory there.
//! The value is written from where it lies.
//!
//! A large string is written by SETRANGE, its end first: so the reader makes room for it once, and for no more than it needs.

use super::Records;
use crate::limits::PIECE_BYTES_MAX;
use crate::types::{Kind, Piece, StringRef, ValueRef};

/// Appends what makes `key` hold `value` until `expires` (milliseconds since the Unix epoch). `replaces`: there may be
/// another value there before.
pub fn rebuild(
    records: &mut Records,
    database: u16,
    key: &[u8],
    value: ValueRef<'_>,
    expires: Option<i64>,
    replaces: bool,
) {
    // SET replaces whatever there is, and takes the time to live along.
    if let ValueRef::String(string) = value
        && string.len() <= PIECE_BYTES_MAX
    {
        return set(records, database, key, string, expires);
    }
    if replaces {
        records.append(database, [&b"DEL"[..], key].into_iter());
    }
    value.pieces(key.len(), |part| piece(records, database, key, part));
    if let Some(at) = expires {
        piece(records, database, key, Piece::Expiry(at));
    }
}

/// Appends what adds a piece to the value of `key`. Before the first one there must be none.
pub fn piece(records: &mut Records, database: u16, key: &[u8], piece: Piece<'_>) {
    let mut digits = itoa::Buffer::new();
    match piece {
        Piece::Part { at, bytes } => {
            records.append(database, [&b"SETRANGE"[..], key, digits.format(at).as_bytes(), bytes].into_iter());
        }
        Piece::Items(kind, items) => {
            records.begin(database, 2 + items.len());
            records.argument(match kind {
                Kind::String => unreachable!("a string comes in parts"),
                Kind::List => b"RPUSH",
                Kind::Set => b"SADD",
                Kind::Hash => b"HSET",
            });
            records.argument(key);
            items.iter().for_each(|item| records.argument(item.bytes(&mut digits)));
        }
        Piece::Expiry(at) => {
            records.append(database, [&b"PEXPIREAT"[..], key, digits.format(at).as_bytes()].into_iter());
        }
    }
}

fn set(records: &mut Records, database: u16, key: &[u8], string: StringRef<'_>, expires: Option<i64>) {
    let (mut text, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let value = string.bytes(&mut text);
    match expires {
        None => records.append(database, [&b"SET"[..], key, value].into_iter()),
        Some(at) => {
            let words = [&b"SET"[..], key, value, b"PXAT", digits.format(at).as_bytes()];
            records.append(database, words.into_iter());
        }
    }
}
