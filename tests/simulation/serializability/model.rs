//! A server that runs one command after another: just what `program` writes. It leaves open what is not decided by the
//! order of commands alone: when a key expires within what its command's time allows, and counts of receivers.

use super::super::reply::Reply;
use super::program::{Request, wait_of};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Text(String),
    List(VecDeque<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    value: Value,
    /// When it expires: at the earliest and at the latest.
    expires: Option<(i64, i64)>,
}

/// The whole keyspace, and what is known of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    keys: BTreeMap<String, Entry>,
    /// By client.
    watches: BTreeMap<usize, Watch>,
    /// By client, channels and patterns.
    subscriptions: BTreeMap<usize, BTreeSet<String>>,
    /// The time now: at the earliest and at the latest.
    now: (i64, i64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Watch {
    keys: BTreeSet<String>,
    changed: bool,
}

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn integer(number: usize) -> Reply {
    Reply::Integer(number as i64)
}

fn bulk(text: impl AsRef<str>) -> Reply {
    Reply::Bulk(text.as_ref().as_bytes().to_vec())
}

fn bulk_or_null(text: Option<impl AsRef<str>>) -> Reply {
    text.map_or(Reply::Null, bulk)
}

fn error(text: &str) -> Reply {
    Reply::Error(text.as_bytes().to_vec())
}

/// A number of receivers, which deliveries tell.
fn any_count() -> Reply {
    Reply::Integer(i64::MIN)
}

/// Whether a server has answered what the model does. Nulls are one.
pub fn fits(expected: &Reply, actual: &Reply) -> bool {
    match (expected, actual) {
        (Reply::Integer(i64::MIN), Reply::Integer(_)) => true,
        (Reply::Array(expected), Reply::Array(actual)) | (Reply::Push(expected), Reply::Push(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| fits(expected, actual))
        }
        (expected, actual) => expected == actual || expected.is_null() && actual.is_null(),
    }
}

impl Model {
    /// The time of what happens next lies between these. Keys whose time is surely over are gone.
    pub fn set_time(&mut self, earliest: i64, latest: i64) {
        self.now = (earliest.max(self.now.0), latest);
        let over = |entry: &Entry| entry.expires.is_some_and(|(_, latest)| latest < self.now.0);
        let gone: Vec<String> = self.keys.iter().filter(|(_, entry)| over(entry)).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| drop(self.remove(key)));
    }

    /// Two models that differ in this alone are the same.
    pub fn forget_latest(&mut self) {
        self.now.1 = 0;
    }

    /// Keys whose time may be over by `latest`.
    pub fn may_expire(&self, latest: i64) -> Vec<String> {
        let may = |entry: &Entry| entry.expires.is_some_and(|(earliest, _)| earliest <= latest);
        self.keys.iter().filter(|(_, entry)| may(entry)).map(|(key, _)| key.clone()).collect()
    }

    /// A key's time is over.
    pub fn expire(&mut self, key: &str) {
        self.remove(key);
    }

    /// Runs what a client has sent in one go; all its replies.
    pub fn run(&mut self, client: usize, request: &Request) -> Vec<Reply> {
        match &request[..] {
            [multi, commands @ .., last] if multi[0] == "MULTI" && last[0] == "EXEC" => {
                let mut replies = vec![ok()];
                replies.extend(commands.iter().map(|_| Reply::Simple(b"QUEUED".to_vec())));
                replies.push(match self.watches.remove(&client).is_some_and(|watch| watch.changed) {
                    true => Reply::Null,
                    false => Reply::Array(commands.iter().map(|command| self.command(client, command)).collect()),
                });
                replies
            }
            [multi, commands @ ..] if multi[0] == "MULTI" => {
                [ok()].into_iter().chain(commands.iter().map(|_| Reply::Simple(b"QUEUED".to_vec()))).collect()
            }
            commands => commands.iter().map(|command| self.command(client, command)).collect(),
        }
    }

    /// A key was changed.
    fn touch(&mut self, key: &str) {
        self.watches.values_mut().filter(|watch| watch.keys.contains(key)).for_each(|watch| watch.changed = true);
    }

    fn put(&mut self, key: &str, value: Value, expires: Option<(i64, i64)>) {
        self.touch(key);
        self.keys.insert(key.into(), Entry { value, expires });
    }

    fn put_text(&mut self, key: &str, text: &str) {
        self.put(key, Value::Text(text.into()), None);
    }

    fn remove(&mut self, key: &str) -> Option<Entry> {
        let entry = self.keys.remove(key)?;
        self.touch(key);
        Some(entry)
    }

    fn after(&self, milliseconds: &str) -> Option<(i64, i64)> {
        let milliseconds: i64 = milliseconds.parse().expect("a time to live");
        Some((self.now.0 + milliseconds, self.now.1.saturating_add(milliseconds)))
    }

    fn command(&mut self, client: usize, command: &[String]) -> Reply {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words[0] {
            "WATCH" => {
                self.watches.entry(client).or_default().keys.extend(command[1..].iter().cloned());
                ok()
            }
            "SUBSCRIBE" | "PSUBSCRIBE" | "UNSUBSCRIBE" => self.subscribe(client, words[0], words[1]),
            "PUBLISH" => any_count(),
            // Whom it unblocks is decided before; in a transaction it is like any other.
            "CLIENT" => integer(0),
            "RPUSH" | "LPUSH" | "LPOP" | "LMOVE" | "LLEN" | "LRANGE" => self.on_list(&words),
            _ if wait_of(command).is_some() => self.take(command, None).unwrap_or(Reply::Null),
            _ => self.on_keys(&words),
        }
    }

    fn on_keys(&mut self, words: &[&str]) -> Reply {
        match *words {
            ["SET", key, value] => {
                self.put_text(key, value);
                ok()
            }
            ["SET", key, value, "PX", milliseconds] => {
                self.put(key, Value::Text(value.into()), self.after(milliseconds));
                ok()
            }
            ["PEXPIRE", key, milliseconds] => {
                let expires = self.after(milliseconds);
                self.set_expiry(key, expires)
            }
            ["PERSIST", key] => match self.keys.get(key).is_some_and(|entry| entry.expires.is_some()) {
                true => self.set_expiry(key, None),
                false => integer(0),
            },
            ["GET", key] => bulk_or_null(self.text(key)),
            ["INCR", key] => {
                let number = self.text(key).map_or(0, |text| text.parse::<usize>().expect("all texts are numbers")) + 1;
                let expires = self.keys.get(key).and_then(|entry| entry.expires);
                self.put(key, Value::Text(number.to_string()), expires);
                integer(number)
            }
            ["MSET", ref pairs @ ..] => {
                pairs.chunks(2).for_each(|pair| self.put_text(pair[0], pair[1]));
                ok()
            }
            ["MSETNX", ref pairs @ ..] => {
                let free = pairs.iter().step_by(2).all(|key| !self.keys.contains_key(*key));
                if free {
                    pairs.chunks(2).for_each(|pair| self.put_text(pair[0], pair[1]));
                }
                integer(free.into())
            }
            ["MGET", ref keys @ ..] => Reply::Array(keys.iter().map(|key| bulk_or_null(self.text(key))).collect()),
            ["DEL", ref keys @ ..] => integer(keys.iter().filter(|key| self.remove(key).is_some()).count()),
            ["EXISTS", ref keys @ ..] => integer(keys.iter().filter(|key| self.keys.contains_key(**key)).count()),
            ["RENAME", from, to] => match self.rename(from, to) {
                true => ok(),
                false => error("ERR no such key"),
            },
            ["RENAMENX", from, to] => match self.keys.contains_key(to) {
                true if self.keys.contains_key(from) => integer(0),
                false if self.rename(from, to) => integer(1),
                _ => error("ERR no such key"),
            },
            ["COPY", from, to, "REPLACE"] if from == to => error("ERR source and destination objects are the same"),
            ["COPY", from, to, "REPLACE"] => match self.keys.get(from).cloned() {
                None => integer(0),
                Some(Entry { value, expires }) => {
                    self.put(to, value, expires);
                    integer(1)
                }
            },
            ["DBSIZE"] => integer(self.keys.len()),
            ["FLUSHALL"] => {
                let keys: Vec<String> = self.keys.keys().cloned().collect();
                keys.iter().for_each(|key| drop(self.remove(key)));
                ok()
            }
            _ => unreachable!("{words:?} is not in any program"),
        }
    }

    fn set_expiry(&mut self, key: &str, expires: Option<(i64, i64)>) -> Reply {
        let Some(entry) = self.keys.get_mut(key) else { return integer(0) };
        entry.expires = expires;
        self.touch(key);
        integer(1)
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.keys.get(key).map(|entry| &entry.value) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        if from == to {
            return self.keys.contains_key(from);
        }
        let entry = self.remove(from);
        entry.map(|Entry { value, expires }| self.put(to, value, expires)).is_some()
    }

    fn on_list(&mut self, words: &[&str]) -> Reply {
        match *words {
            [name @ ("RPUSH" | "LPUSH"), key, ref values @ ..] => {
                for value in values {
                    self.push(key, value, name == "LPUSH");
                }
                integer(self.len(key))
            }
            ["LPOP", key] => bulk_or_null(self.pop(key, true)),
            ["LMOVE", from, to, "LEFT", "RIGHT"] => bulk_or_null(self.shift(from, to, true, false)),
            ["LLEN", key] => integer(self.len(key)),
            ["LRANGE", key, ..] => match self.keys.get(key).map(|entry| &entry.value) {
                Some(Value::List(list)) => Reply::Array(list.iter().map(bulk).collect()),
                _ => Reply::Array(Vec::new()),
            },
            _ => unreachable!("{words:?} is not in any program"),
        }
    }

    /// How many elements a list has.
    pub fn len(&self, key: &str) -> usize {
        match self.keys.get(key).map(|entry| &entry.value) {
            Some(Value::List(list)) => list.len(),
            _ => 0,
        }
    }

    fn push(&mut self, key: &str, value: &str, left: bool) {
        self.touch(key);
        let empty = || Entry { value: Value::List(VecDeque::new()), expires: None };
        match &mut self.keys.entry(key.into()).or_insert_with(empty).value {
            Value::List(list) if left => list.push_front(value.into()),
            Value::List(list) => list.push_back(value.into()),
            Value::Text(_) => unreachable!("keys of lists hold no texts"),
        }
    }

    fn pop(&mut self, key: &str, left: bool) -> Option<String> {
        let Some(Value::List(list)) = self.keys.get_mut(key).map(|entry| &mut entry.value) else { return None };
        let element = if left { list.pop_front() } else { list.pop_back() };
        if list.is_empty() {
            self.keys.remove(key);
        }
        self.touch(key);
        element
    }

    /// Moves an element.
    fn shift(&mut self, from: &str, to: &str, from_left: bool, to_left: bool) -> Option<String> {
        // A list that is only turned keeps its time to live, even if it has one element.
        let expires = self.keys.get(from).and_then(|entry| entry.expires).filter(|_| from == to);
        let moved = self.pop(from, from_left)?;
        self.push(to, &moved, to_left);
        if let Some(entry) = self.keys.get_mut(to).filter(|_| from == to) {
            entry.expires = expires;
        }
        Some(moved)
    }

    /// What a command that may block takes, from `only` or from the first of its keys that has something.
    pub fn take(&mut self, command: &[String], only: Option<&str>) -> Option<Reply> {
        let keys = wait_of(command).expect("it may block").keys;
        let key = only.or_else(|| keys.iter().map(String::as_str).find(|key| self.len(key) > 0))?;
        let pair = |first: &str, second| Reply::Array(vec![bulk(first), second]);
        match command[0].as_str() {
            "BLPOP" => self.pop(key, true).map(|element| pair(key, bulk(element))),
            "BRPOP" => self.pop(key, false).map(|element| pair(key, bulk(element))),
            "BLMPOP" => {
                let taken: Vec<Reply> = (0..2).map_while(|_| self.pop(key, false)).map(bulk).collect();
                (!taken.is_empty()).then(|| pair(key, Reply::Array(taken)))
            }
            "BLMOVE" => self.shift(key, &command[2], true, false).map(bulk),
            _ => self.shift(key, &command[2], false, true).map(bulk),
        }
    }

    fn subscribe(&mut self, client: usize, word: &str, name: &str) -> Reply {
        let names = self.subscriptions.entry(client).or_default();
        let _ = if word == "UNSUBSCRIBE" { names.remove(name) } else { names.insert(name.into()) };
        Reply::Push(vec![bulk(word.to_lowercase()), bulk(name), integer(names.len())])
    }
}
