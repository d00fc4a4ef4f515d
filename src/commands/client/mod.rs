//! CLIENT: what a connection tells about itself, and looking at, closing and holding back connections. Lists and kills
//! ask every core for its own sessions; nobody else may touch them.

mod kill;
mod list;
mod rows;
mod tracking;
mod unblock;

pub use rows::ROWS;

use super::{Flow, SessionContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::session::{Session, SessionFlags};

/// The kinds of clients that TYPE filters by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientType {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl ClientType {
    fn parse(name: &[u8]) -> Result<Self, CommandError> {
        const NAMES: &[(&str, ClientType)] = &[
            ("normal", ClientType::Normal),
            ("master", ClientType::Master),
            ("slave", ClientType::Replica),
            ("replica", ClientType::Replica),
            ("pubsub", ClientType::PubSub),
        ];
        let hit = NAMES.iter().find(|(known, _)| is_token(name, known));
        hit.map(|(_, kind)| *kind).ok_or_else(|| CommandError::quoting("ERR Unknown client type '", name, "'"))
    }

    /// The type of a session: there are no masters and replicas until there is replication.
    fn of(session: &Session) -> Self {
        if session.flags.contains(SessionFlags::SUBSCRIBED) { Self::PubSub } else { Self::Normal }
    }
}

/// Whether `value` may be a client's name or a library's: printable ASCII without spaces.
fn is_plain(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_graphic)
}

