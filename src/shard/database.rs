//! One database's slice on one core: keys, values, times to live. Lookups apply lazy expiry: an expired key is removed
//! and reported as missing. The clock is given by [`Database::set_now`], never read.

use super::Millis;
use crate::resp::CommandError;
use crate::stdx::random::Random;
use crate::types::{Object, StringRef, StringValue, Value, ValueRef};
use std::collections::HashMap;

/// What becomes of a key's time to live when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It stays.
    Keep,
    /// The key does not expire.
    Never,
    /// The key expires at this time.
    At(Millis),
}

struct Record {
    value: Value,
    expires: Option<Millis>,
    accessed: Millis,
}

/// One database's slice on one core.
pub struct Database {
    records: HashMap<Box<[u8]>, Record, ahash::RandomState>,
    now: Millis,
    /// Keys removed because their time was over.
    pub expired: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Database {
    /// An empty database.
    pub fn new() -> Self {
        Self { records: HashMap::default(), now: 0, expired: 0, hits: 0, misses: 0 }
    }

    /// The clock for the commands to come.
    pub fn set_now(&mut self, now: Millis) {
        self.now = now;
    }

    /// Whether reads set access times from now on (CLIENT NO-TOUCH).
    pub fn set_touch(&mut self, _touch: bool) {}

    /// The clock reading commands work with.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Number of keys, expired ones that nobody has looked at included, as DBSIZE counts.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Number of keys with a time to live.
    pub fn expires_len(&self) -> usize {
        self.records.values().filter(|record| record.expires.is_some()).count()
    }

    fn live(&mut self, key: &[u8]) -> Option<&mut Record> {
        let now = self.now;
        if self.records.get(key)?.expires.is_some_and(|at| at <= now) {
            self.records.remove(key);
            self.expired += 1;
            return None;
        }
        self.records.get_mut(key)
    }

    fn read(&mut self, key: &[u8]) -> Option<&mut Record> {
        let found = self.live(key).is_some();
        *(if found { &mut self.hits } else { &mut self.misses }) += 1;
        let now = self.now;
        let record = self.records.get_mut(key)?;
        record.accessed = now;
        Some(record)
    }

    /// Whether `key` exists. Counts neither as hit nor as miss and leaves the access time alone.
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.live(key).is_some()
    }

    /// The value of `key`, whatever its type, for reading: counts a hit or a miss and sets the access time.
    pub fn value(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.read(key).map(|record| view(&record.value))
    }

    /// The value of `key` without hit, miss or access time, as OBJECT looks at it.
    pub fn peek(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.live(key).map(|record| view(&record.value))
    }

    /// Milliseconds since the last access to `key`.
    pub fn idle_ms(&mut self, key: &[u8]) -> Option<Millis> {
        let now = self.now;
        self.live(key).map(|record| now - record.accessed)
    }

