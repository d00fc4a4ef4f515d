//! `supervised`: whether a supervisor is told how the server is.

/// Who supervises the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Supervised {
    /// Nobody who wants to be told.
    #[default]
    No,
    /// systemd.
    Systemd,
    /// systemd, if it has started the server with NOTIFY_SOCKET.
    Auto,
}

impl Supervised {
    /// As the directive writes them, in the order of the discriminants.
    pub const NAMES: &[&str] = &["no", "systemd", "auto"];

    /// The one at `index` of [`Supervised::NAMES`].
    pub fn from_index(index: usize) -> Self {
        [Self::No, Self::Systemd, Self::Auto][index]
    }
}
