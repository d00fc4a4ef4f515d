//! MEMORY and INFO's numbers on memory, told by a server with data; and `maxmemory-clients`.

use crate::SHARDS;
use crate::support::{Client, Reply, Server, encode, poll, wait_until};
use std::collections::HashMap;
use std::time::Duration;

/// The numbers of a reply of pairs; those within pairs are left out.
fn numbers(reply: &Reply) -> HashMap<String, f64> {
    let numbers = reply.pairs().into_iter().filter_map(|(name, value)| {
        let value = match &value {
            Reply::Integer(number) => *number as f64,
            other => other.to_string().trim_start_matches("(double) ").trim_matches('"').parse().ok()?,
        };
        Some((name.to_string().trim_matches('"').to_string(), value))
    });
    numbers.collect()
}

fn info(client: &mut Client, section: &str) -> HashMap<String, f64> {
    let text = client.run(&format!("INFO {section}")).text();
    let fields = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    fields.filter_map(|(name, value)| Some((name.to_string(), value.trim_end_matches('%').parse().ok()?))).collect()
}

/// Sends commands in pieces, so that neither side waits for the other to read.
fn load(client: &mut Client, commands: &[Vec<u8>]) {
    for piece in commands.chunks(100) {
        client.send(&piece.concat());
        for _ in piece {
            assert!(!client.read().is_error());
        }
    }
}

/// Keys of all types and sizes: their names, and the commands that make them.
fn mixed() -> (Vec<String>, Vec<Vec<u8>>) {
    let (mut keys, mut commands) = (Vec::new(), Vec::new());
    let mut add = |key: String, mut words: Vec<String>| {
        words.insert(1, key.clone());
        commands.push(encode(&words));
        keys.push(key);
    };
    let word = |text: &str| text.to_string();
    for number in 0..12_000 {
        let len = [1, 10, 40, 100, 300, 900, 2000][number % 7];
        add(format!("string:{number}"), vec![word("SET"), "x".repeat(len)]);
    }
    for number in 0..4000 {
        add(format!("number:{number}"), vec![word("SET"), number.to_string(), word("EX"), word("100000")]);
    }
    for number in 0..600 {
        let few = 2 + 8 * (number % 9);
        let texts = |len: usize| (0..few).map(move |index| format!("{index}{}", "e".repeat(len)));
        add(format!("set:{number}"), [word("SADD")].into_iter().chain(texts(number % 40)).collect());
        add(format!("integers:{number}"), [word("SADD")].into_iter().chain(texts(0)).collect());
        add(format!("hash:{number}"), [word("HSET")].into_iter().chain(texts(number % 60)).collect());
        add(format!("list:{number}"), [word("RPUSH")].into_iter().chain(texts(number % 60)).collect());
    }
    for number in 0..20 {
        let many = (0..4000).map(|index| format!("{index}{}", "m".repeat(number * 5)));
        add(format!("large-set:{number}"), [word("SADD")].into_iter().chain(many.clone()).collect());
        add(format!("large-hash:{number}"), [word("HSET")].into_iter().chain(many.clone()).collect());
        add(format!("large-list:{number}"), [word("RPUSH")].into_iter().chain(many).collect());
        add(format!("large-string:{number}"), vec![word("SET"), "x".repeat(30_000 * (1 + number))]);
    }
    (keys, commands)
}

