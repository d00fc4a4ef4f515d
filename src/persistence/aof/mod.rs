//! The append-only log as bytes: records ([`record`]), the batches they stand in ([`batch`]), reading them back
//! ([`reader`]), the list of files ([`manifest`]) and looking after them ([`check`]). `docs/AOF.md` draws all of it.
//!
//! What shards log: pending records ([`records`]), transactions over several shards ([`transaction`]) and which of them a
//! shard has seen ([`stamps`]), whole values ([`rebuild`]).

pub mod batch;
pub mod check;
mod encode;
pub mod manifest;
pub mod reader;
pub mod rebuild;
pub mod record;
pub mod records;
mod redis;
mod scan;
pub mod stamps;
pub mod transaction;
mod walk;

pub use batch::{Kind, Sealer, SegmentId};
pub use manifest::{Entry, Manifest, Origin, Verdict};
pub use reader::{Damage, End, Format, Reader, Reason, Step};
pub use record::Encoder;
pub use records::Records;
pub use stamps::{Missing, Stamps};
pub use transaction::{Transaction, TransactionView};
