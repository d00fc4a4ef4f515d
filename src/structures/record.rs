//! A record: key, value and what the server knows of them, in one allocation whose size is a multiple of 8.
//!
//! ```text
//! short  | 3 bytes access time | flags | u8 key length  | u8 value length  | expiry? | key | value |
//! long   | 3 bytes access time | flags | u32 key length | u32 value length | expiry? | key | value |
//! object | 3 bytes access time | flags | u32 key length                    | expiry? | object | key |
//! flags  | bit 0 raw | 1 integer | 2 object | 3 timed | 4 long | 5 paged | 6 epoch |
//! ```
//!
//! The expiry is 8 bytes and only there when the record is timed. An integer is 2 to 8 bytes, little-endian, and its
//! length stands where that of a value does. An object is any Rust value aligned to at most 8; it begins at 8 or 16.
//! Numbers may be unaligned but for the first 4 bytes.
#![allow(unsafe_code)]

use super::slab::share_of_page;
use crate::stdx::allocation;
use std::marker::PhantomData;
use std::ptr::NonNull;

const RAW: u8 = 1 << 0;
const INTEGER: u8 = 1 << 1;
const OBJECT: u8 = 1 << 2;
const TIMED: u8 = 1 << 3;
const LONG: u8 = 1 << 4;
const PAGED: u8 = 1 << 5;

/// The flag that tells records which a snapshot has from those which it has not: the latter's is not the table's.
pub(super) const EPOCH: u8 = 1 << 6;

/// Flags that say nothing of the layout and of what the record holds.
const STATUS: u8 = PAGED | EPOCH;

const SHORT_HEADER: usize = 6;
const LONG_HEADER: usize = 12;
const OBJECT_HEADER: usize = 8;
const EXPIRY_BYTES: usize = 8;

/// Access times count modulo this.
pub const ACCESS_MASK: u32 = 0x00ff_ffff;

/// What a record is to hold.
pub enum NewBody<'a, O> {
    /// Bytes, `raw` as in [`Body`].
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// A mark that stays with them.
        raw: bool,
    },
    /// An integer.
    Integer(i64),
    /// An object.
    Object(O),
}

/// What a record holds.
pub enum Body<'a, O> {
    /// Bytes, with the mark they were stored with.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// The mark.
        raw: bool,
    },
    /// An integer.
    Integer(i64),
    /// An object.
    Object(&'a O),
}

/// What a record held.
pub enum OwnedBody<O> {
    /// Bytes, with the mark they were stored with.
    Bytes {
        /// The bytes.
        bytes: Vec<u8>,
        /// The mark.
        raw: bool,
    },
    /// An integer.
    Integer(i64),
    /// An object.
    Object(O),
}

/// Flags and lengths of a record: all that its layout follows from.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    flags: u8,
    key_len: usize,
    value_len: usize,
}

impl Shape {
    /// The shape of a record to be made.
    #[inline]
    pub fn new<O>(key_len: usize, body: &NewBody<'_, O>, timed: bool) -> Self {
        let (kind, value_len) = match body {
            NewBody::Bytes { bytes, raw } => (if *raw { RAW } else { 0 }, bytes.len()),
            NewBody::Integer(integer) => (INTEGER, integer_bytes(*integer)),
            NewBody::Object(_) => (OBJECT, 0),
        };
        assert!(key_len.max(value_len) <= u32::MAX as usize, "the parser lets no such argument through");
        let long = kind != OBJECT && (key_len > 0xff || value_len > 0xff);
        let flags = kind | if timed { TIMED } else { 0 } | if long { LONG } else { 0 };
        Self { flags, key_len, value_len }
    }

    #[inline]
    fn is_object(self) -> bool {
        self.flags & OBJECT != 0
    }

    #[inline]
    fn expiry_at(self) -> usize {
        expiry_at(self.flags)
    }

    #[inline]
    fn value_at<O>(self) -> usize {
        key_at::<O>(self.flags) + self.key_len
    }

    /// Bytes of the allocation.
    #[inline]
    pub fn bytes<O>(self) -> usize {
        (self.value_at::<O>() + self.value_len).next_multiple_of(8)
    }

    /// The same record with or without a time to live.
    pub fn timed(self, timed: bool) -> Self {
        Self { flags: self.flags & !TIMED | if timed { TIMED } else { 0 }, ..self }
    }
}

#[inline]
fn expiry_at(flags: u8) -> usize {
    if flags & OBJECT != 0 {
        OBJECT_HEADER
    } else if flags & LONG != 0 {
        LONG_HEADER
    } else {
        SHORT_HEADER
    }
}

