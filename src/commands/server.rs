//! Commands on the server as a whole that stand alone: TIME, LOLWUT, SHUTDOWN; and how help is written.

use super::context::LogWait;
use super::node::{CRIMSON_VERSION, REDIS_VERSION};
use super::{Flow, Row, SessionContext};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError, Reply};
use crate::spec::{Flags, Group};
use crate::stdx::random::Random;
use std::fmt::Write;

/// The rows.
pub const ROWS: &[Row] = &[
    Row::session("lolwut", -1, Group::Server, lolwut)
        .summary("Draws a picture and tells the version.")
        .syntax("LOLWUT [VERSION version]")
        .since("5.0.0")
        .flags(Flags::READONLY.union(Flags::FAST)),
    Row::session("shutdown", -1, Group::Server, shutdown)
        .summary("Ends the server.")
        .syntax("SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]")
        .complexity("O(N) where N is the number of keys when data is saved first, O(1) otherwise")
        .flags(
            Flags::ADMIN
                .union(Flags::NOSCRIPT)
                .union(Flags::LOADING)
                .union(Flags::STALE)
                .union(Flags::NO_MULTI)
                .union(Flags::ALLOW_BUSY),
        ),
    Row::session("time", 1, Group::Server, time)
        .summary("Returns the server's time.")
        .syntax("TIME")
        .since("2.6.0")
        .flags(Flags::LOADING.union(Flags::STALE).union(Flags::FAST))
        .tips(&["nondeterministic_output"]),
];

/// Writes the help of a command with subcommands: a head line, `lines`, and the lines about HELP itself.
pub fn write_help(reply: &mut Reply<'_>, command: &str, lines: &[&str]) {
    reply.array(lines.len() + 3);
    reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines.iter().chain(&["HELP", "    Prints this help."]) {
        reply.simple(line);
    }
}

fn time(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    let time = (ctx.node.wall_clock)();
    ctx.reply.array(2);
    ctx.reply.bulk(time.as_secs().to_string().as_bytes());
    ctx.reply.bulk(time.subsec_micros().to_string().as_bytes());
    Ok(Flow::Done)
}

