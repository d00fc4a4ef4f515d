//! CLIENT LIST and the line that describes a client.

use super::ClientType;
use crate::commands::{CoreView, EveryCore, Flow, SessionContext, table};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError, Protocol};
use crate::session::{Session, SessionFlags};
use crate::shard::Millis;
use crate::spec::ChannelKind;
use std::any::Any;
use std::io::Write;
use std::sync::Arc;

pub(super) fn list(_ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let request = match args.get(2) {
        None => List { kind: None, ids: None },
        Some(option) if is_token(option, "TYPE") && args.len() == 4 => {
            List { kind: Some(ClientType::parse(args.at(3))?), ids: None }
        }
        Some(option) if is_token(option, "ID") && args.len() > 3 => {
            let ids: Result<Vec<i64>, _> = (3..args.len()).map(|index| args.integer(index)).collect();
            let ids = ids.map_err(|_| CommandError::fixed("ERR Invalid client ID"))?;
            // No client has a negative id.
            List { kind: None, ids: Some(ids.into_iter().map(|id| u64::try_from(id).unwrap_or(0)).collect()) }
        }
        Some(_) => return Err(CommandError::Syntax),
    };
    Ok(Flow::EveryCore(Arc::new(request)))
}

/// Which clients to describe.
struct List {
    kind: Option<ClientType>,
    ids: Option<Vec<u64>>,
}

type Part = Vec<(u64, Vec<u8>)>;

impl EveryCore for List {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        let wanted = |session: &&mut Session| {
            !session.flags.intersects(SessionFlags::GONE | SessionFlags::DEPARTED)
                && self.kind.is_none_or(|kind| kind == ClientType::of(session))
                && self.ids.as_ref().is_none_or(|ids| ids.contains(&session.id))
        };
        let now = core.now;
        let sessions = core.sessions.iter_mut().map(|(_, session)| session).filter(wanted);
        Box::new(sessions.map(|session| (session.id, line(session, now))).collect::<Part>())
    }

    /// By ascending id; with ids given, in their order.
    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let parts = parts.into_iter().map(|part| *part.downcast::<Part>().expect("the parts are made in `run`"));
        let mut lines: Part = parts.flatten().collect();
        lines.sort_unstable_by_key(|(id, _)| *id);
        let text = match &self.ids {
            None => lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().concat(),
            Some(ids) => {
                let hits = ids.iter().filter_map(|id| lines.binary_search_by_key(id, |(id, _)| *id).ok());
                hits.map(|index| &lines[index].1[..]).collect::<Vec<_>>().concat()
            }
        };
        context.reply.verbatim("txt", &text);
    }
}

/// The line that describes a client: the fields of Redis 7.2, in its order. Names are bytes, not always text.
pub(super) fn line(session: &Session, now: Millis) -> Vec<u8> {
    let identity = &*session.identity;
    let seconds = |since: Millis| now.saturating_sub(since).max(0) / 1000;
    let (input, output) = (&session.input, &session.output.bytes);
    let (waiting, multi_memory, memory) = (session.waiting_bytes(), session.multi_bytes(), session.memory_bytes());
    let transaction = session.transaction.as_deref();
    let mut line = Vec::with_capacity(320);
    let (id, address, local) = (session.id, &identity.address, &identity.local_address);
    put(&mut line, format_args!("id={id} addr={address} laddr={local} fd={} name=", identity.fd));
    line.extend_from_slice(&identity.name);
    let (age, idle) = (seconds(session.connected_ms), seconds(session.active_ms));
    let (flags, database) = (flags(session), session.database);
    put(&mut line, format_args!(" age={age} idle={idle} flags={flags} db={database}"));
    let count = |kind| session.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.of(kind).len());
    let [channels, patterns, shard_channels] = ChannelKind::ALL.map(count);
    put(&mut line, format_args!(" sub={channels} psub={patterns} ssub={shard_channels}"));
    let in_multi = transaction.filter(|_| session.flags.contains(SessionFlags::MULTI));
    put(&mut line, format_args!(" multi={}", in_multi.map_or(-1, |transaction| transaction.queued as i64)));
    let (used, free) = (input.len() - session.input_used, input.capacity() - input.len());
    put(&mut line, format_args!(" qbuf={used} qbuf-free={free} argv-mem=0 multi-mem={multi_memory}"));
    put(&mut line, format_args!(" rbs={}", output.capacity()));
    // The reply buffer grows as needed and is not shrunk by time: its peak is its size.
    put(&mut line, format_args!(" rbp={} obl={} oll={}", output.capacity(), output.len(), session.output.pins.len()));
    let events = if session.sending_bytes > 0 || !session.output.is_empty() { "rw" } else { "r" };
    put(&mut line, format_args!(" omem={waiting} tot-mem={memory} events={events} cmd={}", last_command(session)));
    let redirect = super::tracking::redirection(session);
    let resp = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    put(&mut line, format_args!(" user=default redir={redirect} resp={resp} lib-name="));
    line.extend_from_slice(&identity.lib_name);
    line.extend_from_slice(b" lib-ver=");
    line.extend_from_slice(&identity.lib_version);
    line.push(b'\n');
    line
}

fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("writing to a Vec does not fail");
}

fn last_command(session: &Session) -> &'static str {
    session.last_command.checked_sub(1).map_or("NULL", |id| table().get(id).row.spec.name)
}

/// Redis's letters; `N` when there is none. Differs: `d`, a watched key has changed, is not shown: the key's shard knows. Nor
/// is `A`: a client that is to be closed at once is not listed, as after Redis's CLIENT KILL.
fn flags(session: &Session) -> String {
    const LETTERS: &[(SessionFlags, char)] = &[
        (SessionFlags::PAUSED, 'b'),
        (SessionFlags::MULTI, 'x'),
        (SessionFlags::SUBSCRIBED, 'P'),
        (SessionFlags::TRACKING, 't'),
        (SessionFlags::TRACKING_BROKEN, 'R'),
        (SessionFlags::TRACKING_PREFIXES, 'B'),
        (SessionFlags::CLOSE_AFTER_REPLY, 'c'),
        (SessionFlags::UNIX_SOCKET, 'U'),
        (SessionFlags::NO_EVICT, 'e'),
        (SessionFlags::NO_TOUCH, 'T'),
    ];
    let letters = LETTERS.iter().filter(|(flag, _)| session.flags.contains(*flag)).map(|(_, letter)| *letter);
    let monitor = session.flags.contains(SessionFlags::MONITOR).then_some('O');
    let text: String = monitor.into_iter().chain(session.blocked.iter().map(|_| 'b')).chain(letters).collect();
    if text.is_empty() { "N".into() } else { text }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;

    fn ids(reply: &str) -> Vec<&str> {
        let lines = reply.lines().filter(|line| line.contains("id="));
        lines.filter_map(|line| line.split(' ').next()?.split("id=").nth(1)).collect()
    }

    #[test]
    fn a_line_has_every_field_of_redis_in_its_order() {
        let mut console = Console::new();
        console.run("CLIENT SETNAME me");
        console.run("SELECT 2");
        console.now += 5500;
        let line = console.run("CLIENT INFO");
        let line = line.split("\r\n").nth(1).expect("a bulk string").strip_suffix('\n').expect("a whole line");
        let names: Vec<&str> = line.split(' ').filter_map(|field| field.split('=').next()).collect();
        let expected = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs \
                        rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
        assert_eq!(names.join(" "), expected);
        let start = "id=7 addr=127.0.0.1:50007 laddr=127.0.0.1:6379 fd=10 name=me age=5 idle=5 flags=N db=2 ";
        assert!(line.starts_with(start), "{line}");
        assert!(line.contains(" cmd=client|info user=default redir=-1 resp=2 "), "{line}");
    }

    #[test]
    fn the_list_is_ordered_by_id() {
        let mut console = Console::new();
        for id in [12, 3, 9] {
            console.connect(id);
        }
        assert_eq!(ids(&console.run("CLIENT LIST")), ["3", "7", "9", "12"]);
        assert_eq!(ids(&console.run("CLIENT LIST ID 9 1 3 9 -5")), ["9", "3", "9"]);
        assert_eq!(ids(&console.run("CLIENT LIST TYPE normal")), ["3", "7", "9", "12"]);
        assert_eq!(console.run("CLIENT LIST TYPE replica"), "$0\r\n\r\n");
        assert_eq!(console.run("CLIENT LIST TYPE foo"), "-ERR Unknown client type 'foo'\r\n");
        assert_eq!(console.run("CLIENT LIST ID"), "-ERR syntax error\r\n");
        assert_eq!(console.run("CLIENT LIST ID a"), "-ERR Invalid client ID\r\n");
        assert_eq!(console.run("CLIENT LIST TYPE normal x"), "-ERR syntax error\r\n");
        console.run("HELLO 3");
        assert!(console.run("CLIENT LIST").starts_with('='));
    }
}
