//! Logs made by hand, and what a server has loaded, as text.

use crate::support::{Client, Reply, Server, wait_until, words};
use crimson::persistence::aof::record::append;
use crimson::persistence::aof::{Entry, Kind, LogId, Manifest, Sealer, SegmentId, Transaction, write_durable};
use crimson::persistence::storage::RealStorage;
use crimson::shard::Router;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub const FILENAME: &str = "appendonly.aof";

/// The identity of logs made by hand.
pub const LOG: LogId = LogId(0x5e0c_31d0_7a9b_4f26);

/// A server's directory that goes with this value.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("crimson-loading-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("appendonlydir")).expect("a directory for the test");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join("appendonlydir").join(name)
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file for the test");
    }

    /// The names in the log's directory, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).expect("there is a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
        // What a server that runs has for itself.
        names.retain(|name| !name.ends_with(".pending"));
        names.sort();
        names
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let dir = self.0.to_str().expect("a path that is text");
        [&["--bind", "127.0.0.1", "--appendonly", "yes", "--dir", dir], more].concat()
    }

    /// A server that loads it.
    pub fn begin(&self, threads: usize, more: &[&str]) -> Server {
        Server::crimson(threads, &self.arguments(more))
    }

    /// A server that has loaded it.
    pub fn serve(&self, threads: usize, more: &[&str]) -> Server {
        let server = self.begin(threads, more);
        wait_until("it is loaded", || server.client().show("PING") == "PONG");
        server
    }

    /// What a server tells that ends with exit code 1 instead of loading it.
    pub fn refused(&self, threads: usize, more: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_crimson"))
            .args(["--threads", &threads.to_string(), "--port", "0", "--unixsocket"])
            .arg(self.0.join("socket"))
            .args(self.arguments(more))
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(!told.contains("Ready to accept"), "{told}");
        assert!(!self.0.join("socket").exists(), "its socket is still there");
        told.lines().filter(|line| line.contains(" # ") && !line.contains("WARNING")).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The name of a file.
pub fn name(generation: u64, shard: u16, kind: Kind) -> String {
    Manifest::segment_name(FILENAME, SegmentId { log: LOG, generation, shard, kind })
}

/// The record of a command.
pub fn record(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, words(line).iter().map(Vec::as_slice));
    bytes
}

/// The records of several commands.
pub fn records<T: AsRef<str>>(lines: &[T]) -> Vec<u8> {
    lines.iter().flat_map(|line| record(line.as_ref())).collect()
}

/// A log that is being written.
pub struct Written {
    log: LogId,
    shards: u16,
    /// Whether a batch says that those before it are durable.
    syncs: bool,
    files: BTreeMap<SegmentId, (Sealer, Vec<u8>)>,
    generation: u64,
}

impl Written {
    /// Of so many shards; generation 1, empty.
    pub fn new(shards: u16) -> Self {
        Self::of(LOG, shards)
    }

    /// The same with another identity, or none: a log of format 1.
    pub fn of(log: LogId, shards: u16) -> Self {
        let mut log = Self { log, shards, syncs: true, files: BTreeMap::new(), generation: 0 };
        log.next_generation();
        log
    }

    /// The same without syncs: no batch calls another one durable.
    pub fn without_syncs(self) -> Self {
        Self { syncs: false, ..self }
    }

    /// Goes on in the increments of the next generation.
    pub fn next_generation(&mut self) {
        self.generation += 1;
        for shard in 0..self.shards {
            self.file(shard, Kind::Increment);
        }
    }

    fn file(&mut self, shard: u16, kind: Kind) -> &mut (Sealer, Vec<u8>) {
        let generation = if kind == Kind::Base { 1 } else { self.generation };
        let segment = SegmentId { log: self.log, generation, shard, kind };
        self.files.entry(segment).or_insert_with(|| (Sealer::new(segment), Vec::new()))
    }

    /// A key of a shard.
    pub fn key(&self, shard: u16) -> String {
        (0..).map(|number| format!("key{number}")).find(|key| self.owner(key) == shard).expect("each shard has keys")
    }

    pub fn owner(&self, key: &str) -> u16 {
        Router::new(self.shards).shard_of(key.as_bytes()).0
    }

