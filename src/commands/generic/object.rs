//! OBJECT: looks inside values. It counts hits and misses but leaves the access time alone.

use super::exists_for_looking;
use crate::commands::row::Outcome;
use crate::commands::{Flow, SessionContext, ShardContext};
use crate::resp::{Args, CommandError};
use crate::types::{StringRef, ValueRef};

/// Integers below this are shared values in Redis, whose reference count is shown as [`SHARED_REFERENCES`].
const SHARED_INTEGERS: i64 = 10_000;

/// The reference count of a shared value.
const SHARED_REFERENCES: i64 = i32::MAX as i64;

pub(super) fn encoding(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    exists_for_looking(ctx.db, args.at(2));
    match ctx.db.peek(args.at(2)) {
        Some(value) => ctx.reply.bulk(value.encoding().as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(())
}

pub(super) fn refcount(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    exists_for_looking(ctx.db, args.at(2));
    match ctx.db.peek(args.at(2)) {
        Some(ValueRef::String(StringRef::Int(0..SHARED_INTEGERS))) => ctx.reply.integer(SHARED_REFERENCES),
        Some(_) => ctx.reply.integer(1),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// OBJECT IDLETIME: not known under a maxmemory policy that counts uses.
pub(super) fn idletime(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    exists_for_looking(ctx.db, args.at(2));
    let Some(bits) = ctx.db.access_bits(args.at(2)) else {
        ctx.reply.null();
        return Ok(());
    };
    let seconds = ctx.db.usage().idle_seconds(bits).ok_or(CommandError::fixed(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies \
         at runtime LRU and LFU data will take some time to adjust.",
    ))?;
    ctx.reply.integer(i64::from(seconds));
    Ok(())
}

/// OBJECT FREQ: known only under a maxmemory policy that counts uses.
pub(super) fn freq(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    exists_for_looking(ctx.db, args.at(2));
    let Some(bits) = ctx.db.access_bits(args.at(2)) else {
        ctx.reply.null();
        return Ok(());
    };
    let frequency = ctx.db.usage().frequency(bits).ok_or(CommandError::fixed(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    ))?;
    ctx.reply.integer(i64::from(frequency));
    Ok(())
}

pub(super) fn help(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    const LINES: &[&str] = &[
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    The name of the encoding in which the value of <key> is kept.",
        "FREQ <key>",
        "    How often <key> was accessed of late, on a logarithmic scale.",
        "IDLETIME <key>",
        "    Seconds since <key> was last accessed.",
        "REFCOUNT <key>",
        "    How many references to the value of <key> there are.",
        "HELP",
        "    This text.",
    ];
    ctx.reply.array(LINES.len());
    for line in LINES {
        ctx.reply.simple(line);
    }
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn looks_inside_values() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > OBJECT ENCODING k
            (nil)
            > OBJECT REFCOUNT k
            (nil)
            > OBJECT IDLETIME k
            (nil)
            > OBJECT FREQ k
            (nil)
            > SET k 9999
            > OBJECT ENCODING k
            "int"
            > OBJECT REFCOUNT k
            (integer) 2147483647
            > SET k 10000
            > OBJECT REFCOUNT k
            (integer) 1
            > SET k abc
            > OBJECT ENCODING k
            "embstr"
            > OBJECT FREQ k
            (error) ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
            > OBJECT ENCODING
            (error) ERR wrong number of arguments for 'object|encoding' command
            "#,
        );
        shell.now += 2999;
        assert_eq!(shell.run("object idletime k"), "(integer) 2");
        assert_eq!(Shell::resp3().run("OBJECT ENCODING k"), "(null)");
    }
}
