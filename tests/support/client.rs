//! A small blocking client. It keeps the raw bytes of every reply, so that two servers can be compared byte for byte.

use super::reply::{Malformed, Reply, quoted};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a reply may take before the test fails; generous, because test machines are slow.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the arguments as a RESP array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The arguments of a command as one types it into redis-cli: separated by spaces, `"quoted\x00"` or `'quoted'`.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut bytes = line.trim().bytes().peekable();
    let mut words = Vec::new();
    while let Some(&first) = bytes.peek() {
        match first {
            b' ' => {
                bytes.next();
            }
            b'"' => {
                bytes.next();
                words.push(double_quoted(&mut bytes, line));
            }
            b'\'' => {
                bytes.next();
                words.push(bytes.by_ref().take_while(|&byte| byte != b'\'').collect());
            }
            _ => {
                let mut word = Vec::new();
                while let Some(byte) = bytes.next_if(|&byte| byte != b' ') {
                    word.push(byte);
                }
                words.push(word);
            }
        }
    }
    words
}

fn double_quoted(bytes: &mut impl Iterator<Item = u8>, line: &str) -> Vec<u8> {
    let mut word = Vec::new();
    loop {
        match bytes.next().unwrap_or_else(|| panic!("a quote is not closed: {line}")) {
            b'"' => return word,
            b'\\' => match bytes.next().unwrap_or(b'\\') {
                b'n' => word.push(b'\n'),
                b'r' => word.push(b'\r'),
                b't' => word.push(b'\t'),
                b'a' => word.push(7),
                b'b' => word.push(8),
                b'x' => {
                    let digits: String = bytes.take(2).map(char::from).collect();
                    word.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits behind \\x"));
                }
                other => word.push(other),
            },
            byte => word.push(byte),
        }
    }
}

/// The command as a line for redis-cli.
pub fn line(arguments: &[Vec<u8>]) -> String {
    let plain =
        |word: &[u8]| !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
    let shown = |word: &Vec<u8>| if plain(word) { String::from_utf8_lossy(word).into_owned() } else { quoted(word) };
    arguments.iter().map(shown).collect::<Vec<_>>().join(" ")
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to a server.
pub struct Client {
    stream: Stream,
    input: Vec<u8>,
    start: usize,
}

impl Client {
    /// Connects to a port of this machine; tries for a while when the server's queue is full.
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|error| panic!("cannot connect to port {port}: {error}"))
    }

    /// Connects to a port of this machine.
    pub fn try_connect(port: u16) -> io::Result<Self> {
        Self::try_connect_to(("127.0.0.1", port))
    }

    /// Connects to an address.
    pub fn try_connect_to(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Self { stream: Stream::Tcp(stream), input: Vec::new(), start: 0 })
    }

    /// Connects to a unix socket.
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("cannot connect to {path:?}: {error}"));
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).expect("a timeout above zero");
        Self { stream: Stream::Unix(stream), input: Vec::new(), start: 0 }
    }

    /// Uses RESP3 from now on where `protocol` is 3.
    pub fn with_protocol(mut self, protocol: u8) -> Self {
        if protocol == 3 {
            let hello = self.run("HELLO 3");
            assert!(matches!(hello, Reply::Map(_)), "HELLO 3 answers {hello}");
        }
        self
    }

    /// The TCP stream beneath; panics on a unix socket.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Unix(_) => panic!("a unix socket"),
        }
    }

    /// Waits at most this long for bytes of a reply.
    pub fn set_read_timeout(&mut self, timeout: Duration) {
        let done = match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        };
        done.expect("a timeout above zero");
    }

    /// Sends bytes as they are.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends bytes as they are; panics when the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes the bytes");
    }

    /// The next reply and its bytes.
    pub fn try_read(&mut self) -> io::Result<(Reply, Vec<u8>)> {
        loop {
            match Reply::parse(&self.input[self.start..]) {
                Ok((reply, len)) => {
                    let raw = self.input[self.start..self.start + len].to_vec();
                    self.start += len;
                    if self.start == self.input.len() {
                        self.input.clear();
                        self.start = 0;
                    }
                    return Ok((reply, raw));
                }
                Err(Malformed::Garbage(why)) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
                Err(Malformed::Incomplete) => self.fill()?,
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.input.drain(..self.start);
        self.start = 0;
        let old = self.input.len();
        // Grows with what is there already, so that a large reply is not parsed from its start too often.
        self.input.resize(old + (64 * 1024).max(old), 0);
        let got = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut self.input[old..]),
            Stream::Unix(stream) => stream.read(&mut self.input[old..]),
        };
        self.input.truncate(old + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next reply; panics when none comes.
    pub fn read(&mut self) -> Reply {
        self.try_read().unwrap_or_else(|error| panic!("no reply: {error}")).0
    }

    /// Sends a command and reads its reply and its bytes.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<(Reply, Vec<u8>)> {
        self.try_send(&encode(arguments))?;
        self.try_read()
    }

    /// Sends a command and reads its reply; panics when none comes.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Reply {
        self.try_call(arguments).unwrap_or_else(|error| panic!("no reply: {error}")).0
    }

    /// [`Client::call`] with a command as one types it into redis-cli.
    pub fn run(&mut self, command: &str) -> Reply {
        let arguments = words(command);
        self.try_call(&arguments).unwrap_or_else(|error| panic!("no reply to {command}: {error}")).0
    }

    /// [`Client::run`], the reply as redis-cli shows it.
    pub fn show(&mut self, command: &str) -> String {
        self.run(command).to_string()
    }

    /// All bytes until the server closes the connection.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                    return self.input.split_off(self.start);
                }
                Err(error) => panic!("the server does not close the connection: {error}"),
            }
        }
    }

    /// Whether the server closes the connection without saying anything more.
    pub fn is_closed(&mut self) -> bool {
        self.start == self.input.len()
            && matches!(self.fill(), Err(error) if error.kind() != io::ErrorKind::WouldBlock && error.kind() != io::ErrorKind::TimedOut)
    }
}
