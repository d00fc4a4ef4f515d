//! One core's engine without a network: bytes of requests in, bytes of replies out.

use crimson::commands::{Node, table};
use crimson::config::{Config, Fsync};
use crimson::engine::Engine;
use crimson::limits::AOF_WRITE_BYTES;
use crimson::persistence::aof::writer::Job;
use crimson::persistence::aof::{Kind, LogId, Sealer, SegmentId, Writer};
use crimson::session::{Identity, SessionFlags, SessionKey};
use crimson::shard::{Millis, ShardId};
use std::sync::Arc;

/// An engine with one client.
pub struct Loopback {
    engine: Engine,
    client: SessionKey,
    now: Millis,
    turns: u64,
    ready: Vec<SessionKey>,
    /// The log, to a disk that does everything at once.
    log: Option<Writer<()>>,
    records: Vec<u8>,
}

impl Loopback {
    /// A fresh engine, its only shard empty.
    pub fn new(config: Config) -> Self {
        let now = 1_700_000_000_000;
        let node = Node::new(config, 1, table().entries().len(), "0".repeat(40), now);
        let mut engine = Engine::new(ShardId(0), Arc::new(node), 1, now);
        let client = engine.connect(Identity::default(), false);
        Self { engine, client, now, turns: 0, ready: Vec::new(), log: None, records: Vec::new() }
    }

    /// From now on logs what it does, with `appendfsync everysec`.
    #[allow(dead_code, reason = "only the benchmarks log")]
    pub fn log(&mut self) {
        self.engine.set_logging(true);
        let segment = SegmentId { log: LogId(1), generation: 1, shard: 0, kind: Kind::Increment };
        self.log = Some(Writer::new(Fsync::EverySecond, (), Sealer::new(segment), 0, self.now));
    }

    /// The client leaves and another one comes.
    #[allow(dead_code, reason = "the benchmarks stay connected")]
    pub fn reconnect(&mut self) {
        self.engine.disconnect(self.client);
        self.client = self.engine.connect(Identity::default(), false);
    }

    /// One turn: the client sends `request`; what it is answered is appended to `reply`. Whether it is still connected.
    pub fn turn(&mut self, request: &[u8], reply: &mut Vec<u8>) -> bool {
        // A busy core makes about a hundred turns in a millisecond, so cron has its share here as it has there.
        self.turns += 1;
        self.now += Millis::from(self.turns.is_multiple_of(100));
        self.engine.begin_turn(self.now);
        self.engine.receive(self.client, request);
        self.engine.end_turn();
        self.keep_log();
        self.ready.clear();
        self.engine.take_dirty(&mut self.ready);
        let Some(session) = self.engine.session_mut(self.client) else { return false };
        let mut from = 0;
        for pin in &session.output.pins {
            reply.extend_from_slice(&session.output.bytes[from..pin.at]);
            reply.extend_from_slice(&pin.value);
            from = pin.at;
        }
        reply.extend_from_slice(&session.output.bytes[from..]);
        session.output.clear();
        !session.flags.intersects(SessionFlags::CLOSE_AFTER_REPLY | SessionFlags::CLOSE_NOW)
    }

    fn keep_log(&mut self) {
        let Some(log) = &mut self.log else { return };
        self.engine.take_log(&mut self.records);
        log.append(&mut self.records, self.now);
        if log.unwritten_bytes() < AOF_WRITE_BYTES as u64 {
            return;
        }
        while let Some(job) = log.next(self.now, false) {
            let written = if let Job::Write { bytes, .. } = job { bytes.len() } else { 0 };
            log.done(written as i32, self.now);
        }
    }
}
