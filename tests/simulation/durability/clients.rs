//! Clients that write into keys of many shards and remember what they were answered.

use super::super::reply::Reply;
use super::super::world::request;
use super::machine::{Machine, trace};
use super::memory::{Counter, Element, Found, Memory, NEVER, Write};
use crimson::stdx::random::Random;

const REGISTERS: usize = 5;
const LISTS: usize = 4;
const QUEUES: usize = 2;
const COUNTERS: usize = 3;

/// What a request is about.
#[derive(Default)]
struct Operation {
    commands: Vec<String>,
    /// Registers that it writes, by key and place in the memory.
    writes: Vec<(String, usize)>,
    grows: Vec<String>,
    reads: Vec<String>,
    pushes: Option<String>,
    pops: bool,
    appends: Option<(String, String)>,
    replies: Vec<Reply>,
}

#[derive(Default)]
struct Player {
    client: Option<usize>,
    under_way: Option<Operation>,
}

/// The clients of all servers, one after another.
pub struct Clients {
    pub memory: Memory,
    players: Vec<Player>,
    /// One that writes in another database, for nobody.
    stranger: Option<usize>,
    written: u64,
    /// Steps of the run.
    pub tick: i64,
    /// Replies so far that were no errors.
    pub answered: u64,
    /// Whether what is read may be lost, because the log cannot be written.
    doubtful: bool,
}

fn pick(random: &mut Random, kind: &str, count: usize) -> String {
    format!("{kind}{}", random.below(count))
}

/// The first error in a reply.
fn error_in(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
        Reply::Array(replies) => replies.iter().find_map(error_in),
        _ => None,
    }
}

impl Clients {
    pub fn new(count: usize) -> Self {
        let mut memory = Memory::default();
        let counters = (0..COUNTERS).map(|number| format!("c{number}")).chain(["x".into(), "y".into()]);
        memory.counters = counters.map(|key| (key, Counter::default())).collect();
        let registers = (0..REGISTERS).map(|number| format!("s{number}"));
        let pairs = (0..2).flat_map(|pair| [format!("a{pair}"), format!("b{pair}")]);
        memory.registers = registers.chain(pairs).map(|key| (key, Vec::new())).collect();
        let players = (0..count).map(|_| Player::default()).collect();
        Self { memory, players, stranger: None, written: 0, tick: 0, answered: 0, doubtful: false }
    }

    /// A server has gone, and all connections with it.
    pub fn disconnected(&mut self) {
        self.stranger = None;
        for player in 0..self.players.len() {
            self.lose(player);
        }
    }

    fn lose(&mut self, player: usize) {
        self.players[player].client = None;
        if let Some(operation) = self.players[player].under_way.take() {
            self.memory.lost_pops += usize::from(operation.pops);
        }
    }

