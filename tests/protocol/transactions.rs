//! Transactions as clients see them: their replies byte for byte, what else shows that one is open, and watches between
//! many connections.

use crate::SHARDS;
use crate::support::{Client, Reply, Server, encode, wait_until};
use std::time::{Duration, Instant};

/// The bytes of inline commands, one a line.
fn lines(text: &str) -> Vec<u8> {
    text.trim().lines().flat_map(|line| [line.trim().as_bytes(), b"\r\n"].concat()).collect()
}

/// What a new client is answered to these lines before the server closes the connection.
fn answers(server: &Server, text: &str) -> String {
    let mut client = server.client();
    client.send(&[lines(text), lines("QUIT")].concat());
    let bytes = client.read_to_end();
    String::from_utf8(bytes).expect("text").strip_suffix("+OK\r\n").expect("QUIT's answer").into()
}

#[test]
fn a_transaction_changes_the_protocol_and_the_database_as_it_goes() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for tag in ["a", "b", "c", "d", "e"] {
            let text = "MULTI\nHSET {tag}h f v\nHGETALL {tag}h\nHELLO 3\nHGETALL {tag}h\nSELECT 1\nEXISTS {tag}h\nEXEC\nEXISTS {tag}h";
            let got = answers(&server, &text.replace("tag", tag));
            let (start, end) = got.split_once("%8\r\n").or_else(|| got.split_once("%7\r\n")).expect("HELLO's map");
            let queued = "+QUEUED\r\n".repeat(6);
            let pair = "$1\r\nf\r\n$1\r\nv\r\n";
            assert_eq!(start, format!("+OK\r\n{queued}*6\r\n:1\r\n*2\r\n{pair}"));
            assert!(end.ends_with(&format!("%1\r\n{pair}+OK\r\n:0\r\n:0\r\n")), "{end}");
        }
    }
}

#[test]
fn the_null_of_a_failed_transaction_follows_the_protocol() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for (hello, null) in [("HELLO 2", "*-1\r\n"), ("HELLO 3", "_\r\n")] {
            for key in ["a", "b", "c", "d", "e"] {
                let text = format!("{hello}\nWATCH {key}\nINCR {key}\nMULTI\nGET {key}\nEXEC");
                let got = answers(&server, &text);
                assert!(got.ends_with(&format!("+OK\r\n+QUEUED\r\n{null}")), "{got}");
            }
        }
    }
}

/// CLIENT REPLY inside a transaction takes replies out of it, however odd that is.
#[test]
fn client_reply_inside_a_transaction() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let skip = answers(&server, "MULTI\nCLIENT REPLY SKIP\nINCR a\nPING\nEXEC\nPING\nPING");
        assert_eq!(skip, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:1\r\n+PONG\r\n+PONG\r\n");
        let off = answers(&server, "MULTI\nINCR a\nCLIENT REPLY OFF\nINCR a\nEXEC\nPING\nCLIENT REPLY ON");
        assert_eq!(off, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:2\r\n+OK\r\n");
        let silent = answers(
            &server,
            "CLIENT REPLY OFF\nMULTI\nINCR a\nWATCH b\nNOSUCH\nEXEC\nMULTI\nINCR a\nEXEC\nCLIENT REPLY ON",
        );
        assert_eq!(silent, "+OK\r\n");
        assert_eq!(answers(&server, "GET a"), "$1\r\n4\r\n");
    }
}

#[test]
fn large_values_and_errors_stand_in_their_places() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let large = "x".repeat(100_000);
        for tag in ["a", "b", "c", "d", "e"] {
            let mut client = server.client();
            let key = format!("{{{tag}}}k");
            let commands: [&[&str]; 7] = [
                &["MULTI"],
                &["SET", &key, &large],
                &["GET", &key],
                &["ECHO", "between"],
                &["INCR", &key],
                &["MGET", &key, &key],
                &["EXEC"],
            ];
            client.send(&commands.iter().flat_map(|command| encode(command)).collect::<Vec<u8>>());
            let replies: Vec<Reply> = commands.iter().map(|_| client.read()).collect();
            let large = Reply::Bulk(large.clone().into());
            let error = b"ERR value is not an integer or out of range".to_vec();
            let expected = [
                Reply::Simple(b"OK".to_vec()),
                large.clone(),
                Reply::Bulk(b"between".to_vec()),
                Reply::Error(error),
                Reply::Array(vec![large.clone(), large]),
            ];
            assert_eq!(replies[6], Reply::Array(expected.to_vec()));
        }
    }
}

