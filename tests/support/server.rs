//! Servers that live as long as a test: `redis-server`, the oracle, and the `crimson` binary built with the tests.
//!
//! Each has a directory of its own and a free port. A port is reserved across all test processes by an abstract unix
//! socket, because two servers that listen with SO_REUSEPORT would otherwise share one without noticing.

use super::client::Client;
use super::{poll, process};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A running server; it ends with this value.
pub struct Server {
    /// Its port.
    pub port: u16,
    /// Its directory.
    pub dir: PathBuf,
    name: String,
    child: Child,
    _reservation: UnixListener,
}

/// Removes what environment variables could change about a server.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("REDISCLI_AUTH").env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
    command
}

impl Server {
    /// The oracle, `redis-server`, without persistence.
    pub fn redis(arguments: &[&str]) -> Self {
        let mut all = vec!["--save", "", "--appendonly", "no", "--loglevel", "warning"];
        all.extend(arguments);
        Self::start("redis-server", "redis-server", &all)
    }

    /// Crimson with this many shards.
    pub fn crimson(threads: usize, arguments: &[&str]) -> Self {
        let threads_text = threads.to_string();
        let mut all = vec!["--threads", &threads_text];
        all.extend(arguments);
        Self::start(&format!("crimson --threads {threads}"), env!("CARGO_BIN_EXE_crimson"), &all)
    }

    /// Crimson with these environment variables.
    pub fn crimson_in(environment: &[(&str, &str)], threads: usize, arguments: &[&str]) -> Self {
        let (program, threads) = (env!("CARGO_BIN_EXE_crimson"), threads.to_string());
        let arguments = [&["--threads", &threads], arguments].concat();
        Self::start_from(None, environment, "crimson in an environment", program, None, &arguments)
    }

    /// What is tested: Crimson, or `redis-server` itself when `ORACLE_SUBJECT=redis` asks for a check of the tests.
    pub fn subject(threads: usize, arguments: &[&str]) -> Self {
        match std::env::var("ORACLE_SUBJECT").as_deref() {
            Ok("redis") => Self::redis(arguments),
            _ => Self::crimson(threads, arguments),
        }
    }

    /// Crimson with this configuration in a file, `crimson.conf` in its directory.
    pub fn crimson_from_file(configuration: &str, arguments: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_crimson");
        Self::start_from(None, &[], "crimson with a file", program, Some(configuration), arguments)
    }

    /// Starts `program` with `--port`, `--dir` and `arguments`; `{dir}` in an argument stands for its directory.
    pub fn start(name: &str, program: &str, arguments: &[&str]) -> Self {
        Self::start_from(None, &[], name, program, None, arguments)
    }

    /// [`Server::start`], bound to one CPU where `cpu` names one.
    pub fn start_on(cpu: Option<usize>, name: &str, program: &str, arguments: &[&str]) -> Self {
        Self::start_from(cpu, &[], name, program, None, arguments)
    }

    fn start_from(
        cpu: Option<usize>,
        environment: &[(&str, &str)],
        name: &str,
        program: &str,
        configuration: Option<&str>,
        arguments: &[&str],
    ) -> Self {
        let mut log = String::new();
        for _ in 0..5 {
            let (port, reservation) = reserve_port();
            let dir = make_dir();
            let out = File::create(dir.join("server.log")).expect("a new directory takes a file");
            let file = configuration.map(|text| {
                fs::write(dir.join("crimson.conf"), text).expect("a new directory takes a file");
                "crimson.conf"
            });
            let mut starter = match cpu {
                None => command(program),
                Some(cpu) => {
                    let mut taskset = command("taskset");
                    taskset.args(["-c", &cpu.to_string(), program]);
                    taskset
                }
            };
            let child = starter
                .envs(environment.iter().copied())
                .args(file)
                .args(["--port", &port.to_string(), "--dir"])
                .arg(&dir)
                .args(arguments.iter().map(|argument| argument.replace("{dir}", &dir.to_string_lossy())))
                .current_dir(&dir)
                .stdin(Stdio::null())
                .stderr(out.try_clone().expect("a file handle can be cloned"))
                .stdout(out)
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
            let mut server = Self { port, dir, name: name.into(), child, _reservation: reservation };
            if server.wait_until_it_listens() {
                return server;
            }
            log = server.log();
        }
        panic!("{name} does not start; its log:\n{log}");
    }

    fn wait_until_it_listens(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if self.child.try_wait().expect("our own child can be waited for").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        match Client::try_connect(self.port) {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to {}: {error}; its log:\n{}", self.name, self.log()),
        }
    }

    /// How it was started, in short.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be waited for").is_none()
    }

    /// The last lines it has logged.
    pub fn log(&self) -> String {
        let text = fs::read(self.dir.join("server.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Ends it with `signal` and waits; its exit code, or `None` when a signal ended it.
    pub fn stop(&mut self, signal: i32) -> Option<i32> {
        if self.is_alive() {
            process::signal(self.pid(), signal);
        }
        let ended = poll(Duration::from_secs(20), || self.child.try_wait().expect("our own child can be waited for"));
        match ended {
            Some(status) => status.code(),
            None => {
                self.child.kill().expect("our own child can be killed");
                self.child.wait().expect("our own child can be waited for");
                None
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(libc::SIGTERM);
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}\n", self.name, self.log());
        }
        // What cannot be removed lies in the temporary directory and harms nobody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A free port below those that outgoing connections use, reserved until the listener is dropped.
pub fn reserve_port() -> (u16, UnixListener) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(7919);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (start.wrapping_add(step) % 20_000) as u16;
        let name = SocketAddr::from_abstract_name(format!("crimson-test-port-{port}")).expect("a short name");
        let Ok(reservation) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return (port, reservation);
        }
    }
}

/// A new directory.
pub fn make_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("crimson-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(name);
    fs::create_dir_all(&dir).expect("the temporary directory takes a directory");
    dir
}

/// Whether a program can be started.
pub fn has_program(program: &str) -> bool {
    let started = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.is_ok_and(|status| status.success())
}

/// The checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
