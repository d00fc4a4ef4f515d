//! SLOWLOG on one core and on several: what gets into it and how it is written, beside `redis-server`.

use crate::SHARDS;
use crate::support::{Client, Reply, Server, encode, words};

/// An entry without its number and times.
type Entry = (Vec<String>, String);

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.bytes()).into_owned()
}

/// The log, the oldest entry first. Its form is checked on the way.
fn log(admin: &mut Client) -> Vec<Entry> {
    let reply = admin.run("SLOWLOG GET -1");
    let mut last = i64::MAX;
    let mut entry = |entry: &Reply| {
        let fields = entry.elements();
        assert_eq!(fields.len(), 6, "{entry}");
        assert!(fields[0].integer() < last, "the latest stand first: {reply}");
        last = fields[0].integer();
        assert!(fields[1].integer() > 1_600_000_000 && fields[2].integer() >= 0, "{entry}");
        assert!(text(&fields[4]).starts_with("127.0.0.1:"), "{entry}");
        (fields[3].elements().iter().map(text).collect(), text(&fields[5]))
    };
    let mut entries: Vec<Entry> = reply.elements().iter().map(&mut entry).collect();
    entries.reverse();
    entries
}

/// What the log holds of `commands` when everything gets into it, sent by a client named `me`.
fn logged(server: &Server, commands: &[&str]) -> Vec<Entry> {
    let (mut admin, mut client) = (server.client(), server.client());
    for setup in ["CONFIG SET slowlog-log-slower-than -1", "CONFIG SET slowlog-max-len 1000", "FLUSHALL"] {
        assert_eq!(admin.run(setup).text(), "OK");
    }
    assert_eq!(client.run("CLIENT SETNAME me").text(), "OK");
    assert_eq!(admin.run("SLOWLOG RESET").text(), "OK");
    assert_eq!(admin.run("CONFIG SET slowlog-log-slower-than 0").text(), "OK");
    for command in commands {
        client.try_call(&words(command)).expect("it is answered");
    }
    assert_eq!(admin.run("CONFIG SET slowlog-log-slower-than -1").text(), "OK");
    let mut entries = log(&mut admin);
    entries.retain(|(arguments, _)| !arguments.contains(&"slowlog-log-slower-than".to_string()));
    entries
}

#[test]
fn what_is_logged_is_what_redis_logs() {
    let long = |count: usize| format!("DEL {}", (0..count).map(|n| format!("key{n}")).collect::<Vec<_>>().join(" "));
    let (dels, value) = ([30, 31, 32, 90].map(long), "v".repeat(500));
    let sets = [128, 129, 500].map(|len| format!("SET k {}", &value[..len]));
    let mut commands: Vec<&str> = vec![
        "GET k",
        "get k",
        "GET",
        "NOSUCH x",
        "SET k \"a\\x00b\\n\"",
        "LPUSH k x",
        "MGET a b c d e f g h",
        "MSET a 1 b 2 c 3 d 4",
        "RENAME a z",
        "SINTERSTORE s1 s2 s3",
        "DBSIZE",
        "KEYS *",
        "SCAN 0",
        "AUTH x",
        "AUTH default x",
        "AUTH bob x",
        "HELLO 2 AUTH default secret",
        "HELLO 2 AUTH bob secret",
        "CONFIG SET hz 10 requirepass \"\" timeout 0",
        "CLIENT LIST",
        "PUBLISH channel message",
        "SUBSCRIBE a",
        "UNSUBSCRIBE a",
        "WATCH a b c d",
        "UNWATCH",
        "MULTI",
        "GET a",
        "SET b 1",
        "PING",
        "EXEC",
        "MULTI",
        "SET one 1",
        "MSET two 2 three 3 four 4",
        "AUTH default x",
        "EXEC",
        "MULTI",
        "NOSUCH",
        "EXEC",
        "MULTI",
        "DBSIZE",
        "EXEC",
        "MULTI",
        "DISCARD",
        "DISCARD",
        "BLPOP nothing 0.01",
        "SLOWLOG LEN",
        "SELECT 3",
        "CLIENT SETNAME you",
        "RESET",
    ];
    commands.extend(dels.iter().chain(&sets).map(String::as_str));
    let expected = logged(&Server::redis(&[]), &commands);
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let got = logged(&server, &commands);
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(got.get(index), Some(expected), "{shards} shards, entry {index}");
        }
        assert_eq!(got.len(), expected.len());
    }
}

/// A client that waits is logged when it is served, with its own name.
#[test]
fn a_blocked_command_is_logged_when_it_is_served() {
    for shards in SHARDS {
        for server in [Server::redis(&[]), Server::subject(shards, &[])] {
            let (mut admin, mut pusher) = (server.client(), server.client());
            assert_eq!(admin.run("CONFIG SET slowlog-log-slower-than 0").text(), "OK");
            let mut waiting: Vec<Client> = (0..4).map(|_| server.client()).collect();
            for (index, client) in waiting.iter_mut().enumerate() {
                client.call(&["CLIENT", "SETNAME", &format!("name{index}")]);
                client.send(&encode(&["BLPOP", &format!("key{index}"), &format!("other{index}"), "0"]));
                client.tcp();
            }
            let waits = || server.client().run("INFO clients").text().contains("blocked_clients:4");
            crate::support::wait_until("all wait", waits);
            assert_eq!(admin.run("SLOWLOG RESET").text(), "OK");
            for (index, client) in waiting.iter_mut().enumerate() {
                assert_eq!(pusher.call(&["RPUSH", &format!("other{index}"), "x"]).integer(), 1);
                assert_eq!(client.read().elements().len(), 2);
            }
            let mut served: Vec<Entry> = log(&mut admin);
            served.retain(|(arguments, _)| arguments[0] == "BLPOP");
            let names: Vec<&str> = served.iter().map(|(_, name)| &name[..]).collect();
            assert_eq!(names, ["name0", "name1", "name2", "name3"], "{}", server.name());
        }
    }
}

/// The threshold is in microseconds and concerns all cores; the longest part of a command counts.
#[test]
fn only_what_is_slow_is_logged() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--enable-debug-command", "yes", "--slowlog-log-slower-than", "50000"]);
        let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            client.call(&["SET", &format!("k{index}"), "v"]);
            client.run("MGET k0 k1 k2 k3");
        }
        assert_eq!(clients[0].run("SLOWLOG LEN").integer(), 0);
        assert_eq!(clients[1].run("DEBUG SLEEP 0.06").text(), "OK");
        assert_eq!(clients[2].run("DEBUG SLEEP 0.02").text(), "OK");
        assert_eq!(log(&mut clients[3]), [(vec!["DEBUG".into(), "SLEEP".into(), "0.06".into()], String::new())]);
        let taken = clients[4].run("SLOWLOG GET").elements()[0].elements()[2].integer();
        assert!((60_000..1_000_000).contains(&taken), "{taken} microseconds");
        assert_eq!(clients[5].run("CONFIG SET slowlog-log-slower-than 10").text(), "OK");
        assert_eq!(clients[5].run("SLOWLOG RESET").text(), "OK");
        // Some of it lies on another core than its client's.
        let many: Vec<String> = (0..50_000).map(|n| format!("m{n}")).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            let list = format!("list{index}");
            let command: Vec<&str> = ["RPUSH", &list].into_iter().chain(many.iter().map(String::as_str)).collect();
            assert_eq!(client.call(&command).integer(), 50_000);
        }
        let pushes = log(&mut clients[6]).into_iter().filter(|(arguments, _)| arguments[0] == "RPUSH").count();
        assert_eq!(pushes, 8);
    }
}
