//! Clients that keep what they read (CLIENT TRACKING) on cores whose mail is late: once all is quiet, nobody keeps a value
//! that is not true any more.

use super::reply::Reply;
use super::world::{World, each_seed, request};
use crimson::pubsub::Topic;
use crimson::stdx::random::Random;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const KEYS: [&str; 6] = ["k0", "k1", "k2", "x0", "x1", "x2"];

/// What a reply is good for.
enum Awaited {
    Nothing,
    /// The values of keys, one or an array of them; whether they may be kept.
    Values(Vec<&'static str>, bool),
    /// These keys have been written.
    Written(Vec<&'static str>),
    /// A transaction; its reads are the first elements, what it has written comes behind them.
    Transaction(Vec<&'static str>, Vec<&'static str>, bool),
}

/// How a client hears of changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// It keeps nothing.
    Nothing,
    Reads,
    NoLoop,
    /// Only keys that begin with `k`.
    Prefix,
    /// Another client hears for it.
    Redirected,
}

struct Reader {
    hearing: Hearing,
    awaited: VecDeque<Awaited>,
    kept: BTreeMap<&'static str, Reply>,
}

struct Scene {
    world: World,
    random: Random,
    readers: Vec<Reader>,
    written: usize,
}

/// The client that hears for others; ids count from 1.
const LISTENER: usize = 0;
const LISTENER_ID: &str = "1";

impl Scene {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7AC);
        let world = World::new(1 + random.below(6), seed);
        let mut scene = Self { world, random, readers: Vec::new(), written: 0 };
        scene.connect(Hearing::Nothing, &[]);
        scene.settle();
        scene.connect(Hearing::Reads, &["CLIENT", "TRACKING", "ON"]);
        scene.connect(Hearing::Reads, &["CLIENT", "TRACKING", "ON", "OPTOUT"]);
        scene.connect(Hearing::NoLoop, &["CLIENT", "TRACKING", "ON", "NOLOOP"]);
        scene.connect(Hearing::Prefix, &["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k"]);
        scene.connect(Hearing::Redirected, &["CLIENT", "TRACKING", "ON", "REDIRECT", LISTENER_ID]);
        scene.connect(Hearing::Redirected, &["CLIENT", "TRACKING", "ON", "REDIRECT", LISTENER_ID]);
        scene.connect(Hearing::Nothing, &[]);
        scene
    }

    fn connect(&mut self, hearing: Hearing, tracking: &[&str]) {
        let client = self.world.connect();
        self.readers.push(Reader { hearing, awaited: VecDeque::new(), kept: BTreeMap::new() });
        self.send(client, &["HELLO", "3"], Awaited::Nothing);
        if !tracking.is_empty() {
            self.send(client, tracking, Awaited::Nothing);
        }
    }

    fn send(&mut self, client: usize, words: &[&str], awaited: Awaited) {
        self.world.send(client, words);
        self.readers[client].awaited.push_back(awaited);
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.random.below(KEYS.len())]
    }

    /// Some client sends some command.
    fn act(&mut self) {
        let client = 1 + self.random.below(self.world.clients.len() - 1);
        let (a, b) = (self.key(), self.key());
        self.written += 1;
        let value = self.written.to_string();
        match self.random.below(16) {
            0..=3 => self.send(client, &["GET", a], Awaited::Values(vec![a], true)),
            4..=6 => self.send(client, &["MGET", a, b], Awaited::Values(vec![a, b], true)),
            7 | 8 => self.send(client, &["SET", a, &value], Awaited::Written(vec![a])),
            9 => self.send(client, &["MSET", a, &value, b, &value], Awaited::Written(vec![a, b])),
            10 => self.send(client, &["DEL", a, b], Awaited::Written(vec![a, b])),
            11 => self.send(client, &["RENAME", a, b], Awaited::Written(vec![a, b])),
            12 => self.send(client, &["PEXPIRE", a, "40"], Awaited::Written(vec![a])),
            13 if self.random.below(4) == 0 => self.send(client, &["FLUSHALL"], Awaited::Written(KEYS.to_vec())),
            13 => self.send(client, &["COPY", a, b, "REPLACE"], Awaited::Written(vec![b])),
            _ => self.transaction(client, a, b, &value),
        }
    }

    /// Reads before it writes, or the other way around.
    fn transaction(&mut self, client: usize, a: &'static str, b: &'static str, value: &str) {
        let mut commands: Vec<Vec<&str>> = vec![vec!["GET", a], vec!["GET", b]];
        let mut reads = vec![a, b];
        if self.random.below(2) == 0 {
            commands.push(vec!["SET", b, value]);
            if self.readers[client].hearing == Hearing::NoLoop {
                // It has to know by itself that what it has read is old.
                reads.clear();
            }
        }
        let written = if commands.len() == 3 { vec![b] } else { Vec::new() };
        self.send(client, &["MULTI"], Awaited::Nothing);
        for words in &commands {
            self.send(client, words, Awaited::Nothing);
        }
        self.send(client, &["EXEC"], Awaited::Transaction(reads, written, true));
    }

    /// A turn of some core, and what the clients make of what it has sent.
    fn turn(&mut self) {
        self.world.step();
        for client in 0..self.world.clients.len() {
            for reply in Reply::all(&std::mem::take(&mut self.world.clients[client].received)) {
                self.take(client, reply);
            }
        }
    }

    fn take(&mut self, client: usize, reply: Reply) {
        if let Reply::Push(parts) = &reply {
            assert_eq!(parts[0], Reply::Bulk(b"invalidate".to_vec()));
            let keys: BTreeSet<&str> = match &parts[1] {
                Reply::Array(keys) => {
                    KEYS.into_iter().filter(|key| keys.contains(&Reply::Bulk(key.as_bytes().to_vec()))).collect()
                }
                null => {
                    assert!(null.is_null());
                    KEYS.into_iter().collect()
                }
            };
            return self.invalidate(client, &keys);
        }
        let reader = &mut self.readers[client];
        match reader.awaited.pop_front().expect("a reply to something") {
            Awaited::Nothing => {}
            Awaited::Values(keys, sure) => reader.keep(&keys, reply, sure),
            Awaited::Transaction(keys, written, sure) => {
                assert!(matches!(reply, Reply::Array(_)), "{reply}");
                reader.keep(&keys, reply, sure);
                if reader.hearing == Hearing::NoLoop {
                    written.iter().for_each(|key| drop(reader.kept.remove(key)));
                }
            }
            Awaited::Written(keys) if reader.hearing == Hearing::NoLoop => {
                keys.iter().for_each(|key| drop(reader.kept.remove(key)));
            }
            Awaited::Written(_) => {}
        }
    }

    fn invalidate(&mut self, client: usize, keys: &BTreeSet<&str>) {
        if client != LISTENER {
            return self.readers[client].kept.retain(|key, _| !keys.contains(key));
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.hearing == Hearing::Redirected) {
            reader.kept.retain(|key, _| !keys.contains(key));
            // What is on its way on the other connection may be older than this.
            for awaited in &mut reader.awaited {
                if let Awaited::Values(_, sure) | Awaited::Transaction(_, _, sure) = awaited {
                    *sure = false;
                }
            }
        }
    }

    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 300 {
            self.turn();
            let busy = !self.world.is_quiet() || self.readers.iter().any(|reader| !reader.awaited.is_empty());
            quiet = if busy { 0 } else { quiet + 1 };
        }
    }
}

