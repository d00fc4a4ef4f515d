//! What the standard library lacks: number text, glob patterns, checksums, random numbers, facts about the process.
//! Knows nothing of Redis's commands or data.

pub mod crc;
pub mod glob;
pub mod number;
pub mod process;
pub mod random;
