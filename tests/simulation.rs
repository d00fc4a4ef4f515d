//! Several engines in one thread, their messages delivered in an order that a seed decides: in order between two cores,
//! in any order between pairs. A failure prints its seed; `SIMULATION_SEED` runs just that one, `SIMULATION_CASES` more.

#[path = "simulation/pubsub.rs"]
mod pubsub;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "support/reply.rs"]
mod reply;
#[path = "simulation/transactions.rs"]
mod transactions;

use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::engine::message::Message;
use crimson::session::{Identity, SessionKey};
use crimson::stdx::random::Random;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Engines with the messages that are on their way between them.
struct Simulation {
    engines: Vec<Engine>,
    /// By sender and receiver.
    mail: HashMap<(usize, usize), VecDeque<Message>>,
    random: Random,
    now: i64,
}

/// A client on one of the cores, and the bytes it has been sent.
struct Client {
    core: usize,
    key: SessionKey,
    received: Vec<u8>,
}

impl Simulation {
    fn new(shards: usize, seed: u64) -> Self {
        let now = 1_700_000_000_000;
        let node = Node::new(Config::default(), shards, table().entries().len(), "0".repeat(40), now);
        let node = Arc::new(node);
        let engine = |core| Engine::new(crimson::shard::ShardId(core as u16), node.clone(), seed + core as u64, now);
        let engines = (0..shards).map(engine).collect();
        Self { engines, mail: HashMap::new(), random: Random::new(seed), now }
    }

    fn connect(&mut self) -> Client {
        let core = self.random.below(self.engines.len());
        let key = self.engines[core].connect(Identity::default(), false);
        Client { core, key, received: Vec::new() }
    }

    /// A turn of one core: what `clients` sent to it, and one message from each sender that has any.
    fn turn(&mut self, core: usize, clients: &mut [Client], input: &mut [VecDeque<u8>]) {
        self.now += self.random.below(3) as i64;
        let engine = &mut self.engines[core];
        engine.begin_turn(self.now);
        for sender in 0..self.mail.len().max(16) {
            if self.random.below(3) > 0
                && let Some(message) = self.mail.get_mut(&(sender, core)).and_then(VecDeque::pop_front)
            {
                engine.message(message);
            }
        }
        for (client, input) in clients.iter().zip(input.iter_mut()).filter(|(client, _)| client.core == core) {
            let len = self.random.below(input.len() + 1);
            let bytes: Vec<u8> = input.drain(..len).collect();
            if !bytes.is_empty() {
                engine.receive(client.key, &bytes);
            }
        }
        engine.end_turn();
        let mut outgoing = Vec::new();
        engine.take_outgoing(&mut outgoing);
        for (to, message) in outgoing {
            self.mail.entry((core, to.index())).or_default().push_back(message);
        }
        for client in clients.iter_mut().filter(|client| client.core == core) {
            if let Some(session) = engine.session_mut(client.key) {
                let output = std::mem::take(&mut session.output);
                let mut start = 0;
                for pin in &output.pins {
                    client.received.extend_from_slice(&output.bytes[start..pin.at]);
                    client.received.extend_from_slice(&pin.value);
                    start = pin.at;
                }
                client.received.extend_from_slice(&output.bytes[start..]);
            }
        }
        engine.take_dirty(&mut Vec::new());
    }

    /// Runs until nothing is on its way any more.
    fn run(&mut self, clients: &mut [Client], input: &mut [VecDeque<u8>]) {
        let mut quiet = 0;
        while quiet < 8 {
            for _ in 0..self.engines.len() * 4 {
                let core = self.random.below(self.engines.len());
                self.turn(core, clients, input);
            }
            let done = input.iter().all(VecDeque::is_empty) && self.mail.values().all(VecDeque::is_empty);
            quiet = if done { quiet + 1 } else { 0 };
        }
    }
}

