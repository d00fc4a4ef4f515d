//! A list as it was at one moment, read from the first element to the last in pieces, while the list goes on changing. What
//! has been read is given up.

use super::{Entry, node::Node};
use crate::structures::listpack::Position;
use std::collections::VecDeque;

/// The rest of such a list.
#[derive(Debug)]
pub struct FrozenList {
    nodes: VecDeque<Node>,
    /// Where it goes on in the first node.
    at: Position,
}

impl FrozenList {
    pub(super) fn new(nodes: VecDeque<Node>) -> Self {
        Self { nodes, at: Position::FIRST }
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Gives the next elements to `read` for as long as `takes` wants one more.
    pub fn next<R>(&mut self, mut takes: impl FnMut(&Entry<'_>) -> bool, read: impl FnOnce(&[Entry<'_>]) -> R) -> R {
        let mut entries = Vec::new();
        let (mut whole, mut at) = (0, Some(self.at));
        'nodes: for node in &self.nodes {
            let Some(pack) = node.pack() else {
                let Node::Large(large) = node else { unreachable!("only a large element has no pack") };
                if !takes(&Entry::Large(large)) {
                    break;
                }
                entries.push(Entry::Large(large));
                (whole, at) = (whole + 1, Some(Position::FIRST));
                continue;
            };
            while let Some(place) = at {
                let entry = pack.get(place).into();
                if !takes(&entry) {
                    break 'nodes;
                }
                entries.push(entry);
                at = pack.next(place);
            }
            (whole, at) = (whole + 1, Some(Position::FIRST));
        }
        let result = read(&entries);
        self.nodes.drain(..whole);
        self.at = at.expect("a node that is through is left behind");
        result
    }
}