#[inline]
fn object_at(flags: u8) -> usize {
    OBJECT_HEADER + if flags & TIMED != 0 { EXPIRY_BYTES } else { 0 }
}

#[inline]
fn key_at<O>(flags: u8) -> usize {
    let expiry = if flags & TIMED != 0 { EXPIRY_BYTES } else { 0 };
    let object = if flags & OBJECT != 0 { size_of::<O>().next_multiple_of(8) } else { 0 };
    expiry_at(flags) + expiry + object
}

/// The fewest bytes that hold `integer`, but at least 2: with the shortest header that makes 8, which are read at once.
#[inline]
fn integer_bytes(integer: i64) -> usize {
    let bits = 65 - (integer ^ (integer >> 63)).leading_zeros() as usize;
    bits.div_ceil(8).max(2)
}

/// Whether the bytes from `start` on are `key`. Short ones, as nearly all keys are, are compared in two overlapping
/// halves, without a call.
///
/// # Safety
/// `key.len()` bytes can be read from `start` on.
#[inline]
unsafe fn is_equal(start: *const u8, key: &[u8]) -> bool {
    /// Whether the first and the last `size_of::<T>()` bytes are alike.
    ///
    /// # Safety
    /// Both have `len` bytes, at least as many as a `T`.
    #[inline]
    unsafe fn ends<T: Copy + PartialEq>(a: *const u8, b: *const u8, len: usize) -> bool {
        let last = len - size_of::<T>();
        // SAFETY: the caller's promise.
        let [a0, a1] = unsafe { [a.cast::<T>().read_unaligned(), a.add(last).cast::<T>().read_unaligned()] };
        // SAFETY: the caller's promise.
        let [b0, b1] = unsafe { [b.cast::<T>().read_unaligned(), b.add(last).cast::<T>().read_unaligned()] };
        (a0 == b0) & (a1 == b1)
    }
    // SAFETY: in each case there are enough bytes.
    unsafe {
        match key.len() {
            8..=16 => ends::<u64>(start, key.as_ptr(), key.len()),
            17..=32 => ends::<u128>(start, key.as_ptr(), key.len()),
            4..8 => ends::<u32>(start, key.as_ptr(), key.len()),
            _ => std::slice::from_raw_parts(start, key.len()) == key,
        }
    }
}

/// A raw handle to a live record. Whoever makes one promises that the record stays as long as it is used.
pub(super) struct Record<O>(NonNull<u8>, PhantomData<*mut O>);

impl<O> Clone for Record<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Record<O> {}

impl<O> Record<O> {
    /// # Safety
    /// `pointer` leads to a record with objects of type `O` that is live while the handle is used.
    #[inline]
    pub unsafe fn at(pointer: NonNull<u8>) -> Self {
        Self(pointer, PhantomData)
    }

    #[inline]
    pub fn pointer(self) -> NonNull<u8> {
        self.0
    }

    #[inline]
    fn offset(self, at: usize) -> *mut u8 {
        // SAFETY: the layout keeps `at` inside the record, which is live.
        unsafe { self.0.as_ptr().add(at) }
    }

    #[inline]
    fn read<T: Copy>(self, at: usize) -> T {
        // SAFETY: as above; the fields read are plain numbers, written when the record was made.
        unsafe { self.offset(at).cast::<T>().read_unaligned() }
    }

    #[inline]
    fn write<T: Copy>(self, at: usize, value: T) {
        // SAFETY: as above.
        unsafe { self.offset(at).cast::<T>().write_unaligned(value) }
    }

    #[inline]
    fn flags(self) -> u8 {
        self.read(3)
    }

    #[inline]
    pub fn shape(self) -> Shape {
        let flags = self.flags();
        let (key_len, value_len) = if flags & OBJECT != 0 {
            (self.read::<u32>(4) as usize, 0)
        } else if flags & LONG != 0 {
            (self.read::<u32>(4) as usize, self.read::<u32>(8) as usize)
        } else {
            (usize::from(self.read::<u8>(4)), usize::from(self.read::<u8>(5)))
        };
        Shape { flags: flags & !STATUS, key_len, value_len }
    }

    #[inline]
    pub fn is_timed(self) -> bool {
        self.flags() & TIMED != 0
    }

    #[inline]
    pub fn is_paged(self) -> bool {
        self.flags() & PAGED != 0
    }

    #[inline]
    pub fn is_object(self) -> bool {
        self.flags() & OBJECT != 0
    }

