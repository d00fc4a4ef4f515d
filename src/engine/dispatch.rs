//! One request: its row, its checks, and the shard that runs it.

use super::message::{Call, Logged, Message, Ticket};
use super::split::splits;
use super::{Engine, pubsub};
use crate::acl;
use crate::commands::context::OtherDatabases;
use crate::commands::debug;
use crate::commands::{Blocking, Entry, Flow, Handler, SessionContext, ShardContext};
use crate::config::OutputClass;
use crate::resp::error::printed;
use crate::resp::parser::ParserLimits;
use crate::resp::{Args, CommandError, Output, Protocol, Reply};
use crate::session::{Queue, Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::shard::tracking::Tracker;
use crate::spec::{Flags, RequestPolicy};

/// How a session goes on after a request.
pub(super) enum Step {
    /// With the next one.
    Done,
    /// With the next one; this one is counted elsewhere, or was refused.
    Away,
    /// The request is not done; it is tried again when what it waits for is over.
    Wait,
    /// The session ends with this reply.
    Close,
}

/// Where a command on keys runs.
pub(super) enum Route {
    One(ShardId),
    /// On any shard: it has no keys, or its arguments are wrong and it refuses them.
    Any,
    Several,
    All,
}

impl Engine {
    pub(super) fn parser_limits(&self, session: &Session) -> ParserLimits {
        let authenticated = !acl::must_log_in(session, &self.config);
        ParserLimits { bulk_bytes_max: self.config.proto_max_bulk_len as i64, authenticated }
    }

    /// Runs one request or sends it on its way. `top` is its command without subcommand, `shard` the owner of its only
    /// key where that is known. `started` is the clock when it began; it is moved to its end.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        top: Option<&'static Entry>,
        shard: Option<ShardId>,
        args: Args<'_>,
        started: &mut u64,
    ) -> Step {
        let entry = match self.find(top, args) {
            Ok(entry) => entry,
            Err(_) if top.is_none() && is_browser(args.at(0)) => return self.turn_away(session, key),
            Err(error) => return self.refuse(session, None, &error),
        };
        if !entry.row.spec.accepts(args.len()) {
            return self.refuse(session, Some(entry), &CommandError::Arity(entry.row.spec.name.into()));
        }
        if !self.permits(session, entry) {
            return self.refuse(session, Some(entry), &debug::NOT_PERMITTED);
        }
        if session.flags.intersects(acl::CHECKED.union(SessionFlags::SUBSCRIBED).union(SessionFlags::MONITOR))
            && let Err(error) = self.check_session(session, entry)
        {
            return self.refuse(session, Some(entry), &error);
        }
        let in_multi = session.flags.contains(SessionFlags::MULTI);
        let queues = in_multi && !entry.immediate;
        if queues && entry.row.spec.flags.contains(Flags::NO_MULTI) {
            let error = CommandError::fixed("ERR Command not allowed inside a transaction");
            return self.refuse(session, Some(entry), &error);
        }
        if self.log_errno != 0
            && let Some(error) = self.refused_by_log(entry, self.queue_of(session, entry))
        {
            return self.refuse(session, Some(entry), &error);
        }
        if self.is_tight()
            && let Some(error) = self.refused_for_memory(session, entry, queues)
        {
            return self.refuse(session, Some(entry), &error);
        }
        if self.refuses
            && let Some(error) = self.refused_while_loading(entry)
        {
            return self.refuse(session, Some(entry), &error);
        }
        if self.is_paused() {
            self.follow_pause();
            if self.pause_holds(session, entry) {
                // CLIENT LIST shows what is held back.
                session.last_command = entry.id + 1;
                self.hold_back(session, true);
                self.paused.push(key);
                return Step::Wait;
            }
        }
        if queues {
            let step = self.enqueue(session, entry, args, started);
            advance_skip(session);
            return step;
        }
        // Before it runs: CLIENT LIST shows itself as the command of its own client.
        session.last_command = entry.id + 1;
        let step = match entry.row.handler {
            Handler::Shard(_) => self.dispatch_keyed(session, key, entry, shard, args),
            Handler::Session(_) => self.run_session_command(session, key, entry, args),
            Handler::Channels(channels) => self.run_on_channels(session, key, channels, args),
            Handler::Container => return self.refuse(session, Some(entry), &unknown_subcommand(args)),
        };
        if matches!(step, Step::Wait) {
            return step;
        }
        if session.flags.contains(SessionFlags::TRACKING) {
            end_caching(session, Some(entry));
        }
        self.take_own_notes(Some((session, key)));
        session.commands += 1;
        if session.flags.intersects(SessionFlags::REPLY_SKIP | SessionFlags::REPLY_SKIP_NEXT) {
            advance_skip(session);
        }
        if matches!(step, Step::Away) {
            *started = self.clock.raw();
            if self.attention_nanoseconds == 0 {
                self.observe(session, entry, args, None, in_multi);
            }
        } else {
            let nanoseconds = self.count_run(entry, started);
            if nanoseconds >= self.attention_nanoseconds {
                self.observe(session, entry, args, Some(nanoseconds), in_multi);
            }
        }
        step
    }

    /// Counts a command that began at `started` and has just ended, and moves `started` there. How many nanoseconds it
    /// took.
    #[inline]
    pub(super) fn count_run(&self, entry: &Entry, started: &mut u64) -> u64 {
        let ended = self.clock.raw();
        let nanoseconds = self.clock.delta_as_nanos(*started, ended);
        let metrics = self.metrics();
        metrics.commands.add(1);
        metrics.by_command[usize::from(entry.id)].record(nanoseconds);
        *started = ended;
        nanoseconds
    }

    /// The command or subcommand that a request names.
    #[inline]
    fn find(&self, top: Option<&'static Entry>, args: Args<'_>) -> Result<&'static Entry, CommandError> {
        let entry = top.ok_or_else(|| unknown_command(args))?;
        if entry.row.subcommands.is_empty() || args.len() == 1 {
            return Ok(entry);
        }
        self.table.find_subcommand(entry, args.at(1)).ok_or_else(|| unknown_subcommand(args))
    }

    /// Closes a connection that speaks HTTP: a page in somebody's browser must not be able to give orders here.
    #[cold]
    fn turn_away(&mut self, session: &mut Session, key: SessionKey) -> Step {
        tracing::warn!(
            client = session.identity.address,
            "possible attack: POST or Host: commands come from browsers that are tricked into talking to this server; \
             the connection is closed"
        );
        self.close(session, key);
        Step::Away
    }

    /// Answers a request that is not run with an error.
    #[cold]
    fn refuse(&mut self, session: &mut Session, entry: Option<&Entry>, error: &CommandError) -> Step {
        if let Some(entry) = entry {
            self.metrics().by_command[usize::from(entry.id)].rejected.add(1);
        }
        end_caching(session, entry);
        Self::spoil(session);
        if entry.is_some_and(|entry| entry.row.spec.name == "exec") {
            self.discard(session);
            let text = error.to_string();
            let text = text.strip_prefix("ERR ").unwrap_or(&text);
            let error = CommandError::text(format!("EXECABORT Transaction discarded because of: {text}"));
            self.reply_error(session, &error);
        } else {
            self.reply_error(session, error);
        }
        Step::Away
    }

    /// Puts an error into a session's replies, in its turn.
    pub(super) fn reply_error(&mut self, session: &mut Session, error: &CommandError) {
        let mut out = Output::default();
        Reply::new(&mut out, session.protocol).error(error);
        self.count_error(error);
        if !session.is_silent() {
            session.append_reply(out);
        }
        advance_skip(session);
    }

    fn count_error(&self, error: &CommandError) {
        self.metrics().count_error(error.code());
    }

    /// Whether the state of a session permits a command: who its client is, and what it listens to.
    fn check_session(&self, session: &Session, entry: &Entry) -> Result<(), CommandError> {
        acl::check(session, &entry.row.spec, &self.config)?;
        let on_keys = entry.row.spec.flags.intersects(Flags::READONLY | Flags::WRITE) || pubsub::publishes(entry);
        if on_keys && session.flags.contains(SessionFlags::MONITOR) {
            return Err(CommandError::fixed("ERR Replica can't interact with the keyspace"));
        }
        if session.flags.contains(SessionFlags::SUBSCRIBED) { pubsub::check_allowed(session, entry) } else { Ok(()) }
    }

    /// Whether this client may use a command that not everybody may.
    fn permits(&self, session: &Session, entry: &Entry) -> bool {
        !entry.row.spec.protected || self.config.enable_debug_command.includes(session.is_local())
    }

    /// What EXEC is about to run; `None` for other commands.
    pub(super) fn queue_of<'s>(&self, session: &'s Session, entry: &Entry) -> Option<&'s Queue> {
        let transaction = session.transaction.as_deref().filter(|_| entry.row.spec.name == "exec");
        transaction.map(|transaction| &transaction.queue)
    }

    fn pause_holds(&self, session: &Session, entry: &Entry) -> bool {
        let queue = self.queue_of(session, entry);
        let writes = entry.row.spec.flags.intersects(Flags::WRITE) || queue.is_some_and(Queue::writes);
        writes || pubsub::publishes(entry) || !self.node.last_pause().writes_only
    }

    /// How a command of this session is to be run.
    pub(super) fn call(session: &Session, entry: &Entry) -> Call {
        Call {
            command: entry.id,
            database: session.database,
            protocol: session.protocol,
            no_touch: session.flags.contains(SessionFlags::NO_TOUCH),
            no_reply: session.is_silent(),
            class: class(session),
            part: false,
            transaction: 0,
            tracker: session.tracking.as_ref().map_or(Tracker::NONE, |tracking| tracking.tracker),
            remember: session.tracking.as_ref().is_some_and(|tracking| tracking.remembers()),
            may_block: false,
            logged: Logged::Itself,
        }
    }

    #[inline]
    fn dispatch_keyed(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        shard: Option<ShardId>,
        args: Args<'_>,
    ) -> Step {
        let call = Self::call(session, entry);
        let route = if self.router.shards() == 1 {
            Route::One(self.core)
        } else if let Some(shard) = shard {
            Route::One(shard)
        } else if entry.single_key > 0 {
            Route::One(self.router.shard_of(args.at(usize::from(entry.single_key))))
        } else {
            match self.route(entry, args) {
                _ if self.open_split.is_some() => Route::Several,
                Route::Any => Route::One(self.core),
                route => route,
            }
        };
        if entry.row.spec.flags.contains(Flags::BLOCKING) {
            let here = matches!(route, Route::One(shard) if shard == self.core);
            let done = self.dispatch_blocking(session, key, entry, here, args);
            return if done { Step::Done } else { Step::Wait };
        }
        match route {
            Route::One(shard) if shard != self.core => {
                self.forward(session, key, call, args, shard);
                return Step::Away;
            }
            Route::One(_) if self.is_held_up(self.core, key.0, entry, args) => {
                let number = session.pending.expect();
                self.park(self.core, Ticket { owner: key.0, number }, call, args);
                return Step::Away;
            }
            Route::One(_) if session.pending.is_empty() => {
                let mark = session.output.mark();
                self.run_here(entry, call, args, &mut session.output);
                if call.no_reply {
                    session.output.truncate(mark);
                }
            }
            Route::One(_) => {
                let mut out = Output::default();
                self.run_here(entry, call, args, &mut out);
                if !call.no_reply {
                    session.append_reply(out);
                }
            }
            // Behind everything asked before: a command of this session that waits for locks must not be overtaken.
            Route::Several if splits(entry) && (session.pending.is_empty() || self.open_split.is_some()) => {
                self.split(session, key, entry, call, args);
            }
            Route::All if session.pending.is_empty() => self.start_all_shards(session, key, entry, args),
            Route::Several if session.pending.is_empty() => self.start_gather(session, key, entry, args),
            Route::All | Route::Several | Route::Any => return Step::Wait,
        }
        Step::Done
    }

    /// Which shards a command concerns that has not just one key.
    pub(super) fn route(&self, entry: &Entry, args: Args<'_>) -> Route {
        let spec = &entry.row.spec;
        match spec.request {
            RequestPolicy::AllShards => return Route::All,
            RequestPolicy::Special => return Route::One(self.shard_of_cursor(args)),
            RequestPolicy::Default if spec.keys.is_empty() => return Route::All,
            RequestPolicy::Default | RequestPolicy::MultiShard => {}
        }
        let mut owner = None;
        let mut several = false;
        for keys in spec.keys {
            // Arguments that do not fit the key spec are the handler's to refuse, in its own words.
            let fits = keys.each(args, |index| {
                let shard = self.router.shard_of(args.at(index));
                several |= owner.is_some_and(|owner| owner != shard);
                owner = Some(shard);
            });
            if fits.is_err() {
                return Route::Any;
            }
        }
        if several { Route::Several } else { owner.map_or(Route::Any, Route::One) }
    }

    /// SCAN's cursor carries the shard above its lower 48 bits.
    fn shard_of_cursor(&self, args: Args<'_>) -> ShardId {
        let cursor =
            args.get(1).and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse::<u64>().ok());
        let shard = cursor.unwrap_or(0) >> crate::limits::SCAN_POSITION_BITS;
        ShardId(shard.min(self.router.shards() as u64 - 1) as u16)
    }

    /// Runs a command on this shard, appends its reply to `out`, and tells those who wait for what it did.
    #[inline]
    pub(super) fn run_here(&mut self, entry: &Entry, call: Call, args: Args<'_>, out: &mut Output) {
        self.run_command(entry, call, args, out);
        self.after_effects();
    }

    /// The same, telling nobody: a transaction does at its end.
    #[inline]
    pub(super) fn run_command(&mut self, entry: &Entry, call: Call, args: Args<'_>, out: &mut Output) {
        let Handler::Shard(handler) = entry.row.handler else {
            unreachable!("only commands on keys are routed to shards");
        };
        let mark = out.mark();
        let (db, others) = OtherDatabases::split(&mut self.shard.databases, call.database, self.now);
        db.set_touch(!call.no_touch);
        let mut context = ShardContext {
            db,
            others,
            database_index: call.database,
            reply: Reply::new(out, call.protocol),
            encoding: &self.config.encoding,
            config: &self.config,
            random: &mut self.random,
            dirty: 0,
            effects: &mut self.shard.effects,
            log: &mut self.shard.log,
            shard: self.core,
            shards: self.router.shards() as u16,
            blocking: Blocking { allowed: call.may_block, ready: self.blocking.serving.as_deref(), wait: None },
            class: call.class,
            reply_start: mark.bytes(),
        };
        let outcome = handler(&mut context, args);
        if context.effects.wanted || context.log.wanted {
            context.tell_incidents();
        }
        let dirty = context.dirty;
        if context.blocking.wait.is_some() {
            self.blocking.wait = context.blocking.wait.take();
        }
        let metrics = &self.node.metrics[self.core.index()];
        if dirty > 0 {
            metrics.dirty.add(dirty);
        }
        if context.others.were_used() {
            self.touched.extend(0..self.shard.databases.len() as u16);
        } else if self.touched.last() != Some(&call.database) {
            self.touched.push(call.database);
        }
        if dirty > 0 && self.shard.log.wanted {
            self.log_command(entry, call, args);
        }
        if let Err(error) = outcome {
            self.fail(entry, &error, call.protocol, out, mark);
        }
        self.shard.effects.caller = call.tracker;
        if call.remember {
            self.list_reads(entry, call.database, call.tracker, args);
        }
    }

    /// Replaces what a command has written by its error.
    #[cold]
    pub(super) fn fail(
        &self,
        entry: &Entry,
        error: &CommandError,
        protocol: Protocol,
        out: &mut Output,
        mark: crate::resp::reply::Mark,
    ) {
        out.truncate(mark);
        Reply::new(out, protocol).error(error);
        self.metrics().by_command[usize::from(entry.id)].failed.add(1);
        self.count_error(error);
    }

    fn run_session_command(
        &mut self,
        session: &mut Session,
        key: SessionKey,
        entry: &'static Entry,
        args: Args<'_>,
    ) -> Step {
        // What is asked of every core, or waits, comes after everything asked before.
        const LATER: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::BLOCKING);
        if !session.pending.is_empty() && entry.row.spec.flags.intersects(LATER) {
            return Step::Wait;
        }
        let mut out = Output::default();
        if session.pending.is_empty() {
            // The reply can go straight into the session's output.
            std::mem::swap(&mut out, &mut session.output);
        }
        let direct = session.pending.is_empty();
        let mark = out.mark();
        let flow = self.call_session(session, entry, args, &mut out);
        if session.is_silent() {
            out.truncate(mark);
        }
        if direct {
            session.output = out;
        } else if !out.is_empty() {
            session.append_reply(out);
        }
        match flow {
            Flow::Done => Step::Done,
            Flow::Close => Step::Close,
            Flow::Reset => {
                self.end_subscriptions(session, key);
                self.end_tracking(session, key);
                self.end_monitoring(session, key);
                self.unwatch(session);
                Step::Done
            }
            Flow::Tracking => {
                self.update_tracker(session, key);
                Step::Done
            }
            Flow::EveryCore(_) if !session.pending.is_empty() => Step::Wait,
            Flow::EveryCore(request) => {
                self.start_every_core(session, key, entry, args, request);
                Step::Done
            }
            Flow::Watch => self.watch(session, key, args),
            Flow::Unwatch => {
                self.unwatch(session);
                Step::Done
            }
            Flow::Exec => self.exec(session, key, entry, args),
            Flow::WaitLog(wait) => {
                self.wait_for_log(session, key, wait);
                Step::Done
            }
        }
    }

    /// Calls the handler of a command on the session or the server; its reply or error goes to `out`.
    pub(super) fn call_session(
        &mut self,
        session: &mut Session,
        entry: &Entry,
        args: Args<'_>,
        out: &mut Output,
    ) -> Flow {
        let Handler::Session(handler) = entry.row.handler else {
            unreachable!("commands on keys run on shards");
        };
        let mark = out.mark();
        let mut context = SessionContext {
            reply: Reply::new(out, session.protocol),
            session,
            node: &self.node,
            config: &self.config,
            core: self.core,
            now: self.now,
            random: &mut self.random,
        };
        let outcome = handler(&mut context, args);
        // What CONFIG SET has changed holds for the command behind it, and on cores that sleep.
        if self.refresh_config() {
            self.others().for_each(|core| self.post(core, Message::ConfigChanged));
        }
        outcome.unwrap_or_else(|error| {
            self.fail(entry, &error, session.protocol, out, mark);
            Flow::Done
        })
    }
}

