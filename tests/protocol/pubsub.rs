//! Publish/subscribe between many connections, which land on different cores.

use crate::SHARDS;
use crate::support::{Client, Reply, Server, encode, poll, wait_until};
use std::time::Duration;

/// What a subscriber is sent, as words.
fn words(reply: &Reply) -> Vec<String> {
    let word = |element: &Reply| match element {
        Reply::Integer(number) => number.to_string(),
        other => other.text(),
    };
    reply.elements().iter().map(word).collect()
}

fn subscribe(client: &mut Client, command: &str) {
    let reply = client.run(command);
    assert!(words(&reply)[0].ends_with("subscribe"), "{reply}");
}

#[test]
fn a_message_reaches_every_subscriber_on_every_core() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut subscribers: Vec<Client> = (0..24).map(|_| server.client()).collect();
        for (index, client) in subscribers.iter_mut().enumerate() {
            let command = ["SUBSCRIBE news", "PSUBSCRIBE n*", "SSUBSCRIBE news"][index % 3];
            subscribe(client, command);
        }
        let mut publishers: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for (index, publisher) in publishers.iter_mut().enumerate() {
            let text = format!("from {index}");
            assert_eq!(publisher.call(&["PUBLISH", "news", &text]).integer(), 16);
            assert_eq!(publisher.call(&["SPUBLISH", "news", &text]).integer(), 8);
            assert_eq!(publisher.call(&["PUBLISH", "other", &text]).integer(), 0);
            assert_eq!(publisher.run("PUBSUB NUMSUB news").elements()[1].integer(), 8);
            assert_eq!(publisher.run("PUBSUB NUMPAT").integer(), 1);
        }
        for (index, client) in subscribers.iter_mut().enumerate() {
            for publisher in 0..8 {
                let text = format!("from {publisher}");
                let expected: &[&str] = match index % 3 {
                    0 => &["message", "news", &text],
                    1 => &["pmessage", "n*", "news", &text],
                    _ => &["smessage", "news", &text],
                };
                assert_eq!(words(&client.read()), expected);
            }
        }
        let info = publishers[0].run("INFO stats").text();
        for line in ["pubsub_channels:1", "pubsub_patterns:1", "pubsubshard_channels:1"] {
            assert!(info.lines().any(|other| other == line), "{line} is not in {info}");
        }
    }
}

/// Many publishers in pipelines over several channels: whoever subscribes to all of them sees the messages of each
/// publisher in order, and nothing twice or never.
#[test]
fn a_publisher_keeps_its_order() {
    const MESSAGES: usize = 500;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut subscribers: Vec<Client> = (0..6).map(|_| server.client()).collect();
        for client in &mut subscribers {
            client.send(&encode(&["SUBSCRIBE", "a", "b", "c"]));
            (0..3).for_each(|_| drop(client.read()));
        }
        let mut publishers: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for (index, publisher) in publishers.iter_mut().enumerate() {
            let message = |number| encode(&["PUBLISH", ["a", "b", "c"][number % 3], &format!("{index}:{number}")]);
            publisher.send(&(0..MESSAGES).flat_map(message).collect::<Vec<u8>>());
        }
        for publisher in &mut publishers {
            (0..MESSAGES).for_each(|_| assert_eq!(publisher.read().integer(), 6));
        }
        for client in &mut subscribers {
            let mut next = [0; 4];
            for _ in 0..4 * MESSAGES {
                let message = words(&client.read());
                let (publisher, number) = message[2].split_once(':').expect("publisher and number");
                let publisher: usize = publisher.parse().expect("a publisher");
                assert_eq!(number.parse(), Ok(next[publisher]), "{message:?}");
                next[publisher] += 1;
            }
        }
    }
}

/// What a publisher has written in the same pipeline is there for whoever receives its message.
#[test]
fn a_message_comes_behind_what_was_written_before() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut subscribers: Vec<Client> = (0..4).map(|_| server.client().with_protocol(3)).collect();
        subscribers.iter_mut().for_each(|client| subscribe(client, "SUBSCRIBE written"));
        let mut publisher = server.client();
        for round in 0..50 {
            let key = format!("key:{round}");
            let pipeline = [encode(&["SET", &key, "there"]), encode(&["PUBLISH", "written", &key])].concat();
            publisher.send(&pipeline);
            for client in &mut subscribers {
                let key = words(&client.read())[2].clone();
                assert_eq!(client.call(&["GET", &key]).text(), "there");
            }
            assert_eq!((publisher.read().text(), publisher.read().integer()), ("OK".into(), 4));
        }
    }
}

