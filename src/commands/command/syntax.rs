//! From a syntax line to the tree of arguments that COMMAND DOCS shows.
//!
//! The lines are written as Redis's documentation writes them: `WORD` is a token, `name` an argument, `[ ]` may be left
//! out, `< >` groups, `|` parts alternatives, and `x [x ...]` is a repetition. Names of groups are not in the line, so they
//! are chosen here; so are types, from the arguments' names.

use crate::spec::{Flags, Spec};
use std::iter::Peekable;

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes.
    String,
    /// An integer.
    Integer,
    /// A floating point number.
    Double,
    /// The name of a key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A point in time.
    UnixTime,
    /// A token that stands for itself.
    PureToken,
    /// One of the nested arguments.
    OneOf,
    /// All of the nested arguments.
    Block,
}

impl Kind {
    /// COMMAND DOCS's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// An argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name, in lower case.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Which of the command's key specs finds it, if it is a key.
    pub key_spec: Option<usize>,
    /// The token that stands before it, or that it is.
    pub token: Option<String>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// Whether the token is repeated with it.
    pub multiple_token: bool,
    /// The nested arguments of a group.
    pub nested: Vec<Argument>,
}

impl Argument {
    fn new(name: String, kind: Kind) -> Self {
        Self {
            name,
            kind,
            key_spec: None,
            token: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            nested: Vec::new(),
        }
    }
}

/// The arguments of a command.
pub fn arguments(spec: &Spec) -> Vec<Argument> {
    let name_words = spec.name.split('|').count();
    let mut words = split(spec.syntax).into_iter().skip(name_words).peekable();
    let parts = parse_sequence(&mut words);
    let mut builder = Builder { spec, keys: 0 };
    builder.sequence(&parts)
}

/// The line's words and signs.
fn split(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in line.split_ascii_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['[', ']', '<', '>', '|']) {
            if at > 0 {
                words.push(&rest[..at]);
            }
            words.push(&rest[at..=at]);
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            words.push(rest);
        }
    }
    words
}

/// A part of a syntax line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// A token.
    Token(&'a str),
    /// An argument.
    Name(&'a str),
    /// `...`
    Ellipsis,
    /// `< >`
    Group(Vec<Vec<Part<'a>>>),
    /// `[ ]`
    Optional(Vec<Vec<Part<'a>>>),
    /// `x [x ...]`
    Repeat(Vec<Part<'a>>),
    /// `a | b [a | b ...]`
    RepeatAlternatives(Vec<Vec<Part<'a>>>),
}

fn parse_sequence<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    while let Some(word) = words.next_if(|word| !matches!(*word, "|" | "]" | ">")) {
        let part = match word {
            "[" => Part::Optional(parse_alternatives(words)),
            "<" => group(parse_alternatives(words)),
            "..." => Part::Ellipsis,
            name if name.chars().any(|c| c.is_ascii_lowercase()) => Part::Name(name),
            token => Part::Token(token),
        };
        fold_repetition(&mut parts, part);
    }
    parts
}

fn parse_alternatives<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>) -> Vec<Vec<Part<'a>>> {
    let mut alternatives = vec![parse_sequence(words)];
    while words.next() == Some("|") {
        alternatives.push(parse_sequence(words));
    }
    alternatives
}

/// Adds `part`; when it is `[x ...]` behind `x`, both become a repetition.
fn fold_repetition<'a>(parts: &mut Vec<Part<'a>>, part: Part<'a>) {
    if let Part::Optional(alternatives) = &part
        && let [once] = &alternatives[..]
        && let Some((Part::Ellipsis, repeated)) = once.split_last()
        && parts.ends_with(repeated)
    {
        parts.truncate(parts.len() - repeated.len());
        parts.push(Part::Repeat(repeated.to_vec()));
        return;
    }
    parts.push(part);
}

/// A required group; `a | b [a | b ...]` inside it is a repetition of the group.
fn group(alternatives: Vec<Vec<Part<'_>>>) -> Part<'_> {
    match repeated_alternatives(&alternatives) {
        Some(once) => Part::RepeatAlternatives(once),
        None => Part::Group(alternatives),
    }
}

fn repeated_alternatives<'a>(alternatives: &[Vec<Part<'a>>]) -> Option<Vec<Vec<Part<'a>>>> {
    let (Part::Optional(again), _) = alternatives.last()?.split_last()? else { return None };
    let without_last = |alternatives: &[Vec<Part<'a>>]| {
        let mut once = alternatives.to_vec();
        once.last_mut().and_then(Vec::pop);
        once
    };
    let once = without_last(alternatives);
    let ends_in_ellipsis = again.last().is_some_and(|last| last.last() == Some(&Part::Ellipsis));
    (alternatives.len() > 1 && ends_in_ellipsis && without_last(again) == once).then_some(once)
}

