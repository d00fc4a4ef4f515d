//! CONFIG on the real binary, and the files that are generated from the directive table.

mod support;

use std::fs;
use support::{Server, server::checkout};

/// What CONFIG answers to these must be what Redis answers, letter by letter. Left out are values that only one of the
/// two accepts.
const SAME_AS_REDIS: &[&str] = &[
    "CONFIG",
    "CONFIG FOO",
    "CONFIG HELP",
    "CONFIG GET",
    "CONFIG GET nosuch",
    "CONFIG GET maxclients",
    "CONFIG GET MAXclients",
    "CONFIG GET maxclients MAXCLIENTS nosuch timeout",
    "CONFIG GET maxclien*s",
    "CONFIG GET MAXCLIEN?S",
    "CONFIG GET save",
    "CONFIG GET appendonly",
    "CONFIG GET maxmemory-policy",
    "CONFIG GET databases",
    "CONFIG GET client-output-buffer-limit",
    "CONFIG GET hash-max-ziplist-entries",
    "CONFIG GET list-max-ziplist-siz[e]",
    "CONFIG GET unixsocketperm",
    "CONFIG SET timeout",
    "CONFIG SET timeout 1 hz",
    "CONFIG SET nosuch 1",
    "CONFIG SET timeout 5 nosuch 1",
    "CONFIG SET nosuch 1 databases 3",
    "CONFIG SET databases 3 nosuch 1",
    "CONFIG SET timeout abc nosuch 1",
    "CONFIG SET timeout 1 TIMEOUT 2",
    "CONFIG SET databases 3",
    "CONFIG SET dir /tmp",
    "CONFIG SET logfile x",
    "CONFIG SET unixsocketperm 700",
    "CONFIG SET tcp-backlog 700",
    "CONFIG SET timeout abc",
    "CONFIG SET timeout -1",
    "CONFIG SET timeout 99999999999",
    "CONFIG SET timeout 01",
    "CONFIG SET tcp-keepalive -1",
    "CONFIG SET maxclients 0",
    "CONFIG SET maxclients 4294967296",
    "CONFIG SET proto-max-bulk-len 2mbx",
    "CONFIG SET proto-max-bulk-len 1.5mb",
    "CONFIG SET protected-mode maybe",
    "CONFIG SET active-expire-effort 11",
    "CONFIG SET client-output-buffer-limit \"normal 1\"",
    "CONFIG SET client-output-buffer-limit \"normal  1 2 3\"",
    "CONFIG SET client-output-buffer-limit \"foo 1 2 3\"",
    "CONFIG SET client-output-buffer-limit \"normal 1 2 -3\"",
    "CONFIG SET client-output-buffer-limit \"normal 1mb 2mb abc\"",
    "CONFIG GET maxmemory-clients",
    "CONFIG SET maxmemory-clients 101%",
    "CONFIG SET maxmemory-clients 5.5%",
    "CONFIG SET maxmemory-clients %",
    "CONFIG SET maxmemory-clients -5%",
    "CONFIG SET maxmemory-clients -1",
    "CONFIG SET maxmemory-clients abc",
    "CONFIG SET maxmemory-clients 99999999999gb",
    "CONFIG SET maxmemory-clients 5%",
    "CONFIG GET maxmemory-clients",
    "CONFIG SET maxmemory-clients 2gb",
    "CONFIG GET maxmemory-clients",
    "CONFIG SET maxmemory-clients 0%",
    "CONFIG GET maxmemory-clients",
    "CONFIG GET timeout hz client-output-buffer-limit",
    "CONFIG SET hz 0",
    "CONFIG GET hz",
    "CONFIG SET hz 99999",
    "CONFIG GET hz",
    "CONFIG SET proto-max-bulk-len 2Mb client-query-buffer-limit 3m",
    "CONFIG GET proto-max-bulk-len client-query-buffer-limit",
    "CONFIG SET client-output-buffer-limit \"NORMAL 1GB 2m 5 replica 1 2 3\"",
    "CONFIG GET client-output-buffer-limit",
    "CONFIG SET client-output-buffer-limit \"\"",
    "CONFIG SET hash-max-ziplist-entries 5 hash-max-listpack-entries 6",
    "CONFIG GET hash-max-ziplist-entries hash-max-listpack-entries",
    "CONFIG SET protected-mode YES loglevel NOTICE",
    "CONFIG SET save \"\" appendonly no maxmemory 0 maxmemory-policy noeviction",
    "CONFIG RESETSTAT",
    "CONFIG RESETSTAT x",
    "CONFIG REWRITE",
    "CONFIG REWRITE x",
];

#[test]
fn answers_are_those_of_redis() {
    for protocol in [2, 3] {
        let oracle = Server::redis(&[]);
        let subject = Server::crimson(2, &[]);
        let mut theirs = oracle.client().with_protocol(protocol);
        let mut ours = subject.client().with_protocol(protocol);
        for command in SAME_AS_REDIS {
            // The order of directives that a pattern or several names find is not the same; the pairs are.
            let (mut expected, mut answer) = (theirs.run(command).pairs_if_any(), ours.run(command).pairs_if_any());
            expected.sort();
            answer.sort();
            assert_eq!(answer, expected, "RESP{protocol}: {command}");
        }
    }
}

