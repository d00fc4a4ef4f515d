//! The command table: from a name in any case to its row. Every command and subcommand has a number, by which counters
//! and messages between cores know it.

use super::{FAMILIES, Row};
use crate::spec::{BeginSearch, FindKeys, KeyFlags, RequestPolicy};
use std::sync::LazyLock;

/// A command in the table.
pub struct Entry {
    /// Its facts and function.
    pub row: &'static Row,
    /// Its number.
    pub id: u16,
    /// Argument of its only key, where it has exactly one at a fixed place; 0 otherwise.
    pub single_key: u8,
    /// Whether it runs at once inside MULTI instead of being queued.
    pub immediate: bool,
    /// Numbers of its subcommands.
    subcommands: Vec<u16>,
}

/// All commands.
pub struct CommandTable {
    entries: Vec<Entry>,
    /// Open addressing, a power of two of slots: entry number plus one, 0 for an empty slot.
    slots: Vec<u16>,
}

/// The table; built at first use.
pub fn table() -> &'static CommandTable {
    static TABLE: LazyLock<CommandTable> = LazyLock::new(CommandTable::build);
    &TABLE
}

impl CommandTable {
    fn build() -> Self {
        let mut entries = Vec::new();
        let mut top = Vec::new();
        for row in FAMILIES.iter().copied().flatten() {
            let id = entries.len();
            entries.push(Entry::new(row, id));
            top.push(id);
            for subcommand in row.subcommands {
                let sub_id = entries.len();
                entries.push(Entry::new(subcommand, sub_id));
                entries[id].subcommands.push(sub_id as u16);
            }
        }
        let mut slots = vec![0; (top.len() * 4).next_power_of_two()];
        for id in top {
            let mut at = hash(entries[id].row.spec.name.as_bytes()) as usize & (slots.len() - 1);
            while slots[at] != 0 {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = id as u16 + 1;
        }
        Self { entries, slots }
    }

    /// The command called `name`, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Entry> {
        let mut at = hash(name) as usize & (self.slots.len() - 1);
        loop {
            let entry = &self.entries[usize::from(self.slots[at].checked_sub(1)?)];
            if entry.row.spec.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(entry);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// The subcommand `name` of `container`, in any case.
    pub fn find_subcommand(&self, container: &Entry, name: &[u8]) -> Option<&Entry> {
        let skip = container.row.spec.name.len() + 1;
        let mut subcommands = container.subcommands.iter().map(|&id| &self.entries[usize::from(id)]);
        subcommands.find(|entry| entry.row.spec.name.as_bytes()[skip..].eq_ignore_ascii_case(name))
    }

    /// The command with this number.
    pub fn get(&self, id: u16) -> &Entry {
        &self.entries[usize::from(id)]
    }

    /// All commands and subcommands, by number.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All commands without subcommands.
    pub fn commands(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.row.spec.name.contains('|'))
    }

    /// The subcommands of `container`.
    pub fn subcommands<'a>(&'a self, container: &'a Entry) -> impl ExactSizeIterator<Item = &'a Entry> {
        container.subcommands.iter().map(|&id| &self.entries[usize::from(id)])
    }
}

impl Entry {
    fn new(row: &'static Row, id: usize) -> Self {
        let single_key = match row.spec.keys {
            [spec] if row.spec.request == RequestPolicy::Default && !spec.flags.contains(KeyFlags::NOT_KEY) => {
                match (spec.begin, spec.find) {
                    (BeginSearch::Index(index), FindKeys::Range { last_key: 0, .. }) => index as u8,
                    _ => 0,
                }
            }
            _ => 0,
        };
        let immediate = matches!(row.spec.name, "multi" | "exec" | "discard" | "watch" | "quit" | "reset");
        let id = u16::try_from(id).expect("fewer commands than 2^16");
        Self { row, id, single_key, immediate, subcommands: Vec::new() }
    }
}

/// A hash of the first eight bytes without their case, and the length: commands are short and few.
#[inline]
fn hash(name: &[u8]) -> u32 {
    let mut first = [0; 8];
    let len = name.len().min(8);
    first[..len].copy_from_slice(&name[..len]);
    let folded = (u64::from_le_bytes(first) | 0x2020_2020_2020_2020) ^ (name.len() as u64) << 56;
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::commands::Handler;
    use crate::spec::Flags;

    #[test]
    fn finds_every_command_in_any_case_and_no_other() {
        for entry in table().commands() {
            let name = entry.row.spec.name;
            assert_eq!(table().find(name.to_uppercase().as_bytes()).map(|found| found.id), Some(entry.id));
            for subcommand in table().subcommands(entry) {
                let short = subcommand.row.spec.name.rsplit('|').next().expect("a name");
                assert_eq!(table().find_subcommand(entry, short.as_bytes()).map(|found| found.id), Some(subcommand.id));
            }
        }
        assert!(table().find(b"nosuchcommand").is_none());
        assert!(table().find(b"").is_none());
    }

    #[test]
    fn rows_are_whole() {
        for entry in table().entries() {
            let spec = &entry.row.spec;
            assert!(!spec.summary.is_empty() && !spec.syntax.is_empty(), "{} lacks its summary or syntax", spec.name);
            assert!(!spec.flags.contains(Flags::WRITE | Flags::READONLY), "{} reads and writes", spec.name);
            let on_data = spec.flags.intersects(Flags::WRITE | Flags::READONLY);
            assert!(!matches!(entry.row.handler, Handler::Shard(_)) || on_data, "{} lacks its flags", spec.name);
            assert!(spec.name.chars().all(|c| c.is_ascii_lowercase() || "|-".contains(c)), "{}", spec.name);
        }
    }
}
