//! A histogram of run times: 32 buckets for each doubling, so that a percentile is off by at most 3 %.
//!
//! ```text
//! 0 1 2 ... 31 | 32 33 ... 63 | 64 66 ... 126 | 128 132 ... | ... up to 68 seconds, in nanoseconds
//! ```

use super::Counter;

/// Buckets for each doubling, as a power of two.
const SHIFT: u32 = 5;
const WIDTH: usize = 1 << SHIFT;
/// Times from 2 to this power of nanoseconds on, 68 seconds, are counted in the last bucket.
const TOP: u32 = 36;
const BUCKETS: usize = WIDTH * (TOP - SHIFT + 1) as usize;

/// Run times of one command on one core.
#[derive(Debug)]
pub struct Latency(Box<[Counter]>);

impl Default for Latency {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| Counter::default()).collect())
    }
}

impl Latency {
    /// Counts one run. Only the owning core may call this.
    #[inline]
    pub fn record(&self, nanoseconds: u64) {
        self.0[bucket(nanoseconds)].add(1);
    }

    /// Adds all counts to `totals`.
    pub fn add_to(&self, totals: &mut LatencyTotals) {
        totals.0.resize(BUCKETS, 0);
        for (total, counter) in totals.0.iter_mut().zip(&self.0) {
            *total += counter.get();
        }
    }
}

/// Run times as plain numbers.
#[derive(Clone, Debug, Default)]
pub struct LatencyTotals(Vec<u64>);

impl LatencyTotals {
    /// Takes away what had been counted at `baseline`.
    pub fn subtract(&mut self, baseline: &Self) {
        for (total, before) in self.0.iter_mut().zip(&baseline.0) {
            *total -= (*total).min(*before);
        }
    }

    /// The time in nanoseconds that `percent` of the runs did not exceed; `None` when nothing has run.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let runs: u64 = self.0.iter().sum();
        let wanted = ((runs as f64 * percent / 100.0).ceil() as u64).clamp(1, runs.max(1));
        let mut seen = 0;
        let reached = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.map(upper)
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let top = nanoseconds.checked_ilog2().unwrap_or(0);
    if top < SHIFT {
        return nanoseconds as usize;
    }
    let doubling = (top - SHIFT) as usize;
    (doubling * WIDTH + (nanoseconds >> doubling) as usize).min(BUCKETS - 1)
}

/// The largest time that falls into a bucket.
fn upper(bucket: usize) -> u64 {
    let doubling = (bucket / WIDTH).saturating_sub(1);
    (((bucket - doubling * WIDTH + 1) as u64) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::random::Random;

    #[test]
    fn a_bucket_holds_what_its_bound_says() {
        for nanoseconds in (0..5000).chain([1 << 20, (1 << 20) - 1, (1 << 36) - 1]) {
            let bound = upper(bucket(nanoseconds));
            assert!(bound >= nanoseconds && bound as f64 <= nanoseconds as f64 * 1.04, "{nanoseconds} {bound}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_agree_with_a_sorted_list() {
        let (latency, mut random, mut times) = (Latency::default(), Random::new(7), Vec::new());
        for _ in 0..10_000 {
            let bits = random.below(30);
            let time = random.below(1 << bits) as u64;
            latency.record(time);
            times.push(time);
        }
        times.sort_unstable();
        let mut totals = LatencyTotals::default();
        latency.add_to(&mut totals);
        for percent in [1.0, 50.0, 99.0, 99.9, 100.0] {
            let exact = times[((times.len() as f64 * percent / 100.0).ceil() as usize).max(1) - 1];
            let found = totals.percentile(percent).expect("something has run");
            assert!(found >= exact && found as f64 <= exact as f64 * 1.04 + 1.0, "p{percent}: {exact} {found}");
        }
        let all = totals.clone();
        totals.subtract(&all);
        assert_eq!(totals.percentile(50.0), None);
    }
}