#[test]
fn a_pipeline_of_a_resp3_client_publishes_to_itself() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client().with_protocol(3);
        let requests: &[&[&str]] = &[
            &["SUBSCRIBE", "me"],
            &["SET", "k", "v"],
            &["PUBLISH", "me", "one"],
            &["PUBLISH", "me", "two"],
            &["UNSUBSCRIBE", "me"],
            &["PUBLISH", "me", "three"],
            &["PING"],
        ];
        client.send(&requests.iter().flat_map(|words| encode(words)).collect::<Vec<u8>>());
        let (mut pushes, mut replies) = (Vec::new(), Vec::new());
        while replies.last() != Some(&Reply::Simple(b"PONG".to_vec())) {
            match client.read() {
                push @ Reply::Push(_) => pushes.push(words(&push).join(" ")),
                reply => replies.push(reply),
            }
        }
        assert_eq!(pushes, ["subscribe me 1", "message me one", "message me two", "unsubscribe me 0"]);
        let count = Reply::Integer;
        assert_eq!(replies[1..4], [count(1), count(1), count(0)]);
    }
}

#[test]
fn silenced_clients_hear_confirmations_and_messages() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let (mut client, mut publisher) = (server.client().with_protocol(3), server.client());
        client.send(&encode(&["CLIENT", "REPLY", "OFF"]));
        subscribe(&mut client, "SUBSCRIBE a");
        assert_eq!(publisher.run("PUBLISH a hey").integer(), 1);
        assert_eq!(words(&client.read()), ["message", "a", "hey"]);
        client.send(&encode(&["PUBLISH", "a", "self"]));
        assert_eq!(words(&client.read()), ["message", "a", "self"]);
        subscribe(&mut client, "UNSUBSCRIBE a");
        assert_eq!(client.run("CLIENT REPLY ON").text(), "OK");
        client.send(&encode(&["CLIENT", "REPLY", "SKIP"]));
        subscribe(&mut client, "SUBSCRIBE c");
        assert_eq!(client.run("PING").text(), "PONG");
    }
}

#[test]
fn large_messages_arrive_whole() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut subscribers: Vec<Client> = (0..8).map(|_| server.client()).collect();
        subscribers.iter_mut().for_each(|client| subscribe(client, "SUBSCRIBE big"));
        let mut publisher = server.client();
        for (round, len) in [16 * 1024 - 1, 16 * 1024, 100_000, 3 << 20].into_iter().enumerate() {
            let text = char::from(b'a' + round as u8).to_string().repeat(len);
            assert_eq!(publisher.call(&["PUBLISH", "big", &text]).integer(), 8);
            assert_eq!(publisher.call(&["PUBLISH", "big", "small"]).integer(), 8);
            for client in &mut subscribers {
                assert!(client.read().elements()[2].bytes() == text.as_bytes(), "{len} bytes");
                assert_eq!(words(&client.read())[2], "small");
            }
        }
    }
}

/// A subscriber that does not read is closed at its own class's limit; the others miss nothing.
#[test]
fn a_slow_subscriber_harms_nobody_else() {
    for shards in SHARDS {
        let limits = ["--client-output-buffer-limit", "pubsub", "4mb", "0", "0"];
        let server = Server::subject(shards, &limits);
        let mut deaf: Vec<Client> = (0..4).map(|_| server.client()).collect();
        let mut alert: Vec<Client> = (0..4).map(|_| server.client()).collect();
        deaf.iter_mut().chain(&mut alert).for_each(|client| subscribe(client, "SUBSCRIBE a"));
        let mut publisher = server.client();
        let text = "x".repeat(8000);
        for round in 0..4000 {
            publisher.send(&encode(&["PUBLISH", "a", &format!("{round}:{text}")]));
            assert!(publisher.read().integer() >= 4);
            for client in &mut alert {
                assert!(words(&client.read())[2].starts_with(&format!("{round}:")));
            }
        }
        wait_until("the deaf ones are gone", || publisher.run("PUBSUB NUMSUB a").elements()[1].integer() == 4);
        assert_eq!(publisher.run("CLIENT LIST TYPE pubsub").text().lines().count(), 4);
        let info = publisher.run("INFO stats").text();
        assert!(info.contains("client_output_buffer_limit_disconnections:4\r\n"), "{info}");
    }
}

