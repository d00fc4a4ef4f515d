//! Lists. A small list is one listpack, a large one a quicklist. A list that grows beyond what one node may hold becomes
//! a quicklist; one that shrinks to a single node of at most half that becomes a listpack again, so that a list at the
//! edge does not change back and forth.

use crate::stdx::allocation;
use crate::structures::listpack::{Element, Listpack};
use crate::structures::quicklist::{FrozenList, Iter, Quicklist, pack_end};

pub use crate::structures::quicklist::{Entry, NodeLimit, OwnedEntry, Place, Side};

/// A list of byte strings; 16 bytes.
#[derive(Clone, Debug, Default)]
pub struct List {
    encoding: Encoding,
}

#[derive(Clone, Debug)]
enum Encoding {
    Listpack(Listpack),
    Quicklist(Box<Quicklist>),
}

impl Default for Encoding {
    fn default() -> Self {
        Self::Listpack(Listpack::new())
    }
}

impl List {
    /// A list without elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// OBJECT ENCODING's name.
    pub fn encoding(&self) -> &'static str {
        match self.encoding {
            Encoding::Listpack(_) => "listpack",
            Encoding::Quicklist(_) => "quicklist",
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.encoding {
            Encoding::Listpack(pack) => pack.len(),
            Encoding::Quicklist(chain) => chain.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        match &self.encoding {
            Encoding::Listpack(pack) => pack.is_empty(),
            Encoding::Quicklist(chain) => chain.is_empty(),
        }
    }

    /// Number of pieces it lies in.
    pub fn nodes_len(&self) -> usize {
        match &self.encoding {
            Encoding::Listpack(_) => 1,
            Encoding::Quicklist(chain) => chain.nodes_len(),
        }
    }

    /// What it holds now, apart from it, if it is a quicklist.
    pub fn freeze(&mut self) -> Option<FrozenList> {
        if let Encoding::Quicklist(chain) = &mut self.encoding { Some(chain.freeze()) } else { None }
    }

    /// Bytes it has allocated.
    pub fn memory_bytes(&self) -> usize {
        match &self.encoding {
            Encoding::Listpack(pack) => pack.memory_bytes(),
            Encoding::Quicklist(chain) => size_of::<Quicklist>() + chain.memory_bytes(),
        }
    }

    /// Bytes that it takes of the allocator beside itself, judged by the first `samples` nodes.
    pub fn allocated_bytes(&self, samples: usize) -> usize {
        match &self.encoding {
            Encoding::Listpack(pack) => pack.allocated_bytes(),
            Encoding::Quicklist(chain) => allocation::class(size_of::<Quicklist>()) + chain.allocated_bytes(samples),
        }
    }

    /// The elements from the first on.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0, Side::Right)
    }

