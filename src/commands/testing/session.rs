//! A console for unit tests: runs one command after another on one session, without an engine, and returns the bytes of
//! the reply. A request to every core runs on a single one.

use crate::commands::context::LogWait;
use crate::commands::{CoreView, Flow, Handler, Node, SessionContext, table};
use crate::config::Config;
use crate::pubsub::PubSub;
use crate::resp::{Args, CommandError, Output, Reply, Span};
use crate::session::{Identity, Session, SessionFlags, SessionKey, Sessions};
use crate::shard::{Millis, Shard, ShardId};
use crate::stdx::random::Random;
use std::time::Duration;

/// One session on a node of one core.
pub struct Console {
    /// What cores share.
    pub node: Node,
    /// The session that sends the commands; its id is 7.
    pub session: Session,
    /// The other sessions of the core.
    pub sessions: Sessions,
    /// The core's data.
    pub shard: Shard,
    /// The core's subscribers.
    pub pubsub: PubSub,
    /// The clock.
    pub now: Millis,
    /// Whether the session was closed.
    pub closed: bool,
    /// How long the core was told to stand still.
    pub stalled: Duration,
    /// What the session waits for of the log.
    pub log_wait: Option<LogWait>,
}

impl Console {
    /// A session with id 7 at 1000 seconds after the epoch.
    pub fn new() -> Self {
        let now = 1_000_000;
        let node = Node::new(Config::default(), 1, table().entries().len(), "0123456789".repeat(4), now);
        let pubsub = PubSub::new(ShardId(0), node.interest.clone());
        Self {
            node,
            session: session(7, now),
            sessions: Sessions::default(),
            shard: Shard::new(ShardId(0), Config::default().databases),
            pubsub,
            now,
            closed: false,
            stalled: Duration::ZERO,
            log_wait: None,
        }
    }

    /// Adds another session to the core.
    pub fn connect(&mut self, id: u64) -> SessionKey {
        let key = self.sessions.insert(session(id, self.now));
        self.node.directory.insert(id, ShardId(0), key);
        key
    }

    /// Runs a command of words parted by spaces; its reply.
    pub fn run(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.run_words(&words)
    }

    /// Runs a command; its reply.
    pub fn run_words(&mut self, words: &[&[u8]]) -> String {
        let spans = spans(words);
        let buffer = words.concat();
        let mut output = Output::default();
        if let Err(error) = self.dispatch(Args::new(&buffer, &spans), &mut output) {
            output.clear();
            Reply::new(&mut output, self.session.protocol).error(&error);
        }
        String::from_utf8(output.bytes).expect("tests use text")
    }

    fn dispatch(&mut self, args: Args<'_>, output: &mut Output) -> Result<(), CommandError> {
        let command = table().find(args.at(0)).expect("a known command");
        let subcommand = args.get(1).and_then(|name| table().find_subcommand(command, name));
        let entry = subcommand.unwrap_or(command);
        if !entry.row.spec.accepts(args.len()) {
            return Err(CommandError::Arity(entry.row.spec.name.into()));
        }
        self.session.last_command = entry.id + 1;
        let Handler::Session(handler) = entry.row.handler else { panic!("{} needs an engine", entry.row.spec.name) };
        let config = self.node.config();
        let mut context = SessionContext {
            reply: Reply::new(output, self.session.protocol),
            session: &mut self.session,
            node: &self.node,
            config: &config,
            core: ShardId(0),
            now: self.now,
            random: &mut Random::new(1),
        };
        match handler(&mut context, args)? {
            Flow::WaitLog(wait) => self.log_wait = Some(wait),
            Flow::Done | Flow::Watch | Flow::Unwatch | Flow::Exec | Flow::Reset | Flow::Tracking => {}
            Flow::Close => self.closed = true,
            Flow::EveryCore(request) => {
                // The asking session is among those of its core while the request runs.
                let placeholder = session(0, self.now);
                let key = self.sessions.insert(std::mem::replace(context.session, placeholder));
                let mut view = CoreView {
                    core: ShardId(0),
                    sessions: &mut self.sessions,
                    shard: &mut self.shard,
                    pubsub: &self.pubsub,
                    monitors: &mut [0],
                    metrics: &self.node.metrics[0],
                    now: self.now,
                    stall: Duration::ZERO,
                };
                let part = request.run(&mut view);
                self.stalled = view.stall;
                *context.session = *self.sessions.remove(key).expect("it was put there");
                request.finish(vec![part], &mut context);
            }
        }
        self.closed |= self.session.flags.contains(SessionFlags::CLOSE_AFTER_REPLY);
        Ok(())
    }
}

/// Where words stand when they are written one behind the other.
pub fn spans(words: &[&[u8]]) -> Vec<Span> {
    let mut start = 0;
    let place = |word: &&[u8]| {
        let span = Span { start, len: word.len() as u32 };
        start += span.len;
        span
    };
    words.iter().map(place).collect()
}

fn session(id: u64, now: Millis) -> Session {
    let address = format!("127.0.0.1:{}", 50_000 + id);
    let identity = Identity { address, local_address: "127.0.0.1:6379".into(), fd: 10, ..Default::default() };
    Session::new(id, identity, now)
}
