//! What the standard library lacks: number text, long doubles, glob patterns, prefixes, checksums, random numbers, quoted words,
//! secrets, buffers in huge pages, files in memory, calls of the operating system and of the allocator, facts about the
//! process. Knows nothing of Redis's commands or data.

pub mod allocation;
pub mod buffer;
pub mod crc;
pub mod glob;
pub mod long_double;
pub mod mapped;
pub mod number;
pub mod os;
pub mod prefix;
pub mod process;
pub mod random;
pub mod secret;
pub mod words;
