//! Lists.

/// A list of byte strings.
#[derive(Clone, Debug, Default)]
pub struct List {}

impl List {
    /// OBJECT ENCODING's name.
    pub fn encoding(&self) -> &'static str {
        "listpack"
    }
}
