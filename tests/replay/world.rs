//! Engines that log, their mail and their clients, under one seeded scheduler.

use crate::digest::{Digest, Spy};
use crate::program::Program;
use crate::reply::Reply;
use crate::segment::Segment;
use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::engine::message::{Message, Ticket};
use crimson::persistence::aof::{Cut, LogId};
use crimson::resp::Output;
use crimson::session::{Identity, SessionKey};
use crimson::shard::ShardId;
use crimson::stdx::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub struct World {
    pub engines: Vec<Engine>,
    /// What each has logged.
    pub segments: Vec<Segment>,
    /// While the log is switched on and off: the last cut, and how many cores have made it.
    pub switches: Option<(bool, usize)>,
    /// What each core held when the log was last switched on.
    bases: Vec<Segment>,
    /// By sender and receiver.
    mail: BTreeMap<(usize, usize), VecDeque<Message>>,
    clients: Vec<(usize, SessionKey)>,
    /// What clients have been sent, by core and session.
    received: BTreeMap<(usize, SessionKey), Vec<u8>>,
    random: Random,
    now: i64,
    /// By how much each core's clock is behind.
    lags: Vec<i64>,
}

impl World {
    pub fn new(seed: u64, shards: usize) -> Self {
        Self::configured(Config::default(), seed, shards)
    }

    pub fn configured(config: Config, seed: u64, shards: usize) -> Self {
        let now = 1_700_000_000_000;
        // Nothing may depend on how long commands take in real time.
        let config = Config { slowlog_log_slower_than: -1, appendonly: true, ..config };
        let node = Arc::new(Node::new(config, shards, table().entries().len(), "0".repeat(40), now));
        let engine = |core| Engine::new(ShardId(core as u16), node.clone(), seed + core as u64, now);
        let mut engines: Vec<Engine> = (0..shards).map(engine).collect();
        engines.iter_mut().for_each(|engine| engine.set_logging(true));
        if !seed.is_multiple_of(2) {
            // What goes over shards is small here. It is logged in pieces all the same.
            engines.iter_mut().for_each(|engine| engine.set_staged_min(0, 0));
        }
        let mut random = Random::new(seed);
        let lags = (0..shards).map(|_| random.below(100) as i64).collect();
        let mut world = Self {
            engines,
            segments: vec![Segment::new(); shards],
            switches: None,
            bases: vec![Segment::new(); shards],
            mail: BTreeMap::new(),
            clients: Vec::new(),
            received: BTreeMap::new(),
            random,
            now: now + 100,
            lags,
        };
        (0..5).for_each(|_| world.connect());
        world
    }

    fn connect(&mut self) {
        let core = self.random.below(self.engines.len());
        let key = self.engines[core].connect(Identity::default(), false);
        self.clients.push((core, key));
    }

    /// Runs so many turns with commands, and then until nothing is under way.
    pub fn run(&mut self, program: &mut Program, turns: usize) {
        for _ in 0..turns {
            self.turn(|now| program.next(now));
        }
        self.settle();
    }

    /// Runs until nothing is under way; clients stay.
    pub fn calm(&mut self) {
        (0..1000).for_each(|_| self.turn(|_| Vec::new()));
    }

