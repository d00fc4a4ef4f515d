//! What commands and transactions over two shards log, word by word. One record has the whole, on each shard that it has
//! changed; a shard's part of it must do the same there even if the shard has lost its last changes before.

use crate::records::each_record;
use crate::segment::{line, lines};
use crate::words::{compare, untried};
use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::persistence::aof::TransactionView;
use crimson::session::{Identity, SessionKey};
use crimson::shard::{Router, ShardId};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const NOW: i64 = 1_700_000_000_000;

/// Keys of the first shard, and of the second one.
const KEYS: [&[&str]; 2] = [&["b", "c", "f"], &["a", "d", "e"]];

/// Two engines, and clients of the first one.
struct Pair {
    engines: Vec<Engine>,
    clients: [SessionKey; 2],
    now: i64,
    /// By how much the clock of the second one is behind.
    lag: i64,
}

impl Pair {
    fn new() -> Self {
        let router = Router::new(2);
        let owner = |key: &str| router.shard_of(key.as_bytes()).index();
        assert!(KEYS.iter().enumerate().all(|(shard, keys)| keys.iter().all(|key| owner(key) == shard)));
        let config = Config { slowlog_log_slower_than: -1, ..Config::default() };
        let node = Arc::new(Node::new(config, 2, table().entries().len(), "0".repeat(40), NOW));
        let mut engines: Vec<Engine> = (0..2).map(|core| Engine::new(ShardId(core), node.clone(), 1, NOW)).collect();
        engines.iter_mut().for_each(|engine| engine.set_logging(true));
        let clients = [(); 2].map(|()| engines[0].connect(Identity::default(), false));
        Self { engines, clients, now: NOW, lag: 0 }
    }

    /// A client sends inline commands; what each shard logs until nothing is under way.
    fn send(&mut self, client: usize, commands: &str) -> [Vec<u8>; 2] {
        let (mut logs, mut mail) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let input: String = commands.split("; ").map(|command| format!("{command}\r\n")).collect();
        self.engines[0].begin_turn(self.now);
        self.engines[0].receive(self.clients[client], input.as_bytes());
        self.engines[0].end_turn();
        for turn in 0..40 {
            let (core, engine) = (turn % 2, &mut self.engines[turn % 2]);
            engine.begin_turn(self.now - core as i64 * self.lag);
            std::mem::take(&mut mail[core]).into_iter().for_each(|message| engine.message(message));
            engine.end_turn();
            engine.take_log(&mut logs[core]);
            let mut outgoing = Vec::new();
            engine.take_outgoing(&mut outgoing);
            outgoing.into_iter().for_each(|(to, message)| mail[to.index()].push(message));
        }
        assert!(self.engines.iter().all(Engine::is_settled), "{commands}");
        logs
    }

    /// The same in words. A record of both shards stands in brackets, each shard's part with that shard; every shard that
    /// has a part must have the record, and the same one.
    fn words(&mut self, client: usize, commands: &str) -> [String; 2] {
        let logs = self.send(client, commands);
        let mut shared: Vec<(u64, [String; 2], Vec<usize>)> = Vec::new();
        let mut words = [Vec::new(), Vec::new()];
        for shard in [0, 1] {
            each_record(&logs[shard], |args, _| {
                let Some(view) = TransactionView::parse(args).filter(|_| TransactionView::is_one(args)) else {
                    return words[shard].push(line(args));
                };
                assert_eq!(usize::from(view.own), shard, "{commands}");
                let parts = [0, 1].map(|part| view.payload(part).map_or(Vec::new(), lines).join("; "));
                words[shard].push(format!("[{}]", parts[shard]));
                match shared.iter_mut().find(|(stamp, ..)| *stamp == view.stamp) {
                    None => shared.push((view.stamp, parts, vec![shard])),
                    Some((_, same, on)) => {
                        assert_eq!(*same, parts, "{commands}: the shards disagree");
                        on.push(shard);
                    }
                }
            });
        }
        for (_, parts, on) in &shared {
            let concerned: Vec<usize> = (0..2).filter(|&shard| !parts[shard].is_empty()).collect();
            assert_eq!(concerned, *on, "{commands}: {parts:?}");
        }
        words.map(|words| words.join("; "))
    }
}