#[test]
fn subscribers_that_leave_are_forgotten() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut publisher = server.client();
        for round in 0..10 {
            let mut leavers: Vec<Client> = (0..8).map(|_| server.client()).collect();
            for client in &mut leavers {
                assert_eq!(client.run("PING").text(), "PONG");
                client.send(&encode(&["SUBSCRIBE", "a", "b"]));
                if round % 2 == 0 {
                    client.read();
                }
            }
            drop(leavers);
            wait_until("they are gone", || publisher.run("CLIENT LIST").text().lines().count() == 1);
            assert!(publisher.run("PUBSUB CHANNELS").elements().is_empty());
            assert_eq!(publisher.run("PUBLISH a x").integer(), 0);
        }
        let zero = |info: &str| info.contains("pubsub_channels:0\r\n");
        let told = poll(Duration::from_secs(20), || zero(&publisher.run("INFO stats").text()).then_some(()));
        assert!(told.is_some(), "{}", publisher.run("INFO stats").text());
    }
}

#[test]
fn subscribers_are_listed_as_such_and_never_idle() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--timeout", "1"]);
        let mut client = server.client();
        assert_eq!(client.run("CLIENT SETNAME listener").text(), "OK");
        client.send(&encode(&["SUBSCRIBE", "a", "b"]));
        (0..2).for_each(|_| drop(client.read()));
        subscribe(&mut client, "PSUBSCRIBE p");
        subscribe(&mut client, "SSUBSCRIBE s");
        std::thread::sleep(Duration::from_millis(2500));
        let mut other = server.client();
        let list = other.run("CLIENT LIST TYPE pubsub").text();
        assert!(list.contains(" name=listener ") && list.contains(" flags=P db=0 sub=2 psub=1 ssub=1 "), "{list}");
        assert!(!other.run("CLIENT LIST TYPE normal").text().contains("name=listener"));
        assert_eq!(other.run("PUBLISH p x").integer(), 1);
        assert_eq!(words(&client.read())[0], "pmessage");
        assert_eq!(other.run("CLIENT KILL TYPE pubsub").integer(), 1);
        assert!(client.is_closed());
    }
}

#[test]
fn a_pause_of_writes_holds_publications_back() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let (mut client, mut publisher) = (server.client(), server.client());
        subscribe(&mut client, "SUBSCRIBE a");
        assert_eq!(publisher.run("CLIENT PAUSE 400 WRITE").text(), "OK");
        let start = std::time::Instant::now();
        assert_eq!(publisher.run("PUBLISH a x").integer(), 1);
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert_eq!(words(&client.read()), ["message", "a", "x"]);
        publisher.run("MULTI");
        publisher.run("PUBLISH a y");
        assert_eq!(server.client().run("CLIENT PAUSE 400 WRITE").text(), "OK");
        let start = std::time::Instant::now();
        assert_eq!(publisher.run("EXEC").elements()[0].integer(), 1);
        assert!(start.elapsed() >= Duration::from_millis(300));
    }
}

/// Subscribers of `channel`, enough to be on all cores.
fn audience(server: &Server, channel: &str) -> Vec<Client> {
    let mut subscribers: Vec<Client> = (0..16).map(|_| server.client()).collect();
    subscribers.iter_mut().for_each(|client| subscribe(client, &format!("SUBSCRIBE {channel}")));
    subscribers
}

