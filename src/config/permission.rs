//! Who may do what is dangerous in foreign hands: DEBUG, and changes of directives that name files.

/// Which clients are permitted something; the order of [`Permission::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// No client.
    No,
    /// Every client.
    Yes,
    /// Clients on this machine.
    Local,
}

impl Permission {
    /// The names, as the directives' values.
    pub const NAMES: &'static [&'static str] = &["no", "yes", "local"];

    /// The permission at this place in [`Permission::NAMES`].
    pub fn from_index(index: usize) -> Self {
        match index {
            1 => Self::Yes,
            2 => Self::Local,
            _ => Self::No,
        }
    }

    /// Whether it includes a client; `local` says whether that one is on this machine.
    pub fn includes(self, local: bool) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::Local => local,
        }
    }
}
