//! Blocking commands over real connections: who is served, when a wait ends, and all the ways in which a client that
//! waits goes away.

use crate::SHARDS;
use crate::support::{Client, Reply, Server, encode, wait_until};
use std::net::Shutdown;
use std::time::{Duration, Instant};

fn field(client: &mut Client, name: &str) -> u64 {
    let text = client.run("INFO clients").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} is not in {text}"))
}

/// Keys that clients wait for, if the server tells.
fn blocking_keys(client: &mut Client) -> u64 {
    let tells = client.run("INFO clients").text().contains("total_blocking_keys:");
    if tells { field(client, "total_blocking_keys") } else { 0 }
}

fn wait_until_blocked(server: &Server, count: u64) {
    let mut observer = server.client();
    wait_until("clients are blocked", || field(&mut observer, "blocked_clients") == count);
}

/// A client that waits in `command`, and its id.
fn blocked(server: &Server, command: &str, count: u64) -> (Client, i64) {
    let mut client = server.client();
    let id = client.run("CLIENT ID").integer();
    client.send(&encode(&crate::support::words(command)));
    wait_until_blocked(server, count);
    (client, id)
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.elements().iter().map(Reply::text).collect()
}

#[test]
fn clients_are_served_in_the_order_in_which_they_came() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut waiting: Vec<Client> = Vec::new();
        for number in 0..12 {
            let command = match number % 3 {
                0 => "BLPOP queue other 0",
                1 => "BLMPOP 0 2 other queue LEFT",
                _ => "BLMOVE queue done LEFT RIGHT 0",
            };
            waiting.push(blocked(&server, command, number + 1).0);
        }
        let mut producer = server.client();
        let push: Vec<String> = (0..12).map(|number| format!("RPUSH queue e{number}")).collect();
        producer.send(&push.iter().flat_map(|line| encode(&crate::support::words(line))).collect::<Vec<_>>());
        for (number, client) in waiting.iter_mut().enumerate() {
            let expected = format!("e{number}");
            match client.read() {
                Reply::Bulk(element) => assert_eq!(element, expected.as_bytes()),
                Reply::Array(parts) if matches!(parts[1], Reply::Bulk(_)) => assert_eq!(parts[1].text(), expected),
                reply => assert_eq!(texts(&reply.elements()[1]), [expected]),
            }
        }
        wait_until_blocked(&server, 0);
        assert_eq!(texts(&server.client().run("LRANGE done 0 -1")), ["e2", "e5", "e8", "e11"]);
    }
}

/// A wait ends when its time is over: not before, and soon after, whether the core is at rest or has just been busy.
#[test]
fn waits_end_in_time() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let mut late = Vec::new();
        for milliseconds in [1, 3, 12, 25, 60, 99, 101, 130, 250] {
            for keys in ["a", "a b c d e"] {
                let started = Instant::now();
                let command = format!("BLPOP {keys} {}", f64::from(milliseconds) / 1000.0);
                assert_eq!(client.run(&command), Reply::NullArray);
                let (took, asked) = (started.elapsed(), Duration::from_millis(milliseconds as u64));
                assert!(took >= asked, "{took:?} instead of {asked:?}");
                late.push(took - asked);
            }
        }
        late.sort_unstable();
        let median = late[late.len() / 2];
        assert!(median < Duration::from_millis(8), "waits end {median:?} too late: {late:?}");
    }
}

#[test]
fn unblocked_clients_hear_of_it_and_go_on() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut other = server.client();
        let (mut client, id) = blocked(&server, "BLPOP a b c 0", 1);
        client.send(&encode(&["PING"]));
        let list = other.run(&format!("CLIENT LIST ID {id}")).text();
        assert!(list.contains(" flags=b ") && list.contains(" cmd=blpop "), "{list}");
        assert_eq!(other.run(&format!("CLIENT UNBLOCK {id}")), Reply::Integer(1));
        assert_eq!((client.read(), client.read()), (Reply::NullArray, Reply::Simple(b"PONG".to_vec())));
        assert_eq!(other.run(&format!("CLIENT UNBLOCK {id}")), Reply::Integer(0));
        client.send(&encode(&["BLMOVE", "a", "b", "LEFT", "LEFT", "0"]));
        wait_until_blocked(&server, 1);
        assert_eq!(other.run(&format!("CLIENT UNBLOCK {id} ERROR")), Reply::Integer(1));
        assert_eq!(client.read().to_string(), "(error) UNBLOCKED client unblocked via CLIENT UNBLOCK");
        let errors = other.run("INFO errorstats").text();
        assert!(errors.contains("errorstat_UNBLOCKED:count=1"), "{errors}");
        wait_until_blocked(&server, 0);
        // Nobody waits any more: the elements stay.
        other.run("RPUSH a 1");
        assert_eq!(other.run("LLEN a"), Reply::Integer(1));
    }
}

