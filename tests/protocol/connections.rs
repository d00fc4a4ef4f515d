//! What clients do to connections: QUIT, CLIENT KILL, LIST, PAUSE and REPLY, names, and the unix socket.

use crate::SHARDS;
use crate::support::{Client, Reply, Server, encode, poll, wait_until};
use std::time::{Duration, Instant};

fn id(client: &mut Client) -> i64 {
    client.run("CLIENT ID").integer()
}

#[test]
fn quit_answers_and_closes() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        client.send(&[encode(&["SET", "k", "v"]), encode(&["QUIT"]), encode(&["SET", "k", "unseen"])].concat());
        assert_eq!(client.read_to_end(), b"+OK\r\n+OK\r\n");
        assert_eq!(server.client().run("GET k").text(), "v");
    }
}

#[test]
fn ids_are_unique_and_ascend() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        let mut ids: Vec<i64> = clients.iter_mut().map(id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), clients.len());
    }
}

#[test]
fn client_list_shows_the_clients_of_every_core() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.call(&["CLIENT", "SETNAME", &format!("name{index}")]).text(), "OK");
        }
        clients[3].run("SELECT 7");
        let list = clients[0].run("CLIENT LIST").text();
        let lines: Vec<&str> = list.lines().collect();
        for index in 0..clients.len() {
            let name = format!(" name=name{index} ");
            assert_eq!(lines.iter().filter(|line| line.contains(&name)).count(), 1, "{name} in:\n{list}");
        }
        let line = lines.iter().find(|line| line.contains(" name=name3 ")).expect("just counted");
        assert!(line.contains(" db=7 ") && line.contains(" cmd=select "), "{line}");
        let own = id(&mut clients[3]);
        let info = clients[3].run("CLIENT INFO").text();
        assert!(info.starts_with(&format!("id={own} addr=127.0.0.1:")), "{info}");
        let listed = clients[5].call(&["CLIENT", "LIST", "ID", &own.to_string()]).text();
        assert!(listed.starts_with(&format!("id={own} ")) && listed.lines().count() == 1, "{listed}");
    }
}

#[test]
fn client_kill_closes_clients_of_any_core() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut killer = server.client();
        let mut victims: Vec<Client> = (0..12).map(|_| server.client()).collect();
        let ids: Vec<i64> = victims.iter_mut().map(id).collect();
        for (victim, id) in victims.iter_mut().zip(&ids).take(6) {
            assert_eq!(killer.call(&["CLIENT", "KILL", "ID", &id.to_string()]).integer(), 1);
            assert!(victim.is_closed());
        }
        let address = victims[6].tcp().local_addr().expect("a connected socket").to_string();
        assert_eq!(killer.call(&["CLIENT", "KILL", &address]).text(), "OK");
        assert!(victims[6].is_closed());
        let address = victims[7].tcp().local_addr().expect("a connected socket").to_string();
        assert_eq!(killer.call(&["CLIENT", "KILL", "ADDR", &address]).integer(), 1);
        assert!(victims[7].is_closed());
        assert_eq!(killer.run("CLIENT KILL TYPE normal SKIPME yes").integer(), 4);
        assert!(victims[8..].iter_mut().all(Client::is_closed));
        assert_eq!(killer.run("CLIENT LIST").text().lines().count(), 1);
        // One that kills itself still gets its answer.
        let own = id(&mut killer);
        assert_eq!(killer.call(&["CLIENT", "KILL", "ID", &own.to_string(), "SKIPME", "no"]).integer(), 1);
        assert!(killer.is_closed());
    }
}

#[test]
fn a_killed_client_is_gone_for_the_next_command() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut killer = server.client();
        let mut victims: Vec<Client> = (0..6).map(|_| server.client()).collect();
        for (index, victim) in victims.iter_mut().enumerate() {
            let own = id(victim).to_string();
            let (kill, list) = (["CLIENT", "KILL", "ID", &own], ["CLIENT", "LIST", "ID", &own]);
            // A victim that waits is gone, too, and gets nothing.
            if index % 2 == 0 {
                victim.send(&encode(&["BLPOP", "queue", "0"]));
                wait_until("it waits", || killer.call(&list).text().contains(" cmd=blpop "));
            }
            let push = encode(&["RPUSH", "queue", "a"]);
            killer.send(&[encode(&kill), encode(&list), encode(&kill), push, encode(&["DEL", "queue"])].concat());
            assert_eq!(killer.read().integer(), 1);
            assert_eq!(killer.read().text(), "");
            assert_eq!(killer.read().integer(), 0);
            assert_eq!((killer.read().integer(), killer.read().integer()), (1, 1));
            assert!(victim.is_closed());
        }
    }
}

