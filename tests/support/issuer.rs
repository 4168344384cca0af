//! A small OIDC issuer on loopback, for tests: it publishes what it is told to,
//! misbehaves as it is told to, and counts who asks.
//!
//! ```ignore
//! let issuer = TestIssuer::start();                     // publishes key_one()
//! let id_token = issuer.id_token(&json!({"aud": "pypi", …})); // `iss` is added
//! issuer.behave(Behaviour::Status(500));
//! issuer.publish(&[key_two()]);                         // rotation
//! assert_eq!(issuer.key_set_reads(), 1);
//! ```
//!
//! It runs on a thread of its own, so that it answers however busy the test's
//! runtime is, and ends when it is dropped.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode, header},
    routing::get,
    serve::Listener,
};
use bytes::Bytes;
use mintage::{
    demo::signing::SigningKey,
    oidc::{Algorithm, Issuer, Provider},
};
use rcgen::{CertifiedKey, KeyPair};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
    server::TlsStream,
};
use tokio_stream::StreamExt as _;

/// The key that an issuer publishes from the start.
pub fn key_one() -> &'static SigningKey {
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("one").unwrap());
    &KEY
}

/// Another key, published only when a test says so.
pub fn key_two() -> &'static SigningKey {
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("two").unwrap());
    &KEY
}

/// How an issuer answers. What isn't named is normal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Both documents, as they should be.
    Normal,
    /// Every document is answered with this status.
    Status(u16),
    /// The key set is elsewhere, says a 302.
    Redirect,
    /// The key set is followed by white space up to 300 KiB.
    Huge,
    /// The same, without saying beforehand how long it is.
    HugeChunked,
    /// The key set comes a byte every 20 ms.
    SlowLoris,
    /// The discovery document is never answered.
    Hang,
    /// The discovery document is answered as soon as another behaviour is set.
    Held,
    /// The discovery document names another issuer.
    WrongIssuer,
    /// The discovery document's `jwks_uri` is this.
    JwksUri(String),
    /// The key set is this text.
    KeySet(String),
}

/// A running issuer.
pub struct TestIssuer {
    state: Arc<Shared>,
    ca_pem: Option<String>,
    _stop: oneshot::Sender<()>,
}

struct Shared {
    /// Its identifier.
    url: String,
    address: SocketAddr,
    told: Mutex<Told>,
    discoveries: AtomicUsize,
    key_set_reads: AtomicUsize,
}

/// What a test told the issuer.
struct Told {
    behaviour: Behaviour,
    keys: Vec<Value>,
    cache_control: Option<String>,
}

impl TestIssuer {
    /// Listens on a free port of 127.0.0.1 without TLS, and publishes [`key_one`].
    pub fn start() -> Self {
        Self::listen(None)
    }

    /// The same with TLS, under a certificate of its own that nobody trusts yet.
    pub fn start_tls() -> Self {
        let names = ["127.0.0.1".to_owned()];
        Self::listen(Some(&rcgen::generate_simple_self_signed(names).unwrap()))
    }

    fn listen(certified: Option<&CertifiedKey<KeyPair>>) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if certified.is_some() { "https" } else { "http" };
        let told =
            Told { behaviour: Behaviour::Normal, keys: vec![key_one().jwk()], cache_control: None };
        let state = Arc::new(Shared {
            url: format!("{scheme}://{address}"),
            address,
            told: Mutex::new(told),
            discoveries: AtomicUsize::new(0),
            key_set_reads: AtomicUsize::new(0),
        });
        let ca_pem = certified.map(|certified| certified.cert.pem());
        let tls = certified.map(acceptor);
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        std::thread::spawn(move || serve(listener, tls, served, stopped));
        Self { state, ca_pem, _stop: stop }
    }

    /// Its identifier, `http://127.0.0.1:PORT` (`https` with TLS).
    pub fn url(&self) -> String {
        self.state.url.clone()
    }

    /// The certificate to be trusted, where it speaks TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// As it would be configured.
    pub fn configured(&self, provider: Provider) -> Issuer {
        Issuer {
            url: self.url(),
            host: self.state.address.to_string(),
            provider,
            algorithms: vec![Algorithm::RS256],
            enabled: true,
        }
    }

    /// Answers so from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.told.lock().unwrap().behaviour = behaviour;
    }

    /// Publishes these keys and no others from now on.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.publish_jwks(keys.iter().map(|key| key.jwk()).collect());
    }

    /// Publishes these JWKs, well-formed or not.
    pub fn publish_jwks(&self, jwks: Vec<Value>) {
        self.state.told.lock().unwrap().keys = jwks;
    }

    /// Sends this `Cache-Control` with the key set.
    pub fn cache_control(&self, value: &str) {
        self.state.told.lock().unwrap().cache_control = Some(value.to_owned());
    }

    /// How often the discovery document was asked for.
    pub fn discoveries(&self) -> usize {
        self.state.discoveries.load(Ordering::SeqCst)
    }

    /// How often the key set was asked for.
    pub fn key_set_reads(&self) -> usize {
        self.state.key_set_reads.load(Ordering::SeqCst)
    }

    /// An ID token of these claims, signed with [`key_one`]. Its `iss` is this
    /// issuer unless the claims have one.
    pub fn id_token(&self, claims: &Value) -> String {
        self.id_token_by(key_one(), claims)
    }

    /// The same, signed with a key of your choice.
    pub fn id_token_by(&self, key: &SigningKey, claims: &Value) -> String {
        let mut claims = claims.clone();
        let members = claims.as_object_mut().unwrap();
        members.entry("iss").or_insert_with(|| self.url().into());
        key.id_token(&claims).unwrap()
    }
}

