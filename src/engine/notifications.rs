//! Keyspace notifications: what is done to a key is published by the core that owns it, in the order in which it is done.

use super::Engine;
use crate::config::Notifications;
use crate::shard::EventClass;
use crate::spec::ChannelKind;
use bytes::Bytes;

/// The class of an event, as `notify-keyspace-events` names it.
fn chosen_by(class: EventClass) -> Notifications {
    match class {
        EventClass::Generic => Notifications::GENERIC,
        EventClass::String => Notifications::STRING,
        EventClass::List => Notifications::LIST,
        EventClass::Set => Notifications::SET,
        EventClass::Hash => Notifications::HASH,
        EventClass::Expired => Notifications::EXPIRED,
        EventClass::Evicted => Notifications::EVICTED,
        EventClass::New => Notifications::NEW,
        EventClass::KeyMiss => Notifications::KEY_MISS,
    }
}

impl Engine {
    /// Publishes an event, if that is wanted.
    pub(super) fn notify(&mut self, database: u16, key: &[u8], class: EventClass, event: &'static str) {
        let told = self.config.notify_keyspace_events;
        if !told.intersects(chosen_by(class)) || self.node.interest.is_deaf() {
            return;
        }
        if told.contains(Notifications::KEYSPACE) {
            let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
            self.publish(ChannelKind::Channel, &channel, Bytes::from_static(event.as_bytes()));
        }
        if told.contains(Notifications::KEYEVENT) {
            let channel = format!("__keyevent@{database}__:{event}");
            self.publish(ChannelKind::Channel, channel.as_bytes(), Bytes::copy_from_slice(key));
        }
    }
}
