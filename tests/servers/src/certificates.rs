use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::Failure;
use crate::failure::OrPanic;
use crate::folder::Folder;

/// A private certificate authority, with one server certificate and one client certificate.
///
/// The server certificate is for `localhost` and `127.0.0.1`. The client certificate is
/// issued to `kvolt`, the user name that PostgreSQL checks. The files are removed on drop;
/// servers keep their own copies.
#[derive(Debug)]
pub struct Certificates {
    folder: Folder,
    tls: Tls,
}

impl Certificates {
    /// Creates an authority that no other program trusts, and its certificates.
    ///
    /// # Panics
    ///
    /// Panics if the certificates can't be created or written.
    #[track_caller]
    pub fn new() -> Self {
        Self::try_new().or_panic()
    }

    fn try_new() -> Result<Self, Failure> {
        let folder = Folder::new("certificates", None)?;
        let issued = issue().map_err(|error| Failure::fatal(format!("certificates: {error}")))?;
        for (name, pem) in &issued {
            folder.write(name, pem)?;
        }
        let [authority, certificate, key, ..] = issued.map(|(_, pem)| pem);
        Ok(Self { folder, tls: Tls { authority, certificate, key, asks_clients: false } })
    }

    /// Path of the authority's certificate (PEM, like all these files).
    pub fn authority(&self) -> PathBuf {
        self.file("authority.pem")
    }

    /// Path of the server's certificate.
    pub fn server(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// Path of the private key of the server's certificate.
    pub fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    /// Path of the client's certificate.
    pub fn client(&self) -> PathBuf {
        self.file("client.pem")
    }

    /// Path of the private key of the client's certificate.
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies the server's files, and sets whether clients must present a certificate.
    pub(crate) fn for_server(&self, asks_clients: bool) -> Tls {
        Tls { asks_clients, ..self.tls.clone() }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

/// TLS settings of a server.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    authority: String,
    certificate: String,
    key: String,
    /// Whether clients must present a certificate.
    pub(crate) asks_clients: bool,
}

/// Paths of a server's own copies.
pub(crate) struct TlsFiles {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Tls {
    /// Writes copies into the server's folder, which a server that runs as another user can
    /// read.
    pub(crate) fn write_to(&self, folder: &Folder) -> Result<TlsFiles, Failure> {
        Ok(TlsFiles {
            authority: folder.write("authority.pem", &self.authority)?,
            certificate: folder.write("server.pem", &self.certificate)?,
            key: folder.write("server.key", &self.key)?,
        })
    }
}

fn issue() -> Result<[(&'static str, String); 5], rcgen::Error> {
    let mut params = named(Vec::new(), "test authority")?;
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
    // Cluster nodes connect to each other as clients.
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