    /// The elements from number `index` on towards one side; none when there is no such element.
    #[inline]
    pub fn iter_from(&self, index: usize, towards: Side) -> Iter<'_> {
        match &self.encoding {
            Encoding::Listpack(pack) => Iter::over_pack(pack, index, towards),
            Encoding::Quicklist(chain) => chain.iter_from(index, towards),
        }
    }

    /// The elements from the one at one end on towards the other end.
    pub fn iter_from_end(&self, side: Side) -> Iter<'_> {
        match side {
            Side::Left => self.iter_from(0, Side::Right),
            Side::Right => self.iter_from(self.len().saturating_sub(1), Side::Left),
        }
    }

    /// The element at one end.
    #[inline]
    pub fn end(&self, side: Side) -> Option<Entry<'_>> {
        match &self.encoding {
            Encoding::Listpack(pack) => pack_end(pack, side),
            Encoding::Quicklist(chain) => chain.end(side),
        }
    }

    /// From an index that may be negative, -1 being the last, to one from the first on; `None` when there is no such
    /// element.
    pub fn index(&self, index: i64) -> Option<usize> {
        let len = self.len() as i64;
        let from_first = if index < 0 { index + len } else { index };
        (0..len).contains(&from_first).then_some(from_first as usize)
    }

    /// Adds elements at one end, one after the other.
    #[inline]
    pub fn push<'e>(&mut self, side: Side, values: impl Iterator<Item = &'e [u8]> + Clone, limit: NodeLimit) {
        if let Encoding::Listpack(_) = self.encoding {
            let (bytes, count) = values.clone().fold((0, 0), |(bytes, count), value| (bytes + value.len(), count + 1));
            self.grow(bytes, count, limit);
        }
        match &mut self.encoding {
            Encoding::Listpack(pack) => values.for_each(|value| push_to_pack(pack, side, value.into())),
            Encoding::Quicklist(chain) => values.for_each(|value| chain.push(side, value.into(), limit)),
        }
    }

    /// Adds one element at one end.
    pub fn push_entry(&mut self, side: Side, entry: Entry<'_>, limit: NodeLimit) {
        self.grow(entry.bytes(&mut itoa::Buffer::new()).len(), 1, limit);
        match &mut self.encoding {
            Encoding::Listpack(pack) => push_to_pack(pack, side, element(entry)),
            Encoding::Quicklist(chain) => chain.push(side, entry, limit),
        }
    }

    /// Adds `value` before or behind the first element that equals `pivot`; whether there is one.
    pub fn insert(&mut self, pivot: &[u8], side: Side, value: &[u8], limit: NodeLimit) -> bool {
        self.grow(value.len(), 1, limit);
        let pivot = Element::from(pivot);
        let mut iter = self.iter();
        let place = loop {
            match iter.next_with_place() {
                Some((place, entry)) if entry.equals(pivot) => break place,
                Some(_) => {}
                None => return false,
            }
        };
        match (&mut self.encoding, side) {
            (Encoding::Listpack(pack), Side::Left) => pack.insert_before(place.at, value),
            (Encoding::Listpack(pack), Side::Right) => drop(pack.insert_after(place.at, value)),
            (Encoding::Quicklist(chain), _) => chain.insert(place, side, value.into(), limit),
        }
        true
    }

    /// Puts `value` in the place of element number `index`, which there must be.
    pub fn set(&mut self, index: usize, value: &[u8], limit: NodeLimit) {
        self.grow(value.len(), 1, limit);
        let (place, _) =
            self.iter_from(index, Side::Right).next_with_place().expect("the caller has checked the index");
        match &mut self.encoding {
            Encoding::Listpack(pack) => pack.replace(place.at, value),
            Encoding::Quicklist(chain) => chain.replace(place, value.into(), limit),
        }
        self.shrink(limit);
    }

    /// Removes the element at one end, if there is one.
    #[inline]
    pub fn remove_end(&mut self, side: Side, limit: NodeLimit) {
        match &mut self.encoding {
            Encoding::Listpack(pack) => {
                let end = if side == Side::Left { pack.first() } else { pack.last() };
                if let Some(end) = end {
                    pack.remove(end);
                }
            }
            Encoding::Quicklist(chain) => {
                chain.remove_end(side);
                self.shrink(limit);
            }
        }
    }

    /// Takes the element at one end out.
    pub fn pop(&mut self, side: Side, limit: NodeLimit) -> Option<OwnedEntry> {
        let popped = self.end(side)?.to_owned();
        self.remove_end(side, limit);
        Some(popped)
    }

    /// Removes up to `count` elements from one end; how many.
    pub fn remove_from_end(&mut self, side: Side, count: usize, limit: NodeLimit) -> usize {
        match side {
            Side::Left => self.remove_range(0, count, limit),
            Side::Right => self.remove_range(self.len().saturating_sub(count), count, limit),
        }
    }

    /// Removes up to `count` elements from number `start` on; how many.
    pub fn remove_range(&mut self, start: usize, count: usize, limit: NodeLimit) -> usize {
        match &mut self.encoding {
            Encoding::Listpack(pack) => pack.seek(start as i64).map_or(0, |at| pack.remove_range(at, count)),
            Encoding::Quicklist(chain) => {
                let removed = chain.remove_range(start, count, limit);
                self.shrink(limit);
                removed
            }
        }
    }

    /// Removes elements that equal `value`, at most `max` of them counted from one side; how many.
    pub fn remove_equal(&mut self, value: &[u8], max: usize, from: Side, limit: NodeLimit) -> usize {
        let value = Element::from(value);
        match &mut self.encoding {
            Encoding::Listpack(pack) => {
                let skip = match from {
                    Side::Left => 0,
                    Side::Right => pack.iter().filter(|element| *element == value).count().saturating_sub(max),
                };
                pack.remove_equal(value, skip, max)
            }
            Encoding::Quicklist(chain) => {
                let removed = chain.remove_equal(value, max, from, limit);
                self.shrink(limit);
                removed
            }
        }
    }

    /// Becomes a quicklist if it could not stay a listpack with this much more. As Redis, it counts the bytes of the
    /// values alone, and of those that replace others too.
    #[inline]
    fn grow(&mut self, bytes: usize, elements: usize, limit: NodeLimit) {
        let Encoding::Listpack(pack) = &mut self.encoding else { return };
        if pack.byte_len() + bytes > limit.bytes || (limit.by_elements() && pack.len() + elements > limit.elements) {
            self.encoding = Encoding::Quicklist(Box::new(Quicklist::from_pack(std::mem::take(pack))));
        }
    }

    /// Becomes a listpack if one node is left and that is at most half as large as a listpack may be.
    #[inline]
    fn shrink(&mut self, limit: NodeLimit) {
        let Encoding::Quicklist(chain) = &mut self.encoding else { return };
        let Some(pack) = chain.only_pack() else { return };
        let small =
            if limit.by_elements() { chain.len() <= limit.elements / 2 } else { pack.byte_len() <= limit.bytes / 2 };
        if small && let Some(pack) = chain.take_only_pack() {
            self.encoding = Encoding::Listpack(pack);
        }
    }
}

