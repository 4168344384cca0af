//! Certificates made on the spot, and clients that speak TLS: the real gRPC client
//! over connections of this file's own making, so that a test can choose what is
//! shown, offered and trusted.
//!
//! ```ignore
//! let authority = Authority::new("an authority for tests");
//! let home = Home::new(&authority.server());
//! let client = Dialer::trusting(&authority).client(address, None).await?;
//! ```

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc};

use hyper_util::rt::TokioIo;
use mintage::grpc::{
    proto::token_service_client::TokenServiceClient,
    tls::{Clients, Credentials, Tls},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
        sign::CertifiedKey,
        version::{TLS12, TLS13},
    },
};
use tonic::transport::{Channel, Endpoint};

use super::service::{Bearer, Client};

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Identity {
    /// A server's end of TLS with it, which asks clients for nothing.
    pub fn tls(&self) -> Tls {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let own = Arc::new(CertifiedKey::new(chain.collect::<Result<_, _>>().unwrap(), key));
        Tls::new(Credentials { own, clients: Clients::Unasked }).unwrap()
    }
}

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: String,
}

impl Authority {
    /// One that nobody knows yet.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A server's certificate, for 127.0.0.1.
    pub fn server(&self) -> Identity {
        self.identity(&[SanType::IpAddress([127, 0, 0, 1].into())])
    }

    /// A client's certificate with these names: URIs where they have a colon.
    pub fn client(&self, names: &[&str]) -> Identity {
        let name = |name: &&str| match name.contains(':') {
            true => SanType::URI((*name).try_into().unwrap()),
            false => SanType::DnsName((*name).try_into().unwrap()),
        };
        self.identity(&names.iter().map(name).collect::<Vec<_>>())
    }

    fn identity(&self, names: &[SanType]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

/// A folder with a service's certificate and key.
pub struct Home(TempDir);

impl Home {
    pub fn new(server: &Identity) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.put("server.key", &server.key);
        home.put("server.pem", &server.certificate);
        home
    }

    /// With the authority of clients beside them.
    pub fn with_clients(server: &Identity, authority: &Authority) -> Self {
        let home = Self::new(server);
        home.put("clients.pem", &authority.certificate);
        home
    }

    /// Lays a file down at once, over another one.
    pub fn put(&self, name: &str, content: &str) {
        let draft = self.path("draft");
        fs::write(&draft, content).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    /// Where a file of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `[server.tls]` with these lines more, as values of a table.
    pub fn section(&self, more: &str) -> String {
        let (certificate, key) = (self.path("server.pem"), self.path("server.key"));
        format!("tls = {{ certificate_file = {certificate:?}, key_file = {key:?}{more} }}")
    }

    /// The same, with clients' certificates `required` or `optional`.
    pub fn mutual(&self, word: &str) -> String {
        let authority = self.path("clients.pem");
        self.section(&format!(", client_ca_file = {authority:?}, client_certificates = \"{word}\""))
    }
}

/// How a client connects.
#[derive(Clone)]
pub struct Dialer {
    roots: Arc<RootCertStore>,
    own: Option<Identity>,
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<Vec<u8>>,
}

impl Dialer {
    /// One that trusts this authority, and shows nothing.
    pub fn trusting(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = authority.certificate.as_bytes();
        roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
        let versions = vec![&TLS13, &TLS12];
        Self { roots: Arc::new(roots), own: None, versions, protocols: vec![b"h2".to_vec()] }
    }

    /// The same, which shows this certificate.
    pub fn showing(&self, own: &Identity) -> Self {
        Self { own: Some(own.clone()), ..self.clone() }
    }

    /// The same with one version of TLS.
    pub fn speaking(&self, version: &'static SupportedProtocolVersion) -> Self {
        Self { versions: vec![version], ..self.clone() }
    }

    /// The same with these protocols to choose from.
    pub fn offering(&self, protocols: &[&[u8]]) -> Self {
        Self { protocols: protocols.iter().map(|one| one.to_vec()).collect(), ..self.clone() }
    }

    fn config(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_protocol_versions(&self.versions)
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                let chain = chain.collect::<Result<_, _>>().unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.clone();
        config
    }

    /// A connection after its handshake.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(address.ip().into());
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(self.config())).connect(name, stream).await
    }

    /// A gRPC channel. With TLS 1.3 a client that isn't let in hears so only with its
    /// first call.
    pub async fn channel(&self, address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
        let dialer = self.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let dialer = dialer.clone();
            async move { dialer.connect(address).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_with_connector(connector).await
    }

    /// A client of the contract on a channel of its own, which proves itself with
    /// this token.
    pub async fn client(
        &self,
        address: SocketAddr,
        token: Option<&str>,
    ) -> Result<Client, tonic::transport::Error> {
        let channel = self.channel(address).await?;
        Ok(TokenServiceClient::with_interceptor(channel, Bearer::of(token)))
    }
}

/// The server's certificate at the other end of a connection.
pub fn certificate_of(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().unwrap().first().unwrap().clone().into_owned()
}

/// A certificate as it is sent.
pub fn der(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()
}
