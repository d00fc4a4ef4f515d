//! Random commands, family by family: every command and option, with valid, edge and invalid arguments, over few keys,
//! so that commands meet each other's data. Everything follows from the seed.

mod connection;
mod hashes;
mod keys;
mod lists;
mod sets;
mod strings;
mod transactions;

use crimson::stdx::random::Random;

/// A command: its name and arguments.
pub type Command = Vec<Vec<u8>>;

/// A group of commands that are generated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Strings,
    Lists,
    Sets,
    Hashes,
    Keys,
    Connection,
    Transactions,
}

/// The families whose commands may be mixed: all but transactions, in which every command must be one of their own.
pub const FAMILIES: [Family; 6] =
    [Family::Strings, Family::Lists, Family::Sets, Family::Hashes, Family::Keys, Family::Connection];

/// A command from words and byte strings.
macro_rules! cmd {
    ($($word:expr),* $(,)?) => { vec![$(Vec::<u8>::from($word)),*] };
}
pub(crate) use cmd;

/// Integers where arithmetic and parsing may go wrong.
const INTEGER_EDGES: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "-9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "4294967296",
    "2147483648",
    "-2147483649",
    "4611686018427387904",
    "-4611686018427387904",
    "",
    "-",
    "+1",
    " 1",
    "1 ",
    "01",
    "-0",
    "1.5",
    "1e3",
    "0x10",
    "abc",
    "nan",
    "inf",
    "\0",
];

/// Floating point texts.
const FLOATS: &[&str] = &[
    "1.5",
    "-0.1",
    "0.1",
    "0.2",
    "0",
    "-0",
    "3.0e3",
    "1e-5",
    "5e-324",
    "1e308",
    "-1e308",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "+3",
    " 1.5",
    "1.5 ",
    "",
    "abc",
    "0x10",
    "9007199254740993",
    "1234567890123456789",
    "0.000000000000000001",
    "1,5",
    "3.14159265358979323846",
    "100",
    "-100",
    "1e17",
    "1e-17",
    ".5",
    "5.",
    "1e",
    "infinity",
];

/// Makes random commands.
pub struct Gen {
    random: Random,
    expiries: i64,
}

