//! From a key to its slot, from a slot to the shard that owns it.

use crate::stdx::crc::crc16;

/// Number of slots, as in Redis Cluster.
pub const SLOTS: u16 = 16384;

/// Which shard; one per core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// As an index into per-shard arrays.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A slot: 0 to 16383.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot of `key`: that of its tag, the part between the first `{` and the next `}`, where that is not empty.
    pub fn of(key: &[u8]) -> Self {
        let tag = memchr::memchr(b'{', key).and_then(|open| {
            let rest = &key[open + 1..];
            memchr::memchr(b'}', rest).filter(|&len| len > 0).map(|len| &rest[..len])
        });
        Self(crc16(tag.unwrap_or(key)) % SLOTS)
    }
}

/// Knows which shard owns which slot.
#[derive(Clone, Copy, Debug)]
pub struct Router {
    shards: u16,
}

impl Router {
    /// Slots spread evenly over `shards` shards.
    pub fn new(shards: u16) -> Self {
        Self { shards }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        usize::from(self.shards)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// The shard that owns `key`. With one shard nothing is computed.
    #[inline]
    pub fn shard_of(&self, key: &[u8]) -> ShardId {
        if self.shards == 1 {
            return ShardId(0);
        }
        ShardId((u32::from(Slot::of(key).0) * u32::from(self.shards) / u32::from(SLOTS)) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::Slot;

    #[test]
    fn tags_decide_the_slot() {
        assert_eq!(Slot::of(b"foo").0, 12182);
        assert_eq!(Slot::of(b"{foo}bar"), Slot::of(b"foo"));
        assert_eq!(Slot::of(b"a{foo}bar{x}"), Slot::of(b"foo"));
        assert_ne!(Slot::of(b"{}foo"), Slot::of(b"foo"));
    }
}