/// What was there before, what is done to a key of the first shard in a transaction that also concerns the other one, and what
/// of that is logged. What was taken, and from where in a list, does not depend on what the shard may have lost.
const IN_TRANSACTIONS: &[(&str, &str, &str)] = &[
    // Strings.
    ("", "SET b v", "SET b v"),
    ("SET b v PX 500", "SET b w KEEPTTL", "SET b w KEEPTTL"),
    ("", "SET b v EX 1", "SET b v PXAT 1700000001000"),
    ("", "SETEX b 1 v", "SET b v PXAT 1700000001000"),
    ("", "PSETEX b 1 v", "SET b v PXAT 1700000000001"),
    ("", "SETNX b v", "SETNX b v"),
    ("SET b v", "GETSET b w", "GETSET b w"),
    ("SET b v", "GETDEL b", "DEL b"),
    ("SET b v", "GETEX b EX 1", "PEXPIREAT b 1700000001000"),
    ("SET b v PX 500", "GETEX b PERSIST", "PERSIST b"),
    ("SET b v", "GETEX b PXAT 1", "DEL b"),
    ("SET b v", "APPEND b w", "APPEND b w"),
    ("SET b v", "SETRANGE b 1 w", "SETRANGE b 1 w"),
    ("SET b 1", "INCR b", "INCR b"),
    ("", "INCRBY b 2", "INCRBY b 2"),
    ("", "DECR b", "DECR b"),
    ("", "DECRBY b 2", "DECRBY b 2"),
    ("SET b 1", "INCRBYFLOAT b 0.5", "SET b 1.5 KEEPTTL"),
    // Keys.
    ("SET b v", "EXPIRE b 1", "PEXPIREAT b 1700000001000"),
    ("SET b v", "PEXPIRE b 1", "PEXPIREAT b 1700000000001"),
    ("SET b v", "EXPIREAT b 1800000000", "PEXPIREAT b 1800000000000"),
    ("SET b v", "PEXPIREAT b 1800000000000", "PEXPIREAT b 1800000000000"),
    ("SET b v", "EXPIRE b -1", "DEL b"),
    ("SET b v PX 500", "PERSIST b", "PERSIST b"),
    ("SET b v", "DEL b", "DEL b"),
    ("SET b v", "UNLINK b", "UNLINK b"),
    ("SET b v PX 500", "MOVE b 1", "SELECT 1; SET b v PXAT 1700000000500; SELECT 0; DEL b"),
    // Lists.
    ("", "RPUSH b x y", "RPUSH b x y"),
    ("", "LPUSH b x y", "LPUSH b x y"),
    ("RPUSH b x", "RPUSHX b y", "RPUSHX b y"),
    ("RPUSH b x", "LPUSHX b y", "LPUSHX b y"),
    ("RPUSH b x y", "LPOP b", "LREM b 1 x"),
    ("RPUSH b x", "RPOP b", "LREM b -1 x"),
    ("RPUSH b x y z", "RPOP b 2", "LREM b -1 z; LREM b -1 y"),
    ("RPUSH b x y", "LPOP b 2", "DEL b"),
    ("RPUSH b x y", "LMPOP 1 b LEFT", "LREM b 1 x"),
    ("RPUSH b x y", "BLPOP b 0", "LREM b 1 x"),
    ("RPUSH b x y", "BRPOP b 0", "LREM b -1 y"),
    ("RPUSH b x y", "BLMPOP 0 1 b RIGHT COUNT 5", "DEL b"),
    ("RPUSH b x y", "LINSERT b BEFORE y z", "LINSERT b BEFORE y z"),
    ("RPUSH b x y", "LREM b 0 x", "LREM b 0 x"),
    ("RPUSH b x y", "LSET b 0 z", "DEL b; RPUSH b z y"),
    ("RPUSH b x y z", "LTRIM b 1 1", "DEL b; RPUSH b y"),
    ("RPUSH b x", "LTRIM b 1 0", "DEL b"),
    ("RPUSH b x y", "LMOVE b b LEFT RIGHT", "LREM b 1 x; RPUSH b x"),
    ("RPUSH b x y", "LMOVE b c RIGHT LEFT", "LREM b -1 y; LPUSH c y"),
    // Sets and hashes.
    ("", "SADD b x y", "SADD b x y"),
    ("SADD b x y", "SREM b x", "SREM b x"),
    ("SADD b x", "SPOP b", "SREM b x"),
    ("SADD b x y", "SPOP b 2", "DEL b"),
    ("SADD b x y", "SMOVE b c x", "SREM b x; SADD c x"),
    ("SADD b x y", "SUNIONSTORE c b b", "DEL c; SADD c x y"),
    ("SET b v", "RENAME b c; RENAME c f", "SET f v; DEL b; DEL c"),
    ("", "HSET b f v", "HSET b f v"),
    ("", "HMSET b f v", "HMSET b f v"),
    ("", "HSETNX b f v", "HSETNX b f v"),
    ("HSET b f v", "HDEL b f", "HDEL b f"),
    ("", "HINCRBY b f 1", "HINCRBY b f 1"),
    ("", "HINCRBYFLOAT b f 0.5", "HSET b f 0.5"),
];

