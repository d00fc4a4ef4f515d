//! The only room that knows glommio and io_uring: it moves bytes between sockets and engines, and messages between cores.
//!
//! - `core`        one core's loop: reap, drain the mailbox, run, flush, yield
//! - `ring`        the network ring: one io_uring per core for all its sockets
//! - `buffers`     the buffers that the kernel fills with what clients send
//! - `connection`  one socket: what it is sending, how it ends
//! - `loading`     the append-only log at start
//! - `log`         what a core's engine logs on its way to disk, and what waits for that
//! - `mailbox`     how cores reach and wake each other
//! - `patience`    whether a core looks for work a moment longer before it sleeps
//! - `probe`       whether the kernel allows all this

mod buffers;
mod connection;
mod core;
pub mod loading;
pub mod log;
mod mailbox;
mod patience;
mod probe;
mod ring;
mod socket;

use crate::commands::Node;
use crate::commands::node::Control;
use crate::shard::ShardId;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use loading::LoadingPart;
use mailbox::{Hub, Mailbox};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use probe::probe;

/// What a listening socket accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// TCP connections.
    Tcp,
    /// Connections through a unix socket.
    Unix,
}

/// A socket that is bound and listens.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: OwnedFd,
    /// What it accepts.
    pub kind: ListenerKind,
}

/// What one core is to do.
#[derive(Debug)]
pub struct CorePlan {
    /// The CPU it is pinned to; `None`: any.
    pub cpu: Option<usize>,
    /// Whether it looks for work for a moment before it sleeps: where all cores together leave CPUs of the machine to others.
    pub looks: bool,
    /// Which shard it owns.
    pub shard: ShardId,
    /// What it accepts connections from.
    pub listeners: Vec<Listener>,
    /// What it loads before it serves.
    pub loading: Option<LoadingPart>,
}

/// The running cores.
pub struct Cores {
    handles: Vec<ExecutorJoinHandle<io::Result<()>>>,
    hub: Arc<Hub>,
    stop: Arc<AtomicBool>,
}

/// Memory that each executor keeps registered for file I/O.
const FILE_IO_BYTES: usize = 1024 * 1024;

/// When glommio would have tasks give way to others, if one ran for so long: a core's loop is the only one that does, and
/// goes to glommio by itself when it has nothing to do. Not a short time: when the timer fires between glommio's look for
/// events and its look for tasks, as for a thread that is taken off its CPU there, glommio 0.9 takes the tasks that could
/// run for none, and sleeps until something else happens, which may be never.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Starts a core for each plan; they serve when this returns. The plans are in the order of their shards.
pub fn start(node: Arc<Node>, plans: Vec<CorePlan>) -> io::Result<Cores> {
    let (hub, mailboxes) = mailbox::connect(plans.len())?;
    let stop = Arc::new(AtomicBool::new(false));
    let (ready, started) = crossbeam_channel::bounded(plans.len());
    let mut handles = Vec::new();
    for (plan, mailbox) in plans.into_iter().zip(mailboxes) {
        let (node, stop, ready) = (node.clone(), stop.clone(), ready.clone());
        let alive = Alive { node: node.clone(), core: plan.shard, stop: stop.clone() };
        let placement = plan.cpu.map_or(Placement::Unbound, Placement::Fixed);
        let handle = LocalExecutorBuilder::new(placement)
            .name(&format!("core-{}", plan.shard.0))
            .io_memory(FILE_IO_BYTES)
            .preempt_timer(NEVER)
            .spawn(move || run_core(node, plan, mailbox, stop, ready, alive))
            .map_err(|error| io::Error::other(error.to_string()))?;
        handles.push(handle);
    }
    drop(ready);
    let cores = Cores { handles, hub, stop };
    for _ in 0..cores.handles.len() {
        match started.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                cores.stop();
                return Err(error);
            }
            Err(_) => return Err(io::Error::other("a core ended while it started")),
        }
    }
    Ok(cores)
}

/// Tells the control thread when a core ends that was not told to, however it ends.
struct Alive {
    node: Arc<Node>,
    core: ShardId,
    stop: Arc<AtomicBool>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.stop.load(Ordering::SeqCst) {
            self.node.tell(Control::CoreEnded(self.core));
        }
    }
}

async fn run_core(
    node: Arc<Node>,
    plan: CorePlan,
    mailbox: Mailbox,
    stop: Arc<AtomicBool>,
    ready: crossbeam_channel::Sender<io::Result<()>>,
    alive: Alive,
) -> io::Result<()> {
    let _alive = alive;
    let mut core = match core::Core::new(node, plan, mailbox, stop) {
        Ok(core) => core,
        Err(error) => {
            let copy = io::Error::new(error.kind(), error.to_string());
            // The receiver waits for every core, or is gone because another one failed.
            let _ = ready.send(Err(error));
            return Err(copy);
        }
    };
    let _ = ready.send(Ok(()));
    drop(ready);
    core.run().await
}

impl Cores {
    /// Asks all cores to finish: what is to be sent is sent, then they close their connections and end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.hub.wake_all();
    }

    /// Wakes all cores, wherever they sleep.
    pub fn wake(&self) {
        self.hub.wake_all();
    }

    /// Waits for all cores to end; the first error, if there was one.
    pub fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        for handle in self.handles {
            let ended = handle.join().map_err(|error| io::Error::other(error.to_string())).and_then(|inner| inner);
            result = result.and(ended);
        }
        result
    }
}
