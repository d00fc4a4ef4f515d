//! All that a shard holds, in a form that can be compared: nothing of encodings, and keys whose time is over as well.

use crimson::commands::context::{CoreView, EveryCore, SessionContext};
use crimson::shard::{Millis, Shard};
use crimson::types::ValueRef;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// By database and key: the value, and when it expires.
pub type Digest = BTreeMap<(usize, Vec<u8>), (String, Option<Millis>)>;

pub fn of(mut shard: Shard) -> Digest {
    take(&mut shard)
}

fn take(shard: &mut Shard) -> Digest {
    let mut digest = Digest::new();
    shard.set_timeless(true);
    for (index, db) in shard.databases.iter_mut().enumerate() {
        let (mut cursor, mut keys) = (0, Vec::new());
        loop {
            cursor = db.scan(cursor, 1000, |key, value| keys.push((key.to_vec(), text(value))));
            if cursor == 0 {
                break;
            }
        }
        for (key, value) in keys {
            let expires = db.expires_at(&key).expect("it has just been there");
            digest.insert((index, key), (value, expires));
        }
    }
    shard.set_timeless(false);
    digest
}

fn text(value: ValueRef<'_>) -> String {
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut items: Vec<String> = match value {
        ValueRef::String(string) => vec![shown(string.bytes(&mut itoa::Buffer::new()))],
        ValueRef::List(list) => list.iter().map(|entry| shown(entry.bytes(&mut itoa::Buffer::new()))).collect(),
        ValueRef::Set(set) => set.iter().map(|member| shown(member.bytes(&mut itoa::Buffer::new()))).collect(),
        ValueRef::Hash(hash) => {
            let mut digits = [itoa::Buffer::new(), itoa::Buffer::new()];
            let [first, second] = &mut digits;
            hash.iter()
                .map(|(field, value)| format!("{}={}", shown(field.bytes(first)), shown(value.bytes(second))))
                .collect()
        }
    };
    if !matches!(value, ValueRef::List(_)) {
        items.sort();
    }
    format!("{} [{}]", value.kind().name(), items.join(", "))
}

/// A request that takes the digest of every core it reaches.
#[derive(Default)]
pub struct Spy(pub Mutex<Digest>);

impl EveryCore for Spy {
    fn run(&self, core: &mut CoreView<'_>) -> Box<dyn Any + Send> {
        *self.0.lock().expect("no holder panics") = take(core.shard);
        Box::new(())
    }

    fn finish(&self, _: Vec<Box<dyn Any + Send>>, _: &mut SessionContext<'_>) {}
}
