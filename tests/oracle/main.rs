//! Crimson beside `redis-server`: random sequences whose every reply must be equal, with 1 and several shards, RESP2 and
//! RESP3, one by one and pipelined; and written sessions for what the installed `redis-server` does not know yet.
//!
//! `ORACLE_SUBJECT=redis` runs `redis-server` against itself, which checks these tests rather than Crimson.

#[path = "../support/mod.rs"]
mod support;

mod compare;
mod coverage;
mod events;
mod generate;
mod known;
mod random;
mod run;
mod sessions;
mod shrink;
