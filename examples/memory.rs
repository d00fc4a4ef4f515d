//! Resident bytes per key of a plain database, at several fills: `cargo run --release --example memory -- 16 3000000`
//! for values of 16 bytes and up to three million keys `key:000000000001`. The first column is what the process holds,
//! less what it held before the first key; the second what table and records account for.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/support/process.rs"]
mod process;

use crimson::shard::{Database, Expiry};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const STEP: usize = 500_000;

fn argument(number: usize, default: usize) -> usize {
    std::env::args().nth(number).map_or(default, |text| text.parse().expect("a number"))
}

fn main() {
    let (value_len, keys) = (argument(1, 16), argument(2, 3_000_000));
    let value = vec![b'v'; value_len];
    let before = process::resident_bytes(std::process::id());
    let mut db = Database::new();
    for index in 1..=keys {
        db.set_string(format!("key:{index:012}").as_bytes(), &value, Expiry::Never);
        if index % STEP == 0 || index == keys {
            let resident = (process::resident_bytes(std::process::id()) - before) as f64 / index as f64;
            let accounted = db.memory_bytes() as f64 / index as f64;
            println!("{index:>10} keys {resident:7.2} resident {accounted:7.2} accounted bytes a key");
        }
    }
}