/// Moves CLIENT REPLY SKIP on by one command.
fn advance_skip(session: &mut Session) {
    let next = session.flags.contains(SessionFlags::REPLY_SKIP_NEXT);
    session.flags.set(SessionFlags::REPLY_SKIP, next);
    session.flags.remove(SessionFlags::REPLY_SKIP_NEXT);
}

/// CLIENT CACHING counts for the next command only, other CLIENT commands aside.
fn end_caching(session: &mut Session, entry: Option<&Entry>) {
    let name = entry.map_or("", |entry| entry.row.spec.name);
    // Before a transaction it counts for all its commands.
    let in_transaction = session.flags.contains(SessionFlags::MULTI) && !matches!(name, "exec" | "discard");
    let goes_on = in_transaction || name.starts_with("client");
    if let Some(tracking) = session.tracking.as_deref_mut().filter(|_| !goes_on) {
        tracking.caching = false;
    }
}

/// Whether a command's name is the beginning of a line of HTTP.
fn is_browser(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

#[cold]
fn unknown_command(args: Args<'_>) -> CommandError {
    const SHOWN_BYTES_MAX: usize = 128;
    let mut behind = Vec::new();
    for argument in args.iter_from(1) {
        if behind.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let shown = printed(argument, SHOWN_BYTES_MAX - behind.len());
        behind.extend_from_slice(&[b"'", shown, b"' "].concat());
    }
    let name = printed(args.at(0), SHOWN_BYTES_MAX);
    CommandError::Raw([b"ERR unknown command '", name, b"', with args beginning with: ", &behind].concat())
}

#[cold]
fn unknown_subcommand(args: Args<'_>) -> CommandError {
    let name = printed(args.get(1).unwrap_or_default(), 128);
    let container = String::from_utf8_lossy(args.at(0)).to_uppercase();
    CommandError::quoting("ERR unknown subcommand '", name, &format!("'. Try {container} HELP."))
}

/// Which limit holds for the reply to a session's command.
fn class(session: &Session) -> OutputClass {
    if session.transaction.as_deref().is_some_and(|transaction| transaction.queued > 0) {
        OutputClass::Either
    } else if session.flags.contains(SessionFlags::SUBSCRIBED) {
        OutputClass::Subscriber
    } else {
        OutputClass::Normal
    }
}
