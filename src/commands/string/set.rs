//! SET and its older forms, MSET, MSETNX. SET without options takes the short way: nothing is parsed, the key is looked
//! up once.

use super::get::reply_string;
use super::lifetime::{Lifetime, Unit};
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::limits::LOGGED_STRING_BYTES_MAX;
use crate::resp::{Args, CommandError};
use crate::shard::{Database, Expiry, Millis};
use crate::types::{Piece, StringRef, ValueRef};
use xxhash_rust::xxh3::xxh3_64;

/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 16;

pub(super) fn set(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return set_with_options(ctx, args);
    }
    ctx.db.set_string(args.at(1), args.at(2), Expiry::Never);
    ctx.changed(EventClass::String, "set", args.at(1));
    if args.at(2).len() > LOGGED_STRING_BYTES_MAX {
        log_in_parts(ctx, args.at(1), args.at(2), None);
    }
    ctx.reply.ok();
    Ok(())
}

fn set_with_options(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let options = SetOptions::parse(args)?;
    let expiry = options.lifetime.expiry(ctx.now(), "set")?;
    if options.get {
        let before = ctx.db.string(key)?;
        reply_string(&mut ctx.reply, before);
    }
    let allowed = options.condition.holds(ctx.db, key)?;
    if allowed {
        store(ctx, key, args.at(2), expiry);
        log(ctx, key, args.at(2), expiry);
    }
    match (options.get, allowed) {
        (true, _) => {}
        (false, true) => ctx.reply.ok(),
        (false, false) => ctx.reply.null(),
    }
    Ok(())
}

/// Stores a value and tells the events.
fn store(ctx: &mut ShardContext<'_>, key: &[u8], value: &[u8], expiry: Expiry) {
    ctx.db.set_string(key, value, expiry);
    ctx.changed(EventClass::String, "set", key);
    if let Expiry::At(_) = expiry {
        ctx.event(EventClass::Generic, "expire", key);
    }
}

/// Logs SET as it was done: unconditional, and with the time at which the key expires.
fn log(ctx: &mut ShardContext<'_>, key: &[u8], value: &[u8], expiry: Expiry) {
    match expiry {
        Expiry::Never if value.len() > LOGGED_STRING_BYTES_MAX => log_in_parts(ctx, key, value, None),
        Expiry::At(at) if value.len() > LOGGED_STRING_BYTES_MAX => log_in_parts(ctx, key, value, Some(at)),
        Expiry::Never => ctx.log(&[b"SET", key, value]),
        Expiry::Keep => ctx.log(&[b"SET", key, value, b"KEEPTTL"]),
        Expiry::At(at) => ctx.log_until(&[b"SET", key, value, b"PXAT"], at),
    }
}

/// Logs a large value part by part, so that whoever reads the log need not hold it twice.
#[cold]
fn log_in_parts(ctx: &mut ShardContext<'_>, key: &[u8], value: &[u8], expires: Option<Millis>) {
    ctx.log(&[b"DEL", key]);
    ValueRef::String(StringRef::Bytes { bytes: value, raw: true }).pieces(key.len(), |piece| {
        if let Piece::Part { at, bytes } = piece {
            ctx.log(&[b"SETRANGE", key, itoa::Buffer::new().format(at).as_bytes(), bytes]);
        }
    });
    if let Some(at) = expires {
        ctx.log_until(&[b"PEXPIREAT", key], at);
    }
}

/// On what SET depends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition<'a> {
    #[default]
    Always,
    /// NX
    Absent,
    /// XX
    Present,
    /// IFEQ
    Equal(&'a [u8]),
    /// IFNE
    NotEqual(&'a [u8]),
    /// IFDEQ
    DigestEqual(&'a [u8]),
    /// IFDNE
    DigestNotEqual(&'a [u8]),
}

impl Condition<'_> {
    /// Whether the key, as it is now, lets SET go on. A missing key differs from every value and every digest.
    fn holds(self, db: &mut Database, key: &[u8]) -> Result<bool, CommandError> {
        match self {
            Self::Always => Ok(true),
            Self::Absent => Ok(!db.contains(key)),
            Self::Present => Ok(db.contains(key)),
            Self::Equal(value) => Ok(current(db, key)?.is_some_and(|string| has_bytes(string, value))),
            Self::NotEqual(value) => Ok(!current(db, key)?.is_some_and(|string| has_bytes(string, value))),
            Self::DigestEqual(digest) => has_digest(current(db, key)?, digest),
            Self::DigestNotEqual(digest) => has_digest(current(db, key)?, digest).map(|equal| !equal),
        }
    }
}

fn current<'a>(db: &'a mut Database, key: &[u8]) -> Result<Option<StringRef<'a>>, CommandError> {
    match db.peek(key) {
        None => Ok(None),
        Some(ValueRef::String(string)) => Ok(Some(string)),
        Some(_) => Err(CommandError::WrongType),
    }
}

