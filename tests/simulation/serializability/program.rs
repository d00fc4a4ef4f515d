//! What clients send: commands on few keys, so that they conflict. Keys that begin with `s` hold strings, with `l` lists;
//! those that begin with `p` are always there, so that every SCAN must find them. Every value is written once.

use crimson::stdx::random::Random;
use std::collections::VecDeque;

/// How many keys of each kind there are.
pub const STRINGS: usize = 4;
pub const LISTS: usize = 3;
pub const STABLE: usize = 8;
const CHANNELS: usize = 2;

/// A command or a transaction, which a client sends in one go.
pub type Request = Vec<Vec<String>>;

/// What a client does next, when all it has sent is answered.
pub enum Step {
    Send(Request),
    /// All at once, one behind the other.
    SendAll(Vec<Request>),
    /// It walks over all keys with SCAN, so many at a time.
    Scan(usize),
    /// It sends this and its connection breaks a while later, answered or not.
    SendAndLeave(Request),
}

/// What a run is about. All runs have strings, lists, transactions and WATCH.
pub struct Theme {
    blocking: bool,
    channels: bool,
    expiry: bool,
    scan: bool,
    leave: bool,
    pipelines: bool,
}

impl Theme {
    /// The theme of a run.
    pub fn choose(random: &mut Random) -> Self {
        let mut one_in = |count| random.below(count) == 0;
        let (blocking, channels) = (one_in(2), one_in(3));
        Self { blocking, channels, expiry: one_in(3), scan: one_in(4), leave: one_in(3), pipelines: one_in(3) }
    }

    /// Whether clients walk over all keys.
    pub fn scans(&self) -> bool {
        self.scan
    }

    /// Whether clients speak RESP3: only then may subscribers send any command.
    pub fn needs_resp3(&self) -> bool {
        self.channels
    }
}

/// Writes programs for clients; what they write is different everywhere.
pub struct Writer<'a> {
    pub random: &'a mut Random,
    pub theme: &'a Theme,
    pub clients: usize,
    /// Values so far.
    pub written: usize,
}

