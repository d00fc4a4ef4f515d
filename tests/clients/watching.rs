//! redis-cli as operators use it to watch a server: `--stat`, `--bigkeys`, `--memkeys`,
//! `--hotkeys`, `--latency`, INFO.

use crate::SHARDS;
use crate::support::{Server, wait_until};
use crate::tools::cli;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A server with a few keys of each type.
fn filled(shards: usize) -> Server {
    let server = Server::subject(shards, &[]);
    let mut client = server.client();
    for number in 0..200 {
        client.call(&["SET", &format!("string:{number}"), &"s".repeat(number)]);
        client.call(&["RPUSH", &format!("list:{number}"), "a", "b", "c"]);
        client.call(&["HSET", &format!("hash:{number}"), "field", "value"]);
        client.call(&["SADD", &format!("set:{number}"), "1", "2"]);
    }
    let members: Vec<String> = (0..3000).map(|member| format!("member:{member}")).collect();
    let words = ["SADD", "set:large"].into_iter().chain(members.iter().map(String::as_str));
    assert_eq!(client.call(&words.collect::<Vec<_>>()).integer(), 3000);
    client.call(&["SET", "string:large", &"x".repeat(50_000)]);
    server
}

/// The first lines of a tool that goes on until it is ended.
fn first_lines(server: &Server, arguments: &[&str], count: usize) -> Vec<String> {
    let mut child = Command::new("stdbuf")
        .args(["-oL", "redis-cli", "-p", &server.port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli is installed (package redis-tools)");
    let output = BufReader::new(child.stdout.take().expect("it was asked for"));
    let lines = output.lines().take(count).map(|line| line.expect("text")).collect();
    child.kill().expect("our own child can be killed");
    child.wait().expect("our own child can be waited for");
    lines
}

#[test]
fn stat_shows_keys_memory_clients_and_requests() {
    for shards in SHARDS {
        let server = filled(shards);
        let mut client = server.client();
        // The connection that has filled it may still be closing.
        wait_until("one client is there", || client.run("INFO clients").text().contains("connected_clients:1\r"));
        let lines = first_lines(&server, &["--stat", "-i", "0.05"], 6);
        assert_eq!(client.run("PING").text(), "PONG");
        let rows: Vec<Vec<&str>> = lines[2..].iter().map(|line| line.split_whitespace().collect()).collect();
        for row in &rows {
            assert_eq!(row[0], "802", "keys: {lines:?}");
            assert!(row[1].ends_with('M') && row[1].trim_end_matches('M').parse::<f64>().is_ok(), "memory: {lines:?}");
            assert_eq!((row[2], row[3]), ("2", "0"), "clients, blocked clients: {lines:?}");
        }
        let requests: Vec<u64> = rows.iter().map(|row| row[4].parse().expect("requests")).collect();
        assert!(requests[0] >= 802 && requests.windows(2).all(|pair| pair[1] == pair[0] + 1), "{lines:?}");
        assert_eq!(rows[1][5], "(+1)", "{lines:?}");
    }
}

#[test]
fn bigkeys_and_memkeys_find_the_largest_of_each_type() {
    for shards in SHARDS {
        let server = filled(shards);
        let big = cli(&server, &["--bigkeys"]);
        for part in [
            "Sampled 802 keys in the keyspace!",
            "Biggest    set found '\"set:large\"' has 3000 members",
            "Biggest string found '\"string:large\"' has 50000 bytes",
            "200 lists with 600 items (24.94% of keys, avg size 3.00)",
            "200 hashs with 200 fields (24.94% of keys, avg size 1.00)",
            "201 sets with 3400 members",
        ] {
            assert!(big.contains(part), "{part} is not in\n{big}");
        }
        for arguments in [&["--memkeys"][..], &["--memkeys-samples", "0"]] {
            let memory = cli(&server, arguments);
            for part in [
                "Sampled 802 keys in the keyspace!",
                "Biggest    set found '\"set:large\"' has ",
                "Biggest string found '\"string:large\"' has ",
                "200 lists with ",
            ] {
                assert!(memory.contains(part), "{part} is not in\n{memory}");
            }
            let largest = memory.lines().find(|line| line.starts_with("Biggest string")).expect("just seen");
            let bytes = largest.split(' ').rev().nth(1).and_then(|bytes| bytes.parse::<usize>().ok());
            assert!(bytes.is_some_and(|bytes| (50_000..70_000).contains(&bytes)), "{largest}");
        }
    }
}

#[test]
fn latency_is_measured() {
    for shards in SHARDS {
        let server = filled(shards);
        let once = cli(&server, &["--latency", "-i", "0.3"]);
        let numbers =
            |line: &str| line.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).collect::<Vec<_>>();
        let [least, most, mean, count] = numbers(&once)[..] else { panic!("not min, max, avg and count: {once}") };
        assert!(least <= mean && mean <= most && most < 1000.0 && count >= 3.0, "{once}");
        let lines = first_lines(&server, &["--latency-history", "-i", "0.3"], 20);
        assert!(lines.iter().filter(|line| numbers(line).len() == 4).count() >= 15, "{lines:?}");
    }
}

/// Every line of INFO is empty, a title or a field, as all tools that read it expect.
#[test]
fn info_is_read_by_tools() {
    for shards in SHARDS {
        let server = filled(shards);
        let text = cli(&server, &["INFO", "everything"]);
        let is_field = |line: &str| {
            line.split_once(':').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_|-.".contains(&byte))
            })
        };
        for line in text.lines().map(str::trim_end) {
            assert!(line.is_empty() || line.starts_with("# ") || is_field(line), "{line}");
        }
        assert!(text.contains("db0:keys=802,expires=0,avg_ttl=0"), "{text}");
        let stats = cli(&server, &["--no-raw", "MEMORY", "STATS"]);
        assert!(stats.contains("\"keys.count\"\n") && stats.contains("(integer) 802"), "{stats}");
    }
}

