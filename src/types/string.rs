//! Strings: integers, short byte strings that the keyspace keeps inside the entry, and large ones that can be lent to
//! the network without a copy.

use super::pieces::StringWalk;
use crate::stdx::{allocation, number};
use bytes::Bytes;
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

/// Longest string whose encoding is called `embstr`, in bytes, as in Redis.
pub const EMBSTR_BYTES_MAX: usize = 44;

/// An owned string value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringValue {
    /// Text that is a canonical 64-bit integer.
    Int(i64),
    /// Any bytes. `raw`: it was made by changing a string in place, so its encoding is `raw` however short it is.
    Bytes {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether it was changed in place.
        raw: bool,
    },
    /// A large string, which replies may share.
    Large(LargeString),
}

impl StringValue {
    /// The value SET stores for `bytes`: an integer where the text is one.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match number::parse_i64(bytes) {
            Some(integer) => Self::Int(integer),
            None => Self::Bytes { bytes: bytes.to_vec(), raw: false },
        }
    }

    /// A value that stays text even where it reads as an integer, as INCRBYFLOAT stores its sums.
    pub fn text(bytes: Vec<u8>) -> Self {
        Self::Bytes { bytes, raw: false }
    }

    /// A view of it.
    pub fn as_ref(&self) -> StringRef<'_> {
        match self {
            Self::Int(integer) => StringRef::Int(*integer),
            Self::Bytes { bytes, raw } => StringRef::Bytes { bytes, raw: *raw },
            Self::Large(large) => StringRef::Large(large),
        }
    }
}

/// A large string. It is changed in place, with room to grow, unless replies that carry it are on their way or a copy
/// shares it: then it is copied first. A snapshot reads it where it lies; what is changed meanwhile is kept for it.
#[derive(Debug)]
pub struct LargeString {
    bytes: Arc<Vec<u8>>,
    /// What few strings have; made when it is needed first.
    side: OnceCell<Box<Side>>,
}

#[derive(Debug, Default)]
struct Side {
    /// The handle that replies share.
    lent: OnceCell<Bytes>,
    /// The snapshot that is under way.
    walk: Option<Box<StringWalk>>,
}

impl Clone for LargeString {
    /// A copy that shares the bytes, and is under no snapshot.
    fn clone(&self) -> Self {
        Self { bytes: Arc::clone(&self.bytes), side: OnceCell::new() }
    }
}

/// Keeps the bytes of a [`LargeString`] alive for replies.
struct Lender(Arc<Vec<u8>>);

impl AsRef<[u8]> for Lender {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl LargeString {
    /// A string of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes), side: OnceCell::new() }
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes, for sending without a copy.
    pub fn shared(&self) -> &Bytes {
        let side = self.side.get_or_init(Box::default);
        side.lent.get_or_init(|| Bytes::from_owner(Lender(Arc::clone(&self.bytes))))
    }

    /// Bytes that it takes of the allocator beside itself, copies that share them or not.
    pub fn allocated_bytes(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let side = self.side.get().map_or(0, |side| {
            let lender = side.lent.get().map_or(0, |_| allocation::class(COUNTS + size_of::<Lender>()));
            allocation::class(size_of::<Side>()) + lender
        });
        allocation::class(COUNTS + size_of::<Vec<u8>>()) + allocation::class(self.bytes.capacity()) + side
    }

    /// Changes it in place; copies first when a reply still holds it. Appending takes amortised constant time. Of the bytes
    /// that are there only those in `touched` may change.
    pub fn edit<R>(&mut self, touched: Range<usize>, change: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if let Some(side) = self.side.get_mut() {
            side.lent.take();
            if let Some(walk) = &mut side.walk {
                walk.preserve(&self.bytes, touched);
            }
        }
        change(Arc::make_mut(&mut self.bytes))
    }

    /// Begins a snapshot of what it holds now, for a key of this length. There must be none under way.
    pub fn begin_snapshot(&mut self, walk: StringWalk) {
        self.side.get_or_init(Box::default);
        self.side.get_mut().expect("just made").walk = Some(Box::new(walk));
    }

    /// Whether a snapshot is under way.
    #[inline]
    pub fn has_snapshot(&self) -> bool {
        self.side.get().is_some_and(|side| side.walk.is_some())
    }

    /// Appends the next piece of the snapshot to `out`; whether there are more.
    pub fn step_snapshot(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(side) = self.side.get_mut() else { return false };
        let more = side.walk.as_mut().is_some_and(|walk| walk.next(&self.bytes, out));
        if !more {
            side.walk = None;
        }
        more
    }

    /// Gives the snapshot to a copy of its own, so that this string may go elsewhere. `None`: there is none.
    pub fn part_with_snapshot(&mut self) -> Option<Self> {
        let walk = self.side.get_mut()?.walk.take()?;
        let mut copy = self.clone();
        copy.begin_snapshot(*walk);
        Some(copy)
    }

    /// Nobody wants the snapshot any more.
    pub fn abandon_snapshot(&mut self) {
        if let Some(side) = self.side.get_mut() {
            side.walk = None;
        }
    }
}

impl PartialEq for LargeString {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for LargeString {}

/// A string value where it lies.
#[derive(Clone, Copy, Debug)]
pub enum StringRef<'a> {
    /// An integer.
    Int(i64),
    /// Any bytes.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether it was changed in place.
        raw: bool,
    },
    /// A large string.
    Large(&'a LargeString),
}

impl<'a> StringRef<'a> {
    /// Its bytes; `digits` holds them when it is an integer.
    pub fn bytes<'b>(&self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Int(integer) => digits.format(integer).as_bytes(),
            Self::Bytes { bytes, .. } => bytes,
            Self::Large(large) => large.as_slice(),
        }
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.bytes(&mut itoa::Buffer::new()).len()
    }

    /// Its value as an integer, if its text is a canonical one.
    pub fn integer(&self) -> Option<i64> {
        match *self {
            Self::Int(integer) => Some(integer),
            Self::Bytes { bytes, .. } => number::parse_i64(bytes),
            Self::Large(_) => None,
        }
    }

    /// OBJECT ENCODING's name.
    pub fn encoding(&self) -> &'static str {
        match *self {
            Self::Int(_) => "int",
            Self::Bytes { bytes, raw: false } if bytes.len() <= EMBSTR_BYTES_MAX => "embstr",
            _ => "raw",
        }
    }

    /// A copy of its own; a large one is shared.
    pub fn to_value(&self) -> StringValue {
        match *self {
            Self::Int(integer) => StringValue::Int(integer),
            Self::Bytes { bytes, raw } => StringValue::Bytes { bytes: bytes.to_vec(), raw },
            Self::Large(large) => StringValue::Large(large.clone()),
        }
    }
}
