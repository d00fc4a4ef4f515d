//! The records that make a key's whole value, for a file that begins anew and for changes of which nothing shorter can be
//! said. Large collections come in several records, so that none of them holds up its reader for long. The value is written
//! from where it lies.

use super::Records;
use crate::limits::REBUILD_ITEMS_PER_RECORD;
use crate::structures::listpack::Element;
use crate::structures::quicklist::Entry;
use crate::types::{StringRef, ValueRef};

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
    if let ValueRef::String(string) = value {
        return set(records, database, key, string, expires);
    }
    if replaces {
        records.append(database, [&b"DEL"[..], key].into_iter());
    }
    let mut chunks = Chunks { records, database, key, left: 0 };
    match value {
        ValueRef::String(_) => unreachable!("just seen"),
        ValueRef::List(list) => {
            let mut left = list.len();
            for entry in list.iter() {
                chunks.next(b"RPUSH", &mut left, 1);
                chunks.entry(entry);
            }
        }
        ValueRef::Set(set) => {
            let mut left = set.len();
            for member in set.iter() {
                chunks.next(b"SADD", &mut left, 1);
                chunks.element(member);
            }
        }
        ValueRef::Hash(hash) => {
            let mut left = hash.len();
            for (field, value) in hash.iter() {
                chunks.next(b"HSET", &mut left, 2);
                chunks.element(field);
                chunks.element(value);
            }
        }
    }
    if let Some(at) = expires {
        let mut digits = itoa::Buffer::new();
        records.append(database, [&b"PEXPIREAT"[..], key, digits.format(at).as_bytes()].into_iter());
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

/// The records of one collection.
struct Chunks<'r, 'k> {
    records: &'r mut Records,
    database: u16,
    key: &'k [u8],
    /// Items that the record begun last still takes.
    left: usize,
}

impl Chunks<'_, '_> {
    /// Makes room for the next item: so many arguments. `items` are left with it.
    fn next(&mut self, command: &[u8], items: &mut usize, arguments: usize) {
        if self.left == 0 {
            self.left = (*items).min(REBUILD_ITEMS_PER_RECORD);
            self.records.begin(self.database, 2 + self.left * arguments);
            self.records.argument(command);
            self.records.argument(self.key);
        }
        self.left -= 1;
        *items -= 1;
    }

    fn element(&mut self, element: Element<'_>) {
        self.records.argument(element.bytes(&mut itoa::Buffer::new()));
    }

    fn entry(&mut self, entry: Entry<'_>) {
        self.records.argument(entry.bytes(&mut itoa::Buffer::new()));
    }
}
