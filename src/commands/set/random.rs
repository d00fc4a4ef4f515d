//! SPOP and SRANDMEMBER.

use super::lost_members;
use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::limits::{LOGGED_MEMBERS_BYTES_MAX, LOGGED_MEMBERS_MAX};
use crate::resp::{Args, CommandError};
use crate::structures::listpack::Element;
use crate::types::Set;

pub(super) fn spop(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        2 => spop_one(ctx, args.at(1)),
        3 => {
            let count = args.integer(2).ok().and_then(|count| usize::try_from(count).ok());
            spop_many(ctx, args.at(1), count.ok_or(CommandError::NotPositive)?)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn spop_one(ctx: &mut ShardContext<'_>, key: &[u8]) -> Outcome {
    let Some(set) = ctx.db.get_mut::<Set>(key)? else {
        ctx.reply.null();
        return Ok(());
    };
    let (logged, mut popped) = (ctx.log.wanted, Vec::new());
    set.pop(ctx.random, |member| {
        let mut digits = itoa::Buffer::new();
        let member = member.bytes(&mut digits);
        ctx.reply.bulk(member);
        if logged {
            popped.extend_from_slice(member);
        }
    });
    let is_empty = set.is_empty();
    lost_members(ctx, key, "spop", is_empty);
    ctx.log(&[b"SREM", key, &popped]);
    Ok(())
}

fn spop_many(ctx: &mut ShardContext<'_>, key: &[u8], count: usize) -> Outcome {
    let Some(set) = ctx.db.get_mut::<Set>(key)?.filter(|_| count > 0) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let is_empty = count >= set.len();
    ctx.reply.set(count.min(set.len()));
    let (logged, mut popped) = (ctx.log.wanted && !is_empty, Vec::new());
    let each = |member: Element<'_>| {
        let mut digits = itoa::Buffer::new();
        let member = member.bytes(&mut digits);
        ctx.reply.bulk(member);
        if logged {
            popped.push(member.to_vec());
        }
    };
    if is_empty {
        set.iter().for_each(each);
    } else {
        set.pop_many(count, ctx.encoding, ctx.random, each);
    }
    lost_members(ctx, key, "spop", is_empty);
    log_popped(ctx, key, &popped);
    Ok(())
}

/// Logs the members that the dice have chosen; none: all.
fn log_popped(ctx: &mut ShardContext<'_>, key: &[u8], popped: &[Vec<u8>]) {
    if popped.is_empty() {
        return ctx.log(&[b"DEL", key]);
    }
    let mut rest = popped;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |member: &&Vec<u8>| {
            bytes += member.len();
            bytes <= LOGGED_MEMBERS_BYTES_MAX
        };
        let count = rest.iter().take(LOGGED_MEMBERS_MAX).take_while(fits).count().max(1);
        let members;
        (members, rest) = rest.split_at(count);
        let head = [&b"SREM"[..], key].into_iter();
        ctx.log(&head.chain(members.iter().map(Vec::as_slice)).collect::<Vec<_>>());
    }
}

