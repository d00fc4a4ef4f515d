//! Channel specs: what a command does with channels and where in the arguments they stand. The engine runs these commands
//! by them; whoever wants to know which channels a command is about asks here and nowhere else.

use crate::resp::Args;

/// What is published to or subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// A channel.
    Channel,
    /// A pattern of channels.
    Pattern,
    /// A shard channel: a space of names of its own, which patterns do not reach.
    Shard,
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// What a command does with channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelAction {
    /// Sends a message to one.
    Publish,
    /// Subscribes to some.
    Subscribe,
    /// Ends subscriptions to some, or to all when it names none.
    Unsubscribe,
}

/// What a command does with which channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelSpec {
    /// What it does.
    pub action: ChannelAction,
    /// What its names are.
    pub kind: ChannelKind,
}

impl ChannelSpec {
    /// The names in the arguments.
    pub fn names<'a>(&self, args: Args<'a>) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let count = if self.action == ChannelAction::Publish { 1 } else { args.len() - 1 };
        args.iter_from(1).take(count)
    }
}
