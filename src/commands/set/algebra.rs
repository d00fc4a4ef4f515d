//! Intersections, unions and differences of several sets, replied or stored.

use crate::commands::ShardContext;
use crate::commands::context::EventClass;
use crate::commands::row::Outcome;
use crate::config::EncodingLimits;
use crate::resp::{Args, CommandError, Reply};
use crate::shard::{Database, Expiry};
use crate::structures::listpack::Element;
use crate::types::{Object, Set};
use std::collections::HashSet;

/// The sets at the keys from argument `first` on, `count` of them.
fn sources<'d>(
    db: &'d mut Database,
    args: Args<'_>,
    first: usize,
    count: usize,
) -> Result<Vec<Option<&'d Set>>, CommandError> {
    db.get_many(args.iter_from(first).take(count))
}

/// All sources from argument `first` to the end.
fn all_sources<'d>(db: &'d mut Database, args: Args<'_>, first: usize) -> Result<Vec<Option<&'d Set>>, CommandError> {
    sources(db, args, first, args.len() - first)
}

/// Writes members as a set.
fn reply_members(reply: &mut Reply<'_>, members: &[Element<'_>]) {
    reply.set(members.len());
    for member in members {
        reply.bulk(member.bytes(&mut itoa::Buffer::new()));
    }
}

/// Stores `result` at `destination`, or removes the key if there is no member, and replies their number.
fn store(ctx: &mut ShardContext<'_>, destination: &[u8], result: Set, event: &'static str) {
    let count = result.len();
    if count > 0 {
        ctx.db.replace(destination, result.into_value(), Expiry::Never);
        ctx.changed(EventClass::Set, event, destination);
    } else if ctx.db.remove(destination) {
        ctx.changed(EventClass::Generic, "del", destination);
    }
    ctx.reply.count(count);
}

pub(super) fn sinter(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let Some(sets) = by_ascending_size(all_sources(ctx.db, args, 1)?) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let members: Vec<_> = common(&sets).collect();
    reply_members(&mut ctx.reply, &members);
    Ok(())
}

pub(super) fn sintercard(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    const NO_KEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
    const NEGATIVE: CommandError = CommandError::fixed("ERR LIMIT can't be negative");
    let count = args.integer(1).ok().filter(|&count| count > 0).ok_or(NO_KEYS)?;
    let count = usize::try_from(count).ok().filter(|&count| count <= args.len() - 2);
    let count = count.ok_or(CommandError::fixed("ERR Number of keys can't be greater than number of args"))?;
    let mut limit = 0;
    let mut options = args.cursor(2 + count);
    while let Some(option) = options.next() {
        if !option.eq_ignore_ascii_case(b"limit") || options.remaining() == 0 {
            return Err(CommandError::Syntax);
        }
        limit = options.integer().ok().and_then(|limit| usize::try_from(limit).ok()).ok_or(NEGATIVE)?;
    }
    let limit = if limit == 0 { usize::MAX } else { limit };
    let sets = by_ascending_size(sources(ctx.db, args, 2, count)?);
    ctx.reply.count(sets.map_or(0, |sets| common(&sets).take(limit).count()));
    Ok(())
}

pub(super) fn sinterstore(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let mut result = Set::new();
    if let Some(sets) = by_ascending_size(all_sources(ctx.db, args, 2)?) {
        // A listpack is cheaper to add to than an intset where members do not come in ascending order.
        if !sets[0].is_intset() {
            result = Set::with_strings();
        }
        for member in common(&sets) {
            result.add_element(member, ctx.encoding);
        }
        result.compact_integers(ctx.encoding);
    }
    store(ctx, args.at(1), result, "sinterstore");
    Ok(())
}

/// The sets, the smallest first; `None` if one of them is missing, which makes every intersection empty.
fn by_ascending_size(sets: Vec<Option<&Set>>) -> Option<Vec<&Set>> {
    let mut sets = sets.into_iter().collect::<Option<Vec<_>>>()?;
    sets.sort_by_key(|set| set.len());
    Some(sets)
}

