//! A row of the command table: what a command is and the function that does it.

use super::{Flow, SessionContext, ShardContext};
use crate::resp::{Args, CommandError};
use crate::spec::{
    Categories, ChannelAction, ChannelKind, ChannelSpec, Flags, Group, KeySpec, RequestPolicy, ResponsePolicy, Spec,
};

/// What a shard handler returns: it has written its reply, or the error is the reply.
pub type Outcome = Result<(), CommandError>;

/// How a command is done: a function, or a part of the engine.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Works on the data of one shard; runs on the core that owns the keys.
    Shard(fn(&mut ShardContext<'_>, Args<'_>) -> Outcome),
    /// Works on the session or the server; runs on the connection's own core.
    Session(fn(&mut SessionContext<'_>, Args<'_>) -> Result<Flow, CommandError>),
    /// Publishes to channels or subscribes to them; the engine does that itself.
    Channels(ChannelSpec),
    /// Has only subcommands.
    Container,
}

/// A command: its facts and its function.
pub struct Row {
    /// The facts.
    pub spec: Spec,
    /// The function.
    pub handler: Handler,
    /// Its subcommands; their names are full, such as `client|kill`.
    pub subcommands: &'static [Row],
}

impl Row {
    /// A command on keys.
    pub const fn shard(
        name: &'static str,
        arity: i16,
        group: Group,
        handler: fn(&mut ShardContext<'_>, Args<'_>) -> Outcome,
    ) -> Self {
        Self { spec: Spec::new(name, arity, group), handler: Handler::Shard(handler), subcommands: &[] }
    }

    /// A command on the session or the server.
    pub const fn session(
        name: &'static str,
        arity: i16,
        group: Group,
        handler: fn(&mut SessionContext<'_>, Args<'_>) -> Result<Flow, CommandError>,
    ) -> Self {
        Self { spec: Spec::new(name, arity, group), handler: Handler::Session(handler), subcommands: &[] }
    }

    /// A command on channels.
    pub const fn channels(name: &'static str, arity: i16, action: ChannelAction, kind: ChannelKind) -> Self {
        let handler = Handler::Channels(ChannelSpec { action, kind });
        Self { spec: Spec::new(name, arity, Group::PubSub), handler, subcommands: &[] }
    }

    /// A command that has only subcommands.
    pub const fn container(name: &'static str, group: Group, subcommands: &'static [Row]) -> Self {
        Self { spec: Spec::new(name, -2, group), handler: Handler::Container, subcommands }
    }

    /// Subcommands of a command that does something of its own too.
    pub const fn subcommands(mut self, subcommands: &'static [Row]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// One sentence for COMMAND DOCS.
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.spec.summary = summary;
        self
    }

    /// The arguments as the documentation writes them, the name first.
    pub const fn syntax(mut self, syntax: &'static str) -> Self {
        self.spec.syntax = syntax;
        self
    }

    /// The Redis version that brought it; 1.0.0 unless said.
    pub const fn since(mut self, since: &'static str) -> Self {
        self.spec.since = since;
        self
    }

    /// Time complexity; O(1) unless said.
    pub const fn complexity(mut self, complexity: &'static str) -> Self {
        self.spec.complexity = complexity;
        self
    }

    /// Command flags.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.spec.flags = flags;
        self
    }

    /// ACL categories that do not follow from the flags.
    pub const fn categories(mut self, categories: Categories) -> Self {
        self.spec.categories = categories;
        self
    }

    /// Where the keys are.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.spec.keys = keys;
        self
    }

    /// How it goes to several shards and how their replies are joined.
    pub const fn policies(mut self, request: RequestPolicy, response: ResponsePolicy) -> Self {
        self.spec.request = request;
        self.spec.response = response;
        self
    }

    /// Tips beside the policies.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.spec.tips = tips;
        self
    }

    /// Only for clients that `enable-debug-command` permits it.
    pub const fn protected(mut self) -> Self {
        self.spec.protected = true;
        self
    }

    /// Since when it is deprecated, and what replaces it.
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.spec.deprecated = Some((since, replaced_by));
        self
    }
}
