//! Commands on lists.

use super::{Command, Family, Gen, cmd};

/// A command on lists.
pub fn command(g: &mut Gen) -> Command {
    let key = g.key(Family::Lists);
    match g.below(36) {
        0..=3 => push(g, "LPUSH", key),
        4..=7 => push(g, "RPUSH", key),
        8 => push(g, "LPUSHX", key),
        9 => push(g, "RPUSHX", key),
        10 => pop(g, "LPOP", key),
        11 => pop(g, "RPOP", key),
        12 | 13 => cmd!["LRANGE", key, g.index(), g.index()],
        14 => cmd!["LLEN", key],
        15 | 16 => cmd!["LINDEX", key, g.index()],
        17 | 18 => cmd!["LSET", key, g.index(), g.value()],
        19 | 20 => cmd!["LINSERT", key, side(g, "BEFORE", "AFTER"), g.member(), g.value()],
        21 | 22 => cmd!["LREM", key, g.index(), g.member()],
        23 => cmd!["LTRIM", key, g.index(), g.index()],
        24..=26 => lpos(g, key),
        27 | 28 => cmd!["LMOVE", key, g.key(Family::Lists), side(g, "LEFT", "RIGHT"), side(g, "LEFT", "RIGHT")],
        29 => cmd!["RPOPLPUSH", key, g.key(Family::Lists)],
        30..=32 => lmpop(g),
        33 | 34 => blocking(g),
        _ if g.chance(30) => [cmd![g.pick(&["LPUSH", "RPUSH"]), key], g.many_members()].concat(),
        _ => cmd!["RPUSH", key, "x".repeat(g.pick(&[4000, 8200, 9000]))],
    }
}

/// What may wait, but not for long.
fn blocking(g: &mut Gen) -> Command {
    let timeout = g.pick(&["0.001", "0.001", "0.001", "0.002", "1e-3", "-1", "x"]);
    let (key, other) = (g.key(Family::Lists), g.key(Family::Lists));
    let (from, to) = (side(g, "LEFT", "RIGHT"), side(g, "LEFT", "RIGHT"));
    match g.below(5) {
        0 => cmd!["BLPOP", key, other, timeout],
        1 => cmd!["BRPOP", key, timeout],
        2 => cmd!["BLMOVE", key, other, from, to, timeout],
        3 => cmd!["BRPOPLPUSH", key, other, timeout],
        _ => cmd!["BLMPOP", timeout, "2", key, other, from, "COUNT", g.pick(&["0", "1", "3"])],
    }
}

fn push(g: &mut Gen, name: &str, key: Vec<u8>) -> Command {
    [cmd![name, key], g.members(6)].concat()
}

fn pop(g: &mut Gen, name: &str, key: Vec<u8>) -> Command {
    let mut command = cmd![name, key];
    if g.chance(60) {
        command.push(g.count());
    }
    command
}

/// One of two keywords, rarely neither.
fn side(g: &mut Gen, one: &str, other: &str) -> Vec<u8> {
    match g.below(20) {
        0 => "MIDDLE".into(),
        1..=10 => g.word(one),
        _ => g.word(other),
    }
}

fn lpos(g: &mut Gen, key: Vec<u8>) -> Command {
    let mut command = cmd!["LPOS", key, g.member()];
    if g.chance(50) {
        command.extend([g.word("RANK"), g.index()]);
    }
    if g.chance(50) {
        command.extend([g.word("COUNT"), g.count()]);
    }
    if g.chance(30) {
        command.extend([g.word("MAXLEN"), g.count()]);
    }
    if g.chance(3) {
        command.push("NOSUCH".into());
    }
    command
}

fn lmpop(g: &mut Gen) -> Command {
    let keys = g.keys(Family::Lists, 3);
    let count = if g.chance(90) { keys.len().to_string().into() } else { g.integer() };
    let mut command = [cmd!["LMPOP", count], keys].concat();
    command.push(side(g, "LEFT", "RIGHT"));
    if g.chance(50) {
        command.extend([g.word("COUNT"), g.count()]);
    }
    if g.chance(3) {
        command.extend([g.word("COUNT"), g.count()]);
    }
    command
}
