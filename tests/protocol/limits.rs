//! Limits on clients: their number, their idle time, what they send without an end and what they do not read.

use crate::SHARDS;
use crate::support::process::peak_bytes;
use crate::support::{Client, Server, encode, poll};
use std::time::{Duration, Instant};

#[test]
fn clients_above_maxclients_are_refused() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--maxclients", "6"]);
        let mut clients: Vec<Client> = Vec::new();
        // The connection that looked whether the server listens may still be there.
        let full = poll(Duration::from_secs(20), || {
            while clients.len() < 6 {
                let mut client = server.client();
                match client.try_call(&["PING"]) {
                    Ok((reply, _)) if !reply.is_error() => clients.push(client),
                    _ => return None,
                }
            }
            Some(())
        });
        assert!(full.is_some(), "6 clients are allowed");
        for _ in 0..3 {
            let mut refused = server.client();
            assert_eq!(refused.read_to_end(), b"-ERR max number of clients reached\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.run("PING").text(), "PONG");
        }
        clients.pop();
        let admitted = poll(Duration::from_secs(20), || {
            let mut client = server.client();
            let (reply, _) = client.try_call(&["PING"]).ok()?;
            (!reply.is_error()).then_some(())
        });
        assert!(admitted.is_some(), "a place that became free is given away again");
    }
}

#[test]
fn idle_clients_are_closed_after_the_timeout() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--timeout", "1"]);
        let (mut idle, mut busy) = (server.client(), server.client());
        assert_eq!(idle.run("PING").text(), "PONG");
        let start = Instant::now();
        idle.set_read_timeout(Duration::from_millis(10));
        let closed = poll(Duration::from_secs(20), || {
            assert_eq!(busy.run("PING").text(), "PONG");
            std::thread::sleep(Duration::from_millis(20));
            idle.is_closed().then_some(start.elapsed())
        });
        let after = closed.expect("the idle client is closed");
        assert!(after >= Duration::from_millis(900), "closed after {after:?}");
        assert_eq!(busy.run("PING").text(), "PONG");
    }
}

#[test]
fn a_request_without_an_end_is_cut_off() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--client-query-buffer-limit", "1mb"]);
        let mut greedy = server.client();
        let mut sent = greedy.try_send(b"*2\r\n$4\r\nECHO\r\n$100000000\r\n");
        let started = Instant::now();
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..200 {
            if sent.is_err() {
                break;
            }
            sent = greedy.try_send(&piece);
        }
        assert!(greedy.is_closed(), "12 MB of one request were taken with a limit of 1 MB");
        assert!(started.elapsed() < Duration::from_secs(15), "closing it took {:?}", started.elapsed());
        assert_eq!(server.client().run("PING").text(), "PONG");
    }
}

#[test]
fn a_client_that_does_not_read_is_closed_at_its_output_limit() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--client-output-buffer-limit", "normal", "4mb", "0", "0"]);
        let mut writer = server.client();
        assert_eq!(writer.call(&["SET", "k", &"v".repeat(1 << 20)]).text(), "OK");
        let mut deaf = server.client();
        assert_eq!(deaf.run("CLIENT SETNAME deaf").text(), "OK");
        let _ = deaf.try_send(&encode(&["GET", "k"]).repeat(60));
        let gone = poll(Duration::from_secs(30), || {
            (writer.run("CLIENT LIST").text().lines().filter(|line| line.contains("name=deaf")).count() == 0)
                .then_some(())
        });
        assert!(gone.is_some(), "it is still there:\n{}", writer.run("CLIENT LIST").text());
        assert_eq!(writer.run("STRLEN k").integer(), 1 << 20);
    }
}

/// As in Redis, where the first 16 KiB lie in a buffer of the client's own.
#[test]
fn small_replies_do_not_count_towards_the_output_limit() {
    for server in SHARDS.map(|shards| Server::subject(shards, &[])).into_iter().chain([Server::redis(&[])]) {
        let mut client = server.client();
        assert_eq!(client.run("CONFIG SET client-output-buffer-limit \"normal 1 1 1\"").text(), "OK");
        client.call(&["SET", "small", &"v".repeat(10_000)]);
        client.call(&["SET", "large", &"v".repeat(40_000)]);
        for _ in 0..3 {
            assert_eq!(client.run("GET small").text().len(), 10_000);
        }
        client.send(&encode(&["GET", "large"]));
        assert_eq!(client.read_to_end().len(), 0, "more counts");
        let mut again = server.client();
        assert_eq!(again.run("CONFIG SET client-output-buffer-limit \"normal 0 0 0\"").text(), "OK");
        assert_eq!(again.run("GET large").text().len(), 40_000);
    }
}

