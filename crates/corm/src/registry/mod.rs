//! Client for registries of the distribution specification: authentication, requests, verification.
//!
//! Requests block, on threads. Every response is untrusted: its length, its speed, its redirects. `manifest` parses
//! documents, `store` stores blobs.

mod auth;
mod challenge;
mod client;
mod credentials;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod http;
mod pull;
mod push;
mod tls;
mod upload;
mod url;

pub use client::{Access, Client, Options, ResolvedManifest};
pub use http::{HttpError, Timeouts};
pub use pull::pull;
pub use push::push;