    /// A step of the server, before which clients may ask something, and after which they read what they are answered.
    pub fn step(&mut self, machine: &mut Machine<'_>, asks: bool) -> Result<(), String> {
        self.tick += 1;
        for player in 0..self.players.len() {
            if self.players[player].client.is_some_and(|client| machine.world.clients[client].gone) {
                self.lose(player);
            }
            if asks && self.players[player].under_way.is_none() && machine.world.random.below(3) == 0 {
                self.ask(machine, player);
            }
        }
        if asks && machine.world.random.below(6) == 0 {
            self.disturb(machine);
        }
        machine.step();
        self.doubtful = machine.failing_since().is_some();
        if machine.is_off {
            return Ok(());
        }
        for player in 0..self.players.len() {
            let Some(client) = self.players[player].client else { continue };
            for reply in Reply::all(&std::mem::take(&mut machine.world.clients[client].received)) {
                self.take(player, reply, machine.world.now)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, machine: &mut Machine<'_>, player: usize) {
        let client = *self.players[player].client.get_or_insert_with(|| machine.world.connect());
        let now = machine.world.now;
        let operation = self.make(&mut machine.world.random, player, now);
        for command in &operation.commands {
            machine.world.send_bytes(client, request(&command.split(' ').collect::<Vec<_>>()));
        }
        self.players[player].under_way = Some(operation);
    }

    /// What is logged in one database must not end up in another.
    fn disturb(&mut self, machine: &mut Machine<'_>) {
        let known = self.stranger.filter(|stranger| !machine.world.clients[*stranger].gone);
        let stranger = known.unwrap_or_else(|| {
            let stranger = machine.world.connect();
            machine.world.send_bytes(stranger, request(&["SELECT", "3"]));
            stranger
        });
        self.stranger = Some(stranger);
        let key = pick(&mut machine.world.random, "s", 2 * REGISTERS);
        machine.world.send_bytes(stranger, request(&["SET", &key, "strange"]));
    }

    fn value(&mut self) -> String {
        self.written += 1;
        format!("v{}", self.written)
    }

    /// Notes that these registers are about to be written.
    fn writes(&mut self, now: i64, keys: &[&str], value: Option<&str>, lives_ms: Option<i64>) -> Vec<(String, usize)> {
        let write = Write {
            value: value.map(str::to_string),
            lives_ms,
            sent: self.tick,
            sent_ms: now,
            done: NEVER,
            done_ms: NEVER,
            void: false,
        };
        let mut places = Vec::new();
        for key in keys {
            let writes = self.memory.registers.get_mut(*key).expect("one of the registers");
            writes.push(write.clone());
            places.push((key.to_string(), writes.len() - 1));
        }
        places
    }

    fn grows(&mut self, keys: &[&str]) -> Vec<String> {
        let asked = |key: &&str| self.memory.counters.get_mut(*key).expect("one of the counters").asked += 1;
        keys.iter().for_each(asked);
        keys.iter().map(|key| key.to_string()).collect()
    }

    fn make(&mut self, random: &mut Random, player: usize, now: i64) -> Operation {
        let s = pick(random, "s", REGISTERS);
        let pair = random.below(2);
        let (a, b) = (format!("a{pair}"), format!("b{pair}"));
        let (from, to) = (pick(random, "l", LISTS), pick(random, "l", LISTS));
        let side = |random: &mut Random| ["LEFT", "RIGHT"][random.below(2)];
        let value = self.value();
        let some = Some(value.as_str());
        let stepwise = random.below(2) == 0;
        let exec = |commands: &[String]| {
            let middle = if stepwise { vec!["DBSIZE".to_string()] } else { Vec::new() };
            [vec!["MULTI".to_string()], middle, commands.to_vec(), vec!["EXEC".to_string()]].concat()
        };
        let one = |command: String| vec![command];
        let nothing = Operation::default();
        match random.below(26) {
            0..=2 => Operation {
                commands: one(format!("SET {s} {value}")),
                writes: self.writes(now, &[&s], some, None),
                ..nothing
            },
            3 => {
                let lives = 1 + random.below(200) as i64;
                let writes = self.writes(now, &[&s], some, Some(lives));
                Operation { commands: one(format!("SET {s} {value} PX {lives}")), writes, ..nothing }
            }
            4 | 5 => {
                let command = ["DEL", "GETDEL", "UNLINK"][random.below(3)];
                let writes = self.writes(now, &[&s], None, None);
                Operation { commands: one(format!("{command} {s}")), writes, ..nothing }
            }
            6 => Operation { commands: one(format!("GET {s}")), reads: vec![s], ..nothing },
            7 | 8 => Operation {
                commands: one(format!("MSET {a} {value} {b} {value}")),
                writes: self.writes(now, &[&a, &b], some, None),
                ..nothing
            },
            9 | 10 => Operation {
                commands: exec(&[format!("SET {a} {value}"), format!("SET {b} {value}")]),
                writes: self.writes(now, &[&a, &b], some, None),
                ..nothing
            },
            11 => Operation {
                commands: one(format!("DEL {a} {b}")),
                writes: self.writes(now, &[&a, &b], None, None),
                ..nothing
            },
            12 => Operation {
                commands: one(format!("MSETNX {a} {value} {b} {value}")),
                writes: self.writes(now, &[&a, &b], some, None),
                ..nothing
            },
            13 => Operation { commands: one(format!("MGET {a} {b}")), reads: vec![a, b], ..nothing },
            14 => {
                let c = pick(random, "c", COUNTERS);
                Operation { commands: one(format!("INCR {c}")), grows: self.grows(&[&c]), ..nothing }
            }
            15 => Operation {
                commands: exec(&["INCR x".into(), "INCR y".into()]),
                grows: self.grows(&["x", "y"]),
                ..nothing
            },
            16 => Operation {
                commands: exec(&[
                    format!("SET {a} {value}"),
                    "INCR x".into(),
                    format!("SET {b} {value}"),
                    "INCR y".into(),
                ]),
                writes: self.writes(now, &[&a, &b], some, None),
                grows: self.grows(&["x", "y"]),
                ..nothing
            },
            17 => {
                let c = pick(random, "c", COUNTERS);
                Operation { commands: one(format!("GET {c}")), reads: vec![c], ..nothing }
            }
            18 | 19 => {
                self.memory.elements.insert(value.clone(), Element { pushed_ms: NEVER, popped_ms: NEVER });
                let command = ["LPUSH", "RPUSH"][random.below(2)];
                Operation { commands: one(format!("{command} {to} {value}")), pushes: Some(value), ..nothing }
            }
            20 => {
                let (first, second) = (side(random), side(random));
                Operation { commands: one(format!("LMOVE {from} {to} {first} {second}")), ..nothing }
            }
            21 => {
                let (first, second) = (side(random), side(random));
                Operation { commands: one(format!("BLMOVE {from} {to} {first} {second} 0.05")), ..nothing }
            }
            22 => Operation { commands: one(format!("BLPOP {from} {to} 0.05")), pops: true, ..nothing },
            23 => {
                let other = format!("s{}", random.below(REGISTERS));
                let keys: Vec<&str> = if other == s { vec![&s] } else { vec![&s, &other] };
                let writes = self.writes(now, &keys, some, None);
                Operation { commands: one(format!("MSET {s} {value} {other} {value}")), writes, ..nothing }
            }
            _ => {
                let queue = pick(random, "q", QUEUES);
                let sent = self.memory.queues.entry((queue.clone(), player)).or_default();
                sent.push((value.clone(), false));
                let commands = one(format!("RPUSH {queue} {value}"));
                Operation { commands, appends: Some((queue, value)), ..nothing }
            }
        }
    }

    fn take(&mut self, player: usize, reply: Reply, now: i64) -> Result<(), String> {
        let Some(operation) = &mut self.players[player].under_way else {
            return Err(format!("client {player} is answered though it has asked nothing: {reply:?}"));
        };
        operation.replies.push(reply);
        if operation.replies.len() < operation.commands.len() {
            return Ok(());
        }
        let operation = self.players[player].under_way.take().expect("just seen");
        if let Some(text) = operation.replies.iter().find_map(error_in) {
            if !text.starts_with("MISCONF") && !text.starts_with("EXECABORT") {
                return Err(format!("{:?} is answered {text}", operation.commands));
            }
            // It may have been done on another core, whose log has failed then.
            self.memory.lost_pops += usize::from(operation.pops);
            return Ok(());
        }
        trace(|| format!("{now} client {player}: {:?} -> {:?}", operation.commands, operation.replies.last()));
        self.answered += 1;
        self.remember(&operation, player, now);
        Ok(())
    }

    fn remember(&mut self, operation: &Operation, player: usize, now: i64) {
        let last = operation.replies.last().expect("all are there");
        let void = operation.commands[0].starts_with("MSETNX") && *last == Reply::Integer(0);
        for (key, place) in &operation.writes {
            let write = &mut self.memory.registers.get_mut(key).expect("one of the registers")[*place];
            write.void = void;
            (write.done, write.done_ms) = (write.done.min(self.tick), write.done_ms.min(now));
        }
        for key in &operation.grows {
            self.memory.counters.get_mut(key).expect("one of the counters").grown_ms.push(now);
        }
        if let Some(element) = operation.pushes.as_ref().and_then(|name| self.memory.elements.get_mut(name)) {
            element.pushed_ms = now;
        }
        if let Some((queue, value)) = &operation.appends {
            let sent = self.memory.queues.get_mut(&(queue.clone(), player)).expect("it was made when it was asked");
            sent.iter_mut().filter(|(element, _)| element == value).for_each(|(_, acknowledged)| *acknowledged = true);
        }
        if operation.pops && !last.is_null() {
            let name = last.elements()[1].text();
            self.memory.elements.get_mut(&name).expect("somebody has pushed it").popped_ms = now;
        }
        let values = match last {
            Reply::Array(values) if !operation.reads.is_empty() => &values[..],
            value => std::slice::from_ref(value),
        };
        for (key, value) in operation.reads.iter().zip(values) {
            if !value.is_null() && !self.doubtful {
                self.memory.seen(key, &value.text(), self.tick, now);
            }
        }
    }

    /// What the server holds; `None`: it has no power any more.
    pub fn look(&mut self, machine: &mut Machine<'_>) -> Result<Option<Found>, String> {
        let client = machine.world.connect();
        let mut found = Found { asked: machine.world.now, ..Found::default() };
        let keys = self.memory.registers.keys().chain(self.memory.counters.keys());
        let strings: Vec<String> = keys.cloned().collect();
        let lists: Vec<String> = (0..LISTS)
            .map(|number| format!("l{number}"))
            .chain((0..QUEUES).map(|number| format!("q{number}")))
            .collect();
        machine.world.send_bytes(client, request(&[&["MGET".to_string()][..], &strings].concat()));
        for list in &lists {
            machine.world.send(client, &["LRANGE", list, "0", "-1"]);
        }
        let (mut bytes, mut replies) = (Vec::new(), Vec::new());
        for _ in 0..5000 {
            self.step(machine, false)?;
            if machine.is_off {
                return Ok(None);
            }
            bytes.append(&mut machine.world.clients[client].received);
            while let Ok((reply, len)) = Reply::parse(&bytes) {
                bytes.drain(..len);
                replies.push(reply);
            }
            if replies.len() == 1 + lists.len() {
                break;
            }
        }
        if replies.len() != 1 + lists.len() {
            return Err(format!("the server does not answer: {replies:?}"));
        }
        let text = |reply: &Reply| (!reply.is_null()).then(|| reply.text());
        found.strings = strings.into_iter().zip(replies[0].elements().iter().map(text)).collect();
        let elements = replies[1..].iter().map(|reply| reply.elements().iter().map(Reply::text).collect());
        found.lists = lists.into_iter().zip(elements).collect();
        found.now = machine.world.now;
        machine.world.leave(client);
        Ok(Some(found))
    }
}
