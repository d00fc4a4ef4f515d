//! Least recently used: the bits are the second of the last use. They go round after 194 days, as Redis's.

use crate::shard::Millis;
use crate::structures::record::ACCESS_MASK;

/// The time as the bits have it.
#[inline]
pub(super) fn seconds(now: Millis) -> u32 {
    (now / 1000) as u32 & ACCESS_MASK
}

/// Seconds between the use that `bits` tells of and `seconds`.
#[inline]
pub(super) fn idle(seconds: u32, bits: u32) -> u32 {
    seconds.wrapping_sub(bits) & ACCESS_MASK
}