pub(super) fn srandmember(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = args.get(2).map(|_| args.integer(2)).transpose()?;
    if count == Some(i64::MIN) {
        return Err(CommandError::fixed(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let limit = ctx.reply_limit();
    let set = ctx.db.get::<Set>(args.at(1))?;
    match (set, count) {
        (None, None) => ctx.reply.null(),
        (None, Some(_)) => ctx.reply.array(0),
        (Some(set), None) => {
            let member = set.random(ctx.random).expect("a stored set is not empty");
            ctx.reply.bulk(member.bytes(&mut itoa::Buffer::new()));
        }
        (Some(set), Some(count @ 0..)) => {
            let count = set.len().min(count as usize);
            ctx.reply.array(count);
            set.sample(count, ctx.random, |member| ctx.reply.bulk(member.bytes(&mut itoa::Buffer::new())));
        }
        // A negative count wants that many members, the same one perhaps several times.
        (Some(set), Some(count)) => {
            ctx.reply.array(count.unsigned_abs() as usize);
            for _ in 0..count.unsigned_abs() {
                let member = set.random(ctx.random).expect("a stored set is not empty");
                ctx.reply.bulk(member.bytes(&mut itoa::Buffer::new()));
                if limit.is_passed(&ctx.reply)? {
                    break;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;
    use std::collections::HashSet;

    fn words(reply: &str) -> Vec<String> {
        reply.split('"').skip(1).step_by(2).map(str::to_string).collect()
    }

    #[test]
    fn spop_takes_members_out() {
        for (count, encoding) in [(10, "intset"), (100, "intset"), (600, "hashtable")] {
            let mut shell = Shell::new();
            for number in 0..count {
                shell.run(&format!("SADD s {number}"));
            }
            assert_eq!(shell.encoding("s"), encoding);
            let mut popped = words(&shell.run("SPOP s"));
            assert_eq!(popped.len(), 1);
            for step in [0, 1, count / 4, count / 2] {
                let more = words(&shell.run(&format!("SPOP s {step}")));
                assert_eq!(more.len(), step);
                popped.extend(more);
            }
            let left = count - popped.len();
            assert_eq!(shell.run("SCARD s"), format!("(integer) {left}"));
            popped.extend(words(&shell.run("SPOP s 1000000")));
            assert!(!shell.database().contains(b"s"));
            let distinct: HashSet<_> = popped.iter().collect();
            assert_eq!((popped.len(), distinct.len()), (count, count));
        }
    }

    #[test]
    fn spop_speaks_as_redis() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET str x
            > SADD s a
            > SPOP none
            (nil)
            > SPOP none 2
            []
            > SPOP s -1
            (error) ERR value is out of range, must be positive
            > SPOP str x
            (error) ERR value is out of range, must be positive
            > SPOP s 1 2
            (error) ERR syntax error
            > SPOP str
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SPOP str 0
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SPOP s 0
            []
            > SPOP s
            "a"
            > SPOP s
            (nil)
            "#,
        );
        let mut shell = Shell::resp3();
        shell.session("> SADD s a\n> SPOP s 1\n~[\"a\"]\n> SPOP s 1\n~[]\n> SPOP s\n(null)");
    }

    #[test]
    fn srandmember_leaves_the_set_alone() {
        for count in [5, 100, 700] {
            let mut shell = Shell::new();
            for number in 0..count {
                shell.run(&format!("SADD s m{number}"));
            }
            for (asked, answered) in [(0, 0), (1, 1), (4, 4), (count / 2, count / 2), (count, count), (9999, count)] {
                let members = words(&shell.run(&format!("SRANDMEMBER s {asked}")));
                assert_eq!((members.len(), members.iter().collect::<HashSet<_>>().len()), (answered, answered));
            }
            let members = words(&shell.run("SRANDMEMBER s -2000"));
            assert_eq!(members.len(), 2000);
            assert!(members.iter().collect::<HashSet<_>>().len() > count / 2);
            assert_eq!(shell.run("SCARD s"), format!("(integer) {count}"));
            assert_eq!(shell.dirty, 0);
        }
    }

    #[test]
    fn srandmember_speaks_as_redis() {
        let mut shell = Shell::resp3();
        shell.session(
            r#"
            > SADD s a
            > SRANDMEMBER s
            "a"
            > SRANDMEMBER s 5
            ["a"]
            > SRANDMEMBER s -3
            ["a", "a", "a"]
            > SRANDMEMBER none
            (null)
            > SRANDMEMBER none 2
            []
            > SRANDMEMBER s x
            (error) ERR value is not an integer or out of range
            > SRANDMEMBER s -9223372036854775808
            (error) ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            > SRANDMEMBER s 9223372036854775807
            ["a"]
            > SRANDMEMBER s 1 2
            (error) ERR syntax error
            "#,
        );
    }
}
