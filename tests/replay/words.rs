//! What single commands log, word by word.

use crate::segment::lines;
use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::limits::LOGGED_MEMBERS_MAX;
use crimson::session::{Identity, SessionKey};
use crimson::shard::ShardId;
use crimson::spec::Flags;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

const NOW: i64 = 1_700_000_000_000;

struct Console {
    engine: Engine,
    now: i64,
}

impl Console {
    fn new() -> Self {
        let node = Arc::new(Node::new(Config::default(), 1, table().entries().len(), "0".repeat(40), NOW));
        let mut engine = Engine::new(ShardId(0), node, 1, NOW);
        engine.set_logging(true);
        Self { engine, now: NOW }
    }

    fn client(&mut self) -> SessionKey {
        self.engine.connect(Identity::default(), false)
    }

    /// Sends inline commands in one turn; what the turn has logged.
    fn send(&mut self, client: SessionKey, commands: &str) -> String {
        self.engine.begin_turn(self.now);
        let input: String = commands.split("; ").map(|command| format!("{command}\r\n")).collect();
        self.engine.receive(client, input.as_bytes());
        self.engine.end_turn();
        let mut log = Vec::new();
        self.engine.take_log(&mut log);
        // A turn ends in database 0.
        lines(&log).join("; ").trim_end_matches("; SELECT 0").to_string()
    }
}

/// The writing commands that none of these lines begins with.
pub fn untried<'a>(commands: impl IntoIterator<Item = &'a str>) -> Vec<&'static str> {
    let lines = commands.into_iter().flat_map(|line| line.split("; "));
    let tried: BTreeSet<String> = lines.filter_map(|line| line.split(' ').next()).map(str::to_lowercase).collect();
    let writes = table().entries().iter().filter(|entry| entry.row.spec.flags.contains(Flags::WRITE));
    writes.map(|entry| entry.row.spec.name).filter(|name| !tried.contains(*name)).collect()
}