impl Gen {
    /// A generator that yields the same commands for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), expiries: 0 }
    }

    /// A command of `family`, now and then a damaged one.
    pub fn command(&mut self, family: Family) -> Command {
        let mut command = self.sound_command(family);
        if family != Family::Transactions && self.chance(6) {
            self.damage(&mut command);
        }
        if self.chance(5) {
            command[0] = self.other_case(&command[0].clone());
        }
        command
    }

    fn sound_command(&mut self, family: Family) -> Command {
        match family {
            Family::Strings => strings::command(self),
            Family::Lists => lists::command(self),
            Family::Sets => sets::command(self),
            Family::Hashes => hashes::command(self),
            Family::Keys => keys::command(self),
            Family::Connection => connection::command(self),
            Family::Transactions => transactions::command(self),
        }
    }

    /// Takes an argument away, adds one, or replaces one by an edge value. Never leaves a command that runs for ages.
    fn damage(&mut self, command: &mut Command) {
        let sound = command.clone();
        match self.below(3) {
            0 if command.len() > 1 => {
                command.pop();
            }
            1 if command.len() > 1 => {
                let at = 1 + self.below(command.len() - 1);
                command[at] = self.edge();
            }
            _ => command.push(self.edge()),
        }
        if is_unfit(command) {
            *command = sound;
        }
    }

    /// A value that is wrong nearly everywhere. No small positive number: it could be a time to live.
    fn edge(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => self.pick(&["0", "-1", "EX", "COUNT", "WITHVALUES", "LIMIT", "MATCH"]).into(),
            _ => self.pick(INTEGER_EDGES).into(),
        }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A keyword, now and then in another case.
    pub fn word(&mut self, word: &str) -> Vec<u8> {
        if self.chance(20) { self.other_case(word.as_bytes()) } else { word.into() }
    }

    fn other_case(&mut self, word: &[u8]) -> Vec<u8> {
        if self.chance(50) {
            return word.to_ascii_lowercase();
        }
        word.iter()
            .map(|byte| if self.chance(50) { byte.to_ascii_lowercase() } else { byte.to_ascii_uppercase() })
            .collect()
    }

    /// A key that mostly holds what `family` works on; now and then another one.
    pub fn key(&mut self, family: Family) -> Vec<u8> {
        let family = if self.chance(8) { self.pick(&FAMILIES) } else { family };
        let keys: &[&str] = match family {
            Family::Strings => &["s1", "s2", "s3", "{t}s4", "{t}s5", "s6"],
            Family::Lists => &["l1", "l2", "l3", "{t}l4", "{t}l5"],
            Family::Sets => &["t1", "t2", "t3", "{t}t4", "{t}t5"],
            Family::Hashes => &["h1", "h2", "{t}h3", "{t}h4"],
            Family::Keys => &["s1", "s2", "l1", "l2", "t1", "t2", "h1", "h2", "{t}s4", "{t}l4", "{t}t4", "{t}h3"],
            Family::Connection | Family::Transactions => &["none", "", "k\0\r\n\u{ff}", "{", "{}x", "other"],
        };
        self.pick(keys).into()
    }

    /// A key of any family.
    pub fn any_key(&mut self) -> Vec<u8> {
        let family = self.pick(&[Family::Strings, Family::Lists, Family::Sets, Family::Hashes, Family::Connection]);
        self.key(family)
    }

    /// One to `most` keys.
    pub fn keys(&mut self, family: Family, most: usize) -> Vec<Vec<u8>> {
        (0..=self.below(most)).map(|_| self.key(family)).collect()
    }

    /// A value: short, long, numeric, binary or empty.
    pub fn value(&mut self) -> Vec<u8> {
        match self.below(12) {
            0..=4 => self.pick(&["a", "b", "c", "hello", "world", "ohmytext", "mynewtext"]).into(),
            5..=6 => self.below(30).to_string().into(),
            7 => self.pick(INTEGER_EDGES).into(),
            8 => self.pick(FLOATS).into(),
            9 => self.pick(&["", "\0", "\r\n", "\u{ff}\u{fe}", "two words", "\"quoted\"", "$-1\r\n"]).into(),
            10 => "x".repeat(self.pick(&[43, 44, 45, 63, 64, 65, 66, 300])).into(),
            _ => format!("v{}", self.below(1000)).into(),
        }
    }

    /// A member of a collection: few different ones, many of them integers.
    pub fn member(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..=4 => self.below(12).to_string().into(),
            5..=8 => format!("m{}", self.below(12)).into(),
            _ => self.value(),
        }
    }

    /// One to `most` members.
    pub fn members(&mut self, most: usize) -> Vec<Vec<u8>> {
        (0..=self.below(most)).map(|_| self.member()).collect()
    }

    /// Many members, so that encodings change: integers or text, short or long.
    pub fn many_members(&mut self) -> Vec<Vec<u8>> {
        let (count, kind) = (self.pick(&[60, 127, 128, 129, 130, 511, 512, 513, 600]), self.below(3));
        let member = |index| match kind {
            0 => format!("{}", index * 3),
            1 => format!("member:{index}"),
            _ => format!("{}", i64::from(i32::MAX) - 100 + index),
        };
        (0..count).map(|index| member(index).into()).collect()
    }

    /// An integer: mostly small.
    pub fn integer(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..=7 => (self.below(41) as i64 - 20).to_string().into(),
            _ => self.pick(INTEGER_EDGES).into(),
        }
    }

    /// A position in a collection.
    pub fn index(&mut self) -> Vec<u8> {
        match self.below(12) {
            0..=10 => (self.below(15) as i64 - 7).to_string().into(),
            _ => self.pick(INTEGER_EDGES).into(),
        }
    }

    /// A count of elements: mostly small and not negative.
    pub fn count(&mut self) -> Vec<u8> {
        match self.below(12) {
            0..=8 => self.below(8).to_string().into(),
            9 => "-1".into(),
            10 => "-3".into(),
            _ => self.pick(INTEGER_EDGES).into(),
        }
    }

    /// A floating point number.
    pub fn float(&mut self) -> Vec<u8> {
        if self.chance(70) {
            self.pick(&["0.5", "1.5", "-2.25", "10", "-3", "0.1", "3.0e3"]).into()
        } else {
            self.pick(FLOATS).into()
        }
    }

    /// A time to live. Never one that ends while a test runs, and never the same twice, so that GT and LT are certain.
    fn time_left(&mut self) -> i64 {
        self.expiries += 1;
        let distance = self.expiries * 50;
        if self.chance(50) { 1_000_000 + distance } else { 1_000_000 - distance % 900_000 }
    }

    /// A time to live in seconds, or an edge.
    pub fn seconds(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..=7 => self.time_left().to_string().into(),
            8 => self
                .pick(&["0", "-1", "9223372036854775", "9223372036854776", "-9223372036854776", "9223370399119966"])
                .into(),
            _ => self.pick(INTEGER_EDGES).into(),
        }
    }

    /// A time to live in milliseconds, or an edge.
    pub fn milliseconds(&mut self) -> Vec<u8> {
        if self.chance(80) { format!("{}000", self.time_left()).into() } else { self.seconds_edge() }
    }

    fn seconds_edge(&mut self) -> Vec<u8> {
        self.pick(&["0", "-1", "9223372036854775807", "-9223372036854775808", "abc", "", "1.5"]).into()
    }

    /// A point in time in seconds: far in the future or long past, or an edge.
    pub fn unix_seconds(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..=6 => (33_000_000_000 + self.time_left()).to_string().into(),
            7 => self.pick(&["1", "1000000000"]).into(),
            _ => self.seconds(),
        }
    }

    /// A point in time in milliseconds.
    pub fn unix_milliseconds(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..=6 => format!("{}000", 33_000_000_000 + self.time_left()).into(),
            7 => self.pick(&["1", "1000000000000"]).into(),
            _ => self.milliseconds(),
        }
    }

    /// A point in time for SET in seconds: never a past one. The key would be there, but expired, until something notices
    /// it, and DBSIZE would depend on the moment.
    pub fn future_seconds(&mut self) -> Vec<u8> {
        if self.chance(85) { (33_000_000_000 + self.time_left()).to_string().into() } else { self.seconds_edge() }
    }

    /// A point in time for SET in milliseconds.
    pub fn future_milliseconds(&mut self) -> Vec<u8> {
        if self.chance(85) { format!("{}000", 33_000_000_000 + self.time_left()).into() } else { self.seconds_edge() }
    }

    /// A database index.
    pub fn database(&mut self) -> Vec<u8> {
        match self.below(10) {
            0..=7 => self.pick(&["0", "1", "2", "15"]).into(),
            8 => self.pick(&["16", "-1", "100000"]).into(),
            _ => self.pick(INTEGER_EDGES).into(),
        }
    }

    /// A glob pattern.
    pub fn pattern(&mut self) -> Vec<u8> {
        self.pick(&[
            "*", "?1", "s*", "{t}*", "[lt]?", "[^s]*", "l[1-2]", "h\\1", "nomatch", "", "**", "m[0-5]", "1*", "*1*",
            "[", "[a-", "\\", "m?", "*\\", "[]]", "[^]x", "?",
        ])
        .into()
    }

    /// Appends the options SCAN and its relatives share.
    pub fn scan_options(&mut self, command: &mut Command) {
        if self.chance(40) {
            command.extend([self.word("MATCH"), self.pattern()]);
        }
        if self.chance(40) {
            let count = if self.chance(85) { self.pick(&["1", "2", "10", "1000"]).into() } else { self.integer() };
            command.extend([self.word("COUNT"), count]);
        }
        if self.chance(3) {
            command.push(self.word("NOSUCHOPTION"));
        }
    }

    /// A cursor: nearly always the start.
    pub fn cursor(&mut self) -> Vec<u8> {
        if self.chance(95) { "0".into() } else { self.pick(&["abc", "", "1.5", "18446744073709551616"]).into() }
    }
}

