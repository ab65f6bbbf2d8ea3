//! Passwords and tokens, which no message shows.

use std::fmt;

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password, a token or a header with one.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text for a request, a helper's input or a file of credentials.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
