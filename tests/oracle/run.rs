//! Runs a sequence of commands on the oracle and on a subject and compares every reply and, at the end, the whole
//! content of both.

use crate::compare::{self, Difference, Rule, compare, rule_of};
use crate::generate::{Command, cmd};
use crate::support::{Client, Reply, Server, encode};
use std::collections::BTreeMap;
use std::io;

/// How a sequence is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A command when the reply to the one before has come.
    OneByOne,
    /// All at once; commands whose comparison needs more commands are left out.
    Pipelined,
}

/// What went wrong.
#[derive(Debug)]
pub enum Failure {
    /// Replies, or the content at the end, are not equal.
    Differs(Box<Difference>),
    /// A server did not answer as one must.
    Broken { server: &'static str, command: Command, error: io::Error },
}

impl Failure {
    /// The name of the command whose replies differ.
    pub fn command_name(&self) -> String {
        match self {
            Self::Differs(difference) => compare::name_of(&difference.command),
            Self::Broken { command, .. } => format!("{} (broken)", compare::name_of(command)),
        }
    }
}

/// The databases that generated commands use; compared at the end.
const DATABASES: [&str; 4] = ["0", "1", "2", "15"];

/// A connection to each server.
pub struct Pair {
    oracle: Client,
    subject: Client,
}

impl Pair {
    /// Empties both servers and connects to them anew.
    pub fn connect(oracle: &Server, subject: &Server, protocol: u8) -> Result<Self, Failure> {
        let open = |server: &Server, name| {
            let mut client = Client::try_connect(server.port).map_err(|error| Failure::Broken {
                server: name,
                command: cmd!["connect"],
                error,
            })?;
            call(name, &mut client, &cmd!["FLUSHALL"])?;
            if protocol == 3 {
                call(name, &mut client, &cmd!["HELLO", "3"])?;
            }
            Ok(client)
        };
        Ok(Self { oracle: open(oracle, "oracle")?, subject: open(subject, "subject")? })
    }

    /// Runs the commands and compares.
    pub fn run(&mut self, commands: &[Command], mode: Mode) -> Result<(), Failure> {
        match mode {
            Mode::OneByOne => commands.iter().try_for_each(|command| self.step(command))?,
            Mode::Pipelined => self.pipeline(commands)?,
        }
        self.compare_content()
    }

    fn pipeline(&mut self, commands: &[Command]) -> Result<(), Failure> {
        let commands: Vec<&Command> =
            commands.iter().filter(|command| !rule_of(command).needs_more_commands()).collect();
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        for (name, client) in [("oracle", &mut self.oracle), ("subject", &mut self.subject)] {
            client.try_send(&bytes).map_err(|error| Failure::Broken {
                server: name,
                command: cmd!["(pipeline)"],
                error,
            })?;
        }
        for command in commands {
            let oracle = read("oracle", &mut self.oracle, command)?;
            let subject = read("subject", &mut self.subject, command)?;
            check(command, &oracle, &subject)?;
        }
        Ok(())
    }

    fn both(&mut self, command: &Command) -> Result<(Reply, Reply), Failure> {
        Ok((call("oracle", &mut self.oracle, command)?, call("subject", &mut self.subject, command)?))
    }

    fn step(&mut self, command: &Command) -> Result<(), Failure> {
        match rule_of(command) {
            Rule::Scan => self.scan(command),
            Rule::Pop | Rule::RandomMembers if command.len() > 1 => self.random_members(command),
            Rule::RandomFields if command.len() > 1 => self.random_fields(command),
            Rule::RandomKey if command.len() == 1 => self.random_key(command),
            _ => {
                let (oracle, subject) = self.both(command)?;
                check(command, &oracle, &subject)
            }
        }
    }

    /// Walks over all pages on both servers and compares what was seen, in any order and as often as it was seen.
    fn scan(&mut self, command: &Command) -> Result<(), Failure> {
        let oracle = walk("oracle", &mut self.oracle, command)?;
        let subject = walk("subject", &mut self.subject, command)?;
        check(command, &oracle, &subject)
    }