impl Writer<'_> {
    /// What one client does.
    pub fn program(&mut self) -> VecDeque<Step> {
        let mut program = VecDeque::new();
        for _ in 0..3 + self.random.below(4) {
            match self.random.below(if self.theme.scan { 7 } else { 6 }) {
                0 => program.push_back(Step::Send(self.transaction())),
                1 => {
                    let watch = format!("WATCH {} {}", self.string(), self.list());
                    program.push_back(Step::Send(vec![words(&watch)]));
                    program.push_back(Step::Send(vec![self.command()]));
                    program.push_back(Step::Send(self.transaction()));
                }
                2 if self.theme.pipelines => program.push_back(Step::SendAll(self.pipeline())),
                6 => program.push_back(Step::Scan(1 + self.random.below(6))),
                _ => program.push_back(Step::Send(vec![self.command()])),
            }
        }
        if self.theme.leave && self.random.below(3) == 0 {
            program.push_back(Step::SendAndLeave(match self.random.below(3) {
                // It leaves with an open transaction.
                0 => vec![words("MULTI"), self.queued()],
                1 => self.transaction(),
                _ => vec![self.command()],
            }));
        }
        program
    }

    /// Commands on all strings, which no other may overtake, and one more behind them.
    fn pipeline(&mut self) -> Vec<Request> {
        let keys = (0..STRINGS).map(|number| format!("s{number}"));
        let mut commands: Vec<Request> = (0..2 + self.random.below(4))
            .map(|_| {
                let value = self.value();
                let text = match self.random.below(4) {
                    0 => keys.clone().fold("DEL".to_string(), |text, key| format!("{text} {key}")),
                    1 => keys.clone().fold("MGET".to_string(), |text, key| format!("{text} {key}")),
                    _ => keys.clone().fold("MSET".to_string(), |text, key| format!("{text} {key} {value}")),
                };
                vec![words(&text)]
            })
            .collect();
        commands.push(vec![self.command()]);
        commands
    }

    fn transaction(&mut self) -> Request {
        let commands = (0..1 + self.random.below(4)).map(|_| self.queued()).collect::<Vec<_>>();
        [vec![words("MULTI")], commands, vec![words("EXEC")]].concat()
    }

    /// A command for a transaction.
    fn queued(&mut self) -> Vec<String> {
        let command = self.command();
        if command[0] == "CLIENT" { self.queued() } else { command }
    }

    fn command(&mut self) -> Vec<String> {
        let Theme { blocking, channels, expiry, scan, .. } = *self.theme;
        let text = match self.random.below(10) {
            0..=3 if blocking => self.blocking(),
            4 | 5 if channels => self.on_channels(),
            6 | 7 if expiry => self.expiring(),
            8 if scan => self.on_stable_keys(),
            _ => self.plain(),
        };
        words(&text)
    }

    fn plain(&mut self) -> String {
        let (a, b, c) = (self.string(), self.string(), self.string());
        let (from, to, value) = (self.list(), self.list(), self.value());
        match self.random.below(24) {
            0 => format!("SET {a} {value}"),
            1 => format!("GET {a}"),
            2 => format!("INCR {a}"),
            3..=5 => format!("MSET {a} {value} {b} {value} {c} {value}"),
            6..=8 => format!("MGET {a} {b} {c}"),
            9 => format!("DEL {a} {b} {to}"),
            10 => format!("EXISTS {a} {b} {from}"),
            11 | 12 => format!("RENAME {a} {b}"),
            13 => format!("RENAMENX {a} {b}"),
            14 => format!("COPY {a} {b} REPLACE"),
            15 => format!("MSETNX {a} {value} {b} {value}"),
            16 | 17 => format!("RPUSH {from} {value}"),
            18 => format!("LPOP {from}"),
            19..=21 => format!("LMOVE {from} {to} LEFT RIGHT"),
            // Keys whose time is over are counted until they are found to be, and FLUSHALL leaves nothing to SCAN.
            _ if self.theme.expiry => format!("LLEN {from}"),
            22 => "DBSIZE".to_string(),
            _ if self.theme.scan => format!("LLEN {from}"),
            _ => ["FLUSHALL", "DBSIZE", "LLEN l0"][self.random.below(3)].to_string(),
        }
    }

    fn blocking(&mut self) -> String {
        let (a, b, value) = (self.list(), self.list(), self.value());
        let timeout = ["0", "0", "0.015", "0.06"][self.random.below(4)];
        match self.random.below(13) {
            0 => format!("BLPOP {a} {timeout}"),
            1 => format!("BLPOP {a} {b} {timeout}"),
            2 => format!("BRPOP {a} {b} {timeout}"),
            3 => format!("BLMPOP {timeout} 2 {a} {b} RIGHT COUNT 2"),
            4..=6 => format!("BLMOVE {a} {b} LEFT RIGHT {timeout}"),
            7 => format!("BRPOPLPUSH {a} {b} {timeout}"),
            8 => {
                let how = ["TIMEOUT", "ERROR"][self.random.below(2)];
                format!("CLIENT UNBLOCK @{} {how}", self.random.below(self.clients))
            }
            9 => format!("LPUSH {a} {value} {}", self.value()),
            10 => format!("LPUSH {a} {value}"),
            _ => format!("RPUSH {a} {value}"),
        }
    }

    fn on_channels(&mut self) -> String {
        let (channel, message) = (format!("c{}", self.random.below(CHANNELS)), self.value());
        match self.random.below(7) {
            0 | 1 => format!("SUBSCRIBE {channel}"),
            2 => format!("UNSUBSCRIBE {channel}"),
            3 => "PSUBSCRIBE c*".to_string(),
            _ => format!("PUBLISH {channel} {message}"),
        }
    }

    fn expiring(&mut self) -> String {
        let (key, list, value) = (self.string(), self.list(), self.value());
        let milliseconds = [5, 20, 60][self.random.below(3)];
        match self.random.below(5) {
            0..=2 => format!("SET {key} {value} PX {milliseconds}"),
            3 => format!("PEXPIRE {list} {milliseconds}"),
            _ => format!("PERSIST {key}"),
        }
    }

    fn on_stable_keys(&mut self) -> String {
        let (a, b, value) = (self.stable(), self.stable(), self.value());
        match self.random.below(4) {
            0 => format!("SET {a} {value}"),
            1 => format!("MSET {a} {value} {b} {value}"),
            2 if !self.theme.expiry => format!("COPY {} {b} REPLACE", self.string()),
            _ => format!("MGET {a} {b}"),
        }
    }

    fn value(&mut self) -> String {
        self.written += 1;
        (self.written * 1000).to_string()
    }

    fn string(&mut self) -> String {
        format!("s{}", self.random.below(STRINGS))
    }

    fn list(&mut self) -> String {
        format!("l{}", self.random.below(LISTS))
    }

    fn stable(&mut self) -> String {
        format!("p{}", self.random.below(STABLE))
    }
}

/// The words of a command.
pub fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_string).collect()
}

/// What a command blocks for.
pub struct Wait<'a> {
    /// In the order in which it takes from them.
    pub keys: &'a [String],
    /// In milliseconds; 0: for ever.
    pub timeout_ms: i64,
}

/// What a command blocks for, if it is one that does.
pub fn wait_of(command: &[String]) -> Option<Wait<'_>> {
    let (keys, timeout) = match command[0].as_str() {
        "BLPOP" | "BRPOP" => (1..command.len() - 1, command.len() - 1),
        "BLMPOP" => (3..5, 1),
        "BLMOVE" | "BRPOPLPUSH" => (1..2, command.len() - 1),
        _ => return None,
    };
    let seconds: f64 = command[timeout].parse().expect("a timeout");
    Some(Wait { keys: &command[keys], timeout_ms: (seconds * 1000.0).round() as i64 })
}

/// Whether a request waits when it finds nothing; what stands in a transaction does not.
pub fn blocks(request: &Request) -> bool {
    matches!(&request[..], [command] if wait_of(command).is_some())
}
