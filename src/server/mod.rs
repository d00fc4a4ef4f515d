//! Boot, signals, shutdown.
//!
//! - `aof`      the append-only log at boot
//! - `log`      the log: its lines, where they go, which are wanted
//! - `machine`  what the machine must offer, and what to warn of
//! - `check_aof` looks after the files of an append-only log instead of serving
//! - `cpus`     how many cores serve, and where
//! - `doctor`   tells what is wrong with machine or configuration instead of serving
//! - `listen`   the listening sockets
//! - `notify`   what systemd is told
//! - `rewrite`  rewriting the append-only log
//! - `signals`  from signals to messages for the control thread
//!
//! The main thread is the control thread: it boots the cores, then sleeps until a signal, SHUTDOWN or the end of a core
//! wakes it, and ends the process.

pub mod aof;
pub mod check_aof;
mod cpus;
pub mod doctor;
mod listen;
mod log;
mod machine;
mod notify;
pub mod rewrite;
mod signals;

use crate::commands::node::{Control, REDIS_VERSION};
use crate::commands::reclaimer::Reclaimer;
use crate::commands::{Node, table};
use crate::config::{Config, Fsync, Startup, value};
use crate::persistence::aof::Catalog;
use crate::persistence::storage::Directory;
use crate::runtime::loading::{Call, Loading, LoadingPart, Plan};
use crate::runtime::{self, CorePlan, Cores};
use crate::shard::{Millis, ShardId};
use crate::stdx::os::{cpus_online, error_text};
use listen::Listening;
use machine::State;
use notify::Supervision;
use rewrite::Rewriter;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;
use tracing::{error, info, warn};

/// Why the server cannot start, for the user to read.
#[derive(Debug, PartialEq, Eq)]
pub struct BootError(String);

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BootError {}