#[test]
fn what_commands_log_in_transactions_over_two_shards() {
    let mut pair = Pair::new();
    let rows = IN_TRANSACTIONS.iter().map(|(before, command, expected)| {
        pair.send(0, &format!("FLUSHALL; {before}"));
        let found = pair.words(0, &format!("MULTI; {command}; SET a 1; EXEC"));
        ((*command).to_string(), found, [format!("[{}]", in_database(expected)), "[SELECT 0; SET a 1]".to_string()])
    });
    compare(rows);
}

/// Records for a reader in any database.
fn in_database(records: &str) -> String {
    if records.starts_with("SELECT") { records.into() } else { format!("SELECT 0; {records}") }
}

/// The same for commands on keys of both shards, and what each shard logs.
const ON_BOTH_SHARDS: &[(&str, &str, [&str; 2])] = &[
    // Split by key.
    ("", "MSET b 1 a 2 c 3", ["[MSET b 1 c 3]", "[MSET a 2]"]),
    ("", "SELECT 1; MSET b 1 a 2; SELECT 0", ["[SELECT 1; MSET b 1]", "[SELECT 1; MSET a 2]"]),
    ("MSET a 1 b 2", "DEL a b none", ["[DEL b none]", "[DEL a]"]),
    ("MSET a 1 b 2", "UNLINK a b", ["[UNLINK b]", "[UNLINK a]"]),
    ("", "DEL c d", ["[DEL c]", "[DEL d]"]),
    ("SET a 1", "MSETNX a 1 b 2; RENAMENX a a; SMOVE c d x; LMOVE c d LEFT LEFT; SINTERSTORE c d e", ["", ""]),
    // Keys are borrowed: of those that are changed the whole value is logged.
    ("", "MSETNX b 1 a 2", ["[SELECT 0; SET b 1]", "[SELECT 0; SET a 2]"]),
    ("SET b v PX 500", "RENAME b a", ["[SELECT 0; DEL b]", "[SELECT 0; SET a v PXAT 1700000000500]"]),
    ("SET a v", "RENAMENX a b", ["[SELECT 0; SET b v]", "[SELECT 0; DEL a]"]),
    ("SET b v", "COPY b a", ["", "[SELECT 0; SET a v]"]),
    ("SET b v PX 500", "COPY b a DB 1", ["", "[SELECT 1; SET a v PXAT 1700000000500]"]),
    ("RPUSH b x; SET a v", "COPY b a REPLACE", ["", "[SELECT 0; DEL a; RPUSH a x]"]),
    ("RPUSH b x y", "LMOVE b a LEFT RIGHT", ["[SELECT 0; LREM b 1 x]", "[SELECT 0; RPUSH a x]"]),
    ("RPUSH b x y", "RPOPLPUSH b a", ["[SELECT 0; LREM b -1 y]", "[SELECT 0; LPUSH a y]"]),
    ("RPUSH b x", "BLMOVE b a RIGHT LEFT 0", ["[SELECT 0; LREM b -1 x]", "[SELECT 0; LPUSH a x]"]),
    ("RPUSH b x", "BRPOPLPUSH b a 0", ["[SELECT 0; LREM b -1 x]", "[SELECT 0; LPUSH a x]"]),
    ("RPUSH a x y", "BLPOP b a 0; BRPOP b a 0", ["", "[SELECT 0; LREM a 1 x]; [SELECT 0; LREM a -1 y]"]),
    ("RPUSH a x y", "LMPOP 2 b a LEFT COUNT 2", ["", "[SELECT 0; DEL a]"]),
    ("RPUSH b x y", "BLMPOP 0 2 a b LEFT COUNT 1", ["[SELECT 0; LREM b 1 x]", ""]),
    ("SADD b x; SADD a x y", "SMOVE b a x", ["[SELECT 0; SREM b x]", "[SELECT 0; SADD a x]"]),
    ("SADD b x y; SADD a y", "SINTERSTORE b b a", ["[SELECT 0; DEL b; SADD b y]", ""]),
    ("SADD b x; SADD a y", "SUNIONSTORE d b a", ["", "[SELECT 0; DEL d; SADD d x y]"]),
    ("SADD b x y; SADD a y", "SDIFFSTORE c b a", ["[SELECT 0; DEL c; SADD c x]", ""]),
    ("SADD b x; SADD a y; SET c v", "SINTERSTORE c b a", ["[SELECT 0; DEL c]", ""]),
    // Every shard has all to do.
    ("MSET a 1 b 2", "FLUSHALL", ["[FLUSHALL]", "[FLUSHALL]"]),
    ("MSET a 1 b 2", "SELECT 1; FLUSHDB; SELECT 0", ["[SELECT 1; FLUSHDB]", "[SELECT 1; FLUSHDB]"]),
    ("MSET a 1 b 2", "SWAPDB 0 1", ["[SWAPDB 0 1]", "[SWAPDB 0 1]"]),
    ("MSET a 1 b 2", "FLUSHALL FOO; FLUSHDB FOO; SWAPDB 0 x", ["", ""]),
    // Transactions, also command by command.
    (
        "",
        "MULTI; SET b 1; SELECT 1; SET b 2; SET a 3; EXEC; SELECT 0",
        ["[SELECT 0; SET b 1; SELECT 1; SET b 2]", "[SELECT 1; SET a 3]"],
    ),
    ("MSET a 1 b 2", "MULTI; GET a; SET b 1; EXEC", ["[SELECT 0; SET b 1]", ""]),
    ("MSET a 1 b 2", "MULTI; DBSIZE; INCR a; INCR b; EXEC", ["[SELECT 0; INCR b]", "[SELECT 0; INCR a]"]),
    (
        "MSET a 1 b 2",
        "MULTI; FLUSHDB; SET a 1 EX 1; EXEC",
        ["[SELECT 0; FLUSHDB]", "[SELECT 0; FLUSHDB; SELECT 0; SET a 1 PXAT 1700000001000]"],
    ),
    ("", "MULTI; DBSIZE; GET a; EXEC", ["", ""]),
    // One shard alone needs no record of both.
    ("", "SET a 1 EX 1; INCRBYFLOAT a 0.5; EXPIRE a 0", ["", "SET a 1 PXAT 1700000001000; SET a 1.5 KEEPTTL; DEL a"]),
    ("", "MULTI; SET a 1; SET d 2; EXEC", ["", "MULTI; SET a 1; SET d 2; EXEC"]),
    ("", "MULTI; SET b 1; SET c 2; EXEC", ["MULTI; SET b 1; SET c 2; EXEC", ""]),
    (
        "SADD a x",
        "RENAME a d; SPOP d; RPUSH e x; BLMOVE e a LEFT LEFT 0",
        ["", "RENAME a d; SREM d x; RPUSH e x; [SELECT 0; LREM e 1 x; LPUSH a x]"],
    ),
];

