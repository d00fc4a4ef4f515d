//! Registries of several cores that tell each other what changes.

use super::*;
use ChannelKind::{Channel, Pattern, Shard};

const KEY: SessionKey = SessionKey(7);

fn subscribe(registry: &mut PubSub, kind: ChannelKind, name: &str, key: SessionKey) -> u64 {
    let (name, announced) = registry.expect(kind, name.as_bytes());
    registry.subscribe(kind, &name, key);
    announced
}

fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Whom a publication reaches: pattern, subscribers, other cores.
fn reached(registry: &PubSub, kind: ChannelKind, channel: &str) -> Vec<(String, Vec<u32>, Vec<u16>)> {
    let names = registry.matching(kind, channel.as_bytes());
    let show = |(pattern, name): (Option<&Bytes>, &Name)| {
        let pattern = pattern.map_or(String::new(), |text| String::from_utf8_lossy(text).into_owned());
        let subscribers = name.subscribers().iter().map(|key| key.0).collect();
        (pattern, subscribers, name.cores().iter().map(|core| core.0).collect())
    };
    names.map(show).collect()
}

#[test]
fn a_publication_reaches_the_channel_and_then_its_patterns() {
    let mut registry = PubSub::new(ShardId(0), 1);
    assert!(registry.is_empty());
    subscribe(&mut registry, Channel, "news", SessionKey(1));
    subscribe(&mut registry, Channel, "news", SessionKey(2));
    subscribe(&mut registry, Pattern, "n*", SessionKey(2));
    subscribe(&mut registry, Pattern, "news", SessionKey(3));
    subscribe(&mut registry, Pattern, "x*", SessionKey(3));
    subscribe(&mut registry, Shard, "news", SessionKey(4));
    let expected =
        vec![(String::new(), vec![1, 2], vec![]), ("n*".into(), vec![2], vec![]), ("news".into(), vec![3], vec![])];
    assert_eq!(reached(&registry, Channel, "news"), expected);
    assert_eq!(reached(&registry, Shard, "news"), [(String::new(), vec![4], vec![])]);
    assert_eq!(reached(&registry, Channel, "other"), []);
    assert_eq!(ChannelKind::ALL.map(|kind| registry.len(kind)), [1, 3, 1]);
    assert_eq!(registry.subscribers(Channel, b"news"), 2);
    assert_eq!(registry.names(Channel, None), [name("news")]);
    assert_eq!(registry.names(Shard, Some(b"m*")), Vec::<Bytes>::new());
    registry.unsubscribe(Channel, &name("news"), SessionKey(1));
    registry.unsubscribe(Channel, &name("news"), SessionKey(2));
    assert_eq!(registry.len(Channel), 0);
}

#[test]
fn a_single_core_has_nobody_to_tell() {
    let mut registry = PubSub::new(ShardId(0), 1);
    let announced = subscribe(&mut registry, Channel, "a", KEY);
    assert!(registry.is_settled(announced) && registry.take_announcement().is_none());
}

#[test]
fn only_the_first_and_the_last_interest_are_announced() {
    let mut registry = PubSub::new(ShardId(1), 3);
    let first = subscribe(&mut registry, Channel, "a", SessionKey(1));
    let announcement = registry.take_announcement().expect("the first interest");
    assert_eq!((announcement.number, first), (1, 1));
    assert_eq!(&announcement.changes[..], [Change { kind: Channel, name: name("a"), wanted: true }]);
    // Whoever comes while the others have not heard waits for the same announcement.
    assert_eq!(subscribe(&mut registry, Channel, "a", SessionKey(2)), 1);
    assert!(registry.take_announcement().is_none());
    assert!(!registry.heard(ShardId(0), 1) && !registry.is_settled(1));
    assert!(registry.heard(ShardId(2), 1) && registry.is_settled(1));
    registry.unsubscribe(Channel, &name("a"), SessionKey(1));
    assert!(registry.take_announcement().is_none());
    registry.unsubscribe(Channel, &name("a"), SessionKey(2));
    let last = registry.take_announcement().expect("the last interest");
    assert_eq!((last.number, last.changes[0].wanted), (2, false));
}

#[test]
fn an_expected_subscription_is_interest_but_hears_nothing() {
    let mut registry = PubSub::new(ShardId(0), 2);
    let (shared, announced) = registry.expect(Channel, b"a");
    assert_eq!((registry.len(Channel), registry.subscribers(Channel, b"a"), announced), (1, 0, 1));
    registry.take_announcement();
    registry.give_up(Channel, &shared);
    assert!(registry.is_empty());
    assert!(!registry.take_announcement().expect("the end of the interest").changes[0].wanted);
    // It comes again: an announcement of its own, behind the one that took it back.
    assert_eq!(registry.expect(Channel, b"a").1, 3);
}

#[test]
fn the_last_word_of_a_core_is_believed() {
    let mut registry = PubSub::new(ShardId(0), 3);
    let change = |wanted| Change { kind: Pattern, name: name("a*"), wanted };
    registry.hear(ShardId(2), &[change(true)]);
    registry.hear(ShardId(1), &[change(true), change(false), change(true)]);
    assert_eq!(reached(&registry, Channel, "abc"), [("a*".into(), vec![], vec![2, 1])]);
    subscribe(&mut registry, Pattern, "a*", KEY);
    registry.hear(ShardId(2), &[change(false)]);
    registry.hear(ShardId(1), &[change(false)]);
    assert_eq!(reached(&registry, Channel, "abc"), [("a*".into(), vec![7], vec![])]);
    registry.unsubscribe(Pattern, &name("a*"), KEY);
    assert!(registry.is_empty());
}
