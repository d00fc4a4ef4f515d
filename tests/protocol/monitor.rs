//! MONITOR on one core and on several: every command of every client, written as `redis-server` writes it.

use crate::SHARDS;
use crate::support::{Client, Server, encode, poll, wait_until, words};
use std::time::Duration;

/// A monitor of a server.
fn monitor(server: &Server) -> Client {
    let mut client = server.client();
    assert_eq!(client.run("MONITOR").text(), "OK");
    client
}

/// The next line: the database, and the command as it is shown. The time and the address are checked and left out.
fn line(monitor: &mut Client) -> String {
    let line = monitor.read().text();
    let (time, rest) = line.split_once(" [").unwrap_or_else(|| panic!("no line of a monitor: {line}"));
    let (seconds, micros) = time.split_once('.').expect("a time with a point");
    assert!(seconds.parse::<u64>().expect("seconds") > 1_600_000_000 && micros.len() == 6, "{line}");
    let (database, rest) = rest.split_once(' ').expect("a database and an address");
    let (address, command) = rest.split_once("] ").expect("an address and a command");
    assert!(address.starts_with("127.0.0.1:"), "{line}");
    format!("{database} {command}")
}

/// All lines up to one that shows `ECHO end`.
fn lines(monitor: &mut Client, server: &Server) -> Vec<String> {
    // Every core has given its lines when it has given that of a client of its own.
    let mut last: Vec<Client> = (0..8).map(|_| server.client()).collect();
    last.iter_mut().for_each(|client| assert_eq!(client.run("ECHO end").text(), "end"));
    let (mut lines, mut ends) = (Vec::new(), 0);
    while ends < last.len() {
        let line = line(monitor);
        if line == "0 \"ECHO\" \"end\"" { ends += 1 } else { lines.push(line) }
    }
    lines
}

const COMMANDS: &[&str] = &[
    "PING",
    "set a \"\\x00\\xff\\\"\\n\\r\\t\\a\\b\\\\ z\"",
    "GET",
    "NOSUCH x",
    "GET a",
    "SELECT 3",
    "GET a",
    "LPUSH a x",
    "MSET a 1 b 2 c 3 d 4",
    "RENAME a z",
    "DBSIZE",
    "SELECT 0",
    "CONFIG GET hz",
    "CONFIG SET requirepass \"\"",
    "AUTH default secret",
    "AUTH secret",
    "HELLO 2 AUTH default secret SETNAME x",
    "HELLO 2 AUTH bob secret",
    "CLIENT LIST",
    "CLIENT SETNAME foo",
    "INFO server",
    "COMMAND COUNT",
    "SLOWLOG LEN",
    "MULTI",
    "SET x 1",
    "NOSUCH",
    "exec",
    "MULTI",
    "SET x 1",
    "LPUSH x 1",
    "SELECT 2",
    "MSET a 1 b 2 c 3 d 4",
    "AUTH default secret",
    "CONFIG SET hz 10",
    "SELECT 0",
    "eXec",
    "MULTI",
    "DBSIZE",
    "FLUSHALL",
    "EXEC",
    "MULTI",
    "DISCARD",
    "EXEC",
    "SUBSCRIBE ch",
    "UNSUBSCRIBE ch",
    "PUBLISH ch x",
    "WATCH a",
    "UNWATCH",
    "BLPOP nothing 0.01",
    "FLUSHALL",
    "RESET",
    "QUIT",
];

/// What a monitor sees of the commands of one client.
fn seen(server: &Server) -> Vec<String> {
    let (mut monitor, mut client) = (monitor(server), server.client());
    for command in COMMANDS {
        client.try_call(&words(command)).expect("it is answered");
    }
    lines(&mut monitor, server)
}

#[test]
fn a_monitor_sees_what_redis_shows() {
    let expected = seen(&Server::redis(&[]));
    for shards in SHARDS {
        // Several times, so that the client and the monitor are on the same core and on different ones.
        let server = Server::subject(shards, &[]);
        for _ in 0..4 {
            let got = seen(&server);
            for (index, expected) in expected.iter().enumerate() {
                assert_eq!(got.get(index), Some(expected), "{shards} shards, line {index}");
            }
            assert_eq!(got.len(), expected.len());
        }
    }
}

#[test]
fn monitors_of_all_cores_hear_the_clients_of_all_cores() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut monitors: Vec<Client> = (0..6).map(|_| monitor(&server)).collect();
        let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for round in 0..20 {
            for (index, client) in clients.iter_mut().enumerate() {
                client.send(&encode(&["SET", &format!("client{index}"), &round.to_string()]));
            }
        }
        clients.iter_mut().for_each(|client| (0..20).for_each(|_| assert_eq!(client.read().text(), "OK")));
        for monitor in &mut monitors {
            let mut next = [0; 8];
            for _ in 0..8 * 20 {
                let line = line(monitor);
                let words: Vec<&str> = line.split('"').collect();
                let client: usize = words[3].strip_prefix("client").expect("a key").parse().expect("a number");
                assert_eq!(words[5], next[client].to_string(), "in the order of each client");
                next[client] += 1;
            }
        }
        // Who leaves hears nothing more; the others do.
        assert_eq!(monitors[0].run("RESET").text(), "RESET");
        monitors[1].send(&encode(&["QUIT"]));
        assert_eq!(line(&mut monitors[2]), "0 \"RESET\"");
        assert_eq!(line(&mut monitors[2]), "0 \"QUIT\"");
        monitors.truncate(2);
        assert_eq!(line(&mut monitors[1]), "0 \"RESET\"");
        assert_eq!(monitors[1].read_to_end(), b"+OK\r\n");
        assert_eq!(clients[0].run("PING").text(), "PONG");
        assert_eq!(monitors[0].run("GET client0").text(), "19");
    }
}

