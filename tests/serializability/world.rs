//! The engines with their mail and clients, under one seeded scheduler.

use crate::program;
use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::engine::message::Message;
use crimson::session::{Identity, SessionKey};
use crimson::shard::ShardId;
use crimson::shard::locks::LockSet;
use crimson::stdx::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What can be made to go wrong on the way between cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Transactions ask other shards for no locks.
    NoLocks,
    /// A shard loses what a transaction has changed there.
    HalfStored,
    /// A shard gives up a transaction's locks when it has lent the values.
    EarlyUnlock,
    /// A shard never hears that locks are given up.
    LostUnlock,
}

/// A request and its answer. Times are turns of the world.
pub struct Operation {
    pub request: Vec<Vec<String>>,
    pub answer: Vec<u8>,
    pub sent: u64,
    pub answered: u64,
}

struct Client {
    core: usize,
    key: SessionKey,
    /// What it will send: each item in one go, the next one when all of it is answered.
    program: VecDeque<Vec<Vec<String>>>,
    under_way: Option<Operation>,
    history: Vec<Operation>,
}

/// Engines, mail, clients.
pub struct World {
    engines: Vec<Engine>,
    /// By sender and receiver.
    mail: BTreeMap<(usize, usize), VecDeque<Message>>,
    clients: Vec<Client>,
    random: Random,
    fault: Option<Fault>,
    now: i64,
    turns: u64,
}

/// Turns after which a run that has not come to its end is stuck.
const TURNS_MAX: u64 = 20_000;

impl World {
    /// A world whose size, clients and events the seed decides.
    pub fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut random = Random::new(seed);
        let shards = 2 + random.below(5);
        let now = 1_700_000_000_000;
        let node = Node::new(Config::default(), shards, table().entries().len(), "0".repeat(40), now);
        let node = Arc::new(node);
        let mut engines: Vec<Engine> =
            (0..shards).map(|core| Engine::new(ShardId(core as u16), node.clone(), seed + core as u64, now)).collect();
        let clients = (0..2 + random.below(3))
            .map(|_| {
                let core = random.below(shards);
                let key = engines[core].connect(Identity::default(), false);
                Client { core, key, program: program::write(&mut random), under_way: None, history: Vec::new() }
            })
            .collect();
        Self { engines, mail: BTreeMap::new(), clients, random, fault, now, turns: 0 }
    }

    /// Runs to the end; each client's history. An error when it does not come to an end, or leaves something behind.
    pub fn run(&mut self) -> Result<Vec<Vec<Operation>>, String> {
        while !self.is_over() {
            if self.turns >= TURNS_MAX {
                let stuck: Vec<_> = self.clients.iter().filter_map(|client| client.under_way.as_ref()).collect();
                return Err(format!(
                    "stuck: {:?}",
                    stuck.iter().map(|operation| &operation.request).collect::<Vec<_>>()
                ));
            }
            let core = self.random.below(self.engines.len());
            self.turn(core);
        }
        match self.engines.iter().position(|engine| !engine.is_settled()) {
            Some(core) => Err(format!("core {core} is left with locks or transactions")),
            None => Ok(self.clients.iter_mut().map(|client| std::mem::take(&mut client.history)).collect()),
        }
    }

    fn is_over(&self) -> bool {
        let idle = |client: &Client| client.under_way.is_none() && client.program.is_empty();
        self.clients.iter().all(idle) && self.mail.values().all(VecDeque::is_empty)
    }

    fn turn(&mut self, core: usize) {
        self.turns += 1;
        self.now += self.random.below(2) as i64;
        let Self { engines, mail, clients, random, .. } = self;
        let engine = &mut engines[core];
        engine.begin_turn(self.now);
        for ((_, receiver), letters) in mail.iter_mut() {
            if *receiver == core && random.below(2) == 0 {
                for _ in 0..1 + random.below(3) {
                    letters.pop_front().into_iter().for_each(|message| engine.message(message));
                }
            }
        }
        for client in clients.iter_mut().filter(|client| client.core == core) {
            if client.under_way.is_none()
                && random.below(3) == 0
                && let Some(request) = client.program.pop_front()
            {
                let bytes: Vec<u8> = request.iter().flat_map(|command| encode(command)).collect();
                client.under_way = Some(Operation { request, answer: Vec::new(), sent: self.turns, answered: 0 });
                engine.receive(client.key, &bytes);
            }
        }
        engine.end_turn();
        let mut outgoing = Vec::new();
        engine.take_outgoing(&mut outgoing);
        for client in clients.iter_mut().filter(|client| client.core == core) {
            client.read(engine, self.turns);
        }
        engine.take_dirty(&mut Vec::new());
        for (to, message) in outgoing {
            self.send(core, to.index(), message);
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        let mut messages = VecDeque::from([message]);
        if let Some(fault) = self.fault
            && self.random.below(3) == 0
        {
            fault.strike(&mut messages);
        }
        self.mail.entry((from, to)).or_default().append(&mut messages);
    }
}

impl Fault {
    fn strike(self, messages: &mut VecDeque<Message>) {
        match (self, &mut messages[0]) {
            (Self::NoLocks, Message::Lend { locks, .. } | Message::Lock { locks, .. }) => *locks = LockSet::default(),
            (Self::HalfStored, Message::Store { states, .. }) => states.clear(),
            (Self::EarlyUnlock, Message::Lend { id, .. }) => {
                let id = *id;
                messages.push_back(Message::Unlock { id });
            }
            (Self::LostUnlock, Message::Unlock { .. }) => messages.clear(),
            _ => {}
        }
    }
}

impl Client {
    /// Takes what the engine has for it.
    fn read(&mut self, engine: &mut Engine, now: u64) {
        let Some(session) = engine.session_mut(self.key) else { return };
        let output = std::mem::take(&mut session.output);
        let Some(operation) = &mut self.under_way else {
            assert!(output.is_empty(), "an answer to nothing: {:?}", String::from_utf8_lossy(&output.bytes));
            return;
        };
        let mut start = 0;
        for pin in &output.pins {
            operation.answer.extend_from_slice(&output.bytes[start..pin.at]);
            operation.answer.extend_from_slice(&pin.value);
            start = pin.at;
        }
        operation.answer.extend_from_slice(&output.bytes[start..]);
        if replies_in(&operation.answer) == Some(operation.request.len()) {
            operation.answered = now;
            self.history.extend(self.under_way.take());
        }
    }
}

fn encode(command: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        bytes.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
    }
    bytes
}

/// How many whole replies these bytes are; `None`: the last one is not whole.
fn replies_in(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        bytes = behind_reply(bytes)?;
        count += 1;
    }
    Some(count)
}

fn behind_reply(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, mut rest) = (&bytes[..end], &bytes[end + 2..]);
    let len: i64 = std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    match line[0] {
        b'$' if len >= 0 => rest.get(len as usize + 2..),
        b'*' => {
            for _ in 0..len {
                rest = behind_reply(rest)?;
            }
            Some(rest)
        }
        _ => Some(rest),
    }
}