/// Whoever receives a message of a transaction sees all that the transaction wrote, on whatever shard.
#[test]
fn a_transaction_publishes_when_it_has_written() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut subscribers = audience(&server, "news");
        let mut reader = server.client();
        for keys in [&["{t}a", "{t}b"][..], &["a", "b", "c", "d", "e"]] {
            for round in 0..10 {
                let mut writer = server.client();
                writer.run("MULTI");
                writer.run(&format!("PUBLISH news {round}"));
                keys.iter().for_each(|key| drop(writer.run(&format!("SET {key} {round}"))));
                writer.run("PUBLISH news again");
                writer.run("PUBLISH other nobody");
                writer.send(&encode(&["EXEC"]));
                writer.send(&encode(&["PING"]));
                for client in &mut subscribers {
                    assert_eq!(words(&client.read()), ["message", "news", &round.to_string()]);
                    let seen: Vec<String> = keys.iter().map(|key| reader.run(&format!("GET {key}")).text()).collect();
                    assert!(seen.iter().all(|value| *value == round.to_string()), "{seen:?}");
                    assert_eq!(words(&client.read())[2], "again");
                }
                let reply = writer.read();
                let counts: Vec<i64> =
                    [0, keys.len() + 1, keys.len() + 2].map(|at| reply.elements()[at].integer()).to_vec();
                assert_eq!((reply.elements().len(), counts), (keys.len() + 3, vec![16, 16, 0]));
                assert_eq!(writer.read().text(), "PONG");
            }
        }
    }
}

/// SUBSCRIBE in a transaction is confirmed in its place, and what comes afterwards comes behind the whole reply.
#[test]
fn a_transaction_subscribes() {
    for shards in SHARDS {
        let server = Server::crimson(shards, &[]);
        for round in 0..10 {
            let names: Vec<String> = ["own", "far", "x"].map(|name| format!("{name}{round}")).to_vec();
            let mut subscribers = audience(&server, &names[1]);
            let mut client = server.client();
            for command in ["MULTI", "SET a 1", &format!("SUBSCRIBE {}", names[0]), &format!("PUBLISH {} hi", names[0])]
            {
                client.run(command);
            }
            client.run(&format!("PUBLISH {} there", names[1]));
            client.run("GET b");
            client.run("PING");
            let reply = client.run("EXEC");
            let elements = reply.elements();
            assert_eq!(words(&elements[1]), ["subscribe", &names[0], "1"]);
            assert_eq!((elements[2].integer(), elements[3].integer()), (1, 16), "{reply}");
            assert_eq!(words(&elements[5]), ["pong", ""]);
            assert_eq!(words(&client.read()), ["message", &names[0], "hi"]);
            subscribers.iter_mut().for_each(|client| assert_eq!(words(&client.read())[2], "there"));
            // It is a subscriber like any other now, for publishers on every core.
            for _ in 0..4 {
                assert_eq!(server.client().run(&format!("PUBLISH {} more", names[0])).integer(), 1);
                assert_eq!(words(&client.read())[2], "more");
            }
            assert!(client.run("GET a").is_error());
        }
    }
}

/// A client that wants no replies gets confirmations and messages, and the others get what it publishes.
#[test]
fn a_silent_transaction_on_channels() {
    for shards in SHARDS {
        let server = Server::crimson(shards, &[]);
        let mut subscribers = audience(&server, "far");
        let mut client = server.client();
        for command in ["CLIENT REPLY OFF", "MULTI", "SUBSCRIBE own", "PUBLISH far x", "PUBLISH own y", "EXEC"] {
            client.send(&encode(&command.split(' ').collect::<Vec<_>>()));
        }
        assert_eq!(words(&client.read()), ["subscribe", "own", "1"]);
        assert_eq!(words(&client.read()), ["message", "own", "y"]);
        subscribers.iter_mut().for_each(|client| assert_eq!(words(&client.read())[2], "x"));
    }
}

/// Clients leave while their transactions are under way: what they would have subscribed to is forgotten.
#[test]
fn subscribers_leave_during_their_transactions() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut subscribers = audience(&server, "far");
        for round in 0..40 {
            let mut client = server.client();
            let commands = ["MULTI", "SET a 1", "SET b 2", "SUBSCRIBE own", "PUBLISH far x", "EXEC"];
            let bytes = commands.iter().flat_map(|command| encode(&command.split(' ').collect::<Vec<_>>()));
            client.send(&bytes.collect::<Vec<u8>>());
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_micros(50 * round));
            }
        }
        let mut other = server.client();
        wait_until("all are gone", || other.run("PUBLISH own nobody").integer() == 0);
        wait_until("the name is forgotten", || other.run("INFO stats").text().contains("pubsub_channels:1\r\n"));
        assert_eq!(other.run("PUBLISH far last").integer(), 16);
        for client in &mut subscribers {
            while words(&client.read())[2] != "last" {}
        }
    }
}