fn push_to_pack(pack: &mut Listpack, side: Side, element: Element<'_>) {
    match side {
        Side::Left => pack.push_front(element),
        Side::Right => pack.push_back(element),
    }
}

fn element(entry: Entry<'_>) -> Element<'_> {
    match entry {
        Entry::Int(integer) => Element::Int(integer),
        Entry::Bytes(bytes) => Element::Bytes(bytes),
        Entry::Large(large) => Element::Bytes(large),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::random::Random;

    fn list(values: &[&[u8]], limit: NodeLimit) -> List {
        let mut list = List::new();
        list.push(Side::Right, values.iter().copied(), limit);
        list
    }

    #[test]
    fn is_two_words_wide() {
        assert_eq!(size_of::<List>(), 16);
    }

    #[test]
    fn grows_into_a_quicklist_when_elements_are_limited() {
        let limit = NodeLimit::new(5);
        let five: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
        let changes: [fn(&mut List, NodeLimit); 4] = [
            |list, limit| list.push(Side::Right, [&b"f"[..]].into_iter(), limit),
            |list, limit| assert!(list.insert(b"b", Side::Right, b"x", limit)),
            |list, limit| list.set(0, b"x", limit),
            |list, limit| list.push_entry(Side::Left, Entry::Int(7), limit),
        ];
        for change in changes {
            let mut list = list(&five, limit);
            assert_eq!(list.encoding(), "listpack");
            change(&mut list, limit);
            assert_eq!(list.encoding(), "quicklist");
        }
        assert_eq!(list(&[&b"1"[..]; 6], limit).encoding(), "quicklist");
    }

    #[test]
    fn grows_into_a_quicklist_when_bytes_are_limited() {
        let limit = NodeLimit::new(-1);
        assert_eq!(list(&[b"a", &[b'x'; 4000]], limit).encoding(), "listpack");
        assert_eq!(list(&[b"a", &[b'x'; 4088]], limit).encoding(), "listpack");
        assert_eq!(list(&[b"a", &[b'x'; 4089]], limit).encoding(), "quicklist");
        assert_eq!(list(&[b"a", b"b", &[b'x'; 4096]], limit).encoding(), "quicklist");
    }

    #[test]
    fn shrinks_into_a_listpack_at_half_the_limit() {
        let limit = NodeLimit::new(4);
        let values: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
        let mut shrinking = list(&values, limit);
        shrinking.remove_end(Side::Right, limit);
        shrinking.remove_end(Side::Right, limit);
        assert_eq!((shrinking.len(), shrinking.encoding()), (3, "quicklist"));
        shrinking.remove_end(Side::Right, limit);
        assert_eq!((shrinking.len(), shrinking.encoding()), (2, "listpack"));
        let mut trimmed = list(&values, limit);
        trimmed.remove_range(2, 3, limit);
        assert_eq!(trimmed.encoding(), "listpack");
        let limit = NodeLimit::new(-1);
        let large = vec![b'x'; 5000];
        for index in [0, 1] {
            let mut values: [&[u8]; 2] = [b"a", b"b"];
            values[index] = &large;
            let mut removed = list(&values, limit);
            assert_eq!(removed.remove_equal(&large, 1, Side::Right, limit), 1);
            assert_eq!(removed.encoding(), "listpack");
            let mut replaced = list(&values, limit);
            replaced.set(index, b"small", limit);
            assert_eq!((replaced.encoding(), replaced.len()), ("listpack", 2));
        }
    }

    #[test]
    fn agrees_with_a_vector_through_all_conversions() {
        for seed in 0..40 {
            let mut random = Random::new(seed);
            let limit = NodeLimit::new([-1, 3, 16][random.below(3)]);
            let (mut list, mut model) = (List::new(), Vec::<Vec<u8>>::new());
            for _ in 0..500 {
                step(&mut random, &mut list, &mut model, limit);
                assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()), "seed {seed}");
            }
            assert!(list.iter().map(|entry| entry.to_vec()).eq(model), "seed {seed}");
        }
    }

    fn step(random: &mut Random, list: &mut List, model: &mut Vec<Vec<u8>>, limit: NodeLimit) {
        let value = match random.below(20) {
            0 => vec![b'x'; 5000],
            1 => vec![b'y'; 1500],
            number => (number % 6).to_string().into_bytes(),
        };
        let side = [Side::Left, Side::Right][random.below(2)];
        let index = random.below(model.len().max(1));
        match random.below(if model.is_empty() { 2 } else { 9 }) {
            0 | 1 => {
                list.push(side, [&value[..], b"next"].into_iter(), limit);
                let at = if side == Side::Left { 0 } else { model.len() };
                model.insert(at, value);
                model.insert(at + usize::from(side == Side::Right), b"next".to_vec());
            }
            2 => {
                list.set(index, &value, limit);
                model[index] = value;
            }
            3 => {
                let found = model.iter().position(|other| *other == value);
                assert_eq!(list.insert(&value, side, b"near", limit), found.is_some());
                if let Some(found) = found {
                    model.insert(found + usize::from(side == Side::Right), b"near".to_vec());
                }
            }
            4 | 5 => {
                let popped = list.pop(side, limit).map(|popped| popped.as_entry().to_vec());
                assert_eq!(popped, Some(model.remove(if side == Side::Left { 0 } else { model.len() - 1 })));
            }
            6 => {
                let count = random.below(10);
                let range = match side {
                    Side::Left => 0..count.min(model.len()),
                    Side::Right => model.len().saturating_sub(count)..model.len(),
                };
                assert_eq!(list.remove_from_end(side, count, limit), model.drain(range).count());
            }
            7 => {
                let before = model.len();
                model.retain(|other| *other != value);
                assert_eq!(list.remove_equal(&value, usize::MAX, side, limit), before - model.len());
            }
            _ => {
                assert_eq!(list.index(index as i64 - model.len() as i64), Some(index));
                let entry = list.iter_from(index, side).next().map(|entry| entry.to_vec());
                assert_eq!(entry.as_ref(), model.get(index));
            }
        }
    }
}
