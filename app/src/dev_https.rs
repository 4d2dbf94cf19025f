//! HTTPS for development, with a self-signed certificate that is made at the start.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::server::TlsStream;

use crate::options::ListenAddress;

/// A client that has not finished its handshake by then is disconnected.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of handshakes at the same time. Further clients wait.
const MAX_HANDSHAKES: usize = 256;

/// The first byte of a TLS connection: the type of a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// The answer to a client that does not speak TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Connection: close\r\n\r\n\
    This port serves HTTPS: use https:// in the address.\n";

/// HTTPS by a certificate that is valid as long as the program runs.
pub(crate) struct DevHttps {
    acceptor: TlsAcceptor,
    /// The SHA-256 of the public key, in base64.
    key_hash: String,
    url: String,
}

impl DevHttps {
    /// Makes the certificate, for this machine and for the address that the program listens on.
    pub(crate) fn new(listen: &ListenAddress, address: SocketAddr) -> Result<Self, String> {
        let ip = address.ip();
        let mut names =
            ["localhost", "127.0.0.1", "::1", listen.host()].map(str::to_owned).to_vec();
        names.push(ip.to_string());
        names.sort();
        names.dedup();
        let (config, key_hash) = certify(names).map_err(|error| format!("--dev-https: {error}"))?;
        let url = if ip.is_unspecified() {
            format!("https://localhost:{}/", address.port())
        } else {
            format!("https://{address}/")
        };
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), key_hash, url })
    }

    /// The command that starts Chromium. In a new profile, because a second start in the profile
    /// of a running Chromium ignores its flags.
    pub(crate) fn chromium(&self) -> String {
        let (key_hash, url) = (&self.key_hash, &self.url);
        format!(
            "chromium --user-data-dir=\"$(mktemp -d)\" --enable-features=DeviceBoundSessions:RefreshQuota/false,EnableBoundSessionCredentialsSoftwareKeysForManualTesting --ignore-certificate-errors-spki-list={key_hash} '{url}'"
        )
    }

    pub(crate) fn listener(self, tcp: TcpListener) -> HttpsListener {
        HttpsListener { tcp, acceptor: self.acceptor, handshakes: JoinSet::new() }
    }
}

/// A certificate for these names, and the SHA-256 of its public key in base64.
fn certify(names: Vec<String>) -> Result<(ServerConfig, String), Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let mut certificate = CertificateParams::new(names)?;
    certificate.distinguished_name.push(DnType::CommonName, "KVolt, for development only");
    certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = certificate.self_signed(&key)?;
    let key_hash = STANDARD.encode(Sha256::digest(key.subject_public_key_info()));

    let private = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private.into())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, key_hash))
}

/// Accepts connections after their handshakes, which are tasks: a slow one delays no other.
pub(crate) struct HttpsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    /// Aborted when dropped.
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl Listener for HttpsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, address) = Listener::accept(&mut self.tcp),
                    if self.handshakes.len() < MAX_HANDSHAKES =>
                {
                    let handshake = handshake(self.acceptor.clone(), stream);
                    self.handshakes.spawn(async move {
                        match timeout(HANDSHAKE_TIMEOUT, handshake).await {
                            Ok(Ok(stream)) => return Some((stream, address)),
                            Ok(Err(error)) => tracing::debug!("no TLS with {address}: {error}"),
                            Err(_) => tracing::debug!("no TLS with {address} in time"),
                        }
                        None
                    });
                }
                // Matches failed handshakes too: `select!` drops a branch whose pattern fails.
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = ended {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    mut stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
        stream.write_all(PLAIN_HTTP).await?;
        stream.shutdown().await?;
        // A connection that is closed with unread bytes is reset, and the answer may be lost.
        copy(&mut stream, &mut sink()).await?;
        return Err(io::Error::other("the client does not speak TLS"));
    }
    acceptor.accept(stream).await
}
