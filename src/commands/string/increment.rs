//! Arithmetic: INCR, DECR, INCRBY, DECRBY on 64-bit integers, INCRBYFLOAT on long doubles.

use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError};
use crate::shard::Expiry;
use crate::stdx::long_double::LongDouble;
use crate::types::{StringValue, Value, ValueRef};

pub(super) fn incr(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args.at(1), 1)
}

pub(super) fn decr(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    add(ctx, args.at(1), -1)
}

pub(super) fn incrby(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let increment = args.integer(2)?;
    add(ctx, args.at(1), increment)
}

pub(super) fn decrby(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let negated = args.integer(2)?.checked_neg();
    let increment = negated.ok_or(CommandError::fixed("ERR decrement would overflow"))?;
    add(ctx, args.at(1), increment)
}

/// Adds to the integer at `key`; a missing key counts as 0.
fn add(ctx: &mut ShardContext<'_>, key: &[u8], increment: i64) -> Outcome {
    const OVERFLOW: CommandError = CommandError::fixed("ERR increment or decrement would overflow");
    let sum = ctx.db.edit_integer(key, |before| before.checked_add(increment).ok_or(OVERFLOW))?;
    ctx.changed(EventClass::String, "incrby", key);
    ctx.reply.integer(sum);
    Ok(())
}

pub(super) fn incrbyfloat(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let before = match ctx.db.peek(key) {
        None => Some(LongDouble::ZERO),
        Some(ValueRef::String(string)) => LongDouble::parse(string.bytes(&mut itoa::Buffer::new())),
        Some(_) => return Err(CommandError::WrongType),
    };
    let before = before.ok_or(CommandError::NotFloat)?;
    let sum = before + LongDouble::parse(args.at(2)).ok_or(CommandError::NotFloat)?;
    if !sum.is_finite() {
        return Err(CommandError::fixed("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.to_text();
    ctx.reply.bulk(text.as_bytes());
    // Another machine may compute another sum.
    ctx.log(&[b"SET", key, text.as_bytes(), b"KEEPTTL"]);
    // The sum stays text even where it is an integer, as in Redis.
    ctx.db.replace(key, Value::String(StringValue::text(text.into_bytes())), Expiry::Keep);
    ctx.changed(EventClass::String, "incrbyfloat", key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn integers() {
        Shell::new().session(
            r#"
            > INCR k
            (integer) 1
            > DECR k
            (integer) 0
            > DECRBY k 10
            (integer) -10
            > INCRBY k 9223372036854775807
            (integer) 9223372036854775797
            > INCRBY k 11
            (error) ERR increment or decrement would overflow
            > GET k
            "9223372036854775797"
            > OBJECT ENCODING k
            "int"
            > EXPIRE k 10
            (integer) 1
            > INCRBY k -5
            (integer) 9223372036854775792
            > TTL k
            (integer) 10
            > SET k -9223372036854775808
            > DECR k
            (error) ERR increment or decrement would overflow
            > DECRBY k -9223372036854775808
            (error) ERR decrement would overflow
            > INCRBY k 1.5
            (error) ERR value is not an integer or out of range
            > SET k "10 "
            > INCR k
            (error) ERR value is not an integer or out of range
            > SET k ""
            > INCR k
            (error) ERR value is not an integer or out of range
            "#,
        );
    }

    #[test]
    fn floats() {
        Shell::new().session(
            r#"
            > INCRBYFLOAT k 0.1
            "0.1"
            > INCRBYFLOAT k 0.2
            "0.3"
            > EXPIRE k 10
            (integer) 1
            > INCRBYFLOAT k 2.7
            "3"
            > OBJECT ENCODING k
            "embstr"
            > TTL k
            (integer) 10
            > INCR k
            (integer) 4
            > INCRBYFLOAT k -1e2
            "-96"
            > INCRBYFLOAT k 1e20
            "99999999999999999904"
            > INCRBYFLOAT k inf
            (error) ERR increment would produce NaN or Infinity
            > INCRBYFLOAT k nan
            (error) ERR value is not a valid float
            > INCRBYFLOAT k abc
            (error) ERR value is not a valid float
            > SET k " 1"
            > INCRBYFLOAT k 1
            (error) ERR value is not a valid float
            > SET k 1e60
            > INCRBYFLOAT k 0
            "999999999999999999999373423426722168652130621984886772203520"
            > OBJECT ENCODING k
            "raw"
            "#,
        );
    }
}
