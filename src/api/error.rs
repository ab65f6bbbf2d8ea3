//! Errors of the library.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use base::error::Code;
use base::error::Report;

/// An error: what went wrong in one line, with a code that does not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The whole chain of causes on one line.
    message: String,
    /// The name of the code.
    code: String,
    /// The property of config.json that the message names.
    field: Option<String>,
    /// The name of the kernel's error.
    errno: Option<String>,
}

/// The result of a call of the library.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns the kind of the error; its name is stable. `croci explain` and docs/reference/error-codes.md explain it.
    pub fn code(&self) -> Code {
        Code::named(&self.code).unwrap_or(Code::Failed)
    }

    /// Returns the whole chain of causes on one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the property of config.json that the message names.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Returns the name of the kernel's error: `ENOENT`.
    pub fn errno(&self) -> Option<&str> {
        self.errno.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<anyhow::Error> for Error {
    fn from(err: anyhow::Error) -> Error {
        let report = Report::of(&err);
        Error { message: report.message, code: report.code.name().to_owned(), field: report.field, errno: report.errno }
    }
}
