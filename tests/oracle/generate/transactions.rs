//! Transactions, most over keys of one tag, some over several shards: MULTI, EXEC, WATCH and their relatives, and between them commands whose replies
//! are the same on both servers to the byte, for EXEC shows all of them as one.

use super::{Command, Gen, cmd};

/// A command of a client that uses transactions.
pub fn command(g: &mut Gen) -> Command {
    match g.below(40) {
        0..=4 => cmd![g.word("MULTI")],
        5..=9 => cmd![g.word("EXEC")],
        10 => cmd![g.word("DISCARD")],
        11..=13 => [cmd![g.word("WATCH")], (0..=g.below(2)).map(|_| key(g)).collect()].concat(),
        14 => cmd![g.word("UNWATCH")],
        15 => refused(g),
        16 => cmd!["SELECT", g.pick(&["0", "0", "1", "16"])],
        17 | 18 => cmd!["PING", g.value()],
        19..=24 => string(g),
        25..=28 => list(g),
        29..=32 => hash(g),
        33..=35 => set(g),
        _ => any(g),
    }
}

fn key(g: &mut Gen) -> Vec<u8> {
    g.pick(&["{x}1", "{x}2", "{x}3", "{x}4", "a", "b"]).into()
}

/// What is refused at once; inside MULTI most of it spoils the transaction.
fn refused(g: &mut Gen) -> Command {
    match g.below(5) {
        0 => cmd!["NOSUCH", g.value()],
        1 => cmd!["GET"],
        2 => cmd!["CLIENT", "NOSUCH"],
        3 => cmd![g.pick(&["MULTI", "DISCARD", "EXEC", "UNWATCH"]), "x"],
        _ => cmd!["WATCH"],
    }
}

fn string(g: &mut Gen) -> Command {
    match g.below(6) {
        0 => cmd!["SET", key(g), g.value()],
        1 => cmd!["GET", key(g)],
        2 => cmd!["INCRBY", key(g), g.integer()],
        3 => cmd!["APPEND", key(g), g.value()],
        4 => cmd!["MSET", key(g), g.value(), key(g), g.value()],
        _ => cmd!["MGET", key(g), key(g), key(g)],
    }
}

fn list(g: &mut Gen) -> Command {
    match g.below(5) {
        0 => cmd!["RPUSH", key(g), g.member(), g.member()],
        1 => cmd!["LPOP", key(g), g.count()],
        2 => cmd!["LRANGE", key(g), g.index(), g.index()],
        3 => cmd!["LMOVE", key(g), key(g), "LEFT", "RIGHT"],
        _ => cmd!["LLEN", key(g)],
    }
}

fn hash(g: &mut Gen) -> Command {
    match g.below(4) {
        0 => cmd!["HSET", key(g), g.member(), g.value()],
        1 => cmd!["HGET", key(g), g.member()],
        2 => cmd!["HDEL", key(g), g.member(), g.member()],
        _ => cmd!["HINCRBY", key(g), g.member(), g.integer()],
    }
}

fn set(g: &mut Gen) -> Command {
    match g.below(4) {
        0 => cmd!["SADD", key(g), g.member(), g.member()],
        1 => cmd!["SREM", key(g), g.member()],
        2 => cmd!["SISMEMBER", key(g), g.member()],
        _ => cmd!["SUNIONSTORE", key(g), key(g), key(g)],
    }
}

fn any(g: &mut Gen) -> Command {
    match g.below(6) {
        0 => cmd!["DEL", key(g), key(g)],
        1 => cmd!["RENAME", key(g), key(g)],
        2 => cmd!["COPY", key(g), key(g), "REPLACE"],
        3 => cmd!["MOVE", key(g), g.pick(&["0", "1"])],
        4 => cmd!["TYPE", key(g)],
        _ => cmd!["EXISTS", key(g), key(g)],
    }
}