#[test]
fn what_commands_on_two_shards_log() {
    let mut pair = Pair::new();
    let rows = ON_BOTH_SHARDS.iter().map(|(before, commands, expected)| {
        pair.send(0, &format!("FLUSHALL; {before}"));
        ((*commands).to_string(), pair.words(0, commands), expected.map(str::to_string))
    });
    compare(rows);
}

#[test]
fn every_command_is_tried_on_two_shards() {
    let commands = IN_TRANSACTIONS.iter().map(|(_, command, _)| *command);
    let commands = commands.chain(ON_BOTH_SHARDS.iter().map(|(_, commands, _)| *commands));
    assert_eq!(untried(commands), Vec::<&str>::new());
}

/// A client that waits has its command logged by the shard that serves it, or with both where it moves to the other one.
#[test]
fn clients_that_wait_on_two_shards_are_logged_when_they_are_served() {
    let mut pair = Pair::new();
    let rows = [
        ("BLPOP b a 0", "RPUSH a x", ["", "RPUSH a x; LPOP a"]),
        ("BRPOP a b 0", "RPUSH b x", ["RPUSH b x; RPOP b", ""]),
        ("BLMPOP 0 2 a b LEFT COUNT 2", "RPUSH a x y z", ["", "RPUSH a x y z; LPOP a 2"]),
        ("BLMOVE b d LEFT RIGHT 0", "RPUSH b x", ["RPUSH b x; [SELECT 0; LREM b 1 x]", "[SELECT 0; RPUSH d x]"]),
        (
            "BRPOPLPUSH a b 0",
            "MULTI; RPUSH a x; RPUSH c y; EXEC",
            ["[SELECT 0; RPUSH c y]; [SELECT 0; LPUSH b x]", "[SELECT 0; RPUSH a x]; [SELECT 0; LREM a -1 x]"],
        ),
    ];
    let rows = rows.map(|(waits, feeds, expected)| {
        pair.send(1, "FLUSHALL");
        assert_eq!(pair.words(0, waits), ["", ""], "{waits}");
        (format!("{waits}; {feeds}"), pair.words(1, feeds), expected.map(str::to_string))
    });
    compare(rows);
}

