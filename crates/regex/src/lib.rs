//! `regex-lite` under the name `regex`.
//!
//! oci-spec asks for `regex` to check one short string (`execCPUAffinity`). With its default features, which oci-spec
//! leaves on, that crate is 1.2 MB of the binary; regex-lite, by the same authors, is 0.1 MB and takes the expression
//! as it is.

pub use regex_lite::{Regex, RegexBuilder};
