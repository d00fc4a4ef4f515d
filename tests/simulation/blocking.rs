//! Blocking commands: whatever happens, every element is delivered once or still in a list, clients are served in the order
//! in which they came, nobody sleeps beside an element, and nothing is left of a wait that is over.

use super::reply::Reply;
use super::world::{World, each_seed, request};
use crimson::engine::Engine;
use crimson::stdx::random::Random;
use std::collections::{BTreeMap, BTreeSet};

const KEYS: usize = 6;

/// Milliseconds of a pause.
const PAUSE_MS_MAX: i64 = 8;

/// Clients that ask one thing after another.
pub struct Scene {
    pub world: World,
    /// By client, what it has sent last and not been answered yet.
    asked: BTreeMap<usize, Vec<String>>,
}

impl Scene {
    /// Engines, and nobody there.
    pub fn new(shards: usize, seed: u64) -> Self {
        Self { world: World::new(shards, seed), asked: BTreeMap::new() }
    }

    /// Sends a command, or several with a `;` between them.
    pub fn send(&mut self, client: usize, words: &[&str]) {
        for words in words.split(|word| *word == ";") {
            self.world.send_bytes(client, request(words));
        }
        self.asked.insert(client, words.iter().map(ToString::to_string).collect());
    }

    fn leave(&mut self, client: usize) {
        self.world.leave(client);
        self.asked.remove(&client);
    }

    /// Runs until nothing is under way.
    pub fn settle(&mut self) {
        self.world.settle();
        assert!(self.world.engines().all(Engine::is_settled));
    }

    /// The same when no pause holds anything back any more. One may hold back the beginning of another.
    fn settle_unpaused(&mut self) {
        self.settle();
        for _ in 0..2 {
            self.world.now += PAUSE_MS_MAX;
            self.settle();
        }
    }

    /// Whether a client is not answered.
    pub fn is_waiting(&self, client: usize) -> bool {
        self.asked.contains_key(&client) && self.world.clients[client].received.is_empty()
    }

    /// What a client has been answered last, if it has been answered all; it may ask again then.
    pub fn take_reply(&mut self, client: usize) -> Option<(Vec<String>, Reply)> {
        let mut replies = Reply::all(&self.world.clients[client].received);
        let asked = self.asked.get(&client)?;
        if replies.len() < asked.split(|word| word == ";").count() {
            return None;
        }
        self.world.clients[client].received.clear();
        Some((self.asked.remove(&client)?, replies.pop()?))
    }

    /// Sends a command and waits for its reply.
    pub fn ask(&mut self, client: usize, words: &[&str]) -> Reply {
        self.send(client, words);
        self.settle();
        self.take_reply(client).expect("it is answered").1
    }
}