impl Reader {
    fn keep(&mut self, keys: &[&'static str], reply: Reply, sure: bool) {
        if !sure || self.hearing == Hearing::Nothing {
            return;
        }
        let values = match reply {
            Reply::Array(values) => values,
            value => vec![value],
        };
        for (key, value) in keys.iter().zip(values) {
            if self.hearing != Hearing::Prefix || key.starts_with('k') {
                self.kept.insert(key, value);
            }
        }
    }
}

fn nobody_keeps_what_is_not_true(seed: u64) {
    let mut scene = Scene::new(seed);
    scene.settle();
    for _ in 0..4 {
        for _ in 0..120 {
            if scene.random.below(3) == 0 {
                scene.act();
            }
            scene.turn();
        }
        scene.settle();
        // Whoever looks makes keys go whose time is over.
        scene.connect(Hearing::Nothing, &[]);
        let checker = scene.world.clients.len() - 1;
        let mut words = vec!["MGET"];
        words.extend(KEYS);
        scene.send(checker, &words, Awaited::Nothing);
        scene.settle();
        scene.readers[checker].hearing = Hearing::Reads;
        scene.send(checker, &words, Awaited::Values(KEYS.to_vec(), true));
        scene.settle();
        let truth = std::mem::take(&mut scene.readers[checker].kept);
        scene.readers[checker].hearing = Hearing::Nothing;
        assert_eq!(truth.len(), KEYS.len());
        for (client, reader) in scene.readers.iter().enumerate() {
            for (key, value) in &reader.kept {
                assert_eq!(value, &truth[key], "{key} of client {client}");
            }
        }
    }
}

#[test]
fn kept_values_are_true_when_all_is_quiet() {
    each_seed(150, nobody_keeps_what_is_not_true);
}

/// A client that tracks a prefix is told of every change that comes behind the answer, though its core has told nobody: it
/// alone has had turns.
#[test]
fn a_change_finds_the_prefixes_that_came_first() {
    let mut world = World::new(3, 0);
    let reader = world.connect_to(0);
    world.send(reader, &["HELLO", "3"]);
    world.run();
    world.take_received(reader);
    world.send(reader, &["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k"]);
    (0..100).for_each(|_| world.turn(0));
    assert_eq!(world.take_received(reader), "+OK\r\n");
    let writers: Vec<usize> = (0..3).map(|core| world.connect_to(core)).collect();
    // Of this one's turn a part had passed by then.
    world.send(reader, &["CLIENT", "TRACKING", "OFF"]);
    (0..100).for_each(|_| world.turn(0));
    world.take_received(reader);
    (0..100).for_each(|_| world.turn(1));
    world.begin_turn(1);
    world.send(reader, &["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "k"]);
    (0..100).for_each(|_| world.turn(0));
    assert_eq!(world.take_received(reader), "+OK\r\n");
    let key = world.clients[writers[1]].key;
    for number in 100..110 {
        world.engine(1).receive(key, &request(&["SET", &format!("k{number}"), "value"]));
    }
    world.engine(1).end_turn();
    world.flush(1);
    world.run();
    let early = world.take_received(reader);
    for number in 0..30 {
        world.send(writers[number % 3], &["SET", &format!("k{number}"), "value"]);
        world.send(writers[number % 3], &["SET", &format!("other{number}"), "value"]);
    }
    world.run();
    let received = early + &world.take_received(reader);
    for number in (0..30).chain(100..110) {
        let key = format!("k{number}");
        assert_eq!(received.matches(&format!("${}\r\n{key}\r\n", key.len())).count(), 1, "{key} in {received:?}");
    }
    assert!(!received.contains("other"), "{received:?}");
    world.send(reader, &["CLIENT", "TRACKING", "OFF"]);
    world.run();
    assert!(world.engines().all(|engine| engine.node().interest.len(Topic::Prefix) == 0));
}