    /// Runs until nothing is under way; who still waits is disconnected.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for turn in 0.. {
            assert!(turn < 100_000, "it comes to no end");
            if turn == 2000 {
                let clients = std::mem::take(&mut self.clients);
                clients.into_iter().for_each(|(core, key)| self.engines[core].disconnect(key));
            }
            self.turn(|_| Vec::new());
            if turn > 2500 && self.switches == Some((true, self.engines.len())) {
                self.switches = None;
            }
            let walks = self.switches.is_some() || self.engines.iter().any(Engine::has_snapshot);
            let settled = self.engines.iter().all(Engine::is_settled) && self.mail.values().all(VecDeque::is_empty);
            quiet = if settled && !walks { quiet + 1 } else { 0 };
            if turn > 3000 && quiet > 50 {
                return;
            }
        }
    }

    /// A turn of some core, in which clients may send what `next` gives.
    pub fn turn(&mut self, mut next: impl FnMut(i64) -> Vec<Vec<Vec<u8>>>) {
        self.now += self.random.below(3) as i64;
        if self.random.below(40) == 0 {
            self.now += self.random.below(300) as i64;
        }
        let core = self.random.below(self.engines.len());
        let now = self.now - self.lags[core];
        self.engines[core].begin_turn(now);
        if core == 0 && self.random.below(30) == 0 {
            self.switch();
        }
        let Self { engines, mail, clients, random, received, .. } = self;
        let engine = &mut engines[core];
        for ((_, receiver), letters) in mail.iter_mut() {
            if *receiver == core && random.below(2) == 0 {
                for _ in 0..1 + random.below(3) {
                    letters.pop_front().into_iter().for_each(|message| engine.message(message));
                }
            }
        }
        for (_, key) in clients.iter().filter(|(of, _)| *of == core) {
            if random.below(2) == 0 {
                let bytes: Vec<u8> = next(now).iter().flat_map(|command| encode(command)).collect();
                if !bytes.is_empty() {
                    engine.receive(*key, &bytes);
                }
            }
        }
        engine.end_turn();
        let mut outgoing = Vec::new();
        engine.take_outgoing(&mut outgoing);
        for (to, message) in outgoing {
            mail.entry((core, to.index())).or_default().push_back(message);
        }
        for (_, key) in clients.iter().filter(|(of, _)| *of == core) {
            if let Some(session) = engine.session_mut(*key) {
                let output = std::mem::take(&mut session.output);
                received.entry((core, *key)).or_default().extend(flat(output));
            }
        }
        engine.take_dirty(&mut Vec::new());
        let mut closing = Vec::new();
        engine.take_closing(&mut closing);
        for closed in closing {
            engine.disconnect(closed);
            clients.retain(|(of, key)| (*of, *key) != (core, closed));
        }
        self.log(core);
    }

    /// Switches the log off or on, if every core has seen the last switch.
    fn switch(&mut self) {
        let cores = self.engines.len();
        let Some((on, seen)) = &mut self.switches else { return };
        if *seen == cores && self.engines.iter().all(|engine| !engine.has_snapshot()) {
            (*on, *seen) = (!*on, 0);
            let cut = Cut { log: LogId::NONE, generation: 0, logs: *on, snapshot: *on, files: Vec::new() };
            self.engines[0].start_cut(Arc::new(cut));
        }
    }

    /// Takes what a core has logged in its turn.
    fn log(&mut self, core: usize) {
        let engine = &mut self.engines[core];
        for here in engine.take_cuts() {
            self.switches.as_mut().expect("nobody else cuts").1 += 1;
            if here.cut.logs {
                (self.segments[core], self.bases[core]) = Default::default();
            }
        }
        let mut batch = Vec::new();
        engine.take_log(&mut batch);
        engine.set_log_goals();
        if !batch.is_empty() {
            self.segments[core].push(batch);
        }
        if engine.has_snapshot() {
            let mut piece = Vec::new();
            engine.step_snapshot(self.random.below(3) == 0, &mut piece);
            self.bases[core].push(piece);
        }
    }

    /// All that a core has logged: what it held when the log was last switched on, and what came then.
    pub fn segment(&self, core: usize) -> Segment {
        [&self.bases[core][..], &self.segments[core]].concat()
    }

    /// Panics unless what every client has been sent are whole replies.
    pub fn check_replies(&self) {
        self.received.values().for_each(|bytes| drop(Reply::all(bytes)));
    }

    /// What a core's shard holds.
    pub fn digest(&mut self, core: usize) -> Digest {
        let spy = Arc::new(Spy::default());
        let ticket = Ticket { owner: 0, number: 0 };
        let engine = &mut self.engines[core];
        engine.message(Message::Every { from: ShardId(core as u16), ticket, request: spy.clone() });
        engine.take_outgoing(&mut Vec::new());
        let mut digest = spy.0.lock().expect("no holder panics");
        std::mem::take(&mut *digest)
    }

    /// Which commands have run without an error.
    pub fn commands_done(&self) -> Vec<bool> {
        let metrics = |id: usize| self.engines.iter().map(move |engine| &engine.metrics().by_command[id]);
        let ran = |id| metrics(id).any(|counters| counters.calls.get() > counters.failed.get());
        (0..table().entries().len()).map(ran).collect()
    }
}

/// The bytes of what a session has to send.
fn flat(output: Output) -> Vec<u8> {
    let (mut bytes, mut start) = (Vec::new(), 0);
    for pin in &output.pins {
        bytes.extend_from_slice(&output.bytes[start..pin.at]);
        bytes.extend_from_slice(&pin.value);
        start = pin.at;
    }
    bytes.extend_from_slice(&output.bytes[start..]);
    bytes
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
