//! Redis's data types as values, with their encodings and the conversions between them. A command never sees an
//! encoding; a type never sees a reply.

pub mod hash;
pub mod list;
pub mod pieces;
mod sampling;
pub mod set;
pub mod string;

pub use hash::Hash;
pub use list::List;
pub use pieces::{Frozen, Piece};
pub use set::Set;
pub use string::{LargeString, StringRef, StringValue};

/// The type of a value, as TYPE names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum Kind {
    String,
    List,
    Set,
    Hash,
}

impl Kind {
    /// TYPE's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Hash => "hash",
        }
    }
}

/// An owned value: what COPY makes, RENAME moves and one core sends to another.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum Value {
    String(StringValue),
    List(List),
    Set(Set),
    Hash(Hash),
}

impl Value {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::String(_) => Kind::String,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Hash(_) => Kind::Hash,
        }
    }

    /// A view of it.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::String(string) => ValueRef::String(string.as_ref()),
            Self::List(list) => ValueRef::List(list),
            Self::Set(set) => ValueRef::Set(set),
            Self::Hash(hash) => ValueRef::Hash(hash),
        }
    }
}

/// A value where it lies in the keyspace.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum ValueRef<'a> {
    String(StringRef<'a>),
    List(&'a List),
    Set(&'a Set),
    Hash(&'a Hash),
}

impl ValueRef<'_> {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::String(_) => Kind::String,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Hash(_) => Kind::Hash,
        }
    }

    /// OBJECT ENCODING's name.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::String(string) => string.encoding(),
            Self::List(list) => list.encoding(),
            Self::Set(set) => set.encoding(),
            Self::Hash(hash) => hash.encoding(),
        }
    }

    /// A copy of its own.
    pub fn to_value(&self) -> Value {
        match *self {
            Self::String(string) => Value::String(string.to_value()),
            Self::List(list) => Value::List(list.clone()),
            Self::Set(set) => Value::Set(set.clone()),
            Self::Hash(hash) => Value::Hash(hash.clone()),
        }
    }
}

/// What a record of the keyspace holds beside short strings and integers: 24 bytes, so that a small collection costs
/// little. A type keeps what is more than 16 bytes in an allocation of its own.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the types")]
pub enum Stored {
    String(LargeString),
    List(List),
    Set(Set),
    Hash(Hash),
}

const _: () = assert!(size_of::<Stored>() == 24);

impl Stored {
    /// A view of it.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::String(large) => ValueRef::String(StringRef::Large(large)),
            Self::List(list) => ValueRef::List(list),
            Self::Set(set) => ValueRef::Set(set),
            Self::Hash(hash) => ValueRef::Hash(hash),
        }
    }

    /// Bytes that it takes of the allocator beside its record. Of a large collection `samples` elements are looked at.
    pub fn allocated_bytes(&self, samples: usize) -> usize {
        match self {
            Self::String(large) => large.allocated_bytes(),
            Self::List(list) => list.allocated_bytes(samples),
            Self::Set(set) => set.allocated_bytes(samples),
            Self::Hash(hash) => hash.allocated_bytes(samples),
        }
    }

    /// How many allocations dropping it gives back, about, as Redis estimates it: 1 for what lies in one piece.
    pub fn free_effort(&self) -> usize {
        match self {
            Self::String(_) => 1,
            Self::List(list) => list.nodes_len(),
            Self::Set(set) if set.is_table() => set.len(),
            Self::Hash(hash) if hash.is_table() => hash.len(),
            Self::Set(_) | Self::Hash(_) => 1,
        }
    }
}

impl Stored {
    /// An empty object of the same type.
    pub fn empty(&self) -> Self {
        match self {
            Self::String(_) => Self::String(LargeString::new(Vec::new())),
            Self::List(_) => Self::List(List::new()),
            Self::Set(_) => Self::Set(Set::new()),
            Self::Hash(_) => Self::Hash(Hash::new()),
        }
    }
}

impl From<Stored> for Value {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::String(large) => Self::String(StringValue::Large(large)),
            Stored::List(list) => Self::List(list),
            Stored::Set(set) => Self::Set(set),
            Stored::Hash(hash) => Self::Hash(hash),
        }
    }
}

/// A type whose values the keyspace stores as objects (all but strings).
pub trait Object: Sized {
    /// Which type it is.
    const KIND: Kind;
    /// Wraps it as a value.
    fn into_value(self) -> Value;
    /// Wraps it for the keyspace.
    fn into_stored(self) -> Stored;
    /// The object as this type, if it is.
    fn from_ref(stored: &Stored) -> Option<&Self>;
    /// The object as this type, if it is.
    fn from_mut(stored: &mut Stored) -> Option<&mut Self>;
}

macro_rules! object {
    ($type:ident) => {
        impl Object for $type {
            const KIND: Kind = Kind::$type;
            fn into_value(self) -> Value {
                Value::$type(self)
            }
            fn into_stored(self) -> Stored {
                Stored::$type(self)
            }
            fn from_ref(stored: &Stored) -> Option<&Self> {
                if let Stored::$type(inner) = stored { Some(inner) } else { None }
            }
            fn from_mut(stored: &mut Stored) -> Option<&mut Self> {
                if let Stored::$type(inner) = stored { Some(inner) } else { None }
            }
        }
    };
}

object!(List);
object!(Set);
object!(Hash);
