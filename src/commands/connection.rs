//! Commands on the connection.

use super::{Flow, Row, SessionContext};
use crate::resp::{Args, CommandError};
use crate::spec::{Categories, Flags, Group, RequestPolicy, ResponsePolicy};

/// The connection commands.
pub const ROWS: &[Row] = &[Row::session("ping", -1, Group::Connection, ping)
    .summary("Answers PONG, or the message.")
    .syntax("PING [message]")
    .flags(Flags::FAST)
    .categories(Categories::CONNECTION)
    .policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded)];

fn ping(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    match args.len() {
        1 => ctx.reply.simple("PONG"),
        2 => ctx.reply.bulk(args.at(1)),
        _ => return Err(CommandError::Arity("ping".into())),
    }
    Ok(Flow::Done)
}
