//! Clients play their programs in a world, and what they ask and are answered is recorded.

use super::super::reply::Reply;
use super::super::world::{Tamper, World, request};
use super::program::{LISTS, Request, STABLE, STRINGS, Step, Theme, Writer, blocks, wait_of, words};
use crimson::stdx::random::Random;
use std::collections::{BTreeSet, VecDeque};

/// A request and its replies. Times are turns of the world.
pub struct Operation {
    pub request: Request,
    pub replies: Vec<Reply>,
    pub sent: u64,
    /// [`NEVER`] if the client left before.
    pub answered: u64,
    pub sent_ms: i64,
    pub answered_ms: i64,
}

/// The time of what does not happen.
pub const NEVER: u64 = u64::MAX;

impl Operation {
    pub fn is_answered(&self) -> bool {
        self.answered != NEVER
    }
}

/// A message from a channel.
pub struct Heard {
    pub at: u64,
    /// The channel or pattern that it was subscribed by.
    pub name: String,
    pub payload: String,
}

/// What one client has done and heard.
#[derive(Default)]
pub struct Past {
    pub operations: Vec<Operation>,
    pub heard: Vec<Heard>,
    /// When it left, if it did before the end.
    pub left: Option<u64>,
}

struct Scan {
    step: usize,
    found: BTreeSet<String>,
}

/// A client; its number is that of the world's client.
#[derive(Default)]
struct Player {
    /// What it will do: each step when all it has asked is answered.
    program: VecDeque<Step>,
    under_way: Option<Operation>,
    /// What it has sent behind that.
    behind: VecDeque<Operation>,
    scan: Option<Scan>,
    leaves_at: Option<u64>,
    past: Past,
}

/// The clients in their world. The last one is the reader, who looks when all else is quiet.
pub struct Play {
    world: World,
    players: Vec<Player>,
    reader: usize,
    scans: bool,
    error: Option<String>,
}

/// Turns after which a run that has not come to its end is stuck.
const TURNS_MAX: u64 = 40_000;

impl Play {
    /// A world whose size, clients and events the seed decides.
    pub fn new(seed: u64, tamper: Option<Tamper>) -> Self {
        let mut random = Random::new(seed ^ 0xC0DE);
        let theme = Theme::choose(&mut random);
        let mut world = World::new(2 + random.below(7), seed);
        let clients = 2 + random.below(3);
        let resp3 = random.below(2) == 0 || theme.needs_resp3();
        let mut players: Vec<Player> = (0..=clients).map(|_| Player::default()).collect();
        for _ in 0..=clients {
            let client = world.connect();
            if resp3 {
                world.send(client, &["HELLO", "3"]);
            }
        }
        world.run();
        world.clients.iter_mut().for_each(|client| client.received.clear());
        let scans = theme.scans();
        let mut writer = Writer { random: &mut random, theme: &theme, clients, written: 0 };
        players[..clients].iter_mut().for_each(|player| player.program = writer.program());
        if let Some(tamper) = tamper {
            world.tamper_with_mail(tamper);
        }
        Self { world, players, reader: clients, scans, error: None }
    }

    /// Runs to the end; each client's past. An error when it does not come to an end, or leaves something behind.
    pub fn run(&mut self) -> Result<Vec<Past>, String> {
        if self.scans {
            let stable: Vec<String> = (0..STABLE).map(|number| format!("p{number} {number}")).collect();
            self.ask(&format!("MSET {}", stable.join(" ")))?;
        }
        let mut still = 0;
        loop {
            self.start_steps();
            self.step()?;
            let idle = |player: &Player| player.under_way.is_none() && player.program.is_empty();
            let stands = |player: &Player| player.under_way.is_some() && player.leaves_at.is_none() || idle(player);
            still = if self.world.is_quiet() && self.players.iter().all(stands) { still + 1 } else { 0 };
            if still > 40 * self.world.shards() {
                if self.players.iter().all(idle) {
                    break;
                }
                self.end_a_wait()?;
                still = 0;
            }
        }
        let strings: Vec<String> = (0..STRINGS).map(|number| format!("s{number}")).collect();
        self.ask(&format!("MGET {}", strings.join(" ")))?;
        for list in 0..LISTS {
            self.ask(&format!("LRANGE l{list} 0 -1"))?;
        }
        self.nothing_is_left()?;
        Ok(self.players.iter_mut().map(|player| std::mem::take(&mut player.past)).collect())
    }

