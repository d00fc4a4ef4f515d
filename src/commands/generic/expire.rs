//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT. A time that is over deletes the key at once.

use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::shard::Millis;
use bitflags::bitflags;

bitflags! {
    /// On what the change depends.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Conditions: u8 {
        /// Only where the key does not expire.
        const NX = 1 << 0;
        /// Only where the key expires.
        const XX = 1 << 1;
        /// Only to a later time; not expiring is the latest.
        const GT = 1 << 2;
        /// Only to an earlier time.
        const LT = 1 << 3;
    }
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::empty();
        for argument in args.iter_from(3) {
            conditions |= match argument {
                _ if is_token(argument, "nx") => Self::NX,
                _ if is_token(argument, "xx") => Self::XX,
                _ if is_token(argument, "gt") => Self::GT,
                _ if is_token(argument, "lt") => Self::LT,
                _ => {
                    return Err(CommandError::quoting("ERR Unsupported option ", argument, ""));
                }
            };
        }
        if conditions.contains(Self::NX) && conditions != Self::NX {
            const TEXT: &str = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::fixed(TEXT));
        }
        if conditions.contains(Self::GT | Self::LT) {
            return Err(CommandError::fixed("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `before` may expire at `at` from now on.
    fn allow(self, before: Option<Millis>, at: Millis) -> bool {
        (!self.contains(Self::NX) || before.is_none())
            && (!self.contains(Self::XX) || before.is_some())
            && (!self.contains(Self::GT) || before.is_some_and(|before| at > before))
            && (!self.contains(Self::LT) || before.is_none_or(|before| at < before))
    }
}

pub(super) fn expire(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let base = ctx.now();
    expire_at(ctx, args, 1000, base, "expire")
}

pub(super) fn pexpire(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let base = ctx.now();
    expire_at(ctx, args, 1, base, "pexpire")
}

pub(super) fn expireat(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    expire_at(ctx, args, 1000, 0, "expireat")
}

pub(super) fn pexpireat(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    expire_at(ctx, args, 1, 0, "pexpireat")
}

/// The four commands: the time is argument 2 times `scale` milliseconds after `base`.
fn expire_at(ctx: &mut ShardContext<'_>, args: Args<'_>, scale: i64, base: Millis, command: &'static str) -> Outcome {
    let key = args.at(1);
    let conditions = Conditions::parse(args)?;
    let at = args.integer(2)?.checked_mul(scale).and_then(|count| count.checked_add(base));
    let at = at.ok_or(CommandError::InvalidExpire(command))?;
    let allow = |before| conditions.allow(before, at);
    let allowed = if at <= ctx.now() {
        let allowed = ctx.db.expires_at(key).is_some_and(allow);
        if allowed {
            ctx.db.delete(key, ctx.config.lazy_free.expire);
            ctx.changed(EventClass::Generic, "del", key);
            ctx.log(&[b"DEL", key]);
        }
        allowed
    } else {
        let allowed = ctx.db.set_expires_at_if(key, Some(at), allow);
        if allowed {
            ctx.changed(EventClass::Generic, "expire", key);
            ctx.log_until(&[b"PEXPIREAT", key], at);
        }
        allowed
    };
    ctx.reply.integer(i64::from(allowed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn sets_the_time() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > EXPIRE k 10
            (integer) 0
            > SET k v
            > EXPIRE k 10
            (integer) 1
            > PTTL k
            (integer) 10000
            > PEXPIRE k 1500
            (integer) 1
            > PTTL k
            (integer) 1500
            > EXPIREAT k 1700000100
            (integer) 1
            > TTL k
            (integer) 100
            > PEXPIREAT k 1700000000001
            (integer) 1
            > PTTL k
            (integer) 1
            > PEXPIREAT k 9223372036854775807
            (integer) 1
            > EXPIRETIME k
            (integer) 9223372036854776
            "#,
        );
    }

    #[test]
    fn a_time_that_is_over_deletes() {
        let mut shell = Shell::new();
        for line in ["EXPIRE k 0", "EXPIRE k -1", "PEXPIRE k -9223372036854775808", "EXPIREAT k 0", "PEXPIREAT k 1"] {
            shell.run("SET k v");
            assert_eq!(shell.run(line), "(integer) 1", "{line}");
            assert_eq!(shell.dirty, 1);
            assert_eq!(shell.run("EXISTS k"), "(integer) 0");
        }
    }

    #[test]
    fn conditions() {
        Shell::new().session(
            r#"
            > SET k v
            > EXPIRE k 100 XX
            (integer) 0
            > EXPIRE k 100 GT
            (integer) 0
            > EXPIRE k 100 NX
            (integer) 1
            > EXPIRE k 200 nx NX
            (integer) 0
            > EXPIRE k 50 GT
            (integer) 0
            > EXPIRE k 100 GT
            (integer) 0
            > EXPIRE k 200 XX GT
            (integer) 1
            > EXPIRE k 200 LT
            (integer) 0
            > EXPIRE k 150 LT XX
            (integer) 1
            > TTL k
            (integer) 150
            > PERSIST k
            (integer) 1
            > EXPIRE k 10 LT XX
            (integer) 0
            > EXPIRE k 10 LT
            (integer) 1
            "#,
        );
    }

    #[test]
    fn refuses() {
        Shell::new().session(
            r#"
            > SET k v
            > EXPIRE k 1 NX GT
            (error) ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE k 1 NX XX
            (error) ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE k 1 GT LT
            (error) ERR GT and LT options at the same time are not compatible
            > EXPIRE k x Foo
            (error) ERR Unsupported option Foo
            > EXPIRE k x
            (error) ERR value is not an integer or out of range
            > EXPIRE k 9223372036854775807
            (error) ERR invalid expire time in 'expire' command
            > EXPIRE k -9223372036854775808
            (error) ERR invalid expire time in 'expire' command
            > EXPIRE k 9223372036854775
            (error) ERR invalid expire time in 'expire' command
            > PEXPIRE k 9223372036854775807
            (error) ERR invalid expire time in 'pexpire' command
            > EXPIREAT k 9223372036854776
            (error) ERR invalid expire time in 'expireat' command
            > TTL k
            (integer) -1
            "#,
        );
    }
}
