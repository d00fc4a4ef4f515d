//! Lookups that change nothing but access times and counts.

use super::{Database, object_of, string_of, view};
use crate::resp::CommandError;
use crate::shard::Millis;
use crate::structures::record::RecordRef;
use crate::types::{Object, Stored, StringRef, ValueRef};

impl Database {
    /// Whether `key` exists. Counts neither as hit nor as miss and leaves the access time alone.
    #[inline]
    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.live(key).is_some()
    }

    /// The value of `key`, whatever its type, for reading: counts a hit or a miss and sets the access time.
    pub fn value(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.read(key).map(view)
    }

    /// The value of `key` without hit, miss or access time, as OBJECT looks at it.
    pub fn peek(&mut self, key: &[u8]) -> Option<ValueRef<'_>> {
        self.live(key).map(|record| view(record.into_ref()))
    }

    /// Bytes that `key` takes of the allocator with its value and its share of the table. Of a large collection `samples`
    /// elements are looked at. Changes nothing that reads change.
    pub fn memory_usage(&mut self, key: &[u8], samples: usize) -> Option<usize> {
        let share = self.keys.table_share();
        let record = self.live(key)?.into_ref();
        let own = object_of(record).map_or(0, |stored| stored.allocated_bytes(samples));
        Some(record.allocated_bytes() + share + own)
    }

    /// Milliseconds since the last access to `key`, by a clock of seconds that goes round after 194 days; 0 where the
    /// policy of eviction wants something else to be known.
    pub fn idle_ms(&mut self, key: &[u8]) -> Option<Millis> {
        let bits = self.access_bits(key)?;
        Some(Millis::from(self.usage.idle_seconds(bits).unwrap_or(0)) * 1000)
    }

    /// The string at `key`, for reading.
    #[inline]
    pub fn string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(record) => string_of(record).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The object at `key`, for reading.
    #[inline]
    pub fn get<T: Object>(&mut self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(record) => object_of(record).and_then(T::from_ref).map(Some).ok_or(CommandError::WrongType),
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
        let lives = |record: &RecordRef<'_, Stored>| record.expires().is_none_or(|at| at > self.clock.now);
        Ok(keys.map(|key| self.keys.get(key).filter(lives).and_then(object_of).and_then(T::from_ref)).collect())
    }

    /// When `key` expires: `None` without such a key, `Some(None)` when it does not expire.
    pub fn expires_at(&mut self, key: &[u8]) -> Option<Option<Millis>> {
        self.live(key).map(|record| record.into_ref().expires())
    }
}
