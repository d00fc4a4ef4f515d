//! Boot, signals, shutdown.
