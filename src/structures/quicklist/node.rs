//! One node of a quicklist: a listpack with its element count, or a single element too large for one.

use super::{Entry, NodeLimit, Side};
use crate::stdx::allocation;
use crate::structures::listpack::{Element, Listpack, Position, entry_size};
use bytes::Bytes;

/// A listpack and its number of elements, or one large element. 16 bytes.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Elements in a listpack; the count saves reading it while an index is looked for.
    Pack(Listpack, u32),
    /// An element above the byte limit, which replies may share.
    Large(Box<Bytes>),
}

impl Node {
    /// A node that holds one element.
    pub fn of(entry: Entry<'_>, limit: NodeLimit) -> Self {
        match entry {
            Entry::Large(shared) => Self::Large(Box::new(shared.clone())),
            Entry::Bytes(bytes) if limit.is_large(bytes) => Self::Large(Box::new(Bytes::copy_from_slice(bytes))),
            Entry::Bytes(bytes) => Self::single(Element::Bytes(bytes)),
            Entry::Int(integer) => Self::single(Element::Int(integer)),
        }
    }

    fn single(element: Element<'_>) -> Self {
        let mut pack = Listpack::new();
        pack.push_back(element);
        Self::Pack(pack, 1)
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Pack(_, count) => *count as usize,
            Self::Large(_) => 1,
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Pack(pack, _) => pack.memory_bytes(),
            Self::Large(large) => size_of::<Bytes>() + large.len(),
        }
    }

    /// Bytes that it takes of the allocator.
    pub fn allocated_bytes(&self) -> usize {
        match self {
            Self::Pack(pack, _) => pack.allocated_bytes(),
            Self::Large(large) => allocation::class(size_of::<Bytes>()) + allocation::class(large.len()),
        }
    }

    /// The pack, if one more element has its place in it.
    #[inline]
    pub fn pack_with_room(&mut self, element: Element<'_>, limit: NodeLimit) -> Option<(&mut Listpack, &mut u32)> {
        let Self::Pack(pack, count) = self else { return None };
        let fits = pack.byte_len() + entry_size(element) <= limit.fill_bytes && (*count as usize) < limit.elements;
        fits.then_some((pack, count))
    }

    /// Adds an element at one end, if it has its place there.
    #[inline]
    pub fn push(&mut self, side: Side, element: Element<'_>, limit: NodeLimit) -> bool {
        let Some((pack, count)) = self.pack_with_room(element, limit) else { return false };
        match side {
            Side::Left => pack.push_front(element),
            Side::Right => pack.push_back(element),
        }
        *count += 1;
        true
    }

    /// Removes up to `count` elements from element number `start` on; how many.
    pub fn remove_range(&mut self, start: usize, count: usize) -> usize {
        match self {
            Self::Pack(pack, len) => {
                let removed = pack.seek(start as i64).map_or(0, |at| pack.remove_range(at, count));
                *len -= removed as u32;
                removed
            }
            // Its owner drops the node.
            Self::Large(_) => count.min(1),
        }
    }

    /// Cuts the elements from `position` on off into a node of their own.
    pub fn split_off(&mut self, position: Position) -> Self {
        let Self::Pack(pack, count) = self else { unreachable!("only a pack has an inside") };
        let tail = pack.split_off(position);
        let moved = tail.len() as u32;
        *count -= moved;
        Self::Pack(tail, moved)
    }

    /// Takes the elements of `next` behind its own if both are small enough for a long while of growing afterwards.
    pub fn absorb(&mut self, next: &Self, limit: NodeLimit) -> bool {
        let (Self::Pack(pack, count), Self::Pack(next, next_count)) = (self, next) else { return false };
        let few = (*count + *next_count) as usize <= limit.elements.div_ceil(2);
        let small = pack.byte_len() + next.byte_len() <= limit.fill_bytes / 2;
        if few && small {
            pack.append(next);
            *count += *next_count;
        }
        few && small
    }

    /// How many of its elements equal `wanted`.
    pub fn count_equal(&self, wanted: Element<'_>) -> usize {
        match self {
            Self::Pack(pack, _) => pack.iter().filter(|element| *element == wanted).count(),
            Self::Large(large) => usize::from(Entry::Large(large).equals(wanted)),
        }
    }
}