#[test]
fn client_list_shows_open_transactions() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let mut other = server.client();
        let id = client.run("CLIENT ID").integer();
        let mut field = |name: &str| {
            let line = other.call(&["CLIENT", "LIST", "ID", &id.to_string()]).text();
            line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).expect("a field").to_string()
        };
        assert_eq!((field("flags"), field("multi")), ("N".into(), "-1".into()));
        client.run("MULTI");
        assert_eq!((field("flags"), field("multi"), field("cmd")), ("x".into(), "0".into(), "multi".into()));
        client.run("SET a 1");
        client.call(&["SET", "a", &"x".repeat(5000)]);
        assert_eq!((field("multi"), field("cmd")), ("2".into(), "set".into()));
        assert!(field("multi-mem").parse::<usize>().expect("a number") > 5000);
        assert!(field("tot-mem").parse::<usize>().expect("a number") > 5000);
        client.run("CLIENT INFO");
        client.run("CLIENT LIST");
        client.run("GET a");
        let replies = client.run("EXEC").elements().to_vec();
        for reply in &replies[2..4] {
            assert!(reply.text().contains(" flags=x ") && reply.text().contains(" multi=5 "), "{reply}");
        }
        assert_eq!(replies[4].text().len(), 5000);
        assert_eq!((field("flags"), field("multi")), ("N".into(), "-1".into()));
    }
}

#[test]
fn a_pause_of_writes_holds_up_transactions_that_write() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let (mut writer, mut reader, mut admin) = (server.client(), server.client(), server.client());
        for command in ["MULTI", "SET {t}a 1", "GET {t}a"] {
            writer.run(command);
        }
        for command in ["MULTI", "GET {t}a"] {
            reader.run(command);
        }
        let started = Instant::now();
        assert_eq!(admin.run("CLIENT PAUSE 300 WRITE").text(), "OK");
        assert_eq!(reader.run("EXEC"), Reply::Array(vec![Reply::NullBulk]));
        assert!(started.elapsed() < Duration::from_millis(290));
        assert_eq!(writer.run("EXEC").elements().len(), 2);
        assert!(started.elapsed() >= Duration::from_millis(290));
    }
}

/// What is queued counts as input: a client cannot fill the memory with a transaction that it never ends.
#[test]
fn queues_and_watches_are_bounded() {
    for shards in SHARDS {
        let server = Server::crimson(shards, &["--client-query-buffer-limit", "1mb"]);
        let mut healthy = server.client();
        let flood = |first: &str, command: &dyn Fn(usize) -> Vec<u8>| {
            let mut client = server.client();
            client.run(first);
            let refused = (0..4000).any(|number| client.try_send(&command(number)).is_err());
            refused || client.read_to_end().len() < 4000 * 5
        };
        let value = "x".repeat(1000);
        assert!(flood("MULTI", &|_| encode(&["SET", "k", &value])));
        assert!(flood("PING", &|number| encode(&["WATCH", &format!("{number}{value}")])));
        assert_eq!(healthy.run("PING").text(), "PONG");
    }
}

/// Clients on all cores watch the same key; one change fails them all, and those who leave are forgotten.
#[test]
fn a_change_fails_the_watchers_of_all_cores() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for client in &mut clients {
            assert_eq!(client.run("WATCH other key").text(), "OK");
        }
        clients.truncate(16);
        assert_eq!(server.client().run("SET key 1").text(), "OK");
        for client in &mut clients {
            client.run("MULTI");
            client.run("GET {key}");
            client.run("DISCARD");
            client.run("MULTI");
            client.run("GET key");
            assert_eq!(client.run("EXEC").elements().len(), 1, "DISCARD has ended the watch");
            assert_eq!(client.run("WATCH key").text(), "OK");
        }
        assert_eq!(server.client().run("APPEND key 2").integer(), 2);
        for client in &mut clients {
            client.run("MULTI");
            client.run("GET key");
            assert_eq!(client.run("EXEC"), Reply::NullArray);
        }
    }
}

/// Additions by watching, reading and writing, all at once on all cores: none is lost.
#[test]
fn optimistic_writers_lose_nothing() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        server.client().run("SET n 0");
        let add = |client: &mut Client| {
            client.run("WATCH n");
            let next = client.run("GET n").text().parse::<u64>().expect("a number") + 1;
            client.run("MULTI");
            client.call(&["SET", "n", &next.to_string()]);
            client.run("EXEC") != Reply::NullArray
        };
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut client = server.client();
                    for _ in 0..50 {
                        wait_until("an addition succeeds", || add(&mut client));
                    }
                });
            }
        });
        assert_eq!(server.client().run("GET n").text(), "300");
    }
}

/// Each command on a key of the client's own core was run by recursion, and the stack of that core ended.
#[test]
fn a_long_transaction_with_a_command_on_all_shards_runs() {
    const COMMANDS: usize = 20_000;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        // Clients and tags enough that some tag is on its client's own core.
        for tag in ["a", "b", "c", "d"] {
            let mut client = server.client();
            let one = encode(&["SET", &format!("{{{tag}}}k"), "v"]);
            let queued: Vec<u8> = (0..COMMANDS).flat_map(|_| one.clone()).collect();
            client.send(&[encode(&["MULTI"]), encode(&["DBSIZE"]), queued, encode(&["EXEC"])].concat());
            (0..COMMANDS + 2).for_each(|_| assert!(!client.read().is_error()));
            assert_eq!(client.read().elements().len(), COMMANDS + 1, "{shards} shards, {tag}");
        }
    }
}
