//! Times to live of records: setting them, and finding the records whose time is over without looking at the others.
#![allow(unsafe_code)]

use super::{Absent, Record, RecordTable, record};
use crate::structures::slab::Allocator;

/// Segments and records looked at for the average time to live.
const AVERAGE_SEGMENTS: usize = 256;
const AVERAGE_RECORDS: usize = 1024;

impl<O, A: Allocator> RecordTable<O, A> {
    /// Sets or removes the time the record of `key` expires at, if `allow` agrees when it is told the one before; whether
    /// it did.
    pub fn set_expires_if(
        &mut self,
        key: &[u8],
        at: Option<i64>,
        now: i64,
        allow: impl FnOnce(Option<i64>) -> bool,
    ) -> Result<bool, Absent<O>> {
        let place = self.live_place(self.hash(key), key, now)?;
        let old: Record<O> = record(place.slot().entry());
        if !allow(old.expires()) {
            return Ok(false);
        }
        self.preserve(old);
        match at {
            Some(at) if old.is_timed() => old.set_expires(at),
            None if !old.is_timed() => {}
            _ => {
                let shape = old.shape().timed(at.is_some());
                let (new, status) = self.allocate(shape);
                old.move_to(shape, new, status, at.unwrap_or_default());
                self.refer(place, new);
                self.release(old);
            }
        }
        if let Some(at) = at {
            // SAFETY: nothing was inserted or removed since the place was found.
            unsafe { place.expires(at) };
        }
        Ok(true)
    }

    /// Removes records whose time is over, looking at about `budget` records with a time to live, and gives the key and
    /// the object of each. Goes on where the last call stopped; how many it removed.
    pub fn expire_some(&mut self, now: i64, budget: usize, mut gone: impl FnMut(&[u8], Option<O>)) -> usize {
        let mut left = budget;
        let mut removed = 0;
        let mut due = Vec::new();
        while left > 0 && self.timed_len() > 0 {
            let expires = |entry| record::<O>(entry).expires().unwrap_or(i64::MAX);
            self.due_from = self.table.due(self.due_from, now, &mut left, &mut due, expires);
            for entry in due.drain(..) {
                let old: Record<O> = record(entry);
                let hash = self.hash(old.key());
                let place = self.table.find(hash, |slot| slot.entry() == entry);
                self.detach(place.expect("it was found there just now"));
                gone(old.key(), old.into_object());
                self.release(old);
                removed += 1;
            }
        }
        removed
    }

    /// About how many milliseconds the records with a time to live still have on average; 0 when there are none.
    pub fn average_ttl(&self, now: i64) -> i64 {
        let (mut sum, mut count) = (0i128, 0i128);
        self.table.sample_timed(self.due_from, AVERAGE_SEGMENTS, AVERAGE_RECORDS, |entry| {
            let at = record::<O>(entry).expires().unwrap_or(now);
            sum += i128::from(at.saturating_sub(now).max(0));
            count += 1;
        });
        if count == 0 { 0 } else { (sum / count) as i64 }
    }
}