    /// Lets some of the clients begin that have nothing under way.
    fn start_steps(&mut self) {
        for client in 0..self.players.len() {
            if self.players[client].under_way.is_some() || self.world.random.below(4) > 0 {
                continue;
            }
            match self.players[client].program.pop_front() {
                None => {}
                Some(Step::Send(request)) => self.send(client, request),
                Some(Step::SendAll(requests)) => requests.into_iter().for_each(|request| self.send(client, request)),
                Some(Step::Scan(step)) => {
                    self.players[client].scan = Some(Scan { step, found: BTreeSet::new() });
                    self.send(client, vec![words(&format!("SCAN 0 COUNT {step}"))]);
                }
                Some(Step::SendAndLeave(request)) => {
                    self.send(client, request);
                    self.players[client].leaves_at = Some(self.world.turns + 1 + self.world.random.below(60) as u64);
                }
            }
        }
    }

    fn send(&mut self, client: usize, asked: Request) {
        for command in &asked {
            let mut command = command.clone();
            if command[0] == "CLIENT" {
                let target: usize = command[2][1..].parse().expect("the number of a client");
                command[2] = self.world.clients[target].id.to_string();
            }
            self.world.send_bytes(client, request(&command));
        }
        let (sent, sent_ms) = (self.world.turns, self.world.now);
        let (answered, answered_ms) = (NEVER, i64::MAX);
        let operation = Operation { request: asked, replies: Vec::new(), sent, answered, sent_ms, answered_ms };
        let player = &mut self.players[client];
        match player.under_way {
            Some(_) => player.behind.push_back(operation),
            None => player.under_way = Some(operation),
        }
    }

    /// A turn of the world, and what clients make of it.
    fn step(&mut self) -> Result<(), String> {
        self.world.step();
        for client in 0..self.players.len() {
            self.read(client);
            if self.players[client].leaves_at.is_some_and(|at| at <= self.world.turns) {
                self.leave(client);
            }
        }
        if self.world.turns > TURNS_MAX {
            return Err(format!("stuck: {}", self.under_way()));
        }
        self.error.take().map_or(Ok(()), Err)
    }

    fn under_way(&self) -> String {
        let operations = self.players.iter().filter_map(|player| player.under_way.as_ref());
        let requests = operations.map(|operation| operation.request.iter().map(|words| words.join(" ")));
        requests.map(|words| words.collect::<Vec<_>>().join("; ")).collect::<Vec<_>>().join(" | ")
    }

    fn leave(&mut self, client: usize) {
        self.world.leave(client);
        let player = &mut self.players[client];
        for mut operation in player.under_way.take().into_iter().chain(std::mem::take(&mut player.behind)) {
            operation.replies.clear();
            player.past.operations.push(operation);
        }
        player.program.clear();
        (player.leaves_at, player.past.left) = (None, Some(self.world.turns));
    }

    /// Takes what a client has been sent.
    fn read(&mut self, client: usize) {
        for reply in Reply::all(&std::mem::take(&mut self.world.clients[client].received)) {
            self.take(client, reply);
        }
    }

    fn take(&mut self, client: usize, reply: Reply) {
        let (now, now_ms) = (self.world.turns, self.world.now);
        let player = &mut self.players[client];
        if let Reply::Push(parts) = &reply
            && matches!(parts[0].bytes(), b"message" | b"pmessage")
        {
            let (name, payload) = (parts[1].text(), parts[parts.len() - 1].text());
            return player.past.heard.push(Heard { at: now, name, payload });
        }
        let Some(operation) = &mut player.under_way else {
            self.error = Some(format!("client {client} is answered though it has asked nothing: {reply}"));
            return;
        };
        operation.replies.push(reply);
        if operation.replies.len() < operation.request.len() {
            return;
        }
        (operation.answered, operation.answered_ms) = (now, now_ms);
        let operation = player.under_way.take().expect("it was answered just now");
        player.under_way = player.behind.pop_front();
        match player.scan.is_some() {
            true => self.scanned(client, &operation.replies[0]),
            false => player.past.operations.push(operation),
        }
    }

