//! SLOWLOG: the commands that took long. The engine fills the log (`engine::slowlog`).

use super::server::write_help;
use super::{Flow, Row, SessionContext};
use crate::resp::args::integer;
use crate::resp::{Args, CommandError};
use crate::spec::{Flags, Group};

const FLAGS: Flags = Flags::ADMIN.union(Flags::LOADING).union(Flags::STALE);

/// SLOWLOG.
pub const ROWS: &[Row] = &[Row::container("slowlog", Group::Server, SUBCOMMANDS)
    .summary("Looks at the commands that took long.")
    .syntax("SLOWLOG")
    .since("2.2.12")
    .complexity("Depends on subcommand.")];

const SUBCOMMANDS: &[Row] = &[
    Row::session("slowlog|get", -2, Group::Server, get)
        .summary("Returns the latest commands that took long, 10 unless told.")
        .syntax("SLOWLOG GET [count]")
        .since("2.2.12")
        .complexity("O(N) where N is the number of entries returned")
        .flags(FLAGS)
        .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
    Row::session("slowlog|help", 2, Group::Server, help)
        .summary("Tells what the subcommands do.")
        .syntax("SLOWLOG HELP")
        .since("6.2.0")
        .flags(Flags::LOADING.union(Flags::STALE)),
    Row::session("slowlog|len", 2, Group::Server, len)
        .summary("Returns how many commands are in the log.")
        .syntax("SLOWLOG LEN")
        .since("2.2.12")
        .flags(FLAGS)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
    Row::session("slowlog|reset", 2, Group::Server, reset)
        .summary("Empties the log.")
        .syntax("SLOWLOG RESET")
        .since("2.2.12")
        .complexity("O(N) where N is the number of entries in the log")
        .flags(FLAGS)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

fn get(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    const COUNT: usize = 10;
    let count = match args.len() {
        2 => COUNT,
        3 => match integer(args.at(2)) {
            Ok(-1) => usize::MAX,
            Ok(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return Err(CommandError::fixed("ERR count should be greater than or equal to -1")),
        },
        _ => {
            return Err(CommandError::quoting(
                "ERR unknown subcommand or wrong number of arguments for '",
                args.at(1),
                "'. Try SLOWLOG HELP.",
            ));
        }
    };
    let commands = ctx.node.slow_log.latest(count, ctx.config.slowlog_max_len);
    ctx.reply.array(commands.len());
    for command in commands {
        ctx.reply.array(6);
        ctx.reply.integer(command.id as i64);
        ctx.reply.integer(command.at_seconds);
        ctx.reply.integer(i64::try_from(command.microseconds).unwrap_or(i64::MAX));
        ctx.reply.array(command.arguments.len());
        command.arguments.iter().for_each(|argument| ctx.reply.bulk(argument));
        ctx.reply.bulk(command.address.as_bytes());
        ctx.reply.bulk(&command.name);
    }
    Ok(Flow::Done)
}

fn len(ctx: &mut SessionContext<'_>, _: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.count(ctx.node.slow_log.len(ctx.config.slowlog_max_len));
    Ok(Flow::Done)
}

fn reset(ctx: &mut SessionContext<'_>, _: Args<'_>) -> Result<Flow, CommandError> {
    ctx.node.slow_log.reset();
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn help(ctx: &mut SessionContext<'_>, _: Args<'_>) -> Result<Flow, CommandError> {
    const LINES: &[&str] = &[
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
    ];
    write_help(&mut ctx.reply, "SLOWLOG", LINES);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::metrics::slowlog::SlowCommand;

    #[test]
    fn the_log_is_shown_counted_and_emptied() {
        let mut console = Console::new();
        for seconds in 0..12 {
            let command = SlowCommand {
                at_seconds: seconds,
                microseconds: 20_000,
                arguments: vec![b"GET".to_vec(), b"k".to_vec()],
                address: "127.0.0.1:5".into(),
                name: b"me".to_vec(),
                ..SlowCommand::default()
            };
            console.node.slow_log.push(command, 128);
        }
        let one =
            "*1\r\n*6\r\n:11\r\n:11\r\n:20000\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n$11\r\n127.0.0.1:5\r\n$2\r\nme\r\n";
        assert_eq!(console.run("SLOWLOG GET 1"), one);
        assert_eq!(console.run("SLOWLOG LEN"), ":12\r\n");
        for (line, len) in [("SLOWLOG GET", "*10\r"), ("SLOWLOG GET -1", "*12\r"), ("SLOWLOG GET 0", "*0\r")] {
            assert!(console.run(line).starts_with(len), "{line}");
        }
        for line in ["SLOWLOG GET -2", "SLOWLOG GET x"] {
            assert_eq!(console.run(line), "-ERR count should be greater than or equal to -1\r\n");
        }
        let wrong = "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.\r\n";
        assert_eq!(console.run("SLOWLOG GET 1 2"), wrong);
        assert_eq!(console.run("SLOWLOG RESET"), "+OK\r\n");
        assert_eq!(console.run("SLOWLOG LEN"), ":0\r\n");
    }
}
