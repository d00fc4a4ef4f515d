//! Keyspace notifications beside the oracle's: the same commands must tell the same events of every key in the same order,
//! and with one shard in the same order altogether.

use crate::compare::{Rule, rule_of};
use crate::generate::{Command, Family, Gen, cmd};
use crate::support::client::line;
use crate::support::{Client, Reply, Server, words};
use std::time::Duration;

/// Every command on keys in the ways in which it tells different things. `sleep` waits until short times are over.
const COMMANDS: &str = include_str!("events.txt");

/// A channel of the tests' own that marks the end of a command's events.
const MARK: &str = "__keyend";

/// A server, a connection that works and one that listens.
struct Listener {
    name: String,
    shards: usize,
    client: Client,
    events: Client,
}

/// An event: the channel and what it says.
type Event = (Vec<u8>, Vec<u8>);

impl Listener {
    fn new(server: &Server, shards: usize) -> Self {
        let (mut client, mut events) = (server.client(), server.client());
        client.run("CONFIG SET notify-keyspace-events KEAnm");
        client.run("DEBUG SET-ACTIVE-EXPIRE 0");
        events.run("PSUBSCRIBE __key*");
        Self { name: server.name().into(), shards, client, events }
    }

    /// The events of one command. With several shards, by key: only the events of one key have an order then.
    fn run(&mut self, command: &Command) -> Vec<Event> {
        self.client.call(command);
        let mut events = self.told_until_mark();
        if self.shards > 1 {
            // Events of other cores may be on their way still: the mark goes around behind them.
            self.settle(&mut events);
        }
        events
    }

    fn told_until_mark(&mut self) -> Vec<Event> {
        self.client.call(&["PUBLISH", MARK, "end"]);
        let mut events = Vec::new();
        loop {
            let message = self.events.read();
            let [_, _, channel, payload] = message.elements() else { panic!("not a message: {message}") };
            if channel.bytes() == MARK.as_bytes() {
                return events;
            }
            events.push((channel.bytes().to_vec(), payload.bytes().to_vec()));
        }
    }

    fn settle(&mut self, events: &mut Vec<Event>) {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            let more = self.told_until_mark();
            if more.is_empty() {
                break;
            }
            events.extend(more);
        }
    }
}

/// The key that an event is about.
fn key_of((channel, payload): &Event) -> Vec<u8> {
    match channel.strip_prefix(b"__keyspace@") {
        Some(rest) => rest[rest.iter().position(|&byte| byte == b':').expect("a key follows") + 1..].to_vec(),
        None => payload.clone(),
    }
}

/// The events ordered by key.
fn by_key(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_cached_key(key_of);
    events
}

fn shown(events: &[Event]) -> String {
    let one = |(channel, payload): &Event| format!("{} {}", channel.escape_ascii(), payload.escape_ascii());
    events.iter().map(one).collect::<Vec<_>>().join("\n    ")
}

/// Runs a command everywhere; what is told otherwise than by the oracle, which comes first.
fn differences(listeners: &mut [Listener], command: &Command) -> Vec<String> {
    let (oracle, subjects) = listeners.split_first_mut().expect("there is an oracle");
    let expected = oracle.run(command);
    let mut wrong = Vec::new();
    for subject in subjects {
        let mut told = subject.run(command);
        let mut wanted = expected.clone();
        if subject.shards > 1 {
            (told, wanted) = (by_key(told), by_key(wanted));
        }
        if told != wanted {
            let (name, shards, line) = (&subject.name, subject.shards, line(command));
            let (wanted, told) = (shown(&wanted), shown(&told));
            wrong.push(format!("{line}\n  oracle:\n    {wanted}\n  {name} with {shards} shards:\n    {told}"));
        }
    }
    wrong
}

fn servers() -> Vec<(usize, Server)> {
    let oracle = Server::redis(&["--enable-debug-command", "yes"]);
    vec![(1, oracle), (1, Server::subject(1, &[])), (4, Server::subject(4, &[]))]
}

fn listeners(servers: &[(usize, Server)]) -> Vec<Listener> {
    servers.iter().map(|(shards, server)| Listener::new(server, *shards)).collect()
}

#[test]
fn every_command_tells_the_same_events() {
    let servers = servers();
    let mut listeners = listeners(&servers);
    let mut wrong = Vec::new();
    for line in COMMANDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("sleep ") {
            Some(ms) => std::thread::sleep(Duration::from_millis(ms.parse().expect("milliseconds"))),
            None => wrong.extend(differences(&mut listeners, &words(line))),
        }
    }
    assert!(wrong.is_empty(), "{} commands tell other events:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether a random command does the same on every server.
fn is_sure(command: &Command) -> bool {
    !matches!(rule_of(command), Rule::Pop | Rule::RandomMembers | Rule::RandomFields | Rule::RandomKey)
}

#[test]
fn random_commands_tell_the_same_events() {
    let servers = servers();
    let mut listeners = listeners(&servers);
    let mut g = Gen::new(7);
    let families = [Family::Strings, Family::Lists, Family::Sets, Family::Hashes, Family::Keys];
    let mut wrong = Vec::new();
    for number in 0..1500 {
        let family = g.pick(&families);
        // Everything begins anew from time to time, so that keys are missed.
        let command = if number % 50 == 0 { cmd!["FLUSHALL"] } else { g.command(family) };
        if is_sure(&command) {
            wrong.extend(differences(&mut listeners, &command));
        }
        if wrong.len() > 10 {
            break;
        }
    }
    assert!(wrong.is_empty(), "{} commands tell other events:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_directive_chooses_and_is_shown_in_order() {
    for (_, server) in servers() {
        let mut client = server.client();
        for (letters, shown) in [("KEA", "AKE"), ("Kgx", "gxK"), ("Elm", "lEm"), ("nKE", "nKE"), ("", "")] {
            client.call(&["CONFIG", "SET", "notify-keyspace-events", letters]);
            let answer = client.run("CONFIG GET notify-keyspace-events");
            assert_eq!(answer.elements()[1], Reply::Bulk(shown.into()));
        }
        let refused = "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class \
                       character. Use 'Ag$lshzxeKEtmdn'.";
        assert_eq!(client.run("CONFIG SET notify-keyspace-events KEq"), Reply::Error(refused.into()));
        let mut events = server.client();
        events.run("PSUBSCRIBE __key*");
        client.run("CONFIG SET notify-keyspace-events Kx$");
        client.run("SET a 1 PX 1");
        client.run("LPUSH l 1");
        let heard = |events: &mut Client| {
            let message = events.read();
            let words =
                message.elements().iter().skip(2).map(|word| String::from_utf8_lossy(word.bytes()).into_owned());
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(heard(&mut events), "__keyspace@0__:a set");
        // In the background: nobody looks at the key.
        assert_eq!(heard(&mut events), "__keyspace@0__:a expired");
    }
}
