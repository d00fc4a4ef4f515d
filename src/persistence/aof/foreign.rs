//! What may lie where a file of the log should and is none: the snapshots of Redis and of its fork Valkey. They are told by
//! their first bytes, so that nobody takes them for a damaged log.
//!
//! ```text
//! REDIS0011     Redis's RDB format, version 11
//! VALKEY080     Valkey's, version 80
//! ```

use std::fmt;

/// As many bytes of a file tell.
pub const MAGIC_BYTES: usize = 9;

/// A snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// Of Redis, in this version of the format.
    Redis(u16),
    /// Of Valkey.
    Valkey(u16),
}

impl Snapshot {
    /// Whether a file that begins so is one.
    pub fn of(start: &[u8]) -> Option<Self> {
        let version = |digits: &[u8]| {
            let number =
                |version: u16, digit: &u8| digit.is_ascii_digit().then(|| version * 10 + u16::from(digit - b'0'));
            digits.iter().try_fold(0, number)
        };
        let start = start.get(..MAGIC_BYTES)?;
        match (start.strip_prefix(b"REDIS"), start.strip_prefix(b"VALKEY")) {
            (Some(digits), _) => version(digits).map(Self::Redis),
            (_, Some(digits)) => version(digits).map(Self::Valkey),
            _ => None,
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(version) => write!(f, "an RDB file of Redis (version {version})"),
            Self::Valkey(version) => write!(f, "an RDB file of Valkey (version {version})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_told_by_their_first_bytes() {
        assert_eq!(Snapshot::of(b"REDIS0011\xfa"), Some(Snapshot::Redis(11)));
        assert_eq!(Snapshot::of(b"VALKEY080"), Some(Snapshot::Valkey(80)));
        for other in [&b"REDIS001"[..], b"REDIS00x1", b"VALKEY08", b"*1\r\n$4\r\nPING\r\n"] {
            assert_eq!(Snapshot::of(other), None, "{}", other.escape_ascii());
        }
    }
}
