//! Commands on sets.

use super::{Command, Family, Gen, cmd};

/// A command on sets.
pub fn command(g: &mut Gen) -> Command {
    let key = g.key(Family::Sets);
    match g.below(34) {
        0..=6 => [cmd!["SADD", key], g.members(8)].concat(),
        7..=9 => [cmd!["SREM", key], g.members(4)].concat(),
        10 => cmd!["SMEMBERS", key],
        11 => cmd!["SISMEMBER", key, g.member()],
        12 => [cmd!["SMISMEMBER", key], g.members(4)].concat(),
        13 => cmd!["SCARD", key],
        14 | 15 => counted(g, "SPOP", key),
        16 | 17 => counted(g, "SRANDMEMBER", key),
        18 | 19 => cmd!["SMOVE", key, g.key(Family::Sets), g.member()],
        20 => combine(g, "SINTER"),
        21 => combine(g, "SUNION"),
        22 => combine(g, "SDIFF"),
        23 | 24 => store(g, "SINTERSTORE"),
        25 | 26 => store(g, "SUNIONSTORE"),
        27 | 28 => store(g, "SDIFFSTORE"),
        29 | 30 => sintercard(g),
        31 | 32 => {
            let mut command = cmd!["SSCAN", key, g.cursor()];
            g.scan_options(&mut command);
            command
        }
        _ => [cmd!["SADD", key], g.many_members()].concat(),
    }
}

fn counted(g: &mut Gen, name: &str, key: Vec<u8>) -> Command {
    let mut command = cmd![name, key];
    match g.below(10) {
        0..=3 => {}
        4..=7 => command.push(g.below(10).to_string().into()),
        8 => command.push(g.pick(&["-1", "-5", "-20"]).into()),
        _ => command.push(g.pick(&["9223372036854775807", "-9223372036854775808", "abc", "", "1.5", "1000"]).into()),
    }
    command
}

fn combine(g: &mut Gen, name: &str) -> Command {
    [cmd![name], g.keys(Family::Sets, 3)].concat()
}

fn store(g: &mut Gen, name: &str) -> Command {
    [cmd![name, g.key(Family::Sets)], g.keys(Family::Sets, 3)].concat()
}

fn sintercard(g: &mut Gen) -> Command {
    let keys = g.keys(Family::Sets, 3);
    let count = if g.chance(90) { keys.len().to_string().into() } else { g.integer() };
    let mut command = [cmd!["SINTERCARD", count], keys].concat();
    if g.chance(50) {
        command.extend([g.word("LIMIT"), g.count()]);
    }
    command
}
