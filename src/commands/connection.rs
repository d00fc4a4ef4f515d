//! Commands on the connection: what it speaks, whom it is logged in as, which database it works on.

use super::node::{CRIMSON_VERSION, REDIS_VERSION};
use super::{Flow, Row, SessionContext, client};
use crate::acl::{self, DEFAULT_USER};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError, Protocol};
use crate::session::SessionFlags;
use crate::spec::{Categories, Flags, Group, RequestPolicy, ResponsePolicy};
use crate::stdx::number;

/// Flags of commands that a client may send before it has logged in, whatever state the server is in.
const ALWAYS: Flags = Flags::NOSCRIPT
    .union(Flags::LOADING)
    .union(Flags::STALE)
    .union(Flags::FAST)
    .union(Flags::NO_AUTH)
    .union(Flags::ALLOW_BUSY);

/// The connection commands, without CLIENT.
pub const ROWS: &[Row] = &[
    Row::session("auth", -2, Group::Connection, auth)
        .summary("Logs the connection in.")
        .syntax("AUTH [username] password")
        .complexity("O(N) where N is the number of passwords of the user")
        .flags(ALWAYS)
        .categories(Categories::CONNECTION),
    Row::session("echo", 2, Group::Connection, echo)
        .summary("Answers with the message.")
        .syntax("ECHO message")
        .flags(Flags::LOADING.union(Flags::STALE).union(Flags::FAST))
        .categories(Categories::CONNECTION),
    Row::session("hello", -1, Group::Connection, hello)
        .summary("Chooses the protocol version and tells about the server; can log in and name the connection.")
        .syntax("HELLO [protover [AUTH username password] [SETNAME clientname]]")
        .since("6.0.0")
        .flags(ALWAYS)
        .categories(Categories::CONNECTION),
    Row::session("ping", -1, Group::Connection, ping)
        .summary("Answers PONG, or the message.")
        .syntax("PING [message]")
        .flags(Flags::FAST)
        .categories(Categories::CONNECTION)
        .policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded),
    Row::session("quit", -1, Group::Connection, quit)
        .summary("Closes the connection once the replies so far are sent.")
        .syntax("QUIT")
        .flags(ALWAYS)
        .categories(Categories::CONNECTION)
        .deprecated("7.2.0", "closing the connection"),
    Row::session("reset", 1, Group::Connection, reset)
        .summary("Puts the connection into the state of a new one.")
        .syntax("RESET")
        .since("6.2.0")
        .flags(ALWAYS)
        .categories(Categories::CONNECTION),
    Row::session("select", 2, Group::Connection, select)
        .summary("Chooses the database.")
        .syntax("SELECT index")
        .flags(Flags::LOADING.union(Flags::STALE).union(Flags::FAST))
        .categories(Categories::CONNECTION),
];

