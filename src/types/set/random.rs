//! Random members of a set: looking at them and taking them out.

use super::{Repr, Set};
use crate::config::EncodingLimits;
use crate::stdx::random::Random;
use crate::structures::listpack::Element;
use crate::types::sampling::Selection;
use std::collections::HashSet;

/// Taking single members out of a hash table pays while at least this many times fewer go than stay; see Redis's
/// `SPOP_MOVE_STRATEGY_MUL`, which decides where a set changes its encoding.
const POP_KEEP_FACTOR: usize = 5;

/// Picking single members pays while this many times the wanted number are there, as in Redis.
const SAMPLE_FACTOR: usize = 3;

/// Members of up to this many bytes are copied to the stack while they are taken out.
const SHORT_BYTES_MAX: usize = 64;

impl Set {
    /// A random member; `None` if there is none.
    pub fn random(&self, random: &mut Random) -> Option<Element<'_>> {
        match &self.0 {
            _ if self.is_empty() => None,
            Repr::Intset(integers) => Some(Element::Int(integers.get(random.below(integers.len())))),
            Repr::Listpack(listpack) => {
                let position = listpack.seek(random.below(listpack.len()) as i64);
                position.map(|position| listpack.get(position))
            }
            Repr::Table(table) => table.random(random).map(|record| Element::Bytes(record.key())),
        }
    }

    /// Hands `count` different random members to `each`, all of them if there are no more.
    pub fn sample(&self, count: usize, random: &mut Random, mut each: impl FnMut(Element<'_>)) {
        let len = self.len();
        if count >= len {
            return self.iter().for_each(each);
        }
        if let Repr::Table(table) = &self.0
            && count.saturating_mul(SAMPLE_FACTOR) <= len
        {
            let mut seen = HashSet::with_capacity_and_hasher(count, ahash::RandomState::new());
            while seen.len() < count {
                let member = table.random(random).expect("there are more members than wanted").key();
                if seen.insert(member) {
                    each(Element::Bytes(member));
                }
            }
            return;
        }
        let mut selection = Selection::new(len, count);
        for member in self.iter() {
            if selection.is_done() {
                break;
            }
            if selection.takes(random) {
                each(member);
            }
        }
    }

    /// Takes a random member out and hands it to `each`; does nothing if there is none.
    pub fn pop(&mut self, random: &mut Random, each: impl FnOnce(Element<'_>)) {
        match &mut self.0 {
            Repr::Intset(integers) if integers.is_empty() => {}
            Repr::Intset(integers) => {
                let index = random.below(integers.len());
                each(Element::Int(integers.remove_at(index)));
            }
            Repr::Listpack(listpack) if listpack.is_empty() => {}
            Repr::Listpack(listpack) => {
                let position = listpack.seek(random.below(listpack.len()) as i64).expect("it is below the length");
                each(listpack.get(position));
                listpack.remove(position);
            }
            Repr::Table(table) => {
                let Some(record) = table.random(random) else { return };
                let member = record.key();
                each(Element::Bytes(member));
                // Removing needs the member's bytes beside the table; a short one is copied without an allocation.
                let (mut short, long);
                let copy = if member.len() <= SHORT_BYTES_MAX {
                    short = [0; SHORT_BYTES_MAX];
                    short[..member.len()].copy_from_slice(member);
                    &short[..member.len()]
                } else {
                    long = member.to_vec();
                    &long
                };
                table.remove(copy);
            }
        }
    }

    /// Takes `count` random members out, fewer than there are, and hands them to `each`.
    pub fn pop_many(
        &mut self,
        count: usize,
        limits: &EncodingLimits,
        random: &mut Random,
        mut each: impl FnMut(Element<'_>),
    ) {
        let len = self.len();
        debug_assert!(count < len, "a set that loses all its members is removed");
        let few = (len - count).saturating_mul(POP_KEEP_FACTOR) > count;
        // Differs: while a snapshot is under way in the hash table it stays one, whatever is left.
        if self.table().is_some_and(|table| few || table.has_snapshot()) {
            for _ in 0..count {
                self.pop(random, &mut each);
            }
            return;
        }
        // One walk tells those that go from those that stay, which make a new set. A compact one stays compact, even
        // where the limits have been lowered since; a hash table becomes one if what is left allows.
        let is_compact = !matches!(self.0, Repr::Table(_));
        let mut stay = if self.is_intset() { Self::new() } else { Self::with_strings() };
        let mut selection = Selection::new(len, count);
        for member in self.iter() {
            if selection.takes(random) {
                each(member);
                continue;
            }
            match (&mut stay.0, member) {
                (Repr::Intset(integers), Element::Int(integer)) => {
                    integers.insert(integer);
                }
                (Repr::Listpack(listpack), _) if is_compact => listpack.push_back(member),
                _ => {
                    stay.add_element(member, limits);
                }
            }
        }
        *self = stay;
    }
}
