//! A whole server in one thread: engines, the mail between them, clients and a clock, all under one seeded scheduler.
//!
//! Mail between two cores keeps its order and is late; between other pairs it comes in any order, and some pairs are
//! slower than others. What clients send arrives in pieces. As the runtime does, the world takes output only of sessions
//! that the engine has marked, and closes those that are to be closed. The same seed gives the same run.
//!
//! Every run is one of [`each_seed`]: a failing one prints its seed.
//!
//! ```text
//! SIMULATION_SEED=42 cargo test --test simulation NAME      one run
//! SIMULATION_CASES=100000 cargo test --test simulation NAME  as many as wanted
//! ```

use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::engine::message::Message;
use crimson::session::{Identity, SessionFlags, SessionKey};
use crimson::shard::ShardId;
use crimson::stdx::random::Random;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Runs `run` for `SIMULATION_SEED`, or else for as many seeds as `SIMULATION_CASES` says, or else for `count`.
pub fn each_seed(count: u64, mut run: impl FnMut(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_CASES").unwrap_or(count),
    };
    for seed in seeds {
        let _running = Running(seed);
        run(seed);
    }
}

/// Prints the seed of a run that fails.
struct Running(u64);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SIMULATION_SEED={} repeats this run", self.0);
        }
    }
}

/// Turns in which all that is under way must have come to an end.
const TURNS_MAX: usize = 200_000;

