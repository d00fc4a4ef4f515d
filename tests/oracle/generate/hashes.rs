//! Commands on hashes.

use super::{Command, Family, Gen, cmd};

/// A command on hashes.
pub fn command(g: &mut Gen) -> Command {
    let key = g.key(Family::Hashes);
    match g.below(30) {
        0..=4 => fields_and_values(g, "HSET", key),
        5 => fields_and_values(g, "HMSET", key),
        6 => cmd!["HSETNX", key, g.member(), g.value()],
        7 | 8 => cmd!["HGET", key, g.member()],
        9 => [cmd!["HMGET", key], g.members(4)].concat(),
        10 | 11 => [cmd!["HDEL", key], g.members(4)].concat(),
        12 | 13 => cmd!["HGETALL", key],
        14 => cmd!["HEXISTS", key, g.member()],
        15 => cmd!["HKEYS", key],
        16 => cmd!["HVALS", key],
        17 => cmd!["HLEN", key],
        18 => cmd!["HSTRLEN", key, g.member()],
        19 | 20 => cmd!["HINCRBY", key, g.member(), g.integer()],
        21 | 22 => cmd!["HINCRBYFLOAT", key, g.member(), g.float()],
        23 => cmd!["HSET", key, g.member(), g.integer()],
        24 | 25 => hrandfield(g, key),
        26 | 27 => {
            let mut command = cmd!["HSCAN", key, g.cursor()];
            g.scan_options(&mut command);
            command
        }
        28 if g.chance(40) => {
            let pairs = g.many_members().into_iter().flat_map(|member| [member, "v".into()]);
            cmd!["HSET", key].into_iter().chain(pairs).collect()
        }
        _ => cmd!["HSET", key, "x".repeat(g.pick(&[63, 64, 65])), "x".repeat(g.pick(&[63, 64, 65]))],
    }
}

fn fields_and_values(g: &mut Gen, name: &str, key: Vec<u8>) -> Command {
    let mut command = cmd![name, key];
    for _ in 0..=g.below(5) {
        command.extend([g.member(), g.value()]);
    }
    command
}

fn hrandfield(g: &mut Gen, key: Vec<u8>) -> Command {
    let mut command = cmd!["HRANDFIELD", key];
    match g.below(10) {
        0..=2 => return command,
        3..=6 => command.push(g.below(10).to_string().into()),
        7 | 8 => command.push(g.pick(&["-1", "-5", "-20"]).into()),
        _ => command.push(g.pick(&["-9223372036854775808", "9223372036854775807", "abc", "", "1.5", "1000"]).into()),
    }
    if g.chance(50) {
        command.push(g.word("WITHVALUES"));
    }
    if g.chance(3) {
        command.push(g.word("WITHSCORES"));
    }
    command
}
