//! TLS: the system's certificate authorities, and those of one registry.
//!
//! rustls with ring's cryptography. The authorities are the system's, not a compiled-in list, so that private ones work
//! and system updates revoke others.

use base::coded;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

use super::verifier::Verifier;

/// Files with all authorities in various distributions; the first existing one is read.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Directories of Podman and Docker with certificates of one registry, in a subdirectory of its name.
const PER_REGISTRY: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Returns the TLS configuration for one registry.
///
/// # Errors
/// A certificate file cannot be read.
pub(super) fn config(registry: &str, verify: bool) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let own = Own::read(&directories(), registry, &provider)?;
    let mut roots = RootCertStore::empty();
    if verify {
        roots.add_parsable_certificates(own.authorities.iter().cloned().chain(system()?));
    }
    let authorities = match roots.is_empty() {
        true => None,
        false => {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            Some(builder.build().context("the authorities")?)
        }
    };
    let verifier = Verifier { authorities, own: own.authorities, verify, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().context("TLS")?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let config = match own.client {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).context("the client certificate")?,
        None => config.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Returns the system's authorities; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them, as for OpenSSL.
fn system() -> Result<Vec<CertificateDer<'static>>> {
    let env = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let (file, dir) = (env("SSL_CERT_FILE"), env("SSL_CERT_DIR"));
    let mut found = Vec::new();
    if let Some(file) = &file {
        found.extend(certificates(file)?);
    }
    for dir in dir.iter().flat_map(std::env::split_paths) {
        for file in sorted(&dir)? {
            // the directory has other files too
            found.extend(certificates(&file).unwrap_or_default());
        }
    }
    if file.is_none()
        && dir.is_none()
        && let Some(bundle) = BUNDLES.iter().map(Path::new).find(|path| path.exists())
    {
        found = certificates(bundle)?;
    }
    Ok(found)
}

fn directories() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let own = home.map(|home| PathBuf::from(home).join(".config/containers/certs.d"));
    own.into_iter().chain(PER_REGISTRY.map(PathBuf::from)).collect()
}

/// A client certificate with its chain, and its key.
type Client = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Content of `certs.d/HOST:PORT`: `*.crt` are authorities, `NAME.cert` and `NAME.key` the client certificate.
#[derive(Default)]
struct Own {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<Client>,
}

impl Own {
    fn read(directories: &[PathBuf], registry: &str, provider: &CryptoProvider) -> Result<Self> {
        let mut own = Self::default();
        for dir in directories.iter().map(|dir| dir.join(registry)).filter(|dir| dir.is_dir()) {
            for file in sorted(&dir)? {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => {
                        let found = certificates(&file)?;
                        ensure!(!found.is_empty(), coded!(RegistryTls, "{file:?}: no certificate in it"));
                        own.authorities.extend(found);
                    }
                    Some("cert") if own.client.is_none() => own.client = Some(client(&file, provider)?),
                    _ => {}
                }
            }
        }
        Ok(own)
    }
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = linux::open::read_dir(dir).with_context(|| format!("read {dir:?}"))?;
    let mut files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = std::fs::read(file).with_context(|| format!("read {file:?}"))?;
    CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| coded!(RegistryTls, "{file:?}: not PEM").into())
}

/// Loads a client certificate and checks that the key matches, because rustls does not.
fn client(file: &Path, provider: &CryptoProvider) -> Result<Client> {
    let key_file = file.with_extension("key");
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("read {file:?}"));
    let (chain_pem, key_pem) = (read(file)?, read(&key_file)?);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{file:?}: not PEM"))?;
    let key =
        PrivateKeyDer::from_pem_slice(&key_pem).ok().with_context(|| format!("{key_file:?}: no private key in it"))?;
    CertifiedKey::from_der(chain.clone(), key.clone_key(), provider)
        .map_err(|_| coded!(RegistryTls, "{key_file:?}: not the key of {file:?} (give the two of one client)"))?;
    Ok((chain, key))
}
