//! Walking a quicklist from any element in either direction.

use super::{Entry, Place, Side, node::Node};
use crate::structures::listpack::{self, Listpack, Position};
use bytes::Bytes;
use std::collections::VecDeque;

/// What is left of the node that is walked.
#[derive(Clone, Debug)]
enum Walk<'a> {
    Pack(listpack::Iter<'a>),
    Large(Option<&'a Bytes>),
}

/// Elements one after another, towards one side.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    walk: Walk<'a>,
    node: usize,
    /// The chain, unless a single listpack is walked.
    nodes: Option<&'a VecDeque<Node>>,
    towards: Side,
}

impl<'a> Iter<'a> {
    /// The elements of a single listpack, from element number `start` on towards one side.
    pub fn over_pack(pack: &'a Listpack, start: usize, towards: Side) -> Self {
        Self { walk: Walk::in_pack(pack, start, towards), node: 0, nodes: None, towards }
    }

    /// The elements of a chain, from element number `start` of node `node` on towards one side.
    pub(super) fn over_nodes(nodes: &'a VecDeque<Node>, node: usize, start: usize, towards: Side) -> Self {
        let walk = match nodes.get(node) {
            Some(Node::Pack(pack, _)) => Walk::in_pack(pack, start, towards),
            Some(Node::Shared(pack, _)) => Walk::in_pack(pack, start, towards),
            Some(Node::Large(large)) => Walk::Large(Some(large)),
            None => return Self { walk: Walk::Large(None), node, nodes: None, towards },
        };
        Self { walk, node, nodes: Some(nodes), towards }
    }

    /// The next element, and where it stands.
    #[inline]
    pub fn next_with_place(&mut self) -> Option<(Place, Entry<'a>)> {
        loop {
            if let Some((at, entry)) = self.walk.next(self.towards) {
                return Some((Place { node: self.node, at }, entry));
            }
            self.next_node()?;
        }
    }

    fn next_node(&mut self) -> Option<()> {
        let node = match self.towards {
            Side::Right => self.node + 1,
            Side::Left => self.node.checked_sub(1)?,
        };
        self.walk = match self.nodes?.get(node)? {
            Node::Pack(pack, _) => Walk::Pack(pack.iter()),
            Node::Shared(pack, _) => Walk::Pack(pack.iter()),
            Node::Large(large) => Walk::Large(Some(large)),
        };
        self.node = node;
        Some(())
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        self.next_with_place().map(|(_, entry)| entry)
    }
}

impl<'a> Walk<'a> {
    fn in_pack(pack: &'a Listpack, start: usize, towards: Side) -> Self {
        match (pack.seek(start as i64), towards) {
            (Some(at), Side::Right) => Self::Pack(pack.iter_from(at)),
            (Some(at), Side::Left) => Self::Pack(pack.iter_until(at)),
            (None, _) => Self::Large(None),
        }
    }

    #[inline]
    fn next(&mut self, towards: Side) -> Option<(Position, Entry<'a>)> {
        let (at, element) = match (self, towards) {
            (Self::Pack(iter), Side::Right) => iter.next_with_position()?,
            (Self::Pack(iter), Side::Left) => iter.next_back_with_position()?,
            (Self::Large(large), _) => return large.take().map(|large| (Position::FIRST, Entry::Large(large))),
        };
        Some((at, element.into()))
    }
}
