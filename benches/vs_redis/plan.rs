//! What is measured: the cases, and which of them the command line asks for.

use std::path::PathBuf;

/// How the benchmark is called.
pub const USAGE: &str = "usage: vs_redis [--quick] [--json FILE] [--tests GET,SET,...] [--only TEXT] [--crimson BINARY]
  --quick    fewer cases and rounds: about a minute instead of a quarter of an hour
  --json     write the results to a file
  --tests    only these tests: GET SET INCR LPUSH LRANGE_100 SADD HSET MSET MULTI BLPOP PUBLISH MSET_SHARDS MEMORY
  --only     only cases whose name contains this text, such as P=16
  --crimson  measure this binary instead of the one just built";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Fewer cases and rounds.
    pub quick: bool,
    /// So few requests that it only shows that everything works.
    pub tiny: bool,
    /// Where the results go.
    pub json: Option<PathBuf>,
    /// Names of the tests; empty: all.
    pub tests: Vec<String>,
    /// A part of the names of the cases.
    pub only: Option<String>,
    /// The server's binary.
    pub crimson: String,
}

impl Options {
    /// Everything, on the binary that was built with this.
    pub fn full() -> Self {
        let crimson = env!("CARGO_BIN_EXE_crimson").to_string();
        Self { quick: false, tiny: false, json: None, tests: Vec::new(), only: None, crimson }
    }

    /// Reads the command line; cargo's own `--bench` is passed over.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::full();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match &argument[..] {
                "--bench" => {}
                "--quick" => options.quick = true,
                "--json" => options.json = Some(value()?.into()),
                "--tests" => options.tests = value()?.split(',').map(str::to_ascii_uppercase).collect(),
                "--only" => options.only = Some(value()?),
                "--crimson" => options.crimson = value()?,
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(options)
    }

    fn wants(&self, test: &str, name: &str) -> bool {
        let listed = self.tests.is_empty() || self.tests.iter().any(|wanted| wanted == test);
        listed && self.only.as_ref().is_none_or(|part| name.contains(&part[..]))
    }

    /// How often each case is measured on each server.
    pub fn rounds(&self) -> usize {
        match (self.tiny, self.quick) {
            (true, _) => 1,
            (_, true) => 2,
            _ => 3,
        }
    }
}

/// Where the servers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One shard on a CPU of its own, the client on another.
    OwnCore,
    /// Crimson with this many shards; servers and client share all CPUs.
    Shared(usize),
}

/// Who loads the servers with what.
#[derive(Clone, Debug)]
pub enum Load {
    /// redis-benchmark with this command.
    Benchmark(Vec<String>),
    /// MULTI, five INCRs of keys with one tag, EXEC.
    Transactions,
    /// RPUSH to a list that clients wait for in BLPOP.
    Queue,
    /// PUBLISH to a channel with so many subscribers.
    Publish { subscribers: usize },
    /// MSET of ten keys on any shards.
    MsetOfAnyKeys,
    /// MSET of ten keys with one tag, another one each time.
    MsetOfOneTag,
}

/// One load.
#[derive(Clone, Debug)]
pub struct Case {
    /// The test's name.
    pub test: &'static str,
    /// What the servers are loaded with.
    pub load: Load,
    /// Requests a client sends before it waits for replies.
    pub pipeline: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Connections: of [`Load::Queue`] those that wait, of [`Load::Publish`] those that publish.
    pub connections: usize,
    /// Requests; a transaction, an element and a message are one.
    pub requests: usize,
    /// Where the servers run.
    pub place: Place,
}

impl Case {
    /// The case in words.
    pub fn name(&self) -> String {
        let place = match self.place {
            Place::OwnCore => String::new(),
            Place::Shared(shards) => format!(", {shards} shards sharing the client's cores"),
        };
        let Self { test, pipeline, value_bytes, connections, .. } = self;
        match self.load {
            Load::Benchmark(_) => format!("{test} P={pipeline}, {value_bytes} B, {connections} connections{place}"),
            Load::Transactions => format!("MULTI of 5 INCR P={pipeline}, {connections} connections"),
            Load::Queue => format!("BLPOP by {connections} consumers, RPUSH P={pipeline}, {value_bytes} B"),
            Load::Publish { subscribers } => {
                format!("PUBLISH to {subscribers} subscribers P={pipeline}, {value_bytes} B")
            }
            Load::MsetOfAnyKeys | Load::MsetOfOneTag => {
                format!("MSET of 10 on 2 shards P={pipeline}, {value_bytes} B: any keys | one tag")
            }
        }
    }

