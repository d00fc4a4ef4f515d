//! What a client has begun with MULTI and WATCH: the commands that wait for EXEC, and the keys that must not change
//! until then. Whether one has changed is known to the shard that owns it.

use crate::resp::{Args, Output, Span};
use crate::shard::WatchedKey;
use crate::spec::Flags;
use ahash::AHashSet;

/// A client's transaction; a client that never needed one has none.
#[derive(Default)]
pub struct Transaction {
    /// The commands queued.
    pub queue: Queue,
    /// How many were queued; stays until EXEC has ended, wherever the queue is.
    pub queued: usize,
    /// Whether a request was refused since MULTI, so that EXEC will be too.
    pub aborted: bool,
    /// The watched keys. Their shards have them too.
    pub watched: AHashSet<WatchedKey>,
    /// Bytes of the watched keys.
    pub watched_bytes: usize,
    /// EXEC as the client wrote it, for MONITOR.
    pub exec_sent_as: [u8; 4],
    /// Messages that came while pieces of EXEC's reply were awaited; they leave behind it.
    pub later: Output,
}

impl Transaction {
    /// Adds a watched key; whether it is a new one.
    pub fn watch(&mut self, key: WatchedKey) -> bool {
        let bytes = key.key.len() + size_of::<WatchedKey>();
        let new = self.watched.insert(key);
        self.watched_bytes += if new { bytes } else { 0 };
        new
    }

    /// Forgets the watched keys; what they were.
    pub fn take_watched(&mut self) -> AHashSet<WatchedKey> {
        self.watched_bytes = 0;
        std::mem::take(&mut self.watched)
    }

    /// Bytes that the queue and the watched keys take.
    pub fn memory_bytes(&self) -> usize {
        self.queue.memory_bytes() + self.watched_bytes
    }
}

/// Commands with their arguments, one behind the other.
#[derive(Default)]
pub struct Queue {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    commands: Vec<Queued>,
    /// What is true of any of them.
    flags: Flags,
}

/// One of them.
struct Queued {
    /// Its number in the command table.
    command: u16,
    /// Where its arguments end among the spans.
    spans_end: u32,
}

impl Queue {
    /// Adds a command, by its number in the table, with its flags.
    pub fn push(&mut self, command: u16, flags: Flags, args: Args<'_>) {
        for argument in args.iter_from(0) {
            // A queue is no longer than `client-query-buffer-limit` and one read, for which 32 bits suffice.
            self.spans.push(Span { start: self.bytes.len() as u32, len: argument.len() as u32 });
            self.bytes.extend_from_slice(argument);
        }
        self.commands.push(Queued { command, spans_end: self.spans.len() as u32 });
        self.flags |= flags;
    }

    /// How many commands it holds.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether one of them may change data.
    pub fn writes(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// Whether one of them is refused when memory is used up.
    pub fn needs_memory(&self) -> bool {
        self.flags.contains(Flags::DENYOOM)
    }

    /// The commands with their arguments, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Args<'_>)> {
        let mut start = 0;
        self.commands.iter().map(move |queued| {
            let spans = &self.spans[start..queued.spans_end as usize];
            start = queued.spans_end as usize;
            (queued.command, Args::new(&self.bytes, spans))
        })
    }

    /// Command `index`, which must be there, with its arguments.
    pub fn get(&self, index: usize) -> (u16, Args<'_>) {
        let start = index.checked_sub(1).map_or(0, |before| self.commands[before].spans_end as usize);
        let queued = &self.commands[index];
        (queued.command, Args::new(&self.bytes, &self.spans[start..queued.spans_end as usize]))
    }

    /// Bytes it takes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.commands.capacity() * size_of::<Queued>()
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.commands.clear();
        self.flags = Flags::empty();
    }
}

#[cfg(test)]
mod tests {
    use super::{Queue, Transaction};
    use crate::resp::{Args, Span};
    use crate::shard::WatchedKey;
    use crate::spec::Flags;

    #[test]
    fn a_queue_gives_back_what_was_put_in() {
        let mut queue = Queue::default();
        let buffer = b"GETkeySETkey1";
        let span = |start, len| Span { start, len };
        queue.push(3, Flags::READONLY, Args::new(buffer, &[span(0, 3), span(3, 3)]));
        assert!(!queue.writes());
        queue.push(4, Flags::WRITE, Args::new(buffer, &[span(6, 3), span(9, 3), span(12, 1)]));
        let words = |args: Args<'_>| args.iter_from(0).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let all: Vec<_> = queue.iter().map(|(command, args)| (command, words(args).join(&b' '))).collect();
        assert_eq!(all, [(3, b"GET key".to_vec()), (4, b"SET key 1".to_vec())]);
        assert_eq!([words(queue.get(0).1).len(), words(queue.get(1).1).len()], [2, 3]);
        assert!(queue.writes() && queue.len() == 2 && queue.memory_bytes() >= 13);
        queue.clear();
        assert!(queue.is_empty() && !queue.writes() && queue.iter().next().is_none());
    }

    #[test]
    fn a_key_is_watched_once() {
        let mut transaction = Transaction::default();
        let key = |database| WatchedKey { database, key: (*b"k").into() };
        assert!(transaction.watch(key(0)) && !transaction.watch(key(0)) && transaction.watch(key(1)));
        assert!(transaction.memory_bytes() > 0);
        assert_eq!(transaction.take_watched().len(), 2);
        assert_eq!(transaction.memory_bytes(), 0);
    }
}
