//! Freeing what takes long, such as all keys of a database, on a thread of its own while the cores serve.
//!
//! Engines hand garbage to the node's [`Reclaimer`]. Where nobody has started a [`Worker`] for it, as in simulations, or
//! the worker is far behind, the garbage is freed at once.

use crate::limits::FREE_QUEUE_MAX;
use crate::shard::Garbage;
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Takes garbage from all cores.
pub struct Reclaimer {
    queue: Option<Sender<Garbage>>,
    counts: Arc<Counts>,
}

/// Values, in keys.
#[derive(Default)]
struct Counts {
    pending: AtomicU64,
    freed: AtomicU64,
}

/// What a thread for freeing runs.
pub struct Worker {
    queue: Receiver<Garbage>,
    counts: Arc<Counts>,
}

impl Reclaimer {
    /// Frees everything at once.
    pub fn inline() -> Self {
        Self { queue: None, counts: Arc::default() }
    }

    /// Leaves the freeing to the worker, which ends when it has freed all that there was before this was dropped.
    pub fn with_worker() -> (Self, Worker) {
        let (sender, receiver) = crossbeam_channel::bounded(FREE_QUEUE_MAX);
        let counts = Arc::<Counts>::default();
        (Self { queue: Some(sender), counts: counts.clone() }, Worker { queue: receiver, counts })
    }

    /// Has `garbage` freed.
    pub fn free(&self, garbage: Garbage) {
        let Some(queue) = &self.queue else { return };
        let objects = garbage.objects();
        self.counts.pending.fetch_add(objects, Relaxed);
        if queue.try_send(garbage).is_err() {
            // The error holds the garbage: it has just been dropped.
            self.counts.pending.fetch_sub(objects, Relaxed);
        }
    }

    /// Values that wait for the worker.
    pub fn pending(&self) -> u64 {
        self.counts.pending.load(Relaxed)
    }

    /// Values that the worker has freed since the last reset.
    pub fn freed(&self) -> u64 {
        self.counts.freed.load(Relaxed)
    }

    /// Counts what is freed from zero again.
    pub fn reset_freed(&self) {
        self.counts.freed.store(0, Relaxed);
    }
}

impl Worker {
    /// Frees what comes until the reclaimer is gone.
    pub fn run(self) {
        for garbage in &self.queue {
            let objects = garbage.objects();
            drop(garbage);
            self.counts.freed.fetch_add(objects, Relaxed);
            self.counts.pending.fetch_sub(objects, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reclaimer;
    use crate::config::LazyFree;
    use crate::limits::FREE_QUEUE_MAX;
    use crate::shard::{Database, Expiry, Garbage};

    fn garbage() -> Garbage {
        let mut db = Database::new();
        db.set_string(b"a", b"1", Expiry::Never);
        db.set_string(b"b", b"2", Expiry::Never);
        db.set_lazy_free(LazyFree::default());
        db.clear(true);
        db.departed.take_garbage().pop().expect("the keys")
    }

    #[test]
    fn a_worker_frees_all_there_is_before_it_ends() {
        let (reclaimer, worker) = Reclaimer::with_worker();
        let counts = reclaimer.counts.clone();
        (0..FREE_QUEUE_MAX + 5).for_each(|_| reclaimer.free(garbage()));
        assert_eq!(
            (reclaimer.pending(), reclaimer.freed()),
            (2 * FREE_QUEUE_MAX as u64, 0),
            "the rest is freed at once"
        );
        drop(reclaimer);
        worker.run();
        assert_eq!(counts.pending.load(super::Relaxed), 0);
        assert_eq!(counts.freed.load(super::Relaxed), 2 * FREE_QUEUE_MAX as u64);
    }

    #[test]
    fn without_a_worker_nothing_waits() {
        let reclaimer = Reclaimer::inline();
        reclaimer.free(garbage());
        assert_eq!((reclaimer.pending(), reclaimer.freed()), (0, 0));
    }
}