/// The bytes of a request.
pub fn request<W: AsRef<str>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(W::as_ref) {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// The bytes of several requests.
pub fn requests(all: &[&[&str]]) -> Vec<u8> {
    all.iter().flat_map(|words| request(words)).collect()
}

/// Messages on their way, by sender and receiver.
#[derive(Default)]
pub struct Mail(BTreeMap<(usize, usize), VecDeque<Message>>);

impl Mail {
    /// What is on its way from one core to another.
    pub fn between(&mut self, from: usize, to: usize) -> &mut VecDeque<Message> {
        self.0.entry((from, to)).or_default()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(VecDeque::is_empty)
    }
}

/// What becomes of a message when it is posted, instead of just being on its way.
pub type Tamper = Box<dyn FnMut(&mut Mail, &mut Random, (usize, usize), Message)>;

/// What one core has.
struct Core {
    engine: Engine,
    /// Its clients by their sessions.
    clients: HashMap<u32, usize>,
    /// By sender, how slow its mail is.
    slowness: Vec<usize>,
}

/// A client on one of the cores.
pub struct Client {
    pub core: usize,
    pub key: SessionKey,
    /// Its id, as CLIENT ID says.
    pub id: u64,
    /// What it has sent and the core has not received.
    pub input: VecDeque<u8>,
    /// Whether it sends nothing behind that.
    ended: bool,
    /// What it has been sent.
    pub received: Vec<u8>,
    /// Whether it is not connected any more.
    pub gone: bool,
}

/// The server and its clients.
pub struct World {
    cores: Vec<Core>,
    mail: Mail,
    pub clients: Vec<Client>,
    pub random: Random,
    /// The time, in milliseconds since 1970.
    pub now: i64,
    /// Turns so far, of whatever core.
    pub turns: u64,
    tamper: Option<Tamper>,
}

/// Directives under which nothing depends on how long commands take in real time, so that a seed repeats a run.
pub fn timeless(config: Config) -> Config {
    Config { slowlog_log_slower_than: -1, ..config }
}

impl World {
    /// Engines without data and clients.
    pub fn new(shards: usize, seed: u64) -> Self {
        Self::configured(timeless(Config::default()), shards, seed, 1_700_000_000_000)
    }

    /// Engines without data and clients, that begin at this time.
    pub fn configured(config: Config, shards: usize, seed: u64, now: i64) -> Self {
        let node = Node::new(config, shards, table().entries().len(), "0".repeat(40), now);
        let (node, mut random) = (Arc::new(node), Random::new(seed));
        let core = |core| Core {
            engine: Engine::new(ShardId(core as u16), node.clone(), seed + core as u64, now),
            clients: HashMap::new(),
            slowness: (0..shards).map(|_| [1, 2, 2, 4][random.below(4)]).collect(),
        };
        let cores = (0..shards).map(core).collect();
        Self { cores, mail: Mail::default(), clients: Vec::new(), random, now, turns: 0, tamper: None }
    }

    /// Lets `tamper` handle all mail from now on.
    pub fn tamper_with_mail(&mut self, tamper: Tamper) {
        self.tamper = Some(tamper);
    }

    /// How many cores there are.
    pub fn shards(&self) -> usize {
        self.cores.len()
    }

    /// A core's engine.
    pub fn engine(&mut self, core: usize) -> &mut Engine {
        &mut self.cores[core].engine
    }

    /// All engines.
    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.cores.iter().map(|core| &core.engine)
    }

    /// A new client on some core.
    pub fn connect(&mut self) -> usize {
        let core = self.random.below(self.cores.len());
        self.connect_to(core)
    }

    /// A new client on this core.
    pub fn connect_to(&mut self, core: usize) -> usize {
        let Core { engine, clients, .. } = &mut self.cores[core];
        let key = engine.connect(Identity::default(), false);
        let id = engine.session_mut(key).expect("it has just connected").id;
        clients.insert(key.0, self.clients.len());
        let (input, received) = Default::default();
        self.clients.push(Client { core, key, id, input, ended: false, received, gone: false });
        self.clients.len() - 1
    }

    /// A client sends bytes.
    pub fn send_bytes(&mut self, client: usize, bytes: impl IntoIterator<Item = u8>) {
        self.clients[client].input.extend(bytes);
    }

    /// A client sends a command.
    pub fn send<W: AsRef<str>>(&mut self, client: usize, words: &[W]) {
        self.send_bytes(client, request(words));
    }

    /// A client ends its side of the connection behind what it has sent.
    pub fn end_input(&mut self, client: usize) {
        self.clients[client].ended = true;
    }

    /// A client's connection breaks. What it has sent and has not arrived is lost.
    pub fn leave(&mut self, client: usize) {
        if self.disconnect(client) {
            self.post(self.clients[client].core);
        }
    }

    /// The same, but what comes of it is not posted yet; whether it was connected.
    pub fn disconnect(&mut self, client: usize) -> bool {
        let Client { core, key, .. } = self.clients[client];
        let was_there = !std::mem::replace(&mut self.clients[client].gone, true);
        if was_there {
            self.clients[client].input.clear();
            self.cores[core].clients.remove(&key.0);
            self.cores[core].engine.disconnect(key);
        }
        was_there
    }

    /// What a client has been sent, as text, once.
    pub fn take_received(&mut self, client: usize) -> String {
        String::from_utf8(std::mem::take(&mut self.clients[client].received)).expect("replies are text")
    }

    /// A turn of some core, some time after the last one.
    pub fn step(&mut self) {
        self.now += self.random.below(3) as i64;
        let core = self.random.below(self.cores.len());
        self.turn(core);
    }

    /// A turn of one core: some of its mail and of what its clients have sent, and what comes of that.
    pub fn turn(&mut self, core: usize) {
        self.begin_turn(core);
        self.cores[core].engine.end_turn();
        self.flush(core);
        self.post(core);
    }

    /// A turn up to where the engine ends it.
    pub fn begin_turn(&mut self, core: usize) {
        self.turns += 1;
        self.cores[core].engine.begin_turn(self.now);
        self.take_mail(core);
        self.feed(core);
    }

    fn take_mail(&mut self, core: usize) {
        let Core { engine, slowness, .. } = &mut self.cores[core];
        for (sender, slowness) in slowness.iter().enumerate() {
            if self.random.below(*slowness) == 0 {
                let letters = self.mail.between(sender, core);
                let count = (1 + self.random.below(3)).min(letters.len());
                letters.drain(..count).for_each(|message| engine.message(message));
            }
        }
    }

    fn feed(&mut self, core: usize) {
        let engine = &mut self.cores[core].engine;
        for client in self.clients.iter_mut().filter(|client| client.core == core && !client.gone) {
            let len = self.random.below(client.input.len() + 1);
            // Most requests come in one piece.
            let len = if self.random.below(4) == 0 { len } else { client.input.len() };
            let bytes: Vec<u8> = client.input.drain(..len).collect();
            if !bytes.is_empty() {
                engine.receive(client.key, &bytes);
            }
            if client.ended && client.input.is_empty() {
                client.ended = false;
                engine.end_of_input(client.key);
            }
        }
    }

    /// Takes what marked sessions are sent, and closes those that are to be closed.
    pub fn flush(&mut self, core: usize) {
        let Core { engine, clients, .. } = &mut self.cores[core];
        let (mut dirty, mut closing) = (Vec::new(), Vec::new());
        engine.take_dirty(&mut dirty);
        for key in dirty {
            let Some(session) = engine.session_mut(key) else { continue };
            let output = std::mem::take(&mut session.output);
            if session.flags.contains(SessionFlags::CLOSE_AFTER_REPLY) && session.pending.is_empty() {
                closing.push(key);
            }
            if let Some(&client) = clients.get(&key.0) {
                let (received, mut start) = (&mut self.clients[client].received, 0);
                for pin in &output.pins {
                    received.extend_from_slice(&output.bytes[start..pin.at]);
                    received.extend_from_slice(&pin.value);
                    start = pin.at;
                }
                received.extend_from_slice(&output.bytes[start..]);
            }
            engine.recycle(output.bytes);
        }
        engine.take_closing(&mut closing);
        let closed: Vec<usize> = closing.iter().filter_map(|key| clients.get(&key.0).copied()).collect();
        closed.into_iter().for_each(|client| self.leave(client));
    }

    /// Posts what a core has to tell others.
    fn post(&mut self, core: usize) {
        let mut outgoing = Vec::new();
        self.cores[core].engine.take_outgoing(&mut outgoing);
        self.post_all(core, outgoing);
    }

    /// Posts this from a core.
    pub fn post_all(&mut self, core: usize, letters: Vec<(ShardId, Message)>) {
        for (to, message) in letters {
            match &mut self.tamper {
                None => self.mail.between(core, to.index()).push_back(message),
                Some(tamper) => tamper(&mut self.mail, &mut self.random, (core, to.index()), message),
            }
        }
    }

    /// Whether nothing is on its way any more.
    pub fn is_quiet(&self) -> bool {
        self.mail.is_empty() && self.clients.iter().all(|client| client.input.is_empty() && !client.ended)
    }

    /// Runs until nothing is on its way any more, while time goes on.
    pub fn run(&mut self) {
        let (mut quiet, mut turns) = (0, 0);
        while quiet < 8 {
            for _ in 0..self.cores.len() * 4 {
                self.step();
            }
            turns += 1;
            assert!(turns < TURNS_MAX, "messages go to and fro for ever");
            quiet = if self.is_quiet() { quiet + 1 } else { 0 };
        }
    }

    /// Runs until nothing is on its way any more. The clock stands still.
    pub fn settle(&mut self) {
        let (mut quiet, mut turns) = (0, 0);
        while quiet < 3 {
            (0..self.cores.len()).for_each(|core| self.turn(core));
            turns += 1;
            assert!(turns < TURNS_MAX, "messages go to and fro for ever");
            quiet = if self.is_quiet() { quiet + 1 } else { 0 };
        }
    }
}
