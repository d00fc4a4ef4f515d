//! What outlives the process: bytes of the append-only log, made and taken apart. Nothing here knows files or a clock.

pub mod aof;