#[test]
fn client_pause_holds_commands_back() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let (mut one, mut other) = (server.client(), server.client());
        assert_eq!(other.run("SET k v").text(), "OK");

        // Everything waits until the time is over.
        let start = Instant::now();
        assert_eq!(one.run("CLIENT PAUSE 400").text(), "OK");
        assert_eq!(other.run("GET k").text(), "v");
        assert!(start.elapsed() >= Duration::from_millis(350), "GET waited {:?}", start.elapsed());

        // Only writes wait; UNPAUSE lets them go.
        let start = Instant::now();
        assert_eq!(one.run("CLIENT PAUSE 60000 WRITE").text(), "OK");
        assert_eq!(other.run("GET k").text(), "v");
        other.send(&encode(&["SET", "k", "w"]));
        let mut third = server.client();
        for _ in 0..20 {
            assert_eq!(third.run("GET k").text(), "v");
            std::thread::sleep(Duration::from_millis(5));
        }
        let held_back = poll(Duration::from_secs(20), || {
            let clients = one.run("CLIENT LIST").text().to_string();
            clients.lines().any(|line| line.contains(" flags=b ") && line.contains(" cmd=set ")).then_some(())
        });
        assert!(held_back.is_some(), "CLIENT LIST shows who waits for what");
        let blocked = |client: &mut Client| {
            let text = client.run("INFO clients").text().to_string();
            text.lines().find_map(|line| line.strip_prefix("blocked_clients:")?.parse::<u32>().ok())
        };
        assert_eq!(blocked(&mut one), Some(1), "who waits for the end of a pause counts as blocked");
        assert_eq!(one.run("CLIENT UNPAUSE").text(), "OK");
        assert_eq!(other.read().text(), "OK");
        assert!(!one.run("CLIENT LIST").text().contains(" flags=b "));
        assert_eq!(blocked(&mut one), Some(0));
        assert!(start.elapsed() < Duration::from_secs(30), "UNPAUSE took {:?}", start.elapsed());
        assert_eq!(third.run("GET k").text(), "w");
    }
}

/// As in Redis, keys whose time is over are gone for all who ask, but stay where they are until the pause is over.
#[test]
fn nothing_expires_while_clients_are_paused() {
    for server in SHARDS.map(|shards| Server::subject(shards, &[])).into_iter().chain([Server::redis(&[])]) {
        let mut client = server.client();
        client.run("CONFIG SET notify-keyspace-events Ex");
        let mut listener = server.client();
        listener.run("SUBSCRIBE __keyevent@0__:expired");
        client.run("SADD kept x");
        for key in ["a", "b", "c", "d"] {
            client.run(&format!("SADD {key} x"));
            client.run(&format!("PEXPIRE {key} 300"));
        }
        let requests = [encode(&["CLIENT", "PAUSE", "60000", "WRITE"]), encode(&["SMEMBERS", "a"])];
        client.send(&requests.concat());
        assert_eq!(client.read().text(), "OK");
        assert_eq!(client.read().elements().len(), 1);
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(client.run("SMEMBERS a").elements().len(), 0);
        assert_eq!(client.run("EXISTS a b c d").integer(), 0);
        assert_eq!(client.run("SUNION {a} a").elements().len(), 0);
        assert_eq!(client.run("SCAN 0 COUNT 100").elements().len(), 2);
        assert_eq!(client.run("TTL b").integer(), -2);
        assert_eq!(client.run("DBSIZE").integer(), 5, "they are still there");
        assert!(client.run("INFO stats").text().contains("\nexpired_keys:0\r"));
        assert_eq!(client.run("CLIENT UNPAUSE").text(), "OK");
        wait_until("they have expired", || client.run("DBSIZE").integer() == 1);
        assert!(client.run("INFO stats").text().contains("\nexpired_keys:4\r"));
        for _ in 0..4 {
            assert_eq!(listener.read().elements().len(), 3, "everybody is told then");
        }
    }
}

