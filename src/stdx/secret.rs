//! A text that nobody may learn: a password. What is offered is compared with it by digest and in constant time, so that
//! neither the time nor a debug line tells anything about its length or its letters.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// A password, or none.
#[derive(Clone, Default)]
pub struct Secret {
    text: String,
    /// The SHA-256 of the text.
    digest: [u8; 32],
}

impl Secret {
    /// The secret `text`; "" is none.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), digest: Sha256::digest(text).into() }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The secret itself, for the configuration.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Whether `offered` is the secret. The time depends on the length of what is offered and on nothing else.
    pub fn matches(&self, offered: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(offered).into();
        digest.ct_eq(&self.digest).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "(redacted)" })
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn only_the_secret_matches() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches(b"s3cret"));
        for wrong in [&b""[..], b"s3cre", b"s3cret ", b"S3cret", b"s3cret\0", &[0xff; 100]] {
            assert!(!secret.matches(wrong));
        }
        assert_eq!(secret.reveal(), "s3cret");
        assert_eq!(format!("{secret:?} {:?}", Secret::default()), "(redacted) none");
        assert!(secret == Secret::new("s3cret") && secret != Secret::default() && Secret::new("") == Secret::default());
    }

    #[test]
    fn no_secret_matches_nothing() {
        assert!(!Secret::default().matches(b"") && Secret::default().is_empty());
    }
}
