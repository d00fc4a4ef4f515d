//! Crimson: a Redis-compatible, thread-per-core, shared-nothing in-memory data store.
//!
//! The rooms, from the bottom up. A room uses only rooms above it in this list; `tests/tidy.rs` checks it.
//!
//! - [`limits`]      every bound, with its reason
//! - [`stdx`]        what the standard library lacks; knows nothing of Redis
//! - [`resp`]        the wire protocol, no I/O: request parser, arguments, reply writer, client-visible errors
//! - [`structures`]  containers: segment hash table, slab, listpack, intset, quicklist
//! - [`config`]      the table of directives and the file parser
//! - [`metrics`]     counters that one core writes and every core may read
//! - [`spec`]        what a command is: name, arity, flags, categories, key specs, policies
//! - [`types`]       Redis's data types as values, with their encodings
//! - [`persistence`] files: the append-only log as bytes, its manifest, the seam to the disk
//! - [`shard`]       one core's data: databases, expiry, scan, snapshots, routing
//! - [`session`]     one client's state
//! - [`acl`]         who may do what: the default user and its password, the check of a command
//! - [`pubsub`]      who subscribes to what: one core's subscribers, and which other cores have some
//! - [`commands`]    the command rows and their handlers, one file a group
//! - [`engine`]      the per-core state machine, no I/O: dispatch, hops, mailbox messages
//! - [`runtime`]     the only room that knows glommio and io_uring
//! - [`server`]      boot, signals, shutdown
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod limits;
pub mod stdx;

pub mod config;
pub mod metrics;
pub mod resp;
pub mod structures;

pub mod spec;
pub mod types;

pub mod persistence;

pub mod session;
pub mod shard;

pub mod acl;
pub mod pubsub;

pub mod commands;
pub mod engine;
pub mod runtime;
pub mod server;
