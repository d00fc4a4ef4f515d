//! From one encoding of a set to the next.

use super::{Repr, Set, find, insert};
use crate::config::EncodingLimits;
use crate::stdx::number;
use crate::structures::ByteTable;
use crate::structures::intset::IntSet;
use crate::structures::listpack::{Element, LISTPACK_BYTES_MAX, Listpack, entry_size};

/// Most integers of an intset, whatever the directive says, as in Redis.
const INTSET_ENTRIES_MAX: usize = 1 << 30;

/// Bytes of the longest text of a 64-bit integer.
const INTEGER_TEXT_BYTES_MAX: usize = 20;

impl Set {
    /// Adds to what is a listpack; `member` is an integer wherever its text is one.
    pub(super) fn add_to_listpack(&mut self, member: Element<'_>, limits: &EncodingLimits) -> bool {
        let Repr::Listpack(listpack) = &mut self.0 else { unreachable!("the caller has looked") };
        if find(listpack, member).is_some() {
            return false;
        }
        let len = text_len(member);
        let room = listpack.len() < limits.set_max_listpack_entries && listpack.fits(len);
        if room && len <= limits.set_max_listpack_value {
            listpack.push_back(member);
        } else {
            insert(self.make_table(), member.bytes(&mut itoa::Buffer::new()));
        }
        true
    }

    /// Adds to what is an intset; `member` is an integer wherever its text is one.
    pub(super) fn add_to_intset(&mut self, member: Element<'_>, limits: &EncodingLimits) -> bool {
        let Repr::Intset(integers) = &mut self.0 else { unreachable!("the caller has looked") };
        let text = match member {
            Element::Int(integer) => {
                let added = integers.insert(integer);
                if added && integers.len() > limits.set_max_intset_entries.min(INTSET_ENTRIES_MAX) {
                    self.make_table();
                }
                return added;
            }
            Element::Bytes(text) => text,
        };
        if listpack_suits(integers, text, limits) {
            let mut listpack = Listpack::new();
            listpack.extend(integers.iter());
            listpack.push_back(Element::Bytes(text));
            self.0 = Repr::Listpack(listpack);
        } else {
            insert(self.make_table(), text);
        }
        true
    }

    /// Makes it a hash table, whatever it is, and lends that.
    pub(super) fn make_table(&mut self) -> &mut ByteTable {
        if !matches!(self.0, Repr::Table(_)) {
            let mut table = Box::<ByteTable>::default();
            for member in self.iter() {
                insert(&mut table, member.bytes(&mut itoa::Buffer::new()));
            }
            self.0 = Repr::Table(table);
        }
        let Repr::Table(table) = &mut self.0 else { unreachable!("it has just been made one") };
        table
    }

    /// Makes it an intset if all members are integers and few enough.
    pub fn compact_integers(&mut self, limits: &EncodingLimits) {
        if self.is_intset() || self.len() > limits.set_max_intset_entries.min(INTSET_ENTRIES_MAX) {
            return;
        }
        let integer = |member: Element<'_>| match member {
            Element::Int(integer) => Some(integer),
            Element::Bytes(text) => number::parse_i64(text),
        };
        let Some(mut integers) = self.iter().map(integer).collect::<Option<Vec<_>>>() else { return };
        // Ascending order appends, which is cheap.
        integers.sort_unstable();
        let mut intset = IntSet::new();
        for integer in integers {
            intset.insert(integer);
        }
        self.0 = Repr::Intset(intset);
    }
}

/// Whether the members of an intset and a text may stand in one listpack.
fn listpack_suits(integers: &IntSet, text: &[u8], limits: &EncodingLimits) -> bool {
    let (mut longest, mut bytes) = (text.len(), text.len());
    if let Some(last) = integers.len().checked_sub(1) {
        for edge in [integers.get(0), integers.get(last)].map(Element::Int) {
            longest = longest.max(text_len(edge));
            bytes = bytes.max(text.len().saturating_add(integers.len().saturating_mul(entry_size(edge))));
        }
    }
    integers.len() < limits.set_max_listpack_entries
        && longest <= limits.set_max_listpack_value
        && bytes <= LISTPACK_BYTES_MAX - INTEGER_TEXT_BYTES_MAX
}

/// Length of a member as text.
fn text_len(member: Element<'_>) -> usize {
    member.bytes(&mut itoa::Buffer::new()).len()
}
