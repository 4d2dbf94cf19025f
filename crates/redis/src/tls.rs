//! Encrypted connections, by rustls with ring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvolt_cache::{Error, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::errors::Fault;

/// The builder's settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    pub(crate) insecure: bool,
}

#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::misconfigured("TLS can't be set up").with_source(error))?;
        let builder = if settings.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        } else {
            builder.with_root_certificates(roots(settings.ca_file.as_deref())?)
        };
        let config = match &settings.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let secret =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, error))?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| unread(key, error))?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> std::result::Result<TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(String::from(host)).map_err(|_| {
            Fault::misconfigured(format!("a certificate can't have the name `{host}`"))
        })?;
        self.0.connect(name, stream).await.map_err(|error| {
            let is_rejected = error.get_ref().is_some_and(|inner| {
                matches!(
                    inner.downcast_ref(),
                    Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
                )
            });
            let fault = Fault::io(format!("the TLS handshake with {host} failed ({error})"), error);
            if is_rejected { fault.permanent() } else { fault }
        })
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unread(path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Error::misconfigured(
            "the system has no certificate authorities to trust: set a CA file",
        ));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unread(path, error))?;
    if certificates.is_empty() {
        return Err(Error::misconfigured(format!("{} has no certificate", path.display())));
    }
    Ok(certificates)
}

fn unread(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let path = path.display();
    Error::misconfigured(format!("{path} can't be read as PEM")).with_source(error)
}

/// Accepts any certificate: an attacker between client and server can read and change everything.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
