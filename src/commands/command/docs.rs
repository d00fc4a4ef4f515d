//! COMMAND DOCS: what a row tells to people, and the tree of arguments its syntax line stands for.

use super::by_full_name;
use super::info::words;
use super::syntax::{Argument, Kind, arguments};
use crate::commands::table::Entry;
use crate::commands::{Flow, SessionContext, table};
use crate::resp::{Args, CommandError, Output, Protocol, Reply};
use std::sync::LazyLock;

pub(super) fn docs(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    if args.len() == 2 {
        write_all(&mut ctx.reply);
        return Ok(Flow::Done);
    }
    let known: Vec<&Entry> = args.iter_from(2).filter_map(by_full_name).collect();
    ctx.reply.map(known.len());
    for entry in known {
        write_command(&mut ctx.reply, entry);
    }
    Ok(Flow::Done)
}

/// All commands; redis-cli asks for them when it starts, so the reply is made once for each protocol.
fn write_all(reply: &mut Reply<'_>) {
    static ALL: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [Protocol::Resp2, Protocol::Resp3].map(render_all));
    let index = usize::from(reply.protocol() == Protocol::Resp3);
    reply.output().bytes.extend_from_slice(&ALL[index]);
}

fn render_all(protocol: Protocol) -> Vec<u8> {
    let mut output = Output::default();
    let mut reply = Reply::new(&mut output, protocol);
    reply.map(table().commands().count());
    for entry in table().commands() {
        write_command(&mut reply, entry);
    }
    output.bytes
}

/// The command's name and its documentation.
fn write_command(reply: &mut Reply<'_>, entry: &Entry) {
    let spec = &entry.row.spec;
    let arguments = arguments(spec);
    let subcommands = table().subcommands(entry);
    let deprecated = spec.deprecated;
    let optional = [!arguments.is_empty(), subcommands.len() > 0];
    let optional = optional.iter().filter(|there| **there).count();
    reply.bulk(spec.name.as_bytes());
    reply.map(4 + optional + if deprecated.is_some() { 3 } else { 0 });
    text(reply, "summary", spec.summary);
    text(reply, "since", spec.since);
    text(reply, "group", spec.group.word());
    text(reply, "complexity", spec.complexity);
    if let Some((since, replaced_by)) = deprecated {
        reply.bulk(b"doc_flags");
        words(reply, ["deprecated"].into_iter());
        text(reply, "deprecated_since", since);
        text(reply, "replaced_by", replaced_by);
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(reply, &arguments);
    }
    if subcommands.len() > 0 {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for subcommand in subcommands {
            write_command(reply, subcommand);
        }
    }
}

fn text(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn write_arguments(reply: &mut Reply<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(reply, argument);
    }
}

fn write_argument(reply: &mut Reply<'_>, argument: &Argument) {
    let is_group = matches!(argument.kind, Kind::OneOf | Kind::Block);
    let flags =
        [(argument.optional, "optional"), (argument.multiple, "multiple"), (argument.multiple_token, "multiple_token")];
    let flags = || flags.iter().filter(|(on, _)| *on).map(|(_, word)| *word);
    let has_flags = flags().next().is_some();
    // A name and a type, then a text to display or nested arguments, then what there is.
    let facts = [argument.key_spec.is_some(), argument.token.is_some(), has_flags];
    reply.map(3 + facts.iter().filter(|there| **there).count());
    text(reply, "name", &argument.name);
    text(reply, "type", argument.kind.word());
    if !is_group {
        text(reply, "display_text", &argument.name);
    }
    if let Some(index) = argument.key_spec {
        reply.bulk(b"key_spec_index");
        reply.count(index);
    }
    if let Some(token) = &argument.token {
        text(reply, "token", token);
    }
    if has_flags {
        reply.bulk(b"flags");
        words(reply, flags());
    }
    if is_group {
        reply.bulk(b"arguments");
        write_arguments(reply, &argument.nested);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Console;
    use serde_json::Value;

    #[test]
    fn a_command_is_documented() {
        let mut console = Console::new();
        let echo = "*2\r\n$4\r\necho\r\n*10\r\n$7\r\nsummary\r\n$25\r\nAnswers with the message.\r\n$5\r\nsince\r\n$5\r\n\
                    1.0.0\r\n$5\r\ngroup\r\n$10\r\nconnection\r\n$10\r\ncomplexity\r\n$4\r\nO(1)\r\n$9\r\narguments\r\n\
                    *1\r\n*6\r\n$4\r\nname\r\n$7\r\nmessage\r\n$4\r\ntype\r\n$6\r\nstring\r\n$12\r\ndisplay_text\r\n$7\r\n\
                    message\r\n";
        assert_eq!(console.run("COMMAND DOCS Echo nosuch"), echo);
        assert_eq!(console.run("COMMAND DOCS nosuch"), "*0\r\n");
        console.run("HELLO 3");
        let id = console.run("COMMAND DOCS client|id");
        assert!(id.starts_with("%1\r\n$9\r\nclient|id\r\n%4\r\n$7\r\nsummary\r\n"), "{id}");
        let all = console.run("COMMAND DOCS");
        assert!(all.starts_with(&format!("%{}\r\n", table().commands().count())));
        assert!(all.contains("$9\r\ndoc_flags\r\n~1\r\n+deprecated\r\n$16\r\ndeprecated_since\r\n$5\r\n7.2.0\r\n"));
    }

    /// What both trees must agree on: types, tokens and flags. Names of groups are not in a syntax line.
    fn agree(ours: &[Argument], theirs: &Value) -> bool {
        let theirs = theirs.as_array().map_or(&[][..], Vec::as_slice);
        let flag = |value: &Value, name: &str| value[name].as_bool().unwrap_or(false);
        let same = |(ours, theirs): (&Argument, &Value)| {
            ours.kind.word() == theirs["type"].as_str().unwrap_or("")
                && ours.token.as_deref() == theirs["token"].as_str()
                && ours.key_spec.map(|index| index as u64) == theirs["key_spec_index"].as_u64()
                && ours.optional == flag(theirs, "optional")
                && ours.multiple == flag(theirs, "multiple")
                && ours.multiple_token == flag(theirs, "multiple_token")
                && agree(&ours.nested, &theirs["arguments"])
        };
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
    }

    /// Shows where a syntax line says less than Redis's own trees. The facts in `tests/data` are without trees.
    #[test]
    #[ignore = "REDIS_COMMANDS_JSON names a file of facts with argument trees"]
    fn trees_agree_with_those_of_redis() {
        let path = std::env::var("REDIS_COMMANDS_JSON").expect("REDIS_COMMANDS_JSON names the file");
        let facts = std::fs::read(path).expect("the file can be read");
        let facts: Value = serde_json::from_slice(&facts).expect("a JSON file");
        let known = table().entries().iter().filter(|entry| !facts[entry.row.spec.name.replace('|', " ")].is_null());
        let known: Vec<&Entry> = known.collect();
        let differs = |entry: &&&Entry| {
            let facts = &facts[entry.row.spec.name.replace('|', " ")];
            !agree(&arguments(&entry.row.spec), &facts["arguments"])
        };
        let different: Vec<&str> = known.iter().filter(differs).map(|entry| entry.row.spec.name).collect();
        println!("{} of {} trees agree; not: {different:?}", known.len() - different.len(), known.len());
        assert!(different.len() * 5 < known.len(), "{different:?}");
    }
}
