//! Values in pieces: what a value holds, a bounded part after the other, for whoever writes it somewhere. A piece never holds
//! more than [`PIECE_ITEMS_MAX`] items, nor more than [`PIECE_BYTES_MAX`] bytes, unless a single item is larger.

use super::list::Entry;
use super::{Kind, Stored, ValueRef};
use crate::limits::{PIECE_BYTES_MAX, PIECE_ITEMS_MAX, SNAPSHOT_VALUE_BYTES_MAX, SNAPSHOT_VALUE_ITEMS_MAX};
use crate::structures::ByteTable;
use crate::structures::quicklist::FrozenList;
use std::sync::Arc;

/// Part of a value.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Bytes of a string, from byte number `at` on. The last ones come first: they tell how long it is.
    Part {
        /// Where they stand.
        at: usize,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Elements of a list in order, members of a set, or fields of a hash, each with its value behind it.
    Items(Kind, &'a [Entry<'a>]),
    /// When it expires, in milliseconds since the Unix epoch. Comes last.
    Expiry(i64),
}

/// What is left of a piece.
pub struct Room {
    items: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Room {
    /// An empty piece for a key of this length, which is written with each of them: for long keys pieces are larger.
    pub fn new(key_len: usize) -> Self {
        Self { items: 0, bytes: 0, bytes_max: PIECE_BYTES_MAX.max(4 * key_len) }
    }

    /// Puts an item of so many bytes into it; `false`: it has no room for that.
    pub fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.items == 0 || self.items < PIECE_ITEMS_MAX && self.bytes + bytes <= self.bytes_max;
        if fits {
            (self.items, self.bytes) = (self.items + 1, self.bytes + bytes);
        }
        fits
    }
}

/// Bytes of an item as text, about.
fn text_bytes(entry: &Entry<'_>) -> usize {
    match entry {
        Entry::Int(_) => 8,
        Entry::Bytes(bytes) => bytes.len(),
        Entry::Large(large) => large.len(),
    }
}

impl ValueRef<'_> {
    /// Gives the whole value of a key of this length to `write`, piece by piece.
    pub fn pieces(&self, key_len: usize, mut write: impl FnMut(Piece<'_>)) {
        match *self {
            Self::String(string) => {
                let mut digits = itoa::Buffer::new();
                let bytes = string.bytes(&mut digits);
                let (mut at, mut more) = (None, true);
                while more {
                    more = part(bytes, &mut at, key_len, &mut write);
                }
            }
            Self::List(list) => runs(Kind::List, key_len, list.iter().map(|entry| [entry]), write),
            Self::Set(set) => runs(Kind::Set, key_len, set.iter().map(|member| [member.into()]), write),
            Self::Hash(hash) => {
                let pairs = hash.iter().map(|(field, value)| [field.into(), value.into()]);
                runs(Kind::Hash, key_len, pairs, write);
            }
        }
    }
}

