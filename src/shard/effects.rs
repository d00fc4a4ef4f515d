//! What commands have done to keys, for those who wait for it: WATCH, blocked clients, client tracking, keyspace
//! notifications, and cores that work on keys of other shards. While nobody does, nothing is kept.

use super::database::{Database, Incidents};
use super::log::Log;
use super::tracking::Tracker;

/// The class of a keyspace event, by which notifications are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the classes")]
pub enum EventClass {
    Generic,
    String,
    List,
    Set,
    Hash,
    Expired,
    Evicted,
    New,
    KeyMiss,
}

/// One thing done to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The database.
    pub database: u16,
    /// What was done.
    pub act: Act,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// An event of one key.
    Key {
        /// The key.
        key: Box<[u8]>,
        /// The class of the event.
        class: EventClass,
        /// Its name: `set`, `lpush`, `del` ...
        event: &'static str,
        /// Whether it tells of a change; a further event of a change told before does not.
        changed: bool,
    },
    /// A client that tracks keys has read one.
    Read {
        /// The key.
        key: Box<[u8]>,
        /// The client.
        tracker: Tracker,
        /// Whether its value was lent to a command that ran elsewhere, and may have expired here meanwhile.
        lent: bool,
    },
    /// All keys of the database were removed.
    Flushed,
    /// It was exchanged with this other database.
    Swapped(u16),
}

impl Act {
    /// The key that it concerns, if it is just one.
    pub fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Key { key, .. } | Self::Read { key, .. } => Some(key),
            Self::Flushed | Self::Swapped(_) => None,
        }
    }
}

/// What has been done since somebody looked.
#[derive(Debug, Default)]
pub struct Effects {
    /// Whether anybody wants to know.
    pub wanted: bool,
    /// The client whose command it was, if it tracks keys.
    pub caller: Tracker,
    /// What was done, in order.
    pub list: Vec<Effect>,
}

impl Effects {
    /// Effects that somebody wants to know.
    pub fn wanted() -> Self {
        Self { wanted: true, ..Self::default() }
    }

    /// Keeps an event of a key, if that is wanted.
    #[inline]
    pub fn key(&mut self, database: u16, key: &[u8], class: EventClass, event: &'static str, changed: bool) {
        if self.wanted {
            self.list.push(Effect { database, act: Act::Key { key: key.into(), class, event, changed } });
        }
    }

    /// Takes what has happened to keys of a database beside what commands tell, as far as it is wanted here and in the
    /// log.
    #[inline]
    pub fn incidents(&mut self, database: u16, db: &mut Database, log: &mut Log) {
        if !db.has_incidents() {
            return;
        }
        self.take_incidents(database, db, log);
    }

    #[cold]
    fn take_incidents(&mut self, database: u16, db: &mut Database, log: &mut Log) {
        for (kind, key) in db.take_incidents() {
            if kind == Incidents::EXPIRED {
                log.expired(database, &key);
            }
            let (class, event, changed) = match kind {
                Incidents::CREATED => (EventClass::New, "new", false),
                Incidents::MISSED => (EventClass::KeyMiss, "keymiss", false),
                _ => (EventClass::Expired, "expired", true),
            };
            self.key(database, &key, class, event, changed);
        }
    }

    /// Keeps that all keys of a database were removed, if that is wanted.
    pub fn flushed(&mut self, database: u16) {
        if self.wanted {
            self.list.push(Effect { database, act: Act::Flushed });
        }
    }

    /// Keeps that two databases were exchanged, if that is wanted.
    pub fn swapped(&mut self, database: u16, other: u16) {
        if self.wanted {
            self.list.push(Effect { database, act: Act::Swapped(other) });
        }
    }
}
