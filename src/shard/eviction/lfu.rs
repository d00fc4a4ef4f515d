//! Least frequently used, bit for bit as Redis counts it:
//!
//! ```text
//! 23                  8 7        0
//! [ minute, mod 2^16   | counter  ]
//! ```
//!
//! The counter grows with a probability that falls with the counter, so that 8 bits suffice for a million uses, and loses one
//! every `lfu-decay-time` minutes. That is computed when the key is looked at; the minute is that of the last use.

use crate::config::Eviction;
use crate::shard::Millis;
use crate::stdx::random::Random;

/// The counter of a new key: above 0, so that it is not the first to go.
const INITIAL: u32 = 5;
const COUNTER_MAX: u32 = 255;
const MILLIS_PER_MINUTE: Millis = 60_000;

/// The settings, and the time.
#[derive(Clone, Debug)]
pub(super) struct Lfu {
    log_factor: u32,
    decay_time: u32,
    /// Modulo 2^16.
    minute: u32,
}

impl Lfu {
    pub(super) fn new(eviction: &Eviction) -> Self {
        Self { log_factor: eviction.lfu_log_factor, decay_time: eviction.lfu_decay_time, minute: 0 }
    }

    pub(super) fn set(&mut self, eviction: &Eviction) {
        *self = Self { minute: self.minute, ..Self::new(eviction) };
    }

    #[inline]
    pub(super) fn set_now(&mut self, now: Millis) {
        self.minute = (now / MILLIS_PER_MINUTE) as u32 & 0xffff;
    }

    #[inline]
    pub(super) fn fresh(&self) -> u32 {
        self.minute << 8 | INITIAL
    }

    #[inline]
    pub(super) fn used(&self, bits: u32, random: &mut Random) -> u32 {
        self.minute << 8 | self.increased(self.counter(bits), random)
    }

    /// The counter as it is by now.
    #[inline]
    fn counter(&self, bits: u32) -> u32 {
        let (minute, counter) = (bits >> 8, bits & COUNTER_MAX);
        // Redis takes the clock's round to be of 65535 minutes.
        let elapsed = if self.minute >= minute { self.minute - minute } else { 65535 - minute + self.minute };
        counter.saturating_sub(elapsed.checked_div(self.decay_time).unwrap_or(0))
    }

    #[inline]
    fn increased(&self, counter: u32, random: &mut Random) -> u32 {
        if counter == COUNTER_MAX {
            return counter;
        }
        let above = u64::from(counter.saturating_sub(INITIAL));
        // One in so many uses counts.
        let every = above * u64::from(self.log_factor) + 1;
        counter + u32::from(every == 1 || random.below(every as usize) == 0)
    }

    #[inline]
    pub(super) fn rank(&self, bits: u32) -> u64 {
        u64::from(COUNTER_MAX - self.counter(bits))
    }

    pub(super) fn frequency(&self, bits: u32) -> u8 {
        self.counter(bits) as u8
    }
}