/// Panics with the lines whose log is not what it should be.
pub fn compare<T: PartialEq + Debug>(rows: impl IntoIterator<Item = (String, T, T)>) {
    let wrong: Vec<String> = rows
        .into_iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(commands, found, expected)| format!("{commands}\n  logs     {found:?}\n  and not  {expected:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was there before, what is done, and what of that is logged. A command that does the same whenever it is replayed is
/// logged as it was sent.
const ONE_SHARD: &[(&str, &str, &str)] = &[
    // What changes nothing is not logged.
    ("", "GET a; DEL none; LPUSHX none 1; HINCRBY none f x; EXPIRE none 1; SMOVE none b x; LMOVE none b LEFT LEFT", ""),
    ("SET a 1", "SET a 2 NX; SETNX a 2; MSETNX a 1 b 2; INCR x y; LPUSH a x; RENAMENX a a; PERSIST a; GETEX a", ""),
    ("SET a 1", "get a; append a 2", "append a 2"),
    // The database is that of the command.
    ("", "SELECT 3; SET a 1; SELECT 0; SET a 2", "SELECT 3; SET a 1; SELECT 0; SET a 2"),
    // Strings. Conditions have been met, and times are absolute.
    ("", "SET a 1 NX", "SET a 1"),
    ("SET a 1", "SET a 2 XX GET", "SET a 2"),
    ("SET a 1", "SET a 2 IFEQ 1", "SET a 2"),
    ("SET a 1 EX 9", "SET a 2 KEEPTTL XX", "SET a 2 KEEPTTL"),
    ("", "SET a 1 EX 1", "SET a 1 PXAT 1700000001000"),
    ("", "SET a 1 PX 1", "SET a 1 PXAT 1700000000001"),
    ("", "SET a 1 EXAT 1800000000", "SET a 1 PXAT 1800000000000"),
    ("", "SET a 1 PXAT 1800000000000", "SET a 1 PXAT 1800000000000"),
    ("", "SETEX a 1 v", "SET a v PXAT 1700000001000"),
    ("", "PSETEX a 1 v", "SET a v PXAT 1700000000001"),
    ("", "SETNX a 1", "SETNX a 1"),
    ("", "MSET a 1 b 2", "MSET a 1 b 2"),
    ("", "MSETNX a 1 b 2", "MSETNX a 1 b 2"),
    ("SET a 1", "GETSET a 2", "GETSET a 2"),
    ("SET a 1", "GETDEL a; GETDEL a", "DEL a"),
    ("SET a 1", "GETEX a EX 1", "PEXPIREAT a 1700000001000"),
    ("SET a 1", "GETEX a PXAT 1800000000000", "PEXPIREAT a 1800000000000"),
    ("SET a 1", "GETEX a EXAT 1", "DEL a"),
    ("SET a 1 EX 9", "GETEX a PERSIST; GETEX a PERSIST", "PERSIST a"),
    ("", "APPEND a x; SETRANGE a 1 y", "APPEND a x; SETRANGE a 1 y"),
    ("", "INCR a; INCRBY a 2; DECR a; DECRBY a 2", "INCR a; INCRBY a 2; DECR a; DECRBY a 2"),
    ("SET a 1.5", "INCRBYFLOAT a 1.5; INCRBYFLOAT a 1e1", "SET a 3 KEEPTTL; SET a 13 KEEPTTL"),
    // Keys.
    ("SET a 1", "EXPIRE a 1", "PEXPIREAT a 1700000001000"),
    ("SET a 1", "PEXPIRE a 1", "PEXPIREAT a 1700000000001"),
    ("SET a 1", "EXPIREAT a 1800000000 NX", "PEXPIREAT a 1800000000000"),
    ("SET a 1 EX 9", "PEXPIREAT a 1800000000000 GT", "PEXPIREAT a 1800000000000"),
    ("SET a 1 EX 9", "EXPIRE a 10 LT; EXPIRE a 1 NX", ""),
    ("MSET a 1 b 1 c 1 d 1", "EXPIRE a 0; PEXPIRE b -1; EXPIREAT c 1; PEXPIREAT d 1", "DEL a; DEL b; DEL c; DEL d"),
    ("SET a 1 EX 9", "PERSIST a; PERSIST a", "PERSIST a"),
    ("MSET a 1 b 1 c 1", "DEL a none; UNLINK b c", "DEL a none; UNLINK b c"),
    (
        "SET a 1",
        "RENAME a b; RENAMENX b c; COPY c a; COPY c a REPLACE",
        "RENAME a b; RENAMENX b c; COPY c a; COPY c a REPLACE",
    ),
    ("SET a 1", "MOVE a 1", "MOVE a 1"),
    ("SET a 1", "FLUSHDB; FLUSHDB", "FLUSHDB"),
    ("SET a 1", "FLUSHALL ASYNC; FLUSHALL", "FLUSHALL ASYNC"),
    ("SET a 1", "SWAPDB 0 1", "SWAPDB 0 1"),
    // Lists. Who has waited or chosen among keys has taken from this one.
    ("", "RPUSH a x; LPUSH a y; RPUSHX a x; LPUSHX a z", "RPUSH a x; LPUSH a y; RPUSHX a x; LPUSHX a z"),
    ("RPUSH a 1 2 3 4 5", "LPOP a; RPOP a; LPOP a 1; RPOP a 2", "LPOP a; RPOP a; LPOP a 1; RPOP a 2"),
    ("RPUSH b 1 2 3 4", "LMPOP 2 a b LEFT; LMPOP 1 b RIGHT COUNT 2", "LPOP b 1; RPOP b 2"),
    ("RPUSH b 1 2 3 4", "BLMPOP 0 2 a b RIGHT; BLMPOP 9 1 b LEFT COUNT 2", "RPOP b 1; LPOP b 2"),
    ("RPUSH b 1 2", "BLPOP a b 0; BRPOP a b 0", "LPOP b; RPOP b"),
    ("RPUSH a 1 2", "LMOVE a b left right; RPOPLPUSH a b", "LMOVE a b LEFT RIGHT; LMOVE a b RIGHT LEFT"),
    ("RPUSH a 1 2", "BLMOVE a b right left 0; BRPOPLPUSH a b 0", "LMOVE a b RIGHT LEFT; LMOVE a b RIGHT LEFT"),
    ("RPUSH a 1 2", "LINSERT a BEFORE 1 0; LSET a 0 x; LREM a 0 x", "LINSERT a BEFORE 1 0; LSET a 0 x; LREM a 0 x"),
    ("RPUSH a 1 2", "LTRIM a 1 1", "LTRIM a 1 1"),
    // Sets: what the dice have chosen.
    ("", "SADD a x; SREM a x; SREM a x", "SADD a x; SREM a x"),
    ("SADD a x", "SPOP a; SPOP a", "SREM a x"),
    ("SADD a x y", "SPOP a 5", "DEL a"),
    ("SADD a x y", "SMOVE a b x", "SMOVE a b x"),
    ("SADD a x; SADD b x y", "SINTERSTORE c a b; SUNIONSTORE d a b", "SINTERSTORE c a b; SUNIONSTORE d a b"),
    ("SADD a x; SADD b x y", "SDIFFSTORE c b a; SDIFFSTORE c a b", "SDIFFSTORE c b a; SDIFFSTORE c a b"),
    // Hashes.
    ("", "HSET a f v; HMSET a f w g w; HSETNX a h v", "HSET a f v; HMSET a f w g w; HSETNX a h v"),
    ("HSET a f 1", "HINCRBY a f 2; HDEL a f; HDEL a f", "HINCRBY a f 2; HDEL a f"),
    ("HSET a f 1.5", "HINCRBYFLOAT a f 1e1", "HSET a f 11.5"),
    // Transactions have a frame where they log more than one record.
    ("", "MULTI; SET a 1; EXEC", "SET a 1"),
    (
        "",
        "MULTI; SET a 1 EX 1; GET a; INCRBYFLOAT b 0.5; EXEC",
        "MULTI; SET a 1 PXAT 1700000001000; SET b 0.5 KEEPTTL; EXEC",
    ),
    ("", "MULTI; SET a 1; SELECT 1; SET a 2; SELECT 0; EXEC", "MULTI; SET a 1; SELECT 1; SET a 2; EXEC"),
    ("", "MULTI; GET a; EXEC; MULTI; SET a 1; DISCARD", ""),
];

#[test]
fn what_each_command_logs() {
    let mut console = Console::new();
    let client = console.client();
    let rows = ONE_SHARD.iter().map(|(before, commands, expected)| {
        console.send(client, &format!("FLUSHALL; {before}"));
        ((*commands).to_string(), console.send(client, commands), (*expected).to_string())
    });
    compare(rows);
    let logging = ONE_SHARD.iter().filter(|(.., expected)| !expected.is_empty());
    assert_eq!(untried(logging.map(|(_, commands, _)| *commands)), Vec::<&str>::new(), "never logged here");
}

/// What is popped from a large set is named, in records that are not too long; the rest stays.
#[test]
fn many_members_that_the_dice_have_chosen_are_named() {
    let mut console = Console::new();
    let client = console.client();
    let count = 2 * LOGGED_MEMBERS_MAX + 10;
    let members: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
    members.chunks(500).for_each(|members| drop(console.send(client, &format!("SADD s {}", members.join(" ")))));
    let logged = console.send(client, &format!("SPOP s {}", count - 1));
    let records: Vec<Vec<&str>> = logged.split("; ").map(|record| record.split(' ').collect()).collect();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record[..2] == ["SREM", "s"] && record.len() <= LOGGED_MEMBERS_MAX + 2));
    let named: BTreeSet<&str> = records.iter().flat_map(|record| &record[2..]).copied().collect();
    assert_eq!(named.len(), count - 1);
}

