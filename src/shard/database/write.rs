//! Changes of keys and values.

use super::{Database, Expiry, Incidents, Keys, note_expired, view};
use crate::resp::CommandError;
use crate::shard::Millis;
use crate::stdx::number;
use crate::structures::record::{Body, OwnedBody};
use crate::structures::records::{Absent, NewBody, Written};
use crate::types::{LargeString, Object, Stored, StringValue, Value};

/// Longest string that lies inside the record of its key. A longer one has an allocation of its own, so that it can
/// grow in place, be lent to the network, and does not tear holes into pages of records.
const INLINE_BYTES_MAX: usize = 1024;

/// A larger scratch buffer is given back after use.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// All keys of a database, taken out of it. Dropping them may take long, and may be done on any thread.
pub struct TakenKeys(Keys);

impl TakenKeys {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The record's body for a string that SET stores.
#[inline]
fn string_body(bytes: &[u8], raw: bool) -> NewBody<'_, Stored> {
    if bytes.len() <= INLINE_BYTES_MAX {
        NewBody::Bytes { bytes, raw }
    } else {
        NewBody::Object(Stored::String(LargeString::new(bytes.to_vec())))
    }
}

/// The string or integer that a body of a record was.
fn value_of(body: OwnedBody<Stored>) -> Value {
    match body {
        OwnedBody::Bytes { bytes, raw } => Value::String(StringValue::Bytes { bytes, raw }),
        OwnedBody::Integer(integer) => Value::String(StringValue::Int(integer)),
        OwnedBody::Object(stored) => stored.into(),
    }
}

impl Database {
    #[inline]
    fn put(&mut self, key: &[u8], body: NewBody<'_, Stored>, expiry: Expiry) {
        match self.keys.put(key, body, expiry, self.clock) {
            Written::Replaced => {}
            Written::New => self.journal.note(Incidents::CREATED, key),
            Written::Expired => {
                note_expired(&mut self.expired, &mut self.journal, key);
                self.journal.note(Incidents::CREATED, key);
            }
        }
    }

    /// Stores a string, whatever `key` held before; text that is an integer is stored as one.
    #[inline]
    pub fn set_string(&mut self, key: &[u8], bytes: &[u8], expiry: Expiry) {
        let body = match number::parse_i64(bytes) {
            Some(integer) => NewBody::Integer(integer),
            None => string_body(bytes, false),
        };
        self.put(key, body, expiry);
    }

    /// Stores an integer, whatever `key` held before; the time to live stays.
    #[inline]
    pub fn set_integer(&mut self, key: &[u8], integer: i64) {
        self.put(key, NewBody::Integer(integer), Expiry::Keep);
    }

