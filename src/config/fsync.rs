//! `appendfsync`: when the log is forced to disk.

/// When what is written is forced to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Once a second.
    #[default]
    EverySecond,
    /// Before anybody is told of it.
    Always,
    /// When the kernel likes.
    No,
}

impl Fsync {
    /// As the directive writes them, in the order of the discriminants, which is Redis's.
    pub const NAMES: &[&str] = &["everysec", "always", "no"];

    /// The one at `index` of [`Fsync::NAMES`].
    pub fn from_index(index: usize) -> Self {
        [Self::EverySecond, Self::Always, Self::No][index]
    }
}