/// The picture of a version that has none is empty, as in Redis; the version line always stands at the end.
fn lolwut(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let version = match args.get(1) {
        Some(option) if is_token(option, "VERSION") && args.len() > 2 => args.integer(2)?,
        _ => 1,
    };
    // Redis's pictures have as many measures. Here there is one picture, but what is no number is refused.
    let measures = match version {
        5 => 3,
        6 => 2,
        _ => 0,
    };
    for index in 3..args.len().min(3 + measures) {
        args.integer(index)?;
    }
    let mut text = if version == 1 { landscape(ctx.random) } else { String::new() };
    writeln!(text, "Redis ver. {REDIS_VERSION} (Crimson ver. {CRIMSON_VERSION})").expect("a String takes all");
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// A sun behind hills, each time other hills: two ridges that wander up and down, column by column.
fn landscape(random: &mut Random) -> String {
    const WIDTH: usize = 64;
    const HEIGHT: usize = 12;
    let mut ridge = |low: usize, high: usize| -> Vec<usize> {
        let mut height = (low + high) / 2;
        let mut step = || {
            height = (height + random.below(3)).saturating_sub(1).clamp(low, high);
            height
        };
        (0..WIDTH).map(|_| step()).collect()
    };
    let (far, near) = (ridge(3, 8), ridge(1, 5));
    let (sun_x, sun_y) = (8 + random.below(WIDTH - 16), 7 + random.below(3));
    let glyph = |x: usize, y: usize| {
        // A character is about twice as high as it is wide.
        let distance = x.abs_diff(sun_x).pow(2) + (2 * y.abs_diff(sun_y)).pow(2);
        match () {
            () if y < near[x] => '#',
            () if y < far[x] => ':',
            () if distance <= 16 => 'O',
            () if distance <= 40 => '.',
            () => ' ',
        }
    };
    let mut text = String::with_capacity((WIDTH + 1) * HEIGHT);
    for y in (0..HEIGHT).rev() {
        let line: String = (0..WIDTH).map(|x| glyph(x, y)).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The server ends when the append-only log is on disk. Where that fails it goes on, unless NOSAVE or FORCE says to end
/// nevertheless. There is no snapshot to save, so SAVE is refused without FORCE; and no replica to wait for, so that NOW
/// changes nothing and a shutdown is never under way for ABORT to stop.
fn shutdown(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let (mut save, mut nosave, mut now, mut force, mut abort) = (false, false, false, false, false);
    for option in args.iter_from(1) {
        let known = [
            ("SAVE", &mut save),
            ("NOSAVE", &mut nosave),
            ("NOW", &mut now),
            ("FORCE", &mut force),
            ("ABORT", &mut abort),
        ];
        let hit = known.into_iter().find(|(token, _)| is_token(option, token));
        *hit.ok_or(CommandError::Syntax)?.1 = true;
    }
    if abort && (save || nosave || now || force) || save && nosave {
        return Err(CommandError::Syntax);
    }
    if abort {
        return Err(CommandError::fixed("ERR No shutdown in progress."));
    }
    if save && !force {
        return Err(CommandError::fixed(
            "ERR Errors trying to SHUTDOWN: this server keeps its data in memory only and cannot save it. Use SHUTDOWN \
             NOSAVE, or FORCE to end nevertheless.",
        ));
    }
    if ctx.config.appendonly && !nosave && !force {
        return Ok(Flow::WaitLog(LogWait { local: true, ends: true, ..LogWait::default() }));
    }
    ctx.node.request_shutdown();
    Ok(Flow::Close)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::config::Config;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    #[test]
    fn time_has_microseconds() {
        let mut console = Console::new();
        console.node.wall_clock = Box::new(|| Duration::from_micros(1_700_000_000_000_042));
        assert_eq!(console.run("TIME"), "*2\r\n$10\r\n1700000000\r\n$2\r\n42\r\n");
    }

    #[test]
    fn lolwut_ends_with_the_version() {
        let mut console = Console::new();
        let last = format!("Redis ver. 7.2.4 (Crimson ver. {})\n\r\n", env!("CARGO_PKG_VERSION"));
        let picture = console.run("LOLWUT");
        assert!(picture.ends_with(&last) && picture.contains("###"), "{picture}");
        assert_eq!(console.run("LOLWUT VERSION 99").lines().count(), 3);
        assert_eq!(console.run("LOLWUT foo"), picture);
        for wrong in ["LOLWUT VERSION x", "LOLWUT VERSION 5 a", "LOLWUT VERSION 5 1 2 a", "LOLWUT VERSION 6 1 a"] {
            assert_eq!(console.run(wrong), "-ERR value is not an integer or out of range\r\n", "{wrong}");
        }
        for right in ["LOLWUT VERSION 5 1 2 3 a", "LOLWUT VERSION 6 1 2 a", "LOLWUT VERSION 7 a"] {
            assert_eq!(console.run(right).lines().count(), 3, "{right}");
        }
    }

    #[test]
    fn shutdown_checks_its_options() {
        let mut console = Console::new();
        for line in ["SHUTDOWN foo", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "SHUTDOWN NOSAVE ABORT"] {
            assert_eq!(console.run(line), "-ERR syntax error\r\n", "{line}");
        }
        assert_eq!(console.run("SHUTDOWN ABORT"), "-ERR No shutdown in progress.\r\n");
        assert!(console.run("SHUTDOWN SAVE").starts_with("-ERR Errors trying to SHUTDOWN"));
        assert!(!console.node.shutdown.load(Relaxed) && !console.closed);
        assert_eq!(console.run("SHUTDOWN save force now"), "");
        assert!(console.node.shutdown.load(Relaxed) && console.closed);
    }

    #[test]
    fn shutdown_waits_for_the_log() {
        for (line, waits) in
            [("SHUTDOWN", true), ("SHUTDOWN NOW", true), ("SHUTDOWN NOSAVE", false), ("SHUTDOWN FORCE", false)]
        {
            let mut console = Console::new();
            let set = |config: &mut Config| -> Result<(), ()> {
                config.appendonly = true;
                Ok(())
            };
            console.node.change_config(set).unwrap();
            assert_eq!(console.run(line), "");
            assert_eq!(console.log_wait.is_some_and(|wait| wait.ends && wait.local), waits, "{line}");
            assert_eq!(console.node.shutdown.load(Relaxed), !waits, "{line}");
        }
    }
}
