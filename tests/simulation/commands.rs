//! Commands over several shards, one after another and all at once: replies in order, clients that leave or end their side,
//! pauses, databases, silence.

use super::world::{World, each_seed, requests};
use crimson::stdx::random::Random;
use std::collections::HashMap;

/// A bulk string as it is sent.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Each client works on keys of its own with a pipeline of everything that crosses shards; the replies must be those of
/// one command after another.
fn pipelines_are_answered_in_order(seed: u64) {
    let mut random = Random::new(seed);
    let shards = 1 + random.below(8);
    let mut world = World::new(shards, seed);
    let clients: Vec<usize> = (0..4).map(|_| world.connect()).collect();
    let mut expected = vec![String::new(); clients.len()];
    for (number, expected) in expected.iter_mut().enumerate() {
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
            world.send(clients[number], &arguments);
            expected.push_str(&reply);
        }
    }
    world.run();
    for (client, expected) in clients.into_iter().zip(&expected) {
        assert_eq!(world.take_received(client), *expected, "{shards} shards");
    }
}

/// A client that goes away while replies are on their way leaves nothing behind, and nobody gets its replies.
fn a_client_that_leaves_takes_its_replies_with_it(seed: u64) {
    let mut world = World::new(4, seed);
    let kept = world.connect();
    world.send(kept, &["SET", "kept", "1"]);
    let core = world.clients[kept].core;
    let leaver = world.connect_to(core);
    for key in 0..20 {
        world.send(leaver, &["GET", &format!("key:{key}")]);
    }
    world.send(leaver, &["MGET", "a", "b", "c", "d", "e"]);
    while !world.clients[leaver].input.is_empty() {
        world.turn(core);
    }
    world.leave(leaver);
    world.run();
    assert_eq!(world.take_received(kept), "+OK\r\n");
    assert!(!world.engine(core).awaits_replies());
    let left = world.engine(core).session_keys();
    assert_eq!(left, [world.clients[kept].key], "the session that left is gone with its last reply");
}

/// What one client is answered that sends all this in one go and then ends its side of the connection.
pub fn answers_after_the_end_of_input(world: &mut World, all: &[&[&str]]) -> String {
    let client = world.connect();
    world.send_bytes(client, requests(all));
    world.end_input(client);
    world.run();
    assert!(world.clients[client].gone, "it is closed when it has been answered");
    world.take_received(client)
}