#[test]
fn a_monitor_may_do_what_redis_lets_it() {
    for server in [Server::redis(&[]), Server::subject(1, &[]), Server::subject(4, &[])] {
        let mut client = server.client();
        assert_eq!(client.run("MULTI").text(), "OK");
        assert_eq!(client.run("MONITOR").text(), "QUEUED");
        assert_eq!(client.show("EXEC"), "1) (error) ERR MONITOR isn't allowed for DENY BLOCKING client");
        assert_eq!(client.run("MONITOR").text(), "OK");
        // A second one has no answer.
        client.send(&[encode(&["MONITOR"]), encode(&["GET", "a"])].concat());
        assert_eq!(client.show("PUBLISH a b"), "(error) ERR Replica can't interact with the keyspace");
        assert_eq!(client.read().to_string(), "(error) ERR Replica can't interact with the keyspace");
        assert_eq!(client.run("PING").text(), "PONG");
        assert_eq!(line(&mut client), "0 \"PING\"");
        assert!(client.run("CLIENT INFO").text().contains(" flags=O "));
        assert_eq!(line(&mut client), "0 \"CLIENT\" \"INFO\"");
        let mut other = server.client();
        assert_eq!(
            other.run("CLIENT KILL TYPE normal").integer(),
            1,
            "{}: a monitor is a normal client",
            server.name()
        );
        assert!(client.is_closed());
    }
}

/// A client of the Unix socket is named by its path.
#[test]
fn clients_of_the_unix_socket_are_shown_as_such() {
    let arguments = ["--unixsocket", "{dir}/server.sock", "--slowlog-log-slower-than", "0"];
    for server in [Server::redis(&arguments), Server::subject(1, &arguments), Server::subject(4, &arguments)] {
        let (mut monitor, path) = (monitor(&server), server.dir.join("server.sock"));
        let mut client = Client::unix(&path);
        assert_eq!(client.run("PING hey").text(), "hey");
        let (shown, path) = (monitor.read().text(), path.display());
        assert!(shown.ends_with(&format!(" [0 unix:{path}] \"PING\" \"hey\"")), "{}: {shown}", server.name());
        let entry = client.run("SLOWLOG GET 1");
        assert_eq!(entry.elements()[0].elements()[4].bytes(), format!("{path}:0").as_bytes(), "{}", server.name());
    }
}

/// Passwords are shown to nobody: not by MONITOR, not by SLOWLOG, not in the log file.
#[test]
fn nobody_sees_a_password() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--slowlog-log-slower-than", "0", "--loglevel", "debug"]);
        let (mut watcher, mut client) = (monitor(&server), server.client());
        for command in [
            "CONFIG SET requirepass swordfish",
            "AUTH swordfish",
            "AUTH default swordfish",
            "AUTH my swordfish is long",
            "HELLO 3 AUTH default swordfish",
            "HELLO AUTH default swordfish",
            "CONFIG SET hz 10 requirepass swordfish",
            "CONFIG SET requirepass the swordfish",
        ] {
            client.try_call(&words(command)).expect("it is answered");
        }
        for command in ["MULTI", "AUTH swordfish", "CONFIG SET requirepass swordfish", "EXEC"] {
            client.try_call(&words(command)).expect("it is answered");
        }
        let slow = client.show("SLOWLOG GET -1");
        assert!(slow.contains("(redacted)") && !slow.contains("swordfish"), "{slow}");
        assert_eq!(client.run("PING end").text(), "end");
        loop {
            let line = line(&mut watcher);
            assert!(!line.contains("swordfish"), "{line}");
            if line.contains("end") {
                break;
            }
        }
        assert!(!client.run("CLIENT LIST").text().contains("swordfish"));
        assert!(!server.log().contains("swordfish"), "{}", server.log());
    }
}

/// A monitor that does not read is closed and harms nobody.
#[test]
fn a_deaf_monitor_is_closed() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--client-output-buffer-limit", "normal", "4mb", "0", "0"]);
        let _deaf: Vec<Client> = (0..4).map(|_| monitor(&server)).collect();
        let mut writer = server.client();
        let echo = encode(&["ECHO", &"x".repeat(500_000)]);
        let gone = poll(Duration::from_secs(30), || {
            writer.send(&echo);
            assert_eq!(writer.read().bytes().len(), 500_000);
            (!writer.run("CLIENT LIST").text().contains(" flags=O ")).then_some(())
        });
        assert!(gone.is_some(), "they are still there:\n{}", writer.run("CLIENT LIST").text());
        // Without a limit of its class it has one of its own.
        assert_eq!(writer.run("CONFIG SET client-output-buffer-limit \"normal 0 0 0\"").text(), "OK");
        let _deaf = monitor(&server);
        assert_eq!(writer.call(&["ECHO", &"\0".repeat(20_000_000)]).bytes().len(), 20_000_000);
        wait_until("it is closed", || !writer.run("CLIENT LIST").text().contains(" flags=O "));
    }
}
