//! TLS: the system's certificate authorities, and those of one registry.
//!
//! rustls with ring's cryptography. The authorities are the system's, not a compiled-in list, so that private ones work
//! and system updates revoke others.

use base::coded;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

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
pub(super) fn config(registry: &str, verify: bool) -> Result<TlsConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider.clone())
        .disable_verification(!verify);
    let own = Own::read(&directories(), registry, &provider)?;
    let mut roots = own.authorities;
    if verify {
        roots.extend(system()?);
    }
    builder = builder.root_certs(RootCerts::from(roots)).client_cert(own.client);
    Ok(builder.build())
}

/// Returns the system's authorities; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them, as for OpenSSL.
fn system() -> Result<Vec<Certificate<'static>>> {
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

/// Content of `certs.d/HOST:PORT`: `*.crt` are authorities, `NAME.cert` and `NAME.key` the client certificate.
#[derive(Default)]
struct Own {
    authorities: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl Own {
    fn read(directories: &[PathBuf], registry: &str, provider: &CryptoProvider) -> Result<Self> {
        let mut own = Self::default();
        for dir in directories.iter().map(|dir| dir.join(registry)).filter(|dir| dir.is_dir()) {
            for file in sorted(&dir)? {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => own.authorities.extend(certificates(&file)?),
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

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let bytes = std::fs::read(file).with_context(|| format!("read {file:?}"))?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(_) => bail!(coded!(RegistryTls, "{file:?}: not PEM")),
        }
    }
    Ok(found)
}

/// Loads a client certificate and checks that the key matches, because rustls does not.
fn client(file: &Path, provider: &CryptoProvider) -> Result<ClientCert> {
    let key_file = file.with_extension("key");
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("read {file:?}"));
    let (chain_pem, key_pem) = (read(file)?, read(&key_file)?);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{file:?}: not PEM"))?;
    let key =
        PrivateKeyDer::from_pem_slice(&key_pem).ok().with_context(|| format!("{key_file:?}: no private key in it"))?;
    CertifiedKey::from_der(chain.clone(), key, provider).with_context(|| format!("{file:?} with {key_file:?}"))?;
    let key = ureq::tls::PrivateKey::from_pem(&key_pem)
        .ok()
        .with_context(|| format!("{key_file:?}: no private key in it"))?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(ClientCert::new_with_certs(&chain, key))
}
