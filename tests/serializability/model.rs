//! A server that runs one command after another: just what `program` writes, answered in RESP2.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Text(String),
    List(VecDeque<String>),
}

/// The whole keyspace, and what clients watch in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    keys: BTreeMap<String, Value>,
    /// By client.
    watches: BTreeMap<usize, Watch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Watch {
    keys: BTreeSet<String>,
    changed: bool,
}

const OK: &str = "+OK\r\n";

fn integer(number: usize) -> String {
    format!(":{number}\r\n")
}

fn bulk(text: Option<&str>) -> String {
    text.map_or("$-1\r\n".into(), |text| format!("${}\r\n{text}\r\n", text.len()))
}

impl Model {
    /// Runs what a client has sent in one go; all its replies.
    pub fn run(&mut self, client: usize, request: &[Vec<String>]) -> String {
        match request {
            [multi, commands @ .., _exec] if multi[0] == "MULTI" => {
                let queued = format!("{OK}{}", "+QUEUED\r\n".repeat(commands.len()));
                if self.watches.remove(&client).is_some_and(|watch| watch.changed) {
                    return format!("{queued}*-1\r\n");
                }
                let replies: String = commands.iter().map(|command| self.command(command)).collect();
                format!("{queued}*{}\r\n{replies}", commands.len())
            }
            [watch] if watch[0] == "WATCH" => {
                self.watches.entry(client).or_default().keys.extend(watch[1..].iter().cloned());
                OK.into()
            }
            _ => request.iter().map(|command| self.command(command)).collect(),
        }
    }

    /// A key was changed.
    fn touch(&mut self, key: &str) {
        self.watches.values_mut().filter(|watch| watch.keys.contains(key)).for_each(|watch| watch.changed = true);
    }

    fn put(&mut self, key: &str, value: Value) {
        self.touch(key);
        self.keys.insert(key.into(), value);
    }

    fn remove(&mut self, key: &str) -> Option<Value> {
        let value = self.keys.remove(key)?;
        self.touch(key);
        Some(value)
    }

    fn command(&mut self, command: &[String]) -> String {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words[..] {
            ["SET", key, value] => {
                self.put(key, Value::Text(value.into()));
                OK.into()
            }
            ["GET", key] => bulk(self.text(key)),
            ["INCR", key] => {
                let number = self.text(key).map_or(0, |text| text.parse::<usize>().expect("all texts are numbers")) + 1;
                self.put(key, Value::Text(number.to_string()));
                integer(number)
            }
            ["MSET", ..] => {
                self.set_all(&words[1..]);
                OK.into()
            }
            ["MSETNX", ..] => {
                let free = words[1..].iter().step_by(2).all(|key| !self.keys.contains_key(*key));
                if free {
                    self.set_all(&words[1..]);
                }
                integer(free.into())
            }
            ["MGET", ..] => {
                let values: String = words[1..].iter().map(|key| bulk(self.text(key))).collect();
                format!("*{}\r\n{values}", words.len() - 1)
            }
            ["DEL", ..] => integer(words[1..].iter().filter(|key| self.remove(key).is_some()).count()),
            ["EXISTS", ..] => integer(words[1..].iter().filter(|key| self.keys.contains_key(**key)).count()),
            ["RENAME", from, to] => match self.rename(from, to) {
                true => OK.into(),
                false => "-ERR no such key\r\n".into(),
            },
            ["RENAMENX", from, to] => match self.keys.contains_key(to) {
                true if self.keys.contains_key(from) => integer(0),
                false if self.rename(from, to) => integer(1),
                _ => "-ERR no such key\r\n".into(),
            },
            ["COPY", from, to, "REPLACE"] if from == to => {
                "-ERR source and destination objects are the same\r\n".into()
            }
            ["COPY", from, to, "REPLACE"] => match self.keys.get(from).cloned() {
                None => integer(0),
                Some(value) => {
                    self.put(to, value);
                    integer(1)
                }
            },
            ["RPUSH", key, value] => {
                self.list(key).push_back(value.into());
                integer(self.list(key).len())
            }
            ["LPOP", key] => bulk(self.pop(key).as_deref()),
            ["LMOVE", from, to, "LEFT", "RIGHT"] => {
                let moved = self.pop(from);
                if let Some(moved) = &moved {
                    self.list(to).push_back(moved.clone());
                }
                bulk(moved.as_deref())
            }
            ["LLEN", key] => integer(match self.keys.get(key) {
                Some(Value::List(list)) => list.len(),
                _ => 0,
            }),
            ["DBSIZE"] => integer(self.keys.len()),
            ["FLUSHALL"] => {
                let keys: Vec<String> = self.keys.keys().cloned().collect();
                keys.iter().for_each(|key| drop(self.remove(key)));
                OK.into()
            }
            _ => unreachable!("{words:?} is not in any program"),
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.keys.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn set_all(&mut self, pairs: &[&str]) {
        for pair in pairs.chunks(2) {
            self.put(pair[0], Value::Text(pair[1].into()));
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        if from == to {
            return self.keys.contains_key(from);
        }
        let value = self.remove(from);
        value.map(|value| self.put(to, value)).is_some()
    }

    /// The list at `key`, to be changed.
    fn list(&mut self, key: &str) -> &mut VecDeque<String> {
        self.touch(key);
        match self.keys.entry(key.into()).or_insert_with(|| Value::List(VecDeque::new())) {
            Value::List(list) => list,
            Value::Text(_) => unreachable!("keys of lists hold no texts"),
        }
    }

    fn pop(&mut self, key: &str) -> Option<String> {
        let Some(Value::List(list)) = self.keys.get_mut(key) else { return None };
        let element = list.pop_front();
        if list.is_empty() {
            self.keys.remove(key);
        }
        self.touch(key);
        element
    }
}
