//! COMMAND and COMMAND INFO: ten facts about each command. The reply for all commands is made once for each protocol.

use super::by_full_name;
use crate::commands::table::Entry;
use crate::commands::{Flow, SessionContext, table};
use crate::resp::{Args, CommandError, Output, Protocol, Reply};
use crate::spec::{BeginSearch, FindKeys, KeySpec};
use std::sync::LazyLock;

pub(super) fn info(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    if args.len() == 2 {
        write_all(&mut ctx.reply);
        return Ok(Flow::Done);
    }
    let names = args.iter_from(2);
    ctx.reply.array(names.len());
    for name in names {
        match by_full_name(name) {
            Some(entry) => write_command(&mut ctx.reply, entry),
            None => ctx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// All commands.
pub(super) fn write_all(reply: &mut Reply<'_>) {
    static ALL: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [Protocol::Resp2, Protocol::Resp3].map(render_all));
    let index = usize::from(reply.protocol() == Protocol::Resp3);
    reply.output().bytes.extend_from_slice(&ALL[index]);
}

fn render_all(protocol: Protocol) -> Vec<u8> {
    let mut output = Output::default();
    let mut reply = Reply::new(&mut output, protocol);
    reply.array(table().commands().count());
    for entry in table().commands() {
        write_command(&mut reply, entry);
    }
    output.bytes
}

fn write_command(reply: &mut Reply<'_>, entry: &Entry) {
    let spec = &entry.row.spec;
    reply.array(10);
    reply.bulk(spec.name.as_bytes());
    reply.integer(spec.arity.into());
    words(reply, spec.flags.words());
    for number in legacy_range(spec.keys) {
        reply.integer(number.into());
    }
    let categories: Vec<&str> = spec.all_categories().words().collect();
    reply.set(categories.len());
    for category in categories {
        reply.simple(&format!("@{category}"));
    }
    let tips: Vec<&str> = spec.all_tips().collect();
    reply.set(tips.len());
    for tip in tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.keys.len());
    for key in spec.keys {
        write_key_spec(reply, key);
    }
    let subcommands = table().subcommands(entry);
    if subcommands.len() == 0 {
        reply.set(0);
    } else {
        reply.array(subcommands.len());
        for subcommand in subcommands {
            write_command(reply, subcommand);
        }
    }
}

/// A set of status lines.
pub(super) fn words<'a>(reply: &mut Reply<'_>, words: impl Iterator<Item = &'a str>) {
    let words: Vec<&str> = words.collect();
    reply.set(words.len());
    for word in words {
        reply.simple(word);
    }
}