    /// The string at `key`, for reading.
    pub fn string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Record { value: Value::String(string), .. }) => Ok(Some(string.as_ref())),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// Stores a string, whatever `key` held before; text that is an integer is stored as one.
    pub fn set_string(&mut self, key: &[u8], bytes: &[u8], expiry: Expiry) {
        self.replace(key, Value::String(StringValue::from_bytes(bytes)), expiry);
    }

    /// Stores an integer, whatever `key` held before; the time to live stays.
    pub fn set_integer(&mut self, key: &[u8], integer: i64) {
        self.replace(key, Value::String(StringValue::Int(integer)), Expiry::Keep);
    }

    /// Changes the bytes of the string at `key` in place, making an empty one first where there is none; the time to
    /// live stays. The encoding becomes `raw`.
    pub fn edit_string<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, CommandError> {
        let mut bytes = match self.live(key) {
            None => Vec::new(),
            Some(Record { value: Value::String(string), .. }) => {
                string.as_ref().bytes(&mut itoa::Buffer::new()).to_vec()
            }
            Some(_) => return Err(CommandError::WrongType),
        };
        let result = change(&mut bytes);
        self.replace(key, Value::String(StringValue::Bytes { bytes, raw: true }), Expiry::Keep);
        Ok(result)
    }

    /// The object at `key`, for reading.
    pub fn get<T: Object>(&mut self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(record) => T::from_ref(&record.value).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The objects at `keys`, all at once for reading; `None` where there is none.
    pub fn get_many<'k, T: Object>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
    ) -> Result<Vec<Option<&T>>, CommandError> {
        for key in keys.clone() {
            self.get::<T>(key)?;
        }
        Ok(keys.map(|key| self.records.get(key).and_then(|record| T::from_ref(&record.value))).collect())
    }

    /// The object at `key`, for changing. A caller that empties it must [`Database::remove`] it.
    pub fn get_mut<T: Object>(&mut self, key: &[u8]) -> Result<Option<&mut T>, CommandError> {
        match self.live(key) {
            None => Ok(None),
            Some(record) => T::from_mut(&mut record.value).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The object at `key`, for changing; `make` gives it where there is none. The caller must leave it non-empty.
    pub fn get_or_insert<T: Object>(&mut self, key: &[u8], make: impl FnOnce() -> T) -> Result<&mut T, CommandError> {
        if !self.contains(key) {
            self.replace(key, make().into_value(), Expiry::Never);
        }
        let record = self.records.get_mut(key).expect("it was there or has just been made");
        T::from_mut(&mut record.value).ok_or(CommandError::WrongType)
    }

    /// Stores `value` at `key`, whatever it held before.
    pub fn replace(&mut self, key: &[u8], value: Value, expiry: Expiry) {
        let before = self.live(key).and_then(|record| record.expires);
        let expires = match expiry {
            Expiry::Keep => before,
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        };
        self.records.insert(key.into(), Record { value, expires, accessed: self.now });
    }

    /// Removes `key`; whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.live(key).is_some() && self.records.remove(key).is_some()
    }

    /// Removes `key` and hands out its value and the time it would have expired at.
    pub fn take(&mut self, key: &[u8]) -> Option<(Value, Option<Millis>)> {
        self.live(key)?;
        self.records.remove(key).map(|record| (record.value, record.expires))
    }

    /// When `key` expires: `None` without such a key, `Some(None)` when it does not expire.
    pub fn expires_at(&mut self, key: &[u8]) -> Option<Option<Millis>> {
        self.live(key).map(|record| record.expires)
    }

    /// Sets or removes the time `key` expires at; whether there is such a key.
    pub fn set_expires_at(&mut self, key: &[u8], at: Option<Millis>) -> bool {
        self.live(key).map(|record| record.expires = at).is_some()
    }

    /// Visits about `count` keys from `cursor` on (0: from the start) and returns the cursor to go on with (0: done).
    /// A key that is there from the first call to the last is visited at least once. Expired keys are skipped.
    pub fn scan(&mut self, _cursor: u64, _count: usize, mut visit: impl FnMut(&[u8], ValueRef<'_>)) -> u64 {
        for (key, record) in &self.records {
            if record.expires.is_none_or(|at| at > self.now) {
                visit(key, view(&record.value));
            }
        }
        0
    }

    /// A random key that has not expired; `None` if there is none.
    pub fn random_key(&mut self, random: &mut Random) -> Option<&[u8]> {
        if self.records.is_empty() {
            return None;
        }
        let skip = random.below(self.records.len());
        self.records.keys().nth(skip).map(|key| &**key)
    }

    /// Removes every key.
    pub fn clear(&mut self) {
        self.records.clear();
    }

    /// Removes keys whose time is over, looking at about `budget` of them; how many it removed.
    pub fn expire_some(&mut self, _budget: usize) -> usize {
        let (before, now) = (self.records.len(), self.now);
        self.records.retain(|_, record| record.expires.is_none_or(|at| at > now));
        before - self.records.len()
    }
}

fn view(value: &Value) -> ValueRef<'_> {
    match value {
        Value::String(string) => ValueRef::String(string.as_ref()),
        Value::List(list) => ValueRef::List(list),
        Value::Set(set) => ValueRef::Set(set),
        Value::Hash(hash) => ValueRef::Hash(hash),
    }
}
