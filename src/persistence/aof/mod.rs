//! The append-only log as bytes: records ([`record`]), the batches they stand in ([`batch`]), reading them back
//! ([`reader`]), the list of files (the manifest). `docs/AOF.md` draws
//! all of it byte by byte.

pub mod batch;
pub mod reader;
pub mod record;
mod scan;
mod walk;
pub mod writer;

pub use batch::{Kind, Sealer, SegmentId};
pub use reader::{End, Format, Reader, Step};
pub use record::{Encoder, Transaction};
pub use writer::{Fsync, Writer};