fn write_key_spec(reply: &mut Reply<'_>, key: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    words(reply, key.flags.words());
    reply.bulk(b"begin_search");
    match key.begin {
        BeginSearch::Index(index) => numbers(reply, "index", &[("index", index)]),
        BeginSearch::Keyword(keyword, from) => {
            search(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(keyword.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(from.into());
        }
        BeginSearch::Unknown => search(reply, "unknown", 0),
    }
    reply.bulk(b"find_keys");
    match key.find {
        FindKeys::Range { last_key, step, limit } => {
            numbers(reply, "range", &[("lastkey", last_key), ("keystep", step), ("limit", limit)]);
        }
        FindKeys::KeyNum { index, first, step } => {
            numbers(reply, "keynum", &[("keynumidx", index), ("firstkey", first), ("keystep", step)]);
        }
        FindKeys::Unknown => search(reply, "unknown", 0),
    }
}

/// The head of one step of a key search; `facts` pairs follow.
fn search(reply: &mut Reply<'_>, kind: &str, facts: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(facts);
}

fn numbers(reply: &mut Reply<'_>, kind: &str, facts: &[(&str, i32)]) {
    search(reply, kind, facts.len());
    for (name, number) in facts {
        reply.bulk(name.as_bytes());
        reply.integer((*number).into());
    }
}

/// First key, last key and step, as clients older than key specs know them. Of several specs only plain ranges count
/// that follow each other without a gap; zeros when there is none.
fn legacy_range(keys: &[KeySpec]) -> [i32; 3] {
    let range = |key: &KeySpec| match (key.begin, key.find) {
        (BeginSearch::Index(first), FindKeys::Range { last_key, step, .. }) => {
            Some((first, if last_key >= 0 { first + last_key } else { last_key }, step))
        }
        _ => None,
    };
    if let [only] = keys {
        return range(only).map_or([0; 3], |(first, last, step)| [first, last, step]);
    }
    let mut whole: Option<(i32, i32)> = None;
    for (first, last, step) in keys.iter().filter_map(range) {
        if step != 1 || whole.is_some_and(|(_, before)| before != first - 1) {
            continue;
        }
        // Counted from the end, -1, is further than any index.
        let (start, before) = whole.unwrap_or((first, last));
        let end = if before.cast_unsigned() > last.cast_unsigned() { before } else { last };
        whole = Some((start.min(first), end));
    }
    whole.map_or([0; 3], |(first, last)| [first, last, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Console;
    use crate::spec::KeyFlags;

    const RO: KeyFlags = KeyFlags::RO;

    #[test]
    fn legacy_ranges_follow_the_key_specs() {
        assert_eq!(legacy_range(&[]), [0, 0, 0]);
        assert_eq!(legacy_range(&[KeySpec::one(1, RO)]), [1, 1, 1]);
        assert_eq!(legacy_range(&[KeySpec::rest(1, 2, RO)]), [1, -1, 2]);
        assert_eq!(legacy_range(&[KeySpec::counted(1, RO)]), [0, 0, 0]);
        assert_eq!(legacy_range(&[KeySpec::one(1, RO), KeySpec::one(2, RO)]), [1, 2, 1]);
        assert_eq!(legacy_range(&[KeySpec::one(1, RO), KeySpec::rest(2, 1, RO)]), [1, -1, 1]);
        assert_eq!(legacy_range(&[KeySpec::one(1, RO), KeySpec::counted(2, RO)]), [1, 1, 1]);
        let unknown = KeySpec { flags: RO, begin: BeginSearch::Unknown, find: FindKeys::Unknown };
        assert_eq!(legacy_range(&[KeySpec::one(1, RO), unknown, unknown]), [1, 1, 1]);
    }

    #[test]
    fn a_command_has_ten_facts() {
        let mut console = Console::new();
        let get = "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n\
                   +@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n\
                   *4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n\
                   $4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\n\
                   limit\r\n:0\r\n*0\r\n";
        // The string family states its category in its own row.
        let without_category = get.replace("*3\r\n+@read\r\n+@string\r\n", "*2\r\n+@read\r\n");
        let reply = console.run("COMMAND INFO get");
        assert!(reply == get || reply == without_category, "{reply}");
        assert_eq!(console.run("COMMAND INFO nosuch"), "*1\r\n$-1\r\n");
        let id = "*1\r\n*10\r\n$9\r\nclient|id\r\n:2\r\n*3\r\n+noscript\r\n+loading\r\n+stale\r\n:0\r\n:0\r\n:0\r\n\
                  *2\r\n+@slow\r\n+@connection\r\n*0\r\n*0\r\n*0\r\n";
        assert_eq!(console.run("COMMAND INFO client|id"), id);
        console.run("HELLO 3");
        let ping = "*1\r\n*10\r\n$4\r\nping\r\n:-1\r\n~1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n~2\r\n+@fast\r\n+@connection\r\n\
                    ~2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n~0\r\n~0\r\n";
        assert_eq!(console.run("COMMAND INFO PING"), ping);
        let client = console.run("COMMAND INFO client");
        assert!(client.contains("\r\n*18\r\n*10\r\n$14\r\nclient|caching\r\n"), "{client}");
    }

    #[test]
    fn all_commands_are_described() {
        let mut console = Console::new();
        let all = console.run("COMMAND");
        assert!(all.starts_with(&format!("*{}\r\n*10\r\n", table().commands().count())));
        assert_eq!(all, console.run("COMMAND INFO"));
    }
}