/// The members of the first set that all others have.
fn common<'s>(sets: &'s [&'s Set]) -> impl Iterator<Item = Element<'s>> {
    let (first, others) = sets.split_first().expect("a command names at least one key");
    let in_all = |member: &Element<'_>| {
        others.iter().all(|other| std::ptr::eq(*other, *first) || other.contains_element(*member))
    };
    first.iter().filter(in_all)
}

pub(super) fn sunion(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let sets: Vec<&Set> = all_sources(ctx.db, args, 1)?.into_iter().flatten().collect();
    let mut members = Vec::with_capacity(sets.iter().map(|set| set.len()).max().unwrap_or(0));
    if let [only] = sets[..] {
        members.extend(only.iter());
    } else {
        let mut seen = HashSet::with_capacity_and_hasher(members.capacity(), ahash::RandomState::new());
        members.extend(sets.iter().flat_map(|set| set.iter()).filter(|member| seen.insert(Distinct::from(*member))));
    }
    if sets.iter().all(|set| set.is_intset()) {
        members.sort_unstable_by_key(|member| if let Element::Int(integer) = member { *integer } else { 0 });
    }
    reply_members(&mut ctx.reply, &members);
    Ok(())
}

pub(super) fn sunionstore(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let mut result = Set::new();
    for set in all_sources(ctx.db, args, 2)?.into_iter().flatten() {
        for member in set.iter() {
            result.add_element(member, ctx.encoding);
        }
    }
    store(ctx, args.at(1), result, "sunionstore");
    Ok(())
}

/// A member by which equal ones of sets in different encodings are recognised.
#[derive(PartialEq, Eq, Hash)]
enum Distinct<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> From<Element<'a>> for Distinct<'a> {
    fn from(member: Element<'a>) -> Self {
        match member {
            Element::Int(integer) => Self::Int(integer),
            Element::Bytes(bytes) => match Element::from(bytes) {
                Element::Int(integer) => Self::Int(integer),
                Element::Bytes(bytes) => Self::Bytes(bytes),
            },
        }
    }
}

pub(super) fn sdiff(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    match Difference::of(all_sources(ctx.db, args, 1)?) {
        Difference::Nothing => ctx.reply.set(0),
        Difference::Lookup(first, others) => {
            let members: Vec<_> = without(first, &others).collect();
            reply_members(&mut ctx.reply, &members);
        }
        Difference::Subtract(first, others) => {
            let result = subtract(first, &others, ctx.encoding);
            ctx.reply.set(result.len());
            for member in result.iter() {
                ctx.reply.bulk(member.bytes(&mut itoa::Buffer::new()));
            }
        }
    }
    Ok(())
}

pub(super) fn sdiffstore(ctx: &mut ShardContext<'_>, args: Args<'_>) -> Outcome {
    let mut result = Set::new();
    match Difference::of(all_sources(ctx.db, args, 2)?) {
        Difference::Nothing => {}
        Difference::Lookup(first, others) => {
            for member in without(first, &others) {
                result.add_element(member, ctx.encoding);
            }
        }
        Difference::Subtract(first, others) => result = subtract(first, &others, ctx.encoding),
    }
    store(ctx, args.at(1), result, "sdiffstore");
    Ok(())
}

/// How a difference is computed.
enum Difference<'s> {
    /// Not at all: it is empty.
    Nothing,
    /// Every member of the first set is looked up in the others: work is the first set's size times the number of sets.
    Lookup(&'s Set, Vec<&'s Set>),
    /// The others' members are removed from a copy of the first set: work is the size of all sets.
    Subtract(&'s Set, Vec<&'s Set>),
}

