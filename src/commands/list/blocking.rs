//! The commands that wait where there is nothing to take: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH. Each tries first; how
//! a client waits and is served later is the engine's business, which then runs the command again.

use super::{moves, pop, side};
use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError};
use crate::shard::Millis;
use crate::stdx::long_double::LongDouble;
use crate::types::list::Side;
use crate::types::{Kind, List};

pub(super) fn blpop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    pop_first(ctx, args, Side::Left)
}

pub(super) fn brpop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    pop_first(ctx, args, Side::Right)
}

fn pop_first(ctx: &mut ShardContext<'_>, args: Args<'_>, side: Side) -> Outcome {
    let last = args.len() - 1;
    let deadline = deadline(ctx, args.at(last))?;
    for key in (1..last).map(|index| args.at(index)) {
        if ctx.looks_at(key) && ctx.db.get_mut::<List>(key)?.is_some() {
            ctx.reply.array(2);
            ctx.reply.bulk(key);
            pop::pop_one(ctx, key, side)?;
            if !ctx.logs_apart() {
                ctx.log(&[pop::command(side), key]);
            }
            return Ok(());
        }
    }
    if !ctx.block(1..last, Kind::List, deadline) {
        ctx.reply.null_array();
    }
    Ok(())
}

pub(super) fn blmpop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let request = pop::MultiPop::parse(args, 2)?;
    let deadline = deadline(ctx, args.at(1))?;
    if !request.run(ctx, args)? && !ctx.block(request.keys, Kind::List, deadline) {
        ctx.reply.null_array();
    }
    Ok(())
}

pub(super) fn blmove(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (side(args.at(3))?, side(args.at(4))?);
    move_one(ctx, args, from, to)
}

pub(super) fn brpoplpush(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    move_one(ctx, args, Side::Right, Side::Left)
}

/// The timeout stands last.
fn move_one(ctx: &mut ShardContext<'_>, args: Args<'_>, from: Side, to: Side) -> Outcome {
    let deadline = deadline(ctx, args.at(args.len() - 1))?;
    if ctx.db.get_mut::<List>(args.at(1))?.is_some() {
        return moves::transfer(ctx, args.at(1), args.at(2), from, to);
    }
    if !ctx.block(1..2, Kind::List, deadline) {
        ctx.reply.null();
    }
    Ok(())
}

/// When a wait ends that is given in seconds; 0: never.
fn deadline(ctx: &ShardContext<'_>, seconds: &[u8]) -> Result<Option<Millis>, CommandError> {
    const UNREADABLE: CommandError = CommandError::fixed("ERR timeout is not a float or out of range");
    const TOO_LARGE: CommandError = CommandError::fixed("ERR timeout is out of range");
    match LongDouble::parse(seconds).ok_or(UNREADABLE)?.times_rounded_up(1000).ok_or(TOO_LARGE)? {
        ..0 => Err(CommandError::fixed("ERR timeout is negative")),
        0 => Ok(None),
        milliseconds => ctx.now().checked_add(milliseconds).map(Some).ok_or(TOO_LARGE),
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::Wait;
    use crate::commands::testing::Shell;
    use crate::types::Kind;

    const SESSION: &str = r#"
        > RPUSH l a b c d e
        > BLPOP no l 0
        ["l", "a"]
        > BRPOP l no 0.5
        ["l", "e"]
        > BLMPOP 1 2 no l RIGHT COUNT 5
        ["l", ["d", "c", "b"]]
        > EXISTS l
        (integer) 0
        > RPUSH l 1 2
        > BLMOVE l m RIGHT LEFT 0
        "2"
        > BRPOPLPUSH l m 0
        "1"
        > LRANGE m 0 -1
        ["1", "2"]

        # Where nothing may wait, the answer is that of a wait that is over.
        > BLPOP no l 0
        (nil array)
        > BLMPOP 0 1 no LEFT
        (nil array)
        > BLMOVE no m LEFT LEFT 0
        (nil)
        > BRPOPLPUSH no m 0
        (nil)

        # The first mistake that Redis looks for is the one that is told.
        > SET s x
        > BLPOP s x
        (error) ERR timeout is not a float or out of range
        > BLPOP no s m 0
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > BRPOP m s -0.002
        (error) ERR timeout is negative
        > BLPOP m -inf
        (error) ERR timeout is negative
        > BLPOP m 1e300
        (error) ERR timeout is out of range
        > BLPOP m 9223372036854775
        (error) ERR timeout is out of range
        > BLPOP m ""
        (error) ERR timeout is not a float or out of range
        > BLMPOP x 0 m LEFT
        (error) ERR numkeys should be greater than 0
        > BLMPOP x 1 m LEFT COUNT 0
        (error) ERR count should be greater than 0
        > BLMPOP x 1 m UP
        (error) ERR syntax error
        > BLMPOP x 9 m LEFT
        (error) ERR syntax error
        > BLMPOP x 1 m LEFT
        (error) ERR timeout is not a float or out of range
        > BLMOVE m s LEFT UP x
        (error) ERR syntax error
        > BLMOVE m s LEFT LEFT 0
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > BLMOVE s m LEFT LEFT 0
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > BRPOPLPUSH m s -1
        (error) ERR timeout is negative
        > LLEN m
        (integer) 2
    "#;

    #[test]
    fn commands_that_find_something_do_not_wait() {
        Shell::new().session(SESSION);
        let mut shell = Shell::new();
        shell.may_block = true;
        shell.session(&SESSION[..SESSION.find("# Where").expect("it is there")]);
        assert_eq!(Shell::resp3().run("BLPOP no 0"), "(null)");
        assert_eq!(Shell::resp3().run("BLMOVE no m LEFT LEFT 0"), "(null)");
    }

    #[test]
    fn commands_that_find_nothing_wait() {
        let mut shell = Shell::new();
        shell.may_block = true;
        let now = shell.now;
        let mut wait = |words: &[&[u8]]| {
            assert_eq!(shell.run_raw(words), b"", "who waits answers nothing");
            assert_eq!(shell.dirty, 0);
            shell.wait.take()
        };
        let expected = |keys, deadline| Some(Wait { keys, kind: Kind::List, deadline });
        assert_eq!(wait(&[b"BLPOP", b"a", b"b", b"0"]), expected(1..3, None));
        assert_eq!(wait(&[b"BRPOP", b"a", b"0.0001"]), expected(1..2, Some(now + 1)));
        assert_eq!(wait(&[b"BLMPOP", b"1.5", b"2", b"a", b"b", b"LEFT"]), expected(3..5, Some(now + 1500)));
        assert_eq!(wait(&[b"BLMOVE", b"a", b"b", b"LEFT", b"RIGHT", b"2"]), expected(1..2, Some(now + 2000)));
        assert_eq!(wait(&[b"BRPOPLPUSH", b"a", b"b", b"-0.0001"]), expected(1..2, None));
    }
}
