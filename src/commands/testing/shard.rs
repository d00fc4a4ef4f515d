//! A shell for the unit tests of handlers: it runs a command line on a small shard of its own, as the engine would on
//! the owner of the keys, and shows the reply as text that tells every reply type apart:
//!
//! ```text
//! status          OK                      bulk string     "a\x00"
//! error           (error) ERR text        null            (nil)  (nil array)  (null) in RESP3
//! integer         (integer) 1             array, set      ["a", "b"]  ~["a", "b"]
//! double          (double) 1.5            map             {"a": "b"}
//! boolean         (true)  (false)         push            >["a"]
//! verbatim        (txt) "text"            big number      (big) 1
//! ```

use crate::commands::context::OtherDatabases;
use crate::commands::{Blocking, Handler, Row, ShardContext, Wait, table};
use crate::config::Config;
use crate::config::OutputClass;
use crate::resp::{Args, CommandError, Output, Protocol, Reply, Span};
use crate::shard::{Database, Effects, Log, Millis, ShardId};
use crate::stdx::random::Random;

/// One client on one shard.
pub struct Shell {
    /// The shard's databases.
    pub databases: Vec<Database>,
    /// The selected database.
    pub database_index: u16,
    /// The directives, encoding limits among them.
    pub config: Config,
    /// The protocol of the replies.
    pub protocol: Protocol,
    /// The clock.
    pub now: Millis,
    /// Changes that the last command made.
    pub dirty: u64,
    /// What the last command did to keys.
    pub effects: Effects,
    /// What is logged of the commands.
    pub log: Log,
    /// Whether commands may block; [`Shell::run_raw`] runs one that does.
    pub may_block: bool,
    /// What the last command waits for.
    pub wait: Option<Wait>,
    random: Random,
}

impl Shell {
    /// A shell on an empty shard, speaking RESP2.
    pub fn new() -> Self {
        Self {
            databases: (0..16).map(|_| Database::new()).collect(),
            database_index: 0,
            config: Config::default(),
            protocol: Protocol::Resp2,
            now: 1_700_000_000_000,
            dirty: 0,
            effects: Effects::wanted(),
            log: Log::default(),
            may_block: false,
            wait: None,
            random: Random::new(1),
        }
    }

    /// The same, speaking RESP3.
    pub fn resp3() -> Self {
        Self { protocol: Protocol::Resp3, ..Self::new() }
    }

    /// Runs a line: words between spaces, or in double quotes with `\xHH`, `\n`, `\r`, `\t`, `\\`, `\"`. The reply.
    pub fn run(&mut self, line: &str) -> String {
        let words = split(line);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.run_words(&words)
    }

    /// Runs a command given as words. The reply.
    pub fn run_words(&mut self, words: &[&[u8]]) -> String {
        let raw = self.run_raw(words);
        let (text, rest) = render(&raw);
        assert!(rest.is_empty(), "more than one reply: {:?}", String::from_utf8_lossy(&raw));
        text
    }

    /// Runs a session: each line that starts with `> ` is a command, the line behind it the expected reply. Empty lines
    /// and lines that start with `#` say nothing; a command without a reply line may answer anything but an error.
    #[track_caller]
    pub fn session(&mut self, script: &str) {
        let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut next = lines.next();
        while let Some(line) = next {
            let command = line.strip_prefix("> ").unwrap_or_else(|| panic!("not a command: {line}"));
            let reply = self.run(command);
            next = lines.next();
            match next {
                Some(expected) if !expected.starts_with("> ") => {
                    assert_eq!(reply, expected, "reply to {command}");
                    next = lines.next();
                }
                _ => assert!(!reply.starts_with("(error)"), "reply to {command}: {reply}"),
            }
        }
    }

    /// OBJECT ENCODING of `key`.
    #[track_caller]
    pub fn encoding(&mut self, key: &str) -> &'static str {
        self.database().peek(key.as_bytes()).expect("there is such a key").encoding()
    }

    /// The selected database, its clock set.
    pub fn database(&mut self) -> &mut Database {
        let database = &mut self.databases[usize::from(self.database_index)];
        database.set_now(self.now);
        database
    }

    /// Runs a command given as words. The reply as it is sent.
    pub fn run_raw(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let (mut buffer, mut spans) = (Vec::new(), Vec::new());
        for word in words {
            spans.push(Span { start: buffer.len() as u32, len: word.len() as u32 });
            buffer.extend_from_slice(word);
        }
        let args = Args::new(&buffer, &spans);
        let mut output = Output::default();
        self.dirty = 0;
        self.effects.list.clear();
        let result = find(args).and_then(|row| self.call(row, args, &mut output));
        if let Err(error) = result {
            output.clear();
            Reply::new(&mut output, self.protocol).error(&error);
        }
        whole(&output)
    }

    fn call(&mut self, row: &Row, args: Args<'_>, output: &mut Output) -> Result<(), CommandError> {
        let Handler::Shard(handler) = row.handler else { panic!("{} is not a command on keys", row.spec.name) };
        let (db, others) = OtherDatabases::split(&mut self.databases, self.database_index, self.now);
        let output_start = output.bytes.len();
        let mut ctx = ShardContext {
            db,
            others,
            database_index: self.database_index,
            reply: Reply::new(output, self.protocol),
            encoding: &self.config.encoding,
            config: &self.config,
            random: &mut self.random,
            dirty: 0,
            effects: &mut self.effects,
            log: &mut self.log,
            shard: ShardId(0),
            shards: 1,
            blocking: Blocking { allowed: self.may_block, ready: None, wait: None },
            class: OutputClass::Normal,
            reply_start: output_start,
        };
        let result = handler(&mut ctx, args);
        self.dirty = ctx.dirty;
        self.wait = ctx.blocking.wait.take();
        result
    }
}