fn has_bytes(string: StringRef<'_>, bytes: &[u8]) -> bool {
    string.bytes(&mut itoa::Buffer::new()) == bytes
}

/// Whether there is a string with this digest, in either case. A digest of the wrong length is an error, but only when
/// there is something to compare it with, as in Redis.
fn has_digest(string: Option<StringRef<'_>>, digest: &[u8]) -> Result<bool, CommandError> {
    let Some(string) = string else { return Ok(false) };
    if digest.len() != DIGEST_DIGITS {
        return Err(CommandError::fixed("ERR must be exactly 16 hexadecimal characters"));
    }
    let hash = xxh3_64(string.bytes(&mut itoa::Buffer::new()));
    Ok(format!("{hash:0DIGEST_DIGITS$x}").as_bytes().eq_ignore_ascii_case(digest))
}

/// The options of one SET.
#[derive(Debug, Default)]
struct SetOptions<'a> {
    condition: Condition<'a>,
    lifetime: Lifetime<'a>,
    get: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut cursor = args.cursor(3);
        while cursor.remaining() > 0 {
            if cursor.take_if("get") {
                options.get = true;
            } else if cursor.take_if("keepttl") {
                options.lifetime.say(Lifetime::Keep)?;
            } else if options.lifetime.take_until(&mut cursor)? {
            } else if cursor.take_if("nx") {
                options.depend_on(Condition::Absent)?;
            } else if cursor.take_if("xx") {
                options.depend_on(Condition::Present)?;
            } else if cursor.take_if("ifeq") {
                options.depend_on(Condition::Equal(cursor.value()?))?;
            } else if cursor.take_if("ifne") {
                options.depend_on(Condition::NotEqual(cursor.value()?))?;
            } else if cursor.take_if("ifdeq") {
                options.depend_on(Condition::DigestEqual(cursor.value()?))?;
            } else if cursor.take_if("ifdne") {
                options.depend_on(Condition::DigestNotEqual(cursor.value()?))?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Notes the condition. NX and XX may be said twice; everything else excludes each other.
    fn depend_on(&mut self, condition: Condition<'a>) -> Result<(), CommandError> {
        let again = matches!(condition, Condition::Absent | Condition::Present) && self.condition == condition;
        if self.condition != Condition::Always && !again {
            return Err(CommandError::Syntax);
        }
        self.condition = condition;
        Ok(())
    }
}

pub(super) fn setnx(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let absent = !ctx.db.contains(args.at(1));
    if absent {
        store(ctx, args.at(1), args.at(2), Expiry::Never);
    }
    ctx.reply.integer(i64::from(absent));
    Ok(())
}

pub(super) fn setex(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let at = Unit::Seconds.resolve(args.at(2), ctx.now(), "setex")?;
    store(ctx, args.at(1), args.at(3), Expiry::At(at));
    log(ctx, args.at(1), args.at(3), Expiry::At(at));
    ctx.reply.ok();
    Ok(())
}

pub(super) fn psetex(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let at = Unit::Milliseconds.resolve(args.at(2), ctx.now(), "psetex")?;
    store(ctx, args.at(1), args.at(3), Expiry::At(at));
    log(ctx, args.at(1), args.at(3), Expiry::At(at));
    ctx.reply.ok();
    Ok(())
}

pub(super) fn mset(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    check_pairs(args, "mset")?;
    store_pairs(ctx, args);
    ctx.reply.ok();
    Ok(())
}

pub(super) fn msetnx(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    check_pairs(args, "msetnx")?;
    let free = !args.iter_from(1).step_by(2).any(|key| ctx.db.contains(key));
    if free {
        store_pairs(ctx, args);
    }
    ctx.reply.integer(i64::from(free));
    Ok(())
}

fn check_pairs(args: Args<'_>, command: &str) -> Outcome {
    if args.len() % 2 == 1 { Ok(()) } else { Err(CommandError::Arity(command.into())) }
}

fn store_pairs(ctx: &mut ShardContext<'_>, args: Args<'_>) {
    for index in (1..args.len()).step_by(2) {
        store(ctx, args.at(index), args.at(index + 1), Expiry::Never);
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn set_replaces_whatever_was_there() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET k v EX 100
            OK
            > TTL k
            (integer) 100
            > SET k w KEEPTTL
            OK
            > TTL k
            (integer) 100
            > SET k x
            OK
            > TTL k
            (integer) -1
            > SET k "" px 1500
            OK
            > PTTL k
            (integer) 1500
            > GET k
            ""
            > SET k v EXAT 1700000010
            OK
            > TTL k
            (integer) 10
            > SET k v PXAT 1
            OK
            > GET k
            (nil)
            "#,
        );
    }

    #[test]
    fn set_chooses_the_encoding() {
        let mut shell = Shell::new();
        for (value, encoding) in [
            ("12", "int"),
            ("-9223372036854775808", "int"),
            ("9223372036854775808", "embstr"),
            ("012", "embstr"),
            ("1.0", "embstr"),
            (&"a".repeat(44), "embstr"),
            (&"a".repeat(45), "raw"),
            (&"a".repeat(100_000), "raw"),
        ] {
            for command in ["SET k", "GETSET k", "SETEX k 10", "MSET k"] {
                shell.run(&format!("{command} {value}"));
                assert_eq!(shell.encoding("k"), encoding, "{command} {value}");
                assert_eq!(shell.run("GET k"), format!("\"{value}\""));
            }
        }
    }

    #[test]
    fn set_on_conditions() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET k a XX
            (nil)
            > SET k a XX GET
            (nil)
            > EXISTS k
            (integer) 0
            > SET k a NX
            OK
            > SET k b NX
            (nil)
            > SET k b NX GET
            "a"
            > SET k b XX GET
            "a"
            > SET k c GET
            "b"
            > SET new c NX GET
            (nil)
            > GET new
            "c"
            > SET k d nx NX
            (nil)
            "#,
        );
        assert_eq!(Shell::resp3().run("SET k a XX"), "(null)");
    }

    #[test]
    fn set_compares_the_value() {
        Shell::new().session(
            r#"
            > SET k b IFEQ a
            (nil)
            > EXISTS k
            (integer) 0
            > SET k 12 IFNE a
            OK
            > SET k b IFNE 12
            (nil)
            > SET k b IFNE 12 GET
            "12"
            > SET k b IFEQ 12 EX 10 GET
            "12"
            > TTL k
            (integer) 10
            > SET k c IFEQ a
            (nil)
            > SET k c IFEQ a GET
            "b"
            > GET k
            "b"
            "#,
        );
    }

    #[test]
    fn set_compares_the_digest() {
        let long = "v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd";
        let mut shell = Shell::new();
        shell.run(&format!("SET k {long}"));
        shell.session(
            r#"
            > SET k b IFDNE 00006c38adf31777
            (nil)
            > SET k b IFDEQ 0000000000000000
            (nil)
            > SET k b IFDEQ 00006C38ADF31777
            OK
            > SET k c IFDNE 00006c38adf31777
            OK
            > GET k
            "c"
            > SET k d IFDEQ 6c38adf31777
            (error) ERR must be exactly 16 hexadecimal characters
            > SET k d IFDNE ""
            (error) ERR must be exactly 16 hexadecimal characters
            > SET missing d IFDEQ 1
            (nil)
            > SET missing d IFDNE 1
            OK
            "#,
        );
    }

    #[test]
    fn set_refuses() {
        Shell::new().session(
            r#"
            > SET k v NX XX
            (error) ERR syntax error
            > SET k v IFEQ a IFEQ b
            (error) ERR syntax error
            > SET k v IFEQ a NX
            (error) ERR syntax error
            > SET k v XX IFDNE a
            (error) ERR syntax error
            > SET k v IFNE
            (error) ERR syntax error
            > SET k v EX
            (error) ERR syntax error
            > SET k v EX 10 PX 10
            (error) ERR syntax error
            > SET k v KEEPTTL EX 10
            (error) ERR syntax error
            > SET k v PERSIST
            (error) ERR syntax error
            > SET k v EX 10 XX junk
            (error) ERR syntax error
            > SET k v EX 0
            (error) ERR invalid expire time in 'set' command
            > SET k v PX -1
            (error) ERR invalid expire time in 'set' command
            > SET k v EX 9223372036854775807
            (error) ERR invalid expire time in 'set' command
            > SET k v EX 9223372036854775
            (error) ERR invalid expire time in 'set' command
            > SET k v EX abc
            (error) ERR value is not an integer or out of range
            > EXISTS k
            (integer) 0
            "#,
        );
    }

    #[test]
    fn the_older_forms() {
        Shell::new().session(
            r#"
            > SETNX k 1
            (integer) 1
            > SETNX k 2
            (integer) 0
            > SETEX k 10 3
            OK
            > TTL k
            (integer) 10
            > PSETEX k 1500 4
            OK
            > PTTL k
            (integer) 1500
            > GET k
            "4"
            > SETEX k 0 v
            (error) ERR invalid expire time in 'setex' command
            > PSETEX k -1 v
            (error) ERR invalid expire time in 'psetex' command
            > SETEX k x v
            (error) ERR value is not an integer or out of range
            "#,
        );
    }

    #[test]
    fn several_keys() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > MSET a 1 b 2 a 3
            OK
            > MGET a b
            ["3", "2"]
            > MSETNX c 1 a 2
            (integer) 0
            > EXISTS c
            (integer) 0
            > MSETNX c 1 d 2
            (integer) 1
            > MSET a 1 b
            (error) ERR wrong number of arguments for 'mset' command
            > MSETNX a 1 b
            (error) ERR wrong number of arguments for 'msetnx' command
            "#,
        );
        shell.run("MSET a 1 b 2 c 3");
        assert_eq!(shell.dirty, 3);
    }
}
