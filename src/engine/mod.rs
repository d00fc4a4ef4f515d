//! The per-core state machine, without I/O.
