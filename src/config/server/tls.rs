//! TLS on the gRPC port.
//!
//! ```toml
//! [server.tls]
//! certificate_file = "server.pem"
//! key_file = "server.key"
//! ```
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `certificate_file` | | PEM: the server's certificate, then what leads from it to its authority |
//! | `key_file` | | its private key in PEM: PKCS#8, PKCS#1 or SEC1 |
//! | `client_ca_file` | none: clients show no certificate | PEM: whose certificates of clients are good |
//! | `client_certificates` | `"required"` | or `"optional"`: whoever has none may come in, and proves itself by a token |
//!
//! The files are read with the configuration, and again while the service runs, so
//! that they can be replaced.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{RootCertStore, sign::CertifiedKey};

use super::super::{
    certificates::{self, Own},
    mistake::{Mistake, Mistakes},
    reader::{Read, Section, join, one_of},
    secret::SecretBytes,
};

/// Where the section stands.
const SECTION: &str = "server.tls";

const CERTIFICATE: &str = "certificate_file";
const KEY: &str = "key_file";
const CLIENT_CA: &str = "client_ca_file";
const CLIENT_CERTIFICATES: &str = "client_certificates";

/// TLS on the gRPC port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Where it is read again.
    pub files: TlsFiles,
    /// Whether a client must show a certificate, where there is a `client_ca_file`.
    pub client_certificates: ClientCertificates,
    /// What the files held when the configuration was read.
    pub content: TlsContent,
}

/// Whether clients must show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Nobody comes in without one.
    Required,
    /// Whoever has none may come in; one that isn't good keeps its client out.
    Optional,
}

const WORDS: [(&str, ClientCertificates); 2] =
    [("required", ClientCertificates::Required), ("optional", ClientCertificates::Optional)];

/// The files of certificates and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then what leads from it to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients' certificates.
    pub client_ca: Option<PathBuf>,
}

/// What the files hold: a certificate and a key that fit together.
#[derive(Clone)]
pub struct TlsContent {
    /// The certificate and its key.
    pub own: Arc<CertifiedKey>,
    /// The authorities of clients' certificates.
    pub client_ca: Option<Arc<RootCertStore>>,
    /// The key as its file has it, to notice another one.
    key: SecretBytes,
}

impl PartialEq for TlsContent {
    fn eq(&self, other: &Self) -> bool {
        let roots = |content: &Self| content.client_ca.as_ref().map(|ca| ca.roots.clone());
        self.own.cert == other.own.cert && self.key == other.key && roots(self) == roots(other)
    }
}

impl Eq for TlsContent {}

impl fmt::Debug for TlsContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContent")
            .field("certificates", &self.own.cert.len())
            .field("client_authorities", &self.client_ca.as_ref().map(|ca| ca.len()))
            .finish_non_exhaustive()
    }
}

/// Reads `[server.tls]` and its files.
pub(super) fn read(mut section: Section<'_>) -> Option<TlsConfig> {
    let path = section.path_reader();
    let certificate = section.required(CERTIFICATE, &path);
    let key = section.required(KEY, &path);
    let asks = section.has(CLIENT_CA);
    let client_ca = section.optional(CLIENT_CA, &path);
    if !asks {
        section.misplaced(&[CLIENT_CERTIFICATES], "needs client_ca_file beside it");
    }
    let client_certificates =
        section.or(CLIENT_CERTIFICATES, ClientCertificates::Required, one_of(&WORDS));
    let mut reading = Reading::default();
    let content = reading.content(certificate.as_deref(), key.as_deref(), client_ca.as_deref());
    for (key, sentence) in reading.wrong {
        section.wrong(key, sentence);
    }
    section.end();
    let files = TlsFiles { certificate: certificate?, key: key?, client_ca };
    Some(TlsConfig { files, client_certificates, content: content? })
}

impl TlsFiles {
    /// Reads the files again: what they hold now, or None where it is what is held
    /// already. All mistakes at once; none of them shows a key.
    pub fn load_changed(&self, held: &TlsContent) -> Result<Option<TlsContent>, Mistakes> {
        let mut reading = Reading::default();
        let content =
            reading.content(Some(&self.certificate), Some(&self.key), self.client_ca.as_deref());
        let mistake = |(key, sentence)| Mistake { place: join(SECTION, key), sentence };
        let mistakes = reading.wrong.into_iter().map(mistake).collect();
        Mistakes::or(mistakes, content).map(|fresh| (fresh != *held).then_some(fresh))
    }
}

/// One pass over the files, and what was wrong on the way: a key of the section, and a
/// sentence.
#[derive(Default)]
struct Reading {
    wrong: Vec<(&'static str, String)>,
}

impl Reading {
    /// What the files hold, if all is well with those that are named.
    fn content(
        &mut self,
        certificate: Option<&Path>,
        key: Option<&Path>,
        client_ca: Option<&Path>,
    ) -> Option<TlsContent> {
        let chain = certificate.map(|path| self.read(CERTIFICATE, certificates::chain(path)));
        let key = key.map(|path| self.read(KEY, certificates::private_key(path)));
        let client_ca = client_ca.map(|path| self.read(CLIENT_CA, certificates::trusted(path)));
        let ((_, chain), (key, signing)) = chain.flatten().zip(key.flatten())?;
        let own =
            match certificates::fit(chain, signing, Own { certificate: CERTIFICATE, key: KEY }) {
                Ok(own) => own,
                Err(wrong) => {
                    self.wrong.push(wrong);
                    return None;
                }
            };
        let client_ca = match client_ca {
            Some(read) => Some(Arc::new(read?.1)),
            None => None,
        };
        Some(TlsContent { own: Arc::new(own), client_ca, key })
    }

    fn read<T>(&mut self, key: &'static str, read: Read<T>) -> Option<T> {
        read.map_err(|sentence| self.wrong.push((key, sentence))).ok()
    }
}
