//! Client for registries of the distribution specification: authentication, requests, verification.
//!
//! Requests block, on threads. Every response is untrusted: its length, its speed, its redirects. `manifest` parses
//! documents, `store` stores blobs.

mod auth;
mod catalog;
mod challenge;
mod client;
mod connector;
mod credentials;
mod download;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod http;
mod login;
mod pull;
mod push;
mod resolver;
mod search;
mod tls;
mod upload;
mod url;
mod verifier;

pub use client::{Access, Client, Options, ResolvedManifest};
pub use credentials::{AuthFile, AuthSource, Credentials};
pub use download::{Downloaded, download};
pub(crate) use fetch::Fetch;
pub use http::{HttpError, Timeouts};
pub use login::login;
pub(crate) use pull::at_first;
pub use pull::pull;
pub use push::push;
pub(crate) use push::{put_image, put_manifest};
pub use search::{Found, search};
pub(crate) use upload::Upload;