#[test]
fn keys_that_expire_are_deleted_before_what_notices_it() {
    let mut console = Console::new();
    let client = console.client();
    let expires = NOW + 10;
    let logged = console.send(client, "SET a 1 PX 10; SET b 1 PX 10; SET c 1 PX 10");
    assert_eq!(logged, ["a", "b", "c"].map(|key| format!("SET {key} 1 PXAT {expires}")).join("; "));
    // No later than the regular work, which would remove them all.
    console.now += 10;
    console.engine.node().active_expire.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(console.send(client, "GET a; GET a"), "DEL a");
    assert_eq!(console.send(client, "MULTI; GET b; APPEND c x; EXEC"), "MULTI; DEL b; DEL c; APPEND c x; EXEC");
    // Before what the command says of itself, too.
    console.send(client, "SET a 1 PX 10; SADD s x; PEXPIRE s 10");
    console.now += 10;
    assert_eq!(console.send(client, "INCRBYFLOAT a 2; SPOP s"), "DEL a; SET a 2 KEEPTTL; DEL s");
    assert_eq!(console.send(client, "SET b 1 PX 10"), format!("SET b 1 PXAT {}", console.now + 10));
    console.now += 10;
    let again = format!("DEL b; SET b 2 PXAT {}", console.now + 10);
    assert_eq!(console.send(client, "SET b 2 PX 10 NX"), again);
    console.send(client, "DEL b; SET d 1 PX 10; SET e 1 PXAT 1");
    console.engine.node().active_expire.store(true, std::sync::atomic::Ordering::Relaxed);
    console.now += 1000;
    let mut removed: Vec<_> = console.send(client, "PING").split("; ").map(str::to_string).collect();
    removed.sort();
    assert_eq!(removed, ["DEL d", "DEL e"]);
}

#[test]
fn keys_that_have_expired_in_another_database_are_deleted_before_they_are_written() {
    for command in ["COPY a a DB 1", "MOVE a 1"] {
        let mut console = Console::new();
        let client = console.client();
        console.engine.node().active_expire.store(false, std::sync::atomic::Ordering::Relaxed);
        console.send(client, "SELECT 1; SET a 1 PX 10; SELECT 0; SET a 2");
        console.now += 10;
        assert_eq!(console.send(client, command), format!("SELECT 1; DEL a; SELECT 0; {command}"));
    }
}

#[test]
fn clients_that_wait_are_logged_when_they_are_served() {
    let mut console = Console::new();
    let (waiting, moving, client) = (console.client(), console.client(), console.client());
    assert_eq!(console.send(waiting, "BLPOP l 0"), "");
    assert_eq!(console.send(moving, "BLMOVE l m LEFT LEFT 0"), "");
    let logged = console.send(client, "MULTI; RPUSH l a; RPUSH l b c; EXEC");
    assert_eq!(logged, "MULTI; RPUSH l a; RPUSH l b c; EXEC; LPOP l; LMOVE l m LEFT LEFT");
}

#[test]
fn nothing_is_kept_while_nobody_wants_it() {
    let mut console = Console::new();
    let client = console.client();
    console.engine.set_logging(false);
    assert_eq!(console.send(client, "SET a 1; SPOP s; MULTI; SET a 1 EX 1; SET b 1; EXEC"), "");
    console.engine.set_logging(true);
    assert_eq!(console.send(client, "SET a 1"), "SET a 1");
}
