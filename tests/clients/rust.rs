//! redis-rs, the client of Rust programs.

use crate::SHARDS;
use crate::support::Server;
use redis::{Commands, Connection, ErrorKind, RedisResult, Value};
use std::collections::{BTreeMap, BTreeSet};

fn connect(server: &Server, protocol: &str) -> Connection {
    let url = format!("redis://127.0.0.1:{}/?protocol={protocol}", server.port);
    let client = redis::Client::open(url).expect("a sound address");
    client.get_connection().unwrap_or_else(|error| panic!("no {protocol} connection: {error}"))
}

fn every_connection(check: fn(&mut Connection)) {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for protocol in ["resp2", "resp3"] {
            let mut connection = connect(&server, protocol);
            let done: RedisResult<String> = redis::cmd("FLUSHALL").query(&mut connection);
            assert_eq!(done.expect("FLUSHALL is answered"), "OK");
            check(&mut connection);
        }
    }
}

#[test]
fn every_type() {
    every_connection(|c| {
        let _: () = c.set("s", "value").expect("SET");
        assert_eq!(c.get::<_, String>("s").expect("GET"), "value");
        assert_eq!(c.get::<_, Option<String>>("none").expect("GET"), None);
        assert_eq!(c.incr::<_, _, i64>("n", 5).expect("INCRBY"), 5);
        assert!((c.incr::<_, _, f64>("f", 1.5).expect("INCRBYFLOAT") - 1.5).abs() < f64::EPSILON);
        let _: () = c.mset(&[("a", 1), ("b", 2)]).expect("MSET");
        assert_eq!(c.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"]).expect("MGET"), [Some(1), None, Some(2)]);
        assert_eq!(c.rpush::<_, _, i64>("l", &[1, 2, 3]).expect("RPUSH"), 3);
        assert_eq!(c.lrange::<_, Vec<i64>>("l", 0, -1).expect("LRANGE"), [1, 2, 3]);
        assert_eq!(c.sadd::<_, _, i64>("t", &["x", "y"]).expect("SADD"), 2);
        let members: BTreeSet<String> = c.smembers("t").expect("SMEMBERS");
        assert_eq!(members, BTreeSet::from(["x".into(), "y".into()]));
        let _: () = c.hset_multiple("h", &[("f", "1"), ("g", "2")]).expect("HSET");
        let fields: BTreeMap<String, i64> = c.hgetall("h").expect("HGETALL");
        assert_eq!(fields, BTreeMap::from([("f".into(), 1), ("g".into(), 2)]));
        assert!(c.sismember::<_, _, bool>("t", "x").expect("SISMEMBER"));
        assert_eq!(c.del::<_, i64>(&["s", "n", "l", "t", "h"]).expect("DEL"), 5);
    });
}

#[test]
fn pipelines() {
    every_connection(|c| {
        let mut pipe = redis::pipe();
        for number in 0..1000 {
            pipe.set(format!("k{number}"), number).ignore().get(format!("k{number}"));
        }
        let values: Vec<i64> = pipe.query(c).expect("a pipeline is answered");
        assert_eq!(values, (0..1000).collect::<Vec<i64>>());
    });
}

#[test]
fn scans() {
    every_connection(|c| {
        let mut pipe = redis::pipe();
        for number in 0..3000 {
            pipe.set(format!("key:{number}"), "v").ignore();
        }
        let _: () = pipe.query(c).expect("a pipeline is answered");
        let found = c.scan_match::<_, String>("key:*").expect("SCAN").map(|key| key.expect("a key"));
        assert_eq!(found.collect::<BTreeSet<_>>().len(), 3000);
        let members: Vec<i64> = (0..2000).collect();
        let _: () = c.sadd("set", &members).expect("SADD");
        let found = c.sscan::<_, i64>("set").expect("SSCAN").map(|member| member.expect("a member"));
        assert_eq!(found.collect::<BTreeSet<_>>(), members.into_iter().collect());
    });
}

#[test]
fn large_values_and_errors() {
    every_connection(|c| {
        let value: Vec<u8> = (0..8 << 20).map(|index: usize| index as u8).collect();
        let _: () = c.set("large", &value).expect("SET");
        assert!(c.get::<_, Vec<u8>>("large").expect("GET") == value);
        let error = c.lpush::<_, _, i64>("large", 1).expect_err("a list command on a string");
        assert_eq!(error.code(), Some("WRONGTYPE"));
        let unknown: RedisResult<Value> = redis::cmd("NOSUCH").arg("a").query(c);
        assert!(matches!(unknown.expect_err("no such command").kind(), ErrorKind::Server(_)));
        assert_eq!(c.get::<_, Vec<u8>>("large").expect("the connection goes on").len(), value.len());
    });
}
