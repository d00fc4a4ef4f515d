//! DEBUG: what tests of other projects use to look inside and to provoke situations. Redis does not list its subcommands
//! as commands, so they are told apart here.

use super::server::write_help;
use super::{CoreView, EveryCore, Flow, Row, SessionContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::shard::Millis;
use crate::spec::{Flags, Group};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// DEBUG.
pub const ROWS: &[Row] = &[Row::session("debug", -2, Group::Server, debug)
    .summary("Looks inside the server and provokes situations, for tests.")
    .syntax("DEBUG")
    .complexity("Depends on subcommand.")
    .flags(Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE))
    .protected()];

/// The answer to a client that `enable-debug-command` does not permit it.
pub const NOT_PERMITTED: CommandError = CommandError::fixed(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
     connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

const HELP: &[&str] = &[
    "OBJECT <key>",
    "    Tells the encoding of the value of <key> and when it was used last.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Stops removing keys in the background whose time is over, or starts it again.",
    "SLEEP <seconds>",
    "    Makes all cores stand still for <seconds>, which may be a fraction.",
];

fn debug(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let subcommand = args.at(1);
    let is = |name: &str, len: usize| is_token(subcommand, name) && args.len() == len;
    if is("HELP", 2) {
        write_help(&mut ctx.reply, "DEBUG", HELP);
    } else if is("SLEEP", 3) {
        return Ok(Flow::EveryCore(Arc::new(Sleep(seconds(args.at(2))))));
    } else if is("OBJECT", 3) {
        let request = Object { key: args.at(2).to_vec(), database: ctx.session.database };
        return Ok(Flow::EveryCore(Arc::new(request)));
    } else if is("SET-ACTIVE-EXPIRE", 3) {
        // As in Redis, anything that is not a number other than 0 switches it off.
        let on = leading_number(args.at(2)).is_some_and(|number| number.trunc() != 0.0);
        ctx.node.active_expire.store(on, Ordering::Relaxed);
        ctx.reply.ok();
    } else {
        const BEFORE: &str = "ERR unknown subcommand or wrong number of arguments for '";
        return Err(CommandError::quoting(BEFORE, subcommand, "'. Try DEBUG HELP."));
    }
    Ok(Flow::Done)
}

/// The number that `text` begins with, as C's `strtod` reads it; none in most texts.
fn leading_number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii_start();
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(text.len());
    // Numbers are short; a longer text is not one.
    (1..=end.min(32)).rev().find_map(|len| text[..len].parse().ok())
}

/// A time in seconds; nothing where it is not a number or is negative.
fn seconds(text: &[u8]) -> Duration {
    Duration::try_from_secs_f64(leading_number(text).unwrap_or(0.0)).unwrap_or(Duration::ZERO)
}

/// The clock that OBJECT shows as Redis does: 24 bits of seconds.
pub fn lru_clock(now: Millis) -> i64 {
    (now / 1000) & 0xFF_FFFF
}

struct Sleep(Duration);

impl EveryCore for Sleep {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        core.stall = self.0;
        Box::new(())
    }

    fn finish(&self, _parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        context.reply.ok();
    }
}

/// Only the owner of the key finds it; the others answer with nothing.
struct Object {
    key: Vec<u8>,
    database: u16,
}

type Description = Option<String>;

impl EveryCore for Object {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        let Some(database) = core.shard.databases.get_mut(usize::from(self.database)) else {
            return Box::new(Description::None);
        };
        database.set_now(core.now);
        let encoding = database.peek(&self.key).map(|value| value.encoding());
        let idle_ms = database.idle_ms(&self.key).unwrap_or(0);
        let lru = lru_clock(core.now - idle_ms);
        let describe =
            |encoding| format!("refcount:1 encoding:{encoding} lru:{lru} lru_seconds_idle:{}", idle_ms / 1000);
        Box::new(encoding.map(describe) as Description)
    }

    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let mut parts = parts.into_iter();
        let found = parts.find_map(|part| *part.downcast::<Description>().expect("the parts are made in `run`"));
        match found {
            Some(description) => context.reply.simple(&format!("Value {description}")),
            None => context.refuse(&CommandError::NoSuchKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Console;
    use crate::shard::Expiry;

    #[test]
    fn sleep_stalls_the_core() {
        let mut console = Console::new();
        for (text, milliseconds) in
            [("0.25", 250), ("2s", 2000), ("x", 0), ("-1", 0), ("1e-3", 1), ("inf", 0), ("NaN", 0), ("1e400", 0)]
        {
            assert_eq!(console.run(&format!("DEBUG SLEEP {text}")), "+OK\r\n");
            assert_eq!(console.stalled, Duration::from_millis(milliseconds), "{text}");
        }
    }

    #[test]
    fn object_looks_at_the_selected_database() {
        let mut console = Console::new();
        console.shard.databases[1].set_now(console.now);
        console.shard.databases[1].set_string(b"a", b"12", Expiry::Never);
        assert_eq!(console.run("DEBUG OBJECT a"), "-ERR no such key\r\n");
        console.run("SELECT 1");
        console.now += 3000;
        let reply = "+Value refcount:1 encoding:int lru:1000 lru_seconds_idle:3\r\n";
        assert_eq!(console.run("DEBUG OBJECT a"), reply);
    }

    #[test]
    fn other_subcommands() {
        let mut console = Console::new();
        assert_eq!(console.run("DEBUG SET-ACTIVE-EXPIRE 0"), "+OK\r\n");
        assert!(!console.node.active_expire.load(Ordering::Relaxed));
        assert_eq!(console.run("DEBUG set-active-expire 1"), "+OK\r\n");
        assert!(console.node.active_expire.load(Ordering::Relaxed));
        let unknown = "-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.\r\n";
        assert_eq!(console.run("DEBUG JMAP"), unknown);
        assert!(console.run("DEBUG HELP").contains("SLEEP"));
    }
}