/// However a client goes that waits, it takes no element with it.
#[test]
fn clients_that_go_away_take_nothing_along() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut other = server.client();
        let ways: [fn(&mut Client, &mut Client, i64); 3] = [
            |client, _, _| client.tcp().shutdown(Shutdown::Both).expect("it is connected"),
            |client, _, _| client.tcp().shutdown(Shutdown::Write).expect("it is connected"),
            |_, other, id| assert_eq!(other.run(&format!("CLIENT KILL ID {id}")), Reply::Integer(1)),
        ];
        for way in ways {
            for command in ["BLPOP k 0", "BLPOP j k l m 0", "BLMOVE k other LEFT LEFT 0"] {
                let (mut client, id) = blocked(&server, command, 1);
                way(&mut client, &mut other, id);
                assert!(client.is_closed(), "{command}");
                wait_until_blocked(&server, 0);
                // The other shards hear of it a moment later.
                wait_until("no key is waited for", || blocking_keys(&mut other) == 0);
                assert_eq!(other.run("RPUSH k 1"), Reply::Integer(1), "{command}");
                assert_eq!(other.run("LPOP k").text(), "1", "{command}");
            }
        }
    }
}

/// What a client has sent behind a blocking command is run when that is over, and not before.
#[test]
fn a_pipeline_waits_behind_a_blocking_command() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let lines = ["SET a 1", "SET b 1", "BLPOP k l 0", "GET a", "MGET a b", "BLPOP l 0.01", "GET b"];
        client.send(&lines.iter().flat_map(|line| encode(&crate::support::words(line))).collect::<Vec<_>>());
        wait_until_blocked(&server, 1);
        let mut other = server.client();
        other.run("MSET a 2 b 2");
        other.run("RPUSH l x");
        assert_eq!((client.read().text(), client.read().text()), ("OK".into(), "OK".into()));
        assert_eq!(texts(&client.read()), ["l", "x"]);
        assert_eq!(client.read().text(), "2");
        assert_eq!(texts(&client.read()), ["2", "2"]);
        assert_eq!(client.read(), Reply::NullArray);
        assert_eq!(client.read().text(), "2");
    }
}

/// A client that wants no replies waits all the same, and takes what it waits for.
#[test]
fn silent_clients_wait_too() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let lines = ["CLIENT REPLY OFF", "BLPOP j k 0", "CLIENT REPLY ON"];
        client.send(&lines.iter().flat_map(|line| encode(&crate::support::words(line))).collect::<Vec<_>>());
        wait_until_blocked(&server, 1);
        let mut other = server.client();
        other.run("RPUSH k 1");
        assert_eq!(client.read().text(), "OK");
        assert_eq!(other.run("EXISTS k"), Reply::Integer(0));
    }
}

/// A pause holds neither timeouts nor CLIENT UNBLOCK back.
#[test]
fn a_pause_does_not_prolong_waits() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let (mut timed, _) = blocked(&server, "BLPOP a b 0.2", 1);
        let (mut endless, id) = blocked(&server, "BLPOP a b 0", 2);
        let mut other = server.client();
        other.run("CLIENT PAUSE 100000 WRITE");
        assert_eq!(timed.read(), Reply::NullArray);
        assert_eq!(other.run(&format!("CLIENT UNBLOCK {id}")), Reply::Integer(1));
        assert_eq!(endless.read(), Reply::NullArray);
        other.run("CLIENT UNPAUSE");
    }
}

/// Many consumers and producers at once: every element arrives exactly once.
#[test]
fn a_busy_queue_delivers_everything_once() {
    const EACH: usize = 400;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut taken: Vec<String> = std::thread::scope(|scope| {
            let consumers: Vec<_> = (0..6)
                .map(|consumer| {
                    let server = &server;
                    scope.spawn(move || {
                        let mut client = server.client();
                        let mut taken = Vec::new();
                        loop {
                            let reply = match consumer % 3 {
                                0 => client.run("BLPOP q1 q2 q3 1"),
                                1 => client.run("BRPOP q3 q1 1"),
                                _ => client.run("BLMOVE q2 q3 LEFT RIGHT 1"),
                            };
                            match reply {
                                Reply::NullArray => return taken,
                                Reply::Array(parts) => taken.push(parts[1].text()),
                                _ => {}
                            }
                        }
                    })
                })
                .collect();
            for producer in 0..3 {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    for number in 0..EACH {
                        let key = format!("q{}", 1 + (number + producer) % 3);
                        client.call(&["RPUSH", &key, &format!("{producer}:{number}")]);
                    }
                });
            }
            consumers.into_iter().flat_map(|consumer| consumer.join().expect("it ends")).collect()
        });
        let mut other = server.client();
        for key in ["q1", "q2", "q3"] {
            assert_eq!(other.run(&format!("LLEN {key}")), Reply::Integer(0), "{key}");
        }
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 3 * EACH);
        wait_until("no key is waited for", || blocking_keys(&mut other) == 0);
    }
}
