//! Test of credentials before they are stored.

use anyhow::{Context as _, Result};

use super::client::{Client, Options};
use super::credentials::Credentials;
use crate::registries::Endpoint;

/// Checks that a registry accepts credentials, for no repository in particular.
///
/// # Errors
/// It refuses them, or is no registry.
pub fn login(registry: &str, credentials: &Credentials, options: &Options) -> Result<()> {
    let at = Endpoint::of_registry(registry, options.registries.is_insecure(registry)?);
    let client = Client::connect_as(&at, Some(credentials.clone()), Vec::new(), options)?;
    client.check_login().with_context(|| format!("registry {registry}"))
}
