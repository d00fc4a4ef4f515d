//! How much is logged. The level in force is a process-wide number, because the log is: the log's filter reads it, and
//! CONFIG SET changes it through [`LogLevel::apply`].

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use tracing::metadata::LevelFilter;

/// How much is logged, from most to least; the order of [`LogLevel::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything, for development.
    Debug,
    /// Much that is rarely useful.
    Verbose,
    /// What is wanted in production.
    Notice,
    /// Only what is important or critical.
    Warning,
    /// Nothing.
    Nothing,
}

static IN_FORCE: AtomicU8 = AtomicU8::new(LogLevel::Notice as u8);

impl LogLevel {
    /// The names, as the directive's values.
    pub const NAMES: &'static [&'static str] = &["debug", "verbose", "notice", "warning", "nothing"];

    /// The level at this place in [`LogLevel::NAMES`]; the last one for any place behind.
    pub fn from_index(index: usize) -> Self {
        match index {
            0 => Self::Debug,
            1 => Self::Verbose,
            2 => Self::Notice,
            3 => Self::Warning,
            _ => Self::Nothing,
        }
    }

    /// The least severe events this level lets through.
    pub fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::TRACE,
            Self::Verbose => LevelFilter::DEBUG,
            Self::Notice => LevelFilter::INFO,
            Self::Warning => LevelFilter::WARN,
            Self::Nothing => LevelFilter::OFF,
        }
    }

    /// The level in force.
    pub fn in_force() -> Self {
        Self::from_index(usize::from(IN_FORCE.load(Relaxed)))
    }

    /// Puts this level in force. Events remember whether they are wanted, so they are made to ask again.
    pub fn apply(self) {
        if IN_FORCE.swap(self as u8, Relaxed) != self as u8 {
            tracing::callsite::rebuild_interest_cache();
        }
    }
}
