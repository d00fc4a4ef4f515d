//! HINCRBY and HINCRBYFLOAT.

use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError};
use crate::stdx::long_double::LongDouble;
use crate::structures::listpack::Element;
use crate::types::Hash;

pub(super) fn hincrby(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    const OVERFLOW: CommandError = CommandError::fixed("ERR increment or decrement would overflow");
    const NOT_INTEGER: CommandError = CommandError::fixed("ERR hash value is not an integer");
    let (key, field, limits) = (args.at(1), args.at(2), ctx.encoding);
    let increment = args.integer(3)?;
    let hash = ctx.db.get_or_insert(key, Hash::new)?;
    let value = match hash.get(field) {
        None => 0,
        Some(Element::Int(integer)) => integer,
        Some(Element::Bytes(text)) => match Element::from(text) {
            Element::Int(integer) => integer,
            Element::Bytes(_) => return Err(NOT_INTEGER),
        },
    };
    let sum = value.checked_add(increment).ok_or(OVERFLOW)?;
    hash.set(field, itoa::Buffer::new().format(sum).as_bytes(), limits);
    ctx.changed(EventClass::Hash, "hincrby", key);
    ctx.reply.integer(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    const NOT_FLOAT: CommandError = CommandError::fixed("ERR hash value is not a float");
    let (key, field, limits) = (args.at(1), args.at(2), ctx.encoding);
    let increment = LongDouble::parse(args.at(3)).ok_or(CommandError::NotFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::fixed("ERR value is NaN or Infinity"));
    }
    let hash = ctx.db.get_or_insert(key, Hash::new)?;
    let value = match hash.get(field) {
        None => LongDouble::ZERO,
        Some(value) => LongDouble::parse(value.bytes(&mut itoa::Buffer::new())).ok_or(NOT_FLOAT)?,
    };
    let sum = value + increment;
    if !sum.is_finite() {
        return Err(CommandError::fixed("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.to_text();
    hash.set(field, text.as_bytes(), limits);
    ctx.changed(EventClass::Hash, "hincrbyfloat", key);
    // Another machine may compute another sum.
    ctx.log(&[b"HSET", key, field, text.as_bytes()]);
    ctx.reply.bulk(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn integers() {
        Shell::new().session(
            r#"
            > HINCRBY h n 5
            (integer) 5
            > HINCRBY h n -15
            (integer) -10
            > HGETALL h
            ["n", "-10"]
            > HSET h text abc spaced " 1" empty "" padded 01
            > HINCRBY h text 1
            (error) ERR hash value is not an integer
            > HINCRBY h spaced 1
            (error) ERR hash value is not an integer
            > HINCRBY h empty 1
            (error) ERR hash value is not an integer
            > HINCRBY h padded 1
            (error) ERR hash value is not an integer
            > HINCRBY h n x
            (error) ERR value is not an integer or out of range
            > HINCRBY h n 9223372036854775807
            (integer) 9223372036854775797
            > HINCRBY h n 11
            (error) ERR increment or decrement would overflow
            > HSET h n -9223372036854775808
            > HINCRBY h n -1
            (error) ERR increment or decrement would overflow
            > HINCRBY h n 9223372036854775807
            (integer) -1
            "#,
        );
    }

    #[test]
    fn floats() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > HINCRBYFLOAT h f 10.5
            "10.5"
            > HINCRBYFLOAT h f 0.1
            "10.6"
            > HINCRBYFLOAT h f -5
            "5.6"
            > HINCRBYFLOAT h f 5.0e3
            "5005.60000000000000009"
            > HINCRBYFLOAT h f -5005.6
            "0"
            > HINCRBYFLOAT h f -0
            "0"
            > HINCRBYFLOAT h minus -0
            "0"
            > HINCRBYFLOAT h n 3
            "3"
            > HINCRBY h n 4
            (integer) 7
            > HINCRBYFLOAT h n x
            (error) ERR value is not a valid float
            > HINCRBYFLOAT h n inf
            (error) ERR value is NaN or Infinity
            > HINCRBYFLOAT h n nan
            (error) ERR value is not a valid float
            > HSET h text abc inf inf spaced " 1"
            > HINCRBYFLOAT h text 1
            (error) ERR hash value is not a float
            > HINCRBYFLOAT h spaced 1
            (error) ERR hash value is not a float
            > HINCRBYFLOAT h inf 1
            (error) ERR increment would produce NaN or Infinity
            "#,
        );
    }

    #[test]
    fn a_refused_increment_makes_no_key() {
        let mut shell = Shell::new();
        for command in ["HINCRBY h f x", "HINCRBYFLOAT h f x", "HINCRBYFLOAT h f -inf"] {
            assert!(shell.run(command).starts_with("(error)"));
            assert!(!shell.database().contains(b"h") && shell.dirty == 0);
        }
    }
}