    /// A client goes on with its SCAN, or has come to its end and must have found all keys that were always there.
    fn scanned(&mut self, client: usize, reply: &Reply) {
        let scan = self.players[client].scan.as_mut().expect("it scans");
        let (cursor, step) = (reply.elements()[0].text(), scan.step);
        scan.found.extend(reply.elements()[1].elements().iter().map(Reply::text));
        if cursor != "0" {
            return self.send(client, vec![words(&format!("SCAN {cursor} COUNT {step}"))]);
        }
        let missed = (0..STABLE).map(|number| format!("p{number}")).find(|key| !scan.found.contains(key));
        self.error = self.error.take().or(missed.map(|key| format!("SCAN has missed {key}")));
        self.players[client].scan = None;
    }

    /// The reader asks and is answered.
    fn ask(&mut self, command: &str) -> Result<Reply, String> {
        self.send(self.reader, vec![words(command)]);
        while self.players[self.reader].under_way.is_some() {
            self.step()?;
        }
        let asked = self.players[self.reader].past.operations.last().expect("it was answered");
        Ok(asked.replies[0].clone())
    }

    fn wait_a_while(&mut self) -> Result<(), String> {
        self.world.now += 100;
        // Mail may be slow.
        let mut left = 40 * self.world.shards();
        while left > 0 || !self.world.is_quiet() {
            self.step()?;
            left = left.saturating_sub(1);
        }
        Ok(())
    }

    /// Nothing is on its way, and somebody is not answered: that must be for lack of an element. One of them is unblocked
    /// or leaves.
    fn end_a_wait(&mut self) -> Result<(), String> {
        let waits =
            |player: &Player| player.under_way.as_ref().filter(|operation| blocks(&operation.request)).is_some();
        if let Some(client) = self.players.iter().position(|player| player.under_way.is_some() && !waits(player)) {
            return Err(format!("client {client} is not answered: {}", self.under_way()));
        }
        let waiting: Vec<usize> = (0..self.reader).filter(|client| waits(&self.players[*client])).collect();
        for &client in &waiting {
            let command = self.players[client].under_way.as_ref().expect("it waits").request[0].clone();
            for key in wait_of(&command).expect("it waits").keys {
                let len = self.ask(&format!("LLEN {key}"))?;
                if len != Reply::Integer(0) && waits(&self.players[client]) {
                    return Err(format!("client {client} sleeps beside {key}: {}", command.join(" ")));
                }
            }
        }
        self.wait_a_while()?;
        for &client in &waiting {
            let Some(operation) = &self.players[client].under_way else { continue };
            if wait_of(&operation.request[0]).expect("it waits").timeout_ms > 0 {
                return Err(format!("client {client} sleeps past its time: {}", operation.request[0].join(" ")));
            }
        }
        if let Some(&client) = waiting.iter().find(|client| waits(&self.players[**client])) {
            match self.world.random.below(3) {
                0 => self.leave(client),
                1 => drop(self.ask(&format!("CLIENT UNBLOCK @{client} ERROR"))?),
                _ => drop(self.ask(&format!("CLIENT UNBLOCK @{client} TIMEOUT"))?),
            }
        }
        Ok(())
    }

    /// When all clients have gone, so has all that the server knew of them.
    fn nothing_is_left(&mut self) -> Result<(), String> {
        self.wait_a_while()?;
        if let Some(core) = self.world.engines().position(|engine| !engine.is_settled()) {
            return Err(format!("core {core} is left with locks or transactions"));
        }
        (0..self.players.len()).for_each(|client| self.world.leave(client));
        self.wait_a_while()?;
        for engine in self.world.engines() {
            let metrics = engine.metrics();
            let left = [
                ("registrations of waits", engine.waiting_registrations() as u64),
                ("clients that wait", metrics.blocked_clients.get()),
                ("ends of waits", engine.next_deadline().is_some().into()),
                ("clients that watch", engine.watching_clients() as u64),
                ("channels", u64::from(!engine.node().interest.is_deaf())),
                ("replies under way", engine.awaits_replies().into()),
                ("clients", metrics.clients.get()),
            ];
            if let Some((what, count)) = left.into_iter().find(|(_, count)| *count > 0) {
                return Err(format!("core {} is left with {count} {what}", engine.core().0));
            }
        }
        Ok(())
    }
}
