//! What a client sent: bytes to requests, requests to commands.
//!
//! A pipeline is read ahead, some requests at a time. While the later ones are parsed, the memory that the earlier ones
//! will need is already on its way into the cache: first the buckets of their keys, then their records. On a keyspace
//! that does not fit in the cache this is worth more than everything else done for a command together.

use super::Engine;
use super::dispatch::Step;
use crate::acl;
use crate::commands::Entry;
use crate::limits::{self, INPUT_UNAUTHENTICATED_BYTES_MAX};
use crate::resp::parser::{Parsed, ProtocolError, Scratch};
use crate::resp::{Args, CommandError};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use std::ops::Range;

/// Requests that are read but not run yet; used again and again.
#[derive(Default)]
pub(super) struct Ahead {
    scratch: Scratch,
    requests: Vec<Request>,
}

/// A request that has been read.
struct Request {
    /// Where its bytes begin in the input, and where the next request begins.
    bytes: Range<usize>,
    /// Which of the scratch's spans are its arguments.
    spans: Range<usize>,
    inline: bool,
    /// The command, its subcommand not looked at; `None` when there is no such command.
    entry: Option<&'static Entry>,
    /// The shard of its key, where it has just one.
    shard: Option<ShardId>,
    /// The hash of its key, where that is on this shard.
    hash: Option<u64>,
}

/// Why reading ahead has ended.
enum End {
    /// There are as many requests as are run at once.
    Full,
    /// The rest of the input is no whole request.
    Incomplete,
    /// The client violates the protocol.
    Violation(ProtocolError),
}

impl Ahead {
    fn args<'a>(&'a self, request: &Request, input: &'a [u8]) -> Args<'a> {
        let buffer = if request.inline { &self.scratch.inline } else { &input[request.bytes.clone()] };
        Args::new(buffer, &self.scratch.spans[request.spans.clone()])
    }
}

impl Engine {
    /// Takes what a client sent.
    pub fn receive(&mut self, key: SessionKey, bytes: &[u8]) {
        if self.clients_bytes_max.is_some() {
            // As Redis, before a client takes more.
            self.evict_clients();
        }
        self.follow_broadcasts();
        let Some(mut session) = self.sessions.take(key) else { return };
        session.active_ms = self.now;
        session.input_bytes += bytes.len() as u64;
        let metrics = self.metrics();
        metrics.reads.add(1);
        metrics.input_bytes.add(bytes.len() as u64);
        if !session.flags.intersects(SessionFlags::ENDING) {
            if session.input.is_empty() && !session.flags.contains(SessionFlags::STALLED) {
                let used = self.execute_requests(&mut session, key, bytes);
                session.input.extend_from_slice(&bytes[used..]);
            } else {
                compact(&mut session);
                session.input.extend_from_slice(bytes);
                self.continue_session(&mut session, key);
            }
            self.check_input(&mut session, key);
            self.count_client(&mut session);
        }
        self.sessions.put_back(key, session);
        self.run_own_parts();
    }

    /// Runs what a session has sent, unless it has to wait.
    pub(super) fn continue_session(&mut self, session: &mut Session, key: SessionKey) {
        if session.flags.contains(SessionFlags::STALLED) {
            return;
        }
        let input = std::mem::take(&mut session.input);
        let mut used = std::mem::take(&mut session.input_used);
        if !input.is_empty() {
            used += self.execute_requests(session, key, &input[used..]);
        }
        if used < input.len() {
            (session.input, session.input_used) = (input, used);
        }
        self.close_at_end_of_input(session);
        self.mark_dirty(session, key);
    }

    /// Closes a session whose client sends nothing more, once all that it has sent is answered.
    pub(super) fn close_at_end_of_input(&self, session: &mut Session) {
        let waits = session.flags.contains(SessionFlags::STALLED);
        if session.flags.contains(SessionFlags::INPUT_ENDED) && !waits {
            session.flags.insert(SessionFlags::CLOSE_AFTER_REPLY);
        }
    }

    fn check_input(&mut self, session: &mut Session, key: SessionKey) {
        let waiting = session.input.len() - session.input_used;
        let stranger = acl::must_log_in(session, &self.config);
        let bytes_max = if stranger { INPUT_UNAUTHENTICATED_BYTES_MAX } else { self.config.client_query_buffer_limit };
        if (waiting + session.multi_bytes()) as u64 > bytes_max {
            tracing::warn!(client = session.id, "closing a client that reached the query buffer limit");
            self.metrics().input_limit_disconnections.add(1);
            session.flags.insert(SessionFlags::RESET);
            self.close(session, key);
        } else if let Some(needed) = session.parser.needed_bytes() {
            // A large argument gets its room at once instead of growing there by copies; what is not there yet is
            // believed only so far.
            let ahead = needed.saturating_sub(waiting).min(limits::INPUT_AHEAD_BYTES_MAX);
            if ahead > session.input.capacity() - session.input.len() {
                session.input.reserve(ahead);
            }
        }
    }

    fn protocol_error(&mut self, session: &mut Session, violation: &[u8]) {
        tracing::debug!(client = session.id, violation = %violation.escape_ascii(), "protocol error");
        let error = CommandError::Raw([b"ERR Protocol error: ", violation].concat());
        self.reply_error(session, &error);
        session.flags.insert(SessionFlags::CLOSE_AFTER_REPLY);
    }

