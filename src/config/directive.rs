//! What a row of the directive table is, and what is done with one: reading values into a [`Config`] and writing them
//! back, for CONFIG GET and for the configuration file.

use super::value::{self, Reason};
use super::{Config, MemoryOrPercent, OutputLimit};
use crate::stdx::words;

/// When a directive may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At any time, by CONFIG SET.
    Runtime,
    /// Only by the configuration file and the flags.
    Start,
    /// As `Start` unless `enable-protected-configs` permits a client to: who can change it can write files elsewhere.
    Protected,
}

impl Change {
    /// When, in a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Runtime => "changes at run time",
            Self::Start => "fixed at start",
            Self::Protected => "fixed at start unless enable-protected-configs permits more",
        }
    }
}

/// Under which heading a directive is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the headings")]
pub enum Section {
    Network,
    Clients,
    Cores,
    General,
    Encodings,
    Expiry,
    Events,
    Memory,
    Freeing,
    Watching,
    Durability,
    Absent,
}

impl Section {
    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Network => "Network",
            Self::Clients => "Clients",
            Self::Cores => "Cores",
            Self::General => "General",
            Self::Encodings => "Encodings of small collections",
            Self::Expiry => "Expiry",
            Self::Events => "Events of keys",
            Self::Memory => "Memory limit",
            Self::Freeing => "Freeing memory",
            Self::Watching => "Watching",
            Self::Durability => "Append-only log",
            Self::Absent => "Not there yet: only the value that is true is accepted",
        }
    }
}

/// The type of a directive's values, and its field of [`Config`].
#[allow(missing_docs, reason = "get and set are the field; min and max are inclusive")]
pub enum Kind {
    /// A whole number.
    Integer { min: i64, max: i64, get: fn(&Config) -> i64, set: fn(&mut Config, i64) },
    /// File permissions.
    Octal { max: u32, get: fn(&Config) -> u32, set: fn(&mut Config, u32) },
    /// A number of bytes.
    Memory { min: u64, max: u64, get: fn(&Config) -> u64, set: fn(&mut Config, u64) },
    /// A number of bytes, or so many percent of another one.
    MemoryOrPercent { get: fn(&Config) -> MemoryOrPercent, set: fn(&mut Config, MemoryOrPercent) },
    /// `yes` or `no`.
    Bool { get: fn(&Config) -> bool, set: fn(&mut Config, bool) },
    /// One of several names, by their place.
    Enum { names: &'static [&'static str], get: fn(&Config) -> usize, set: fn(&mut Config, usize) },
    /// One text, in a form that `set` checks.
    Text { form: &'static str, get: fn(&Config) -> String, set: fn(&mut Config, &str) -> Result<(), Reason> },
    /// Several texts.
    List { form: &'static str, get: fn(&Config) -> &[String], set: fn(&mut Config, Vec<String>) },
    /// The limits on what waits to be sent, by class of clients.
    OutputLimits { get: fn(&Config) -> &[OutputLimit; 3], get_mut: fn(&mut Config) -> &mut [OutputLimit; 3] },
    /// One value and no other, because what the others would switch on is not there.
    Only { value: &'static str, reason: &'static str },
}

/// A row of the directive table.
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// An older name, still understood.
    pub alias: Option<&'static str>,
    /// Where it is documented.
    pub section: Section,
    /// When it may change.
    pub change: Change,
    /// What its values are.
    pub kind: Kind,
    /// Whether what it is set to must not be seen: it is shown by CONFIG GET and written by CONFIG REWRITE, and nowhere
    /// else.
    pub secret: bool,
    /// What it does, in a sentence or three.
    pub doc: &'static str,
}

impl Directive {
    /// A directive that CONFIG SET may change.
    pub(super) const fn new(name: &'static str, section: Section, kind: Kind, doc: &'static str) -> Self {
        Self { name, alias: None, section, change: Change::Runtime, kind, secret: false, doc }
    }

    /// The directive, changing as `change` says.
    pub(super) const fn change(mut self, change: Change) -> Self {
        self.change = change;
        self
    }

    /// The directive, its values kept from those who watch.
    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The directive with an older name.
    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Reads `values` into `config`, or leaves it as it was and says why. A directive that takes several values also
    /// takes them as one text with spaces.
    pub fn read(&self, config: &mut Config, values: &[&[u8]]) -> Result<(), Reason> {
        let split: Vec<&[u8]>;
        let values = match values {
            [] => return Err("wrong number of arguments".into()),
            [one] if self.takes_several() => {
                split = one.split(|&byte| byte == b' ').collect();
                split.as_slice()
            }
            [_, _, ..] if !self.takes_several() => return Err("wrong number of arguments".into()),
            _ => values,
        };
        self.read_words(config, values)
    }

