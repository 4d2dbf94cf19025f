use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use kvolt_servers::http::{Answer, exchange};
use kvolt_servers::webdriver::Browser;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

use crate::Server;

/// A client over HTTPS that is no browser: it sends what the test says. It accepts any certificate.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its cookies, by name.
    pub cookies: BTreeMap<String, String>,
    host: String,
    tls: Arc<ClientConfig>,
}

impl Client {
    /// A client without cookies.
    pub fn of(server: &dyn Server) -> Self {
        let host = server.origin().strip_prefix("https://").expect("an origin with https");
        let provider = Arc::new(ring::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has these versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Self { cookies: BTreeMap::new(), host: host.to_owned(), tls: Arc::new(tls) }
    }

    /// A thief: it has copied all cookies of a browser.
    pub fn thief(server: &dyn Server, browser: &mut Browser) -> Self {
        let cookies = browser.cookies().into_iter().map(|cookie| (cookie.name, cookie.value));
        Self { cookies: cookies.collect(), ..Self::of(server) }
    }

    /// The same client without one of its cookies.
    pub fn without(&self, cookie: &str) -> Self {
        let mut other = self.clone();
        other.cookies.remove(cookie);
        other
    }

    /// The same client with another value of a cookie.
    pub fn with(&self, cookie: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.cookies.insert(cookie.to_owned(), value.to_owned());
        other
    }

    /// A `GET`.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "")
    }

    /// A `POST` without a body.
    pub fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("POST", path, headers, "")
    }

    /// A form.
    pub fn submit(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], form)
    }

    /// Sends a request with the cookies. Those of the answer are not kept.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let port = self.host.rsplit_once(':').map_or("443", |(_, port)| port);
        let tcp = TcpStream::connect(("127.0.0.1", port.parse().expect("a port")));
        let tcp = tcp.expect("the server accepts connections");
        tcp.set_read_timeout(Some(Duration::from_secs(60))).expect("a valid time limit");
        let name = self.host.rsplit_once(':').map_or(&*self.host, |(name, _)| name);
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).expect("valid settings");
        let cookies: Vec<_> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = vec![("host", &*self.host)];
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        all.extend(headers);
        let answer = exchange(StreamOwned::new(tls, tcp), method, path, &all, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Applies the cookies of an answer.
    pub fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers("set-cookie") {
            let (name, rest) = cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Accepts any certificate: what it proves is no subject of these tests.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