#[test]
fn paused_clients_go_on_in_the_order_in_which_they_came() {
    // On one core: those on several do not know of each other.
    let server = Server::subject(1, &[]);
    let mut client = server.client();
    assert_eq!(client.run("CLIENT PAUSE 60000 WRITE").text(), "OK");
    let mut paused: Vec<_> = (0..8).map(|_| server.client()).collect();
    for (number, paused) in paused.iter_mut().enumerate() {
        paused.send(&encode(&["RPUSH", "order", &number.to_string()]));
        // Long enough to be read before the next one's.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.run("CLIENT UNPAUSE").text(), "OK");
    for (number, paused) in paused.iter_mut().enumerate() {
        assert_eq!(paused.read().integer(), number as i64 + 1);
    }
}

#[test]
fn client_reply_switches_replies_off() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let commands = [
            "CLIENT REPLY OFF",
            "SET a 1",
            "NOSUCH",
            "GET a",
            "CLIENT REPLY SKIP",
            "CLIENT REPLY ON",
            "GET a",
            "CLIENT REPLY SKIP",
            "SET a 2",
            "GET a",
            "CLIENT REPLY OFF",
            "INCR a",
            "MGET a b",
            "CLIENT REPLY ON",
            "INCR a",
        ];
        client.send(&commands.iter().flat_map(|text| encode(&crate::support::words(text))).collect::<Vec<u8>>());
        let replies: Vec<String> = (0..5).map(|_| client.read().to_string()).collect();
        assert_eq!(replies, ["OK", "\"1\"", "\"2\"", "OK", "(integer) 4"]);
        assert_eq!(client.run("PING").text(), "PONG");
    }
}

#[test]
fn every_connection_has_its_own_database_and_name() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.call(&["SELECT", &index.to_string()]).text(), "OK");
            assert_eq!(client.call(&["SET", "k", &index.to_string()]).text(), "OK");
            assert_eq!(client.call(&["CLIENT", "SETNAME", &format!("n{index}")]).text(), "OK");
        }
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.run("GET k").text(), index.to_string());
            assert_eq!(client.run("DBSIZE").integer(), 1);
            assert_eq!(client.run("CLIENT GETNAME").text(), format!("n{index}"));
        }
    }
}

#[test]
fn the_unix_socket_is_served() {
    use std::os::unix::fs::PermissionsExt;
    for shards in SHARDS {
        let socket = ["--unixsocket", "{dir}/s.sock", "--unixsocketperm", "700", "--enable-debug-command", "local"];
        let server = Server::subject(shards, &socket);
        let path = server.dir.join("s.sock");
        // The server listens on TCP first.
        wait_until("the socket is there", || path.exists());
        let mode = std::fs::metadata(&path).expect("the socket is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let mut clients: Vec<Client> = (0..8).map(|_| Client::unix(&path)).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            let key = format!("k{index}");
            assert_eq!(client.call(&["SET", &key, "v"]).text(), "OK");
            assert_eq!(client.call(&["GET", &key]).text(), "v");
        }
        assert_eq!(server.client().run("DBSIZE").integer(), 8);
        let value = vec![b'x'; 3 << 20];
        assert_eq!(clients[0].call(&[b"SET", b"large".as_slice(), &value]).text(), "OK");
        assert!(clients[1].run("GET large").bytes() == value);
        let info = clients[0].run("CLIENT INFO").text();
        assert!(info.contains("s.sock:0 "), "{info}");
        assert_eq!(clients[1].run("DEBUG SLEEP 0").text(), "OK", "these clients are on this machine");
    }
}

/// The Unix socket belongs to one core. It used to hand all of a storm to the same other core.
#[test]
fn a_storm_of_connections_is_spread_over_the_cores() {
    for shards in [2, 4] {
        let server = Server::subject(shards, &["--unixsocket", "{dir}/s.sock"]);
        let path = server.dir.join("s.sock");
        wait_until("the socket is there", || path.exists());
        let _clients: Vec<Client> = (0..200).map(|_| Client::unix(&path)).collect();
        let mut client = server.client();
        let mut counts = Vec::new();
        wait_until("all are there", || {
            let info = client.run("INFO cores").text();
            let counted =
                info.split("clients=").skip(1).filter_map(|rest| rest.split(',').next()?.parse::<usize>().ok());
            counts = counted.collect();
            counts.iter().sum::<usize>() == 201
        });
        let (fewest, most) = (counts.iter().min().copied(), counts.iter().max().copied());
        let (fewest, most) = (fewest.expect("a core"), most.expect("a core"));
        // A quarter more is meant; on a busy machine cores hear late of each other.
        assert!(most <= 2 * fewest + 8, "{counts:?}");
    }
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut watcher = server.client();
        for round in 0..30 {
            let mut client = server.client();
            // Gone in the middle of a request, with replies under way, or idle.
            match round % 3 {
                0 => client.send(b"*2\r\n$3\r\nGET\r\n$10\r\nab"),
                1 => client.send(&encode(&["ECHO", &"x".repeat(100_000)]).repeat(20)),
                _ => assert_eq!(client.run("PING"), Reply::Simple(b"PONG".to_vec())),
            }
        }
        wait_until("only one client is left", || watcher.run("CLIENT LIST").text().lines().count() == 1);
        assert_eq!(watcher.run("PING").text(), "PONG");
    }
}
