//! Blocking commands on several engines in one thread, in an order that a seed decides: whatever happens, every element
//! is delivered once or still in a list, clients are served in the order in which they came, nobody sleeps beside an
//! element, and nothing is left of a wait that is over. `SIMULATION_SEED` runs one seed, `SIMULATION_CASES` more.

use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::engine::message::Message;
use crimson::session::{Identity, SessionKey};
use crimson::shard::ShardId;
use crimson::stdx::random::Random;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

const KEYS: usize = 6;

/// A client on one of the cores.
struct Client {
    core: usize,
    key: SessionKey,
    id: u64,
    received: Vec<u8>,
    /// What it has sent last and not been answered yet.
    asked: Option<Vec<String>>,
    gone: bool,
}

/// Engines, the messages on their way between them, and clients.
struct World {
    engines: Vec<Engine>,
    mail: HashMap<(usize, usize), VecDeque<Message>>,
    clients: Vec<Client>,
    random: Random,
    now: i64,
}

#[derive(Clone, Debug, PartialEq)]
enum Reply {
    Line(String),
    Null,
    Bulk(String),
    Array(Vec<Reply>),
}

impl World {
    fn new(shards: usize, seed: u64) -> Self {
        let now = 1_700_000_000_000;
        let node = Node::new(Config::default(), shards, table().entries().len(), "0".repeat(40), now);
        let node = Arc::new(node);
        let engine = |core| Engine::new(ShardId(core as u16), node.clone(), seed + core as u64, now);
        let engines = (0..shards).map(engine).collect();
        Self { engines, mail: HashMap::new(), clients: Vec::new(), random: Random::new(seed), now }
    }

    fn connect(&mut self) -> usize {
        let core = self.random.below(self.engines.len());
        let key = self.engines[core].connect(Identity::default(), false);
        let id = self.engines[core].session_mut(key).expect("it has just connected").id;
        self.clients.push(Client { core, key, id, received: Vec::new(), asked: None, gone: false });
        self.clients.len() - 1
    }

    fn send(&mut self, client: usize, words: &[&str]) {
        let Client { core, key, .. } = self.clients[client];
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.clients[client].asked = Some(words.iter().map(ToString::to_string).collect());
        self.engines[core].begin_turn(self.now);
        self.engines[core].receive(key, &bytes);
        self.end_turn(core);
    }

    fn leave(&mut self, client: usize) {
        let Client { core, key, .. } = self.clients[client];
        self.engines[core].begin_turn(self.now);
        self.engines[core].disconnect(key);
        self.clients[client].gone = true;
        self.end_turn(core);
    }

    /// A turn of one core, with one message from some of the senders that have any.
    fn turn(&mut self, core: usize) {
        self.engines[core].begin_turn(self.now);
        for sender in 0..self.engines.len() {
            if self.random.below(3) > 0
                && let Some(message) = self.mail.get_mut(&(sender, core)).and_then(VecDeque::pop_front)
            {
                self.engines[core].message(message);
            }
        }
        self.end_turn(core);
    }

    fn end_turn(&mut self, core: usize) {
        let engine = &mut self.engines[core];
        engine.end_turn();
        let mut outgoing = Vec::new();
        engine.take_outgoing(&mut outgoing);
        for (to, message) in outgoing {
            self.mail.entry((core, to.index())).or_default().push_back(message);
        }
        for client in self.clients.iter_mut().filter(|client| client.core == core && !client.gone) {
            let session = engine.session_mut(client.key).expect("it is connected");
            let output = std::mem::take(&mut session.output);
            assert!(output.pins.is_empty(), "elements are small");
            client.received.extend_from_slice(&output.bytes);
        }
        engine.take_dirty(&mut Vec::new());
    }

    /// Runs until nothing is on its way any more. The clock stands still.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            for core in 0..self.engines.len() {
                self.turn(core);
            }
            quiet = if self.mail.values().all(VecDeque::is_empty) { quiet + 1 } else { 0 };
        }
        assert!(self.engines.iter().all(Engine::is_settled));
    }

    /// What a client has been answered, if it has; it may ask again then.
    fn take_reply(&mut self, client: usize) -> Option<(Vec<String>, Reply)> {
        let client = &mut self.clients[client];
        if client.received.is_empty() {
            return None;
        }
        let text = String::from_utf8(std::mem::take(&mut client.received)).expect("replies are text");
        let (reply, rest) = parse(&text);
        assert!(rest.is_empty(), "a single reply: {text:?}");
        Some((client.asked.take().expect("it has asked"), reply))
    }

    /// One command to its end.
    fn ask(&mut self, client: usize, words: &[&str]) -> Reply {
        self.send(client, words);
        self.settle();
        self.take_reply(client).expect("it is answered").1
    }
}

