//! COMMAND GETKEYS and GETKEYSANDFLAGS: the keys in a command's arguments, found by its key specs.

use super::info::words;
use crate::commands::table::Entry;
use crate::commands::{Flow, SessionContext, table};
use crate::resp::args::is_token;
use crate::resp::{Args, CommandError};
use crate::spec::{Flags, KeyFlags};

type Keys<'a> = Vec<(&'a [u8], KeyFlags)>;

pub(super) fn getkeys(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let keys = find(args.skip(2))?;
    ctx.reply.array(keys.len());
    for (key, _) in keys {
        ctx.reply.bulk(key);
    }
    Ok(Flow::Done)
}

pub(super) fn getkeysandflags(ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    let keys = find(args.skip(2))?;
    ctx.reply.array(keys.len());
    for (key, flags) in keys {
        ctx.reply.array(2);
        ctx.reply.bulk(key);
        words(&mut ctx.reply, flags.words());
    }
    Ok(Flow::Done)
}

/// The keys of the command in `args` and what it does with them.
fn find(args: Args<'_>) -> Result<Keys<'_>, CommandError> {
    let command = table().find(args.at(0)).ok_or(CommandError::fixed("ERR Invalid command specified"))?;
    let entry = match args.get(1) {
        Some(name) if !command.row.subcommands.is_empty() => {
            let found = table().find_subcommand(command, name);
            found.ok_or(CommandError::fixed("ERR Invalid command specified"))?
        }
        _ => command,
    };
    let spec = &entry.row.spec;
    if spec.keys.iter().all(|key_spec| key_spec.flags.contains(KeyFlags::NOT_KEY)) {
        return Err(CommandError::fixed("ERR The command has no key arguments"));
    }
    if !spec.accepts(args.len()) {
        return Err(CommandError::fixed("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Keys::new();
    for key_spec in spec.keys {
        key_spec.each(args, |index| keys.push((args.at(index), key_spec.flags)))?;
    }
    refine(entry, args, &mut keys);
    if keys.is_empty() && !spec.flags.contains(Flags::NO_MANDATORY_KEYS) {
        return Err(CommandError::fixed("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

/// What only the arguments of some commands tell: SET reads the key only with GET, SORT has a second key with STORE.
fn refine<'a>(entry: &Entry, args: Args<'a>, keys: &mut Keys<'a>) {
    match entry.row.spec.name {
        "set" => {
            let reads = args.iter_from(3).any(|option| is_token(option, "GET"));
            let flags = if reads { KeyFlags::RW | KeyFlags::ACCESS } else { KeyFlags::OW } | KeyFlags::UPDATE;
            keys.iter_mut().for_each(|key| key.1 = flags);
        }
        "sort" => keys.extend(sort_destination(args).map(|key| (key, KeyFlags::OW | KeyFlags::UPDATE))),
        _ => {}
    }
}

/// The key behind SORT's last STORE, if there is one.
fn sort_destination(args: Args<'_>) -> Option<&[u8]> {
    let (mut options, mut destination) = (args.cursor(2), None);
    while let Some(option) = options.next() {
        let values = match option {
            _ if is_token(option, "LIMIT") => 2,
            _ if is_token(option, "GET") || is_token(option, "BY") => 1,
            _ if is_token(option, "STORE") => {
                destination = options.next().or(destination);
                0
            }
            _ => 0,
        };
        options.by_ref().take(values).for_each(drop);
    }
    destination
}

#[cfg(test)]
mod tests {
    use super::sort_destination;
    use crate::commands::testing::{Console, spans};
    use crate::resp::Args;

    #[test]
    fn keys_are_found() {
        let mut console = Console::new();
        assert_eq!(console.run("COMMAND GETKEYS GET a"), "*1\r\n$1\r\na\r\n");
        let set = "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n";
        assert_eq!(console.run("COMMAND GETKEYSANDFLAGS SET a b"), set);
        for (line, error) in [
            ("COMMAND GETKEYS nosuch a", "ERR Invalid command specified"),
            ("COMMAND GETKEYS CLIENT nosuch", "ERR Invalid command specified"),
            ("COMMAND GETKEYS PING a", "ERR The command has no key arguments"),
            ("COMMAND GETKEYS SPUBLISH a b", "ERR The command has no key arguments"),
            ("COMMAND GETKEYS CLIENT KILL x", "ERR The command has no key arguments"),
            ("COMMAND GETKEYS GET a b", "ERR Invalid number of arguments specified for command"),
            ("COMMAND GETKEYS GET", "ERR Invalid number of arguments specified for command"),
            ("COMMAND GETKEYS", "ERR wrong number of arguments for 'command|getkeys' command"),
        ] {
            assert_eq!(console.run(line), format!("-{error}\r\n"), "{line}");
        }
    }

    #[test]
    fn sort_stores_at_the_last_destination() {
        for (line, expected) in [
            ("sort a", None),
            ("sort a STORE b", Some("b")),
            ("sort a BY STORE GET STORE LIMIT 0 STORE DESC", None),
            ("sort a STORE b ALPHA store c", Some("c")),
            ("sort a STORE", None),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let (buffer, spans) = (words.concat(), spans(&words));
            assert_eq!(sort_destination(Args::new(&buffer, &spans)), expected.map(str::as_bytes), "{line}");
        }
    }
}
