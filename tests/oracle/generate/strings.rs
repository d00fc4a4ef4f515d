//! Commands on strings.

use super::{Command, Family, Gen, cmd};

/// A command on strings.
pub fn command(g: &mut Gen) -> Command {
    let key = g.key(Family::Strings);
    match g.below(36) {
        0..=2 => cmd!["GET", key],
        3..=7 => set(g, key),
        8 => cmd!["GETSET", key, g.value()],
        9 => cmd!["GETDEL", key],
        10 | 11 => getex(g, key),
        12 => cmd!["SETNX", key, g.value()],
        13 => cmd!["SETEX", key, g.seconds(), g.value()],
        14 => cmd!["PSETEX", key, g.milliseconds(), g.value()],
        15 => pairs(g, "MSET"),
        16 => pairs(g, "MSETNX"),
        17 => [cmd!["MGET"], g.keys(Family::Strings, 5)].concat(),
        18 | 19 => cmd!["APPEND", key, g.value()],
        20 => cmd!["STRLEN", key],
        21 | 22 => cmd!["SETRANGE", key, offset(g), g.value()],
        23 => cmd!["GETRANGE", key, g.index(), g.index()],
        24 => cmd!["SUBSTR", key, g.index(), g.index()],
        25 => cmd!["INCR", key],
        26 => cmd!["DECR", key],
        27 | 28 => cmd!["INCRBY", key, g.integer()],
        29 => cmd!["DECRBY", key, g.integer()],
        30 | 31 => cmd!["INCRBYFLOAT", key, g.float()],
        32 => cmd!["SET", key, g.integer()],
        _ => lcs(g),
    }
}

fn set(g: &mut Gen, key: Vec<u8>) -> Command {
    let mut command = cmd!["SET", key, g.value()];
    for _ in 0..g.pick(&[0, 0, 1, 1, 2, 3]) {
        match g.below(9) {
            0 => command.push(g.word("NX")),
            1 => command.push(g.word("XX")),
            2 => command.push(g.word("GET")),
            3 => command.push(g.word("KEEPTTL")),
            4 => command.extend([g.word("EX"), g.seconds()]),
            5 => command.extend([g.word("PX"), g.milliseconds()]),
            6 => command.extend([g.word("EXAT"), g.future_seconds()]),
            7 => command.extend([g.word("PXAT"), g.future_milliseconds()]),
            _ if g.chance(20) => command.push(g.word("PERSIST")),
            _ => {}
        }
    }
    command
}

fn getex(g: &mut Gen, key: Vec<u8>) -> Command {
    let mut command = cmd!["GETEX", key];
    for _ in 0..g.pick(&[0, 1, 1, 1, 1, 2]) {
        match g.below(6) {
            0 => command.push(g.word("PERSIST")),
            1 => command.extend([g.word("EX"), g.seconds()]),
            2 => command.extend([g.word("PX"), g.milliseconds()]),
            3 => command.extend([g.word("EXAT"), g.unix_seconds()]),
            4 => command.extend([g.word("PXAT"), g.unix_milliseconds()]),
            _ if g.chance(30) => command.push(g.word("KEEPTTL")),
            _ => {}
        }
    }
    command
}

fn pairs(g: &mut Gen, name: &str) -> Command {
    let mut command = cmd![name];
    for _ in 0..=g.below(4) {
        command.extend([g.key(Family::Strings), g.value()]);
    }
    command
}

fn offset(g: &mut Gen) -> Vec<u8> {
    match g.below(10) {
        0..=7 => g.below(20).to_string().into(),
        8 => g.pick(&["-1", "1000", "536870912", "536870911000", "9223372036854775807", "4294967295000"]).into(),
        _ => g.pick(&["abc", "", "-9223372036854775808", "9223372036854775808"]).into(),
    }
}

fn lcs(g: &mut Gen) -> Command {
    if g.chance(30) {
        return cmd!["MSET", "{t}s4", "ohmytext", "{t}s5", "mynewtext"];
    }
    let mut command = cmd!["LCS", g.key(Family::Strings), g.key(Family::Strings)];
    for _ in 0..g.below(4) {
        match g.below(9) {
            0 | 1 => command.push(g.word("LEN")),
            2..=4 => command.push(g.word("IDX")),
            5 | 6 => command.extend([g.word("MINMATCHLEN"), g.integer()]),
            _ => command.push(g.word("WITHMATCHLEN")),
        }
    }
    command
}
