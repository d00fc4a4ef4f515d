//! Sets: an intset while all members are integers and few, a listpack while they are few and short, a hash table else.
//!
//! A set changes its encoding at exactly the points at which Redis 7.2 does, and never back but where Redis does too:
//! when SPOP takes nearly everything, and when the members of a stored intersection are all integers.

mod convert;
mod random;
#[cfg(test)]
mod tests;

use crate::config::EncodingLimits;
use crate::stdx::{allocation, number};
use crate::structures::ByteTable;
use crate::structures::intset::IntSet;
use crate::structures::listpack::{Element, Listpack, Position};
use crate::structures::records::{Clock, NewBody};

/// A set of byte strings.
#[derive(Clone, Debug)]
pub struct Set(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Intset(IntSet),
    Listpack(Listpack),
    Table(Box<ByteTable>),
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// An empty set, ready for integers.
    pub fn new() -> Self {
        Self(Repr::Intset(IntSet::new()))
    }

    /// An empty set, ready for strings.
    pub fn with_strings() -> Self {
        Self(Repr::Listpack(Listpack::new()))
    }

    /// An empty set in the encoding that suits `count` members, of which `first` is one.
    pub fn for_members(first: &[u8], count: usize, limits: &EncodingLimits) -> Self {
        if count <= limits.set_max_intset_entries && number::parse_i64(first).is_some() {
            Self::new()
        } else if count <= limits.set_max_listpack_entries {
            Self::with_strings()
        } else {
            Self(Repr::Table(Box::default()))
        }
    }

    /// Prepares for `count` members that are about to be added: too many for the encoding make it a hash table at once.
    pub fn expect(&mut self, count: usize, limits: &EncodingLimits) {
        let limit = match &self.0 {
            Repr::Intset(_) => limits.set_max_intset_entries,
            Repr::Listpack(_) => limits.set_max_listpack_entries,
            Repr::Table(_) => return,
        };
        if count > limit {
            self.make_table();
        }
    }

    /// Whether it is a hash table, with an allocation for each member.
    pub fn is_table(&self) -> bool {
        matches!(self.0, Repr::Table(_))
    }

    /// That hash table.
    #[inline]
    pub fn table(&self) -> Option<&ByteTable> {
        if let Repr::Table(table) = &self.0 { Some(table) } else { None }
    }

    /// The same, for those who walk over it.
    pub fn table_mut(&mut self) -> Option<&mut ByteTable> {
        if let Repr::Table(table) = &mut self.0 { Some(table) } else { None }
    }

    /// OBJECT ENCODING's name.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Repr::Intset(_) => "intset",
            Repr::Listpack(_) => "listpack",
            Repr::Table(_) => "hashtable",
        }
    }

    /// Bytes it has allocated beside itself.
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Repr::Intset(integers) => integers.memory_bytes(),
            Repr::Listpack(listpack) => listpack.memory_bytes(),
            Repr::Table(table) => size_of::<ByteTable>() + table.memory_bytes(),
        }
    }

    /// Bytes that it takes of the allocator beside itself, judged by `samples` members.
    pub fn allocated_bytes(&self, samples: usize) -> usize {
        match &self.0 {
            Repr::Intset(integers) => integers.allocated_bytes(),
            Repr::Listpack(listpack) => listpack.allocated_bytes(),
            Repr::Table(table) => allocation::class(size_of::<ByteTable>()) + table.allocated_bytes(samples),
        }
    }

    /// How many members there are.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Intset(integers) => integers.len(),
            Repr::Listpack(listpack) => listpack.len(),
            Repr::Table(table) => table.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the encoding is an intset.
    pub fn is_intset(&self) -> bool {
        matches!(self.0, Repr::Intset(_))
    }

    /// Whether `member` is in the set.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Repr::Intset(integers) => number::parse_i64(member).is_some_and(|integer| integers.contains(integer)),
            Repr::Listpack(listpack) => find(listpack, Element::from(member)).is_some(),
            Repr::Table(table) => table.contains(member),
        }
    }

    /// Whether `member`, which may come from another set, is in the set.
    #[inline]
    pub fn contains_element(&self, member: Element<'_>) -> bool {
        match (&self.0, member) {
            (Repr::Intset(integers), Element::Int(integer)) => integers.contains(integer),
            (Repr::Listpack(listpack), Element::Int(_)) => find(listpack, member).is_some(),
            _ => self.contains(member.bytes(&mut itoa::Buffer::new())),
        }
    }

    /// Puts `member` in; whether it was not there.
    #[inline]
    pub fn add(&mut self, member: &[u8], limits: &EncodingLimits) -> bool {
        match &mut self.0 {
            Repr::Table(table) => insert(table, member),
            Repr::Listpack(_) => self.add_to_listpack(Element::from(member), limits),
            Repr::Intset(_) => self.add_to_intset(Element::from(member), limits),
        }
    }

    /// Puts `member`, which may come from another set, in; whether it was not there.
    #[inline]
    pub fn add_element(&mut self, member: Element<'_>, limits: &EncodingLimits) -> bool {
        match (&self.0, member) {
            (Repr::Listpack(_), Element::Int(_)) => self.add_to_listpack(member, limits),
            (Repr::Intset(_), Element::Int(_)) => self.add_to_intset(member, limits),
            _ => self.add(member.bytes(&mut itoa::Buffer::new()), limits),
        }
    }

    /// Takes `member` out; whether it was there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Intset(integers) => number::parse_i64(member).is_some_and(|integer| integers.remove(integer)),
            Repr::Listpack(listpack) => {
                let found = find(listpack, Element::from(member));
                found.map(|position| listpack.remove(position)).is_some()
            }
            Repr::Table(table) => table.remove(member),
        }
    }

    /// Takes `member`, which may come from another set, out; whether it was there.
    pub fn remove_element(&mut self, member: Element<'_>) -> bool {
        self.remove(member.bytes(&mut itoa::Buffer::new()))
    }

    /// The members: ascending in an intset, in order of insertion in a listpack, in any order in a hash table. Those of
    /// a hash table are bytes even where their text is an integer.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        match &self.0 {
            Repr::Intset(integers) => Iter::Intset(integers.iter().map(Element::Int)),
            Repr::Listpack(listpack) => Iter::Listpack(listpack.iter()),
            Repr::Table(table) => Iter::Table(table.iter().map(|record| Element::Bytes(record.key()))),
        }
    }

    /// Visits about `count` members from `cursor` on (0: from the start) and returns the cursor to go on with (0: done).
    /// A member that is there from the first call to the last is visited at least once. The compact encodings are
    /// visited whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>)) -> u64 {
        if let Repr::Table(table) = &self.0 {
            return table.scan(cursor, count, |record| visit(Element::Bytes(record.key())));
        }
        self.iter().for_each(visit);
        0
    }
}

/// Where `member`, an integer wherever its text is one, stands.
#[inline]
fn find(listpack: &Listpack, member: Element<'_>) -> Option<Position> {
    let mut iter = listpack.iter();
    while let Some((position, element)) = iter.next_with_position() {
        if element == member {
            return Some(position);
        }
    }
    None
}

/// Puts a member into a table; whether it was not there. One that is there is only read.
#[inline]
fn insert(table: &mut ByteTable, member: &[u8]) -> bool {
    table.live_or_insert(member, Clock::NONE, || NewBody::Bytes { bytes: &[], raw: false }).1.is_some()
}

/// The members of a set in one of the encodings.
enum Iter<I, L, T> {
    Intset(I),
    Listpack(L),
    Table(T),
}

impl<'a, I, L, T> Iterator for Iter<I, L, T>
where
    I: Iterator<Item = Element<'a>>,
    L: Iterator<Item = Element<'a>>,
    T: Iterator<Item = Element<'a>>,
{
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        match self {
            Self::Intset(iter) => iter.next(),
            Self::Listpack(iter) => iter.next(),
            Self::Table(iter) => iter.next(),
        }
    }
}
