//! Random fields of a hash.

use super::{Hash, Repr, pair};
use crate::stdx::random::Random;
use crate::structures::listpack::Element;
use crate::types::sampling::Selection;
use std::collections::HashSet;

/// Picking single fields pays while this many times the wanted number are there, as in Redis.
const SAMPLE_FACTOR: usize = 3;

impl Hash {
    /// A random field and its value; `None` if there is none.
    pub fn random(&self, random: &mut Random) -> Option<(Element<'_>, Element<'_>)> {
        match &self.0 {
            _ if self.is_empty() => None,
            Repr::Listpack(listpack) => {
                let position = listpack.seek(2 * random.below(self.len()) as i64)?;
                let mut pair = listpack.iter_from(position);
                Some((pair.next()?, pair.next()?))
            }
            Repr::Table(table) => table.random(random).map(pair),
        }
    }

    /// Hands `count` different random fields and their values to `each`, all of them if there are no more.
    pub fn sample(&self, count: usize, random: &mut Random, mut each: impl FnMut(Element<'_>, Element<'_>)) {
        let len = self.len();
        if count >= len {
            return self.iter().for_each(|(field, value)| each(field, value));
        }
        if let Repr::Table(table) = &self.0
            && count.saturating_mul(SAMPLE_FACTOR) <= len
        {
            let mut seen = HashSet::with_capacity_and_hasher(count, ahash::RandomState::new());
            while seen.len() < count {
                let record = table.random(random).expect("there are more fields than wanted");
                if seen.insert(record.key()) {
                    let (field, value) = pair(record);
                    each(field, value);
                }
            }
            return;
        }
        let mut selection = Selection::new(len, count);
        for (field, value) in self.iter() {
            if selection.is_done() {
                break;
            }
            if selection.takes(random) {
                each(field, value);
            }
        }
    }
}