fn parse(text: &str) -> (Reply, &str) {
    let (line, rest) = text.split_once("\r\n").expect("a line ends");
    match (line.as_bytes()[0], &line[1..]) {
        (b'*' | b'$', "-1") => (Reply::Null, rest),
        (b'$', len) => {
            let len: usize = len.parse().expect("a length");
            (Reply::Bulk(rest[..len].into()), &rest[len + 2..])
        }
        (b'*', len) => {
            let mut rest = rest;
            let mut next = |_| {
                let (reply, behind) = parse(rest);
                rest = behind;
                reply
            };
            let elements = (0..len.parse().expect("a length")).map(&mut next).collect();
            (Reply::Array(elements), rest)
        }
        _ => (Reply::Line(line.into()), rest),
    }
}

/// Every bulk string in a reply.
fn bulks(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Bulk(text) => vec![text.clone()],
        Reply::Array(elements) => elements.iter().flat_map(bulks).collect(),
        Reply::Line(_) | Reply::Null => Vec::new(),
    }
}

fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIMULATION_CASES").unwrap_or(count)).collect(),
    }
}

/// What producers and consumers have done so far.
#[derive(Default)]
struct Account {
    pushed: BTreeSet<String>,
    taken: Vec<String>,
    /// Elements that may have been on their way to a client that left.
    lost_max: usize,
}

impl Account {
    /// A new element.
    fn element(&mut self) -> String {
        let element = format!("e{}", self.pushed.len());
        self.pushed.insert(element.clone());
        element
    }

    /// Takes the answer to a command: what has left the lists with it.
    fn enter(&mut self, asked: &[String], reply: &Reply) {
        match asked[0].as_str() {
            "BLPOP" | "BRPOP" | "BLMPOP" => self.taken.extend(bulks(reply).into_iter().skip(1)),
            "LPOP" => self.taken.extend(bulks(reply)),
            "CLIENT" | "BLMOVE" | "BRPOPLPUSH" | "LMOVE" | "RENAME" | "SWAPDB" | "RPUSH" | "LPUSH" | "EVAL" => {}
            other => panic!("{other} is not one of the commands here"),
        }
        if let Reply::Line(line) = reply {
            let fine = !line.starts_with('-') || line.starts_with("-UNBLOCKED") || line == "-ERR no such key";
            assert!(fine, "{asked:?}: {line}");
        }
    }
}

fn key(random: &mut Random) -> String {
    format!("k{}", random.below(KEYS))
}

/// What a consumer asks for.
fn consume(random: &mut Random) -> Vec<String> {
    let timeout = ["0", "0", "0.004", "0.02"][random.below(4)].to_string();
    let mut words = match random.below(6) {
        0 | 1 => vec!["BLPOP".into()],
        2 => vec!["BRPOP".into()],
        3 => {
            let (a, b) = (key(random), key(random));
            return ["BLMPOP", &timeout, "2", &a, &b, "LEFT", "COUNT", "2"].map(String::from).to_vec();
        }
        4 => return vec!["BRPOPLPUSH".into(), key(random), key(random), timeout],
        _ => return vec!["BLMOVE".into(), key(random), key(random), "LEFT".into(), "RIGHT".into(), timeout],
    };
    words.extend((0..1 + random.below(3)).map(|_| key(random)));
    words.push(timeout);
    words
}

/// What a producer does.
fn produce(random: &mut Random, account: &mut Account) -> Vec<String> {
    match random.below(12) {
        0 => vec!["LPOP".into(), key(random)],
        1 => vec!["LMOVE".into(), key(random), key(random), "LEFT".into(), "LEFT".into()],
        n => {
            let name = if n < 7 { "RPUSH" } else { "LPUSH" };
            let mut words = vec![name.into(), key(random)];
            words.extend((0..1 + random.below(2)).map(|_| account.element()));
            words
        }
    }
}

/// The keys that a blocked command waits for.
fn awaited(words: &[String]) -> Vec<String> {
    match words[0].as_str() {
        "BLPOP" | "BRPOP" => words[1..words.len() - 1].to_vec(),
        "BLMPOP" => words[3..5].to_vec(),
        _ => words[1..2].to_vec(),
    }
}

/// Nobody waits for a key that has elements.
fn nobody_sleeps_beside_an_element(world: &mut World, consumers: &[usize], reader: usize, seed: u64) {
    let waits: Vec<_> = consumers.iter().filter(|consumer| !world.clients[**consumer].gone).copied().collect();
    for consumer in waits {
        let Some(words) = world.clients[consumer].asked.clone().filter(|_| world.clients[consumer].received.is_empty())
        else {
            continue;
        };
        for key in awaited(&words) {
            let len = world.ask(reader, &["LLEN", &key]);
            assert_eq!(len, Reply::Line(":0".into()), "SIMULATION_SEED={seed}: {words:?} sleeps");
        }
    }
}

