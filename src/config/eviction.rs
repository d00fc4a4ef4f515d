//! `maxmemory-policy` and what goes with it: which keys go when memory is used up.

/// Which keys go when memory is used up, and by what they are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Of those with a time to live, the one that was not used for longest.
    VolatileLru,
    /// Of those with a time to live, the one least used of late.
    VolatileLfu,
    /// Of those with a time to live, any.
    VolatileRandom,
    /// The one that expires first.
    VolatileTtl,
    /// The one that was not used for longest.
    AllkeysLru,
    /// The one least used of late.
    AllkeysLfu,
    /// Any.
    AllkeysRandom,
    /// None.
    #[default]
    Noeviction,
}

impl EvictionPolicy {
    /// As the directive writes them, in the order of the discriminants, which is Redis's.
    pub const NAMES: &'static [&'static str] = &[
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "noeviction",
    ];

    /// All of them, in the order of [`EvictionPolicy::NAMES`].
    pub const ALL: [Self; 8] = [
        Self::VolatileLru,
        Self::VolatileLfu,
        Self::VolatileRandom,
        Self::VolatileTtl,
        Self::AllkeysLru,
        Self::AllkeysLfu,
        Self::AllkeysRandom,
        Self::Noeviction,
    ];

    /// The one at `index` of [`EvictionPolicy::NAMES`].
    pub fn from_index(index: usize) -> Self {
        Self::ALL[index]
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether it takes keys with a time to live only.
    pub fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }

    /// Whether it takes any key, without comparing several.
    pub fn is_random(self) -> bool {
        matches!(self, Self::VolatileRandom | Self::AllkeysRandom)
    }

    /// Whether it goes by how often keys are used, as Redis counts that.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }
}

/// The directives of eviction but for the limit; each is one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// `maxmemory-policy`.
    pub policy: EvictionPolicy,
    /// `maxmemory-samples`: keys that are looked at for each that goes.
    pub samples: u32,
    /// `maxmemory-eviction-tenacity`: how long one command may be held up to make room.
    pub tenacity: u32,
    /// `lfu-log-factor`: how slowly the counter of uses grows.
    pub lfu_log_factor: u32,
    /// `lfu-decay-time`: minutes in which it loses one; 0: never.
    pub lfu_decay_time: u32,
}

impl Eviction {
    /// Nanoseconds for which one command may be held up to make room; `None`: as long as it takes. From 11 on each step
    /// adds 15 percent, as in Redis.
    pub fn time_limit(&self) -> Option<u64> {
        match self.tenacity {
            0..=10 => Some(50_000 * u64::from(self.tenacity)),
            11..=99 => Some((500_000.0 * 1.15_f64.powi(self.tenacity as i32 - 10)) as u64),
            _ => None,
        }
    }
}

impl Default for Eviction {
    fn default() -> Self {
        Self { policy: EvictionPolicy::Noeviction, samples: 5, tenacity: 10, lfu_log_factor: 10, lfu_decay_time: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_policies_are_in_one_order() {
        assert_eq!(EvictionPolicy::NAMES.len(), EvictionPolicy::ALL.len());
        for (index, policy) in EvictionPolicy::ALL.into_iter().enumerate() {
            assert_eq!((policy as usize, EvictionPolicy::from_index(index)), (index, policy));
            assert_eq!(policy.name().starts_with("volatile-"), policy.is_volatile());
            assert_eq!(policy.name().ends_with("-random"), policy.is_random());
            assert_eq!(policy.name().ends_with("-lfu"), policy.is_lfu());
        }
    }
}