    /// [`EPOCH`], if it is set.
    #[inline]
    pub fn epoch(self) -> u8 {
        self.flags() & EPOCH
    }

    #[inline]
    pub fn set_epoch(self, epoch: u8) {
        self.write(3, self.flags() & !EPOCH | epoch);
    }

    /// The status flags of a record, in a page of records or not.
    #[inline]
    pub fn status(paged: bool, epoch: u8) -> u8 {
        epoch | if paged { PAGED } else { 0 }
    }

    #[inline]
    pub fn has_key(self, key: &[u8]) -> bool {
        // A record with a short header, as nearly all are, is told by one comparison of its first 8 bytes.
        const OTHER: u64 = ((LONG | OBJECT) as u64) << 24;
        let head: u64 = u64::from_le(self.read(0));
        if head & (OTHER | 0xff << 32) == (key.len() as u64) << 32 {
            let timed = head >> 24 & u64::from(TIMED);
            const { assert!(TIMED as usize == EXPIRY_BYTES, "the flag is the distance it makes") }
            // SAFETY: the record has a key of this length there.
            return unsafe { is_equal(self.offset(SHORT_HEADER + timed as usize), key) };
        }
        head & OTHER != 0 && self.key() == key
    }

    #[inline]
    pub fn key<'a>(self) -> &'a [u8] {
        let shape = self.shape();
        let start = self.offset(key_at::<O>(shape.flags));
        // SAFETY: the record has this many bytes from there on.
        unsafe { std::slice::from_raw_parts(start, shape.key_len) }
    }

    #[inline]
    pub fn body<'a>(self) -> Body<'a, O> {
        let shape = self.shape();
        if shape.is_object() {
            Body::Object(self.object())
        } else if shape.flags & INTEGER != 0 {
            // At least 8 bytes end here, the last of which are the integer.
            let end = shape.value_at::<O>() + shape.value_len;
            Body::Integer(i64::from_le(self.read::<i64>(end - 8)) >> (64 - 8 * shape.value_len))
        } else {
            let start = self.offset(shape.value_at::<O>());
            // SAFETY: the record has this many bytes from there on.
            let bytes = unsafe { std::slice::from_raw_parts(start, shape.value_len) };
            Body::Bytes { bytes, raw: shape.flags & RAW != 0 }
        }
    }

    /// The object of a record that has one.
    #[inline]
    pub fn object<'a>(self) -> &'a O {
        debug_assert!(self.is_object());
        // SAFETY: object records hold an `O` there, aligned as the module says.
        unsafe { &*self.offset(object_at(self.flags())).cast() }
    }

    /// The object of a record that has one, for changing. The caller holds no other reference into the record.
    #[inline]
    pub fn object_mut<'a>(self) -> &'a mut O {
        debug_assert!(self.is_object());
        // SAFETY: as above.
        unsafe { &mut *self.offset(object_at(self.flags())).cast() }
    }

    /// Moves the object out; the record must then be released without dropping it.
    pub fn take_object(self) -> O {
        debug_assert!(self.is_object());
        // SAFETY: as above; the caller forgets the record's object.
        unsafe { self.offset(object_at(self.flags())).cast::<O>().read() }
    }

    #[inline]
    pub fn expires(self) -> Option<i64> {
        let flags = self.flags();
        (flags & TIMED != 0).then(|| self.read(expiry_at(flags)))
    }

    /// Changes the expiry of a record that has one.
    #[inline]
    pub fn set_expires(self, at: i64) {
        debug_assert!(self.is_timed());
        self.write(expiry_at(self.flags()), at);
    }

    #[inline]
    pub fn accessed(self) -> u32 {
        self.read::<u32>(0) & ACCESS_MASK
    }

    /// Sets the access time; writes only when that changes it, so that reading leaves cache lines clean.
    #[inline]
    pub fn set_accessed(self, accessed: u32) {
        let word: u32 = self.read(0);
        if word & ACCESS_MASK != accessed {
            self.write(0, word & !ACCESS_MASK | accessed);
        }
    }

    #[inline]
    fn write_header(self, shape: Shape, status: u8, accessed: u32) {
        self.write(0, accessed & ACCESS_MASK | u32::from(shape.flags | status) << 24);
        if shape.is_object() {
            self.write(4, shape.key_len as u32);
        } else if shape.flags & LONG != 0 {
            self.write(4, shape.key_len as u32);
            self.write(8, shape.value_len as u32);
        } else {
            self.write(4, shape.key_len as u8);
            self.write(5, shape.value_len as u8);
        }
    }

