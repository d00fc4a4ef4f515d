//! What is compared: every load at every size, and the caches that run on it.

pub mod plot;
pub mod redis;
pub mod references;
pub mod report;
pub mod simulated;
pub mod workload;

use crimson::config::EvictionPolicy;
use simulated::Simulation;
use std::path::PathBuf;
use workload::Workload;

/// How the benchmark is called.
pub const USAGE: &str = "usage: hit_ratio [--keys N] [--requests N] [--only TEXT] [--no-redis] [--plot FILE]
  --keys      different keys in each load (100000)
  --requests  requests of each load (2000000)
  --only      only loads whose name contains this text, such as zipf
  --no-redis  without redis-server
  --plot      draw the results into an SVG file";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Different keys.
    pub keys: usize,
    /// Requests of a load.
    pub requests: usize,
    /// A part of the names of the loads.
    pub only: String,
    /// Whether redis-server runs, too.
    pub redis: bool,
    /// Where the plot goes.
    pub plot: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { keys: 100_000, requests: 2_000_000, only: String::new(), redis: true, plot: None }
    }
}

impl Options {
    /// Reads the command line; cargo's own `--bench` is passed over.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
            match &argument[..] {
                "--bench" => {}
                "--keys" => options.keys = number(value()?)?,
                "--requests" => options.requests = number(value()?)?,
                "--only" => options.only = value()?,
                "--no-redis" => options.redis = false,
                "--plot" => options.plot = Some(value()?.into()),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        if options.keys < 100 || options.requests == 0 { Err("too small".into()) } else { Ok(options) }
    }
}

/// The sizes of the caches, in percent of the different keys.
pub const SIZES_PERCENT: [usize; 3] = [1, 10, 50];

/// Hit ratios of one load at one size.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The load.
    pub workload: &'static str,
    /// The cache's size.
    pub percent: usize,
    /// redis-server's allkeys-lru and allkeys-lfu.
    pub redis: Option<[f64; 2]>,
    /// How many keys these held on average, as a part of the size.
    pub redis_keys: [f64; 2],
    /// Crimson's policies, in the order of [`POLICIES`], with `maxmemory-samples 5`.
    pub policies: [f64; 4],
    /// The same with `maxmemory-samples 10`.
    pub policies_10: [f64; 4],
    /// The exact algorithms, in the order of [`references::NAMES`].
    pub exact: [f64; 4],
}

/// Crimson's policies that are compared.
pub const POLICIES: [EvictionPolicy; 4] = [
    EvictionPolicy::AllkeysLru,
    EvictionPolicy::AllkeysLfu,
    EvictionPolicy::AllkeysRandom,
    EvictionPolicy::AllkeysLrfu,
];

/// Runs everything that `options` asks for; `tell` is told how far it is.
pub fn run(options: &Options, tell: &mut dyn FnMut(&str)) -> Vec<Cell> {
    let mut cells = Vec::new();
    for workload in Workload::ALL.into_iter().filter(|workload| workload.name().contains(&options.only[..])) {
        let trace = workload.trace(options.keys, options.requests);
        for percent in SIZES_PERCENT {
            tell(&format!("{}, {percent} %", workload.name()));
            cells.push(cell(options, workload, percent, &trace));
        }
    }
    cells
}

fn cell(options: &Options, workload: Workload, percent: usize, trace: &[u32]) -> Cell {
    let size = options.keys * percent / 100;
    let redis = options.redis.then(|| ["allkeys-lru", "allkeys-lfu"].map(|policy| redis::run(policy, size, trace)));
    let simulate = |samples| POLICIES.map(|policy| Simulation::new(policy, samples, options.keys, size).run(trace));
    Cell {
        workload: workload.name(),
        percent,
        redis: redis.map(|runs| runs.map(|run| run.hit_ratio)),
        redis_keys: redis.map_or([1.0; 2], |runs| runs.map(|run| run.keys / size as f64)),
        policies: simulate(5),
        policies_10: simulate(10),
        exact: references::RUN.map(|run| run(trace, options.keys, size)),
    }
}
