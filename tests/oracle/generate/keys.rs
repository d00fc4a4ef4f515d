//! Commands on keys of any type, and on databases.

use super::{Command, Family, Gen, cmd};

/// A command on keys.
pub fn command(g: &mut Gen) -> Command {
    let key = g.key(Family::Keys);
    match g.below(56) {
        0 | 1 => several(g, "DEL"),
        2 => several(g, "UNLINK"),
        3 => several(g, "EXISTS"),
        4 => several(g, "TOUCH"),
        5 | 6 => cmd!["TYPE", key],
        7..=9 => expire(g, "EXPIRE", key, Gen::seconds),
        10 | 11 => expire(g, "PEXPIRE", key, Gen::milliseconds),
        12 | 13 => expire(g, "EXPIREAT", key, Gen::unix_seconds),
        14 | 15 => expire(g, "PEXPIREAT", key, Gen::unix_milliseconds),
        16 | 17 => cmd!["TTL", key],
        18 => cmd!["PTTL", key],
        19 => cmd!["EXPIRETIME", key],
        20 => cmd!["PEXPIRETIME", key],
        21 => cmd!["PERSIST", key],
        22 | 23 => cmd!["RENAME", key, g.any_key()],
        24 | 25 => cmd!["RENAMENX", key, g.any_key()],
        26..=28 => copy(g, key),
        29 | 30 => cmd!["MOVE", key, g.database()],
        31 => cmd!["RANDOMKEY"],
        32 => cmd!["KEYS", g.pattern()],
        33 | 34 => scan(g),
        35 => cmd!["DBSIZE"],
        36 if g.chance(30) => flush(g, "FLUSHDB"),
        36 if g.chance(30) => flush(g, "FLUSHALL"),
        36 | 37 => cmd!["SELECT", g.database()],
        38 => cmd!["SWAPDB", g.database(), g.database()],
        39..=41 => cmd!["OBJECT", g.word("ENCODING"), g.any_key()],
        42 => cmd!["OBJECT", g.word("REFCOUNT"), g.any_key()],
        43 => cmd!["OBJECT", g.word("IDLETIME"), g.any_key()],
        44 => cmd!["OBJECT", g.word("FREQ"), g.any_key()],
        45 => cmd!["OBJECT", g.pick(&["NOSUCH", "ENCODING", ""])],
        46 | 47 => cmd!["SET", key, g.value()],
        48 | 49 => [cmd!["RPUSH", key], g.members(3)].concat(),
        50 | 51 => [cmd!["SADD", key], g.members(3)].concat(),
        52 | 53 => cmd!["HSET", key, g.member(), g.value()],
        54 => cmd!["SET", key, g.value(), "EX", g.seconds()],
        _ => cmd!["SET", key, g.integer()],
    }
}

fn several(g: &mut Gen, name: &str) -> Command {
    [cmd![name], g.keys(Family::Keys, 4)].concat()
}

fn expire(g: &mut Gen, name: &str, key: Vec<u8>, time: fn(&mut Gen) -> Vec<u8>) -> Command {
    let mut command = cmd![name, key, time(g)];
    for _ in 0..g.pick(&[0, 0, 1, 1, 2]) {
        let option = g.pick(&["NX", "XX", "GT", "LT", "GT", "LT", "XY"]);
        command.push(g.word(option));
    }
    command
}

fn copy(g: &mut Gen, key: Vec<u8>) -> Command {
    let mut command = cmd!["COPY", key, g.any_key()];
    if g.chance(40) {
        command.extend([g.word("DB"), g.database()]);
    }
    if g.chance(40) {
        command.push(g.word("REPLACE"));
    }
    if g.chance(3) {
        command.push("NOSUCH".into());
    }
    command
}

fn scan(g: &mut Gen) -> Command {
    let mut command = cmd!["SCAN", g.cursor()];
    g.scan_options(&mut command);
    if g.chance(30) {
        command.extend([g.word("TYPE"), g.pick(&["string", "list", "set", "hash", "LIST", "zset", "nosuch"]).into()]);
    }
    command
}

fn flush(g: &mut Gen, name: &str) -> Command {
    match g.below(6) {
        0..=2 => cmd![name],
        3 => cmd![name, g.word("SYNC")],
        4 => cmd![name, g.word("ASYNC")],
        _ => cmd![name, "NOSUCH"],
    }
}
