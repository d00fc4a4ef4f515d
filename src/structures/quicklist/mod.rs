//! Quicklist: a list as a chain of listpacks of bounded size. Both ends are cheap to change, the inside costs one node's
//! bytes, an index costs a look at each node's count.
//!
//! The chain is a ring buffer of 16-byte nodes, not linked ones: finding an index runs through few cache lines. No node
//! is empty. Small neighbours that a removal or a split leaves behind are joined.

mod frozen;
mod iter;
mod node;
#[cfg(test)]
mod tests;

pub use frozen::FrozenList;
pub use iter::Iter;

use super::listpack::{Element, Listpack, Position};
use super::sampled;
use crate::stdx::allocation;
use bytes::Bytes;
use node::Node;
use std::collections::VecDeque;

/// How large a node may grow, as `list-max-listpack-size` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimit {
    /// Most bytes of a node; a longer element has a node of its own.
    pub bytes: usize,
    /// Most elements of a node; `usize::MAX` when the directive limits bytes.
    pub elements: usize,
    /// Bytes up to which a node is filled: a little less than `bytes`, so that its block stays inside the size class of
    /// the allocator.
    fill_bytes: usize,
}

impl NodeLimit {
    /// Most bytes of a node whose elements are limited, as in Redis.
    const BYTES_WITH_ELEMENT_LIMIT: usize = 8192;

    /// The limit that the directive's value says: positive: elements; -1 to -5: 4, 8, 16, 32, 64 KiB. What lies below
    /// counts as -5, and 0 as 1.
    pub fn new(directive: i32) -> Self {
        let (bytes, elements) = match directive {
            0.. => (Self::BYTES_WITH_ELEMENT_LIMIT, directive.max(1) as usize),
            _ => (4096 << (directive.max(-5).unsigned_abs() - 1), usize::MAX),
        };
        Self { bytes, elements, fill_bytes: bytes - bytes / 64 - 8 }
    }

    /// Whether it limits the number of elements.
    pub fn by_elements(&self) -> bool {
        self.elements != usize::MAX
    }

    /// Whether `value` needs a node of its own.
    #[inline]
    pub fn is_large(&self, value: &[u8]) -> bool {
        value.len() > self.bytes
    }
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the first element stands.
    Left,
    /// Where the last element stands.
    Right,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// An element where it lies.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// An integer.
    Int(i64),
    /// Any other bytes.
    Bytes(&'a [u8]),
    /// A large element, which replies may share.
    Large(&'a Bytes),
}

impl<'a> Entry<'a> {
    /// Its bytes; `digits` holds them when it is an integer.
    #[inline]
    pub fn bytes<'b>(&self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(integer) => digits.format(integer).as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Large(large) => large,
        }
    }

    /// A copy of its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// A copy of it; a large one is shared.
    pub fn to_owned(&self) -> OwnedEntry {
        match *self {
            Self::Int(integer) => OwnedEntry::Int(integer),
            Self::Bytes(bytes) => OwnedEntry::Bytes(bytes.to_vec()),
            Self::Large(large) => OwnedEntry::Large(large.clone()),
        }
    }

    /// Whether it is `wanted`.
    #[inline]
    pub fn equals(&self, wanted: Element<'_>) -> bool {
        match (*self, wanted) {
            (Self::Int(own), Element::Int(other)) => own == other,
            (Self::Bytes(own), Element::Bytes(other)) => own == other,
            (Self::Large(own), Element::Bytes(other)) => own == other,
            _ => false,
        }
    }
}

impl<'a> From<&'a [u8]> for Entry<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        match Element::from(bytes) {
            Element::Int(integer) => Self::Int(integer),
            Element::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// Where an element stands. Any change to the list may make it point elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) node: usize,
    pub(crate) at: Position,
}

