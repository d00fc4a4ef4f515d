//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.

use crate::commands::{Flow, SessionContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::session::tracking::{Mode, Target, Tracking};
use crate::session::{Session, SessionFlags};
use crate::shard::ShardId;
use crate::shard::tracking::Tracker;
use crate::stdx::prefix::prefixes_of;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

const NO_TARGET: CommandError = CommandError::fixed("ERR The client ID you want redirect to does not exist");

/// The options of CLIENT TRACKING.
#[derive(Clone, Debug, Default)]
struct Options {
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<Box<[u8]>>,
    redirect: Option<Target>,
}

pub(super) fn tracking(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let options = Options::parse(ctx, args)?;
    match args.at(2) {
        word if is_token(word, "ON") => {
            options.check(ctx.session)?;
            switch_on(ctx.session, ctx.core, options);
        }
        word if is_token(word, "OFF") => ctx.session.end_tracking(),
        _ => return Err(CommandError::Syntax),
    }
    ctx.reply.ok();
    Ok(Flow::Tracking)
}

impl Options {
    fn parse(ctx: &SessionContext<'_>, args: Args<'_>) -> Result<Self, CommandError> {
        const TWICE: CommandError = CommandError::fixed("ERR A client can only redirect to a single other client");
        let (mut options, mut cursor) = (Self::default(), args.cursor(3));
        while let Some(option) = cursor.next() {
            let more = cursor.remaining() > 0;
            if is_token(option, "REDIRECT") && more {
                if options.redirect.is_some() {
                    return Err(TWICE);
                }
                let id = u64::try_from(cursor.integer()?).unwrap_or(0);
                let (core, key) = ctx.node.directory.find(id).ok_or(NO_TARGET)?;
                options.redirect = Some(Target { id, core, key });
            } else if is_token(option, "BCAST") {
                options.broadcast = true;
            } else if is_token(option, "OPTIN") {
                options.opt_in = true;
            } else if is_token(option, "OPTOUT") {
                options.opt_out = true;
            } else if is_token(option, "NOLOOP") {
                options.no_loop = true;
            } else if is_token(option, "PREFIX") && more {
                options.prefixes.push(cursor.value()?.into());
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
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
        let mut given: BTreeMap<&[u8], usize> = BTreeMap::new();
        for prefix in &self.prefixes {
            *given.entry(prefix).or_default() += 1;
        }
        let none = BTreeSet::new();
        let known = tracking.map_or(&none, |tracking| &tracking.prefixes);
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let last = |end: Bound<&[u8]>| known.range::<[u8], _>((Unbounded, end)).next_back().map(|found| &found[..]);
            let next = known.range::<[u8], _>((Included(&prefix[..]), Unbounded)).next();
            let longer = next.filter(|next| next.starts_with(prefix)).map(|next| &next[..]);
            if let Some(known) = prefixes_of(prefix, last).pop().or(longer) {
                return Err(overlap(prefix, "an existing", known));
            }
            let last =
                |end: Bound<&[u8]>| given.range::<[u8], _>((Unbounded, end)).next_back().map(|(found, _)| *found);
            let next = given.range::<[u8], _>((Excluded(&prefix[..]), Unbounded)).next();
            let overlaps = given[&prefix[..]] > 1
                || prefixes_of(prefix, last).len() > 1
                || next.is_some_and(|(next, _)| next.starts_with(prefix));
            if overlaps {
                // It overlaps with none before it, or that would have been found.
                let behind = &self.prefixes[index + 1..];
                let other = behind.iter().find(|other| other.starts_with(prefix) || prefix.starts_with(other));
                return Err(overlap(prefix, "another provided", other.expect("there is one")));
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

/// The error of two prefixes of which one begins the other.
fn overlap(a: &[u8], between: &str, b: &[u8]) -> CommandError {
    const AFTER: &[u8] = b"'. Prefixes for a single client must not overlap.";
    CommandError::Raw([b"ERR Prefix '", a, b"' overlaps with ", between.as_bytes(), b" prefix '", b, AFTER].concat())
}

fn switch_on(session: &mut Session, core: ShardId, options: Options) {
    let tracker = Tracker::new(core, session.id);
    let new = options.new_prefixes(session);
    session.prefix_changes.extend(new.iter().map(|prefix| (prefix.clone(), true)));
    let tracking = session.tracking.get_or_insert_with(|| Box::new(Tracking::new(tracker)));
    tracking.mode = options.mode();
    tracking.no_loop = options.no_loop;
    (tracking.redirect, tracking.broken) = (options.redirect, false);
    tracking.prefix_bytes += new.iter().map(|prefix| prefix.len()).sum::<usize>();
    tracking.prefixes.extend(new);
    session.flags.insert(SessionFlags::TRACKING);
    session.flags.remove(SessionFlags::TRACKING_BROKEN);
    session.flags.set(SessionFlags::TRACKING_PREFIXES, options.broadcast);
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