#[test]
fn the_keys_together_take_what_the_data_takes() {
    for shards in SHARDS {
        let server = Server::crimson(shards, &[]);
        let mut client = server.client().with_protocol(3);
        // Once the buffers have got their sizes, what comes is data.
        let (keys, commands) = mixed();
        load(&mut client, &commands[..commands.len() / 2]);
        client.run("FLUSHALL");
        std::thread::sleep(Duration::from_millis(1500));
        // What threads keep for their next allocations counts as allocated; PURGE has them give it back.
        client.run("MEMORY PURGE");
        let before = numbers(&client.run("MEMORY STATS"));
        load(&mut client, &commands);
        // Buffers that are kept are counted once a second.
        std::thread::sleep(Duration::from_millis(1500));
        client.run("MEMORY PURGE");
        for samples in ["0", "100"] {
            let mut sum = 0;
            for piece in keys.chunks(100) {
                let usage = |key: &String| encode(&["MEMORY", "USAGE", key, "SAMPLES", samples]);
                client.send(&piece.iter().map(usage).collect::<Vec<_>>().concat());
                sum += piece.iter().map(|_| client.read().integer()).sum::<i64>();
            }
            let after = numbers(&client.run("MEMORY STATS"));
            assert_eq!(after["keys.count"], keys.len() as f64);
            // The tables are overhead, but each key answers for its share.
            let of_database = client
                .run("MEMORY STATS")
                .pairs()
                .into_iter()
                .find_map(|(name, value)| (name.to_string().trim_matches('"') == "db.0").then(|| numbers(&value)));
            let of_database = of_database.expect("the database has keys");
            let tables = of_database["overhead.hashtable.main"] + of_database["overhead.hashtable.expires"];
            let grown = after["dataset.bytes"] - before["dataset.bytes"] + tables;
            let ratio = sum as f64 / grown;
            assert!((0.95..1.05).contains(&ratio), "{shards} shards, {samples} samples: {sum} of {grown}");
            assert!(tables > 8.0 * keys.len() as f64, "{tables}");
        }
        let (stats, memory) = (numbers(&client.run("MEMORY STATS")), info(&mut client, "memory"));
        for (stat, field) in [
            ("total.allocated", "used_memory"),
            ("startup.allocated", "used_memory_startup"),
            ("overhead.total", "used_memory_overhead"),
            ("dataset.bytes", "used_memory_dataset"),
            ("dataset.percentage", "used_memory_dataset_perc"),
            ("fragmentation", "mem_fragmentation_ratio"),
        ] {
            let (stat_value, field_value) = (stats[stat], memory[field]);
            let ratio = stat_value / field_value;
            assert!((0.95..1.05).contains(&ratio), "{stat} {stat_value}, {field} {field_value}");
        }
        assert!(client.run("MEMORY DOCTOR").text().contains('.'));
        assert_eq!(client.run("MEMORY PURGE").text(), "OK");
    }
}

fn named(client: &mut Client, name: &str) -> Option<HashMap<String, String>> {
    let list = client.run("CLIENT LIST").text();
    let line = list.lines().find(|line| line.contains(&format!(" name={name} ")))?;
    let fields = line.split(' ').filter_map(|field| field.split_once('='));
    Some(fields.map(|(name, value)| (name.to_string(), value.to_string())).collect())
}

/// A client with this name that has sent most of a large request.
fn hog(server: &Server, name: &str, bytes: usize) -> Client {
    let mut client = server.client();
    assert_eq!(client.run(&format!("CLIENT SETNAME {name}")).text(), "OK");
    client.send(format!("*2\r\n$4\r\nECHO\r\n${}\r\n", bytes + 1).as_bytes());
    client.send(&vec![b'x'; bytes]);
    let mut observer = server.client();
    let memory = |fields: &HashMap<String, String>| fields["tot-mem"].parse::<usize>().expect("a number");
    wait_until("the request is there", || named(&mut observer, name).is_none_or(|it| memory(&it) >= bytes));
    client
}

#[test]
fn the_largest_clients_are_closed_first_and_only_until_it_is_enough() {
    for shards in SHARDS {
        let server = Server::crimson(shards, &[]);
        let mut observer = server.client();
        let mut hogs: Vec<Client> =
            (1..=6).map(|number| hog(&server, &format!("hog{number}"), number * 500_000)).collect();
        let memory = |observer: &mut Client, number: usize| -> Option<usize> {
            named(observer, &format!("hog{number}")).map(|fields| fields["tot-mem"].parse().expect("a number"))
        };
        // Buffers have room to grow, so a client takes up to twice of what it has sent.
        let before: Vec<usize> = (1..=6).map(|number| memory(&mut observer, number).expect("it is there")).collect();
        assert_eq!(info(&mut observer, "stats")["evicted_clients"], 0.0);
        observer.run("CONFIG SET maxmemory-clients 5mb");
        let evicted = |observer: &mut Client| info(observer, "stats")["evicted_clients"] as usize;
        wait_until("some are closed", || evicted(&mut observer) >= 2);
        std::thread::sleep(Duration::from_millis(500));
        let count = evicted(&mut observer);
        let gone: Vec<bool> = (1..=6).map(|number| memory(&mut observer, number).is_none()).collect();
        let sizes = |closed: bool| before.iter().zip(&gone).filter(move |(_, gone)| **gone == closed).map(|it| *it.0);
        let mut closed: Vec<usize> = sizes(true).collect();
        closed.sort_unstable();
        let (smallest_closed, left) = (closed[0], sizes(false).sum::<usize>());
        assert!(gone.iter().filter(|gone| **gone).count() == count && count < 6, "{before:?} {gone:?}");
        // Cores do not wait for each other where their clients are about equally large.
        let equal = if shards == 1 { smallest_closed } else { 2 * smallest_closed };
        assert!(sizes(false).all(|size| size <= equal), "{before:?} {gone:?}");
        let spared = if shards == 1 { smallest_closed } else { closed.iter().rev().take(shards).sum() };
        assert!(left <= 5 << 20 && left + spared + 100_000 > 5 << 20, "{before:?} {gone:?}");
        for (client, gone) in hogs.iter_mut().zip(&gone) {
            client.set_read_timeout(Duration::from_millis(50));
            assert_eq!(client.is_closed(), *gone);
        }
        let left = info(&mut observer, "memory")["mem_clients_normal"];
        assert!(left <= 5.0 * 1024.0 * 1024.0, "{left}");
        // The next one goes when it would be too much again.
        let mut next = server.client();
        let mut sent = next.try_send(b"*2\r\n$4\r\nECHO\r\n$90000000\r\n");
        for _ in 0..800 {
            sent = sent.and_then(|()| next.try_send(&[b'x'; 100_000]));
        }
        assert!(next.is_closed());
        wait_until("it is counted", || evicted(&mut observer) > count);
        assert_eq!(observer.run("PING").text(), "PONG");
    }
}

