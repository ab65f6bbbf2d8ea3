//! Registries by the distribution specification: who we are, what is asked, what is taken of the answers.
//!
//! Blocking requests on threads. Everything that comes back is hostile: its length, its pace, where it sends us. What
//! the documents mean is `manifest`, where blobs are kept is `store`.

mod auth;
mod challenge;
mod client;
mod credentials;
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
