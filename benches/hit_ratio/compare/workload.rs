//! The loads: which key each request asks for. The same seed gives the same load.

use crimson::stdx::random::Random;

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Zipf with the exponent 0.7: popularity falls slowly.
    Zipf07,
    /// Zipf with the exponent 0.99.
    Zipf099,
    /// Zipf with the exponent 1.2: few keys take most requests.
    Zipf12,
    /// Zipf (0.99) over half of the keys. After so many requests as there are keys twice, less a tenth, a tenth of the keys is
    /// scanned, one after another, from the other half, every second request meanwhile. The next scan goes on behind it.
    Scan,
    /// Zipf (0.99) whose hot set is replaced: after five times as many requests as there are keys, the ranks move on by a
    /// tenth of the keys.
    Jumping,
    /// Zipf (0.99) whose ranks move on by one every 50 requests: each key becomes hotter and then cold at once.
    Drifting,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Zipf07, Self::Zipf099, Self::Zipf12, Self::Scan, Self::Jumping, Self::Drifting];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zipf07 => "zipf 0.7",
            Self::Zipf099 => "zipf 0.99",
            Self::Zipf12 => "zipf 1.2",
            Self::Scan => "zipf 0.99 with scans",
            Self::Jumping => "hot set jumps",
            Self::Drifting => "hot set drifts",
        }
    }

    /// The keys that are asked for, below `keys`.
    pub fn trace(self, keys: usize, requests: usize) -> Vec<u32> {
        let mut random = Random::new(0x5eed + self as u64);
        let exponent = match self {
            Self::Zipf07 => 0.7,
            Self::Zipf12 => 1.2,
            _ => 0.99,
        };
        let hot = if self == Self::Scan { keys / 2 } else { keys };
        let zipf = Zipf::new(hot, exponent);
        let mut scanned = 0;
        let mut key = |request: usize| {
            let rank = zipf.draw(&mut random);
            match self {
                Self::Scan if request % (2 * keys) >= 2 * (keys - keys / 10) && request.is_multiple_of(2) => {
                    scanned += 1;
                    hot + scanned % (keys - hot)
                }
                Self::Jumping => (rank + request / (5 * keys) * (keys / 10)) % keys,
                Self::Drifting => (rank + request / 50) % keys,
                _ => rank,
            }
        };
        (0..requests).map(|request| key(request) as u32).collect()
    }
}

/// Ranks from 0, each drawn with a probability that falls with a power of the rank.
struct Zipf {
    /// What fraction of draws is at most this rank.
    cumulative: Vec<f64>,
}

impl Zipf {
    fn new(ranks: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut add = |rank: usize| {
            sum += (rank as f64).powf(-exponent);
            sum
        };
        let sums: Vec<f64> = (1..=ranks).map(&mut add).collect();
        Self { cumulative: sums.iter().map(|part| part / sum).collect() }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        self.cumulative.partition_point(|&fraction| fraction < at).min(self.cumulative.len() - 1)
    }
}
