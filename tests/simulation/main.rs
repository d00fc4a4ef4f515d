//! The engine under a seeded scheduler: several engines in one thread, their messages late, clients whose commands
//! conflict (`tests/support/world.rs`). What they are answered must be what a single-threaded server could have answered.
//!
//! - `commands`        pipelines over several shards, pauses, clients that leave
//! - `transactions`    MULTI and WATCH
//! - `blocking`        clients that wait
//! - `trying`          moves that wait, from one shard to another, and what comes to them meanwhile
//! - `pubsub`          subscribers and publishers
//! - `tracking`        clients that keep what they read
//! - `watching`        monitors that come and go, and the slow log
//! - `clients`         the memory that clients take, and its limit
//! - `durability`      logs on a disk that loses power and fails, judged by what clients remember
//! - `serializability` all of it mixed at random, judged by a model, and faults that the judge must find

mod blocking;
mod clients;
mod commands;
mod durability;
mod pubsub;
mod serializability;
mod tracking;
mod transactions;
mod trying;
mod watching;

#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/records.rs"]
mod records;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../support/reply.rs"]
mod reply;
#[path = "../support/world.rs"]
mod world;
