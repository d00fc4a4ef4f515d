//! One node of a quicklist: a listpack with its element count, or a single element too large for one.
//!
//! A listpack may be shared with a list that was frozen. It is copied by the first change, or taken back if nobody else has
//! it any more.

use super::{Entry, NodeLimit, Side};
use crate::stdx::allocation;
use crate::structures::listpack::{Element, Listpack, Position, entry_size};
use bytes::Bytes;
use std::sync::Arc;

/// A listpack and its number of elements, or one large element. 16 bytes.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Elements in a listpack; the count saves reading it while an index is looked for.
    Pack(Listpack, u32),
    /// The same, where a frozen list may have it too.
    Shared(Arc<Listpack>, u32),
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
            Self::Pack(_, count) | Self::Shared(_, count) => *count as usize,
            Self::Large(_) => 1,
        }
    }

    /// The listpack, if it is one.
    #[inline]
    pub fn pack(&self) -> Option<&Listpack> {
        match self {
            Self::Pack(pack, _) => Some(pack),
            Self::Shared(pack, _) => Some(pack),
            Self::Large(_) => None,
        }
    }

    /// The listpack and its number of elements, for changing.
    #[inline]
    pub fn pack_mut(&mut self) -> Option<(&mut Listpack, &mut u32)> {
        if let Self::Shared(..) = self {
            self.own();
        }
        if let Self::Pack(pack, count) = self { Some((pack, count)) } else { None }
    }

    /// Has what was shared for itself again.
    #[cold]
    fn own(&mut self) {
        if let Self::Shared(pack, count) = self {
            let (shared, count) = (std::mem::take(pack), *count);
            *self = Self::Pack(Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone()), count);
        }
    }

    /// The same elements, ready to be shared with a frozen list: a change copies them first.
    pub fn into_shared(self) -> Self {
        if let Self::Pack(pack, count) = self { Self::Shared(Arc::new(pack), count) } else { self }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Pack(pack, _) => pack.memory_bytes(),
            Self::Shared(pack, _) => pack.memory_bytes(),
            Self::Large(large) => size_of::<Bytes>() + large.len(),
        }
    }

    /// Bytes that it takes of the allocator.
    pub fn allocated_bytes(&self) -> usize {
        match self {
            Self::Pack(pack, _) => pack.allocated_bytes(),
            Self::Shared(pack, _) => allocation::class(3 * size_of::<usize>()) + pack.allocated_bytes(),
            Self::Large(large) => allocation::class(size_of::<Bytes>()) + allocation::class(large.len()),
        }
    }

    /// The pack, if one more element has its place in it.
    #[inline]
    pub fn pack_with_room(&mut self, element: Element<'_>, limit: NodeLimit) -> Option<(&mut Listpack, &mut u32)> {
        let (pack, count) = match self {
            Self::Pack(pack, count) => (&*pack, *count),
            Self::Shared(pack, count) => (&**pack, *count),
            Self::Large(_) => return None,
        };
        let fits = pack.byte_len() + entry_size(element) <= limit.fill_bytes && (count as usize) < limit.elements;
        if fits { self.pack_mut() } else { None }
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
        // The owner drops a node of one large element.
        let Some((pack, len)) = self.pack_mut() else { return count.min(1) };
        let removed = pack.seek(start as i64).map_or(0, |at| pack.remove_range(at, count));
        *len -= removed as u32;
        removed
    }

    /// Cuts the elements from `position` on off into a node of their own.
    pub fn split_off(&mut self, position: Position) -> Self {
        let (pack, count) = self.pack_mut().expect("only a pack has an inside");
        let tail = pack.split_off(position);
        let moved = tail.len() as u32;
        *count -= moved;
        Self::Pack(tail, moved)
    }

    /// Takes the elements of `next` behind its own if both are small enough for a long while of growing afterwards.
    pub fn absorb(&mut self, next: &Self, limit: NodeLimit) -> bool {
        let (Some(own), Some(other)) = (self.pack(), next.pack()) else { return false };
        let few = self.len() + next.len() <= limit.elements.div_ceil(2);
        let small = own.byte_len() + other.byte_len() <= limit.fill_bytes / 2;
        if few
            && small
            && let Some((pack, count)) = self.pack_mut()
        {
            pack.append(other);
            *count += next.len() as u32;
        }
        few && small
    }

    /// How many of its elements equal `wanted`.
    pub fn count_equal(&self, wanted: Element<'_>) -> usize {
        match self {
            Self::Large(large) => usize::from(Entry::Large(large).equals(wanted)),
            _ => self.pack().map_or(0, |pack| pack.iter().filter(|element| *element == wanted).count()),
        }
    }
}
