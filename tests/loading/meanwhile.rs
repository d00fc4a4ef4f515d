//! What clients are answered while data is loaded, and how a server ends then.

use crate::logs::{Dir, FILENAME, record};
use crate::support::{Client, Server, encode, words};
use std::fs;
use std::time::{Duration, Instant};

/// A log in a single file that takes long to load, for its size.
fn slow() -> Dir {
    let dir = Dir::new();
    fs::remove_dir(dir.path("")).unwrap();
    let members: String = (0..1000).map(|number| format!(" member:{number}")).collect();
    let mut bytes = record(&format!("SADD set{members}"));
    let store = record("SUNIONSTORE copy set");
    (0..50_000).for_each(|_| bytes.extend_from_slice(&store));
    fs::write(dir.0.join(FILENAME), bytes).unwrap();
    dir
}

/// The raw replies to commands that are sent one after another.
fn replies(client: &mut Client, lines: &[&str]) -> Vec<String> {
    let ask = |line: &&str| {
        client.send(&encode(&words(line)));
        let (_, bytes) = client.try_read().unwrap_or_else(|error| panic!("{line}: {error}"));
        format!("{line}: {}", String::from_utf8_lossy(&bytes))
    };
    lines.iter().map(ask).collect()
}

const ASKED: &[&str] = &[
    "PING",
    "GET copy",
    "SET a",
    "NOSUCH",
    "MGET a b",
    "MULTI",
    "GET copy",
    "SELECT 1",
    "EXEC",
    "MULTI",
    "SELECT 1",
    "EXEC",
    "WATCH a",
    "UNWATCH",
    "MULTI",
    "DISCARD",
    "DISCARD",
    "ECHO x",
    "CLIENT GETNAME",
    "CONFIG GET maxclients",
    "COMMAND COUNT x",
    "TIME",
    "BLPOP a 1",
    "KEYS *",
    "DBSIZE",
    "SUBSCRIBE c",
    "UNSUBSCRIBE c",
    "PUBLISH c x",
    "AUTH x",
];

#[test]
fn clients_are_told_as_redis_tells_them() {
    let dir = slow();
    let path = dir.0.to_str().unwrap();
    for threads in [1, 2] {
        let server = dir.begin(threads, &[]);
        let mut client = server.client();
        let asked: Vec<&str> = ASKED.iter().copied().filter(|line| *line != "TIME").collect();
        let got = replies(&mut client, &asked);
        assert!(got[0].contains("-LOADING Redis is loading the dataset in memory\r\n"), "{}", got[0]);
        let copy = Dir::new();
        fs::copy(dir.0.join(FILENAME), copy.0.join(FILENAME)).unwrap();
        fs::remove_dir(copy.path("")).unwrap();
        let redis = ["--appendonly", "yes", "--loading-process-events-interval-bytes", "1024", "--dir"];
        let redis = Server::start("redis-server", "redis-server", &[&redis[..], &[copy.0.to_str().unwrap()]].concat());
        let wanted = replies(&mut redis.client(), &asked);
        assert!(wanted[0].contains("-LOADING"), "redis-server has loaded it already");
        assert_eq!(got, wanted, "{threads} threads, {path}");
    }
}

#[test]
fn info_tells_how_far_it_is_and_a_signal_ends_it() {
    for threads in [1, 2] {
        let dir = slow();
        let mut server = dir.begin(threads, &[]);
        let mut client = server.client();
        let info = client.show("INFO persistence");
        let field = |name: &str| {
            let found = info.split("\\r\\n").find_map(|line| line.strip_prefix(&format!("{name}:")));
            found.unwrap_or_else(|| panic!("{name} is missing in {info}")).to_string()
        };
        assert_eq!((field("loading"), field("async_loading")), ("1".into(), "0".into()));
        let size = fs::metadata(dir.0.join(FILENAME)).unwrap().len();
        assert_eq!(field("loading_total_bytes"), size.to_string());
        assert!(field("loading_loaded_bytes").parse::<u64>().unwrap() <= size);
        assert!(field("loading_loaded_perc").parse::<f64>().unwrap() <= 100.0);
        field("loading_eta_seconds").parse::<u64>().unwrap();
        let asked = Instant::now();
        assert_eq!(server.stop(libc::SIGTERM), Some(0), "{}", server.log());
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(!server.log().contains("Ready to accept"), "{}", server.log());
    }
}

#[test]
fn shutdown_ends_it_too() {
    let dir = slow();
    let mut server = dir.begin(2, &[]);
    server.client().send(b"SHUTDOWN\r\n");
    crate::support::wait_until("it has ended", || !server.is_alive());
    assert_eq!(server.stop(libc::SIGTERM), Some(0));
}