    /// Runs the requests of `input` one after another; how many bytes are done with.
    fn execute_requests(&mut self, session: &mut Session, key: SessionKey, input: &[u8]) -> usize {
        let mut ahead = std::mem::take(&mut self.ahead);
        if session.output.bytes.capacity() == 0 {
            session.output.bytes = self.spare_buffers.pop().unwrap_or_default();
        }
        let mut used = 0;
        loop {
            let end = self.read_ahead(session, input, used, &mut ahead);
            if ahead.requests.len() > 1 {
                self.prefetch_records(session, &ahead);
            }
            let mut started = self.clock.raw();
            let mut goes_on = true;
            for (number, request) in ahead.requests.iter().enumerate() {
                if request.spans.is_empty() {
                    used = request.bytes.end;
                    continue;
                }
                let args = ahead.args(request, input);
                let step = self.dispatch(session, key, request.entry, request.shard, args, &mut started);
                if matches!(step, Step::Away) {
                    count_away(session, request.bytes.len());
                }
                goes_on = self.proceed(session, key, &step);
                if !matches!(step, Step::Wait) {
                    used = request.bytes.end;
                }
                if !goes_on {
                    let next = ahead.requests.get(number + 1).and_then(|next| next.entry);
                    if matches!(step, Step::Wait) || !self.joins(session, next) {
                        self.send_split();
                        break;
                    }
                }
            }
            match end {
                _ if !goes_on => {
                    // What has been read behind this request is read again when the session goes on.
                    session.parser.reset();
                    break;
                }
                End::Full => {}
                End::Incomplete => break,
                End::Violation(violation) => {
                    self.protocol_error(session, &violation);
                    used = input.len();
                    break;
                }
            }
        }
        if session.flags.contains(SessionFlags::CLOSE_AFTER_REPLY) {
            used = input.len();
        }
        self.ahead = ahead;
        self.mark_dirty(session, key);
        used
    }

    /// Whether a session goes on with its next request after this step.
    #[inline]
    fn proceed(&mut self, session: &mut Session, key: SessionKey, step: &Step) -> bool {
        match step {
            Step::Done | Step::Away => {}
            Step::Wait => session.flags.insert(SessionFlags::STALLED),
            Step::Close => session.flags.insert(SessionFlags::CLOSE_AFTER_REPLY),
        }
        let checked = session.flags.contains(SessionFlags::UNAUTHENTICATED);
        if checked || session.output.bytes.len() > limits::OUTPUT_CHECK_BYTES {
            self.check_output(session, key);
        }
        let ends = SessionFlags::STALLED | SessionFlags::CLOSE_NOW | SessionFlags::CLOSE_AFTER_REPLY;
        !session.flags.intersects(ends)
    }

    /// Reads requests from `from` on, and has the buckets of their keys fetched.
    fn read_ahead(&mut self, session: &mut Session, input: &[u8], from: usize, ahead: &mut Ahead) -> End {
        let limits = self.parser_limits(session);
        // What a stranger may send depends on what comes before it, as that may be a password.
        let requests_max = if limits.authenticated { limits::REQUESTS_AHEAD_MAX } else { 1 };
        ahead.requests.clear();
        ahead.scratch.clear();
        let mut at = from;
        while ahead.requests.len() < requests_max {
            let first = ahead.scratch.spans.len();
            if at == input.len() {
                return End::Incomplete;
            }
            let (len, inline) = match session.parser.parse(&input[at..], &mut ahead.scratch, limits) {
                Ok(Parsed::Request(len)) => (len, false),
                Ok(Parsed::Inline(len)) => (len, true),
                // An empty line or array asks for nothing.
                Ok(Parsed::Nothing(len)) => (len, false),
                Ok(Parsed::Incomplete(_)) => return End::Incomplete,
                Err(violation) => return End::Violation(violation),
            };
            let mut request = Request {
                bytes: at..at + len,
                spans: first..ahead.scratch.spans.len(),
                inline,
                entry: None,
                shard: None,
                hash: None,
            };
            if !request.spans.is_empty() {
                let args = ahead.args(&request, input);
                self.look_up(&mut request, args, session.database);
            }
            ahead.requests.push(request);
            at += len;
        }
        End::Full
    }

    /// Finds a request's command and, where it has just one key, that key's shard and bucket.
    #[inline]
    fn look_up(&self, request: &mut Request, args: Args<'_>, database: u16) {
        let Some(entry) = self.table.find(args.at(0)) else { return };
        request.entry = Some(entry);
        let at = usize::from(entry.single_key);
        if at == 0 || at >= args.len() {
            return;
        }
        let key = args.at(at);
        let shard = self.router.shard_of(key);
        request.shard = Some(shard);
        if shard == self.core {
            request.hash = Some(self.shard.databases[usize::from(database)].prefetch(key));
        }
    }

    fn prefetch_records(&self, session: &Session, ahead: &Ahead) {
        let db = &self.shard.databases[usize::from(session.database)];
        ahead.requests.iter().filter_map(|request| request.hash).for_each(|hash| db.prefetch_record(hash));
    }
}

/// A session's request of so many bytes waits for others. Where too much does, the session takes nothing more for a while.
#[inline]
fn count_away(session: &mut Session, bytes: usize) {
    let away = session.pending.len();
    session.away_bytes = if away > 1 { session.away_bytes + bytes } else { bytes };
    if away >= limits::COMMANDS_AWAY_MAX || session.away_bytes >= limits::COMMANDS_AWAY_BYTES_MAX {
        session.flags.insert(SessionFlags::STALLED);
    }
}

/// Moves what is left of a session's input to its start when that is no more than what has been used, so that moving
/// costs no more than receiving did.
fn compact(session: &mut Session) {
    if session.input_used > 0 && 2 * session.input_used >= session.input.len() {
        session.input.drain(..session.input_used);
        session.input_used = 0;
    }
}