impl<'a> From<Element<'a>> for Entry<'a> {
    #[inline]
    fn from(element: Element<'a>) -> Self {
        match element {
            Element::Int(integer) => Self::Int(integer),
            Element::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// An element of its own.
#[derive(Clone, Debug)]
pub enum OwnedEntry {
    /// An integer.
    Int(i64),
    /// Any other bytes.
    Bytes(Vec<u8>),
    /// A large element, shared.
    Large(Bytes),
}

impl OwnedEntry {
    /// A view of it.
    pub fn as_entry(&self) -> Entry<'_> {
        match self {
            Self::Int(integer) => Entry::Int(*integer),
            Self::Bytes(bytes) => Entry::Bytes(bytes),
            Self::Large(large) => Entry::Large(large),
        }
    }
}

/// A list as a chain of nodes.
#[derive(Clone, Debug, Default)]
pub struct Quicklist {
    nodes: VecDeque<Node>,
    len: usize,
}

impl Quicklist {
    /// A list without elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// A list of the elements of `pack`, as its first node.
    pub fn from_pack(pack: Listpack) -> Self {
        let len = pack.len();
        let nodes = if len == 0 { VecDeque::new() } else { VecDeque::from([Node::Pack(pack, len as u32)]) };
        Self { nodes, len }
    }

    /// Its only node, if it has just one and that is a listpack.
    pub fn only_pack(&self) -> Option<&Listpack> {
        if self.nodes.len() == 1 { self.nodes.front()?.pack() } else { None }
    }

    /// Takes that node out.
    pub fn take_only_pack(&mut self) -> Option<Listpack> {
        self.only_pack()?;
        self.len = 0;
        let mut node = self.nodes.pop_front()?;
        node.pack_mut().map(|(pack, _)| std::mem::take(pack))
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it holds now, apart from it: whatever changes here is copied first. Takes as long as its nodes are many.
    pub fn freeze(&mut self) -> FrozenList {
        self.nodes = std::mem::take(&mut self.nodes).into_iter().map(Node::into_shared).collect();
        FrozenList::new(self.nodes.clone())
    }

    /// Number of nodes.
    pub fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes it has allocated.
    pub fn memory_bytes(&self) -> usize {
        let nodes: usize = self.nodes.iter().map(Node::memory_bytes).sum();
        self.nodes.capacity() * size_of::<Node>() + nodes
    }

    /// Bytes that it takes of the allocator, judged by the first `samples` nodes.
    pub fn allocated_bytes(&self, samples: usize) -> usize {
        let nodes = sampled(self.nodes.len(), samples, self.nodes.iter().map(Node::allocated_bytes));
        allocation::class(self.nodes.capacity() * size_of::<Node>()) + nodes
    }

    /// Adds an element at one end.
    #[inline]
    pub fn push(&mut self, side: Side, entry: Entry<'_>, limit: NodeLimit) {
        self.len += 1;
        let end = match side {
            Side::Left => self.nodes.front_mut(),
            Side::Right => self.nodes.back_mut(),
        };
        if let (Some(node), Some(element)) = (end, small(entry, limit))
            && node.push(side, element, limit)
        {
            return;
        }
        match side {
            Side::Left => self.nodes.push_front(Node::of(entry, limit)),
            Side::Right => self.nodes.push_back(Node::of(entry, limit)),
        }
    }

    /// Node and number in it of element number `index`, which there must be. Looks from the nearer end.
    fn locate(&self, index: usize) -> (usize, usize) {
        debug_assert!(index < self.len);
        if index <= self.len / 2 {
            let mut first = 0;
            for (number, node) in self.nodes.iter().enumerate() {
                if index < first + node.len() {
                    return (number, index - first);
                }
                first += node.len();
            }
        } else {
            let mut first = self.len;
            for (number, node) in self.nodes.iter().enumerate().rev() {
                first -= node.len();
                if index >= first {
                    return (number, index - first);
                }
            }
        }
        unreachable!("the nodes hold as many elements as the list")
    }

    /// The element at one end.
    #[inline]
    pub fn end(&self, side: Side) -> Option<Entry<'_>> {
        let node = match side {
            Side::Left => self.nodes.front()?,
            Side::Right => self.nodes.back()?,
        };
        match node {
            Node::Pack(pack, _) => pack_end(pack, side),
            Node::Shared(pack, _) => pack_end(pack, side),
            Node::Large(large) => Some(Entry::Large(large)),
        }
    }

    /// The elements from number `index` on towards one side; none when there is no such element.
    pub fn iter_from(&self, index: usize, towards: Side) -> Iter<'_> {
        let (node, start) = if index < self.len { self.locate(index) } else { (self.nodes.len(), 0) };
        Iter::over_nodes(&self.nodes, node, start, towards)
    }

    /// Adds an element before or behind the one at `place`.
    pub fn insert(&mut self, place: Place, side: Side, entry: Entry<'_>, limit: NodeLimit) {
        let node = self.insert_apart(place, side, entry, limit);
        self.join_around(node, limit);
    }

    /// The same without joining nodes; the node that has changed. The element at `place` stays where it is unless the
    /// new one stands before it.
    fn insert_apart(&mut self, place: Place, side: Side, entry: Entry<'_>, limit: NodeLimit) -> usize {
        self.len += 1;
        let number = place.node;
        let behind = side == Side::Right;
        let (at_start, at_end, split_at) = match self.nodes[number].pack() {
            None => (!behind, behind, None),
            Some(pack) if behind => (false, pack.next(place.at).is_none(), pack.next(place.at)),
            Some(pack) => (pack.prev(place.at).is_none(), false, Some(place.at)),
        };
        if let Some(element) = small(entry, limit) {
            if let Some((pack, count)) = self.nodes[number].pack_with_room(element, limit) {
                *count += 1;
                match side {
                    Side::Left => pack.insert_before(place.at, element),
                    Side::Right => drop(pack.insert_after(place.at, element)),
                }
                return number;
            }
            if at_start && number > 0 && self.nodes[number - 1].push(Side::Right, element, limit) {
                return number;
            }
            if at_end && self.nodes.get_mut(number + 1).is_some_and(|next| next.push(Side::Left, element, limit)) {
                return number;
            }
        }
        let index = number + usize::from(!at_start);
        if let (false, false, Some(split_at)) = (at_start, at_end, split_at) {
            let tail = self.nodes[number].split_off(split_at);
            self.nodes.insert(index, tail);
            if let Some(element) = small(entry, limit)
                && self.nodes[number].push(Side::Right, element, limit)
            {
                return number;
            }
        }
        self.nodes.insert(index, Node::of(entry, limit));
        number
    }

    /// Puts another element in the place of the one at `place`.
    pub fn replace(&mut self, place: Place, entry: Entry<'_>, limit: NodeLimit) {
        let alone = self.nodes[place.node].len() == 1;
        match (self.nodes[place.node].pack_mut(), small(entry, limit)) {
            (Some((pack, count)), Some(element)) => {
                let old = super::listpack::entry_size(pack.get(place.at));
                let bytes = pack.byte_len() - old + super::listpack::entry_size(element);
                if bytes <= limit.fill_bytes || *count == 1 {
                    pack.replace(place.at, element);
                } else {
                    self.insert_apart(place, Side::Right, entry, limit);
                    self.remove_apart(place);
                }
            }
            _ if alone => self.nodes[place.node] = Node::of(entry, limit),
            _ => {
                self.insert_apart(place, Side::Right, entry, limit);
                self.remove_apart(place);
            }
        }
        self.join_around(place.node, limit);
    }

    fn remove_apart(&mut self, place: Place) {
        self.len -= 1;
        if self.nodes[place.node].len() > 1
            && let Some((pack, count)) = self.nodes[place.node].pack_mut()
        {
            pack.remove(place.at);
            *count -= 1;
        } else {
            self.nodes.remove(place.node);
        }
    }

    /// Removes the element at one end, if there is one.
    #[inline]
    pub fn remove_end(&mut self, side: Side) {
        let node = match side {
            Side::Left => self.nodes.front_mut(),
            Side::Right => self.nodes.back_mut(),
        };
        let Some(node) = node else { return };
        self.len -= 1;
        if node.len() > 1
            && let Some((pack, count)) = node.pack_mut()
        {
            let end = if side == Side::Left { pack.first() } else { pack.last() };
            pack.remove(end.expect("the count says so"));
            *count -= 1;
            return;
        }
        match side {
            Side::Left => self.nodes.pop_front(),
            Side::Right => self.nodes.pop_back(),
        };
        self.give_back_room();
    }

    /// Removes up to `count` elements from number `start` on; how many.
    pub fn remove_range(&mut self, start: usize, count: usize, limit: NodeLimit) -> usize {
        let count = count.min(self.len.saturating_sub(start));
        if count == 0 {
            return 0;
        }
        let (mut number, in_node) = self.locate(start);
        let mut left = count;
        if in_node > 0 {
            left -= self.nodes[number].remove_range(in_node, left);
            number += 1;
        }
        let mut whole = number;
        while left > 0 && self.nodes[whole].len() <= left {
            left -= self.nodes[whole].len();
            whole += 1;
        }
        self.nodes.drain(number..whole);
        if left > 0 {
            self.nodes[number].remove_range(0, left);
        }
        self.len -= count;
        self.join_around(number, limit);
        self.give_back_room();
        count
    }

    /// Removes elements that equal `value`, at most `max` of them counted from one side; how many.
    pub fn remove_equal(&mut self, value: Element<'_>, max: usize, from: Side, limit: NodeLimit) -> usize {
        let mut removed = 0;
        let mut number = 0;
        while number < self.nodes.len() && removed < max {
            let index = if from == Side::Left { number } else { self.nodes.len() - 1 - number };
            let node = &mut self.nodes[index];
            // From the right the last ones of a node go first.
            let skip = if from == Side::Left { 0 } else { node.count_equal(value).saturating_sub(max - removed) };
            removed += match node {
                Node::Large(large) if Entry::Large(large).equals(value) => {
                    *node = Node::Pack(Listpack::new(), 0);
                    1
                }
                // What is shared is copied only for a change.
                Node::Shared(..) if node.count_equal(value) == 0 => 0,
                _ => node.pack_mut().map_or(0, |(pack, count)| {
                    let removed = pack.remove_equal(value, skip, max - removed);
                    *count -= removed as u32;
                    removed
                }),
            };
            number += 1;
        }
        if removed > 0 {
            self.len -= removed;
            self.compact(limit);
        }
        removed
    }

    /// Drops empty nodes and joins small neighbours, in one pass.
    fn compact(&mut self, limit: NodeLimit) {
        let nodes = std::mem::take(&mut self.nodes);
        for node in nodes {
            if node.len() > 0 && !self.nodes.back_mut().is_some_and(|before| before.absorb(&node, limit)) {
                self.nodes.push_back(node);
            }
        }
    }

    /// Joins small neighbours around node `number`, whose content has just been divided or thinned out.
    fn join_around(&mut self, number: usize, limit: NodeLimit) {
        for left in (number.saturating_sub(1)..=number + 1).rev() {
            if left + 1 < self.nodes.len() {
                let mut pair = self.nodes.range_mut(left..left + 2);
                let (node, next) = (pair.next().expect("in range"), pair.next().expect("in range"));
                if node.absorb(next, limit) {
                    self.nodes.remove(left + 1);
                }
            }
        }
    }

    fn give_back_room(&mut self) {
        if self.nodes.capacity() > 64 && self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }
}

/// The element at one end of a listpack.
#[inline]
pub fn pack_end(pack: &Listpack, side: Side) -> Option<Entry<'_>> {
    let at = if side == Side::Left { pack.first() } else { pack.last() };
    Some(pack.get(at?).into())
}

/// The element, unless it needs a node of its own.
#[inline]
fn small(entry: Entry<'_>, limit: NodeLimit) -> Option<Element<'_>> {
    match entry {
        Entry::Int(integer) => Some(Element::Int(integer)),
        Entry::Bytes(bytes) if !limit.is_large(bytes) => Some(Element::Bytes(bytes)),
        Entry::Bytes(_) | Entry::Large(_) => None,
    }
}