/// Every bulk string in a reply.
pub fn bulks(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Bulk(_) => vec![reply.text()],
        Reply::Array(elements) => elements.iter().flat_map(bulks).collect(),
        _ => Vec::new(),
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
            "LPOP" | "MULTI" => self.taken.extend(bulks(reply)),
            "CLIENT" | "BLMOVE" | "BRPOPLPUSH" | "LMOVE" | "RPUSH" | "LPUSH" => {}
            other => panic!("{other} is not one of the commands here"),
        }
        assert!(!reply.is_error() || reply.text().starts_with("UNBLOCKED"), "{asked:?}: {reply}");
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
    match random.below(14) {
        0 => vec!["LPOP".into(), key(random)],
        12.. => {
            // What is taken again was never there; with DBSIZE it runs on all shards, command by command.
            let mut text = format!("MULTI ; RPUSH {} {}", key(random), account.element());
            for _ in 0..random.below(4) {
                let more = match random.below(4) {
                    0 => format!(" ; LPOP {}", key(random)),
                    1 => " ; DBSIZE".into(),
                    _ => format!(" ; LPUSH {} {}", key(random), account.element()),
                };
                text.push_str(&more);
            }
            text.push_str(" ; EXEC");
            text.split(' ').map(String::from).collect()
        }
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
fn nobody_sleeps_beside_an_element(scene: &mut Scene, consumers: &[usize], reader: usize) {
    for &consumer in consumers {
        if !scene.is_waiting(consumer) {
            continue;
        }
        let words = scene.asked[&consumer].clone();
        for key in awaited(&words) {
            let len = scene.ask(reader, &["LLEN", &key]);
            assert_eq!(len, Reply::Integer(0), "{words:?} sleeps");
        }
    }
}

/// All that is left in the lists.
fn left(scene: &mut Scene, reader: usize) -> Vec<String> {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    keys.iter().flat_map(|key| bulks(&scene.ask(reader, &["LRANGE", key, "0", "-1"]))).collect()
}

fn every_element_is_delivered_once(seed: u64) {
    let mut random = Random::new(seed);
    let mut scene = Scene::new(1 + random.below(8), seed);
    let mut account = Account::default();
    let mut consumers: Vec<usize> = (0..5).map(|_| scene.world.connect()).collect();
    let producers: Vec<usize> = (0..3).map(|_| scene.world.connect()).collect();
    let (other, reader) = (scene.world.connect(), scene.world.connect());
    for _ in 0..150 {
        let everybody: Vec<usize> = consumers.iter().chain(&producers).copied().chain([other]).collect();
        for client in everybody {
            if let Some((asked, reply)) = scene.take_reply(client) {
                account.enter(&asked, &reply);
            }
            if scene.asked.contains_key(&client) || random.below(2) == 0 {
                continue;
            }
            let words = if client == other {
                let victim = scene.world.clients[consumers[random.below(consumers.len())]].id.to_string();
                let how = ["TIMEOUT", "ERROR"][random.below(2)];
                let pause = (1 + random.below(PAUSE_MS_MAX as usize)).to_string();
                match random.below(32) {
                    0..4 => ["CLIENT", "UNBLOCK", &victim, how].map(String::from).to_vec(),
                    4 => ["CLIENT", "PAUSE", &pause, ["WRITE", "ALL"][random.below(2)]].map(String::from).to_vec(),
                    _ => continue,
                }
            } else if consumers.contains(&client) {
                consume(&mut random)
            } else {
                produce(&mut random, &mut account)
            };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            scene.send(client, &words);
        }
        if random.below(40) == 0 {
            let place = random.below(consumers.len());
            account.lost_max += 2;
            scene.leave(consumers[place]);
            consumers[place] = scene.world.connect();
        }
        for _ in 0..random.below(2 * scene.world.shards() + 1) {
            scene.world.step();
        }
        if random.below(30) == 0 {
            scene.settle_unpaused();
            nobody_sleeps_beside_an_element(&mut scene, &consumers, reader);
        }
    }
    scene.settle_unpaused();
    nobody_sleeps_beside_an_element(&mut scene, &consumers, reader);
    // Those who wait for ever are unblocked or leave.
    for &consumer in &consumers {
        if random.below(2) == 0 {
            let id = scene.world.clients[consumer].id.to_string();
            scene.ask(reader, &["CLIENT", "UNBLOCK", &id]);
        }
    }
    scene.world.now += 100;
    scene.settle();
    for &client in consumers.iter().chain(&producers).chain([&other]) {
        if let Some((asked, reply)) = scene.take_reply(client) {
            account.enter(&asked, &reply);
        } else if scene.asked.contains_key(&client) {
            scene.leave(client);
        }
    }
    scene.settle();
    for engine in scene.world.engines() {
        assert_eq!(engine.waiting_registrations(), 0, "a registration is left");
        assert_eq!(engine.next_deadline(), None, "a deadline is left");
        assert_eq!(engine.metrics().blocked_clients.get(), 0);
    }
    let mut found = account.taken.clone();
    found.extend(left(&mut scene, reader));
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(distinct.len(), found.len(), "an element was delivered twice");
    assert!(distinct.is_subset(&account.pushed));
    let lost: Vec<_> = account.pushed.difference(&distinct).collect();
    assert!(lost.len() <= account.lost_max, "{lost:?} are lost");
}

/// Clients that wait for one key are served in the order in which they came, those that move elements to other shards
/// among them.
fn the_first_to_come_is_the_first_to_be_served(seed: u64) {
    let mut random = Random::new(seed);
    let mut scene = Scene::new(1 + random.below(8), seed);
    let producer = scene.world.connect();
    let count = 2 + random.below(6);
    let mut waiting = Vec::new();
    for _ in 0..count {
        let client = scene.world.connect();
        let command: &[&str] = match random.below(4) {
            0 => &["BLMOVE", "k0", "elsewhere", "LEFT", "LEFT", "0"],
            1 => &["BLPOP", "k1", "k0", "k2", "0"],
            2 => &["BLMPOP", "0", "2", "k0", "k3", "LEFT"],
            _ => &["BLPOP", "k0", "0"],
        };
        scene.send(client, command);
        scene.settle();
        waiting.push(client);
    }
    let elements: Vec<String> = (0..count).map(|number| format!("e{number}")).collect();
    let mut pushed = 0;
    while pushed < count {
        let more = 1 + random.below(count - pushed);
        let mut words = vec!["RPUSH", "k0"];
        words.extend(elements[pushed..pushed + more].iter().map(String::as_str));
        scene.send(producer, &words);
        pushed += more;
        while scene.world.clients[producer].received.is_empty() || random.below(3) > 0 {
            scene.world.step();
        }
        scene.take_reply(producer);
    }
    scene.settle();
    for (client, element) in waiting.into_iter().zip(&elements) {
        let (asked, reply) = scene.take_reply(client).unwrap_or_else(|| panic!("nobody sleeps"));
        assert_eq!(bulks(&reply).last(), Some(element), "{asked:?}");
    }
    assert_eq!(scene.world.engines().map(Engine::waiting_registrations).sum::<usize>(), 0);
}

/// Lists that come by other ways than a push wake those who wait for them; what is no list, or is gone again, does not.
fn lists_that_come_by_any_way_wake(seed: u64) {
    let mut scene = Scene::new(1 + (seed % 8) as usize, seed);
    let (writer, waiter) = (scene.world.connect(), scene.world.connect());
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
        scene.send(waiter, &["BLPOP", "none", "k", "0"]);
        scene.settle();
        let mover = scene.world.connect();
        scene.send(mover, &["BLMOVE", "chain", "k", "LEFT", "LEFT", "0"]);
        scene.settle();
        for words in *way {
            scene.ask(writer, words);
        }
        let served = scene.take_reply(waiter).map(|(_, reply)| bulks(&reply));
        assert_eq!(served, Some(vec!["k".into(), "x".into()]), "{way:?}");
        scene.leave(mover);
        scene.settle();
    }
    assert_eq!(scene.world.engines().map(Engine::waiting_registrations).sum::<usize>(), 0);
}

