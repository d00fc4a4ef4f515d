//! CLIENT KILL: each core marks its own sessions that fit; the engine closes marked sessions.

use super::ClientType;
use crate::commands::{CoreView, EveryCore, Flow, SessionContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::session::{Session, SessionFlags};
use crate::shard::Millis;
use std::any::Any;
use std::sync::Arc;

pub(super) fn kill(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let own_id = ctx.session.id;
    let request = if args.len() == 3 {
        let address = Some(text(args.at(2)));
        // The old form may close the connection it comes from.
        Kill { filter: Filter { address, spare_own: false, ..Filter::default() }, own_id, old_form: true }
    } else {
        Kill { filter: Filter::parse(args)?, own_id, old_form: false }
    };
    Ok(Flow::EveryCore(Arc::new(request)))
}

fn text(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

/// Which connections to close: those that fit every part given.
#[derive(Debug)]
struct Filter {
    id: Option<u64>,
    kind: Option<ClientType>,
    address: Option<String>,
    local_address: Option<String>,
    age_min_seconds: i64,
    spare_own: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { id: None, kind: None, address: None, local_address: None, age_min_seconds: 0, spare_own: true }
    }
}

impl Filter {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        let mut options = args.cursor(2);
        while let Some(option) = options.next() {
            let value = options.value()?;
            if is_token(option, "ID") {
                filter.id = Some(positive(value, "client-id", "ERR client-id should be greater than 0")?);
            } else if is_token(option, "TYPE") {
                filter.kind = Some(ClientType::parse(value)?);
            } else if is_token(option, "ADDR") {
                filter.address = Some(text(value));
            } else if is_token(option, "LADDR") {
                filter.local_address = Some(text(value));
            } else if is_token(option, "USER") {
                // Everybody is logged in as the only user there is.
                if value != b"default" {
                    return Err(CommandError::text(format!("ERR No such user '{}'", text(value))));
                }
            } else if is_token(option, "MAXAGE") {
                let age = positive(value, "maxage", "ERR maxage is not an integer or out of range")?;
                filter.age_min_seconds = i64::try_from(age).unwrap_or(i64::MAX);
            } else if is_token(option, "SKIPME") && is_token(value, "YES") {
                filter.spare_own = true;
            } else if is_token(option, "SKIPME") && is_token(value, "NO") {
                filter.spare_own = false;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }

    fn fits(&self, session: &Session, own_id: u64, now: Millis) -> bool {
        let identity = &session.identity;
        // One that has been killed is gone, though its connection may take a moment to close.
        !session.flags.intersects(SessionFlags::GONE)
            && self.id.is_none_or(|id| id == session.id)
            && self.kind.is_none_or(|kind| kind == ClientType::of(session))
            && self.address.as_ref().is_none_or(|address| *address == identity.address)
            && self.local_address.as_ref().is_none_or(|address| *address == identity.local_address)
            && now.saturating_sub(session.connected_ms) / 1000 >= self.age_min_seconds
            && !(self.spare_own && session.id == own_id)
    }
}

/// A positive integer; `unreadable` is the error for what is not an integer.
fn positive(value: &[u8], name: &str, unreadable: &'static str) -> Result<u64, CommandError> {
    let number = crate::resp::args::integer(value).map_err(|_| CommandError::fixed(unreadable))?;
    let number = u64::try_from(number).ok().filter(|number| *number > 0);
    number.ok_or_else(|| CommandError::text(format!("ERR {name} should be greater than 0")))
}

struct Kill {
    filter: Filter,
    own_id: u64,
    old_form: bool,
}

/// How many connections of a core were marked, and whether the asking one fits.
type Part = (i64, bool);

impl EveryCore for Kill {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        let (mut marked, mut own): Part = (0, false);
        let now = core.now;
        for (_, session) in core.sessions.iter_mut().filter(|(_, session)| self.filter.fits(session, self.own_id, now))
        {
            // One that has departed is gone for everybody; what is left of it is its unread last reply.
            marked += i64::from(!session.flags.contains(SessionFlags::DEPARTED));
            // The asking connection has a reply to get first.
            if session.id == self.own_id {
                own = true;
            } else {
                session.flags.insert(SessionFlags::CLOSE_NOW);
            }
        }
        Box::new((marked, own))
    }

    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let parts = parts.into_iter().map(|part| *part.downcast::<Part>().expect("the parts are made in `run`"));
        let (marked, own) = parts.fold((0, false), |sum, part| (sum.0 + part.0, sum.1 | part.1));
        if own {
            let session = &mut *context.session;
            session.flags.insert(SessionFlags::CLOSE_AFTER_REPLY);
            // What the client has sent behind this command is not run.
            (session.input, session.input_used, session.parser) = Default::default();
        }
        match (self.old_form, marked) {
            (true, 0) => context.refuse(&CommandError::fixed("ERR No such client")),
            (true, _) => context.reply.ok(),
            (false, _) => context.reply.integer(marked),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::session::{SessionFlags, SessionKey};

    fn marked(console: &mut Console, key: SessionKey) -> bool {
        let session = console.sessions.get_mut(key).expect("it is there");
        std::mem::take(&mut session.flags) == SessionFlags::CLOSE_NOW
    }

    #[test]
    fn the_old_form_kills_by_address() {
        let mut console = Console::new();
        let other = console.connect(9);
        assert_eq!(console.run("CLIENT KILL 127.0.0.1:50009"), "+OK\r\n");
        assert!(marked(&mut console, other) && !console.closed);
        assert_eq!(console.run("CLIENT KILL 127.0.0.1:1"), "-ERR No such client\r\n");
        assert_eq!(console.run("CLIENT KILL 127.0.0.1:50007"), "+OK\r\n");
        assert!(console.closed);
    }

    #[test]
    fn filters_are_joined() {
        let mut console = Console::new();
        let (old, other) = (console.connect(8), console.connect(9));
        console.now += 10_000;
        console.sessions.get_mut(other).expect("it is there").connected_ms = console.now;
        assert_eq!(console.run("CLIENT KILL ID 8 ADDR 127.0.0.1:50009"), ":0\r\n");
        assert_eq!(console.run("CLIENT KILL MAXAGE 10"), ":1\r\n");
        assert!(marked(&mut console, old) && !marked(&mut console, other));
        assert_eq!(console.run("CLIENT KILL TYPE normal USER default"), ":2\r\n");
        assert!(marked(&mut console, old) && marked(&mut console, other));
        assert_eq!(console.run("CLIENT KILL LADDR 127.0.0.1:6379 SKIPME yes ID 9"), ":1\r\n");
        assert!(marked(&mut console, other));
        assert_eq!(console.run("CLIENT KILL TYPE pubsub"), ":0\r\n");
        assert!(!console.closed);
        assert_eq!(console.run("CLIENT KILL SKIPME no"), ":3\r\n");
        assert!(console.closed);
    }

    #[test]
    fn who_has_been_killed_is_gone() {
        let mut console = Console::new();
        console.connect(8);
        assert_eq!(console.run("CLIENT KILL ID 8"), ":1\r\n");
        assert_eq!(console.run("CLIENT KILL ID 8"), ":0\r\n");
        assert_eq!(console.run("CLIENT KILL 127.0.0.1:50008"), "-ERR No such client\r\n");
        assert_eq!(console.run("CLIENT LIST ID 8"), "$0\r\n\r\n");
        // The asking one is there until it has its reply.
        assert_eq!(console.run("CLIENT KILL SKIPME no"), ":1\r\n");
        assert_eq!(console.run("CLIENT LIST").matches("id=").count(), 1);
    }

    #[test]
    fn options_are_checked() {
        let mut console = Console::new();
        for (line, error) in [
            ("CLIENT KILL ID 0", "ERR client-id should be greater than 0"),
            ("CLIENT KILL ID x", "ERR client-id should be greater than 0"),
            ("CLIENT KILL TYPE foo", "ERR Unknown client type 'foo'"),
            ("CLIENT KILL USER foo", "ERR No such user 'foo'"),
            ("CLIENT KILL SKIPME maybe", "ERR syntax error"),
            ("CLIENT KILL foo bar", "ERR syntax error"),
            ("CLIENT KILL ID 5 SKIPME", "ERR syntax error"),
            ("CLIENT KILL MAXAGE x", "ERR maxage is not an integer or out of range"),
            ("CLIENT KILL MAXAGE 0", "ERR maxage should be greater than 0"),
        ] {
            assert_eq!(console.run(line), format!("-{error}\r\n"), "{line}");
        }
    }
}
