//! Whether keys are there and of what type, and their removal: DEL, UNLINK, EXISTS, TOUCH, TYPE.

use super::exists_for_reading;
use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::resp::Args;

pub(super) fn del(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let lazily = ctx.config.lazy_free.user_del;
    delete(ctx, args, lazily)
}

pub(super) fn unlink(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    delete(ctx, args, true)
}

fn delete(ctx: &mut ShardContext<'_>, args: Args<'_>, lazily: bool) -> Outcome {
    let mut removed = 0;
    for key in args.iter_from(1) {
        if ctx.db.delete(key, lazily) {
            ctx.changed(EventClass::Generic, "del", key);
            removed += 1;
        }
    }
    ctx.reply.count(removed);
    Ok(())
}

pub(super) fn exists(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let found = args.iter_from(1).filter(|key| exists_for_reading(ctx.db, key)).count();
    ctx.reply.count(found);
    Ok(())
}

pub(super) fn touch(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let found = args.iter_from(1).filter(|key| ctx.db.value(key).is_some()).count();
    ctx.reply.count(found);
    Ok(())
}

/// TYPE.
pub(super) fn type_name(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    exists_for_reading(ctx.db, args.at(1));
    let name = ctx.db.peek(args.at(1)).map_or("none", |value| value.kind().name());
    ctx.reply.simple(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;

    #[test]
    fn counts_and_removes() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > MSET a 1 b 2 c 3
            > EXISTS a a missing b
            (integer) 3
            > TOUCH a missing b
            (integer) 2
            > TYPE a
            string
            > TYPE missing
            none
            > DEL a a missing
            (integer) 1
            > UNLINK a b c
            (integer) 2
            > EXISTS a b c
            (integer) 0
            "#,
        );
        shell.run("MSET a 1 b 2");
        shell.run("DEL a b c");
        assert_eq!(shell.dirty, 2);
    }

    #[test]
    fn an_expired_key_is_not_there() {
        let mut shell = Shell::new();
        shell.run("SET k v PX 10");
        shell.now += 9;
        assert_eq!(shell.run("EXISTS k"), "(integer) 1");
        shell.now += 1;
        assert_eq!(shell.run("DEL k"), "(integer) 0");
        assert_eq!(shell.run("TYPE k"), "none");
    }

    #[test]
    fn reading_counts_hits_and_misses() {
        let mut shell = Shell::new();
        for line in ["SET k v", "EXISTS k x", "TYPE k", "TTL k", "OBJECT ENCODING k", "PTTL x", "TOUCH k", "INCR n"] {
            shell.run(line);
        }
        assert_eq!((shell.database().hits, shell.database().misses), (5, 2));
    }

    #[test]
    fn only_touching_sets_the_access_time() {
        let mut shell = Shell::new();
        shell.run("SET k v");
        shell.now += 5000;
        for line in ["EXISTS k", "TYPE k", "TTL k", "OBJECT ENCODING k", "OBJECT IDLETIME k"] {
            shell.run(line);
            assert_eq!(shell.run("OBJECT IDLETIME k"), "(integer) 5", "{line}");
        }
        shell.run("TOUCH k");
        assert_eq!(shell.run("OBJECT IDLETIME k"), "(integer) 0");
    }
}
