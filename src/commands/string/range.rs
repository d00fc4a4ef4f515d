//! Parts of a string: APPEND, SETRANGE, GETRANGE and its old name SUBSTR.

use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::config::Config;
use crate::resp::{Args, CommandError};
use crate::shard::{Database, Expiry};
use crate::types::{StringRef, StringValue, Value, ValueRef};

pub(super) fn append(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (key, suffix) = (args.at(1), args.at(2));
    let appended = ctx.db.edit_string(
        key,
        |len| len..len,
        |bytes| {
            check_len(ctx.config, bytes.len(), suffix.len())?;
            bytes.extend_from_slice(suffix);
            Ok(bytes.len())
        },
    )?;
    let len = appended.unwrap_or_else(|| {
        ctx.db.set_string(key, suffix, Expiry::Never);
        suffix.len()
    });
    ctx.changed(EventClass::String, "append", key);
    ctx.reply.count(len);
    Ok(())
}

pub(super) fn setrange(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (key, part) = (args.at(1), args.at(3));
    let offset = args.integer(2)?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::fixed("ERR offset is out of range"))?;
    if part.is_empty() {
        let len = current_len(ctx.db, key)?;
        ctx.reply.count(len);
        return Ok(());
    }
    let write = |bytes: &mut Vec<u8>| {
        check_len(ctx.config, offset, part.len())?;
        let end = offset + part.len();
        if bytes.is_empty() {
            // Zeros that nobody has looked at cost nothing.
            *bytes = vec![0; end];
        } else if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(part);
        Ok(bytes.len())
    };
    let touched = |_| offset..offset.saturating_add(part.len());
    let len = match ctx.db.edit_string(key, touched, write)? {
        Some(len) => len,
        None => {
            let mut bytes = Vec::new();
            let len = write(&mut bytes)?;
            ctx.db.replace(key, Value::String(StringValue::Bytes { bytes, raw: true }), Expiry::Never);
            len
        }
    };
    ctx.changed(EventClass::String, "setrange", key);
    ctx.reply.count(len);
    Ok(())
}

/// Length of the string at `key`, which nobody reads; 0 where there is none.
fn current_len(db: &mut Database, key: &[u8]) -> Result<usize, CommandError> {
    match db.peek(key) {
        None => Ok(0),
        Some(ValueRef::String(string)) => Ok(string.len()),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// Refuses a string that would become longer than a client may send one.
fn check_len(config: &Config, start: usize, added: usize) -> Outcome {
    const TOO_LONG: CommandError = CommandError::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    // `start` comes from an i64 and `added` from memory: the sum cannot overflow 64 unsigned bits.
    let len = start as u64 + added as u64;
    if len > config.proto_max_bulk_len || i64::try_from(len).is_err() { Err(TOO_LONG) } else { Ok(()) }
}

pub(super) fn getrange(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (args.integer(2)?, args.integer(3)?);
    let mut digits = itoa::Buffer::new();
    match ctx.db.string(args.at(1))? {
        None => ctx.reply.bulk(b""),
        Some(StringRef::Large(large)) => {
            let shared = large.shared();
            ctx.reply.bulk_shared(&shared.slice(range(start, end, shared.len())));
        }
        Some(string) => {
            let bytes = string.bytes(&mut digits);
            ctx.reply.bulk(&bytes[range(start, end, bytes.len())]);
        }
    }
    Ok(())
}

/// The bytes from `start` to `end`, both included, of `len` bytes; negative ones count from the end. What lies outside
/// is cut off, so that an `end` before the first byte means the first byte, as in Redis, unless both count from the end.
fn range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return 0..0;
    }
    let absolute = |index: i64| (if index < 0 { len as i64 + index } else { index }).max(0);
    let (start, end) = (absolute(start), absolute(end).min(len as i64 - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

#[cfg(test)]
mod tests {
    use super::range;
    use crate::commands::testing::Shell;

    #[test]
    fn append_grows_the_value() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > APPEND k 10
            (integer) 2
            > OBJECT ENCODING k
            "int"
            > EXPIRE k 100
            (integer) 1
            > APPEND k 5
            (integer) 3
            > GET k
            "105"
            > OBJECT ENCODING k
            "raw"
            > TTL k
            (integer) 100
            > INCR k
            (integer) 106
            > APPEND k ""
            (integer) 3
            > OBJECT ENCODING k
            "raw"
            > APPEND e ""
            (integer) 0
            > EXISTS e
            (integer) 1
            "#,
        );
        let part = "p".repeat(50_000);
        shell.run(&format!("APPEND large {part}"));
        assert_eq!(shell.run(&format!("APPEND large {part}")), "(integer) 100000");
        assert_eq!(shell.run("GET large").len(), 100_002);
    }

    #[test]
    fn setrange_overwrites_and_pads() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SETRANGE k 2 ab
            (integer) 4
            > GET k
            "\x00\x00ab"
            > OBJECT ENCODING k
            "raw"
            > SETRANGE k 1 X
            (integer) 4
            > GET k
            "\x00Xab"
            > SETRANGE k 10 ""
            (integer) 4
            > SETRANGE missing 10 ""
            (integer) 0
            > EXISTS missing
            (integer) 0
            > SET n 12345
            > SETRANGE n 1 77
            (integer) 5
            > GET n
            "17745"
            > OBJECT ENCODING n
            "raw"
            > SETRANGE k -1 x
            (error) ERR offset is out of range
            > SETRANGE k x x
            (error) ERR value is not an integer or out of range
            > SETRANGE k 536870911 yy
            (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > SETRANGE k 9223372036854775807 y
            (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
            "#,
        );
    }

    #[test]
    fn length_is_bounded_by_the_directive() {
        let mut shell = Shell::new();
        shell.config.proto_max_bulk_len = 5;
        shell.session(
            r#"
            > APPEND k 123456
            (integer) 6
            > SET k 123
            > APPEND k 45
            (integer) 5
            > APPEND k 6
            (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > GET k
            "12345"
            > SETRANGE new 4 ab
            (error) ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > EXISTS new
            (integer) 0
            "#,
        );
    }

    #[test]
    fn getrange_cuts_at_both_ends() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET k "Hello World"
            > GETRANGE k 0 4
            "Hello"
            > GETRANGE k -5 -1
            "World"
            > GETRANGE k 0 -1
            "Hello World"
            > GETRANGE k 6 100
            "World"
            > GETRANGE k 5 2
            ""
            > GETRANGE k -1 -5
            ""
            > GETRANGE k -100 -50
            "H"
            > GETRANGE k 0 -100
            "H"
            > SUBSTR k 1 2
            "el"
            > SET n -123
            > GETRANGE n 0 1
            "-1"
            > GETRANGE missing 0 -1
            ""
            > GETRANGE missing a 1
            (error) ERR value is not an integer or out of range
            "#,
        );
        shell.run(&format!("SET large {}z", "y".repeat(100_000)));
        assert_eq!(shell.run("GETRANGE large -3 -1"), "\"yyz\"");
        assert_eq!(shell.run("GETRANGE large 1 -2").len(), 2 + 99_999);
        assert_eq!(range(i64::MIN, i64::MAX, 3), 0..3);
        assert_eq!(range(i64::MAX, i64::MIN, 3), 0..0);
        assert_eq!(range(i64::MIN, i64::MIN, 3), 0..1);
    }
}
