//! The append-only log. `docs/AOF.md` draws its files byte by byte.
//!
//! - `record`       one record: a RESP array of bulk strings
//! - `records`      records one behind the other, each in its database
//! - `rebuild`      the records that make a key's whole value
//! - `transaction`  the record of a transaction over several shards, the same on each of them
//! - `stage`        what such a transaction has logged before, piece by piece
//! - `stamps`       which of those a shard has seen
//! - `batch`        what was appended at once, and the line that seals it
//! - `chunk`        a piece of a file in memory
//! - `pending`      what outlives the process before its file has it
//! - `writer`       what is appended, written and known to be on disk
//! - `reader`       a file read back: only what stands in good batches
//! - `foreign`      what is none of its files
//! - `checkpoints`  up to where a file says that it is durable
//! - `again`        what may be in the page cache alone, written again
//! - `durable`      what one shard's log says of another's, compared
//! - `manifest`     which files make up the log, ours or Redis's
//! - `catalog`      the manifest as the process holds it that writes the log
//! - `check`        looking after them
//! - `cut`          what all shards change to at one moment

pub mod again;
pub mod batch;
pub mod catalog;
pub mod check;
pub mod checkpoints;
mod chunk;
pub mod cut;
pub mod durable;
pub mod foreign;
pub mod manifest;
pub mod pending;
pub mod reader;
pub mod rebuild;
pub mod record;
pub mod records;
mod redis;
mod scan;
pub mod stage;
pub mod stamps;
pub mod transaction;
mod walk;
pub mod writer;

pub use again::Doubt;
pub use batch::{Kind, LogId, Sealer, SegmentId, write_durable};
pub use catalog::Catalog;
pub use cut::{Cut, CutFiles};
pub use manifest::{Entry, Manifest, Origin, Verdict};
pub use reader::{Damage, End, Format, Reader, Reason, Step};
pub use records::Records;
pub use stage::{StageRecord, Stages};
pub use stamps::{Missing, Stamps};
pub use transaction::{Transaction, TransactionView};
pub use writer::{Direct, Writer};