    fn read_words(&self, config: &mut Config, values: &[&[u8]]) -> Result<(), Reason> {
        let first = values[0];
        match &self.kind {
            Kind::Integer { min, max, set, .. } => set(config, value::integer(first, *min, *max)?),
            Kind::Octal { max, set, .. } => set(config, value::octal(first, *max)?),
            Kind::Memory { min, max, set, .. } => set(config, value::memory_between(first, *min, *max)?),
            Kind::MemoryOrPercent { set, .. } => set(config, value::memory_or_percent(first)?),
            Kind::Bool { set, .. } => set(config, value::yes_or_no(first)?),
            Kind::Enum { names, set, .. } => set(config, value::one_of(first, names)?),
            Kind::Text { set, .. } => set(config, &value::text(first)?)?,
            Kind::List { set, .. } => {
                let words = values.iter().filter(|word| !word.is_empty()).map(|word| value::text(word));
                set(config, words.collect::<Result<_, _>>()?);
            }
            Kind::OutputLimits { get_mut, .. } => value::change_output_limits(get_mut(config), values)?,
            Kind::Only { value, reason } => {
                if !values.join(&b' ').eq_ignore_ascii_case(value.as_bytes()) {
                    return Err((*reason).into());
                }
            }
        }
        Ok(())
    }

    /// Whether it takes more than one value.
    pub fn takes_several(&self) -> bool {
        matches!(self.kind, Kind::List { .. } | Kind::OutputLimits { .. } | Kind::Only { .. })
    }

    /// Its value in `config`, as CONFIG GET answers.
    pub fn show(&self, config: &Config) -> String {
        match &self.kind {
            Kind::Integer { get, .. } => get(config).to_string(),
            Kind::Octal { get, .. } => format!("{:o}", get(config)),
            Kind::Memory { get, .. } => get(config).to_string(),
            Kind::MemoryOrPercent { get, .. } => match get(config) {
                MemoryOrPercent::Bytes(bytes) => bytes.to_string(),
                MemoryOrPercent::Percent(percent) => format!("{percent}%"),
            },
            Kind::Bool { get, .. } => if get(config) { "yes" } else { "no" }.into(),
            Kind::Enum { names, get, .. } => names[get(config)].into(),
            Kind::Text { get, .. } => get(config),
            Kind::List { get, .. } => get(config).join(" "),
            Kind::OutputLimits { get, .. } => value::output_limits_text(get(config)),
            Kind::Only { value, .. } => (*value).into(),
        }
    }

    /// Its lines in a configuration file that leads to `config`.
    pub fn lines(&self, config: &Config) -> Vec<String> {
        let name = self.name;
        match &self.kind {
            Kind::Memory { get, .. } => vec![format!("{name} {}", value::memory_text(get(config)))],
            Kind::MemoryOrPercent { get, .. } => match get(config) {
                MemoryOrPercent::Bytes(bytes) => vec![format!("{name} {}", value::memory_text(bytes))],
                MemoryOrPercent::Percent(percent) => vec![format!("{name} {percent}%")],
            },
            Kind::List { get, .. } if !get(config).is_empty() => {
                let words: Vec<String> = get(config).iter().map(|word| quoted(word)).collect();
                vec![format!("{name} {}", words.join(" "))]
            }
            Kind::OutputLimits { get, .. } => {
                value::output_limits_lines(get(config)).iter().map(|line| format!("{name} {line}")).collect()
            }
            _ => vec![format!("{name} {}", quoted(&self.show(config)))],
        }
    }

    /// What its values look like, in a few words.
    pub fn form(&self) -> String {
        match &self.kind {
            Kind::Integer { min, max, .. } => match *max {
                i64::MAX => format!("a number from {min}"),
                max => format!("a number from {min} to {max}"),
            },
            Kind::Octal { max, .. } => format!("an octal number up to {max:o}"),
            Kind::Memory { min, max, .. } => {
                let from = value::memory_text(*min);
                match *max {
                    max if max >= i64::MAX as u64 => format!("a memory size from {from}"),
                    max if max == u64::from(u32::MAX) => format!("a memory size from {from} to below 4gb"),
                    max => format!("a memory size from {from} to {}", value::memory_text(max)),
                }
            }
            Kind::MemoryOrPercent { .. } => "a memory size or a percentage".into(),
            Kind::Bool { .. } => "yes or no".into(),
            Kind::Enum { names, .. } => names.join(", "),
            Kind::Text { form, .. } | Kind::List { form, .. } => (*form).into(),
            Kind::OutputLimits { .. } => "class (normal, replica, pubsub), hard limit, soft limit, seconds".into(),
            Kind::Only { value: "", .. } => "only \"\"".into(),
            Kind::Only { value, .. } => format!("only {value}"),
        }
    }
}

/// `text` as a word of a configuration line.
fn quoted(text: &str) -> String {
    if words::needs_quotes(text.as_bytes()) { words::quote(text.as_bytes()) } else { text.into() }
}
