//! Publish/subscribe: the rows of the commands on channels, which the engine runs, and PUBSUB, which tells who subscribes
//! to what.

mod introspection;

use super::Row;
use crate::spec::{ChannelAction, ChannelKind, Flags, Group, KeyFlags, KeySpec};

/// What all of them have in common.
const CHANNELS: Flags = Flags::PUBSUB.union(Flags::LOADING).union(Flags::STALE);

/// Subscriptions belong to a connection.
const SUBSCRIPTION: Flags = CHANNELS.union(Flags::NOSCRIPT);

/// The publish/subscribe commands.
pub const ROWS: &[Row] = &[
    Row::channels("psubscribe", -2, ChannelAction::Subscribe, ChannelKind::Pattern)
        .summary("Listens for messages to all channels whose names match a pattern.")
        .syntax("PSUBSCRIBE pattern [pattern ...]")
        .since("2.0.0")
        .complexity("O(N) where N is the number of patterns")
        .flags(SUBSCRIPTION),
    Row::channels("publish", 3, ChannelAction::Publish, ChannelKind::Channel)
        .summary("Sends a message to a channel.")
        .syntax("PUBLISH channel message")
        .since("2.0.0")
        .complexity("O(N+M) where N is the number of the channel's subscribers and M the number of patterns")
        .flags(CHANNELS.union(Flags::FAST)),
    Row::container("pubsub", Group::PubSub, introspection::SUBCOMMANDS)
        .summary("Tells who subscribes to what.")
        .syntax("PUBSUB")
        .since("2.8.0")
        .complexity("Depends on subcommand."),
    Row::channels("punsubscribe", -1, ChannelAction::Unsubscribe, ChannelKind::Pattern)
        .summary("Stops listening to patterns, or to all.")
        .syntax("PUNSUBSCRIBE [pattern [pattern ...]]")
        .since("2.0.0")
        .complexity("O(N) where N is the number of patterns")
        .flags(SUBSCRIPTION),
    Row::channels("spublish", 3, ChannelAction::Publish, ChannelKind::Shard)
        .summary("Sends a message to a shard channel.")
        .syntax("SPUBLISH shardchannel message")
        .since("7.0.0")
        .complexity("O(N) where N is the number of the channel's subscribers")
        .flags(CHANNELS.union(Flags::FAST))
        .keys(&[KeySpec::one(1, KeyFlags::NOT_KEY)]),
    Row::channels("ssubscribe", -2, ChannelAction::Subscribe, ChannelKind::Shard)
        .summary("Listens for messages to shard channels.")
        .syntax("SSUBSCRIBE shardchannel [shardchannel ...]")
        .since("7.0.0")
        .complexity("O(N) where N is the number of channels")
        .flags(SUBSCRIPTION)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::NOT_KEY)]),
    Row::channels("subscribe", -2, ChannelAction::Subscribe, ChannelKind::Channel)
        .summary("Listens for messages to channels.")
        .syntax("SUBSCRIBE channel [channel ...]")
        .since("2.0.0")
        .complexity("O(N) where N is the number of channels")
        .flags(SUBSCRIPTION),
    Row::channels("sunsubscribe", -1, ChannelAction::Unsubscribe, ChannelKind::Shard)
        .summary("Stops listening to shard channels, or to all.")
        .syntax("SUNSUBSCRIBE [shardchannel [shardchannel ...]]")
        .since("7.0.0")
        .complexity("O(N) where N is the number of channels")
        .flags(SUBSCRIPTION)
        .keys(&[KeySpec::rest(1, 1, KeyFlags::NOT_KEY)]),
    Row::channels("unsubscribe", -1, ChannelAction::Unsubscribe, ChannelKind::Channel)
        .summary("Stops listening to channels, or to all.")
        .syntax("UNSUBSCRIBE [channel [channel ...]]")
        .since("2.0.0")
        .complexity("O(N) where N is the number of channels")
        .flags(SUBSCRIPTION),
];