/// Gives items, each of which is `N` entries, to `write` in pieces.
pub fn runs<'a, const N: usize>(
    kind: Kind,
    key_len: usize,
    items: impl Iterator<Item = [Entry<'a>; N]>,
    mut write: impl FnMut(Piece<'_>),
) {
    let (mut run, mut room) = (Vec::new(), Room::new(key_len));
    for item in items {
        let bytes = item.iter().map(text_bytes).sum();
        if !room.takes(bytes) {
            write(Piece::Items(kind, &run));
            run.clear();
            room = Room::new(key_len);
            room.takes(bytes);
        }
        run.extend(item);
    }
    if !run.is_empty() {
        write(Piece::Items(kind, &run));
    }
}

/// Gives the next part of a string to `write`; `at` is where the next one stands, `None` at first. Whether there are more.
fn part(bytes: &[u8], at: &mut Option<usize>, key_len: usize, write: impl FnOnce(Piece<'_>)) -> bool {
    let most = Room::new(key_len).bytes_max;
    let last = bytes.len().saturating_sub(1) / most * most;
    let begin = at.unwrap_or(last);
    let end = (begin + most).min(bytes.len());
    write(Piece::Part { at: begin, bytes: &bytes[begin..end] });
    let next = at.map_or(0, |_| end);
    *at = Some(next);
    next < last
}

/// A large string or list as it was at one moment, apart from the one that goes on changing.
#[derive(Debug)]
pub enum Frozen {
    /// A string, and where its next part stands.
    String(Arc<Vec<u8>>, Option<usize>),
    /// What is left of a list.
    List(FrozenList),
}

impl Frozen {
    /// Gives the next piece of the value of a key of this length to `write`; whether there are more.
    pub fn next(&mut self, key_len: usize, write: impl FnOnce(Piece<'_>)) -> bool {
        match self {
            Self::String(string, at) => part(string, at, key_len, write),
            Self::List(list) => {
                let mut room = Room::new(key_len);
                list.next(|entry| room.takes(text_bytes(entry)), |items| write(Piece::Items(Kind::List, items)));
                !list.is_empty()
            }
        }
    }
}

impl Stored {
    /// Whether it is too large to be written at once.
    pub fn is_large(&self) -> bool {
        match self {
            Self::String(large) => large.as_slice().len() > SNAPSHOT_VALUE_BYTES_MAX,
            Self::List(list) => {
                list.nodes_len() > SNAPSHOT_VALUE_ITEMS_MAX / PIECE_ITEMS_MAX
                    || list.nodes_len() > 1 && list.memory_bytes() > SNAPSHOT_VALUE_BYTES_MAX
            }
            Self::Set(set) => set.table().is_some_and(is_large_table),
            Self::Hash(hash) => hash.table().is_some_and(is_large_table),
        }
    }

    /// What it holds now, apart from it, if it is a string or a list. Nothing is copied but what is changed afterwards.
    pub fn freeze(&mut self) -> Option<Frozen> {
        match self {
            Self::String(large) => Some(Frozen::String(large.freeze(), None)),
            Self::List(list) => list.freeze().map(Frozen::List),
            Self::Set(_) | Self::Hash(_) => None,
        }
    }

    /// Its hash table, if it is a set or hash that is one.
    pub fn table_mut(&mut self) -> Option<&mut ByteTable> {
        match self {
            Self::String(_) | Self::List(_) => None,
            Self::Set(set) => set.table_mut(),
            Self::Hash(hash) => hash.table_mut(),
        }
    }

    /// Whether it is a hash table with a snapshot under way.
    #[inline]
    pub fn has_snapshot(&self) -> bool {
        match self {
            Self::String(_) | Self::List(_) => false,
            Self::Set(set) => set.table().is_some_and(ByteTable::has_snapshot),
            Self::Hash(hash) => hash.table().is_some_and(ByteTable::has_snapshot),
        }
    }
}

fn is_large_table(table: &ByteTable) -> bool {
    if table.len() > SNAPSHOT_VALUE_ITEMS_MAX {
        return true;
    }
    let mut left = SNAPSHOT_VALUE_BYTES_MAX;
    !table.iter().all(|record| {
        let bytes = record.memory_bytes();
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StringRef;
    use crate::types::list::{List, NodeLimit, Side};

    fn pieces(value: ValueRef<'_>, key_len: usize) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        value.pieces(key_len, |piece| {
            all.push(match piece {
                Piece::Part { at, bytes } => (at, bytes.len()),
                Piece::Items(_, items) => (items.len(), items.iter().map(text_bytes).sum()),
                Piece::Expiry(_) => unreachable!("nobody has said when"),
            });
        });
        all
    }

    #[test]
    fn a_string_comes_in_parts_the_last_first() {
        let of = |len: usize, key_len| {
            pieces(ValueRef::String(StringRef::Bytes { bytes: &vec![0; len], raw: true }), key_len)
        };
        assert_eq!(of(0, 1), [(0, 0)]);
        assert_eq!(of(10, 1), [(0, 10)]);
        assert_eq!(of(PIECE_BYTES_MAX, 1), [(0, PIECE_BYTES_MAX)]);
        assert_eq!(of(PIECE_BYTES_MAX + 1, 1), [(PIECE_BYTES_MAX, 1), (0, PIECE_BYTES_MAX)]);
        let three = [(2 * PIECE_BYTES_MAX, 7), (0, PIECE_BYTES_MAX), (PIECE_BYTES_MAX, PIECE_BYTES_MAX)];
        assert_eq!(of(2 * PIECE_BYTES_MAX + 7, 1), three);
        assert_eq!(of(2 * PIECE_BYTES_MAX + 7, PIECE_BYTES_MAX).len(), 1, "long keys are not written often");
    }

    #[test]
    fn items_are_bounded_in_number_and_bytes() {
        let mut list = List::new();
        let limit = NodeLimit::new(-2);
        let (small, large) = (b"element".as_slice(), vec![b'x'; PIECE_BYTES_MAX / 2 - 1]);
        (0..150).for_each(|_| list.push(Side::Right, [small].into_iter(), limit));
        let found = pieces(ValueRef::List(&list), 1);
        assert_eq!(found.iter().map(|(items, _)| *items).collect::<Vec<_>>(), [64, 64, 22]);
        list.push(Side::Right, [&large[..], &large, &large, &[b'y'; PIECE_BYTES_MAX * 2], small].into_iter(), limit);
        let found = pieces(ValueRef::List(&list), 1);
        assert_eq!(found.iter().map(|(items, _)| *items).collect::<Vec<_>>(), [64, 64, 23, 2, 1, 1]);
        let mut frozen = Frozen::List(list.freeze().expect("it has many nodes"));
        let mut counts = Vec::new();
        let mut more = true;
        while more {
            more = frozen.next(1, |piece| {
                let Piece::Items(Kind::List, items) = piece else { panic!("a list has elements") };
                counts.push(items.len());
            });
        }
        assert_eq!(counts, [64, 64, 23, 2, 1, 1]);
    }
}
