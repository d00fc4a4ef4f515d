//! Containers that the data types are made of. They know bytes and numbers, nothing of commands or replies.

pub mod intset;
pub mod listpack;
pub mod quicklist;
pub mod record;
pub mod records;
pub mod slab;
mod table;

pub use records::{ByteTable, Expiry, NewBody, RecordTable, Written};
pub use slab::{Heap, Slab};
