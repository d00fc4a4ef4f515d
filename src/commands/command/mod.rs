//! COMMAND: the command table as clients read it. Everything here comes from the rows; nothing is written down twice.

mod docs;
mod getkeys;
mod info;
mod syntax;

use super::table::Entry;
use super::{Flow, Row, SessionContext, table};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::spec::{Categories, Flags, Group};
use crate::stdx::glob;

const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// COMMAND.
pub const ROWS: &[Row] = &[Row::session("command", -1, Group::Server, command)
    .summary("Describes all commands.")
    .syntax("COMMAND")
    .since("2.8.13")
    .complexity("O(N) where N is the number of commands")
    .flags(ANY_TIME)
    .categories(Categories::CONNECTION)
    .tips(UNORDERED)
    .subcommands(SUBCOMMANDS)];

const SUBCOMMANDS: &[Row] = &[
    Row::session("command|count", 2, Group::Server, count)
        .summary("Returns the number of commands.")
        .syntax("COMMAND COUNT")
        .since("2.8.13")
        .flags(ANY_TIME)
        .categories(Categories::CONNECTION),
    Row::session("command|docs", -2, Group::Server, docs::docs)
        .summary("Returns the documentation of commands.")
        .syntax("COMMAND DOCS [command-name [command-name ...]]")
        .since("7.0.0")
        .complexity("O(N) where N is the number of commands asked for")
        .flags(ANY_TIME)
        .categories(Categories::CONNECTION)
        .tips(UNORDERED),
    Row::session("command|getkeys", -3, Group::Server, getkeys::getkeys)
        .summary("Finds the keys in a command's arguments.")
        .syntax("COMMAND GETKEYS command [arg [arg ...]]")
        .since("2.8.13")
        .complexity("O(N) where N is the number of arguments")
        .flags(ANY_TIME)
        .categories(Categories::CONNECTION),
    Row::session("command|getkeysandflags", -3, Group::Server, getkeys::getkeysandflags)
        .summary("Finds the keys in a command's arguments and tells what is done with them.")
        .syntax("COMMAND GETKEYSANDFLAGS command [arg [arg ...]]")
        .since("7.0.0")
        .complexity("O(N) where N is the number of arguments")
        .flags(ANY_TIME)
        .categories(Categories::CONNECTION),
    Row::session("command|help", 2, Group::Server, help)
        .summary("Lists the subcommands.")
        .syntax("COMMAND HELP")
        .since("5.0.0")
        .flags(ANY_TIME)
        .categories(Categories::CONNECTION),
    Row::session("command|info", -2, Group::Server, info::info)
        .summary("Describes some commands, or all.")
        .syntax("COMMAND INFO [command-name [command-name ...]]")
        .since("2.8.13")
        .complexity("O(N) where N is the number of commands asked for")
        .flags(ANY_TIME)
        .categories(Categories::CONNECTION)
        .tips(UNORDERED),
    Row::session("command|list", -2, Group::Server, list)
        .summary("Returns the names of the commands.")
        .syntax("COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]")
        .since("7.0.0")
        .complexity("O(N) where N is the number of commands")
        .flags(ANY_TIME)
        .categories(Categories::CONNECTION)
        .tips(UNORDERED),
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Describes all commands.",
    "COUNT",
    "    Tells how many commands there are.",
    "DOCS [<command-name> ...]",
    "    Returns the documentation of these commands, or of all.",
    "GETKEYS <full-command>",
    "    Finds the keys in a command and its arguments.",
    "GETKEYSANDFLAGS <full-command>",
    "    Finds the keys in a command and its arguments, and what is done with them.",
    "INFO [<command-name> ...]",
    "    Describes these commands, or all.",
    "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Names all commands, or those that fit.",
];

/// The command or subcommand called `name`, as in `client|kill`.
fn by_full_name(name: &[u8]) -> Option<&'static Entry> {
    let mut parts = name.splitn(2, |&byte| byte == b'|');
    let command = table().find(parts.next()?)?;
    match parts.next() {
        None => Some(command),
        Some(subcommand) => table().find_subcommand(command, subcommand),
    }
}

fn command(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    if let Some(name) = args.get(1) {
        return Err(CommandError::quoting("ERR unknown subcommand '", name, "'. Try COMMAND HELP."));
    }
    info::write_all(&mut ctx.reply);
    Ok(Flow::Done)
}

fn count(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.count(table().commands().count());
    Ok(Flow::Done)
}

fn help(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    super::server::write_help(&mut ctx.reply, "COMMAND", HELP);
    Ok(Flow::Done)
}

fn list(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let filter = match args.len() {
        2 => Filter::All,
        5 if is_token(args.at(2), "FILTERBY") => Filter::parse(args.at(3), args.at(4))?,
        _ => return Err(CommandError::Syntax),
    };
    let fitting = || table().entries().iter().filter(|entry| filter.fits(entry));
    ctx.reply.array(fitting().count());
    for entry in fitting() {
        ctx.reply.bulk(entry.row.spec.name.as_bytes());
    }
    Ok(Flow::Done)
}

/// COMMAND LIST's filter.
enum Filter {
    All,
    None,
    Category(Categories),
    Pattern(Vec<u8>),
}

impl Filter {
    fn parse(kind: &[u8], value: &[u8]) -> Result<Self, CommandError> {
        if is_token(kind, "MODULE") {
            // There are no modules, so no command comes from one.
            Ok(Self::None)
        } else if is_token(kind, "ACLCAT") {
            Ok(Categories::named(value).map_or(Self::None, Self::Category))
        } else if is_token(kind, "PATTERN") {
            Ok(Self::Pattern(value.to_ascii_lowercase()))
        } else {
            Err(CommandError::Syntax)
        }
    }

    fn fits(&self, entry: &Entry) -> bool {
        let spec = &entry.row.spec;
        match self {
            Self::All => true,
            Self::None => false,
            Self::Category(category) => spec.all_categories().contains(*category),
            Self::Pattern(pattern) => glob::matches(pattern, spec.name.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::table;
    use crate::commands::testing::Console;

    #[test]
    fn list_filters() {
        let mut console = Console::new();
        assert_eq!(console.run("COMMAND COUNT"), format!(":{}\r\n", table().commands().count()));
        let all = console.run("COMMAND LIST");
        assert!(all.starts_with(&format!("*{}\r\n", table().entries().len())));
        assert_eq!(console.run("COMMAND LIST FILTERBY PATTERN *|KILL"), "*1\r\n$11\r\nclient|kill\r\n");
        assert_eq!(console.run("COMMAND LIST FILTERBY PATTERN ech?"), "*1\r\n$4\r\necho\r\n");
        assert_eq!(console.run("COMMAND LIST FILTERBY MODULE x"), "*0\r\n");
        assert_eq!(console.run("COMMAND LIST FILTERBY ACLCAT nosuch"), "*0\r\n");
        assert!(console.run("COMMAND LIST FILTERBY ACLCAT Connection").contains("client|setname"));
        assert_eq!(console.run("COMMAND LIST FILTERBY foo bar"), "-ERR syntax error\r\n");
        assert_eq!(console.run("COMMAND LIST foo"), "-ERR syntax error\r\n");
        assert_eq!(console.run("COMMAND foo"), "-ERR unknown subcommand 'foo'. Try COMMAND HELP.\r\n");
        assert!(console.run("COMMAND HELP").contains("GETKEYSANDFLAGS"));
    }
}