    /// The load that Crimson alone is compared with under [`Load::MsetOfAnyKeys`].
    pub fn beside(&self) -> Option<Self> {
        matches!(self.load, Load::MsetOfAnyKeys).then(|| Self { load: Load::MsetOfOneTag, ..self.clone() })
    }
}

/// Different keys of a case.
pub const KEYS: usize = 100_000;

/// Members of the list that LRANGE_100 reads.
pub const LIST_LEN: usize = 200;

fn load(test: &str, value_bytes: usize) -> Load {
    let value = "x".repeat(value_bytes);
    let words = match test {
        "GET" => vec!["GET", "key:__rand_int__"],
        "SET" => vec!["SET", "key:__rand_int__", &value],
        "INCR" => vec!["INCR", "counter:__rand_int__"],
        "LPUSH" => vec!["LPUSH", "mylist", &value],
        "LRANGE_100" => vec!["LRANGE", "mylist", "0", "99"],
        "SADD" => vec!["SADD", "myset", "element:__rand_int__"],
        "HSET" => vec!["HSET", "myhash", "element:__rand_int__", &value],
        "MSET" => std::iter::once("MSET").chain((0..10).flat_map(|_| ["key:__rand_int__", &value])).collect(),
        other => unreachable!("{other} is in the list of tests"),
    };
    Load::Benchmark(words.into_iter().map(String::from).collect())
}

/// Requests that take about a second and a half.
fn requests(test: &str, load: &Load, pipeline: usize, value_bytes: usize) -> usize {
    let simple = match pipeline {
        1 => 120_000,
        16 => 1_200_000,
        _ => 2_000_000,
    };
    let shrunk = match test {
        "LRANGE_100" => simple / 12,
        "MSET" => simple / 6,
        "MULTI" => simple / 3,
        "BLPOP" => simple / 8,
        "MSET_SHARDS" => simple / 6,
        "PUBLISH" => simple / 3,
        _ => simple,
    };
    let shrunk = match load {
        // Each message is many replies.
        Load::Publish { subscribers } => shrunk / (1 + subscribers / 5),
        _ => shrunk,
    };
    if value_bytes > 1000 { shrunk / 3 } else { shrunk }
}

/// The cases that `options` asks for.
pub fn cases(options: &Options) -> Vec<Case> {
    const TESTS: [&str; 8] = ["GET", "SET", "INCR", "LPUSH", "LRANGE_100", "SADD", "HSET", "MSET"];
    let mut cases = Vec::new();
    let mut add = |test: &'static str, load: Load, pipeline, value_bytes, connections, place| {
        let divisor = if options.tiny { 400 } else { 1 + 2 * usize::from(options.quick) };
        let requests = (requests(test, &load, pipeline, value_bytes) / divisor).max(200);
        let case = Case { test, load, pipeline, value_bytes, connections, requests, place };
        if options.wants(test, &case.name()) {
            cases.push(case);
        }
    };
    for test in TESTS {
        for pipeline in [1, 16, 64] {
            let main = matches!(test, "GET" | "SET");
            if main || pipeline == 16 || !options.quick {
                add(test, load(test, 64), pipeline, 64, 50, Place::OwnCore);
            }
            if main && !options.quick {
                add(test, load(test, 4096), pipeline, 4096, 50, Place::OwnCore);
                add(test, load(test, 64), pipeline, 64, 1000, Place::OwnCore);
            }
        }
    }
    let pipelines = if options.quick { &[16][..] } else { &[1, 16] };
    for &pipeline in pipelines {
        add("MULTI", Load::Transactions, pipeline, 64, 50, Place::OwnCore);
        add("BLPOP", Load::Queue, pipeline, 64, 50, Place::OwnCore);
        for subscribers in [1, 100, 1000] {
            add("PUBLISH", Load::Publish { subscribers }, pipeline, 64, 10, Place::OwnCore);
        }
    }
    for shards in [1, 2] {
        for &pipeline in pipelines {
            add("GET", load("GET", 64), pipeline, 64, 50, Place::Shared(shards));
        }
    }
    for &pipeline in pipelines {
        add("MSET_SHARDS", Load::MsetOfAnyKeys, pipeline, 64, 50, Place::Shared(2));
    }
    cases
}

/// Value sizes of the memory measurement; empty when it is not asked for.
pub fn memory_value_bytes(options: &Options) -> &'static [usize] {
    if options.wants("MEMORY", "memory per key") { &[16, 64] } else { &[] }
}

/// Keys of the memory measurement.
pub fn memory_keys(options: &Options) -> usize {
    match (options.tiny, options.quick) {
        (true, _) => 20_000,
        (_, true) => 500_000,
        _ => 2_000_000,
    }
}