/// Whether a damaged command would run for ages, answer without end, or depend on the moment.
fn is_unfit(command: &Command) -> bool {
    let name = command[0].to_ascii_lowercase();
    let number = |at: usize| command.get(at).and_then(|text| std::str::from_utf8(text).ok()?.parse::<i64>().ok());
    match &name[..] {
        b"srandmember" | b"hrandfield" => number(2).is_some_and(|count| count < -1000),
        // A time that is over: see `future_seconds`.
        b"set" => (3..command.len()).any(|at| {
            let earliest = match &command[at - 1].to_ascii_lowercase()[..] {
                b"exat" => 30_000_000_000,
                b"pxat" => 30_000_000_000_000,
                _ => 0,
            };
            number(at).is_some_and(|time| (1..earliest).contains(&time))
        }),
        b"setrange" => number(2).is_some_and(|offset| (100_000..600_000_000).contains(&offset)),
        // Subcommands that act on the connection or the server when they come out valid.
        b"client" | b"config" | b"command" | b"hello" | b"flushall" | b"debug" | b"shutdown" => true,
        b"scan" | b"sscan" | b"hscan" => true,
        // They could wait for ever.
        b"blpop" | b"brpop" | b"blmpop" | b"blmove" | b"brpoplpush" => true,
        _ => false,
    }
}
