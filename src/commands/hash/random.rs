//! HRANDFIELD.

use crate::commands::ShardContext;
use crate::commands::row::Outcome;
use crate::resp::{Args, CommandError, Protocol, Reply, args::is_token};
use crate::structures::listpack::Element;
use crate::types::Hash;

pub(super) fn hrandfield(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let count = args.get(2).map(|_| args.integer(2)).transpose()?;
    if count == Some(i64::MIN) {
        return Err(CommandError::fixed(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let with_values = args.get(3).is_some_and(|argument| is_token(argument, "withvalues"));
    if args.len() > 4 || args.len() == 4 && !with_values {
        return Err(CommandError::Syntax);
    }
    // Twice the count must be a count too.
    if with_values && count.is_some_and(|count| count.unsigned_abs() > i64::MAX as u64 / 2) {
        return Err(CommandError::OutOfRange);
    }
    let limit = ctx.reply_limit();
    let Some(hash) = ctx.db.get::<Hash>(args.at(1))? else {
        match count {
            None => ctx.reply.null(),
            Some(_) => ctx.reply.array(0),
        }
        return Ok(());
    };
    match count {
        None => {
            let (field, _) = hash.random(ctx.random).expect("a stored hash is not empty");
            ctx.reply.bulk(field.bytes(&mut itoa::Buffer::new()));
        }
        Some(count @ 0..) => {
            let count = hash.len().min(count as usize);
            reply_head(&mut ctx.reply, count, with_values);
            hash.sample(count, ctx.random, |field, value| reply_pair(&mut ctx.reply, field, value, with_values));
        }
        // A negative count wants that many fields, the same one perhaps several times.
        Some(count) => {
            reply_head(&mut ctx.reply, count.unsigned_abs() as usize, with_values);
            for _ in 0..count.unsigned_abs() {
                let (field, value) = hash.random(ctx.random).expect("a stored hash is not empty");
                reply_pair(&mut ctx.reply, field, value, with_values);
                if limit.is_passed(&ctx.reply)? {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The head of a reply of `count` fields: with their values an array of pairs in RESP3, a flat one in RESP2.
fn reply_head(reply: &mut Reply<'_>, count: usize, with_values: bool) {
    let is_flat = with_values && reply.protocol() == Protocol::Resp2;
    reply.array(if is_flat { 2 * count } else { count });
}

fn reply_pair(reply: &mut Reply<'_>, field: Element<'_>, value: Element<'_>, with_value: bool) {
    if with_value && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(field.bytes(&mut itoa::Buffer::new()));
    if with_value {
        reply.bulk(value.bytes(&mut itoa::Buffer::new()));
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;
    use std::collections::HashSet;

    fn words(reply: &str) -> Vec<String> {
        reply.split('"').skip(1).step_by(2).map(str::to_string).collect()
    }

    #[test]
    fn fields_differ_unless_the_count_is_negative() {
        for count in [5, 100, 700] {
            let mut shell = Shell::new();
            for number in 0..count {
                shell.run(&format!("HSET h f{number} v{number}"));
            }
            for (asked, answered) in [(0, 0), (1, 1), (4, 4), (count / 2, count / 2), (count, count), (9999, count)] {
                let fields = words(&shell.run(&format!("HRANDFIELD h {asked}")));
                assert_eq!((fields.len(), fields.iter().collect::<HashSet<_>>().len()), (answered, answered));
                let pairs = words(&shell.run(&format!("HRANDFIELD h {asked} WITHVALUES")));
                assert_eq!(pairs.len(), 2 * answered);
                assert!(pairs.chunks(2).all(|pair| pair[0][1..] == pair[1][1..]));
            }
            let fields = words(&shell.run("HRANDFIELD h -2000"));
            assert_eq!(fields.len(), 2000);
            assert!(fields.iter().collect::<HashSet<_>>().len() > count / 2);
            assert_eq!(words(&shell.run("HRANDFIELD h -50 withvalues")).len(), 100);
        }
    }

    #[test]
    fn a_session() {
        let script = r#"
            > HSET h f v
            > HRANDFIELD h
            "f"
            > HRANDFIELD h 5
            ["f"]
            > HRANDFIELD h -2
            ["f", "f"]
            > HRANDFIELD none 2
            []
            > HRANDFIELD none 2 WITHVALUES
            []
            > HRANDFIELD h 1 x
            (error) ERR syntax error
            > HRANDFIELD h x
            (error) ERR value is not an integer or out of range
            > HRANDFIELD none x
            (error) ERR value is not an integer or out of range
            > HRANDFIELD h 0 x
            (error) ERR syntax error
            > HRANDFIELD h 1 WITHVALUES x
            (error) ERR syntax error
            > HRANDFIELD h -9223372036854775808
            (error) ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            > HRANDFIELD h 5000000000000000000 WITHVALUES
            (error) ERR value is out of range
            > HRANDFIELD h -4611686018427387904 WITHVALUES
            (error) ERR value is out of range
            > HRANDFIELD h 5000000000000000000 BAD
            (error) ERR syntax error
            > HRANDFIELD h 4611686018427387903
            ["f"]
            "#;
        let mut shell = Shell::new();
        shell.session(script);
        shell.session("> HRANDFIELD none\n(nil)\n> HRANDFIELD h 1 WITHVALUES\n[\"f\", \"v\"]");
        let mut shell = Shell::resp3();
        shell.session(script);
        shell.session("> HRANDFIELD none\n(null)\n> HRANDFIELD h -2 WITHVALUES\n[[\"f\", \"v\"], [\"f\", \"v\"]]");
    }
}