    /// Changes the bytes of the string at `key` in place, making an empty one first where there is none; the time to
    /// live stays. The encoding becomes `raw`.
    pub fn edit_string<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, CommandError> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        if let Some(record) = self.touched(key) {
            match record.as_ref().body() {
                Body::Bytes { bytes: old, .. } => bytes.extend_from_slice(old),
                Body::Integer(integer) => bytes.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes()),
                Body::Object(_) => {
                    let changed = match record.into_object() {
                        Some(Stored::String(large)) => Ok(large.edit(change)),
                        _ => Err(CommandError::WrongType),
                    };
                    self.scratch = bytes;
                    return changed;
                }
            }
        }
        let result = change(&mut bytes);
        self.put(key, string_body(&bytes, true), Expiry::Keep);
        if bytes.capacity() <= SCRATCH_BYTES_MAX {
            self.scratch = bytes;
        }
        Ok(result)
    }

    /// The object at `key`, for changing. A caller that empties it must [`Database::remove`] it.
    #[inline]
    pub fn get_mut<T: Object>(&mut self, key: &[u8]) -> Result<Option<&mut T>, CommandError> {
        match self.touched(key) {
            None => Ok(None),
            Some(record) => record.into_object().and_then(T::from_mut).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The object at `key`, for changing; `make` gives it where there is none. The caller must leave it non-empty.
    #[inline]
    pub fn get_or_insert<T: Object>(&mut self, key: &[u8], make: impl FnOnce() -> T) -> Result<&mut T, CommandError> {
        let make = || NewBody::Object(make().into_stored());
        let (mut record, absent) = self.keys.live_or_insert(key, self.clock, make);
        if let Some(absent) = absent {
            if absent == Absent::Expired {
                note_expired(&mut self.expired, &mut self.journal, key);
            }
            self.journal.note(Incidents::CREATED, key);
        }
        if self.touch {
            record.set_accessed(self.clock.access);
        }
        record.into_object().and_then(T::from_mut).ok_or(CommandError::WrongType)
    }

    /// Stores `value` at `key`, whatever it held before.
    pub fn replace(&mut self, key: &[u8], value: Value, expiry: Expiry) {
        let stored = match value {
            Value::String(StringValue::Int(integer)) => return self.put(key, NewBody::Integer(integer), expiry),
            Value::String(StringValue::Bytes { bytes, raw }) if bytes.len() <= INLINE_BYTES_MAX => {
                return self.put(key, NewBody::Bytes { bytes: &bytes, raw }, expiry);
            }
            Value::String(StringValue::Bytes { bytes, .. }) => Stored::String(LargeString::new(bytes)),
            Value::String(StringValue::Large(large)) => Stored::String(large),
            Value::List(list) => Stored::List(list),
            Value::Set(set) => Stored::Set(set),
            Value::Hash(hash) => Stored::Hash(hash),
        };
        self.put(key, NewBody::Object(stored), expiry);
    }

    /// Removes `key`; whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let removed = self.keys.remove_live(key, self.clock.now);
        if removed == Err(Absent::Expired) {
            note_expired(&mut self.expired, &mut self.journal, key);
        }
        removed.is_ok()
    }

    /// Removes `key` and hands out its value and the time it would have expired at.
    pub fn take(&mut self, key: &[u8]) -> Option<(Value, Option<Millis>)> {
        match self.keys.take_live(key, self.clock.now) {
            Ok((body, expires)) => Some((value_of(body), expires)),
            Err(absent) => {
                if absent == Absent::Expired {
                    note_expired(&mut self.expired, &mut self.journal, key);
                }
                None
            }
        }
    }

    /// Hands out the value of `key` for a while: an object is moved, with an empty one of its kind in its place until
    /// [`Database::replace`] brings it back, and anything else is copied. The key stays where it is, for those who walk
    /// over the keys. With the time it expires at.
    pub fn lend(&mut self, key: &[u8]) -> Option<(Value, Option<Millis>)> {
        let record = self.live(key)?;
        let expires = record.as_ref().expires();
        if !matches!(record.as_ref().body(), Body::Object(_)) {
            return Some((view(record.into_ref()).to_value(), expires));
        }
        let stored = record.into_object()?;
        let empty = stored.empty();
        Some((std::mem::replace(stored, empty).into(), expires))
    }

    /// A copy of the value of `key` and the time it expires at.
    pub fn copy(&mut self, key: &[u8]) -> Option<(Value, Option<Millis>)> {
        let record = self.live(key)?.into_ref();
        Some((view(record).to_value(), record.expires()))
    }

    /// Sets or removes the time `key` expires at; whether there is such a key.
    pub fn set_expires_at(&mut self, key: &[u8], at: Option<Millis>) -> bool {
        let set = self.keys.set_expires(key, at, self.clock.now);
        if set == Err(Absent::Expired) {
            note_expired(&mut self.expired, &mut self.journal, key);
        }
        set.is_ok()
    }

    /// Removes every key. With many keys, and lists, sets and hashes among them, this takes long: see
    /// [`Database::take_all`].
    pub fn clear(&mut self) {
        drop(self.take_all());
    }

    /// Takes all keys out at once, whatever their number, so that they can be dropped on another thread.
    pub fn take_all(&mut self) -> TakenKeys {
        self.scratch = Vec::new();
        TakenKeys(std::mem::take(&mut self.keys))
    }
}
