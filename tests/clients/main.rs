//! Real clients, from their registries and from Debian: redis-py, redis-rs, redis-cli and redis-benchmark, with 1 and
//! with 4 shards, RESP2 and RESP3.

#[path = "../support/mod.rs"]
mod support;

mod python;
mod rust;
mod tools;
mod watching;

/// Shard counts that every client meets.
const SHARDS: [usize; 2] = [1, 4];