    /// SPOP and SRANDMEMBER: both answers must be members, as many as the oracle's. Afterwards the subject is made to
    /// have popped the same ones as the oracle.
    fn random_members(&mut self, command: &Command) -> Result<(), Failure> {
        let key = &command[1];
        let members = call("oracle", &mut self.oracle, &cmd!["SMEMBERS", key.clone()])?;
        let (oracle, subject) = self.both(command)?;
        if oracle.is_error() || subject.is_error() || members.is_error() {
            return check(command, &oracle, &subject);
        }
        let distinct = !matches!(command.get(2), Some(count) if count.starts_with(b"-"));
        if !is_choice(&oracle, &subject, members.elements(), distinct) {
            return Err(differs(command, &oracle, &subject));
        }
        if rule_of(command) == Rule::Pop {
            let (gone, wrong) = (listed(&oracle), listed(&subject));
            let wrong: Vec<_> = wrong.into_iter().filter(|member| !gone.contains(member)).collect();
            if !wrong.is_empty() {
                // First what is missing, so that the set never becomes empty in between.
                call("subject", &mut self.subject, &[cmd!["SADD", key.clone()], wrong].concat())?;
                call("subject", &mut self.subject, &[cmd!["SREM", key.clone()], gone].concat())?;
            }
        }
        Ok(())
    }

    fn random_fields(&mut self, command: &Command) -> Result<(), Failure> {
        let fields = call("oracle", &mut self.oracle, &cmd!["HGETALL", command[1].clone()])?;
        let (oracle, subject) = self.both(command)?;
        if oracle.is_error() || subject.is_error() || fields.is_error() {
            return check(command, &oracle, &subject);
        }
        let (pairs, distinct) = (fields.pairs(), !matches!(command.get(2), Some(count) if count.starts_with(b"-")));
        let right = match command.len() {
            4 => {
                let pairs: Vec<Reply> =
                    pairs.into_iter().map(|(field, value)| Reply::Array(vec![field, value])).collect();
                is_choice(&in_pairs(&oracle), &in_pairs(&subject), &pairs, distinct)
                    && compare::same_shape(&oracle, &subject)
            }
            _ => {
                let fields: Vec<Reply> = pairs.into_iter().map(|(field, _)| field).collect();
                is_choice(&oracle, &subject, &fields, distinct)
            }
        };
        if right { Ok(()) } else { Err(differs(command, &oracle, &subject)) }
    }

    fn random_key(&mut self, command: &Command) -> Result<(), Failure> {
        let keys = call("oracle", &mut self.oracle, &cmd!["KEYS", "*"])?;
        let (oracle, subject) = self.both(command)?;
        let right = if keys.elements().is_empty() { oracle == subject } else { keys.elements().contains(&subject) };
        if right { Ok(()) } else { Err(differs(command, &oracle, &subject)) }
    }