    /// Appends a batch of these bytes to a file.
    pub fn bytes(&mut self, shard: u16, kind: Kind, records: &[u8]) {
        let syncs = self.syncs;
        let (sealer, file) = self.file(shard, kind);
        if syncs {
            sealer.synced(sealer.sequence());
        }
        let start = file.len();
        file.extend_from_slice(records);
        sealer.seal(file, start, 1_700_000_000_000);
    }

    /// Bytes of a shard's increment.
    pub fn length(&mut self, shard: u16) -> usize {
        self.file(shard, Kind::Increment).1.len()
    }

    /// Appends a batch of these commands to a shard's increment.
    pub fn batch(&mut self, shard: u16, lines: &[&str]) {
        self.bytes(shard, Kind::Increment, &records(lines));
    }

    /// Appends a batch to the increment of the shard that owns `key`.
    pub fn on(&mut self, key: &str, lines: &[&str]) {
        self.batch(self.owner(key), lines);
    }

    /// Appends a transaction of these parts to the increments of the shards `to`.
    pub fn transaction(&mut self, stamp: u64, parts: &[(u16, Vec<String>)], to: &[u16]) {
        let payloads: Vec<(u16, Vec<u8>)> = parts.iter().map(|(shard, lines)| (*shard, records(lines))).collect();
        let transaction = Transaction::new(stamp, payloads.iter().map(|(shard, bytes)| (*shard, &bytes[..])));
        for &shard in to {
            let mut bytes = Vec::new();
            transaction.write(shard, &mut bytes);
            self.bytes(shard, Kind::Increment, &bytes);
        }
    }

    /// Appends a batch to `shard`'s increment that calls batch `sequence` of the increment of `other` durable.
    pub fn vouch(&mut self, shard: u16, other: u16, sequence: u64) {
        let segment = SegmentId { log: self.log, generation: self.generation, shard: other, kind: Kind::Increment };
        let mut line = Vec::new();
        write_durable(&mut line, segment, sequence);
        self.bytes(shard, Kind::Increment, &line);
    }

    /// Puts it into a directory.
    pub fn store(&self) -> Dir {
        let dir = Dir::new();
        let mut manifest = Manifest::new(self.log, self.shards);
        for (&segment, (_, bytes)) in &self.files {
            let name = Manifest::segment_name(FILENAME, segment);
            dir.write(&name, bytes);
            let len = (segment.kind == Kind::Base).then_some(bytes.len() as u64);
            manifest.files.push(Entry { name, segment, bytes: len });
        }
        manifest.store(&RealStorage, &dir.path(""), FILENAME).expect("a manifest for the test");
        dir
    }
}

/// A bulk string or the elements of an array, as text.
fn texts(reply: Reply) -> Vec<String> {
    match reply {
        Reply::Bulk(bytes) => vec![String::from_utf8_lossy(&bytes).into_owned()],
        Reply::Array(items) => items.into_iter().flat_map(texts).collect(),
        other => panic!("{other} where a bulk string or an array should be"),
    }
}

/// All that a server holds in its first databases, as text.
pub fn contents(client: &mut Client) -> String {
    let mut text = String::new();
    for database in 0..4 {
        client.run(&format!("SELECT {database}"));
        let mut keys = texts(client.run("KEYS *"));
        keys.sort();
        assert_eq!(client.run("DBSIZE"), Reply::Integer(keys.len() as i64));
        for key in keys {
            let kind = client.show(&format!("TYPE {key}"));
            let read = match &kind[..] {
                "string" => "GET KEY",
                "list" => "LRANGE KEY 0 -1",
                "set" => "SMEMBERS KEY",
                "hash" => "HGETALL KEY",
                kind => panic!("{key} has the type {kind}"),
            };
            let mut value = texts(client.run(&read.replace("KEY", &key)));
            if kind == "set" {
                value.sort();
            }
            let expires = client.show(&format!("PEXPIRETIME {key}"));
            text += &format!("{database} {key} {kind} {value:?} {}\n", expires.trim_start_matches("(integer) "));
        }
    }
    client.run("SELECT 0");
    text
}