/// The documents, until the test lets go of the issuer.
fn serve(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    state: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/keys", get(key_set))
        .with_state(state);
    runtime.block_on(async {
        let tcp = TcpListener::from_std(listener).unwrap();
        let serving = async {
            match tls {
                None => axum::serve(tcp, routes).await.unwrap(),
                Some(acceptor) => axum::serve(Tls { tcp, acceptor }, routes).await.unwrap(),
            }
        };
        tokio::select! {
            () = serving => {}
            _ = stopped => {}
        }
    });
}

fn acceptor(certified: &CertifiedKey<KeyPair>) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Hands over connections once the handshake is through; a client that doesn't
/// trust us never gets there.
struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn discovery(State(state): State<Arc<Shared>>) -> Response<Body> {
    state.discoveries.fetch_add(1, Ordering::SeqCst);
    let issuer = state.url.clone();
    let jwks_uri = format!("{issuer}/keys");
    while state.told.lock().unwrap().behaviour == Behaviour::Held {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let behaviour = state.told.lock().unwrap().behaviour.clone();
    let document = match behaviour {
        Behaviour::Status(status) => return refusal(status),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::WrongIssuer => json!({"issuer": format!("{issuer}/"), "jwks_uri": jwks_uri}),
        Behaviour::JwksUri(elsewhere) => json!({"issuer": issuer, "jwks_uri": elsewhere}),
        Behaviour::Normal
        | Behaviour::Held
        | Behaviour::Redirect
        | Behaviour::Huge
        | Behaviour::HugeChunked
        | Behaviour::SlowLoris
        | Behaviour::KeySet(_) => json!({"issuer": issuer, "jwks_uri": jwks_uri}),
    };
    Response::new(document.to_string().into())
}

async fn key_set(State(state): State<Arc<Shared>>) -> Response<Body> {
    state.key_set_reads.fetch_add(1, Ordering::SeqCst);
    let told = state.told.lock().unwrap();
    let document = json!({"keys": told.keys}).to_string();
    let body = match &told.behaviour {
        Behaviour::Status(status) => return refusal(*status),
        Behaviour::Redirect => {
            let elsewhere = Response::builder().status(StatusCode::FOUND);
            return elsewhere.header(header::LOCATION, "/keys?again").body(Body::empty()).unwrap();
        }
        Behaviour::Huge => huge(&document).into(),
        Behaviour::HugeChunked => pieces(huge(&document), 4_096, Duration::ZERO),
        Behaviour::SlowLoris => pieces(document, 1, Duration::from_millis(20)),
        Behaviour::KeySet(text) => text.clone().into(),
        Behaviour::Normal
        | Behaviour::Held
        | Behaviour::Hang
        | Behaviour::WrongIssuer
        | Behaviour::JwksUri(_) => document.into(),
    };
    let mut response = Response::builder();
    if let Some(value) = &told.cache_control {
        response = response.header(header::CACHE_CONTROL, value);
    }
    response.body(body).unwrap()
}

fn refusal(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

fn huge(document: &str) -> String {
    let padding = 300 * 1024 - document.len();
    format!("{document}{}", " ".repeat(padding))
}

/// A body that comes in pieces, each after a pause.
fn pieces(text: String, size: usize, pause: Duration) -> Body {
    let bytes: Vec<u8> = text.into_bytes();
    let pieces: Vec<Result<Bytes, Infallible>> =
        bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(tokio_stream::iter(pieces).throttle(pause))
}