/// Checks a client's name.
pub fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if is_plain(name) {
        return Ok(());
    }
    Err(CommandError::fixed("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// The error of a subcommand that is known, but not with this many arguments.
fn subcommand_syntax(args: Args<'_>) -> CommandError {
    const BEFORE: &str = "ERR unknown subcommand or wrong number of arguments for '";
    CommandError::quoting(BEFORE, args.at(1), "'. Try CLIENT HELP.")
}

/// ON or OFF.
fn switch(argument: &[u8]) -> Result<bool, CommandError> {
    if is_token(argument, "ON") {
        Ok(true)
    } else if is_token(argument, "OFF") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn id(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.integer(ctx.session.id as i64);
    Ok(Flow::Done)
}

fn getname(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let name = &ctx.session.identity.name;
    ctx.reply.bulk_or_null((!name.is_empty()).then_some(name));
    Ok(Flow::Done)
}

fn setname(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    check_name(args.at(2))?;
    ctx.session.identity.name = args.at(2).to_vec();
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn setinfo(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let (attribute, value) = (args.at(2), args.at(3));
    let identity = &mut ctx.session.identity;
    let target = if is_token(attribute, "LIB-NAME") {
        &mut identity.lib_name
    } else if is_token(attribute, "LIB-VER") {
        &mut identity.lib_version
    } else {
        return Err(CommandError::quoting("ERR Unrecognized option '", attribute, "'"));
    };
    if !is_plain(value) {
        const AFTER: &str = " cannot contain spaces, newlines or special characters.";
        return Err(CommandError::quoting("ERR ", attribute, AFTER));
    }
    *target = value.to_vec();
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn info(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let line = list::line(ctx.session, ctx.now);
    ctx.reply.verbatim("txt", &line);
    Ok(Flow::Done)
}

fn pause(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let writes_only = match args.get(3) {
        _ if args.len() > 4 => return Err(subcommand_syntax(args)),
        None => false,
        Some(mode) if is_token(mode, "ALL") => false,
        Some(mode) if is_token(mode, "WRITE") => true,
        Some(_) => return Err(CommandError::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let timeout = args.integer(2);
    let timeout = timeout.map_err(|_| CommandError::fixed("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::fixed("ERR timeout is negative"));
    }
    let until = ctx.now.checked_add(timeout).ok_or(CommandError::fixed("ERR timeout is out of range"))?;
    ctx.node.pause(ctx.now, until, writes_only);
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn unpause(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.node.unpause();
    ctx.reply.ok();
    Ok(Flow::Done)
}

/// OFF and SKIP themselves have no reply.
fn reply(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let mode = args.at(2);
    let flags = &mut ctx.session.flags;
    if is_token(mode, "ON") {
        flags.remove(SessionFlags::REPLY_OFF | SessionFlags::REPLY_SKIP | SessionFlags::REPLY_SKIP_NEXT);
        ctx.reply.ok();
    } else if is_token(mode, "OFF") {
        flags.insert(SessionFlags::REPLY_OFF);
    } else if is_token(mode, "SKIP") {
        let silent = flags.contains(SessionFlags::REPLY_OFF);
        flags.set(SessionFlags::REPLY_SKIP_NEXT, !silent);
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(Flow::Done)
}

fn no_evict(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let on = switch(args.at(2))?;
    ctx.session.flags.set(SessionFlags::NO_EVICT, on);
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn no_touch(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let on = switch(args.at(2))?;
    ctx.session.flags.set(SessionFlags::NO_TOUCH, on);
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn help(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    super::server::write_help(&mut ctx.reply, "CLIENT", rows::HELP);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::session::SessionFlags;

    #[test]
    fn a_client_names_itself() {
        let mut console = Console::new();
        assert_eq!(console.run("CLIENT ID"), ":7\r\n");
        assert_eq!(console.run("CLIENT GETNAME"), "$-1\r\n");
        assert_eq!(console.run("CLIENT SETNAME me"), "+OK\r\n");
        assert_eq!(console.run("CLIENT GETNAME"), "$2\r\nme\r\n");
        let refused = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
        assert_eq!(console.run_words(&[b"CLIENT", b"SETNAME", b"a b"]), refused);
        assert_eq!(console.run_words(&[b"CLIENT", b"SETNAME", b""]), "+OK\r\n");
        assert_eq!(console.run("CLIENT GETNAME"), "$-1\r\n");
        assert_eq!(console.run("CLIENT SETINFO lib-name redis-py"), "+OK\r\n");
        assert_eq!(console.run("CLIENT SETINFO LIB-VER 1.2"), "+OK\r\n");
        assert_eq!(console.run("CLIENT SETINFO lib x"), "-ERR Unrecognized option 'lib'\r\n");
        let refused = "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n";
        assert_eq!(console.run_words(&[b"CLIENT", b"SETINFO", b"lib-ver", b"a\nb"]), refused);
        let info = console.run("CLIENT INFO");
        assert!(info.contains(" lib-name=redis-py lib-ver=1.2\n"), "{info}");
        let wrong = "-ERR wrong number of arguments for 'client|setname' command\r\n";
        assert_eq!(console.run("CLIENT SETNAME"), wrong);
    }

    #[test]
    fn pause_and_unpause_set_the_clock_for_all_cores() {
        let mut console = Console::new();
        assert_eq!(console.run("CLIENT PAUSE 100 write"), "+OK\r\n");
        assert_eq!(console.node.last_pause().until_ms, console.now + 100);
        assert!(console.node.last_pause().writes_only);
        assert_eq!(console.run("CLIENT UNPAUSE"), "+OK\r\n");
        assert_eq!(console.node.last_pause().until_ms, 0);
        assert_eq!(console.run("CLIENT PAUSE x"), "-ERR timeout is not an integer or out of range\r\n");
        assert_eq!(console.run("CLIENT PAUSE -1"), "-ERR timeout is negative\r\n");
        assert_eq!(console.run("CLIENT PAUSE 1 foo"), "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n");
        assert_eq!(console.run("CLIENT PAUSE 9223372036854775807"), "-ERR timeout is out of range\r\n");
        let wrong = "-ERR unknown subcommand or wrong number of arguments for 'pause'. Try CLIENT HELP.\r\n";
        assert_eq!(console.run("CLIENT pause 1 ALL x"), wrong);
    }

    #[test]
    fn switches() {
        let mut console = Console::new();
        assert_eq!(console.run("CLIENT REPLY OFF"), "");
        assert!(console.session.flags.contains(SessionFlags::REPLY_OFF));
        assert_eq!(console.run("CLIENT REPLY SKIP"), "");
        assert!(!console.session.flags.contains(SessionFlags::REPLY_SKIP_NEXT));
        assert_eq!(console.run("CLIENT REPLY ON"), "+OK\r\n");
        assert_eq!(console.run("CLIENT REPLY SKIP"), "");
        assert_eq!(console.session.flags, SessionFlags::REPLY_SKIP_NEXT);
        console.session.flags = SessionFlags::empty();
        assert_eq!(console.run("CLIENT REPLY maybe"), "-ERR syntax error\r\n");
        assert_eq!(console.run("CLIENT NO-EVICT on"), "+OK\r\n");
        assert_eq!(console.run("CLIENT NO-TOUCH on"), "+OK\r\n");
        assert_eq!(console.session.flags, SessionFlags::NO_EVICT | SessionFlags::NO_TOUCH);
        assert!(console.run("CLIENT INFO").contains(" flags=eT "));
        assert_eq!(console.run("CLIENT NO-TOUCH off"), "+OK\r\n");
        assert_eq!(console.run("CLIENT NO-EVICT maybe"), "-ERR syntax error\r\n");
        assert_eq!(console.session.flags, SessionFlags::NO_EVICT);
    }
}
