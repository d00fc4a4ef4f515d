//! The value of `notify-keyspace-events`: of which events clients are told, and on which channels.

use bitflags::bitflags;

bitflags! {
    /// Channels and classes of keyspace events.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Notifications: u16 {
        /// `K`: channels that are named after keys.
        const KEYSPACE = 1 << 0;
        /// `E`: channels that are named after events.
        const KEYEVENT = 1 << 1;
        /// `g`: commands on keys of any type.
        const GENERIC = 1 << 2;
        /// `$`
        const STRING = 1 << 3;
        /// `l`
        const LIST = 1 << 4;
        /// `s`
        const SET = 1 << 5;
        /// `h`
        const HASH = 1 << 6;
        /// `z`
        const SORTED_SET = 1 << 7;
        /// `x`: keys whose time is over.
        const EXPIRED = 1 << 8;
        /// `e`: keys removed for want of memory.
        const EVICTED = 1 << 9;
        /// `t`
        const STREAM = 1 << 10;
        /// `d`: types of modules.
        const MODULE = 1 << 11;
        /// `n`: keys that are new; not in `A`.
        const NEW = 1 << 12;
        /// `m`: keys that were looked for in vain; not in `A`.
        const KEY_MISS = 1 << 13;
    }
}

/// The classes that `A` stands for, and their letters.
const CLASSES: [(char, Notifications); 10] = [
    ('g', Notifications::GENERIC),
    ('$', Notifications::STRING),
    ('l', Notifications::LIST),
    ('s', Notifications::SET),
    ('h', Notifications::HASH),
    ('z', Notifications::SORTED_SET),
    ('x', Notifications::EXPIRED),
    ('e', Notifications::EVICTED),
    ('t', Notifications::STREAM),
    ('d', Notifications::MODULE),
];

/// The other letters.
const OTHERS: [(char, Notifications); 4] = [
    ('n', Notifications::NEW),
    ('K', Notifications::KEYSPACE),
    ('E', Notifications::KEYEVENT),
    ('m', Notifications::KEY_MISS),
];

impl Notifications {
    /// Reads the letters; `None` if there are others.
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::empty(), |sum, letter| {
            if letter == 'A' {
                return Some(sum | Self::all_classes());
            }
            let hit = CLASSES.iter().chain(&OTHERS).find(|(known, _)| *known == letter);
            hit.map(|(_, flag)| sum | *flag)
        })
    }

    /// The letters, in Redis's order. Differs: Redis leaves out `n` beside `A`, and loses it where it rewrites its file.
    pub fn text(self) -> String {
        let all = self.contains(Self::all_classes());
        let classes: &[_] = if all { &[('A', Self::empty())] } else { &CLASSES };
        classes.iter().chain(&OTHERS).filter(|(_, flag)| self.contains(*flag)).map(|(letter, _)| *letter).collect()
    }

    fn all_classes() -> Self {
        CLASSES.iter().fold(Self::empty(), |sum, (_, flag)| sum | *flag)
    }

    /// Whether anybody is told of anything.
    pub fn tell(self) -> bool {
        let channels = Self::KEYSPACE | Self::KEYEVENT;
        self.intersects(channels) && !(self - channels).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Notifications;

    #[test]
    fn letters_are_read_and_ordered() {
        for (text, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("KEg$lshzxetd", "AKE"),
            ("KElxm", "lxKEm"),
            ("nKE", "nKE"),
            ("KEAmn", "AnKEm"),
            ("Kgg", "gK"),
        ] {
            assert_eq!(Notifications::parse(text).expect("letters").text(), shown);
        }
        assert_eq!(Notifications::parse("KEq"), None);
    }

    #[test]
    fn channels_and_classes_belong_together() {
        for (text, tells) in [("", false), ("K", false), ("A", false), ("Kg", true), ("En", true)] {
            assert_eq!(Notifications::parse(text).expect("letters").tell(), tells, "{text}");
        }
    }
}
