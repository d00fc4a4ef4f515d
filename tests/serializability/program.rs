//! What clients send: commands on few keys, so that they conflict. Keys that begin with `s` hold strings, with `l` lists.

use crimson::stdx::random::Random;
use std::collections::VecDeque;

/// Requests of one client: most are one command, some a whole transaction.
pub fn write(random: &mut Random) -> VecDeque<Vec<Vec<String>>> {
    let mut program = VecDeque::new();
    for _ in 0..3 + random.below(4) {
        match random.below(5) {
            0 => program.push_back(transaction(random)),
            1 => {
                program.push_back(vec![words(&format!("WATCH {} {}", string(random), list(random)))]);
                program.push_back(vec![command(random)]);
                program.push_back(transaction(random));
            }
            _ => program.push_back(vec![command(random)]),
        }
    }
    program
}

fn transaction(random: &mut Random) -> Vec<Vec<String>> {
    let commands = (0..1 + random.below(4)).map(|_| command(random)).collect::<Vec<_>>();
    [vec![words("MULTI")], commands, vec![words("EXEC")]].concat()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_string).collect()
}

fn command(random: &mut Random) -> Vec<String> {
    let value = random.below(90).to_string();
    let (a, b, c) = (string(random), string(random), string(random));
    let (from, to) = (list(random), list(random));
    let text = match random.below(24) {
        0 => format!("SET {a} {value}"),
        1 => format!("GET {a}"),
        2 => format!("INCR {a}"),
        3..=5 => format!("MSET {a} {value} {b} {value} {c} {value}"),
        6..=8 => format!("MGET {a} {b} {c}"),
        9 => format!("DEL {a} {b} {to}"),
        10 => format!("EXISTS {a} {b} {from}"),
        11 | 12 => format!("RENAME {a} {b}"),
        13 => format!("RENAMENX {a} {b}"),
        14 => format!("COPY {a} {b} REPLACE"),
        15 => format!("MSETNX {a} {value} {b} {value}"),
        16 | 17 => format!("RPUSH {from} {value}"),
        18 => format!("LPOP {from}"),
        19..=21 => format!("LMOVE {from} {to} LEFT RIGHT"),
        22 => "DBSIZE".to_string(),
        _ => ["FLUSHALL", "DBSIZE", "LLEN l0"][random.below(3)].to_string(),
    };
    words(&text)
}

fn string(random: &mut Random) -> String {
    format!("s{}", random.below(4))
}

fn list(random: &mut Random) -> String {
    format!("l{}", random.below(3))
}