impl<'s> Difference<'s> {
    /// Chooses by the work, as Redis does.
    fn of(sets: Vec<Option<&'s Set>>) -> Self {
        let Some(first) = sets[0] else { return Self::Nothing };
        let mut others: Vec<&Set> = sets[1..].iter().copied().flatten().collect();
        if others.iter().any(|other| std::ptr::eq(*other, first)) {
            return Self::Nothing;
        }
        let lookup_work = (1 + others.len()).saturating_mul(first.len());
        let subtract_work = first.len() + others.iter().map(|other| other.len()).sum::<usize>();
        // Looking up has the smaller constant, and ends early where members are in common: it counts half.
        if lookup_work / 2 <= subtract_work {
            others.sort_by_key(|other| std::cmp::Reverse(other.len()));
            Self::Lookup(first, others)
        } else {
            Self::Subtract(first, others)
        }
    }
}

/// The members of `first` that no other set has.
fn without<'s>(first: &'s Set, others: &'s [&'s Set]) -> impl Iterator<Item = Element<'s>> {
    first.iter().filter(|member| !others.iter().any(|other| other.contains_element(*member)))
}

/// A copy of `first` without the members of the others.
fn subtract(first: &Set, others: &[&Set], limits: &EncodingLimits) -> Set {
    let mut result = Set::new();
    for member in first.iter() {
        result.add_element(member, limits);
    }
    for other in others {
        for member in other.iter() {
            result.remove_element(member);
        }
        if result.is_empty() {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Shell;
    use crate::stdx::random::Random;
    use std::collections::BTreeSet;

    #[test]
    fn a_session() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SADD a 1 2 3 x
            > SADD b 2 3 4
            > SADD c 3 x
            > SINTER a b c
            ["3"]
            > SINTER a
            ["1", "2", "3", "x"]
            > SINTER a none
            []
            > SINTERCARD 3 a b c
            (integer) 1
            > SINTERCARD 2 a b LIMIT 1
            (integer) 1
            > SINTERCARD 2 a b limit 0
            (integer) 2
            > SINTERCARD 2 a none
            (integer) 0
            > SUNION a b none
            ["1", "2", "3", "x", "4"]
            > SUNION none
            []
            > SADD n1 5 7
            > SADD n2 1 6
            > SUNION n1 n2
            ["1", "5", "6", "7"]
            > SDIFF a b
            ["1", "x"]
            > SDIFF a b none c
            ["1"]
            > SDIFF none a
            []
            > SDIFF a a
            []
            > SINTERSTORE r a b
            (integer) 2
            > SMEMBERS r
            ["2", "3"]
            > SUNIONSTORE r r c
            (integer) 3
            > SDIFFSTORE r r b
            (integer) 1
            > SMEMBERS r
            ["x"]
            > SDIFFSTORE r r r
            (integer) 0
            "#,
        );
        assert!(!shell.database().contains(b"r"));
        let mut shell = Shell::resp3();
        shell.session(
            "> SADD a 1\n> SINTER a a\n~[\"1\"]\n> SUNION a\n~[\"1\"]\n> SDIFF a\n~[\"1\"]\n> SINTER none\n~[]",
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        let mut shell = Shell::new();
        shell.session(
            r#"
            > SET str x
            > SADD s a
            > SINTER none str
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SUNION s str
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SDIFF none str
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SINTERSTORE s s str
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SINTERCARD 2 none str
            (error) WRONGTYPE Operation against a key holding the wrong kind of value
            > SINTERCARD 0 s
            (error) ERR numkeys should be greater than 0
            > SINTERCARD x s
            (error) ERR numkeys should be greater than 0
            > SINTERCARD 3 s
            (error) ERR Number of keys can't be greater than number of args
            > SINTERCARD 1 s LIMIT -1
            (error) ERR LIMIT can't be negative
            > SINTERCARD 1 s LIMIT x
            (error) ERR LIMIT can't be negative
            > SINTERCARD 1 s LIMIT
            (error) ERR syntax error
            > SINTERCARD 1 s FOO 1
            (error) ERR syntax error
            > SUNIONSTORE str s
            (integer) 1
            > SMEMBERS str
            ["a"]
            > SINTERSTORE str s none
            (integer) 0
            > SINTERSTORE str s none
            (integer) 0
            "#,
        );
        assert_eq!(shell.dirty, 0);
    }

    #[test]
    fn stored_results_take_redis_encodings() {
        let mut shell = Shell::new();
        for number in 0..200 {
            shell.run(&format!("SADD numbers {number}"));
            shell.run(&format!("SADD table {number} t{number}"));
            shell.run(&format!("SADD texts t{number}"));
        }
        for (command, encoding) in [
            ("SINTERSTORE r numbers table", "intset"),
            ("SINTERSTORE r table numbers", "intset"),
            ("SINTERSTORE r table texts", "hashtable"),
            ("SUNIONSTORE r numbers numbers", "intset"),
            ("SUNIONSTORE r numbers texts", "hashtable"),
            ("SDIFFSTORE r numbers texts", "intset"),
            ("SDIFFSTORE r table texts", "intset"),
            ("SDIFFSTORE r table numbers", "hashtable"),
        ] {
            shell.run(command);
            assert_eq!(shell.encoding("r"), encoding, "{command}");
        }
        shell.run("SADD small 1 2 a");
        shell.run("SINTERSTORE r small small");
        assert_eq!(shell.encoding("r"), "listpack");
    }

    /// The reply's members, each once.
    fn members(reply: &str) -> BTreeSet<String> {
        let all: Vec<_> = reply.split('"').skip(1).step_by(2).map(str::to_string).collect();
        let distinct: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(all.len(), distinct.len(), "{reply}");
        distinct
    }

    #[test]
    fn agrees_with_a_model_in_every_encoding() {
        for seed in 0..40 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let mut shell = Shell::new();
            let mut models = Vec::new();
            for key in ["a", "b", "c", "d"] {
                let size = [3, 20, 140, 600][random.below(4)];
                let texts = random.below(2) == 0;
                let mut model = BTreeSet::new();
                for _ in 0..size {
                    let number = random.below(900);
                    let member = if texts && number < 450 { format!("t{number}") } else { number.to_string() };
                    shell.run(&format!("SADD {key} {member}"));
                    model.insert(member);
                }
                models.push(model);
            }
            for _ in 0..30 {
                let chosen: Vec<usize> = (0..1 + random.below(4)).map(|_| random.below(5)).collect();
                let keys: String = chosen.iter().map(|&at| [" a", " b", " c", " d", " none"][at]).collect();
                let empty = BTreeSet::new();
                let sets: Vec<_> = chosen.iter().map(|&at| models.get(at).unwrap_or(&empty)).collect();
                let fold = |join: fn(&BTreeSet<String>, &BTreeSet<String>) -> BTreeSet<String>| {
                    sets[1..].iter().fold(sets[0].clone(), |sum, set| join(&sum, set))
                };
                for (verb, expected) in
                    [("SINTER", fold(|a, b| a & b)), ("SUNION", fold(|a, b| a | b)), ("SDIFF", fold(|a, b| a - b))]
                {
                    assert_eq!(members(&shell.run(&format!("{verb}{keys}"))), expected, "{verb}{keys}");
                    let count = format!("(integer) {}", expected.len());
                    assert_eq!(shell.run(&format!("{verb}STORE r{keys}")), count, "{verb}{keys}");
                    assert_eq!(members(&shell.run("SMEMBERS r")), expected);
                }
                let count = fold(|a, b| a & b).len();
                let reply = shell.run(&format!("SINTERCARD {}{keys}", chosen.len()));
                assert_eq!(reply, format!("(integer) {count}"));
                let reply = shell.run(&format!("SINTERCARD {}{keys} LIMIT 5", chosen.len()));
                assert_eq!(reply, format!("(integer) {}", count.min(5)));
            }
        }
    }
}