fn find(args: Args<'_>) -> Result<&'static Row, CommandError> {
    let mut entry = table().find(args.at(0)).ok_or(CommandError::fixed("ERR unknown command"))?;
    if !entry.row.subcommands.is_empty() && args.len() > 1 {
        entry = table().find_subcommand(entry, args.at(1)).ok_or(CommandError::fixed("ERR unknown subcommand"))?;
    }
    let spec = &entry.row.spec;
    if spec.accepts(args.len()) { Ok(entry.row) } else { Err(CommandError::Arity(spec.name.into())) }
}

/// The output with its pinned values in their places.
fn whole(output: &Output) -> Vec<u8> {
    let (mut bytes, mut from) = (Vec::new(), 0);
    for pin in &output.pins {
        bytes.extend_from_slice(&output.bytes[from..pin.at]);
        bytes.extend_from_slice(&pin.value);
        from = pin.at;
    }
    bytes.extend_from_slice(&output.bytes[from..]);
    bytes
}

fn split(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    loop {
        while bytes.next_if_eq(&b' ').is_some() {}
        let mut word = Vec::new();
        match bytes.peek() {
            None => return words,
            Some(b'"') => {
                bytes.next();
                loop {
                    match bytes.next().expect("a quoted word ends") {
                        b'"' => break,
                        b'\\' => word.push(escaped(&mut bytes)),
                        byte => word.push(byte),
                    }
                }
            }
            Some(_) => word.extend(std::iter::from_fn(|| bytes.next_if(|&byte| byte != b' '))),
        }
        words.push(word);
    }
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    let mut next = || bytes.next().expect("something stands behind a backslash");
    match next() {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let digits = [next(), next()];
            let digits = std::str::from_utf8(&digits).expect("two hexadecimal digits");
            u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
        }
        other => other,
    }
}

/// The first reply of `bytes` as text, and what follows it.
fn render(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a reply line ends");
    let line = std::str::from_utf8(&bytes[1..end]).expect("a reply line is text");
    let rest = &bytes[end + 2..];
    let text = match (bytes[0], line) {
        (b'+', text) => text.to_string(),
        (b'-', text) => format!("(error) {text}"),
        (b':', number) => format!("(integer) {number}"),
        (b',', number) => format!("(double) {number}"),
        (b'(', number) => format!("(big) {number}"),
        (b'#', truth) => String::from(if truth == "t" { "(true)" } else { "(false)" }),
        (b'_', _) => "(null)".into(),
        (b'$', "-1") => "(nil)".into(),
        (b'*', "-1") => "(nil array)".into(),
        (b'$', len) => return render_bulk(rest, len),
        (b'=', len) => {
            let (text, rest) = render_bulk(rest, len);
            return (format!("({}) \"{}", &text[1..4], &text[5..]), rest);
        }
        (b'*', len) => return render_many(rest, len, ["[", "]"], false),
        (b'~', len) => return render_many(rest, len, ["~[", "]"], false),
        (b'>', len) => return render_many(rest, len, [">[", "]"], false),
        (b'%', len) => return render_many(rest, len, ["{", "}"], true),
        (kind, _) => panic!("a reply of unknown type {}", char::from(kind)),
    };
    (text, rest)
}

fn render_bulk<'a>(rest: &'a [u8], len: &str) -> (String, &'a [u8]) {
    let len: usize = len.parse().expect("a length");
    assert_eq!(&rest[len..len + 2], b"\r\n");
    (format!("\"{}\"", rest[..len].escape_ascii().to_string().replace("\\'", "'")), &rest[len + 2..])
}

fn render_many<'a>(mut rest: &'a [u8], len: &str, [open, close]: [&str; 2], pairs: bool) -> (String, &'a [u8]) {
    let mut next = || {
        let (text, behind) = render(rest);
        rest = behind;
        text
    };
    let parts: Vec<String> = (0..len.parse().expect("a length"))
        .map(|_: usize| if pairs { format!("{}: {}", next(), next()) } else { next() })
        .collect();
    (format!("{open}{}{close}", parts.join(", ")), rest)
}

#[test]
fn shows_replies_and_errors() {
    let mut shell = Shell::new();
    shell.session(
        r#"
        > GET k
        (nil)
        > set k "a \x00\"b"
        OK
        > GET k
        "a \x00\"b"
        > GET
        (error) ERR wrong number of arguments for 'get' command
        "#,
    );
    assert_eq!((shell.dirty, shell.encoding("k"), shell.database().len()), (0, "embstr", 1));
    assert_eq!(Shell::resp3().run("GET k"), "(null)");
    assert_eq!(render(b"%1\r\n$1\r\na\r\n~2\r\n:1\r\n*-1\r\n").0, r#"{"a": ~[(integer) 1, (nil array)]}"#);
    assert_eq!(render(b"=5\r\ntxt:a\r\n").0, "(txt) \"a\"");
}