/// All that is left in the lists.
fn left(world: &mut World, reader: usize) -> Vec<String> {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    keys.iter().flat_map(|key| bulks(&world.ask(reader, &["LRANGE", key, "0", "-1"]))).collect()
}

fn every_element_is_delivered_once(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(1 + random.below(8), seed);
    let mut account = Account::default();
    let mut consumers: Vec<usize> = (0..5).map(|_| world.connect()).collect();
    let producers: Vec<usize> = (0..3).map(|_| world.connect()).collect();
    let (other, reader) = (world.connect(), world.connect());
    for _ in 0..150 {
        let everybody: Vec<usize> = consumers.iter().chain(&producers).copied().chain([other]).collect();
        for client in everybody {
            if let Some((asked, reply)) = world.take_reply(client) {
                account.enter(&asked, &reply);
            }
            if world.clients[client].asked.is_some() || random.below(2) == 0 {
                continue;
            }
            let words = if client == other {
                let victim = world.clients[consumers[random.below(consumers.len())]].id.to_string();
                let how = ["TIMEOUT", "ERROR"][random.below(2)];
                if random.below(8) > 0 {
                    continue;
                }
                ["CLIENT", "UNBLOCK", &victim, how].map(String::from).to_vec()
            } else if consumers.contains(&client) {
                consume(&mut random)
            } else {
                produce(&mut random, &mut account)
            };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            world.send(client, &words);
        }
        if random.below(40) == 0 {
            let place = random.below(consumers.len());
            account.lost_max += 2;
            world.leave(consumers[place]);
            consumers[place] = world.connect();
        }
        for _ in 0..random.below(2 * world.engines.len() + 1) {
            let core = random.below(world.engines.len());
            world.turn(core);
        }
        world.now += random.below(3) as i64;
        if random.below(30) == 0 {
            world.settle();
            nobody_sleeps_beside_an_element(&mut world, &consumers, reader, seed);
        }
    }
    world.settle();
    nobody_sleeps_beside_an_element(&mut world, &consumers, reader, seed);
    // Those who wait for ever are unblocked or leave.
    for &consumer in &consumers {
        if random.below(2) == 0 {
            let id = world.clients[consumer].id.to_string();
            world.ask(reader, &["CLIENT", "UNBLOCK", &id]);
        }
    }
    world.now += 100;
    world.settle();
    for &client in consumers.iter().chain(&producers).chain([&other]) {
        if let Some((asked, reply)) = world.take_reply(client) {
            account.enter(&asked, &reply);
        } else if world.clients[client].asked.is_some() {
            world.leave(client);
        }
    }
    world.settle();
    for engine in &world.engines {
        assert_eq!(engine.waiting_registrations(), 0, "SIMULATION_SEED={seed}: a registration is left");
        assert_eq!(engine.next_deadline(), None, "SIMULATION_SEED={seed}: a deadline is left");
        assert_eq!(engine.metrics().blocked_clients.get(), 0, "SIMULATION_SEED={seed}");
    }
    let mut found = account.taken.clone();
    found.extend(left(&mut world, reader));
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(distinct.len(), found.len(), "SIMULATION_SEED={seed}: an element was delivered twice");
    assert!(distinct.is_subset(&account.pushed), "SIMULATION_SEED={seed}");
    let lost: Vec<_> = account.pushed.difference(&distinct).collect();
    assert!(lost.len() <= account.lost_max, "SIMULATION_SEED={seed}: {lost:?} are lost");
}

/// Clients that wait for one key are served in the order in which they came, those that move elements to other shards
/// among them.
fn the_first_to_come_is_the_first_to_be_served(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(1 + random.below(8), seed);
    let producer = world.connect();
    let count = 2 + random.below(6);
    let mut waiting = Vec::new();
    for _ in 0..count {
        let client = world.connect();
        let command: &[&str] = match random.below(4) {
            0 => &["BLMOVE", "k0", "elsewhere", "LEFT", "LEFT", "0"],
            1 => &["BLPOP", "k1", "k0", "k2", "0"],
            2 => &["BLMPOP", "0", "2", "k0", "k3", "LEFT"],
            _ => &["BLPOP", "k0", "0"],
        };
        world.send(client, command);
        world.settle();
        waiting.push(client);
    }
    let elements: Vec<String> = (0..count).map(|number| format!("e{number}")).collect();
    let mut pushed = 0;
    while pushed < count {
        let more = 1 + random.below(count - pushed);
        let mut words = vec!["RPUSH", "k0"];
        words.extend(elements[pushed..pushed + more].iter().map(String::as_str));
        world.send(producer, &words);
        pushed += more;
        while world.clients[producer].received.is_empty() || random.below(3) > 0 {
            let core = random.below(world.engines.len());
            world.turn(core);
        }
        world.take_reply(producer);
    }
    world.settle();
    for (client, element) in waiting.into_iter().zip(&elements) {
        let (asked, reply) =
            world.take_reply(client).unwrap_or_else(|| panic!("SIMULATION_SEED={seed}: nobody sleeps"));
        assert_eq!(bulks(&reply).last(), Some(element), "SIMULATION_SEED={seed}: {asked:?}");
    }
    assert_eq!(world.engines.iter().map(Engine::waiting_registrations).sum::<usize>(), 0, "SIMULATION_SEED={seed}");
}

