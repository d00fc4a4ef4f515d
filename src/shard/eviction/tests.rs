//! Each policy's choice of victims.

use super::*;

fn usage(policy: EvictionPolicy) -> Usage {
    let mut usage = Usage::new(1);
    usage.set(&Eviction { policy, ..Eviction::default() });
    usage.set_now(1_000_000_000);
    usage
}

/// The order in which keys with these bits and expiries go, all of them looked at.
fn order(usage: &Usage, keys: &[(u32, Option<Millis>)]) -> Vec<usize> {
    let mut pool = Pool::default();
    for (key, &(bits, expires)) in keys.iter().enumerate() {
        pool.offer(usage.rank(bits, expires), key);
    }
    std::iter::from_fn(|| pool.take()).map(|candidate| candidate.key).collect()
}

#[test]
fn lru_takes_what_was_not_used_for_longest() {
    for policy in [EvictionPolicy::AllkeysLru, EvictionPolicy::VolatileLru] {
        let mut usage = usage(policy);
        let mut bits = [0; 4];
        for (at, key) in [(0, 0), (5, 1), (9, 2), (12, 3), (15, 1), (17, 0)] {
            usage.set_now(1_000_000_000 + at * 1000);
            bits[key] = if bits[key] == 0 { usage.fresh(0) } else { usage.used(bits[key]) };
        }
        assert_eq!(order(&usage, &bits.map(|bits| (bits, None))), [2, 3, 1, 0]);
        assert_eq!((usage.idle_seconds(bits[2]), usage.frequency(bits[2])), (Some(8), None));
    }
}

#[test]
fn lru_survives_that_its_clock_goes_round() {
    let mut usage = usage(EvictionPolicy::AllkeysLru);
    usage.set_now(((1 << 24) - 1) * 1000);
    let before = usage.fresh(0);
    usage.set_now((1 << 24) * 1000);
    let after = usage.fresh(0);
    assert_eq!((before, after), ((1 << 24) - 1, 0));
    usage.set_now(((1 << 24) + 9) * 1000);
    assert_eq!(order(&usage, &[(after, None), (before, None)]), [1, 0]);
}

#[test]
fn lfu_takes_what_is_used_least() {
    let mut usage = usage(EvictionPolicy::AllkeysLfu);
    let mut bits = [usage.fresh(0); 4];
    for (key, uses) in [(0, 300), (1, 0), (2, 5000), (3, 1)] {
        for _ in 0..uses {
            bits[key] = usage.used(bits[key]);
        }
    }
    assert_eq!(order(&usage, &bits.map(|bits| (bits, None))), [1, 3, 0, 2]);
    assert_eq!((usage.idle_seconds(bits[1]), usage.frequency(bits[1])), (None, Some(5)));
    assert_eq!(usage.frequency(bits[3]), Some(6));
}

#[test]
fn the_lfu_counter_is_that_of_redis() {
    let mut usage = usage(EvictionPolicy::VolatileLfu);
    // The table in redis.conf: what the counter is on average after so many uses.
    for (log_factor, uses, low, high) in
        [(0, 100, 105, 105), (10, 100, 7, 15), (10, 1000, 14, 25), (10, 100_000, 120, 170), (100, 1000, 6, 16)]
    {
        let lfu_log_factor = log_factor;
        usage.set(&Eviction { policy: EvictionPolicy::AllkeysLfu, lfu_log_factor, ..Eviction::default() });
        let mut bits = usage.fresh(0);
        (0..uses).for_each(|_| bits = usage.used(bits));
        let counter = bits & 255;
        assert!((low..=high).contains(&counter), "factor {log_factor}, {uses} uses: {counter}");
    }
}

#[test]
fn the_lfu_counter_decays() {
    let mut usage = usage(EvictionPolicy::AllkeysLfu);
    usage.set_now(60_000 * 65_530);
    let bits = 65_530 << 8 | 100;
    let mut after = |minutes: i64, decay_time| {
        let policy = EvictionPolicy::AllkeysLfu;
        usage.set(&Eviction { policy, lfu_decay_time: decay_time, ..Eviction::default() });
        usage.set_now(60_000 * (65_530 + minutes));
        usage.frequency(bits)
    };
    assert_eq!(after(0, 1), Some(100));
    assert_eq!(after(3, 1), Some(97));
    assert_eq!(after(3, 2), Some(99));
    assert_eq!(after(3, 0), Some(100));
    // Minute 4 after the clock has gone round at 65,536: 10 minutes, 9 as Redis counts.
    assert_eq!(after(10, 1), Some(91));
    assert_eq!(after(300, 1), Some(0));
}

#[test]
fn ttl_takes_what_expires_first() {
    let usage = usage(EvictionPolicy::VolatileTtl);
    let expiries = [Some(5_000), Some(1_000), Some(9_000), None, Some(-1)];
    assert_eq!(order(&usage, &expiries.map(|at| (0, at))), [4, 1, 0, 2, 3]);
}

#[test]
fn the_pool_keeps_the_best() {
    let mut pool = Pool::default();
    let mut random = Random::new(7);
    let mut ranks: Vec<u64> = (0..200).map(|_| random.next_u64()).collect();
    for (key, &rank) in ranks.iter().enumerate() {
        pool.offer(rank, key);
    }
    ranks.sort_by(|a, b| b.cmp(a));
    let taken: Vec<u64> = std::iter::from_fn(|| pool.take()).map(|candidate| candidate.rank).collect();
    assert_eq!(taken, ranks[..16]);
    // A key that is offered again is there once, as it is now.
    for rank in [5, 3, 9] {
        pool.offer(rank, 1);
        pool.offer(4, 2);
    }
    let taken: Vec<_> = std::iter::from_fn(|| pool.take()).map(|candidate| (candidate.rank, candidate.key)).collect();
    assert_eq!(taken, [(9, 1), (4, 2)]);
}
