//! Hashes.

/// A map of byte strings to byte strings.
#[derive(Clone, Debug, Default)]
pub struct Hash {}

impl Hash {
    /// OBJECT ENCODING's name.
    pub fn encoding(&self) -> &'static str {
        "listpack"
    }
}
