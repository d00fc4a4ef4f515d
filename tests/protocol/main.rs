//! The wire, as bytes: malformed requests and their exact errors, requests in any pieces, long pipelines, large values,
//! replies in order across shards, and what ends a connection.
//!
//! Every test runs with 1 and with 4 shards; where Redis's answer is the specification, `redis-server` is asked.

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod blocking;
mod connections;
mod departures;
mod errors;
mod eviction;
mod framing;
mod freeing;
mod limits;
mod memory;
mod monitor;
mod order;
mod pubsub;
mod slowlog;
mod tracking;
mod transactions;

/// Shard counts that every test runs with.
const SHARDS: [usize; 2] = [1, 4];