    #[inline]
    fn write_body(self, shape: Shape, body: NewBody<'_, O>) {
        match body {
            NewBody::Bytes { bytes, .. } => self.copy_in(shape.value_at::<O>(), bytes),
            NewBody::Integer(integer) => {
                self.copy_in(shape.value_at::<O>(), &integer.to_le_bytes()[..shape.value_len]);
            }
            NewBody::Object(object) => {
                // SAFETY: the record has the room, aligned to 8; what was there is not live.
                unsafe { self.offset(object_at(shape.flags)).cast::<O>().write(object) }
            }
        }
    }

    #[inline]
    fn copy_in(self, at: usize, bytes: &[u8]) {
        // SAFETY: the layout has room for them; they are borrowed from elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.offset(at), bytes.len()) };
    }

    /// Writes a record into fresh memory of [`Shape::bytes`] bytes.
    #[inline]
    pub fn fill(self, shape: Shape, status: u8, key: &[u8], body: NewBody<'_, O>, expires: i64, accessed: u32) {
        const { assert!(align_of::<O>() <= 8) }
        self.write_header(shape, status, accessed);
        if shape.flags & TIMED != 0 {
            self.write(shape.expiry_at(), expires);
        }
        self.copy_in(key_at::<O>(shape.flags), key);
        self.write_body(shape, body);
    }

    /// Writes other bytes of the same length over those of a record of this epoch with a short header and no time to live,
    /// the most frequent change of all; whether it was one.
    #[inline]
    pub fn overwrite(self, key_len: usize, body: &NewBody<'_, O>, accessed: u32, epoch: u8) -> bool {
        let NewBody::Bytes { bytes, raw } = body else { return false };
        let flags = self.flags();
        if flags & !(RAW | PAGED) != epoch || usize::from(self.read::<u8>(5)) != bytes.len() {
            return false;
        }
        let flags = flags & !RAW | if *raw { RAW } else { 0 };
        self.write(0, accessed & ACCESS_MASK | u32::from(flags) << 24);
        self.copy_in(SHORT_HEADER + key_len, bytes);
        true
    }

    /// Writes another integer over the one in this record; whether there was one with room for it.
    #[inline]
    pub fn overwrite_integer(self, integer: i64, accessed: u32) -> bool {
        let shape = self.shape();
        if shape.flags & INTEGER == 0 || shape.value_len < integer_bytes(integer) {
            return false;
        }
        self.set_accessed(accessed);
        self.copy_in(shape.value_at::<O>(), &integer.to_le_bytes()[..shape.value_len]);
        true
    }

    /// Writes another body into this record, which has the key already, if it fits as it is: the same allocation size
    /// and object for object. Gives the object that was there, or where it does not fit the body.
    #[inline]
    pub fn refill<'a>(
        self,
        shape: Shape,
        body: NewBody<'a, O>,
        expires: i64,
        accessed: u32,
    ) -> Result<Option<O>, NewBody<'a, O>> {
        let old = self.shape();
        if old.is_object() != shape.is_object() || old.bytes::<O>() != shape.bytes::<O>() {
            return Err(body);
        }
        let (from, to) = (key_at::<O>(old.flags), key_at::<O>(shape.flags));
        let mut replaced = None;
        if old.is_object() {
            // An object may be moved by a change of the time to live only, and that changes the size.
            debug_assert_eq!(from, to);
            let NewBody::Object(object) = body else { unreachable!("the shapes are alike") };
            replaced = Some(std::mem::replace(self.object_mut(), object));
            self.write_header(shape, self.flags() & STATUS, accessed);
        } else {
            if from != to {
                // SAFETY: the key lies inside the record before and after; the places may overlap.
                unsafe { std::ptr::copy(self.offset(from), self.offset(to), old.key_len) };
            }
            self.write_header(shape, self.flags() & STATUS, accessed);
            self.write_body(shape, body);
        }
        if shape.flags & TIMED != 0 {
            self.write(shape.expiry_at(), expires);
        }
        Ok(replaced)
    }

    /// Moves everything into fresh memory for the shape `shape`, which differs only in being timed or not. This record
    /// must then be released without dropping its object.
    pub fn move_to(self, shape: Shape, new: Self, status: u8, expires: i64) {
        new.write_header(shape, status, self.accessed());
        if shape.flags & TIMED != 0 {
            new.write(shape.expiry_at(), expires);
        }
        let old = self.shape();
        let start = |flags| expiry_at(flags) + if flags & TIMED != 0 { EXPIRY_BYTES } else { 0 };
        let len = old.value_at::<O>() + old.value_len - start(old.flags);
        // SAFETY: both records have `len` bytes from there on: object, key and value.
        unsafe { std::ptr::copy_nonoverlapping(self.offset(start(old.flags)), new.offset(start(shape.flags)), len) };
    }

    /// What it holds, moved out if it is an object; the record must then be released without dropping it.
    pub fn take_body(self) -> OwnedBody<O> {
        match self.body() {
            Body::Bytes { bytes, raw } => OwnedBody::Bytes { bytes: bytes.to_vec(), raw },
            Body::Integer(integer) => OwnedBody::Integer(integer),
            Body::Object(_) => OwnedBody::Object(self.take_object()),
        }
    }

    /// Moves the object out, if there is one; the record must then be released without dropping it.
    pub fn into_object(self) -> Option<O> {
        self.is_object().then(|| self.take_object())
    }
}

