//! Hashes: a listpack of fields and values in turn while they are few and short, a hash table else. A hash changes its
//! encoding at exactly the points at which Redis 7.2 does, and never back.

mod random;
#[cfg(test)]
mod tests;

use crate::config::EncodingLimits;
use crate::stdx::allocation;
use crate::structures::ByteTable;
use crate::structures::listpack::{Element, Listpack, Position};
use crate::structures::record::RecordRef;
use crate::structures::records::NoObject;

/// A map of byte strings to byte strings.
#[derive(Clone, Debug)]
pub struct Hash(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Listpack(Listpack),
    Table(Box<ByteTable>),
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash.
    pub fn new() -> Self {
        Self(Repr::Listpack(Listpack::new()))
    }

    /// Whether it is a hash table, with an allocation for each field.
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
            Repr::Listpack(_) => "listpack",
            Repr::Table(_) => "hashtable",
        }
    }

    /// Bytes it has allocated beside itself.
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Repr::Listpack(listpack) => listpack.memory_bytes(),
            Repr::Table(table) => size_of::<ByteTable>() + table.memory_bytes(),
        }
    }

    /// Bytes that it takes of the allocator beside itself, judged by `samples` fields.
    pub fn allocated_bytes(&self, samples: usize) -> usize {
        match &self.0 {
            Repr::Listpack(listpack) => listpack.allocated_bytes(),
            Repr::Table(table) => allocation::class(size_of::<ByteTable>()) + table.allocated_bytes(samples),
        }
    }

    /// How many fields there are.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Listpack(listpack) => listpack.len() / 2,
            Repr::Table(table) => table.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prepares for fields and values, in turn, that are about to be set: too many or too long ones make it a hash table
    /// at once.
    pub fn expect<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t [u8]>, limits: &EncodingLimits) {
        let Repr::Listpack(listpack) = &self.0 else { return };
        let mut fits = texts.len() / 2 <= limits.hash_max_listpack_entries;
        if fits {
            let mut sum = 0;
            for text in texts {
                fits &= text.len() <= limits.hash_max_listpack_value;
                sum += text.len();
            }
            fits &= listpack.fits(sum);
        }
        if !fits {
            self.make_table();
        }
    }

    /// The value of `field`.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Element<'_>> {
        match &self.0 {
            Repr::Listpack(listpack) => find(listpack, field).map(|(_, value)| listpack.get(value)),
            Repr::Table(table) => table.get(field).map(|record| Element::Bytes(record.bytes())),
        }
    }

    /// Whether there is `field`.
    #[inline]
    pub fn contains(&self, field: &[u8]) -> bool {
        match &self.0 {
            Repr::Listpack(listpack) => find(listpack, field).is_some(),
            Repr::Table(table) => table.contains(field),
        }
    }

    /// Gives `field` this value; whether the field is new.
    #[inline]
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &EncodingLimits) -> bool {
        match &mut self.0 {
            Repr::Table(table) => table.insert(field, value),
            Repr::Listpack(_) => self.set_in_listpack(field, value, limits),
        }
    }

    fn set_in_listpack(&mut self, field: &[u8], value: &[u8], limits: &EncodingLimits) -> bool {
        let Repr::Listpack(listpack) = &mut self.0 else { unreachable!("the caller has looked") };
        let is_short = field.len().max(value.len()) <= limits.hash_max_listpack_value;
        if !is_short || !listpack.fits(field.len() + value.len()) {
            return self.make_table().insert(field, value);
        }
        if let Some((_, at)) = find(listpack, field) {
            listpack.replace(at, value);
            return false;
        }
        listpack.push_back(field);
        listpack.push_back(value);
        if listpack.len() / 2 > limits.hash_max_listpack_entries {
            self.make_table();
        }
        true
    }

    /// Removes `field`; whether it was there.
    #[inline]
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Listpack(listpack) => {
                let found = find(listpack, field);
                found.map(|(position, _)| listpack.remove_range(position, 2)).is_some()
            }
            Repr::Table(table) => table.remove(field),
        }
    }

    /// Fields and their values: in order of insertion in a listpack, in any order in a hash table. Those of a hash table
    /// are bytes even where their text is an integer.
    pub fn iter(&self) -> impl Iterator<Item = (Element<'_>, Element<'_>)> {
        match &self.0 {
            Repr::Listpack(listpack) => Iter::Listpack(listpack.iter()),
            Repr::Table(table) => Iter::Table(table.iter().map(pair)),
        }
    }

    /// Visits about `count` fields from `cursor` on (0: from the start) and returns the cursor to go on with (0: done).
    /// A field that is there from the first call to the last is visited at least once. A listpack is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Element<'_>, Element<'_>)) -> u64 {
        if let Repr::Table(table) = &self.0 {
            return table
                .scan(cursor, count, |record| visit(Element::Bytes(record.key()), Element::Bytes(record.bytes())));
        }
        self.iter().for_each(|(field, value)| visit(field, value));
        0
    }

    /// Makes it a hash table, whatever it is, and lends that.
    fn make_table(&mut self) -> &mut ByteTable {
        if let Repr::Listpack(_) = &self.0 {
            let mut table = Box::<ByteTable>::default();
            for (field, value) in self.iter() {
                table.insert(field.bytes(&mut itoa::Buffer::new()), value.bytes(&mut itoa::Buffer::new()));
            }
            self.0 = Repr::Table(table);
        }
        let Repr::Table(table) = &mut self.0 else { unreachable!("it has just been made one") };
        table
    }
}

/// Where `field` and its value stand.
#[inline]
fn find(listpack: &Listpack, field: &[u8]) -> Option<(Position, Position)> {
    let at = listpack.find(listpack.first()?, field, 1)?;
    Some((at, listpack.next(at).expect("a value follows every field")))
}

/// A field of a hash table and its value.
#[inline]
fn pair<'a>(record: RecordRef<'a, NoObject>) -> (Element<'a>, Element<'a>) {
    (Element::Bytes(record.key()), Element::Bytes(record.bytes()))
}

/// The fields of a hash and their values in one of the encodings.
enum Iter<L, T> {
    Listpack(L),
    Table(T),
}

impl<'a, L, T> Iterator for Iter<L, T>
where
    L: Iterator<Item = Element<'a>>,
    T: Iterator<Item = (Element<'a>, Element<'a>)>,
{
    type Item = (Element<'a>, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Listpack(iter) => Some((iter.next()?, iter.next()?)),
            Self::Table(iter) => iter.next(),
        }
    }
}
