//! Requests in any pieces and any number, values of any size.

use crate::SHARDS;
use crate::support::{Reply, Server, encode};
use std::net::Shutdown;
use std::thread::sleep;
use std::time::Duration;

/// A few requests of all forms, and what is to come back.
fn requests_and_replies() -> (Vec<u8>, Vec<u8>) {
    let requests = [
        encode(&["SET", "{a}1", "one"]),
        b"GET {a}1\r\n".to_vec(),
        encode(&["MSET", "b", "two\r\nlines", "c", ""]),
        encode(&["MGET", "{a}1", "b", "c", "none"]),
        b"\r\nPING \"in line\"\n".to_vec(),
        encode(&["INCR", "d"]),
        encode(&["DEL", "{a}1", "b", "c", "d"]),
    ];
    let replies = "+OK\r\n$3\r\none\r\n+OK\r\n*4\r\n$3\r\none\r\n$10\r\ntwo\r\nlines\r\n$0\r\n\r\n$-1\r\n$7\r\nin line\r\n:1\r\n:4\r\n";
    (requests.concat(), replies.into())
}

fn read_exactly(client: &mut crate::support::Client, expected: &[u8]) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.extend(client.try_read().unwrap_or_else(|error| panic!("{error} after {}", got.escape_ascii())).1);
    }
    assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn requests_may_be_split_at_every_byte() {
    let (requests, replies) = requests_and_replies();
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        for at in 1..requests.len() {
            client.send(&requests[..at]);
            // Long enough that the server sees the first part alone, most of the time.
            sleep(Duration::from_millis(1));
            client.send(&requests[at..]);
            read_exactly(&mut client, &replies);
        }
    }
}

#[test]
fn requests_may_come_a_byte_at_a_time() {
    let (requests, replies) = requests_and_replies();
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        for byte in &requests {
            client.send(&[*byte]);
            sleep(Duration::from_micros(300));
        }
        read_exactly(&mut client, &replies);
    }
}

#[test]
fn pipelines_may_be_long() {
    const COMMANDS: usize = 10_000;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let pipeline: Vec<u8> = (0..COMMANDS).flat_map(|_| encode(&["INCR", "counter"])).collect();
        client.send(&pipeline);
        for expected in 1..=COMMANDS {
            assert_eq!(client.read(), Reply::Integer(expected as i64));
        }
    }
}

/// A client that writes everything before it reads anything: the server must go on reading meanwhile.
#[test]
fn a_client_may_write_everything_first() {
    const COMMANDS: usize = 100_000;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let filling = "x".repeat(90);
        let pipeline: Vec<u8> =
            (0..COMMANDS).flat_map(|number| encode(&["ECHO", &format!("{number}{filling}")])).collect();
        client.send(&pipeline);
        for number in 0..COMMANDS {
            assert_eq!(client.read().text(), format!("{number}{filling}"));
        }
    }
}

#[test]
fn values_may_be_large() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for (protocol, len) in [(2, 1 << 20), (3, 1 << 20), (2, 64 << 20)] {
            let mut client = server.client().with_protocol(protocol);
            let value: Vec<u8> = (0..len).map(|index: usize| (index * 31 + index / 251) as u8).collect();
            assert_eq!(client.call(&[b"SET", b"large".as_slice(), &value]).text(), "OK");
            assert_eq!(client.run("STRLEN large").integer(), len as i64);
            assert!(client.run("GET large").bytes() == value, "the value comes back changed");
            assert_eq!(client.run("APPEND large x").integer(), len as i64 + 1);
            assert_eq!(client.run("GETRANGE large -3 -1").bytes(), [&value[len - 2..], b"x"].concat());
            assert_eq!(client.run("SETRANGE large 0 start").integer(), len as i64 + 1);
            assert!(client.call(&[b"ECHO".as_slice(), &value]).bytes() == value, "ECHO changes the value");
            assert_eq!(client.call(&[b"RPUSH", b"list".as_slice(), &value]).integer(), 1);
            assert!(client.run("LPOP list").bytes() == value, "a list changes the value");
            assert_eq!(client.call(&[b"HSET", b"hash", b"f".as_slice(), &value]).integer(), 1);
            assert!(client.run("HGET hash f").bytes() == value, "a hash changes the value");
            assert_eq!(client.run("DEL large hash").integer(), 2);
        }
    }
}