fn request(arguments: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
    }
    bytes
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Each client works on keys of its own with a pipeline of everything that crosses shards; the replies must be those of
/// one command after another.
fn pipelines_are_answered_in_order(seed: u64) {
    let mut random = Random::new(seed);
    let shards = 1 + random.below(8);
    let mut simulation = Simulation::new(shards, seed);
    let mut clients: Vec<Client> = (0..4).map(|_| simulation.connect()).collect();
    let mut input = vec![VecDeque::new(); clients.len()];
    let mut expected = vec![String::new(); clients.len()];
    for (number, (input, expected)) in input.iter_mut().zip(&mut expected).enumerate() {
        let mut model: HashMap<String, String> = HashMap::new();
        for step in 0..60 {
            let key = |random: &mut Random| format!("c{number}:{}", random.below(6));
            let (a, b) = (key(&mut random), key(&mut random));
            let value = format!("v{step}");
            let shown = |model: &HashMap<String, String>, key: &str| match model.get(key) {
                Some(value) => bulk(value),
                None => "$-1\r\n".into(),
            };
            let (arguments, reply): (Vec<&str>, String) = match random.below(9) {
                0..=2 => {
                    model.insert(a.clone(), value.clone());
                    (vec!["SET", &a, &value], "+OK\r\n".into())
                }
                3 | 4 => (vec!["GET", &a], shown(&model, &a)),
                5 => (vec!["MGET", &a, &b, &a], format!("*3\r\n{}{}{0}", shown(&model, &a), shown(&model, &b))),
                6 => {
                    model.insert(a.clone(), "x".into());
                    model.insert(b.clone(), value.clone());
                    (vec!["MSET", &a, "x", &b, &value], "+OK\r\n".into())
                }
                7 => {
                    let count = i32::from(model.remove(&a).is_some()) + i32::from(model.remove(&b).is_some());
                    (vec!["DEL", &a, &b], format!(":{count}\r\n"))
                }
                _ => match model.remove(&a) {
                    None => (vec!["RENAME", &a, &b], "-ERR no such key\r\n".into()),
                    Some(value) => {
                        model.insert(b.clone(), value);
                        (vec!["RENAME", &a, &b], "+OK\r\n".into())
                    }
                },
            };
            input.extend(request(&arguments));
            expected.push_str(&reply);
        }
    }
    simulation.run(&mut clients, &mut input);
    for (client, expected) in clients.iter().zip(&expected) {
        let received = String::from_utf8_lossy(&client.received);
        assert_eq!(received, *expected, "SIMULATION_SEED={seed}, {shards} shards");
    }
}

/// A client that goes away while replies are on their way leaves nothing behind, and nobody gets its replies.
fn a_client_that_leaves_takes_its_replies_with_it(seed: u64) {
    let mut simulation = Simulation::new(4, seed);
    let mut clients = vec![simulation.connect()];
    let mut input = vec![VecDeque::from(request(&["SET", "kept", "1"]))];
    let core = clients[0].core;
    let leaver = simulation.engines[core].connect(Identity::default(), false);
    simulation.engines[core].begin_turn(simulation.now);
    for key in 0..20 {
        simulation.engines[core].receive(leaver, &request(&["GET", &format!("key:{key}")]));
    }
    simulation.engines[core].receive(leaver, &request(&["MGET", "a", "b", "c", "d", "e"]));
    simulation.engines[core].end_turn();
    simulation.engines[core].disconnect(leaver);
    let mut outgoing = Vec::new();
    simulation.engines[core].take_outgoing(&mut outgoing);
    for (to, message) in outgoing {
        simulation.mail.entry((core, to.index())).or_default().push_back(message);
    }
    simulation.run(&mut clients, &mut input);
    assert_eq!(String::from_utf8_lossy(&clients[0].received), "+OK\r\n", "SIMULATION_SEED={seed}");
    assert!(!simulation.engines[core].awaits_replies());
    let left = simulation.engines[core].session_keys();
    assert_eq!(left, [clients[0].key], "the session that left is gone with its last reply");
}

/// What one client is answered that sends `requests` in one go and then ends its side of the connection; its key.
fn answers_after_the_end_of_input(simulation: &mut Simulation, requests: &[&[&str]]) -> String {
    let mut clients = vec![simulation.connect()];
    let mut input = vec![VecDeque::new()];
    let (core, key) = (clients[0].core, clients[0].key);
    let bytes: Vec<u8> = requests.iter().flat_map(|arguments| request(arguments)).collect();
    simulation.engines[core].begin_turn(simulation.now);
    simulation.engines[core].receive(key, &bytes);
    simulation.engines[core].end_of_input(key);
    simulation.run(&mut clients, &mut input);
    String::from_utf8_lossy(&clients[0].received).into_owned()
}

/// All that a client sent before it ended its side is run, even behind commands that wait for other cores.
fn what_was_sent_before_the_end_of_input_is_run(seed: u64) {
    let mut simulation = Simulation::new(4, seed);
    let requests: &[&[&str]] = &[&["DBSIZE"], &["SET", "a", "1"], &["DBSIZE"], &["SET", "b", "2"], &["MGET", "a", "b"]];
    let answers = answers_after_the_end_of_input(&mut simulation, requests);
    assert_eq!(answers, ":0\r\n+OK\r\n:1\r\n+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n", "SIMULATION_SEED={seed}");
}

/// A client can look at itself from within a pipeline that has waited for other cores.
#[test]
fn client_info_behind_a_command_that_waited() {
    let mut simulation = Simulation::new(4, 0);
    let answers = answers_after_the_end_of_input(&mut simulation, &[&["DBSIZE"], &["CLIENT", "INFO"], &["PING"]]);
    assert!(answers.starts_with(":0\r\n") && answers.contains(" qbuf=0 ") && answers.ends_with("+PONG\r\n"));
}

