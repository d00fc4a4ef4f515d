//! The append-only log as bytes: records ([`record`]), the batches they stand in ([`batch`]), reading them back
//! ([`reader`]), the list of files ([`manifest`]) and looking after them ([`check`]). `docs/AOF.md` draws all of it.

pub mod batch;
pub mod check;
pub mod manifest;
pub mod reader;
pub mod record;
mod redis;
mod scan;
mod walk;

pub use batch::{Kind, Sealer, SegmentId};
pub use manifest::{Entry, Manifest, Origin, Verdict};
pub use reader::{Damage, End, Format, Reader, Reason, Step};
pub use record::{Encoder, Transaction};
