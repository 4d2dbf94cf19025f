use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::Failure;
use crate::failure::OrPanic;
use crate::folder::Folder;

/// A certificate authority, with a certificate for servers and one for clients.
///
/// The server's is for `localhost` and `127.0.0.1`. The client's is issued to `kvolt`, the user
/// that PostgreSQL expects in it. The files are removed on drop; servers have copies of their own.
#[derive(Debug)]
pub struct Certificates {
    folder: Folder,
    tls: Tls,
}

impl Certificates {
    /// Creates certificates, signed by an authority that no other program trusts.
    ///
    /// # Panics
    ///
    /// Panics if they can't be made or written.
    #[track_caller]
    pub fn new() -> Self {
        Self::try_new().or_panic()
    }

    fn try_new() -> Result<Self, Failure> {
        let folder = Folder::new("certificates", None)?;
        let issued = issue().map_err(|error| Failure::last(format!("certificates: {error}")))?;
        for (name, pem) in &issued {
            folder.write(name, pem)?;
        }
        let [authority, certificate, key, ..] = issued.map(|(_, pem)| pem);
        Ok(Self { folder, tls: Tls { authority, certificate, key, asks_clients: false } })
    }

    /// The authority's certificate, in PEM like all of these.
    pub fn authority(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// The server's certificate.
    pub fn server(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// The key of the server's certificate.
    pub fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    /// The client's certificate.
    pub fn client(&self) -> PathBuf {
        self.file("client.pem")
    }

    /// The key of the client's certificate.
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server's side of TLS, and whether it asks clients for a certificate.
    pub(crate) fn for_server(&self, asks_clients: bool) -> Tls {
        Tls { asks_clients, ..self.tls.clone() }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

/// A server's side of TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    authority: String,
    certificate: String,
    key: String,
    /// Whether clients must present a certificate too.
    pub(crate) asks_clients: bool,
}

/// A server's own copies.
pub(crate) struct TlsFiles {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Tls {
    /// Into the server's folder, since it may run as another user.
    pub(crate) fn write_to(&self, folder: &Folder) -> Result<TlsFiles, Failure> {
        Ok(TlsFiles {
            authority: folder.write("authority.pem", &self.authority)?,
            certificate: folder.write("server.pem", &self.certificate)?,
            key: folder.write("server.key", &self.key)?,
        })
    }
}

fn issue() -> Result<[(&'static str, String); 5], rcgen::Error> {
    let mut params = named(Vec::new(), "the authority of a test")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let leaf = |names: &[&str], name, usages: &[ExtendedKeyUsagePurpose]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = named(names, name)?;
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        Ok::<_, rcgen::Error>((certificate.pem(), key.serialize_pem()))
    };
    let names = ["localhost", "127.0.0.1"];
    let (serve, connect) =
        (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    // The nodes of a cluster are each other's clients.
    let (server, server_key) = leaf(&names, "localhost", &[serve, connect.clone()])?;
    let (client, client_key) = leaf(&[], "kvolt", &[connect])?;
    Ok([
        ("authority.pem", authority.pem()),
        ("server.pem", server),
        ("server.key", server_key),
        ("client.pem", client),
        ("client.key", client_key),
    ])
}

fn named(alternatives: Vec<String>, name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(alternatives)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