/// A pause holds up the commands it concerns and all that the same client sent behind them, in order.
fn a_pause_keeps_the_order_of_commands(seed: u64) {
    let mut simulation = Simulation::new(4, seed);
    answers_after_the_end_of_input(&mut simulation, &[&["MSET", "a", "1", "c", "3"]]);
    let until = simulation.now + 60;
    simulation.engines[0].node().clone().pause(simulation.now, until, true);
    let mut clients = vec![simulation.connect()];
    let requests: [&[&str]; 6] =
        [&["GET", "a"], &["GET", "c"], &["RENAME", "a", "b"], &["GET", "b"], &["RENAME", "b", "d"], &["GET", "d"]];
    let mut input = vec![requests.iter().flat_map(|arguments| request(arguments)).collect()];
    while simulation.now < until + 200 {
        simulation.run(&mut clients, &mut input);
    }
    let (one, three) = (bulk("1"), bulk("3"));
    let expected = format!("{one}{three}+OK\r\n{one}+OK\r\n{one}");
    assert_eq!(String::from_utf8_lossy(&clients[0].received), expected, "SIMULATION_SEED={seed}");
}

/// A command over several shards touches only the databases it names.
fn other_databases_are_left_alone(seed: u64) {
    let mut simulation = Simulation::new(4, seed);
    let mut clients = vec![simulation.connect(), simulation.connect()];
    let (mut mover, mut writer) = (Vec::new(), request(&["SELECT", "5"]));
    let (mut moved, mut written) = (String::new(), "+OK\r\n".to_string());
    for round in 0..20 {
        let value = format!("v{round}");
        mover.extend([request(&["SET", "a", "1"]), request(&["RENAME", "a", "b"])].concat());
        moved.push_str("+OK\r\n+OK\r\n");
        writer.extend([request(&["SET", "b", &value]), request(&["DBSIZE"]), request(&["GET", "b"])].concat());
        written.push_str(&format!("+OK\r\n:1\r\n{}", bulk(&value)));
    }
    simulation.run(&mut clients, &mut [mover.into(), writer.into()]);
    assert_eq!(String::from_utf8_lossy(&clients[0].received), moved, "SIMULATION_SEED={seed}");
    assert_eq!(String::from_utf8_lossy(&clients[1].received), written, "SIMULATION_SEED={seed}");
}

/// A client that wants no replies gets none, not even errors of commands that concern several shards.
fn silenced_clients_hear_nothing(seed: u64) {
    let mut simulation = Simulation::new(4, seed);
    let requests: &[&[&str]] = &[
        &["CLIENT", "REPLY", "OFF"],
        &["MSET", "a", "1", "b", "2", "c"],
        &["MGET", "a", "b", "c"],
        &["RENAME", "nosuch", "b"],
        &["NOSUCH"],
        &["CLIENT", "REPLY", "ON"],
    ];
    let answers = answers_after_the_end_of_input(&mut simulation, requests);
    assert_eq!(answers, "+OK\r\n", "SIMULATION_SEED={seed}");
}

/// A client that is killed in the turn in which it is answered is closed all the same.
#[test]
fn killed_clients_are_closed_even_when_they_have_just_been_answered() {
    let mut simulation = Simulation::new(1, 0);
    let (victim, killer) = (simulation.connect(), simulation.connect());
    let engine = &mut simulation.engines[0];
    engine.begin_turn(simulation.now);
    engine.receive(victim.key, &request(&["PING"]));
    engine.receive(killer.key, &request(&["CLIENT", "KILL", "ID", "1"]));
    engine.end_turn();
    let mut closing = Vec::new();
    engine.take_closing(&mut closing);
    assert_eq!(closing, [victim.key]);
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIMULATION_CASES").unwrap_or(300)).collect(),
    }
}

#[test]
fn replies_keep_the_order_of_requests_over_any_number_of_shards() {
    seeds().into_iter().for_each(pipelines_are_answered_in_order);
}

#[test]
fn half_closed_clients_are_served_to_the_end() {
    seeds().into_iter().for_each(what_was_sent_before_the_end_of_input_is_run);
}

#[test]
fn pauses_keep_the_order() {
    seeds().into_iter().take(40).for_each(a_pause_keeps_the_order_of_commands);
}

#[test]
fn databases_do_not_mix() {
    seeds().into_iter().for_each(other_databases_are_left_alone);
}

#[test]
fn silence_is_kept() {
    seeds().into_iter().for_each(silenced_clients_hear_nothing);
}

#[test]
fn leaving_clients_are_forgotten() {
    seeds().into_iter().for_each(a_client_that_leaves_takes_its_replies_with_it);
}