fn auth(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let (user, password) = match args.len() {
        2 if ctx.config.requirepass.is_empty() => {
            return Err(CommandError::fixed(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        2 => (DEFAULT_USER, args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(CommandError::Syntax),
    };
    acl::log_in(ctx.session, ctx.config, user, password)?;
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn echo(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.bulk(args.at(1));
    Ok(Flow::Done)
}

/// What HELLO is asked to do.
#[derive(Default)]
struct Greeting<'a> {
    protocol: Option<Protocol>,
    user: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Greeting<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut greeting = Self::default();
        let Some(version) = args.get(1) else { return Ok(greeting) };
        greeting.protocol = Some(match number::parse_i64(version) {
            None => return Err(CommandError::fixed("ERR Protocol version is not an integer or out of range")),
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::fixed("NOPROTO unsupported protocol version")),
        });
        let mut options = args.cursor(2);
        while let Some(option) = options.next() {
            if is_token(option, "AUTH") && options.remaining() >= 2 {
                greeting.user = Some((options.value()?, options.value()?));
            } else if is_token(option, "SETNAME") && options.remaining() >= 1 {
                let name = options.value()?;
                client::check_name(name)?;
                greeting.name = Some(name);
            } else {
                return Err(CommandError::quoting("ERR Syntax error in HELLO option '", option, "'"));
            }
        }
        Ok(greeting)
    }
}

fn hello(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let greeting = Greeting::parse(args)?;
    if let Some((user, password)) = greeting.user {
        acl::log_in(ctx.session, ctx.config, user, password)?;
    }
    if ctx.session.flags.contains(SessionFlags::UNAUTHENTICATED) {
        return Err(CommandError::fixed(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = greeting.name {
        ctx.session.identity.name = name.to_vec();
    }
    if let Some(protocol) = greeting.protocol {
        ctx.session.protocol = protocol;
        ctx.reply.set_protocol(protocol);
    }
    let proto = if ctx.session.protocol == Protocol::Resp3 { 3 } else { 2 };
    let reply = &mut ctx.reply;
    reply.map(8);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(proto);
    reply.bulk(b"id");
    reply.integer(ctx.session.id as i64);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    reply.bulk(b"crimson_version");
    reply.bulk(CRIMSON_VERSION.as_bytes());
    Ok(Flow::Done)
}

fn ping(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let subscribed = ctx.session.flags.contains(SessionFlags::SUBSCRIBED) && ctx.session.protocol == Protocol::Resp2;
    match args.len() {
        // A subscriber tells messages from replies by their shape.
        1 | 2 if subscribed => {
            ctx.reply.array(2);
            ctx.reply.bulk(b"pong");
            ctx.reply.bulk(args.get(1).unwrap_or_default());
        }
        1 => ctx.reply.simple("PONG"),
        2 => ctx.reply.bulk(args.at(1)),
        _ => return Err(CommandError::Arity("ping".into())),
    }
    Ok(Flow::Done)
}

fn quit(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.ok();
    Ok(Flow::Close)
}

/// The library's name stays: it is still the same library.
fn reset(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let session = &mut *ctx.session;
    session.discard();
    session.database = 0;
    session.protocol = Protocol::Resp2;
    session.identity.name.clear();
    session.flags.remove(
        SessionFlags::REPLY_OFF | SessionFlags::REPLY_SKIP_NEXT | SessionFlags::NO_EVICT | SessionFlags::NO_TOUCH,
    );
    acl::begin(session, ctx.config);
    ctx.reply.set_protocol(Protocol::Resp2);
    ctx.reply.simple("RESET");
    Ok(Flow::Reset)
}

fn select(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let index = args.integer(1)?;
    if i32::try_from(index).is_err() {
        let (low, high) = (i32::MIN, i32::MAX);
        return Err(CommandError::text(format!("ERR value is out of range, value must between {low} and {high}")));
    }
    let known = usize::try_from(index).is_ok_and(|index| index < ctx.config.databases);
    ctx.session.database = u16::try_from(index).ok().filter(|_| known).ok_or(CommandError::DbIndexOutOfRange)?;
    ctx.reply.ok();
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::resp::Protocol;
    use crate::session::SessionFlags;

    #[test]
    fn small_talk() {
        let mut console = Console::new();
        assert_eq!(console.run("PING"), "+PONG\r\n");
        assert_eq!(console.run("ping hey"), "$3\r\nhey\r\n");
        assert_eq!(console.run("PING a b"), "-ERR wrong number of arguments for 'ping' command\r\n");
        assert_eq!(console.run("ECHO hey"), "$3\r\nhey\r\n");
        assert_eq!(console.run("QUIT now"), "+OK\r\n");
        assert!(console.closed);
    }

    #[test]
    fn select_chooses_a_database_that_exists() {
        let mut console = Console::new();
        assert_eq!(console.run("SELECT 15"), "+OK\r\n");
        assert_eq!(console.session.database, 15);
        assert_eq!(console.run("SELECT 16"), "-ERR DB index is out of range\r\n");
        assert_eq!(console.run("SELECT -1"), "-ERR DB index is out of range\r\n");
        assert_eq!(console.run("SELECT x"), "-ERR value is not an integer or out of range\r\n");
        let far = "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n";
        assert_eq!(console.run("SELECT 99999999999"), far);
        assert_eq!(console.session.database, 15);
    }

    #[test]
    fn hello_switches_names_and_logs_in() {
        let mut console = Console::new();
        let resp2 = "*16\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$5\r\nproto\r\n:2\r\n";
        assert!(console.run("HELLO").starts_with(resp2));
        let reply = console.run("HELLO 3 AUTH default anything SETNAME me");
        assert!(reply.starts_with("%8\r\n$6\r\nserver\r\n"), "{reply}");
        assert!(reply.contains("$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n"), "{reply}");
        assert!(reply.contains("$7\r\nmodules\r\n*0\r\n$15\r\ncrimson_version\r\n"), "{reply}");
        assert_eq!(console.session.protocol, Protocol::Resp3);
        assert_eq!(console.run("CLIENT GETNAME"), "$2\r\nme\r\n");
        assert_eq!(console.run("HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
        assert_eq!(console.run("HELLO x"), "-ERR Protocol version is not an integer or out of range\r\n");
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        assert_eq!(console.run("HELLO 2 AUTH bob secret SETNAME other"), wrong);
        assert_eq!(console.run("CLIENT GETNAME"), "$2\r\nme\r\n");
        assert_eq!(console.run("HELLO 2 AUTH bob"), "-ERR Syntax error in HELLO option 'AUTH'\r\n");
        assert_eq!(console.run("HELLO 2 SETNAME"), "-ERR Syntax error in HELLO option 'SETNAME'\r\n");
        assert_eq!(console.run("HELLO 2 SETNAME a b"), "-ERR Syntax error in HELLO option 'b'\r\n");
        assert_eq!(console.session.protocol, Protocol::Resp3);
    }

    #[test]
    fn the_default_user_needs_no_password() {
        let mut console = Console::new();
        assert_eq!(console.run("AUTH default anything"), "+OK\r\n");
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        assert_eq!(console.run("AUTH bob secret"), wrong);
        let unconfigured = console.run("AUTH secret");
        let text = "-ERR AUTH <password> called without any password configured for the default user. Are you sure \
                    your configuration is correct?\r\n";
        assert_eq!(unconfigured, text);
        assert_eq!(console.run("AUTH a b c"), "-ERR syntax error\r\n");
    }

    #[test]
    fn reset_makes_the_connection_new() {
        let mut console = Console::new();
        console.run("HELLO 3 SETNAME me");
        console.run("CLIENT SETINFO LIB-NAME lib");
        console.run("SELECT 3");
        console.run("CLIENT NO-EVICT ON");
        console.run("CLIENT NO-TOUCH ON");
        assert_eq!(console.run("RESET"), "+RESET\r\n");
        assert_eq!((console.session.database, console.session.protocol), (0, Protocol::Resp2));
        assert_eq!(console.session.flags, SessionFlags::empty());
        assert_eq!(console.run("CLIENT GETNAME"), "$-1\r\n");
        assert_eq!(console.session.identity.lib_name, b"lib");
    }
}
