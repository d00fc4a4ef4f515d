//! From signals to messages for the control thread. The first SIGTERM or SIGINT asks for an orderly end, the second
//! ends the process at once. SIGHUP does nothing: there is no terminal to lose and no file to read again. Nor does
//! SIGXFSZ: a write behind the limit of a file's size fails, and is handled as any that fails.

use crate::commands::Node;
use crate::commands::node::Control;
use crate::stdx::os;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator::Signals};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The exit code after a second signal.
const EXIT_IMPATIENT: i32 = 1;

/// Signals that have been caught and wait to be forwarded.
pub struct Caught(Signals);

/// Catches the signals of the process from now on.
pub fn catch() -> io::Result<Caught> {
    os::ignore_file_size_signal();
    flag::register(SIGHUP, Arc::new(AtomicBool::new(false)))?;
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag unset and sets it, the second finds it set.
        flag::register_conditional_shutdown(signal, EXIT_IMPATIENT, asked.clone())?;
        flag::register(signal, asked.clone())?;
    }
    Signals::new([SIGTERM, SIGINT]).map(Caught)
}

impl Caught {
    /// Sends what has been caught, and what is to come, to the control thread of `node`.
    pub fn forward(mut self, node: Arc<Node>) -> io::Result<()> {
        let forward = move || {
            for signal in self.0.forever() {
                node.tell(Control::Signal(signal));
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
    }
}

/// The name of a signal that [`forward`] sends.
pub fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        _ => "a signal",
    }
}