/// Waits end in the order of their deadlines, never before, and the engine tells when the next one is.
fn deadlines_are_kept(seed: u64) {
    let mut scene = Scene::new(1 + (seed % 8) as usize, seed);
    let mut ends = BTreeMap::new();
    for number in 0..5 {
        let client = scene.world.connect();
        let milliseconds = 1 + scene.world.random.below(40) as i64;
        let timeout = format!("0.{milliseconds:03}");
        scene.send(client, &["BLPOP", "k0", "k1", &format!("k{number}"), &timeout]);
        ends.insert(client, scene.world.now + milliseconds);
    }
    scene.settle();
    let next = scene.world.engines().filter_map(Engine::next_deadline).min();
    assert_eq!(next, ends.values().min().map(|at| at + 1));
    while !ends.is_empty() {
        scene.world.now += 1;
        scene.settle();
        let now = scene.world.now;
        let over: Vec<usize> = ends.iter().filter(|(_, at)| **at < now).map(|(client, _)| *client).collect();
        for client in over {
            ends.remove(&client);
            assert_eq!(scene.take_reply(client).map(|(_, reply)| reply), Some(Reply::NullArray));
        }
        assert!(ends.keys().all(|client| scene.world.clients[*client].received.is_empty()));
    }
    assert_eq!(scene.world.engines().map(Engine::waiting_registrations).sum::<usize>(), 0);
}

#[test]
fn elements_are_neither_lost_nor_doubled_and_nobody_sleeps_beside_one() {
    each_seed(300, every_element_is_delivered_once);
}

#[test]
fn clients_are_served_in_order() {
    each_seed(300, the_first_to_come_is_the_first_to_be_served);
}

#[test]
fn any_write_that_makes_a_list_wakes() {
    each_seed(40, lists_that_come_by_any_way_wake);
}

#[test]
fn waits_end_in_time() {
    each_seed(40, deadlines_are_kept);
}
