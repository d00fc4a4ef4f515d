//! Changes of keys and values.

use super::{Database, Expiry, Garbage, Incidents, Keys, string_of, view};
use crate::resp::CommandError;
use crate::shard::Millis;
use crate::stdx::number;
use crate::structures::record::{Body, OwnedBody};
use crate::structures::records::{Clock, NewBody, Written};
use crate::types::{LargeString, Object, Stored, StringValue, Value};
use std::ops::Range;

/// Longest string that lies inside the record of its key. A longer one has an allocation of its own, so that it can
/// grow in place, be lent to the network, and does not tear holes into pages of records.
const INLINE_BYTES_MAX: usize = 1024;

/// A larger scratch buffer is given back after use.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// All keys of a database, taken out of it. Dropping them may take long, and may be done on any thread.
pub struct TakenKeys(pub(super) Keys);

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
        let clock = Clock { access: self.access_by_use(key), ..self.clock };
        match self.keys.put(key, body, expiry, clock) {
            Written::New => self.departed.journal.note(Incidents::CREATED, key),
            Written::Replaced(None) => {}
            Written::Replaced(Some(value)) => self.departed.free(value, self.departed.lazy.server_del),
            Written::Expired(value) => {
                self.departed.expire(key, value);
                self.departed.journal.note(Incidents::CREATED, key);
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

    /// Changes the integer at `key`, 0 where there is none, as `change` says; the new one. The time to live stays.
    #[inline]
    pub fn edit_integer(
        &mut self,
        key: &[u8],
        change: impl FnOnce(i64) -> Result<i64, CommandError>,
    ) -> Result<i64, CommandError> {
        let access = self.access_if_there(key);
        let mut record = self.live_mut(key);
        let before = match record.as_ref().map(|record| string_of(record.as_ref())) {
            None => 0,
            Some(Some(string)) => string.integer().ok_or(CommandError::NotInteger)?,
            Some(None) => return Err(CommandError::WrongType),
        };
        let integer = change(before)?;
        let written = record.as_mut().is_some_and(|record| record.overwrite_integer(integer, access));
        if !written {
            self.put(key, NewBody::Integer(integer), Expiry::Keep);
        }
        Ok(integer)
    }

    /// Changes the bytes of the string at `key` in place, unless `change` refuses; `None` where there is none. The time to
    /// live stays, and the encoding becomes `raw`. Of the bytes that are there only those may change that `touched` names
    /// when it is told how many there are.
    pub fn edit_string<R>(
        &mut self,
        key: &[u8],
        touched: impl FnOnce(usize) -> Range<usize>,
        change: impl FnOnce(&mut Vec<u8>) -> Result<R, CommandError>,
    ) -> Result<Option<R>, CommandError> {
        let mut bytes = std::mem::take(&mut self.scratch);
        let Some(record) = self.touched(key) else {
            self.scratch = bytes;
            return Ok(None);
        };
        bytes.clear();
        match record.as_ref().body() {
            Body::Bytes { bytes: old, .. } => bytes.extend_from_slice(old),
            Body::Integer(integer) => bytes.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes()),
            Body::Object(_) => {
                let changed = match record.into_object() {
                    Some(Stored::String(large)) => large.edit(touched(large.as_slice().len()), change).map(Some),
                    _ => Err(CommandError::WrongType),
                };
                self.scratch = bytes;
                return changed;
            }
        }
        let changed = change(&mut bytes);
        if changed.is_ok() {
            self.put(key, string_body(&bytes, true), Expiry::Keep);
        }
        if bytes.capacity() <= SCRATCH_BYTES_MAX {
            self.scratch = bytes;
        }
        changed.map(Some)
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
        let clock = Clock { access: self.access_by_use(key), ..self.clock };
        let (mut record, absent) = self.keys.live_or_insert(key, clock, make);
        if let Some(absent) = absent {
            self.departed.absent(key, absent);
            self.departed.journal.note(Incidents::CREATED, key);
        }
        if self.touch {
            record.set_accessed(clock.access);
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

    /// Removes `key` as a step of a command that does something else; whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.delete(key, self.departed.lazy.server_del)
    }

    /// Removes `key`; whether it was there. If `lazily`, a large value becomes garbage instead of being freed at once.
    pub fn delete(&mut self, key: &[u8], lazily: bool) -> bool {
        match self.keys.remove_live(key, self.clock.now) {
            Ok(None) => true,
            Ok(Some(value)) => {
                self.departed.free(value, lazily);
                true
            }
            Err(absent) => {
                self.departed.absent(key, absent);
                false
            }
        }
    }

    /// Removes `key` and hands out its value and the time it would have expired at.
    pub fn take(&mut self, key: &[u8]) -> Option<(Value, Option<Millis>)> {
        match self.keys.take_live(key, self.clock.now) {
            Ok((body, expires)) => {
                let mut value = value_of(body);
                self.part_with(&mut value);
                Some((value, expires))
            }
            Err(absent) => {
                self.departed.absent(key, absent);
                None
            }
        }
    }

    /// Gives what `from` holds, with its time to live, the name `to`, whatever that held before; whether there was `from`.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        match self.keys.take_live(from, self.clock.now) {
            Ok((body, expires)) => {
                // What was there goes first: the new key tells that it is new.
                self.remove(to);
                self.replace(to, value_of(body), expires.map_or(Expiry::Never, Expiry::At));
                self.resume_snapshot(to);
                true
            }
            Err(absent) => {
                self.departed.absent(from, absent);
                false
            }
        }
    }

    /// Hands out the value of `key` for a while: an object is moved, with an empty one of its kind in its place until
    /// [`Database::replace`] brings it back, and anything else is copied. The key stays where it is, for those who walk
    /// over the keys, and does not expire meanwhile. With the time it expires at.
    pub fn lend(&mut self, key: &[u8]) -> Option<(Value, Option<Millis>)> {
        let expires = self.live(key)?.as_ref().expires();
        if expires.is_some() {
            self.set_expires_at(key, None);
        }
        let record = self.live_mut(key)?;
        if !matches!(record.as_ref().body(), Body::Object(_)) {
            return Some((view(record.into_ref()).to_value(), expires));
        }
        let stored = record.into_object()?;
        let empty = stored.empty();
        let mut value = std::mem::replace(stored, empty).into();
        self.part_with(&mut value);
        Some((value, expires))
    }

    /// A copy of the value of `key` and the time it expires at.
    pub fn copy(&mut self, key: &[u8]) -> Option<(Value, Option<Millis>)> {
        let record = self.live(key)?.into_ref();
        Some((view(record).to_value(), record.expires()))
    }

    /// Sets or removes the time `key` expires at; whether there is such a key.
    pub fn set_expires_at(&mut self, key: &[u8], at: Option<Millis>) -> bool {
        self.set_expires_at_if(key, at, |_| true)
    }

    /// Sets or removes the time `key` expires at, if there is such a key and `allow` agrees when it is told the time
    /// before; whether it did.
    pub fn set_expires_at_if(
        &mut self,
        key: &[u8],
        at: Option<Millis>,
        allow: impl FnOnce(Option<Millis>) -> bool,
    ) -> bool {
        let set = self.keys.set_expires_if(key, at, self.clock.now, allow);
        set.map_err(|absent| self.departed.absent(key, absent)).unwrap_or(false)
    }

    /// Removes every key. Freeing many takes long: if `lazily`, they become garbage instead, and if a snapshot wants some of
    /// them, they do so when it is through.
    pub fn clear(&mut self, lazily: bool) {
        let keys = self.take_all();
        let Some(keys) = self.keep_for_snapshot(keys) else { return };
        if lazily && !keys.is_empty() {
            self.departed.keep(Garbage::Keys(Box::new(keys)));
        }
    }

    /// Takes all keys out at once, whatever their number.
    fn take_all(&mut self) -> TakenKeys {
        self.scratch = Vec::new();
        let keeps_expired = self.keys.keeps_expired();
        let keys = std::mem::take(&mut self.keys);
        self.keys.keep_expired(keeps_expired);
        TakenKeys(keys)
    }
}
