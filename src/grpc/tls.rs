//! TLS on the gRPC port: what new connections are met with, and whose certificate
//! is at the other end.
//!
//! Certificates and keys can be replaced while the service runs. That ends no
//! connection: an open one keeps what it began with, for as long as it may live
//! ([`max_age`](super::transport::ConnectionBounds::max_age)).

use std::{fmt, io, sync::Arc};

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::CertificateDer,
        server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
        sign::{CertifiedKey, SingleCertAndKey},
    },
    server::TlsStream,
};
use webpki::EndEntityCert;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::service::San;

/// What a server proves itself with, and what it wants to see of its clients.
#[derive(Clone)]
pub struct Credentials {
    /// The server's certificate, what leads from it to its authority, and its key.
    pub own: Arc<CertifiedKey>,
    /// Whose certificates are asked for.
    pub clients: Clients,
}

/// What is asked of clients.
#[derive(Clone)]
pub enum Clients {
    /// Nothing.
    Unasked,
    /// A certificate of one of these authorities. Whoever has none may come in, and
    /// proves itself in another way; with one of anybody else nobody comes in.
    Asked(Arc<RootCertStore>),
    /// The same, and nobody comes in without one.
    Required(Arc<RootCertStore>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// TLS as the next connection gets it. Its clones are the same one.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<InUse>>);

/// What connections get.
struct InUse {
    config: Arc<ServerConfig>,
    /// The end of the server's certificate, in Unix seconds; None where it isn't readable.
    not_after: Option<i64>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Bytes that wait in TLS to be sent on one connection: a record. A peer that reads
/// nothing holds no more by it.
const MAX_UNSENT_BYTES: usize = 16 * 1024;

/// The names of one certificate that are looked at: many times what a workload has.
const MAX_SANS: usize = 64;

impl Tls {
    /// With these credentials, until others replace them.
    pub fn new(credentials: Credentials) -> Result<Self, rustls::Error> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(InUse::new(credentials)?))))
    }

    /// Every connection from now on gets these.
    pub fn replace(&self, credentials: Credentials) -> Result<(), rustls::Error> {
        self.0.store(Arc::new(InUse::new(credentials)?));
        Ok(())
    }

    /// The end of the server's certificate, in Unix seconds. None: it can't be read.
    pub fn not_after(&self) -> Option<i64> {
        self.0.load().not_after
    }

    /// Shakes hands with a client.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.0.load().config));
        let bounded = |session: &mut rustls::ServerConnection| {
            session.set_buffer_limit(Some(MAX_UNSENT_BYTES));
        };
        acceptor.accept_with(stream, bounded).await
    }
}

impl InUse {
    fn new(credentials: Credentials) -> Result<Self, rustls::Error> {
        let not_after = credentials.own.cert.first().and_then(|certificate| {
            let (_, read) = X509Certificate::from_der(certificate).ok()?;
            Some(read.validity().not_after.timestamp())
        });
        Ok(Self { config: config(credentials)?, not_after })
    }
}

fn config(Credentials { own, clients }: Credentials) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(clients, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let mut config = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    }
    .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A session that is resumed would bring its client's certificate along without its
    // being looked at again; and clients keep their channels.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Who looks at clients' certificates; None where nobody asks for them.
fn verifier(
    clients: Clients,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, rustls::Error> {
    let by = |roots| WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let verifier = match clients {
        Clients::Unasked => return Ok(None),
        Clients::Asked(roots) => by(roots).allow_unauthenticated().build(),
        Clients::Required(roots) => by(roots).build(),
    };
    verifier.map(Some).map_err(|error| rustls::Error::General(error.to_string()))
}

/// The names in the verified certificate at the other end of a connection. Read once,
/// and put into the extensions of every call that comes in on it.
#[derive(Clone, Debug)]
pub(super) struct PeerSans(Arc<[San]>);

impl PeerSans {
    /// None: the client showed no certificate.
    pub(super) fn of<S>(stream: &TlsStream<S>) -> Option<Self> {
        let (_, session) = stream.get_ref();
        session.peer_certificates()?.first().map(Self::read)
    }

    /// What isn't a name that a caller could be configured with is left out.
    fn read(certificate: &CertificateDer<'_>) -> Self {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else {
            return Self(Arc::default());
        };
        let uris = certificate.valid_uri_names().map(San::uri);
        let names = certificate.valid_dns_names().map(San::dns);
        Self(uris.chain(names).flatten().take(MAX_SANS).collect())
    }

    /// The names.
    pub(super) fn sans(&self) -> &[San] {
        &self.0
    }
}
