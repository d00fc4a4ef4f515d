//! The append-only log.
//!
//! - `encode`       one record: a RESP array of bulk strings
//! - `records`      records one behind the other, each in its database
//! - `rebuild`      the records that make a key's whole value
//! - `stamps`       which of those a shard has seen
//! - `transaction`  the record of a transaction over several shards, the same on each of them

pub mod encode;
pub mod rebuild;
pub mod records;
pub mod stamps;
pub mod transaction;

pub use records::Records;
pub use stamps::{Missing, Stamps};
pub use transaction::{Transaction, TransactionView};