/// Serves until a signal or SHUTDOWN ends it. The process belongs to the server: working directory, log, signals.
pub fn run(mut startup: Startup) -> ExitCode {
    let prepared = enter_directory(&mut startup.config).and_then(|()| log::start(&startup.config));
    if let Err(error) = prepared {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    serve(startup).unwrap_or_else(|error| {
        error!("{error}");
        log::tell_where_unseen(&error);
        ExitCode::FAILURE
    })
}

fn serve(startup: Startup) -> Result<ExitCode, BootError> {
    let wrong = |error: io::Error| BootError(format!("Can't handle signals: {}", error_text(&error)));
    // Before anyone can connect: from then on the process must end in order.
    let signals = signals::catch().map_err(wrong)?;
    let mut server = Server::start(startup)?;
    signals.forward(server.node.clone()).map_err(wrong)?;
    server.supervise()?;
    if server.loading.is_none() {
        server.ready();
    }
    server.control()
}

/// Makes `dir` the working directory.
fn enter_directory(config: &mut Config) -> Result<(), BootError> {
    let wrong = |error: io::Error| BootError(format!("Can't chdir to '{}': {}", config.dir, error_text(&error)));
    std::env::set_current_dir(&config.dir).map_err(wrong)?;
    let directory = std::env::current_dir().map_err(wrong)?;
    let text = directory.into_os_string().into_string();
    config.dir = text.map_err(|path| {
        BootError(format!(
            "Can't use '{}' as dir: its path is not UTF-8, and could not be named",
            path.to_string_lossy()
        ))
    })?;
    Ok(())
}

/// A running server.
pub struct Server {
    node: Arc<Node>,
    cores: Cores,
    /// The loading of the data, if there is anything to load it from.
    loading: Option<Arc<Loading>>,
    socket_path: Option<PathBuf>,
    rewriter: Rewriter<Directory>,
    /// Tells systemd of it, if that wants to know.
    supervision: Option<Supervision>,
}

impl Server {
    /// Starts the cores; they serve when this returns, or load data and serve after that. The working directory, the log
    /// and the signals of the process are left alone, so that tests may start servers of their own.
    pub fn start(startup: Startup) -> Result<Self, BootError> {
        let Startup { mut config, file, base } = startup;
        let usable = cpus::Usable::of_this_process();
        let findings = machine::examine(&config, &usable);
        if let Some(finding) = findings.iter().find(|finding| finding.state == State::Error) {
            return Err(BootError(finding.text.clone()));
        }
        let cpus = cpus::choose(&config, &usable)?;
        machine::fit_open_files(&mut config, cpus.len())?;
        let Listening { cores: listeners, names, descriptions, socket_path } = listen::listen(&config, cpus.len())?;
        let found = find_log(&config, cpus.len()).inspect_err(|_| remove_socket(socket_path.as_ref()))?;
        let (plan, catalog) = found.unzip();
        let run_id = run_id().map_err(|error| BootError(format!("Can't read random bytes: {error}")))?;
        let mut node = Node::new(config.clone(), cpus.len(), table().entries().len(), run_id, now_ms());
        (node.config_file, node.start_directory, node.listeners) = (file, base, descriptions);
        node.reclaimer = start_reclaimer().map_err(|error| {
            remove_socket(socket_path.as_ref());
            BootError(format!("Can't start the thread that frees memory: {}", error_text(&error)))
        })?;
        node.supervised = notify::is_wanted(&config);
        node.cpus = cpus.iter().flatten().copied().collect();
        let node = Arc::new(node);
        let loading = plan.map(|plan| Loading::begin(node.clone(), plan));
        let loaders = start_disks(loading.as_ref(), cpus.len()).map_err(|error| {
            remove_socket(socket_path.as_ref());
            BootError(format!("Can't start the threads that read files: {}", error_text(&error)))
        })?;
        greet(&node, &config, &cpus, &usable, &names);
        let bad = findings.iter().filter(|finding| finding.state != State::Good);
        bad.for_each(|finding| warn!("WARNING: {}", finding.text));
        let looks = cpus.len() < cpus_online();
        let plan = |(((index, &cpu), listeners), loading)| {
            let shard = ShardId(index as u16);
            CorePlan { cpu, looks, shard, listeners, loading }
        };
        let plans = cpus.iter().enumerate().zip(listeners).zip(loaders).map(plan).collect();
        let cores = runtime::start(node.clone(), plans).map_err(|error| {
            remove_socket(socket_path.as_ref());
            BootError(format!("Can't start the cores: {error}"))
        })?;
        let rewriter = Rewriter::new(catalog);
        Ok(Self { node, cores, loading, socket_path, rewriter, supervision: None })
    }

    /// What its cores share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Begins to tell systemd of it, if that is to know.
    fn supervise(&mut self) -> Result<(), BootError> {
        let wrong =
            |error: io::Error| BootError(format!("Can't start the thread that tells systemd: {}", error_text(&error)));
        if self.node.supervised {
            self.supervision = Some(Supervision::begin(self.node.clone()).map_err(wrong)?);
        }
        Ok(())
    }

    /// All data is there, and clients are served.
    fn ready(&self) {
        info!("Ready to accept connections");
        if let Some(supervision) = &self.supervision {
            supervision.ready();
        }
    }

    /// Ends it: what is to be sent is sent, then all connections are closed.
    pub fn stop(mut self) -> io::Result<()> {
        self.cores.stop();
        let wrong = |error| io::Error::other(format!("A core ended with an error: {error}"));
        let result = self.cores.join().map_err(wrong);
        remove_socket(self.socket_path.as_ref());
        result.and(aof::leave(&self.node.persistence, self.rewriter.found()))
    }

    /// Sleeps until the server is to end, and ends it.
    fn control(mut self) -> Result<ExitCode, BootError> {
        let mut incomplete = false;
        loop {
            match self.node.next_control() {
                Control::Log => {
                    self.attend_loading().inspect_err(|_| remove_socket(self.socket_path.as_ref()))?;
                    self.rewriter.look(&self.node, now_ms(), || self.cores.wake());
                }
                // Here, for it takes a while: no core has to wait.
                Control::Purge => self.node.purge(),
                Control::Signal(signal) => {
                    warn!("Received {} scheduling shutdown...", signals::name(signal));
                    incomplete = self.node.persistence.is_incomplete(self.node.config().appendonly);
                    break;
                }
                Control::Shutdown => {
                    warn!("User requested shutdown...");
                    break;
                }
                Control::CoreEnded(core) => {
                    // The others may wait for it for ever: there is nothing to wait for here.
                    error!("Core {} has ended unexpectedly, exiting.", core.0);
                    remove_socket(self.socket_path.as_ref());
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        if let Some(supervision) = self.supervision.take() {
            supervision.end();
        }
        Ok(match self.stop() {
            Ok(()) if incomplete => {
                error!(
                    "The append-only log was not in force yet: what was in memory before it was switched on is lost"
                );
                ExitCode::FAILURE
            }
            Ok(()) => {
                warn!("Crimson is now ready to exit, bye bye...");
                ExitCode::SUCCESS
            }
            Err(error) => {
                error!("{error}");
                ExitCode::FAILURE
            }
        })
    }

    /// Does what the loading needs of the control thread. After an error the process is to end: the cores cannot go on.
    fn attend_loading(&mut self) -> Result<(), BootError> {
        let Some(loading) = &self.loading else { return Ok(()) };
        match loading.call() {
            None => {}
            Some(Call::Fail(failure)) => return Err(BootError(format!("Can't load the data: {failure}"))),
            Some(Call::Begin) => {
                aof::begin_generation(self.rewriter.catalog(), loading.plan())?;
                loading.go_on();
            }
            Some(Call::Commit(bases)) => {
                aof::commit(self.rewriter.catalog(), loading.plan(), &bases)?;
                loading.go_on();
            }
            Some(Call::Ready) => {
                let (progress, elapsed) = (loading.progress(), loading.elapsed().as_secs_f64());
                let (keys, bytes) = (progress.keys.load(Relaxed), progress.loaded_bytes.load(Relaxed));
                info!("DB loaded from append only file: {elapsed:.3} seconds, {keys} keys from {bytes} bytes");
                self.rewriter.catalog().note_durable(&loading.ends());
                aof::clean(self.rewriter.catalog(), loading.plan());
                self.ready();
                self.loading = None;
            }
        }
        Ok(())
    }
}

/// What is to be loaded, and what keeps others away from it, if changes are logged.
fn find_log(config: &Config, cores: usize) -> Result<Option<(Plan, Catalog<Directory>)>, BootError> {
    if !config.appendonly {
        return Ok(None);
    }
    let (server, log) = aof::lock(config)?;
    aof::prepare(&server, &log, config, cores as u16).map(Some)
}

/// For each core, its part in the loading.
fn start_disks(loading: Option<&Arc<Loading>>, cores: usize) -> io::Result<Vec<Option<LoadingPart>>> {
    let start = |core| loading.map(|loading| LoadingPart::start(loading.clone(), core as u16)).transpose();
    (0..cores).map(start).collect()
}

/// Starts the thread that frees what takes long. Nobody waits for its end: what it has left then ends with the process.
fn start_reclaimer() -> io::Result<Reclaimer> {
    let (reclaimer, worker) = Reclaimer::with_worker();
    std::thread::Builder::new().name("reclaimer".into()).spawn(move || worker.run())?;
    Ok(reclaimer)
}

fn remove_socket(path: Option<&PathBuf>) {
    if let Some(path) = path
        && let Err(error) = std::fs::remove_file(path)
    {
        warn!("Can't remove the Unix socket {}: {}", path.display(), error_text(&error));
    }
}

/// Tells on one screen what runs where.
fn greet(node: &Node, config: &Config, cpus: &[Option<usize>], usable: &cpus::Usable, listeners: &[String]) {
    info!(
        "Crimson {} is starting, compatible with Redis {REDIS_VERSION}, pid {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    match &node.config_file {
        Some(file) => info!("configuration: {}", file.display()),
        None => info!("configuration: no file, only flags and defaults"),
    }
    let pinned: Vec<usize> = cpus.iter().flatten().copied().collect();
    let place = if pinned.is_empty() { "not pinned".into() } else { format!("on CPU {}", value::cpus_text(&pinned)) };
    info!("cores: {} of the {} the process may use, {place}; a shard each", cpus.len(), usable.count);
    info!("listening: {}", listeners.join(", "));
    let memory = match config.maxmemory {
        0 => "as much as there is".into(),
        bytes => format!("up to {}, then {}", value::memory_text(bytes), config.eviction.policy.name()),
    };
    info!(
        "limits: {} clients, {} databases, arguments up to {}, memory {memory}",
        config.maxclients,
        config.databases,
        value::memory_text(config.proto_max_bulk_len)
    );
    if config.appendonly {
        let fsync = Fsync::NAMES[config.appendfsync as usize];
        info!("data: logged in {}/{}, appendfsync {fsync}", config.dir, config.appenddirname);
    } else {
        info!("data: in memory only, nothing is saved; working directory {}", config.dir);
    }
}

fn now_ms() -> Millis {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// 40 hexadecimal digits that no other run has.
fn run_id() -> io::Result<String> {
    let mut bytes = [0; 20];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn run_ids_are_forty_digits_and_differ() {
        let ids = [super::run_id().expect("readable"), super::run_id().expect("readable")];
        assert!(ids.iter().all(|id| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert_ne!(ids[0], ids[1]);
    }
}
