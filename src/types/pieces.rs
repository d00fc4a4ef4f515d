//! Values in pieces: what a value holds, a bounded part after the other, for whoever writes it somewhere. A piece never holds
//! more than [`PIECE_ITEMS_MAX`] items, nor more than [`PIECE_BYTES_MAX`] bytes, unless a single item is larger.

use super::list::Entry;
use super::{Kind, Stored, ValueRef};
use crate::limits::{PIECE_BYTES_MAX, PIECE_ITEMS_MAX, SNAPSHOT_VALUE_BYTES_MAX, SNAPSHOT_VALUE_ITEMS_MAX};
use crate::structures::ByteTable;
use crate::structures::quicklist::FrozenList;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

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
    /// Whether it holds more than about so many items or bytes. Looks at no more than these.
    pub fn exceeds(&self, items: usize, bytes: usize) -> bool {
        match self {
            Self::String(string) => string.len() > bytes,
            Self::List(list) => {
                list.nodes_len() > items / PIECE_ITEMS_MAX || list.nodes_len() > 1 && list.memory_bytes() > bytes
            }
            Self::Set(set) => set.table().is_some_and(|table| table_exceeds(table, items, bytes)),
            Self::Hash(hash) => hash.table().is_some_and(|table| table_exceeds(table, items, bytes)),
        }
    }

    /// Gives the whole value of a key of this length to `write`, piece by piece.
    pub fn pieces(&self, key_len: usize, mut write: impl FnMut(Piece<'_>)) {
        match *self {
            Self::String(string) => {
                let mut digits = itoa::Buffer::new();
                let bytes = string.bytes(&mut digits);
                let (most, last) = bounds(bytes.len(), key_len);
                for at in std::iter::once(last).chain((0..last).step_by(most)) {
                    write(Piece::Part { at, bytes: &bytes[at..(at + most).min(bytes.len())] });
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

/// Writes pieces behind bytes.
pub type Write = Box<dyn Fn(Piece<'_>, &mut Vec<u8>) + Send + Sync>;

/// A snapshot of a large string that is under way: the string changes meanwhile, by parts, and never becomes shorter.
pub struct StringWalk {
    /// How long the string was.
    len: usize,
    key_len: usize,
    /// Where the next part stands; `None` at first.
    at: Option<usize>,
    /// Parts as they were that have been changed and not been written, by their places.
    changed: BTreeMap<usize, Box<[u8]>>,
    expires: Option<i64>,
    write: Write,
}

impl StringWalk {
    /// One of a string of `len` bytes, whose key has `key_len` and expires at `expires`.
    pub fn new(len: usize, key_len: usize, expires: Option<i64>, write: Write) -> Self {
        Self { len, key_len, at: None, changed: BTreeMap::new(), expires, write }
    }

    /// Keeps the parts that lie in `touched`, which is about to change.
    pub fn preserve(&mut self, bytes: &[u8], touched: Range<usize>) {
        let (most, last) = bounds(self.len, self.key_len);
        let end = touched.end.min(self.len);
        for place in (touched.start / most * most..end).step_by(most) {
            let written = self.at.is_some_and(|at| place < at || place == last);
            if !written {
                self.changed.entry(place).or_insert_with(|| bytes[place..(place + most).min(self.len)].into());
            }
        }
    }

    /// Writes the next piece behind `out`; whether there are more.
    pub fn next(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let (most, last) = bounds(self.len, self.key_len);
        let place = self.at.unwrap_or(last);
        let kept = self.changed.remove(&place);
        let part = kept.as_deref().unwrap_or_else(|| &bytes[place..(place + most).min(self.len)]);
        (self.write)(Piece::Part { at: place, bytes: part }, out);
        let next = self.at.map_or(0, |at| at + most);
        self.at = Some(next);
        if let (true, Some(at)) = (next >= last, self.expires) {
            (self.write)(Piece::Expiry(at), out);
        }
        next < last
    }
}

impl fmt::Debug for StringWalk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StringWalk({} bytes, at {:?})", self.len, self.at)
    }
}

/// Bytes of a part of a string, and where its last one stands.
fn bounds(len: usize, key_len: usize) -> (usize, usize) {
    let most = Room::new(key_len).bytes_max;
    (most, len.saturating_sub(1) / most * most)
}

/// A large list as it was at one moment, apart from the one that goes on changing: what is left of it.
#[derive(Debug)]
pub struct Frozen(FrozenList);

impl Frozen {
    /// Gives the next piece of the value of a key of this length to `write`; whether there are more.
    pub fn next(&mut self, key_len: usize, write: impl FnOnce(Piece<'_>)) -> bool {
        let mut room = Room::new(key_len);
        self.0.next(|entry| room.takes(text_bytes(entry)), |items| write(Piece::Items(Kind::List, items)));
        !self.0.is_empty()
    }
}

impl Stored {
    /// Whether it is too large to be written at once.
    pub fn is_large(&self) -> bool {
        self.as_ref().exceeds(SNAPSHOT_VALUE_ITEMS_MAX, SNAPSHOT_VALUE_BYTES_MAX)
    }

    /// What it holds now, apart from it, if it is a large list. Nothing is copied but what is changed afterwards.
    pub fn freeze(&mut self) -> Option<Frozen> {
        if let Self::List(list) = self { list.freeze().map(Frozen) } else { None }
    }

    /// Its hash table, if it is a set or hash that is one.
    pub fn table_mut(&mut self) -> Option<&mut ByteTable> {
        match self {
            Self::String(_) | Self::List(_) => None,
            Self::Set(set) => set.table_mut(),
            Self::Hash(hash) => hash.table_mut(),
        }
    }

    /// Whether a snapshot of it alone is under way.
    #[inline]
    pub fn has_snapshot(&self) -> bool {
        match self {
            Self::String(large) => large.has_snapshot(),
            Self::List(_) => false,
            Self::Set(set) => set.table().is_some_and(ByteTable::has_snapshot),
            Self::Hash(hash) => hash.table().is_some_and(ByteTable::has_snapshot),
        }
    }
}

fn table_exceeds(table: &ByteTable, items: usize, bytes: usize) -> bool {
    if table.len() > items {
        return true;
    }
    let mut left = bytes;
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
    use crate::types::list::{List, NodeLimit, Side};
    use crate::types::{LargeString, StringRef};

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
    fn a_string_that_changes_is_written_as_it_was() {
        for written in 0..4 {
            let before: Vec<u8> = (0..3 * PIECE_BYTES_MAX + 100).map(|number| (number % 251) as u8).collect();
            let mut string = LargeString::new(before.clone());
            let write = |piece: Piece<'_>, out: &mut Vec<u8>| match piece {
                Piece::Part { at, bytes } => {
                    out.resize(out.len().max(at + bytes.len()), 0);
                    out[at..at + bytes.len()].copy_from_slice(bytes);
                }
                _ => out.push(b'!'),
            };
            string.begin_snapshot(StringWalk::new(before.len(), 1, Some(7), Box::new(write)));
            let mut out = Vec::new();
            (0..written).for_each(|_| assert!(string.step_snapshot(&mut out)));
            let address = string.as_slice().as_ptr();
            string.edit(PIECE_BYTES_MAX - 1..PIECE_BYTES_MAX + 1, |bytes| bytes[PIECE_BYTES_MAX - 1..][..2].fill(255));
            string.edit(before.len() - 1..before.len() + 1, |bytes| *bytes.last_mut().unwrap() = 255);
            assert_eq!(string.as_slice().as_ptr(), address, "it is not copied");
            string.edit(0..0, |bytes| bytes.extend_from_slice(b"more"));
            assert!(string.has_snapshot());
            let mut copy = string.part_with_snapshot().expect("it is under way");
            assert!(!string.has_snapshot());
            string.edit(0..1, |bytes| bytes[0] = 255);
            while copy.step_snapshot(&mut out) {}
            assert_eq!(out.pop(), Some(b'!'));
            assert!(out == before && !copy.has_snapshot(), "{written} parts written before");
        }
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
        let mut frozen = Frozen(list.freeze().expect("it has many nodes"));
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