/// A record, for reading.
pub struct RecordRef<'a, O>(pub(super) Record<O>, pub(super) PhantomData<&'a O>);

impl<O> Clone for RecordRef<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for RecordRef<'_, O> {}

impl<'a, O> RecordRef<'a, O> {
    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.0.key()
    }

    /// What the record holds.
    #[inline]
    pub fn body(&self) -> Body<'a, O> {
        self.0.body()
    }

    /// The bytes of a record that holds bytes; none otherwise.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        if let Body::Bytes { bytes, .. } = self.body() { bytes } else { &[] }
    }

    /// When it expires.
    pub fn expires(&self) -> Option<i64> {
        self.0.expires()
    }

    /// When it was last accessed, modulo 2^24.
    pub fn accessed(&self) -> u32 {
        self.0.accessed()
    }

    /// Bytes of the record's own allocation.
    pub fn memory_bytes(&self) -> usize {
        self.0.shape().bytes::<O>()
    }

    /// Bytes that this allocation takes of the allocator, or of a page of records.
    pub fn allocated_bytes(&self) -> usize {
        let bytes = self.memory_bytes();
        if self.0.is_paged() { share_of_page(bytes) } else { allocation::class_aligned(bytes, 8) }
    }
}

/// A record, for reading and for setting its access time.
pub struct RecordLive<'a, O>(pub(super) Record<O>, pub(super) PhantomData<&'a mut O>);

impl<'a, O> RecordLive<'a, O> {
    /// For reading, as long as the record was lent.
    #[inline]
    pub fn into_ref(self) -> RecordRef<'a, O> {
        RecordRef(self.0, PhantomData)
    }

    /// For reading.
    #[inline]
    pub fn as_ref(&self) -> RecordRef<'_, O> {
        RecordRef(self.0, PhantomData)
    }

    /// Sets the access time, modulo 2^24.
    #[inline]
    pub fn set_accessed(&mut self, accessed: u32) {
        self.0.set_accessed(accessed & ACCESS_MASK);
    }
}

/// A record, for changing what it holds. A table gives one only when a snapshot that is under way has the record.
pub struct RecordMut<'a, O>(pub(super) RecordLive<'a, O>);

impl<'a, O> RecordMut<'a, O> {
    /// A record that snapshots have, if any is under way.
    #[inline]
    pub(super) fn new(record: Record<O>) -> Self {
        Self(RecordLive(record, PhantomData))
    }

    /// For reading, as long as the record was lent.
    #[inline]
    pub fn into_ref(self) -> RecordRef<'a, O> {
        self.0.into_ref()
    }

    /// For reading.
    #[inline]
    pub fn as_ref(&self) -> RecordRef<'_, O> {
        self.0.as_ref()
    }

    /// Sets the access time, modulo 2^24.
    #[inline]
    pub fn set_accessed(&mut self, accessed: u32) {
        self.0.set_accessed(accessed);
    }

    /// Writes another integer over the one in the record; whether there was one with room for it.
    #[inline]
    pub fn overwrite_integer(&mut self, integer: i64, accessed: u32) -> bool {
        self.0.0.overwrite_integer(integer, accessed)
    }

    /// The object, if the record holds one.
    #[inline]
    pub fn object_mut(&mut self) -> Option<&mut O> {
        let record = self.0.0;
        record.is_object().then(|| record.object_mut())
    }

    /// The object, if the record holds one, for as long as the record was lent.
    #[inline]
    pub fn into_object(self) -> Option<&'a mut O> {
        let record = self.0.0;
        record.is_object().then(|| record.object_mut())
    }
}