/// Lists that come by other ways than a push wake those who wait for them; what is no list, or is gone again, does not.
fn lists_that_come_by_any_way_wake(seed: u64) {
    let mut world = World::new(1 + (seed % 8) as usize, seed);
    let (writer, waiter) = (world.connect(), world.connect());
    let ways: &[&[&[&str]]] = &[
        &[&["RPUSH", "a", "x"], &["RENAME", "a", "k"]],
        &[&["RPUSH", "a", "x"], &["COPY", "a", "k"], &["DEL", "a"]],
        &[&["SELECT", "1"], &["RPUSH", "k", "x"], &["MOVE", "k", "0"], &["SELECT", "0"]],
        &[&["SELECT", "1"], &["RPUSH", "k", "x"], &["SWAPDB", "0", "1"], &["SELECT", "0"]],
        &[&["RPUSH", "a", "x"], &["LMOVE", "a", "k", "LEFT", "LEFT"]],
        &[&["SET", "k", "v"], &["DEL", "k"], &["SADD", "k", "m"], &["DEL", "k"], &["LPUSH", "k", "x"]],
        &[&["MULTI"], &["RPUSH", "k", "y"], &["RPUSH", "a", "y"], &["DEL", "k", "a"], &["EXEC"], &["RPUSH", "k", "x"]],
        &[&["MULTI"], &["RPUSH", "k", "x"], &["SET", "a", "y"], &["DEL", "a"], &["EXEC"]],
        &[&["RPUSH", "chain", "x"]],
    ];
    for way in ways {
        world.send(waiter, &["BLPOP", "none", "k", "0"]);
        world.settle();
        let mover = world.connect();
        world.send(mover, &["BLMOVE", "chain", "k", "LEFT", "LEFT", "0"]);
        world.settle();
        for words in *way {
            world.ask(writer, words);
        }
        let served = world.take_reply(waiter).map(|(_, reply)| bulks(&reply));
        assert_eq!(served, Some(vec!["k".into(), "x".into()]), "SIMULATION_SEED={seed}: {way:?}");
        world.leave(mover);
        world.settle();
    }
    assert_eq!(world.engines.iter().map(Engine::waiting_registrations).sum::<usize>(), 0, "SIMULATION_SEED={seed}");
}

/// Waits end in the order of their deadlines, never before, and the engine tells when the next one is.
fn deadlines_are_kept(seed: u64) {
    let mut world = World::new(1 + (seed % 8) as usize, seed);
    let mut ends = BTreeMap::new();
    for number in 0..5 {
        let client = world.connect();
        let milliseconds = 1 + world.random.below(40) as i64;
        let timeout = format!("0.{milliseconds:03}");
        world.send(client, &["BLPOP", "k0", "k1", &format!("k{number}"), &timeout]);
        ends.insert(client, world.now + milliseconds);
    }
    world.settle();
    let next = world.engines.iter().filter_map(Engine::next_deadline).min();
    assert_eq!(next, ends.values().min().map(|at| at + 1), "SIMULATION_SEED={seed}");
    while !ends.is_empty() {
        world.now += 1;
        world.settle();
        let now = world.now;
        let over: Vec<usize> = ends.iter().filter(|(_, at)| **at < now).map(|(client, _)| *client).collect();
        for client in over {
            ends.remove(&client);
            assert_eq!(world.take_reply(client).map(|(_, reply)| reply), Some(Reply::Null), "SIMULATION_SEED={seed}");
        }
        assert!(ends.keys().all(|client| world.clients[*client].received.is_empty()), "SIMULATION_SEED={seed}");
    }
    assert_eq!(world.engines.iter().map(Engine::waiting_registrations).sum::<usize>(), 0, "SIMULATION_SEED={seed}");
}

#[test]
fn elements_are_neither_lost_nor_doubled_and_nobody_sleeps_beside_one() {
    seeds(300).into_iter().for_each(every_element_is_delivered_once);
}

#[test]
fn clients_are_served_in_order() {
    seeds(300).into_iter().for_each(the_first_to_come_is_the_first_to_be_served);
}

#[test]
fn any_write_that_makes_a_list_wakes() {
    seeds(40).into_iter().for_each(lists_that_come_by_any_way_wake);
}

#[test]
fn waits_end_in_time() {
    seeds(40).into_iter().for_each(deadlines_are_kept);
}
