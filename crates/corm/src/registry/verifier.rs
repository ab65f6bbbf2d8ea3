//! The check of a server's certificate: by authorities, or because it is itself in the registry's certs.d.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Error of webpki for a server's certificate that is an authority, which a self-signed one of `openssl req -x509` is. By
/// its text, because rustls does not pass its type on.
const OWN_AUTHORITY: &str = "CaUsedAsEndEntity";

/// The check of a handshake's signature in a version of TLS.
type SignatureCheck = fn(
    &[u8],
    &CertificateDer<'_>,
    &DigitallySignedStruct,
    &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error>;

/// The check of a server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    /// The check by authorities; absent without any.
    pub authorities: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates of certs.d, which are trusted also as the server's own, as Podman does.
    pub own: Vec<CertificateDer<'static>>,
    /// Whether certificates are checked at all.
    pub verify: bool,
    /// The algorithms.
    pub provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Returns whether an error is only about a certificate of certs.d being an authority. webpki has checked its dates
    /// before.
    fn is_of_own(&self, error: &Error, certificate: &CertificateDer<'_>) -> bool {
        let Error::InvalidCertificate(CertificateError::Other(cause)) = error else { return false };
        cause.to_string() == OWN_AUTHORITY && self.own.iter().any(|own| own == certificate)
    }

    /// Checks a signature by the function of its version of TLS, if certificates are checked at all.
    fn signature(
        &self,
        check: SignatureCheck,
        (message, cert, signature): (&[u8], &CertificateDer<'_>, &DigitallySignedStruct),
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.verify {
            return Ok(HandshakeSignatureValid::assertion());
        }
        check(message, cert, signature, &self.provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.verify {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(authorities) = &self.authorities else { return Err(CertificateError::UnknownIssuer.into()) };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error) if self.is_of_own(&error, end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(verify_tls12_signature, (message, cert, signature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(verify_tls13_signature, (message, cert, signature))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