    /// Compares every key of every database: type, value and time to live.
    fn compare_content(&mut self) -> Result<(), Failure> {
        // A transaction may be open.
        self.both(&cmd!["DISCARD"])?;
        let oracle = content("oracle", &mut self.oracle)?;
        let subject = content("subject", &mut self.subject)?;
        for (place, (command, reply)) in &oracle {
            let missing = || (command.clone(), Reply::Simple("(there is no such key)".into()));
            let (_, other) = subject.get(place).cloned().unwrap_or_else(missing);
            check(command, reply, &other)?;
        }
        match subject.iter().find(|(place, _)| !oracle.contains_key(*place)) {
            Some((_, (command, reply))) => {
                Err(differs(command, &Reply::Simple("(there is no such key)".into()), reply))
            }
            None => Ok(()),
        }
    }
}

/// A question about a key and its answer, by database, key and which question it is.
type Content = BTreeMap<(usize, Vec<u8>, usize), (Command, Reply)>;

fn content(server: &'static str, client: &mut Client) -> Result<Content, Failure> {
    let mut content = Content::new();
    for (index, database) in DATABASES.iter().enumerate() {
        call(server, client, &cmd!["SELECT", *database])?;
        let keys = call(server, client, &cmd!["KEYS", "*"])?;
        for key in listed(&keys) {
            let kind = call(server, client, &cmd!["TYPE", key.clone()])?;
            let dump = match &kind.text()[..] {
                "string" => cmd!["GET", key.clone()],
                "list" => cmd!["LRANGE", key.clone(), "0", "-1"],
                "set" => cmd!["SMEMBERS", key.clone()],
                "hash" => cmd!["HGETALL", key.clone()],
                _ => cmd!["TYPE", key.clone()],
            };
            let questions = [dump, cmd!["PTTL", key.clone()], cmd!["OBJECT", "ENCODING", key.clone()]];
            content.insert((index, key.clone(), 0), (cmd!["TYPE", key.clone()], kind));
            for (number, question) in questions.into_iter().enumerate() {
                let reply = call(server, client, &question)?;
                content.insert((index, key.clone(), number + 1), (question, reply));
            }
        }
    }
    Ok(content)
}

fn call(server: &'static str, client: &mut Client, command: &Command) -> Result<Reply, Failure> {
    let broken = |error| Failure::Broken { server, command: command.clone(), error };
    client.try_send(&encode(command)).map_err(broken)?;
    read(server, client, command)
}

fn read(server: &'static str, client: &mut Client, command: &Command) -> Result<Reply, Failure> {
    let (reply, _) = client.try_read().map_err(|error| Failure::Broken { server, command: command.clone(), error })?;
    Ok(reply)
}

fn check(command: &Command, oracle: &Reply, subject: &Reply) -> Result<(), Failure> {
    compare(command, oracle, subject).map_or(Ok(()), |difference| Err(Failure::Differs(Box::new(difference))))
}

fn differs(command: &Command, oracle: &Reply, subject: &Reply) -> Failure {
    let (oracle, subject) = (oracle.clone(), subject.clone());
    Failure::Differs(Box::new(Difference { command: command.clone(), oracle, subject }))
}

/// The strings in an array or set; of a single string, that one.
fn listed(reply: &Reply) -> Vec<Vec<u8>> {
    match reply {
        Reply::Bulk(bytes) => vec![bytes.clone()],
        Reply::Array(elements) | Reply::Set(elements) => {
            elements.iter().map(|element| element.bytes().to_vec()).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the subject's answer could have been the oracle's: the same kind and number, all of them `choices`.
fn is_choice(oracle: &Reply, subject: &Reply, choices: &[Reply], distinct: bool) -> bool {
    let chosen = match (oracle, subject) {
        (Reply::Bulk(_), Reply::Bulk(_)) => std::slice::from_ref(subject),
        (Reply::Array(a), Reply::Array(b)) | (Reply::Set(a), Reply::Set(b)) if a.len() == b.len() => b,
        _ => return oracle == subject,
    };
    let mut seen = chosen.to_vec();
    seen.sort();
    seen.dedup();
    chosen.iter().all(|one| choices.contains(one)) && (!distinct || seen.len() == chosen.len())
}

/// A flat array of pairs as an array of pairs, as RESP3 has it.
fn in_pairs(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(flat) if flat.iter().all(|one| matches!(one, Reply::Bulk(_))) => {
            Reply::Array(flat.chunks(2).map(|pair| Reply::Array(pair.to_vec())).collect())
        }
        other => other.clone(),
    }
}

/// All pages of a SCAN, SSCAN or HSCAN as one sorted array; the first reply as it is when that is not a page.
fn walk(server: &'static str, client: &mut Client, command: &Command) -> Result<Reply, Failure> {
    let at = if command[0].eq_ignore_ascii_case(b"scan") { 1 } else { 2 };
    let mut command = command.clone();
    let mut seen = Vec::new();
    for _ in 0..100_000 {
        let page = call(server, client, &command)?;
        let Reply::Array(parts) = &page else { return Ok(page) };
        let [cursor, elements] = &parts[..] else { return Ok(page) };
        seen.extend(match at {
            2 if command[0].eq_ignore_ascii_case(b"hscan") => in_pairs(elements).elements().to_vec(),
            _ => elements.elements().to_vec(),
        });
        if cursor.bytes() == b"0" {
            // An element may be seen twice.
            seen.sort();
            seen.dedup();
            return Ok(Reply::Array(seen));
        }
        command[at] = cursor.bytes().to_vec();
    }
    Ok(Reply::Simple("(the walk does not end)".into()))
}
