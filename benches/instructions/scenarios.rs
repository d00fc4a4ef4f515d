//! The requests that are counted.

use crate::loopback::Loopback;
use crimson::config::Config;

/// A kind of request.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Requests in one packet.
    pub pipeline: u64,
    /// The arguments of request `number`.
    pub arguments: fn(number: u64) -> Vec<String>,
    /// What each is answered.
    pub reply: &'static str,
    /// Whether it is logged.
    pub logged: bool,
}

/// Different keys.
const KEYS: u64 = 1000;

fn key(number: u64) -> String {
    format!("key:{:012}", number * 7919 % KEYS)
}

const VALUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BULK: &str = "$64\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "ping", pipeline: 1, arguments: |_| vec!["PING".into()], reply: "+PONG\r\n", logged: false },
    Scenario { name: "get", pipeline: 1, arguments: |n| vec!["GET".into(), key(n)], reply: BULK, logged: false },
    Scenario {
        name: "set",
        pipeline: 1,
        arguments: |n| vec!["SET".into(), key(n), VALUE.into()],
        reply: "+OK\r\n",
        logged: false,
    },
    Scenario {
        name: "ping_pipelined_16",
        pipeline: 16,
        arguments: |_| vec!["PING".into()],
        reply: "+PONG\r\n",
        logged: false,
    },
    Scenario {
        name: "get_pipelined_16",
        pipeline: 16,
        arguments: |n| vec!["GET".into(), key(n)],
        reply: BULK,
        logged: false,
    },
    Scenario {
        name: "set_pipelined_16",
        pipeline: 16,
        arguments: |n| vec!["SET".into(), key(n), VALUE.into()],
        reply: "+OK\r\n",
        logged: false,
    },
    Scenario {
        name: "set_pipelined_16_logged",
        pipeline: 16,
        arguments: |n| vec!["SET".into(), key(n), VALUE.into()],
        reply: "+OK\r\n",
        logged: true,
    },
    Scenario {
        name: "incr_pipelined_16",
        pipeline: 16,
        arguments: |n| vec!["INCRBY".into(), format!("counter:{}", key(n)), "0".into()],
        reply: ":0\r\n",
        logged: false,
    },
    Scenario {
        name: "append_pipelined_16",
        pipeline: 16,
        arguments: |n| vec!["APPEND".into(), key(n), String::new()],
        reply: ":64\r\n",
        logged: false,
    },
    Scenario {
        name: "expire_pipelined_16",
        pipeline: 16,
        arguments: |n| vec!["EXPIRE".into(), key(n), "100000".into()],
        reply: ":1\r\n",
        logged: false,
    },
    Scenario {
        name: "set_nx_pipelined_16",
        pipeline: 16,
        arguments: |n| vec!["SET".into(), key(n), VALUE.into(), "NX".into()],
        reply: "$-1\r\n",
        logged: false,
    },
];

fn encode(arguments: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        bytes += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    bytes.into_bytes()
}

/// Runs `requests` requests of the scenario through a fresh engine; panics when one is not answered as it must be.
///
/// All packets are made before the first is sent, and one cycle of them is repeated, so that making them is no part of
/// what is counted.
pub fn run(scenario: &Scenario, requests: u64) {
    let mut engine = Loopback::new(Config::default());
    if scenario.logged {
        engine.log();
    }
    let mut reply = Vec::with_capacity(64 * 1024);
    for number in 0..KEYS {
        engine.turn(&encode(&["SET".into(), key(number), VALUE.into()]), &mut reply);
    }
    let packets: Vec<Vec<u8>> = (0..64)
        .map(|packet| {
            let numbers = packet * scenario.pipeline..(packet + 1) * scenario.pipeline;
            numbers.flat_map(|number| encode(&(scenario.arguments)(number))).collect()
        })
        .collect();
    let expected = scenario.reply.repeat(scenario.pipeline as usize);
    for packet in packets.iter().take(4) {
        reply.clear();
        engine.turn(packet, &mut reply);
        assert!(reply == expected.as_bytes(), "{}: {}", scenario.name, reply.escape_ascii());
    }
    let turns = requests / scenario.pipeline;
    let answered = send_all(&mut engine, &packets, turns, &mut reply);
    assert_eq!(answered, turns as usize * expected.len(), "{}: bytes of all replies", scenario.name);
}

/// Sends the packets in turn; how many bytes came back. Callgrind counts what happens in here.
#[inline(never)]
fn send_all(engine: &mut Loopback, packets: &[Vec<u8>], turns: u64, reply: &mut Vec<u8>) -> usize {
    let mut answered = 0;
    for turn in 0..turns {
        reply.clear();
        engine.turn(&packets[(turn % 64) as usize], reply);
        answered += reply.len();
    }
    answered
}
