//! CONFIG: the directives of the running server.

use super::node::Control;
use super::server::write_help;
use super::{Flow, Row, SessionContext};
use crate::config::{Change, Config, DIRECTIVES, Directive, find, rewrite};
use crate::limits::descriptors_reserved;
use crate::resp::{Args, CommandError};
use crate::spec::{Flags, Group};
use crate::stdx::glob;
use crate::stdx::os::{Resource, error_text};
use std::io;
use std::sync::atomic::Ordering::Relaxed;

/// The flags of everything that reads or changes directives.
const FLAGS: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE);

/// Where a cluster client sends what changes every node, in Redis's words. They are not this server's own policies.
const EVERY_NODE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// CONFIG.
pub const ROWS: &[Row] = &[Row::container("config", Group::Server, SUBCOMMANDS)
    .summary("Reads and changes directives.")
    .syntax("CONFIG")
    .since("2.0.0")
    .complexity("Depends on subcommand.")];

const SUBCOMMANDS: &[Row] = &[
    Row::session("config|get", -3, Group::Server, get)
        .summary("Returns the directives whose names match the patterns, with their values.")
        .syntax("CONFIG GET parameter [parameter ...]")
        .since("2.0.0")
        .complexity("O(N) where N is the number of patterns")
        .flags(FLAGS),
    Row::session("config|help", 2, Group::Server, help)
        .summary("Tells what the subcommands do.")
        .syntax("CONFIG HELP")
        .since("5.0.0")
        .flags(Flags::LOADING.union(Flags::STALE)),
    Row::session("config|resetstat", 2, Group::Server, reset_statistics)
        .summary("Sets the statistics of INFO back to zero.")
        .syntax("CONFIG RESETSTAT")
        .since("2.0.0")
        .flags(FLAGS)
        .tips(EVERY_NODE),
    Row::session("config|rewrite", 2, Group::Server, rewrite_file)
        .summary("Writes the directives as they are now to the configuration file.")
        .syntax("CONFIG REWRITE")
        .since("2.8.0")
        .flags(FLAGS)
        .tips(EVERY_NODE),
    Row::session("config|set", -4, Group::Server, set)
        .summary("Changes directives, all of them or none.")
        .syntax("CONFIG SET parameter value [parameter value ...]")
        .since("2.0.0")
        .complexity("O(N) where N is the number of directives")
        .flags(FLAGS)
        .tips(EVERY_NODE),
];

fn get(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let config = ctx.node.config();
    // Directives in the order they are asked for, each once, by the name they were found under: as it was written where
    // it was not a pattern.
    let mut found: Vec<(Vec<u8>, &Directive)> = Vec::new();
    let mut add = |name: &[u8], row| {
        if !found.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            found.push((name.to_vec(), row));
        }
    };
    for pattern in args.iter_from(2) {
        if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
            find(pattern).into_iter().for_each(|row| add(pattern, row));
            continue;
        }
        let lower = pattern.to_ascii_lowercase();
        for row in DIRECTIVES {
            for name in [Some(row.name), row.alias].into_iter().flatten() {
                if glob::matches(&lower, name.as_bytes()) {
                    add(name.as_bytes(), row);
                }
            }
        }
    }
    ctx.reply.map(found.len());
    for (name, row) in found {
        ctx.reply.bulk(&name);
        ctx.reply.bulk(row.show(&config).as_bytes());
    }
    Ok(Flow::Done)
}

fn set(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let changes = changes(args, ctx.config.enable_protected_configs.includes(ctx.session.is_local()))?;
    let cores = ctx.node.metrics.len();
    ctx.node.change_config(|config| {
        let clients_before = config.maxclients;
        for change in &changes {
            change.row.read(config, &[change.value]).map_err(|reason| failed(change.name, &reason))?;
        }
        if config.maxclients > clients_before {
            // The last one named is the one in force.
            let name = changes.iter().rev().find(|change| change.row.name == "maxclients").map_or(&b""[..], |c| c.name);
            make_room(config, cores).map_err(|reason| failed(name, &reason))?;
        }
        // The last step that can fail, since it cannot be taken back.
        if let Some(change) = changes.iter().find(|change| change.row.name == "dir") {
            config.dir = enter_directory(&config.dir).map_err(|error| failed(change.name, &error_text(&error)))?;
        }
        // Still under the lock, so that two changes at once leave the level and the directive the same.
        config.loglevel.apply();
        Ok(())
    })?;
    if changes.iter().any(|change| change.row.name == "appendonly") {
        ctx.node.persistence.rewrite_asked.store(true, Relaxed);
        ctx.node.tell(Control::Log);
    }
    ctx.reply.ok();
    Ok(Flow::Done)
}

