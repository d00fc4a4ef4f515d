//! A core that loads: what of it is the core's own to do, and what clients find meanwhile.

use super::Core;
use crate::engine::message::KeyState;
use crate::persistence::aof::Sealer;
use crate::runtime::loading::{self, Tail, Turn};
use crate::runtime::log::{Base, Log};
use crate::runtime::mailbox::Mail;
use crate::shard::Millis;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A core that loads accepts connections, to tell them so, when it has gone on for so long. Whoever comes at the start of
/// a server with little to load is served after a moment instead of being refused.
const ACCEPT_WHILE_LOADING: Duration = Duration::from_millis(200);

impl Core {
    /// Begins to accept connections.
    pub(super) fn accept_all(&mut self) {
        if !std::mem::replace(&mut self.accepting, true) {
            for (index, listener) in self.listeners.iter().enumerate() {
                self.ring.accept(listener.socket.as_raw_fd(), index as u32);
            }
        }
    }

    /// Goes on loading the data; whether there is any left to load.
    pub(super) fn load(&mut self, now: Millis) -> bool {
        let Some(loader) = &mut self.loader else { return false };
        let mut keys = Vec::new();
        let turn = loader.turn(&mut self.engine, now, self.mailbox.is_congested(), &mut keys);
        let accepts = loader.elapsed() >= ACCEPT_WHILE_LOADING;
        for (to, keys) in keys {
            self.mailbox.post(to, Mail::Keys(keys), |ring| self.ring.wake(ring));
        }
        match turn {
            Turn::Loads => {}
            Turn::Writes(file, segment) => {
                self.engine.begin_snapshot();
                self.base = Some(Base::new(file.into(), segment, now));
            }
            Turn::Opens(tail) => self.open_log(&tail, now),
            Turn::Over => self.loader = None,
        }
        if accepts || self.loader.is_none() {
            self.accept_all();
        }
        self.loader.is_some()
    }

    /// Takes keys over that another core has loaded.
    pub(super) fn adopt_keys(&mut self, keys: Vec<KeyState>) {
        if let Some(loader) = &mut self.loader {
            loader.received += keys.len() as u64;
            keys.into_iter().for_each(|key| loading::adopt(&mut self.engine, key));
        }
    }

    /// Begins to log behind what has been loaded.
    pub(super) fn open_log(&mut self, tail: &Tail, now: Millis) {
        let Some(loader) = &mut self.loader else { return };
        match tail.open() {
            Ok(file) => {
                let sealer = Sealer::resume(tail.segment, tail.sequence);
                let mut log = Log::new(file.into(), sealer, tail.offset, self.engine.config().appendfsync, now, 0);
                log.set_pending(loader.create_pending());
                log.tell(self.engine.shard_log());
                self.log = Some(log);
                self.engine.set_logging(true);
                self.engine.end_loading();
                loader.opened();
            }
            Err(failure) => loader.fail(failure),
        }
    }
}
