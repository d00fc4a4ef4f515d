//! What single commands log, word by word.

use crate::segment::lines;
use crimson::commands::{Node, table};
use crimson::config::Config;
use crimson::engine::Engine;
use crimson::session::{Identity, SessionKey};
use crimson::shard::ShardId;
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
        lines(&log).join("; ")
    }
}

#[test]
fn what_each_command_logs() {
    let mut console = Console::new();
    let client = console.client();
    let second = NOW + 1000;
    for (commands, expected) in [
        ("set a 1; get a; set a 2 nx", "set a 1"),
        ("SELECT 3; SET a 1; SELECT 0; SET a 2", "SELECT 3; SET a 1; SELECT 0; SET a 2"),
        ("SET a 1 EX 1 GET", &format!("SET a 1 PXAT {second}")),
        ("SET a 2 KEEPTTL XX", "SET a 2 KEEPTTL"),
        ("SETEX a 1 v", &format!("SET a v PXAT {second}")),
        ("PSETEX a 1000 v", &format!("SET a v PXAT {second}")),
        ("GETEX a PERSIST; GETEX a PERSIST", "PERSIST a"),
        ("GETEX a EX 1; GETEX a", &format!("PEXPIREAT a {second}")),
        ("EXPIRE a 1 NX; EXPIRE a 1; PEXPIRE a 900 GT", &format!("PEXPIREAT a {second}")),
        ("EXPIRE a -1", "DEL a"),
        ("GETDEL a; SET a 1; GETDEL a", "SET a 1; DEL a"),
        ("INCRBYFLOAT f 1.5; INCRBYFLOAT f 1.5", "SET f 1.5 KEEPTTL; SET f 3 KEEPTTL"),
        ("HINCRBYFLOAT h f 1.5", "HSET h f 1.5"),
        ("SADD s a; SPOP s; SPOP s", "SADD s a; SREM s a"),
        ("SADD s a b; SPOP s 2", "SADD s a b; DEL s"),
        ("RPUSH l a b c; BLPOP l 0; BRPOP l 0", "RPUSH l a b c; LPOP l; RPOP l"),
        ("RPUSH l d; BLMPOP 0 1 l RIGHT COUNT 1; LMPOP 1 l LEFT", "RPUSH l d; RPOP l 1; LPOP l 1"),
        (
            "RPUSH l a b; BLMOVE l m LEFT RIGHT 0; BRPOPLPUSH l m 0",
            "RPUSH l a b; LMOVE l m LEFT RIGHT; LMOVE l m RIGHT LEFT",
        ),
        ("MULTI; SET a 1; EXEC", "SET a 1"),
        ("MULTI; SET a 1; GET a; SELECT 1; SET a 2; SELECT 0; EXEC", "MULTI; SET a 1; SELECT 1; SET a 2; EXEC"),
        ("MULTI; GET a; EXEC; DEL none; LPUSHX none 1; SET a b c; INCR h", ""),
        ("MSET a 1 b 2; DEL a none; RENAME b c", "MSET a 1 b 2; DEL a none; RENAME b c"),
        ("FLUSHALL; FLUSHALL", "FLUSHALL"),
        ("SWAPDB 0 1", "SWAPDB 0 1"),
    ] {
        assert_eq!(console.send(client, commands), expected, "{commands}");
    }
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
    console.send(client, "SET d 1 PX 10; SET e 1 PXAT 1");
    console.engine.node().active_expire.store(true, std::sync::atomic::Ordering::Relaxed);
    console.now += 1000;
    let mut removed: Vec<_> = console.send(client, "PING").split("; ").map(str::to_string).collect();
    removed.sort();
    assert_eq!(removed, ["DEL d", "DEL e"]);
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