/// Requests with replies of any length, for keys of all shards.
fn endless_requests(writer: &mut Client) -> Vec<Vec<String>> {
    let count = format!("-{}", i64::MAX);
    let mut requests = Vec::new();
    for key in ["a", "b", "c", "d"] {
        writer.run(&format!("SADD {key}-set x y"));
        writer.run(&format!("HSET {key}-hash x y"));
        let (set, hash) = (format!("{key}-set"), format!("{key}-hash"));
        requests.push(vec!["SRANDMEMBER".into(), set, count.clone()]);
        requests.push(vec!["HRANDFIELD".into(), hash.clone(), count.clone()]);
        requests.push(vec!["HRANDFIELD".into(), hash, "-4611686018427387903".into(), "WITHVALUES".into()]);
    }
    requests
}

/// A negative count may ask for any number of members: they end where the client is closed, whatever other classes of clients
/// may have.
#[test]
fn a_reply_without_end_stops_at_the_output_limit() {
    let limits = ["--client-output-buffer-limit", "normal", "1mb", "0", "0", "pubsub", "256mb", "0", "0"];
    for shards in SHARDS {
        let server = Server::subject(shards, &limits);
        let mut writer = server.client();
        let requests = endless_requests(&mut writer);
        let before = peak_bytes(server.pid());
        for request in &requests {
            let mut greedy = server.client();
            greedy.send(&encode(request));
            assert_eq!(writer.run("PING").text(), "PONG");
            assert!(greedy.read_to_end().len() <= 4 << 20, "{request:?} is cut off");
        }
        let info = writer.run("INFO stats").text().to_string();
        assert!(info.contains("client_output_buffer_limit_disconnections:12\r\n"), "{info}");
        let grown = peak_bytes(server.pid()).saturating_sub(before);
        assert!(grown < 32 << 20, "{grown} bytes for clients that may have 1 MiB");
    }
}

/// A client whose class changes gets whole replies or none.
#[test]
fn no_reply_is_cut_for_a_client_that_stays() {
    let limits = ["--client-output-buffer-limit", "normal", "1mb", "0", "0", "pubsub", "256mb", "0", "0"];
    for shards in SHARDS {
        let server = Server::subject(shards, &limits);
        for key in ["a", "b", "c", "d"] {
            let mut client = server.client().with_protocol(3);
            client.run(&format!("SADD {key} member"));
            let random = ["SRANDMEMBER", key, "-400000"];
            let transaction: [&[&str]; 4] = [&["MULTI"], &random, &["SUBSCRIBE", "news"], &["EXEC"]];
            client.send(&transaction.iter().flat_map(|words| encode(words)).collect::<Vec<u8>>());
            (0..3).for_each(|_| drop(client.read()));
            let reply = client.read();
            let members = reply.elements()[0].elements();
            assert!(members.len() == 400_000 && members.iter().all(|member| member.text() == "member"));
            assert_eq!(client.call(&random).elements().len(), 400_000, "it may have 256 MiB now");
            let mut pipelining = server.client().with_protocol(3);
            pipelining.send(&[encode(&random), encode(&["SUBSCRIBE", "news"])].concat());
            assert!(pipelining.read_to_end().len() < 4 << 20, "it was closed before it was a subscriber");
        }
    }
}

/// Where no limit closes the client, a reply that would fill the memory is an error.
#[test]
fn a_reply_without_end_is_an_error_where_there_is_no_limit() {
    let server = Server::subject(1, &[]);
    let mut client = server.client();
    let requests = endless_requests(&mut client);
    for request in &requests[..3] {
        assert_eq!(client.call(request).to_string(), "(error) ERR the reply would be longer than 512mb");
    }
    assert_eq!(client.run("SCARD a-set").integer(), 2);
}

#[test]
fn the_soft_output_limit_counts_seconds() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--client-output-buffer-limit", "normal", "0", "4mb", "1"]);
        let mut writer = server.client();
        assert_eq!(writer.call(&["SET", "k", &"v".repeat(1 << 20)]).text(), "OK");
        let mut deaf = server.client();
        assert_eq!(deaf.run("CLIENT SETNAME deaf").text(), "OK");
        deaf.send(&encode(&["GET", "k"]).repeat(40));
        let start = Instant::now();
        let gone = poll(Duration::from_secs(30), || {
            (writer.run("CLIENT LIST").text().lines().filter(|line| line.contains("name=deaf")).count() == 0)
                .then(|| start.elapsed())
        });
        let after = gone.unwrap_or_else(|| panic!("it is still there:\n{}", writer.run("CLIENT LIST").text()));
        assert!(after >= Duration::from_millis(800), "closed after {after:?}");
    }
}

/// Without a limit, a slow reader is waited for.
#[test]
fn a_slow_reader_gets_everything() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        assert_eq!(client.call(&["SET", "k", &"v".repeat(1 << 20)]).text(), "OK");
        let mut slow = server.client();
        slow.send(&encode(&["GET", "k"]).repeat(30));
        for round in 0..30 {
            if round % 10 == 0 {
                std::thread::sleep(Duration::from_millis(150));
            }
            assert_eq!(slow.read().bytes().len(), 1 << 20);
        }
    }
}
