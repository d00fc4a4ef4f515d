//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO. What needs other cores is asked of all: whether the client exists
//! that is to get the invalidations, and that they tell of changes to keys with a prefix from now on.

use crate::commands::{CoreView, EveryCore, Flow, SessionContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::session::tracking::{Mode, Target, Tracking};
use crate::session::{Session, SessionFlags, SessionKey};
use crate::shard::ShardId;
use crate::shard::tracking::Tracker;
use std::any::Any;
use std::sync::Arc;

const NO_TARGET: CommandError = CommandError::fixed("ERR The client ID you want redirect to does not exist");

/// The options of CLIENT TRACKING.
#[derive(Clone, Debug, Default)]
struct Options {
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<Box<[u8]>>,
}

/// What CLIENT TRACKING asks of all cores.
struct Request {
    /// The client that is to get the invalidations.
    redirect: Option<u64>,
    /// What is done where that client exists.
    change: Result<Option<Options>, CommandError>,
    /// The prefixes that are new for the session.
    prefixes: Vec<Box<[u8]>>,
    /// The session's core.
    core: ShardId,
}

pub(super) fn tracking(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let (mut options, mut redirect) = (Options::default(), None);
    let parsed = options.parse(args, &mut redirect);
    let change = parsed.and_then(|()| match args.at(2) {
        word if is_token(word, "ON") => options.check(ctx.session).map(|()| Some(options)),
        word if is_token(word, "OFF") => Ok(None),
        _ => Err(CommandError::Syntax),
    });
    if redirect.is_none() {
        match change.as_ref().map_err(CommandError::clone)? {
            Some(options) if options.broadcast => {}
            Some(options) => switch_on(ctx.session, ctx.core, options, None),
            None => ctx.session.end_tracking(),
        }
    }
    let broadcast = change.as_ref().is_ok_and(|change| change.as_ref().is_some_and(|options| options.broadcast));
    if redirect.is_none() && !broadcast {
        ctx.reply.ok();
        return Ok(Flow::Tracking);
    }
    let prefixes = match &change {
        Ok(Some(options)) => options.new_prefixes(ctx.session),
        _ => Vec::new(),
    };
    Ok(Flow::EveryCore(Arc::new(Request { redirect, change, prefixes, core: ctx.core })))
}

impl Options {
    /// Reads the options; an error that stands behind REDIRECT counts only if that client exists.
    fn parse(&mut self, args: Args<'_>, redirect: &mut Option<u64>) -> Result<(), CommandError> {
        const TWICE: CommandError = CommandError::fixed("ERR A client can only redirect to a single other client");
        let mut cursor = args.cursor(3);
        while let Some(option) = cursor.next() {
            let more = cursor.remaining() > 0;
            if is_token(option, "REDIRECT") && more {
                if redirect.is_some() {
                    return Err(TWICE);
                }
                let id = cursor.integer()?;
                // No client has such an id.
                *redirect = Some(u64::try_from(id).ok().filter(|&id| id > 0).ok_or(NO_TARGET)?);
            } else if is_token(option, "BCAST") {
                self.broadcast = true;
            } else if is_token(option, "OPTIN") {
                self.opt_in = true;
            } else if is_token(option, "OPTOUT") {
                self.opt_out = true;
            } else if is_token(option, "NOLOOP") {
                self.no_loop = true;
            } else if is_token(option, "PREFIX") && more {
                self.prefixes.push(cursor.value()?.into());
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(())
    }

    /// Whether the options fit each other and what the session does already.
    fn check(&self, session: &Session) -> Result<(), CommandError> {
        let tracking = session.tracking.as_deref();
        let fail = |text| Err(CommandError::fixed(text));
        if !self.broadcast && !self.prefixes.is_empty() {
            return fail("ERR PREFIX option requires BCAST mode to be enabled");
        }
        if tracking.is_some_and(|tracking| (tracking.mode == Mode::Broadcast) != self.broadcast) {
            return fail(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling \
                 it with a different mode.",
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return fail("ERR OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.opt_in && self.opt_out {
            return fail("ERR You can't specify both OPTIN mode and OPTOUT mode");
        }
        let mode = tracking.map(|tracking| tracking.mode);
        if self.opt_in && mode == Some(Mode::OptOut) || self.opt_out && mode == Some(Mode::OptIn) {
            return fail(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling \
                 it with a different mode.",
            );
        }
        self.check_prefixes(tracking)
    }

    /// A key must not be told of twice. Differs: Redis says so and yet begins, if it is not the first prefix that overlaps
    /// with another one given.
    fn check_prefixes(&self, tracking: Option<&Tracking>) -> Result<(), CommandError> {
        const AFTER: &str = "'. Prefixes for a single client must not overlap.";
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        let error = |a: &[u8], between: &str, b: &[u8]| {
            let text = [b"ERR Prefix '", a, b"' overlaps with ", between.as_bytes(), b" prefix '", b, AFTER.as_bytes()];
            Err(CommandError::Raw(text.concat()))
        };
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let known = tracking.into_iter().flat_map(|tracking| &tracking.prefixes);
            if let Some(known) = known.into_iter().find(|known| overlap(known, prefix)) {
                return error(prefix, "an existing", known);
            }
            if let Some(other) = self.prefixes[index + 1..].iter().find(|other| overlap(prefix, other)) {
                return error(prefix, "another provided", other);
            }
        }
        Ok(())
    }

    /// The prefixes that the session does not track yet; without any given, it tracks all keys.
    fn new_prefixes(&self, session: &Session) -> Vec<Box<[u8]>> {
        if !self.broadcast {
            return Vec::new();
        }
        let given = if self.prefixes.is_empty() { vec![Box::default()] } else { self.prefixes.clone() };
        let known = |prefix: &[u8]| session.tracking.as_ref().is_some_and(|it| it.prefixes.contains(prefix));
        given.into_iter().filter(|prefix| !known(prefix)).collect()
    }

    fn mode(&self) -> Mode {
        match (self.broadcast, self.opt_in, self.opt_out) {
            (true, ..) => Mode::Broadcast,
            (_, true, _) => Mode::OptIn,
            (_, _, true) => Mode::OptOut,
            _ => Mode::Reads,
        }
    }
}

fn switch_on(session: &mut Session, core: ShardId, options: &Options, redirect: Option<Target>) {
    let tracker = Tracker::new(core, session.id);
    let new = options.new_prefixes(session);
    let tracking = session.tracking.get_or_insert_with(|| Box::new(Tracking::new(tracker)));
    tracking.mode = options.mode();
    tracking.no_loop = options.no_loop;
    (tracking.redirect, tracking.broken) = (redirect, false);
    tracking.prefix_bytes += new.iter().map(|prefix| prefix.len()).sum::<usize>();
    tracking.prefixes.extend(new);
    session.flags.insert(SessionFlags::TRACKING);
    session.flags.remove(SessionFlags::TRACKING_BROKEN);
    session.flags.set(SessionFlags::TRACKING_PREFIXES, options.broadcast);
}

impl EveryCore for Request {
    /// Notes the prefixes, and whether the client that is to get the invalidations is here.
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        for prefix in &self.prefixes {
            core.shard.tracking.want_prefix(self.core, prefix);
        }
        let wanted = self.redirect;
        let alive = |session: &Session| !session.flags.intersects(SessionFlags::GONE | SessionFlags::DEPARTED);
        let mut sessions = core.sessions.iter_mut();
        let found = sessions.find(|(_, session)| Some(session.id) == wanted && alive(session)).map(|(key, _)| key);
        Box::new(found)
    }

    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let parts = parts.into_iter().map(|part| *part.downcast::<Option<SessionKey>>().expect("made in `run`"));
        let mut hits = parts.enumerate().filter_map(|(core, key)| Some((ShardId(core as u16), key?)));
        let target = self.redirect.and_then(|id| hits.next().map(|(core, key)| Target { id, core, key }));
        let missing = self.redirect.is_some() && target.is_none();
        let change = if missing { &Err(NO_TARGET) } else { &self.change };
        match change {
            Ok(Some(options)) => switch_on(context.session, self.core, options, target),
            Ok(None) => context.session.end_tracking(),
            Err(error) => {
                context.session.dropped_prefixes.extend_from_slice(&self.prefixes);
                return context.refuse(error);
            }
        }
        context.reply.ok();
    }
}

pub(super) fn caching(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let fail = |text| Err(CommandError::fixed(text));
    let Some(tracking) = ctx.session.tracking.as_deref_mut() else {
        return fail(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
    };
    match args.at(2) {
        word if is_token(word, "YES") => {
            if tracking.mode != Mode::OptIn {
                return fail("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
            }
        }
        word if is_token(word, "NO") => {
            if tracking.mode != Mode::OptOut {
                return fail("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    tracking.caching = true;
    ctx.reply.ok();
    Ok(Flow::Done)
}

pub(super) fn getredir(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    ctx.reply.integer(redirection(ctx.session));
    Ok(Flow::Done)
}

/// The id of the client that gets a session's invalidations; 0: itself, -1: it tracks nothing.
pub(super) fn redirection(session: &Session) -> i64 {
    let Some(tracking) = &session.tracking else { return -1 };
    tracking.redirect.map_or(0, |target| target.id as i64)
}

pub(super) fn trackinginfo(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let words = words(ctx.session.tracking.as_deref());
    ctx.reply.map(3);
    ctx.reply.bulk(b"flags");
    ctx.reply.set(words.len());
    words.iter().for_each(|word| ctx.reply.bulk(word.as_bytes()));
    ctx.reply.bulk(b"redirect");
    ctx.reply.integer(redirection(ctx.session));
    ctx.reply.bulk(b"prefixes");
    let prefixes = ctx.session.tracking.iter().flat_map(|tracking| &tracking.prefixes);
    ctx.reply.array(prefixes.clone().count());
    prefixes.for_each(|prefix| ctx.reply.bulk(prefix));
    Ok(Flow::Done)
}

fn words(tracking: Option<&Tracking>) -> Vec<&'static str> {
    let Some(tracking) = tracking else { return vec!["off"] };
    let mut words = vec!["on"];
    match (tracking.mode, tracking.caching) {
        (Mode::Reads, _) => {}
        (Mode::Broadcast, _) => words.push("bcast"),
        (Mode::OptIn, false) => words.push("optin"),
        (Mode::OptIn, true) => words.extend(["optin", "caching-yes"]),
        (Mode::OptOut, false) => words.push("optout"),
        (Mode::OptOut, true) => words.extend(["optout", "caching-no"]),
    }
    words.extend(tracking.no_loop.then_some("noloop"));
    words.extend(tracking.broken.then_some("broken_redirect"));
    words
}