/// A reply that is on its way shows the value as it was, whatever happens to the key meanwhile.
#[test]
fn large_replies_are_not_changed_under_way() {
    const LEN: usize = 4 << 20;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let value = vec![b'a'; LEN];
        assert_eq!(client.call(&[b"SET", b"k".as_slice(), &value]).text(), "OK");
        let pipeline = [
            encode(&["GET", "k"]),
            encode(&["SETRANGE", "k", "0", "bbbb"]),
            encode(&["GET", "k"]),
            encode(&["DEL", "k"]),
        ];
        client.send(&pipeline.concat());
        sleep(Duration::from_millis(50));
        assert!(client.read().bytes() == value, "the first GET shows what came after it");
        assert_eq!(client.read().integer(), LEN as i64);
        let second = client.read();
        assert!(second.bytes().starts_with(b"bbbbaaaa") && second.bytes().len() == LEN);
        assert_eq!(client.read().integer(), 1);
    }
}

#[test]
fn replies_of_many_megabytes_arrive_whole() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let value = "v".repeat(1 << 20);
        assert_eq!(client.call(&["SET", "k", &value]).text(), "OK");
        let pipeline: Vec<u8> = (0..20)
            .flat_map(|number| [encode(&["GET", "k"]), encode(&["ECHO", &number.to_string()])].concat())
            .collect();
        client.send(&pipeline);
        // The socket fills up before anything is read.
        sleep(Duration::from_millis(100));
        for number in 0..20 {
            assert_eq!(client.read().bytes().len(), 1 << 20);
            assert_eq!(client.read().text(), number.to_string());
        }
    }
}

#[test]
fn commands_may_have_many_arguments() {
    const KEYS: usize = 10_000;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let key = |index: usize| format!("key:{index}");
        let mut mset = vec!["MSET".to_string()];
        mset.extend((0..KEYS).flat_map(|index| [key(index), index.to_string()]));
        assert_eq!(client.call(&mset).text(), "OK");
        let all = |name: &str| -> Vec<String> { std::iter::once(name.into()).chain((0..KEYS).map(key)).collect() };
        let values = client.call(&all("MGET"));
        assert!(values.elements().iter().enumerate().all(|(index, value)| value.text() == index.to_string()));
        assert_eq!(client.call(&all("EXISTS")).integer(), KEYS as i64);
        assert_eq!(client.run("DBSIZE").integer(), KEYS as i64);
        assert_eq!(client.call(&all("DEL")).integer(), KEYS as i64);
        assert_eq!(client.run("DBSIZE").integer(), 0);
    }
}

#[test]
fn a_half_closed_connection_is_answered() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for commands in [1, 10, 1000] {
            let mut client = server.client();
            let pipeline: Vec<u8> =
                (0..commands).flat_map(|number| encode(&["SET", &format!("k{number}"), "v"])).collect();
            client.send(&pipeline);
            client.tcp().shutdown(Shutdown::Write).expect("an open connection");
            assert_eq!(client.read_to_end(), "+OK\r\n".repeat(commands).into_bytes());
        }
    }
}

#[test]
fn the_protocol_may_change_inside_a_pipeline() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut client = server.client();
        let pipeline = [
            "HSET h f v",
            "HGETALL h",
            "GET none",
            "HELLO 3",
            "HGETALL h",
            "GET none",
            "HELLO 2",
            "HGETALL h",
            "GET none",
        ];
        client.send(&pipeline.iter().flat_map(|text| encode(&crate::support::words(text))).collect::<Vec<u8>>());
        let replies: Vec<Reply> = pipeline.iter().map(|_| client.read()).collect();
        let pair = || (Reply::Bulk(b"f".to_vec()), Reply::Bulk(b"v".to_vec()));
        let flat = || Reply::Array(vec![pair().0, pair().1]);
        assert_eq!(replies[1..3], [flat(), Reply::NullBulk]);
        assert!(matches!(&replies[3], Reply::Map(_)), "HELLO 3 answers in RESP3: {}", replies[3]);
        assert_eq!(replies[4..6], [Reply::Map(vec![pair()]), Reply::Null]);
        assert!(matches!(&replies[6], Reply::Array(_)), "HELLO 2 answers in RESP2: {}", replies[6]);
        assert_eq!(replies[7..9], [flat(), Reply::NullBulk]);
    }
}