#[test]
fn a_client_may_be_exempt() {
    for shards in SHARDS {
        let server = Server::crimson(shards, &["--maxmemory-clients", "4mb"]);
        let (mut observer, mut exempt) = (server.client(), server.client());
        assert_eq!(observer.run("CLIENT NO-EVICT on").text(), "OK");
        assert_eq!(exempt.run("CLIENT NO-EVICT on").text(), "OK");
        assert_eq!(exempt.run("CLIENT SETNAME exempt").text(), "OK");
        exempt.send(b"*2\r\n$4\r\nECHO\r\n$8000001\r\n");
        exempt.send(&[b'x'; 8_000_000]);
        wait_until("it is all there", || {
            named(&mut observer, "exempt")
                .is_some_and(|it| it["tot-mem"].parse::<usize>().is_ok_and(|it| it >= 8_000_000))
        });
        // All others pay for it.
        let mut other = server.client();
        let gone = poll(Duration::from_secs(20), || {
            let gone = other.try_call(&["PING"]).is_err();
            std::thread::sleep(Duration::from_millis(20));
            gone.then_some(())
        });
        assert!(gone.is_some(), "the other one is still there");
        assert!(named(&mut observer, "exempt").is_some());
        exempt.send(b"x\r\n");
        assert_eq!(exempt.read().bytes().len(), 8_000_001);
    }
}

#[test]
fn everything_that_is_kept_for_a_client_counts() {
    for shards in SHARDS {
        let server = Server::crimson(shards, &["--maxmemory-clients", "3mb"]);
        let mut observer = server.client();
        assert_eq!(observer.call(&["SET", "large", &"v".repeat(1 << 20)]).text(), "OK");
        let evicted = |observer: &mut Client| info(observer, "stats")["evicted_clients"] as usize;
        let mut closed = |what: &str, act: &mut dyn FnMut(&mut Client)| {
            let before = evicted(&mut observer);
            let mut client = server.client();
            assert_eq!(client.run("CLIENT SETNAME grows").text(), "OK");
            act(&mut client);
            wait_until(what, || evicted(&mut observer) == before + 1 && named(&mut observer, "grows").is_none());
        };
        closed("unread replies", &mut |client| drop(client.try_send(&encode(&["GET", "large"]).repeat(40))));
        let text = "q".repeat(50_000);
        closed("queued commands", &mut |client| {
            let _ = client.try_send(&[encode(&["MULTI"]), encode(&["SET", "k", &text]).repeat(100)].concat());
        });
        let many = |command: &str| {
            let names: Vec<Vec<u8>> = (0..100).map(|index| encode(&[command, &format!("{index}{text}")])).collect();
            names.concat()
        };
        closed("subscriptions", &mut |client| drop(client.try_send(&many("SUBSCRIBE"))));
        closed("watched keys", &mut |client| drop(client.try_send(&many("WATCH"))));
        let prefixes: Vec<String> = (0..100).map(|index| format!("{index:03}{text}")).collect();
        let tracking: Vec<&str> = ["CLIENT", "TRACKING", "on", "BCAST"].into_iter().collect();
        let words: Vec<&str> =
            tracking.into_iter().chain(prefixes.iter().flat_map(|prefix| ["PREFIX", prefix])).collect();
        closed("prefixes", &mut |client| {
            let _ = client.try_send(&[encode(&["HELLO", "3"]), encode(&words)].concat());
        });
        assert_eq!(observer.run("PING").text(), "PONG");
    }
}

#[test]
fn a_percentage_is_one_of_maxmemory() {
    let server = Server::crimson(1, &["--maxmemory-clients", "1%"]);
    let mut observer = server.client();
    let mut client = hog(&server, "hog", 3_000_000);
    std::thread::sleep(Duration::from_millis(300));
    assert!(named(&mut observer, "hog").is_some(), "without maxmemory there is no limit");
    assert_eq!(observer.run("CONFIG SET maxmemory 200mb").text(), "OK");
    wait_until("it is closed", || named(&mut observer, "hog").is_none());
    assert!(client.is_closed());
}