/// A key whose time is over is deleted by its own shard, in the transaction or before it, but not because it was read.
#[test]
fn keys_that_expire_in_transactions_over_two_shards() {
    let mut pair = Pair::new();
    pair.engines[0].node().active_expire.store(false, Relaxed);
    let rows = [
        ("SET b 1 PX 5", "MULTI; GET b; SET a 1; EXEC", ["DEL b", "[SELECT 0; SET a 1]"]),
        ("SADD b x; PEXPIRE b 5; SADD a y", "SUNIONSTORE d b a", ["DEL b", "[SELECT 0; DEL d; SADD d y]"]),
        ("SET b 1 PX 5; SET a 2", "RENAME a b", ["DEL b; [SELECT 0; SET b 2]", "[SELECT 0; DEL a]"]),
        (
            "SET b 1 PX 5",
            "MULTI; APPEND b x; APPEND a y; EXEC",
            ["DEL b; [SELECT 0; APPEND b x]", "[SELECT 0; APPEND a y]"],
        ),
        ("SET b 1 PX 5; SET a 1 PX 5", "MSET b 2 a 3", ["DEL b; [MSET b 2]", "DEL a; [MSET a 3]"]),
        ("SET b 1 PX 5; SET a 1 PX 5", "DEL b a", ["DEL b; [DEL b]", "DEL a; [DEL a]"]),
        ("SET b 1 PX 5", "MULTI; DBSIZE; GET b; INCR a; EXEC", ["[SELECT 0; DEL b]", "[SELECT 0; INCR a]"]),
        (
            "SET b 1 PX 5; SET a 2",
            "MULTI; DBSIZE; RENAME a b; EXEC",
            ["[SELECT 0; DEL b; SELECT 0; SET b 2]", "[SELECT 0; DEL a]"],
        ),
    ];
    let rows = rows.map(|(before, commands, expected)| {
        pair.send(0, &format!("FLUSHALL; {before}"));
        pair.now += 10;
        (commands.to_string(), pair.words(0, commands), expected.map(str::to_string))
    });
    compare(rows);
}

