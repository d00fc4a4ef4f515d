//! Hit ratios of the eviction policies on generated loads, beside those of a real `redis-server` and of exact algorithms.
//!
//! ```text
//! cargo bench --bench hit_ratio -- [--keys N] [--requests N] [--only TEXT] [--no-redis] [--plot FILE]
//! ```
//!
//! A cache is used look-aside: GET, and SET after a miss. Crimson's policies run in the process: the functions that the
//! server uses, over a table of nothing but keys. redis-server is driven through a socket with the same requests and made to
//! hold as many keys. Needs redis-server unless told otherwise.

#[path = "../../tests/support/mod.rs"]
mod support;

mod compare;

use compare::{Options, plot, report};

fn main() {
    let options = Options::parse(std::env::args().skip(1)).unwrap_or_else(|error| {
        eprintln!("{error}\n{}", compare::USAGE);
        std::process::exit(2);
    });
    let cells = compare::run(&options, &mut |line| eprintln!("{line}"));
    println!("{}", report::tables(&cells));
    if let Some(path) = &options.plot {
        std::fs::write(path, plot::svg(&cells))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}
