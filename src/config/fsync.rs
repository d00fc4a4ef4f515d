//! `appendfsync`: when the log is forced to disk.

/// When what is written is forced to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before anybody is told of it.
    Always,
    /// Once a second.
    #[default]
    EverySecond,
    /// When the kernel likes.
    No,
}

impl Fsync {
    /// As the directive writes them, in the order of the discriminants.
    pub const NAMES: &[&str] = &["always", "everysec", "no"];

    /// The one at `index` of [`Fsync::NAMES`].
    pub fn from_index(index: usize) -> Self {
        [Self::Always, Self::EverySecond, Self::No][index]
    }
}
