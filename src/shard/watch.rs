//! Who watches which keys of this shard (WATCH), and whose keys have changed since.
//!
//! A client whose key has changed is marked; what else it watches here does not matter any more and is forgotten. A key
//! that expires marks nobody at that moment: at EXEC, a key that was there at WATCH, was changed by nobody and is gone
//! has expired.

use ahash::AHashMap;

/// A key of a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchedKey {
    /// The database.
    pub database: u16,
    /// The key.
    pub key: Box<[u8]>,
}

/// The watched keys of a shard.
#[derive(Default)]
pub struct Watch {
    keys: AHashMap<Box<[u8]>, Vec<Watcher>>,
    /// By the client's id.
    clients: AHashMap<u64, Client>,
}

/// A client that watches a key of one database.
struct Watcher {
    client: u64,
    database: u16,
    /// Whether the key was there at WATCH; while its client is not marked nobody has changed that.
    existed: bool,
}

/// What a client watches on this shard.
#[derive(Default)]
struct Client {
    marked: bool,
    keys: Vec<WatchedKey>,
}

impl Watch {
    /// Whether no key is watched.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many clients watch, or have watched and are marked.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Lets `client` watch a key that it does not watch yet; `exists` tells whether there is such a key now.
    pub fn add(&mut self, client: u64, key: WatchedKey, exists: bool) {
        let watching = self.clients.entry(client).or_default();
        if watching.marked {
            return;
        }
        let watcher = Watcher { client, database: key.database, existed: exists };
        self.keys.entry(key.key.clone()).or_default().push(watcher);
        watching.keys.push(key);
    }

    /// Forgets `client`.
    pub fn remove(&mut self, client: u64) {
        if let Some(watching) = self.clients.remove(&client) {
            self.forget(client, &watching.keys);
        }
    }

    /// Forgets `client`; whether all that it watched is as it was. `exists` looks for a key.
    pub fn finish(&mut self, client: u64, exists: impl FnMut(&WatchedKey) -> bool) -> bool {
        let intact = self.is_intact(client, exists);
        self.remove(client);
        intact
    }

    /// Whether all that `client` watches is as it was. `exists` looks for a key.
    pub fn is_intact(&self, client: u64, mut exists: impl FnMut(&WatchedKey) -> bool) -> bool {
        let Some(watching) = self.clients.get(&client) else { return true };
        let expired = watching.keys.iter().any(|key| self.existed(client, key) && !exists(key));
        !watching.marked && !expired
    }

    /// A key was changed.
    pub fn changed(&mut self, database: u16, key: &[u8]) {
        let Some(watchers) = self.keys.get(key) else { return };
        let here = watchers.iter().filter(|watcher| watcher.database == database);
        let clients: Vec<u64> = here.map(|watcher| watcher.client).collect();
        clients.into_iter().for_each(|client| self.mark(client));
    }

    /// A database was emptied: keys that were there are gone.
    pub fn flushed(&mut self, database: u16) {
        self.mark_where(|_, watcher| watcher.database == database && watcher.existed);
    }

    /// Two databases were exchanged: keys that were in one of them have changed in both. `exists` looks for a key as it
    /// is now.
    pub fn swapped(&mut self, one: u16, other: u16, mut exists: impl FnMut(u16, &[u8]) -> bool) {
        if one == other {
            return;
        }
        self.mark_where(|key, watcher| {
            let concerned = watcher.database == one || watcher.database == other;
            concerned && (watcher.existed || exists(watcher.database, key))
        });
    }

    fn mark_where(&mut self, mut concerned: impl FnMut(&[u8], &Watcher) -> bool) {
        let mut clients = Vec::new();
        for (key, watchers) in &self.keys {
            clients.extend(watchers.iter().filter(|watcher| concerned(key, watcher)).map(|watcher| watcher.client));
        }
        clients.into_iter().for_each(|client| self.mark(client));
    }

    fn mark(&mut self, client: u64) {
        let Some(watching) = self.clients.get_mut(&client) else { return };
        watching.marked = true;
        let keys = std::mem::take(&mut watching.keys);
        self.forget(client, &keys);
    }

    fn existed(&self, client: u64, key: &WatchedKey) -> bool {
        let watchers = self.keys.get(&key.key).into_iter().flatten();
        let mut own = watchers.filter(|watcher| watcher.client == client && watcher.database == key.database);
        own.any(|watcher| watcher.existed)
    }

    fn forget(&mut self, client: u64, keys: &[WatchedKey]) {
        for key in keys {
            let Some(watchers) = self.keys.get_mut(&key.key) else { continue };
            watchers.retain(|watcher| watcher.client != client || watcher.database != key.database);
            if watchers.is_empty() {
                self.keys.remove(&key.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Watch, WatchedKey};

    fn key(database: u16, key: &str) -> WatchedKey {
        WatchedKey { database, key: key.as_bytes().into() }
    }

    fn watch(keys: &[(u64, u16, &str, bool)]) -> Watch {
        let mut watch = Watch::default();
        keys.iter().for_each(|&(client, database, name, exists)| watch.add(client, key(database, name), exists));
        watch
    }

    #[test]
    fn a_change_marks_those_who_watch_the_key_in_that_database() {
        let mut watch = watch(&[(1, 0, "a", true), (1, 0, "b", false), (2, 0, "a", true), (3, 1, "a", true)]);
        watch.changed(0, b"b");
        assert!(!watch.finish(1, |_| true));
        assert!(watch.finish(2, |_| true));
        watch.changed(0, b"a");
        assert!(watch.finish(3, |_| true));
        assert!(watch.is_empty() && watch.clients() == 0);
    }

    #[test]
    fn a_mark_stays_until_the_client_is_forgotten() {
        let mut watch = watch(&[(1, 0, "a", false)]);
        watch.changed(0, b"a");
        assert!(watch.is_empty());
        watch.add(1, key(0, "b"), true);
        assert!(watch.is_empty());
        watch.remove(1);
        watch.add(1, key(0, "b"), true);
        assert!(watch.finish(1, |_| true));
    }

    #[test]
    fn a_key_that_is_gone_though_nobody_changed_it_has_expired() {
        assert!(!watch(&[(1, 0, "a", true)]).finish(1, |_| false));
        assert!(watch(&[(1, 0, "a", false)]).finish(1, |_| false));
    }

    #[test]
    fn flushes_concern_keys_that_were_there() {
        let mut watch = watch(&[(1, 0, "a", true), (2, 0, "b", false), (3, 1, "a", true)]);
        watch.flushed(0);
        assert_eq!([1, 2, 3].map(|client| watch.finish(client, |_| true)), [false, true, true]);
    }

    #[test]
    fn exchanges_concern_keys_that_are_in_either_database() {
        let mut watch = watch(&[(1, 0, "a", true), (2, 0, "b", false), (3, 1, "c", false), (4, 2, "a", true)]);
        watch.swapped(0, 0, |_, _| true);
        watch.swapped(0, 1, |database, key| (database, key) == (1, b"c"));
        assert_eq!([1, 2, 3, 4].map(|client| watch.finish(client, |_| true)), [false, true, false, true]);
    }
}
