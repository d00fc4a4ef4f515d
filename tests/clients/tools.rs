//! redis-cli and redis-benchmark.

use crate::SHARDS;
use crate::support::{Server, encode};
use crimson::commands::table;
use std::io::Write;
use std::process::{Command, Stdio};

pub fn cli(server: &Server, arguments: &[&str]) -> String {
    let output =
        Command::new("redis-cli").args(["-p", &server.port.to_string()]).args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("redis-cli is installed (package redis-tools)");
    assert!(output.status.success(), "redis-cli {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_string()
}

#[test]
fn redis_cli() {
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for (arguments, expected) in [
            (&["SET", "k", "v"][..], "OK"),
            (&["GET", "k"], "v"),
            (&["--no-raw", "GET", "none"], "(nil)"),
            (&["--no-raw", "RPUSH", "l", "a", "b"], "(integer) 2"),
            (&["--no-raw", "LRANGE", "l", "0", "-1"], "1) \"a\"\n2) \"b\""),
            (&["HSET", "h", "f", "1"], "1"),
            (&["-3", "--no-raw", "HGETALL", "h"], "1# \"f\" => \"1\""),
            (&["-n", "5", "DBSIZE"], "0"),
            (&["DBSIZE"], "3"),
            (&["--no-raw", "NOSUCH"], "(error) ERR unknown command 'NOSUCH', with args beginning with:"),
        ] {
            assert_eq!(cli(&server, arguments).trim_end(), expected, "redis-cli {arguments:?}");
        }
        let mut keys: Vec<String> = cli(&server, &["--scan"]).lines().map(String::from).collect();
        keys.sort();
        assert_eq!(keys, ["h", "k", "l"]);
        assert!(cli(&server, &["INFO", "server"]).contains("redis_version:"));
        assert!(cli(&server, &["--bigkeys"]).contains("Sampled 3 keys in the keyspace!"));
    }
}

#[test]
fn redis_cli_pipe() {
    const KEYS: usize = 20_000;
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        let mut child = Command::new("redis-cli")
            .args(["-p", &server.port.to_string(), "--pipe"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli is installed (package redis-tools)");
        let load: Vec<u8> = (0..KEYS).flat_map(|number| encode(&["SET", &format!("key:{number}"), "value"])).collect();
        child.stdin.take().expect("it was asked for").write_all(&load).expect("redis-cli reads its input");
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&format!("errors: 0, replies: {KEYS}")), "{text}");
        assert_eq!(server.client().run("DBSIZE").integer(), KEYS as i64);
    }
}

/// The tests of redis-benchmark whose commands are built: name of the test, command it needs.
const TESTS: [(&str, &str); 20] = [
    ("ping_inline", "ping"),
    ("ping_mbulk", "ping"),
    ("set", "set"),
    ("get", "get"),
    ("incr", "incr"),
    ("lpush", "lpush"),
    ("rpush", "rpush"),
    ("lpop", "lpop"),
    ("rpop", "rpop"),
    ("sadd", "sadd"),
    ("hset", "hset"),
    ("spop", "spop"),
    ("zadd", "zadd"),
    ("zpopmin", "zpopmin"),
    ("lrange_100", "lrange"),
    ("lrange_300", "lrange"),
    ("lrange_500", "lrange"),
    ("lrange_600", "lrange"),
    ("mset", "mset"),
    ("xadd", "xadd"),
];

#[test]
fn redis_benchmark() {
    let tests: Vec<&str> =
        TESTS.iter().filter(|(_, command)| table().find(command.as_bytes()).is_some()).map(|(test, _)| *test).collect();
    assert!(tests.len() >= 10, "few commands are built: {tests:?}");
    for shards in SHARDS {
        let server = Server::subject(shards, &[]);
        for options in [
            &["-n", "10000"][..],
            &["-n", "10000", "-P", "16", "-r", "1000", "-c", "20"],
            &["-n", "2000", "-3", "-d", "1000"],
        ] {
            let output = Command::new("redis-benchmark")
                .args(["-p", &server.port.to_string(), "-q", "-t", &tests.join(",")])
                .args(options)
                .output()
                .expect("redis-benchmark is installed (package redis-tools)");
            let text =
                String::from_utf8_lossy(&output.stdout).replace('\r', "\n") + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !text.contains("rror"), "redis-benchmark {options:?}:\n{text}");
            let finished = text.lines().filter(|line| line.contains("requests per second")).count();
            assert!(
                finished >= tests.len(),
                "redis-benchmark {options:?} finishes {finished} of {} tests:\n{text}",
                tests.len()
            );
        }
    }
}
