//! PUBSUB: every core tells of its own subscribers.

use crate::commands::{CoreView, EveryCore, Flow, Row, SessionContext};
use crate::resp::{Args, CommandError};
use crate::spec::{ChannelKind, Flags, Group};
use bytes::Bytes;
use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

const ALWAYS: Flags = Flags::LOADING.union(Flags::STALE);

const LOOKS: Flags = Flags::PUBSUB.union(ALWAYS);

pub(super) const SUBCOMMANDS: &[Row] = &[
    Row::session("pubsub|channels", -2, Group::PubSub, channels)
        .summary("Lists channels with subscribers.")
        .syntax("PUBSUB CHANNELS [pattern]")
        .since("2.8.0")
        .complexity("O(N) where N is the number of channels")
        .flags(LOOKS),
    Row::session("pubsub|help", 2, Group::PubSub, help)
        .summary("Lists the subcommands.")
        .syntax("PUBSUB HELP")
        .since("6.2.0")
        .flags(ALWAYS),
    Row::session("pubsub|numpat", 2, Group::PubSub, numpat)
        .summary("Counts the patterns that have subscribers.")
        .syntax("PUBSUB NUMPAT")
        .since("2.8.0")
        .complexity("O(N) where N is the number of patterns")
        .flags(LOOKS),
    Row::session("pubsub|numsub", -2, Group::PubSub, numsub)
        .summary("Counts the subscribers of channels, without those of patterns.")
        .syntax("PUBSUB NUMSUB [channel [channel ...]]")
        .since("2.8.0")
        .complexity("O(N) where N is the number of channels asked for")
        .flags(LOOKS),
    Row::session("pubsub|shardchannels", -2, Group::PubSub, shardchannels)
        .summary("Lists shard channels with subscribers.")
        .syntax("PUBSUB SHARDCHANNELS [pattern]")
        .since("7.0.0")
        .complexity("O(N) where N is the number of shard channels")
        .flags(LOOKS),
    Row::session("pubsub|shardnumsub", -2, Group::PubSub, shardnumsub)
        .summary("Counts the subscribers of shard channels.")
        .syntax("PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]")
        .since("7.0.0")
        .complexity("O(N) where N is the number of shard channels asked for")
        .flags(LOOKS),
];

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Lists the channels that have subscribers, or those of them that match <pattern>.",
    "NUMPAT",
    "    Counts the patterns that have subscribers.",
    "NUMSUB [<channel> ...]",
    "    Counts the subscribers of each channel, without those of patterns.",
    "SHARDCHANNELS [<pattern>]",
    "    Lists the shard channels that have subscribers, or those of them that match <pattern>.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Counts the subscribers of each shard channel.",
];

fn channels(_ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    list(ChannelKind::Channel, args)
}

fn shardchannels(_ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    list(ChannelKind::Shard, args)
}

fn list(kind: ChannelKind, args: Args<'_>) -> Result<Flow, CommandError> {
    if args.len() > 3 {
        const BEFORE: &str = "ERR unknown subcommand or wrong number of arguments for '";
        return Err(CommandError::quoting(BEFORE, args.at(1), "'. Try PUBSUB HELP."));
    }
    let pattern = args.get(2).map(<[u8]>::to_vec);
    Ok(Flow::EveryCore(Arc::new(Names { kind, pattern, only_count: false })))
}

fn numpat(_ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    Ok(Flow::EveryCore(Arc::new(Names { kind: ChannelKind::Pattern, pattern: None, only_count: true })))
}

fn numsub(_ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    Ok(count(ChannelKind::Channel, args))
}

fn shardnumsub(_ctx: &mut SessionContext<'_>, args: Args<'_>) -> Result<Flow, CommandError> {
    Ok(count(ChannelKind::Shard, args))
}