/// A directive that is to be changed.
struct Pair<'a> {
    row: &'static Directive,
    name: &'a [u8],
    value: &'a [u8],
}

/// What CONFIG SET is to change; `protected` says whether this client may change protected directives. Names are looked
/// at before any value.
fn changes<'a>(args: Args<'a>, protected: bool) -> Result<Vec<Pair<'a>>, CommandError> {
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    for index in (2..args.len()).step_by(2) {
        let (name, value) = (args.at(index), args.at(index + 1));
        let row = find(name).ok_or_else(|| {
            CommandError::quoting("ERR Unknown option or number of arguments for CONFIG SET - '", name, "'")
        })?;
        match row.change {
            Change::Start => return Err(failed(name, "can't set immutable config")),
            Change::Protected if !protected => return Err(failed(name, "can't set protected config")),
            _ if pairs.iter().any(|pair| pair.name.eq_ignore_ascii_case(name)) => {
                return Err(failed(name, "duplicate parameter"));
            }
            Change::Runtime | Change::Protected => pairs.push(Pair { row, name, value }),
        }
    }
    Ok(pairs)
}

fn failed(name: &[u8], reason: &str) -> CommandError {
    const BEFORE: &str = "ERR CONFIG SET failed (possibly related to argument '";
    CommandError::quoting(BEFORE, name, &format!("') - {reason}"))
}

/// Makes `path` the working directory of the process; its absolute path.
fn enter_directory(path: &str) -> io::Result<String> {
    // Directives are text, so a directory that is none could not be named any more.
    let text = std::fs::canonicalize(path)?.into_os_string().into_string();
    let absolute = text.map_err(|_| io::Error::other("its path is not UTF-8"))?;
    std::env::set_current_dir(&absolute)?;
    Ok(absolute)
}

/// Raises the limit on open files for more clients.
fn make_room(config: &Config, cores: usize) -> Result<(), String> {
    let reserved = descriptors_reserved(cores);
    let wanted = config.maxclients as u64 + reserved;
    match Resource::OpenFiles.raise(wanted) {
        Ok(granted) if granted < wanted => Err(format!(
            "The operating system is not able to handle the specified number of clients, try with {}",
            granted.saturating_sub(reserved)
        )),
        _ => Ok(()),
    }
}

fn rewrite_file(ctx: &mut SessionContext<'_>, _: Args<'_>) -> Result<Flow, CommandError> {
    let Some(file) = &ctx.node.config_file else {
        return Err(CommandError::fixed("ERR The server is running without a config file"));
    };
    // Under the lock of the directives: of two rewrites at once the later one must not write the older state.
    ctx.node.with_config(|config| rewrite::rewrite(file, &ctx.node.start_directory, config)).map_err(|reason| {
        tracing::warn!("CONFIG REWRITE failed: {reason}");
        CommandError::text(format!("ERR Rewriting config file: {reason}"))
    })?;
    tracing::warn!("CONFIG REWRITE executed with success.");
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn reset_statistics(ctx: &mut SessionContext<'_>, _: Args<'_>) -> Result<Flow, CommandError> {
    ctx.node.reset_statistics();
    ctx.reply.ok();
    Ok(Flow::Done)
}

fn help(ctx: &mut SessionContext<'_>, _: Args<'_>) -> Result<Flow, CommandError> {
    const LINES: &[&str] = &[
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
    ];
    write_help(&mut ctx.reply, "CONFIG", LINES);
    Ok(Flow::Done)
}
