//! Engines that log, their mail and their clients, under one seeded scheduler.

use crate::digest::{Digest, Spy};
use crate::program::Program;
use crate::segment::Segment;
use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::engine::message::{Message, Ticket};
use crimson::session::{Identity, SessionKey};
use crimson::shard::ShardId;
use crimson::stdx::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub struct World {
    pub engines: Vec<Engine>,
    /// What each has logged.
    pub segments: Vec<Segment>,
    /// By sender and receiver.
    mail: BTreeMap<(usize, usize), VecDeque<Message>>,
    clients: Vec<(usize, SessionKey)>,
    random: Random,
    now: i64,
    /// By how much each core's clock is behind.
    lags: Vec<i64>,
}

impl World {
    pub fn new(seed: u64, shards: usize) -> Self {
        let now = 1_700_000_000_000;
        let node = Arc::new(Node::new(Config::default(), shards, table().entries().len(), "0".repeat(40), now));
        let engine = |core| Engine::new(ShardId(core as u16), node.clone(), seed + core as u64, now);
        let mut engines: Vec<Engine> = (0..shards).map(engine).collect();
        engines.iter_mut().for_each(|engine| engine.set_logging(true));
        let mut random = Random::new(seed);
        let lags = (0..shards).map(|_| random.below(100) as i64).collect();
        let mut world = Self {
            engines,
            segments: vec![Segment::new(); shards],
            mail: BTreeMap::new(),
            clients: Vec::new(),
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
            let settled = self.engines.iter().all(Engine::is_settled) && self.mail.values().all(VecDeque::is_empty);
            quiet = if settled { quiet + 1 } else { 0 };
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
        let Self { engines, mail, clients, random, .. } = self;
        let engine = &mut engines[core];
        let now = self.now - self.lags[core];
        engine.begin_turn(now);
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
        let mut batch = Vec::new();
        engine.take_log(&mut batch);
        if !batch.is_empty() {
            self.segments[core].push(batch);
        }
        let mut outgoing = Vec::new();
        engine.take_outgoing(&mut outgoing);
        for (to, message) in outgoing {
            mail.entry((core, to.index())).or_default().push_back(message);
        }
        for (_, key) in clients.iter().filter(|(of, _)| *of == core) {
            if let Some(session) = engine.session_mut(*key) {
                session.output = Default::default();
            }
        }
        engine.take_dirty(&mut Vec::new());
        let mut closing = Vec::new();
        engine.take_closing(&mut closing);
        for closed in closing {
            engine.disconnect(closed);
            clients.retain(|(of, key)| (*of, *key) != (core, closed));
        }
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

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
