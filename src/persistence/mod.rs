//! What lies on disk, as bytes: the append-only log ([`aof`]). Nothing here opens a file but through the seam
//! [`storage`], so that the same code runs on a real file system and on the simulated one.

pub mod aof;
pub mod storage;