trait PairsIfAny {
    /// The pairs of CONFIG GET's reply as text, or the whole reply as one.
    fn pairs_if_any(&self) -> Vec<String>;
}

impl PairsIfAny for support::Reply {
    fn pairs_if_any(&self) -> Vec<String> {
        match self {
            Self::Array(elements) if elements.len() % 2 == 0 => {
                self.pairs().iter().map(|pair| format!("{}: {}", pair.0, pair.1)).collect()
            }
            Self::Map(_) => self.pairs().iter().map(|pair| format!("{}: {}", pair.0, pair.1)).collect(),
            other => vec![other.to_string()],
        }
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    let server = Server::crimson(1, &[]);
    let mut client = server.client();
    for (command, reason) in [
        ("save \"3600 1\"", "snapshots are not supported yet, only \"\" is accepted"),
        ("appendfsync often", "argument(s) must be one of the following: everysec, always, no"),
        ("appenddirname logs", "can't set immutable config"),
        ("port 7000", "can't set immutable config"),
        ("bind 127.0.0.1", "can't set immutable config"),
        ("threads 3", "can't set immutable config"),
        ("proto-max-bulk-len 4gb", "argument must be between 1048576 and 4294967295 inclusive"),
        ("loglevel x", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
    ] {
        let name = command.split(' ').next().expect("a name");
        let expected = format!("(error) ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
        assert_eq!(client.show(&format!("CONFIG SET {command}")), expected);
    }
    let error = client.show("CONFIG SET maxclients 4294967295");
    let expected = "(error) ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is \
                    not able to handle the specified number of clients, try with ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_change_is_whole_and_every_core_sees_it() {
    let server = Server::crimson(2, &[]);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    assert!(clients[0].run("CONFIG SET timeout 77 hz 20 maxclients abc").is_error());
    for client in &mut clients {
        let reply = client.run("CONFIG GET timeout hz");
        assert_eq!((reply.elements()[1].text(), reply.elements()[3].text()), ("0".into(), "10".into()));
    }
    assert_eq!(clients[0].show("CONFIG SET timeout 77 hz 20"), "OK");
    for client in &mut clients {
        let reply = client.run("CONFIG GET timeout hz");
        assert_eq!((reply.elements()[1].text(), reply.elements()[3].text()), ("77".into(), "20".into()));
    }
}

#[test]
fn the_file_is_rewritten_and_read_again() {
    let configuration = "# mine\nmaxclients 100\n\n  Hash-Max-Ziplist-Entries 5 # no comment here\n";
    let output = Server::crimson_from_file(&configuration.replace(" # no comment here", ""), &["--threads", "2"]);
    let file = output.dir.join("crimson.conf");
    let mut client = output.client();
    assert_eq!(client.show("CONFIG SET hash-max-listpack-entries 6 timeout 9"), "OK");
    assert_eq!(client.show("CONFIG REWRITE"), "OK");
    let text = fs::read_to_string(&file).expect("there");
    assert!(
        text.starts_with("# mine\nmaxclients 100\n\nhash-max-listpack-entries 6\n\n# Generated by CONFIG REWRITE\n"),
        "{text}"
    );
    for line in ["timeout 9", "threads 2", &format!("port {}", output.port)] {
        assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line}:\n{text}");
    }
    let again = Server::crimson_from_file(&text, &[]);
    let reply = again.client().run("CONFIG GET timeout hash-max-listpack-entries threads");
    let values: Vec<String> = reply.pairs().iter().map(|(_, value)| value.text()).collect();
    assert_eq!(values, ["9", "6", "2"]);
}

#[test]
fn statistics_are_reset() {
    let server = Server::crimson(2, &[]);
    let mut client = server.client();
    let total = |client: &mut support::Client| -> u64 {
        let info = client.run("INFO stats").text();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("counted");
        line.trim().parse().expect("a number")
    };
    drop((0..5).map(|_| server.client().run("PING")).collect::<Vec<_>>());
    assert!(total(&mut client) >= 6);
    assert_eq!(client.show("CONFIG RESETSTAT"), "OK");
    assert_eq!(total(&mut client), 0);
}

/// `CRIMSON_UPDATE=1 cargo test --test config` writes the file.
#[test]
fn the_sample_file_is_what_the_table_says() {
    let path = checkout().join("deploy/crimson.conf");
    let generated = crimson::config::sample::text(&crimson::config::Config::default());
    if std::env::var_os("CRIMSON_UPDATE").is_some() {
        fs::write(&path, &generated).expect("the checkout takes a file");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "deploy/crimson.conf is old: CRIMSON_UPDATE=1 cargo test --test config");
}
