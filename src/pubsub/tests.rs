//! Registries of several cores that share their interest.

use super::*;
use ChannelKind::{Channel, Pattern, Shard};

fn cores(count: usize) -> (Arc<Interest>, Vec<PubSub>) {
    let interest = Arc::new(Interest::new(count, 1));
    let registries = (0..count as u16).map(|core| PubSub::new(ShardId(core), interest.clone())).collect();
    (interest, registries)
}

fn name(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Whom a publication reaches on its core: pattern, subscribers.
fn reached(registry: &PubSub, kind: ChannelKind, channel: &str) -> Vec<(String, Vec<u32>)> {
    let show = |(pattern, subscribers): (Option<&Bytes>, &Subscribers)| {
        let pattern = pattern.map_or(String::new(), |text| String::from_utf8_lossy(text).into_owned());
        (pattern, subscribers.iter().map(|key| key.0).collect())
    };
    registry.matching(kind, channel.as_bytes()).map(show).collect()
}

/// The other cores that it goes to.
fn others(registry: &PubSub, kind: ChannelKind, channel: &str) -> Vec<u16> {
    let mut reached = Vec::new();
    registry.other_cores(kind, channel.as_bytes(), &mut reached);
    reached.into_iter().map(|core| core.0).collect()
}

#[test]
fn a_publication_reaches_the_channel_and_then_its_patterns() {
    let (interest, mut registries) = cores(1);
    let registry = &mut registries[0];
    assert!(interest.is_deaf());
    for (kind, text, key) in [
        (Channel, "news", 1),
        (Channel, "news", 2),
        (Pattern, "n*", 2),
        (Pattern, "news", 3),
        (Pattern, "x*", 3),
        (Shard, "news", 4),
    ] {
        assert_eq!(registry.subscribe(kind, text.as_bytes(), SessionKey(key)), name(text));
    }
    let expected = [(String::new(), vec![1, 2]), ("n*".into(), vec![2]), ("news".into(), vec![3])];
    assert_eq!(reached(registry, Channel, "news"), expected);
    assert_eq!(reached(registry, Shard, "news"), [(String::new(), vec![4])]);
    assert_eq!(reached(registry, Channel, "other"), []);
    assert_eq!(others(registry, Channel, "news"), [0u16; 0]);
    assert_eq!(ChannelKind::ALL.map(|kind| interest.len(kind)), [1, 3, 1]);
    assert_eq!(registry.subscribers(Channel, b"news"), 2);
    assert_eq!(registry.names(Channel, None), [name("news")]);
    assert_eq!(registry.names(Shard, Some(b"m*")), Vec::<Bytes>::new());
    registry.unsubscribe(Channel, &name("news"), SessionKey(1));
    registry.unsubscribe(Channel, &name("news"), SessionKey(2));
    assert_eq!((interest.len(Channel), interest.is_deaf()), (0, false));
}

#[test]
fn a_publication_goes_to_the_cores_that_have_subscribers_at_that_moment() {
    for (own, first, last) in [(0, 1, 2), (2, 0, 1), (100, 3, 70)] {
        let (interest, mut registries) = cores(101);
        let publishes = |registries: &[PubSub]| others(&registries[own], Channel, "news");
        registries[first].subscribe(Channel, b"news", SessionKey(1));
        registries[own].subscribe(Channel, b"news", SessionKey(1));
        registries[last].subscribe(Pattern, b"n?ws", SessionKey(1));
        assert_eq!(publishes(&registries), [first as u16, last as u16]);
        assert_eq!(others(&registries[own], Shard, "news"), [0u16; 0]);
        assert_eq!(others(&registries[own], Channel, "quiet"), [0u16; 0]);
        registries[last].subscribe(Channel, b"news", SessionKey(2));
        assert_eq!((interest.len(Channel), interest.len(Pattern)), (1, 1), "a name counts once");
        registries[last].unsubscribe(Pattern, &name("n?ws"), SessionKey(1));
        registries[first].unsubscribe(Channel, &name("news"), SessionKey(1));
        assert_eq!(publishes(&registries), [last as u16]);
        registries[last].unsubscribe(Channel, &name("news"), SessionKey(2));
        registries[own].unsubscribe(Channel, &name("news"), SessionKey(1));
        assert_eq!((publishes(&registries), interest.is_deaf()), (vec![], true));
    }
}

#[test]
fn patterns_reach_whatever_they_match() {
    for pattern in ["*", "?b", "[a-c]b", "a*", "\\ab", "ab", "a\\b", "[^x]b"] {
        let (_, mut registries) = cores(2);
        registries[1].subscribe(Pattern, pattern.as_bytes(), SessionKey(1));
        assert_eq!(reached(&registries[1], Channel, "ab").len(), 1, "{pattern}");
        assert_eq!(others(&registries[0], Channel, "ab"), [1], "{pattern}");
    }
    for (pattern, channel) in [("", ""), ("*", ""), ("\\", "\\")] {
        let (_, mut registries) = cores(2);
        registries[1].subscribe(Pattern, pattern.as_bytes(), SessionKey(1));
        assert_eq!(
            (reached(&registries[1], Channel, channel).len(), others(&registries[0], Channel, channel)),
            (1, vec![1])
        );
    }
}

/// Names share sets: the bit of a set stays up until the last of its names has no subscribers.
#[test]
fn no_name_is_forgotten_with_another_one() {
    let (interest, mut registries) = cores(2);
    let names: Vec<Bytes> = (0..20_000).map(|number| Bytes::from(format!("channel {number}"))).collect();
    for name in &names {
        registries[1].subscribe(Channel, name, SessionKey(1));
    }
    assert_eq!(interest.len(Channel), 20_000);
    let mut goes = 0;
    for (number, name) in names.iter().enumerate() {
        let mut reached = Vec::new();
        registries[0].other_cores(Channel, name, &mut reached);
        assert_eq!(reached, [ShardId(1)], "{number}");
        registries[1].unsubscribe(Channel, name, SessionKey(1));
        reached.clear();
        registries[0].other_cores(Channel, name, &mut reached);
        goes += reached.len();
    }
    assert!(goes > 10_000, "sets are shared here");
    let mut reached = Vec::new();
    names.iter().for_each(|name| registries[0].other_cores(Channel, name, &mut reached));
    assert!(reached.is_empty() && interest.is_deaf());
}
