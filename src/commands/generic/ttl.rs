//! Reading and removing times to live: TTL, PTTL, EXPIRETIME, PEXPIRETIME, PERSIST.

use super::exists_for_reading;
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::Args;
use crate::shard::Millis;

pub(super) fn ttl(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    reply_time(ctx, args, |at| seconds((at - now).max(0)))
}

pub(super) fn pttl(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let now = ctx.now();
    reply_time(ctx, args, |at| (at - now).max(0))
}

pub(super) fn expiretime(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    reply_time(ctx, args, seconds)
}

pub(super) fn pexpiretime(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    reply_time(ctx, args, |at| at)
}

/// Replies what `shown` makes of the time the key expires at; -1 when it does not expire, -2 when there is no key.
fn reply_time(ctx: &mut ShardContext<'_>, args: Args<'_>, shown: impl FnOnce(Millis) -> i64) -> Outcome {
    exists_for_reading(ctx.db, args.at(1));
    ctx.reply.integer(match ctx.db.expires_at(args.at(1)) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => shown(at),
    });
    Ok(())
}

/// Milliseconds rounded to seconds.
fn seconds(millis: Millis) -> i64 {
    millis / 1000 + i64::from(millis % 1000 >= 500)
}

pub(super) fn persist(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let key = args.at(1);
    let expires = ctx.db.set_expires_at_if(key, None, |before| before.is_some());
    if expires {
        ctx.changed(EventClass::Generic, "persist", key);
    }
    ctx.reply.integer(i64::from(expires));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn shows_the_time() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET k v PX 1499
            > TTL k
            (integer) 1
            > PTTL k
            (integer) 1499
            > EXPIRETIME k
            (integer) 1700000001
            > PEXPIRETIME k
            (integer) 1700000001499
            > PEXPIRE k 1500
            > TTL k
            (integer) 2
            > PERSIST k
            (integer) 1
            > PERSIST k
            (integer) 0
            > PERSIST missing
            (integer) 0
            "#,
        );
        for command in ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
            assert_eq!(shell.run(&format!("{command} k")), "(integer) -1");
            assert_eq!(shell.run(&format!("{command} missing")), "(integer) -2");
        }
    }
}
