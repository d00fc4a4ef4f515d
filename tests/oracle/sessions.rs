//! Written sessions, `tests/sessions/*.txt`: what one types into redis-cli and what it answers. They cover what the
//! oracle does not know yet, and what randomness would rarely meet.
//!
//! ```text
//! # a comment
//! @ resp3            the session runs with RESP3 only (resp2: with RESP2 only; else with both)
//! @ newer            the oracle does not know this yet: the session runs on Crimson alone
//! @ config NAME VALUE  start the servers with this directive
//! @ oracle NAME VALUE  start the oracle with this directive
//! > SET k v          a command; below it what redis-cli shows, up to an empty line or the next command
//! OK
//! ~ SMEMBERS s       the lines of the reply in any order
//! * INFO server      the reply has more lines than those below; each of these is the start of one of them
//! ! BLPOP k 0        sent; the next line is read when the client waits
//! < BLPOP            the reply to what was sent before; without a name: a message that nothing has asked for
//! ? GET k            asked again until the reply is this one
//! 2> GET k           the same on a second connection (any digit)
//! ```
//!
//! Each runs with 1 and 4 shards, and on the oracle too, to prove that the session itself tells the truth.

use crate::support::{Client, Server, encode, poll, wait_until, words};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// What is written down of one command.
#[derive(Debug)]
struct Step {
    line_number: usize,
    client: u8,
    kind: char,
    command: String,
    expected: Vec<String>,
}

/// A session file.
pub struct Session {
    path: PathBuf,
    protocols: Vec<u8>,
    newer: bool,
    arguments: Vec<String>,
    oracle_arguments: Vec<String>,
    steps: Vec<Step>,
}

impl Session {
    /// All sessions.
    pub fn all() -> Vec<Self> {
        let dir = crate::support::server::checkout().join("tests/sessions");
        let mut paths: Vec<PathBuf> =
            fs::read_dir(dir).expect("there are sessions").flatten().map(|file| file.path()).collect();
        paths.sort();
        paths
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
            .map(Self::read)
            .collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a readable file");
        let mut session = Self {
            path,
            protocols: vec![2, 3],
            newer: false,
            arguments: Vec::new(),
            oracle_arguments: Vec::new(),
            steps: Vec::new(),
        };
        let mut open = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                open = false;
                continue;
            }
            let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
            let mut marks = head.chars();
            let (digit, kind) = match (marks.next(), marks.next(), marks.next()) {
                (Some(kind @ ('>' | '~' | '?' | '*' | '!' | '<')), None, None) => (0, kind),
                (Some(digit @ '0'..='9'), Some(kind @ ('>' | '~' | '?' | '*' | '!' | '<')), None) => {
                    (digit as u8 - b'0', kind)
                }
                (Some('@'), None, None) => {
                    session.setting(rest);
                    continue;
                }
                (Some('#'), ..) if !open => continue,
                _ if open => {
                    let step = session.steps.last_mut().expect("a reply stands below a command");
                    step.expected.push(line.trim_end().into());
                    continue;
                }
                _ => panic!("{:?}:{}: not a command: {line}", session.path, index + 1),
            };
            open = true;
            let step = Step { line_number: index + 1, client: digit, kind, command: rest.into(), expected: Vec::new() };
            session.steps.push(step);
        }
        session
    }

    fn setting(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        match (words.next(), words.next()) {
            (Some("resp2"), None) => self.protocols = vec![2],
            (Some("resp3"), None) => self.protocols = vec![3],
            (Some("newer"), None) => self.newer = true,
            (Some(whose @ ("config" | "oracle")), Some(name)) => {
                let arguments = if whose == "oracle" { &mut self.oracle_arguments } else { &mut self.arguments };
                arguments.push(format!("--{name}"));
                arguments.extend(words.map(String::from));
            }
            _ => panic!("{:?}: unknown setting: {text}", self.path),
        }
    }

    /// Names of the commands it runs, with their subcommands.
    pub fn commands(&self) -> impl Iterator<Item = String> + '_ {
        let asking = self.steps.iter().filter(|step| step.kind != '<');
        asking.map(|step| crate::compare::name_of(&words(&step.command)))
    }

    /// Runs it on `server`; the descriptions of what went otherwise.
    fn run(&self, server: &Server, protocol: u8) -> Vec<String> {
        let mut clients: HashMap<u8, Client> = HashMap::new();
        let mut wrong = Vec::new();
        for step in &self.steps {
            let client = clients.entry(step.client).or_insert_with(|| server.client().with_protocol(protocol));
            let mut got = Vec::new();
            let attempt = |client: &mut Client| match step.kind {
                '!' => send_until_blocked(server, client, &step.command),
                '<' => lines(&client.read().to_string(), false),
                _ => lines(&client.show(&step.command), step.kind == '~'),
            };
            let expected =
                if step.kind == '~' { lines(&step.expected.join("\n"), true) } else { step.expected.clone() };
            if step.kind == '?' {
                poll(Duration::from_secs(20), || {
                    got = attempt(client);
                    (got == expected).then_some(())
                });
            } else {
                got = attempt(client);
            }
            let holds = match step.kind {
                '*' => expected.iter().all(|start| got.iter().any(|line| line.trim_start().starts_with(&start[..]))),
                _ => got == expected,
            };
            got.truncate(30);
            if !holds {
                wrong.push(format!(
                    "{}:{} on {} with RESP{protocol}\n  > {}\n  expected: {}\n  got:      {}",
                    self.path.display(),
                    step.line_number,
                    server.name(),
                    step.command,
                    expected.join("\n            "),
                    got.join("\n            ")
                ));
            }
        }
        wrong
    }
}

/// Sends a command and waits until the server counts one blocked client more; nothing is answered yet.
fn send_until_blocked(server: &Server, client: &mut Client, command: &str) -> Vec<String> {
    let mut observer = server.client();
    let mut blocked = || {
        let text = observer.run("INFO clients").text();
        let count = text.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        count.and_then(|count| count.trim().parse::<u64>().ok()).expect("INFO tells how many are blocked")
    };
    let before = blocked();
    client.send(&encode(&words(command)));
    wait_until("the client is blocked", || blocked() > before);
    Vec::new()
}

/// The lines of a reply; in any order means: sorted and without their numbers.
fn lines(text: &str, any_order: bool) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_string()).collect();
    if any_order {
        for line in &mut lines {
            let unnumbered = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
            *line = unnumbered.trim_start_matches([')', '~', '#', ' ']).to_string();
        }
        lines.sort();
    }
    lines
}

#[test]
fn sessions_hold() {
    let mut wrong = Vec::new();
    for session in Session::all() {
        if session.newer && std::env::var("ORACLE_SUBJECT").as_deref() == Ok("redis") {
            continue;
        }
        let arguments: Vec<&str> = session.arguments.iter().map(String::as_str).collect();
        let mut servers = vec![Server::subject(1, &arguments), Server::subject(4, &arguments)];
        if !session.newer {
            let of_oracle = session.oracle_arguments.iter().map(String::as_str);
            servers.push(Server::redis(&arguments.iter().copied().chain(of_oracle).collect::<Vec<_>>()));
        }
        for server in &servers {
            for &protocol in &session.protocols {
                server.client().run("FLUSHALL");
                wrong.extend(session.run(server, protocol));
            }
        }
    }
    assert!(wrong.is_empty(), "{} replies are not as written:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