/// Turns parts into arguments.
struct Builder<'a> {
    spec: &'a Spec,
    /// How many key arguments there were so far.
    keys: usize,
}

impl Builder<'_> {
    fn sequence(&mut self, parts: &[Part<'_>]) -> Vec<Argument> {
        let mut arguments = Vec::new();
        let mut at = 0;
        while let Some(part) = parts.get(at) {
            at += 1;
            if let Part::Token(token) = part {
                // What stands behind a token, up to the next token or to what may be left out, belongs to it.
                let is_operand =
                    |part: &&Part<'_>| !matches!(part, Part::Token(_) | Part::Optional(_) | Part::Ellipsis);
                let operands = parts[at..].iter().take_while(is_operand).count();
                arguments.push(self.token(token, &parts[at..at + operands]));
                at += operands;
            } else {
                arguments.extend(self.part(part));
            }
        }
        arguments
    }

    fn token(&mut self, token: &str, operands: &[Part<'_>]) -> Argument {
        let name = token.to_ascii_lowercase();
        let mut nested: Vec<Argument> = operands.iter().filter_map(|part| self.part(part)).collect();
        let mut argument = match nested.len() {
            0 => Argument::new(name, Kind::PureToken),
            1 => nested.remove(0),
            _ => Argument { nested, ..Argument::new(name, Kind::Block) },
        };
        argument.token = Some(token.trim_matches('"').to_string());
        argument
    }

    fn part(&mut self, part: &Part<'_>) -> Option<Argument> {
        match part {
            Part::Token(token) => Some(self.token(token, &[])),
            Part::Name(name) => Some(self.leaf(name)),
            Part::Ellipsis => None,
            Part::Group(alternatives) => self.group(alternatives),
            Part::Optional(alternatives) => {
                let argument = match repeated_alternatives(alternatives) {
                    Some(once) => self.part(&Part::RepeatAlternatives(once)),
                    None => self.group(alternatives),
                };
                argument.map(|argument| Argument { optional: true, ..argument })
            }
            Part::Repeat(parts) => {
                let multiple_token = matches!(parts[..], [Part::Token(_), _, ..]);
                let argument = self.one(parts, "data")?;
                Some(Argument { multiple: true, multiple_token, ..argument })
            }
            Part::RepeatAlternatives(alternatives) => {
                self.group(alternatives).map(|argument| Argument { multiple: true, ..argument })
            }
        }
    }

    fn group(&mut self, alternatives: &[Vec<Part<'_>>]) -> Option<Argument> {
        if let [only] = alternatives {
            return self.one(only, "options");
        }
        let nested: Vec<Argument> = alternatives.iter().filter_map(|parts| self.one(parts, "block")).collect();
        let name = choice_name(&nested).to_string();
        Some(Argument { nested, ..Argument::new(name, Kind::OneOf) })
    }

    /// `parts` as one argument: a block called `name` when there are several.
    fn one(&mut self, parts: &[Part<'_>], name: &str) -> Option<Argument> {
        let mut arguments = self.sequence(parts);
        match arguments.len() {
            0 => None,
            1 => Some(arguments.remove(0)),
            _ => Some(Argument { nested: arguments, ..Argument::new(name.to_string(), Kind::Block) }),
        }
    }

    fn leaf(&mut self, name: &str) -> Argument {
        let mut argument = Argument::new(name.to_ascii_lowercase(), kind_of(name, self.spec));
        if argument.kind == Kind::Key {
            argument.key_spec = Some(self.keys.min(self.spec.keys.len() - 1));
            self.keys += 1;
        }
        argument
    }
}

/// The name Redis gives to such a choice.
fn choice_name(alternatives: &[Argument]) -> &'static str {
    const NAMES: &[(&str, &str)] = &[
        ("nx", "condition"),
        ("ifeq-value", "condition"),
        ("fnx", "condition"),
        ("seconds", "expiration"),
        ("asc", "order"),
        ("left", "where"),
        ("before", "where"),
        ("async", "flush-type"),
        ("yes", "enabled"),
        ("on", "enabled"),
        ("normal", "client-type"),
    ];
    let first = alternatives.first().map_or("", |argument| argument.name.as_str());
    NAMES.iter().find(|(known, _)| *known == first).map_or("option", |(_, name)| name)
}

/// The type of the argument called `name`.
fn kind_of(name: &str, spec: &Spec) -> Kind {
    const KEYS: &[&str] = &["key", "newkey", "source", "destination", "key1", "key2", "destkey", "sourcekey"];
    const DOUBLES: &[&str] = &["score", "longitude", "latitude", "radius", "width", "height", "ratio"];
    const INTEGERS: &[&str] = &[
        "bit",
        "client-id",
        "count",
        "cursor",
        "db",
        "decrement",
        "destination-db",
        "end",
        "exactly",
        "frequency",
        "increment",
        "index",
        "index1",
        "index2",
        "len",
        "limit",
        "maxage",
        "milliseconds",
        "min-match-len",
        "ms",
        "num-matches",
        "numfields",
        "numkeys",
        "numlocal",
        "numreplicas",
        "offset",
        "port",
        "protover",
        "rank",
        "seconds",
        "size",
        "start",
        "stop",
        "timeout",
        "ttl",
        "version",
    ];
    if spec.name.ends_with("float") && name == "increment"
        || spec.flags.contains(Flags::BLOCKING) && !spec.keys.is_empty() && name == "timeout"
    {
        return Kind::Double;
    }
    match name {
        _ if !spec.keys.is_empty() && KEYS.contains(&name) => Kind::Key,
        "pattern" => Kind::Pattern,
        _ if name.starts_with("unix-time") => Kind::UnixTime,
        _ if DOUBLES.contains(&name) => Kind::Double,
        _ if INTEGERS.contains(&name) => Kind::Integer,
        _ => Kind::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Group, KeyFlags, KeySpec};

    fn tree(syntax: &'static str) -> String {
        let mut spec = Spec::new("test", -1, Group::Generic);
        spec.syntax = syntax;
        spec.keys = const { &[KeySpec::one(1, KeyFlags::RO)] };
        arguments(&spec).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn show(argument: &Argument) -> String {
        let nested: Vec<String> = argument.nested.iter().map(show).collect();
        let token = argument.token.as_ref().map_or(String::new(), |token| format!("{token}="));
        let body = match argument.kind {
            Kind::OneOf => format!("<{}>", nested.join("|")),
            Kind::Block => format!("({})", nested.join(" ")),
            Kind::PureToken => String::new(),
            kind => format!("{}:{}", argument.name, kind.word()),
        };
        let flags = [(argument.optional, '?'), (argument.multiple, '*'), (argument.multiple_token, '+')];
        let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, sign)| *sign).collect();
        format!("{token}{body}{flags}")
    }

    #[test]
    fn lines_become_trees() {
        for (line, expected) in [
            ("T", ""),
            ("T key [key ...]", "key:key*"),
            ("T key field value [field value ...]", "key:key (field:string value:string)*"),
            ("T key [NX | XX] [GET] [EX seconds | KEEPTTL]", "key:key <NX=|XX=>? GET=? <EX=seconds:integer|KEEPTTL=>?"),
            ("T [arg [arg ...]]", "arg:string?*"),
            ("T [LIMIT offset count]", "LIMIT=(offset:integer count:integer)?"),
            ("T [GET pattern [GET pattern ...]]", "GET=pattern:pattern?*+"),
            ("T [WEIGHTS weight [weight ...]]", "WEIGHTS=weight:string?*"),
            ("T FIELDS numfields field [field ...]", "FIELDS=(numfields:integer field:string*)"),
            ("T [count [WITHVALUES]]", "(count:integer WITHVALUES=?)?"),
            ("T <LEFT | RIGHT> [COUNT count]", "<LEFT=|RIGHT=> COUNT=count:integer?"),
            ("T [TYPE <A | B>]", "TYPE=<A=|B=>?"),
            ("T <host port | NO ONE>", "<(host:string port:integer)|(NO= ONE=)>"),
            ("T seconds| PX milliseconds", "seconds:integer"),
            ("T <x | <[ID y] | [Z] [[ID y] | [Z] ...]>>", "<x:string|<ID=y:string?|Z=?>*>"),
            ("T key [GET x | <A | B> [GET x | <A | B> ...]]", "key:key <GET=x:string|<A=|B=>>?*"),
        ] {
            assert_eq!(tree(line), expected, "{line}");
        }
    }

    #[test]
    fn strange_lines_do_no_harm() {
        for line in ["T [", "T ]", "T > a", "T <", "T [...]", "T ... a", "T | |", "T [[[a"] {
            _ = tree(line);
        }
    }
}
