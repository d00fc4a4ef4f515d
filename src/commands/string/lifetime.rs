//! The options that say how long a string lives: EX, PX, EXAT, PXAT, KEEPTTL of SET and PERSIST of GETEX. Any two
//! different ones of them exclude each other.

use crate::resp::{CommandError, Cursor, args::integer};
use crate::shard::{Expiry, Millis};

/// The unit of a time to live, and what it counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Milliseconds,
    /// EXAT: seconds since the Unix epoch.
    UnixSeconds,
    /// PXAT: milliseconds since the Unix epoch.
    UnixMilliseconds,
}

impl Unit {
    /// Whether it counts from the epoch.
    pub(super) fn is_absolute(self) -> bool {
        matches!(self, Self::UnixSeconds | Self::UnixMilliseconds)
    }

    /// The time that `text` names in this unit. An error that names `command` when it is not after the epoch or does
    /// not fit; it may lie in the past.
    pub(super) fn resolve(self, text: &[u8], now: Millis, command: &'static str) -> Result<Millis, CommandError> {
        let scale = if matches!(self, Self::Seconds | Self::UnixSeconds) { 1000 } else { 1 };
        let base = if self.is_absolute() { 0 } else { now };
        let time = Some(integer(text)?).filter(|&count| count > 0).and_then(|count| count.checked_mul(scale));
        time.and_then(|time| time.checked_add(base)).ok_or(CommandError::InvalidExpire(command))
    }
}

/// What the options say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lifetime<'a> {
    /// There was no such option.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT with its value.
    Until(Unit, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// Takes EX, PX, EXAT or PXAT and its value if the next argument is one; whether it was.
    pub(super) fn take_until(&mut self, cursor: &mut Cursor<'a>) -> Result<bool, CommandError> {
        let unit = match () {
            () if cursor.take_if("ex") => Unit::Seconds,
            () if cursor.take_if("px") => Unit::Milliseconds,
            () if cursor.take_if("exat") => Unit::UnixSeconds,
            () if cursor.take_if("pxat") => Unit::UnixMilliseconds,
            () => return Ok(false),
        };
        self.say(Self::Until(unit, cursor.value()?))?;
        Ok(true)
    }

    /// Notes an option. The same one may come again and then counts; another one is a syntax error.
    pub(super) fn say(&mut self, next: Self) -> Result<(), CommandError> {
        let fits = match (*self, next) {
            (Self::Unsaid, _) => true,
            (Self::Until(before, _), Self::Until(unit, _)) => before == unit,
            (before, _) => before == next,
        };
        if !fits {
            return Err(CommandError::Syntax);
        }
        *self = next;
        Ok(())
    }

    /// What becomes of the time to live when the value is replaced.
    pub(super) fn expiry(self, now: Millis, command: &'static str) -> Result<Expiry, CommandError> {
        match self {
            Self::Unsaid | Self::Persist => Ok(Expiry::Never),
            Self::Keep => Ok(Expiry::Keep),
            Self::Until(unit, text) => unit.resolve(text, now, command).map(Expiry::At),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Unit;
    use crate::resp::CommandError;

    #[test]
    fn times_at_the_edges() {
        let invalid = Err(CommandError::InvalidExpire("set"));
        assert_eq!(Unit::Seconds.resolve(b"10", 5, "set"), Ok(10_005));
        assert_eq!(Unit::Milliseconds.resolve(b"9223372036854775802", 5, "set"), Ok(i64::MAX));
        assert_eq!(Unit::Milliseconds.resolve(b"9223372036854775803", 5, "set"), invalid);
        assert_eq!(Unit::UnixMilliseconds.resolve(b"9223372036854775807", 5, "set"), Ok(i64::MAX));
        assert_eq!(Unit::UnixSeconds.resolve(b"9223372036854775", 5, "set"), Ok(9_223_372_036_854_775_000));
        assert_eq!(Unit::UnixSeconds.resolve(b"9223372036854776", 5, "set"), invalid);
        for text in ["0", "-1", "-9223372036854775808"] {
            assert_eq!(Unit::UnixSeconds.resolve(text.as_bytes(), 5, "set"), invalid);
        }
        assert_eq!(Unit::Seconds.resolve(b"1.5", 5, "set"), Err(CommandError::NotInteger));
    }
}
