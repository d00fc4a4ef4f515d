//! Crimson beside `redis-server` on the same machine in the same run.
//!
//! ```text
//! cargo bench --bench vs_redis -- [--quick] [--json FILE] [--tests GET,SET] [--only TEXT] [--crimson BINARY]
//! ```
//!
//! Both servers run pinned to one CPU and are loaded in turn by redis-benchmark from another; every case is measured several
//! times, alternating, and the median is shown. CPU time is that of the server's own threads, from schedstat: unlike
//! requests/s it does not depend on how fast the client is. Needs two CPUs, redis-server, redis-benchmark and taskset.
//!
//! What redis-benchmark cannot send comes from a client of this program's own in its place (`load`):
//!
//! - `MULTI of 5 INCR`: MULTI, five INCRs of keys with one tag and EXEC are one request, `P` of them are sent at once.
//! - `BLPOP by 50 consumers`: ten producers, each with `P` RPUSHes at once; an element is a request, and its latency is that
//!   from the push to the consumer.
//! - `PUBLISH to 1, 100, 1000 subscribers`: ten publishers, each with `P` PUBLISHes at once; a PUBLISH is a request, however
//!   many get it, and latencies are those from it to each subscriber.
//! - `MSET of 10 on 2 shards ...: any keys | one tag`: Crimson alone, in the columns of both servers; the ratio says what it
//!   costs that the keys are on both shards.

#[path = "../../tests/support/mod.rs"]
mod support;

mod load;
mod measure;
mod plan;
mod report;

use measure::{Machine, Measured};
use plan::Options;
use std::time::Instant;

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{}", plan::USAGE);
            std::process::exit(2);
        }
    };
    let started = Instant::now();
    let machine = Machine::check().unwrap_or_else(|missing| {
        eprintln!("{missing}");
        std::process::exit(1);
    });
    let measured: Vec<Measured> = measure::run(&options, &machine, &mut |line| eprintln!("{line}"));
    println!("{}", report::table(&measured));
    if let Some(path) = &options.json {
        let text = report::json(&measured, &machine, &options);
        std::fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
    eprintln!("{:.0} s", started.elapsed().as_secs_f64());
}