/// Clocks differ: what is borrowed may be over where it is used and not where it lives. A key that is only read is deleted by
/// its own shard, when that finds out.
#[test]
fn keys_that_expire_while_they_are_borrowed() {
    let mut pair = Pair::new();
    pair.engines[0].node().active_expire.store(false, Relaxed);
    let rows = [
        ("SADD a x; PEXPIRE a 5; SADD b y", "SUNIONSTORE c a b", ["[SELECT 0; DEL c; SADD c y]", ""]),
        ("SET a 1 PX 5", "MULTI; GET a; SET b 2; EXEC", ["[SELECT 0; SET b 2]", ""]),
        ("SET a 1 PX 5", "MULTI; INCR a; SET b 2; EXEC", ["[SELECT 0; SET b 2]", "[SELECT 0; DEL a; INCR a]"]),
        ("SET a 1 PX 5; SET b 2", "RENAME b a", ["[SELECT 0; DEL b]", "[SELECT 0; DEL a; SET a 2]"]),
    ];
    let rows = rows.map(|(before, commands, expected)| {
        pair.send(0, &format!("FLUSHALL; {before}"));
        (pair.now, pair.lag) = (pair.now + 10, 10);
        let found = pair.words(0, commands);
        (pair.now, pair.lag) = (pair.now + 10, 0);
        (commands.to_string(), found, expected.map(str::to_string))
    });
    compare(rows);
}

/// Where one other shard runs its parts before it is known that it may, that shard takes the stamp: word of them may have been
/// under way so long that a later transaction has been there first, and a lost tail is completed in the order of stamps.
#[test]
fn stamps_are_in_the_order_in_which_transactions_happened() {
    let router = Router::new(3);
    let owner = |key: &str| router.shard_of(key.as_bytes()).index();
    let key =
        |shard| (0..).map(|number| format!("key{number}")).find(|key| owner(key) == shard).expect("each has some");
    let [first, both, second] = [0, 1, 2].map(key);
    let node = Arc::new(Node::new(Config::default(), 3, table().entries().len(), "0".repeat(40), NOW));
    let mut engines: Vec<Engine> = (0..3).map(|core| Engine::new(ShardId(core), node.clone(), 1, NOW)).collect();
    engines.iter_mut().for_each(|engine| engine.set_logging(true));
    let clients: Vec<SessionKey> =
        engines.iter_mut().map(|engine| engine.connect(Identity::default(), false)).collect();
    let mut logs = [Vec::new(), Vec::new(), Vec::new()];
    let mut turn = |core: usize, mail: Vec<_>, command: &str| {
        let engine = &mut engines[core];
        engine.begin_turn(NOW);
        mail.into_iter().for_each(|(_, message)| engine.message(message));
        engine.receive(clients[core], command.as_bytes());
        engine.end_turn();
        engine.take_log(&mut logs[core]);
        let mut outgoing = Vec::new();
        engine.take_outgoing(&mut outgoing);
        outgoing
    };
    let late = turn(0, Vec::new(), &format!("MSET {first} 1 {both} 1\r\n"));
    let parts = turn(1, Vec::new(), &format!("MSET {both} 2 {second} 2\r\n"));
    let run = turn(2, parts, "");
    turn(1, run, "");
    let run = turn(1, late, "");
    turn(0, run, "");
    let mut stamps = Vec::new();
    each_record(&logs[1], |args, _| stamps.push(TransactionView::parse(args).expect("both concern two shards").stamp));
    assert!(stamps.len() == 2 && stamps[0] < stamps[1], "{stamps:?}");
}
