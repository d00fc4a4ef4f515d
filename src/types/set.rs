//! Sets.

/// A set of byte strings.
#[derive(Clone, Debug, Default)]
pub struct Set {}

impl Set {
    /// OBJECT ENCODING's name.
    pub fn encoding(&self) -> &'static str {
        "listpack"
    }
}