/// The fields of Redis's section on memory are all there, in its order.
#[test]
fn info_memory_has_the_fields_of_redis() {
    let names = |server: &Server| -> Vec<String> {
        let text = cli(server, &["INFO", "memory"]);
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_string())).collect()
    };
    let (theirs, ours) = (names(&Server::redis(&[])), names(&Server::subject(2, &[])));
    let of_theirs: Vec<&String> = ours.iter().filter(|name| theirs.contains(name)).collect();
    assert_eq!(of_theirs, theirs.iter().collect::<Vec<_>>());
    // The statistics as well.
    let names = |server: &Server| -> Vec<String> {
        let reply = server.client().run("MEMORY STATS");
        reply.pairs().iter().map(|(name, _)| name.to_string()).collect()
    };
    let (oracle, subject) = (Server::redis(&[]), Server::subject(2, &[]));
    for server in [&oracle, &subject] {
        server.client().run("SET k v");
    }
    assert_eq!(names(&subject), names(&oracle));
}

/// Under a policy that counts uses, the key that is used most is the hottest.
#[test]
fn hotkeys_finds_what_is_used_most() {
    for shards in SHARDS {
        let server = Server::subject(shards, &["--maxmemory-policy", "allkeys-lfu"]);
        let mut client = server.client();
        for number in 0..100 {
            client.call(&["SET", &format!("cold:{number}"), "x"]);
        }
        client.call(&["SET", "hot", "x"]);
        for _ in 0..3000 {
            client.call(&["GET", "hot"]);
        }
        let found = cli(&server, &["--hotkeys"]);
        assert!(found.contains("hot key found with counter:"), "{found}");
        let summary = found.rsplit("summary").next().expect("split gives something");
        let hottest = summary.lines().find(|line| line.contains("keyname:")).expect("a key was found");
        assert!(hottest.ends_with("keyname: \"hot\"") || hottest.ends_with("keyname: hot"), "{found}");
    }
}