fn count(kind: ChannelKind, args: Args<'_>) -> Flow {
    let names = args.iter_from(2).map(<[u8]>::to_vec).collect();
    Flow::EveryCore(Arc::new(Subscribers { kind, names }))
}

fn help(ctx: &mut SessionContext<'_>, _args: Args<'_>) -> Result<Flow, CommandError> {
    crate::commands::server::write_help(&mut ctx.reply, "PUBSUB", HELP);
    Ok(Flow::Done)
}

/// The names that have subscribers on any core.
struct Names {
    kind: ChannelKind,
    pattern: Option<Vec<u8>>,
    only_count: bool,
}

impl EveryCore for Names {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        Box::new(core.pubsub.names(self.kind, self.pattern.as_deref()))
    }

    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let parts = parts.into_iter().map(|part| *part.downcast::<Vec<Bytes>>().expect("the parts are made in `run`"));
        let names: BTreeSet<Bytes> = parts.flatten().collect();
        if self.only_count {
            return context.reply.count(names.len());
        }
        context.reply.array(names.len());
        names.iter().for_each(|name| context.reply.bulk(name));
    }
}

/// How many subscribers names have on all cores.
struct Subscribers {
    kind: ChannelKind,
    names: Vec<Vec<u8>>,
}

impl EveryCore for Subscribers {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        let count = |name: &Vec<u8>| core.pubsub.subscribers(self.kind, name);
        Box::new(self.names.iter().map(count).collect::<Vec<usize>>())
    }

    fn finish(&self, parts: Vec<Box<dyn Any + Send>>, context: &mut SessionContext<'_>) {
        let mut totals = vec![0; self.names.len()];
        for part in parts {
            let counts = part.downcast::<Vec<usize>>().expect("the parts are made in `run`");
            totals.iter_mut().zip(*counts).for_each(|(total, count)| *total += count);
        }
        context.reply.array(2 * totals.len());
        for (name, total) in self.names.iter().zip(totals) {
            context.reply.bulk(name);
            context.reply.count(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::Console;
    use crate::session::SessionKey;
    use crate::spec::ChannelKind;

    fn subscribe(console: &mut Console, kind: ChannelKind, name: &str, key: u32) {
        console.pubsub.subscribe(kind, name.as_bytes(), SessionKey(key));
    }

    #[test]
    fn tells_who_subscribes_to_what() {
        let mut console = Console::new();
        for (kind, name, key) in [
            (ChannelKind::Channel, "news", 1),
            (ChannelKind::Channel, "news", 2),
            (ChannelKind::Channel, "art", 2),
            (ChannelKind::Pattern, "n*", 1),
            (ChannelKind::Pattern, "n*", 2),
            (ChannelKind::Shard, "part", 1),
        ] {
            subscribe(&mut console, kind, name, key);
        }
        assert_eq!(console.run("PUBSUB CHANNELS"), "*2\r\n$3\r\nart\r\n$4\r\nnews\r\n");
        assert_eq!(console.run("PUBSUB CHANNELS n*"), "*1\r\n$4\r\nnews\r\n");
        assert_eq!(console.run("PUBSUB SHARDCHANNELS"), "*1\r\n$4\r\npart\r\n");
        assert_eq!(console.run("PUBSUB NUMPAT"), ":1\r\n");
        let counts = "*6\r\n$4\r\nnews\r\n:2\r\n$4\r\npart\r\n:0\r\n$4\r\nnews\r\n:2\r\n";
        assert_eq!(console.run("PUBSUB NUMSUB news part news"), counts);
        assert_eq!(console.run("PUBSUB NUMSUB"), "*0\r\n");
        assert_eq!(console.run("PUBSUB SHARDNUMSUB part"), "*2\r\n$4\r\npart\r\n:1\r\n");
        let wrong = "-ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP.\r\n";
        assert_eq!(console.run("PUBSUB channels a b"), wrong);
        assert!(console.run("PUBSUB HELP").starts_with("*13\r\n"));
    }
}
