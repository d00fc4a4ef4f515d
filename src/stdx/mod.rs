//! What the standard library lacks: number text, glob patterns, checksums, random numbers, quoted words. Knows nothing
//! of Redis's commands or data.

pub mod crc;
pub mod glob;
pub mod number;
pub mod os;
pub mod random;
pub mod words;