/// All that a client sent before it ended its side is run, even behind commands that wait for other cores.
fn what_was_sent_before_the_end_of_input_is_run(seed: u64) {
    let mut world = World::new(4, seed);
    let requests: &[&[&str]] = &[&["DBSIZE"], &["SET", "a", "1"], &["DBSIZE"], &["SET", "b", "2"], &["MGET", "a", "b"]];
    let answers = answers_after_the_end_of_input(&mut world, requests);
    assert_eq!(answers, ":0\r\n+OK\r\n:1\r\n+OK\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
}

/// A client can look at itself from within a pipeline that has waited for other cores.
/// What a client sends that wants no replies keeps its order too, where locks hold up some of it.
fn silent_commands_keep_their_order(seed: u64) {
    let mut world = World::new(4, seed);
    let there_and_back: &[&[&str]] = &[&["RENAME", "a", "b"], &["RENAME", "b", "a"]];
    for _ in 0..3 {
        let client = world.connect();
        world.send_bytes(client, requests(&there_and_back.repeat(10)));
    }
    let keys: Vec<String> = (0..4).map(|number| format!("{{a}}{number}")).collect();
    for key in &keys {
        let client = world.connect();
        world.send(client, &["CLIENT", "REPLY", "OFF"]);
        let round: &[&[&str]] = &[&["GET", "a"], &["SET", key, "old"], &["MSET", key, "new", "y", "1", "z", "1"]];
        world.send_bytes(client, requests(&round.repeat(4)));
    }
    world.run();
    for key in &keys {
        assert_eq!(answers_after_the_end_of_input(&mut world, &[&["GET", key]]), bulk("new"));
    }
}

#[test]
fn client_info_behind_a_command_that_waited() {
    let mut world = World::new(4, 0);
    let answers = answers_after_the_end_of_input(&mut world, &[&["DBSIZE"], &["CLIENT", "INFO"], &["PING"]]);
    assert!(answers.starts_with(":0\r\n") && answers.contains(" qbuf=0 ") && answers.ends_with("+PONG\r\n"));
}

/// A pause holds up the commands it concerns and all that the same client sent behind them, in order.
fn a_pause_keeps_the_order_of_commands(seed: u64) {
    let mut world = World::new(4, seed);
    answers_after_the_end_of_input(&mut world, &[&["MSET", "a", "1", "c", "3"]]);
    let until = world.now + 60;
    let now = world.now;
    world.engine(0).node().clone().pause(now, until, true);
    let client = world.connect();
    let all: [&[&str]; 6] =
        [&["GET", "a"], &["GET", "c"], &["RENAME", "a", "b"], &["GET", "b"], &["RENAME", "b", "d"], &["GET", "d"]];
    world.send_bytes(client, requests(&all));
    while world.now < until + 200 {
        world.run();
    }
    let (one, three) = (bulk("1"), bulk("3"));
    assert_eq!(world.take_received(client), format!("{one}{three}+OK\r\n{one}+OK\r\n{one}"));
}

/// A command over several shards touches only the databases it names.
fn other_databases_are_left_alone(seed: u64) {
    let mut world = World::new(4, seed);
    let (mover, writer) = (world.connect(), world.connect());
    world.send(writer, &["SELECT", "5"]);
    let (mut moved, mut written) = (String::new(), "+OK\r\n".to_string());
    for round in 0..20 {
        let value = format!("v{round}");
        world.send_bytes(mover, requests(&[&["SET", "a", "1"], &["RENAME", "a", "b"]]));
        moved.push_str("+OK\r\n+OK\r\n");
        world.send_bytes(writer, requests(&[&["SET", "b", &value], &["DBSIZE"], &["GET", "b"]]));
        written.push_str(&format!("+OK\r\n:1\r\n{}", bulk(&value)));
    }
    world.run();
    assert_eq!((world.take_received(mover), world.take_received(writer)), (moved, written));
}

/// A client that wants no replies gets none, not even errors of commands that concern several shards.
fn silenced_clients_hear_nothing(seed: u64) {
    let mut world = World::new(4, seed);
    let requests: &[&[&str]] = &[
        &["CLIENT", "REPLY", "OFF"],
        &["MSET", "a", "1", "b", "2", "c"],
        &["MGET", "a", "b", "c"],
        &["RENAME", "nosuch", "b"],
        &["NOSUCH"],
        &["CLIENT", "REPLY", "ON"],
    ];
    let answers = answers_after_the_end_of_input(&mut world, requests);
    assert_eq!(answers, "+OK\r\n");
}

/// A client that is killed in the turn in which it is answered is closed all the same.
#[test]
fn killed_clients_are_closed_even_when_they_have_just_been_answered() {
    let mut world = World::new(1, 0);
    let (victim, killer) = (world.connect(), world.connect());
    world.send(victim, &["PING"]);
    world.send(killer, &["CLIENT", "KILL", "ID", "1"]);
    world.settle();
    assert_eq!((world.take_received(victim), world.take_received(killer)), ("+PONG\r\n".into(), ":1\r\n".into()));
    assert!(world.clients[victim].gone && !world.clients[killer].gone);
}

#[test]
fn replies_keep_the_order_of_requests_over_any_number_of_shards() {
    each_seed(300, pipelines_are_answered_in_order);
}

#[test]
fn half_closed_clients_are_served_to_the_end() {
    each_seed(300, what_was_sent_before_the_end_of_input_is_run);
}

#[test]
fn pauses_keep_the_order() {
    each_seed(40, a_pause_keeps_the_order_of_commands);
}

#[test]
fn databases_do_not_mix() {
    each_seed(300, other_databases_are_left_alone);
}

#[test]
fn silence_is_kept() {
    each_seed(300, silenced_clients_hear_nothing);
}

#[test]
fn leaving_clients_are_forgotten() {
    each_seed(300, a_client_that_leaves_takes_its_replies_with_it);
}

#[test]
fn silent_commands_are_not_overtaken() {
    each_seed(100, silent_commands_keep_their_order);
}
