//! How long single commands take while one shard grows: `cargo run --release --example growth -- 50000000 16` sets so
//! many keys `key:000000000001` with values of so many bytes through an engine, one request after another, and times
//! each from its bytes to its reply. No request waits for a table to be rehashed, however many keys there are: the longest
//! steps are to split a segment of some hundred keys and, rarely, to double the directory of the segments.
//!
//! Times are of the thread's own CPU, so that most of what else the machine does is no part of them; the last column is
//! the longest time by the clock on the wall. Memory is what the process holds, less what it held before the first key.

#[path = "../tests/support/loopback.rs"]
mod loopback;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/support/process.rs"]
mod process;

use crimson::config::Config;
use std::io::Write;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Longer times are counted here: no percentile that is shown is among them.
const NANOSECONDS_MAX: usize = 1_000_000;

/// So many of the slowest requests are told one by one.
const SLOWEST: usize = 12;

/// How often each time was measured, to the nanosecond, and the longest.
struct Times {
    counts: Vec<u64>,
    longest: u64,
    longest_by_wall: u64,
}

impl Times {
    fn new() -> Self {
        Self { counts: vec![0; NANOSECONDS_MAX + 1], longest: 0, longest_by_wall: 0 }
    }

    fn record(&mut self, own: u64, wall: u64) {
        self.counts[(own as usize).min(NANOSECONDS_MAX)] += 1;
        self.longest = self.longest.max(own);
        self.longest_by_wall = self.longest_by_wall.max(wall);
    }

    /// The time in microseconds that this part of all did not exceed.
    fn percentile(&self, part: f64) -> f64 {
        let wanted = (self.counts.iter().sum::<u64>() as f64 * part).ceil() as u64;
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        reached.unwrap_or(NANOSECONDS_MAX) as f64 / 1000.0
    }
}

/// CPU time of this thread in nanoseconds.
fn thread_nanoseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists since Linux 2.6.12, and `time` has room for its answer.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the thread's clock can be read");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn argument(number: usize, default: usize) -> usize {
    std::env::args().nth(number).map_or(default, |text| text.parse().expect("a number"))
}

fn main() {
    let (keys, value_len) = (argument(1, 5_000_000), argument(2, 16));
    let value = "v".repeat(value_len);
    let mut engine = loopback::Loopback::new(Config::default());
    let (mut request, mut reply) = (Vec::new(), Vec::with_capacity(64));
    let (mut all, mut since) = (Times::new(), Times::new());
    let mut slowest: Vec<(u64, usize)> = Vec::new();
    let before = process::resident_bytes(std::process::id());
    println!("      keys  bytes/key  µs: p50   p99.9  p99.99   longest  (of the last keys)  on the wall");
    for index in 1..=keys {
        request.clear();
        write!(request, "*3\r\n$3\r\nSET\r\n$16\r\nkey:{index:012}\r\n${value_len}\r\n{value}\r\n")
            .expect("a Vec grows");
        reply.clear();
        let (started, own) = (Instant::now(), thread_nanoseconds());
        engine.turn(&request, &mut reply);
        let (own, wall) = (thread_nanoseconds() - own, started.elapsed().as_nanos() as u64);
        assert!(reply == b"+OK\r\n", "{}", reply.escape_ascii());
        all.record(own, wall);
        since.record(own, wall);
        if slowest.last().is_none_or(|&(least, _)| own > least || slowest.len() < SLOWEST) {
            slowest.push((own, index));
            slowest.sort_unstable_by(|a, b| b.cmp(a));
            slowest.truncate(SLOWEST);
        }
        if index % (keys / 10).max(1) == 0 || index == keys {
            println!(
                "{index:10} {:10.2} {:8.2} {:7.2} {:7.2} {:9.1} {:20.1} {:12.1}",
                (process::resident_bytes(std::process::id()) - before) as f64 / index as f64,
                all.percentile(0.5),
                all.percentile(0.999),
                all.percentile(0.9999),
                all.longest as f64 / 1000.0,
                since.longest as f64 / 1000.0,
                all.longest_by_wall as f64 / 1000.0,
            );
            since = Times::new();
        }
    }
    println!("the slowest, with the number of the key:");
    slowest.iter().for_each(|(own, index)| println!("{:9.1} µs {index:10}", *own as f64 / 1000.0));
}
