//! Connections: how many, how old, how large their headers, and how they end.
//!
//! tonic's own accept loop closes an aged connection without a GOAWAY as soon as
//! it is told of a grace, waits for ever for a peer that never sends its preface,
//! and ends a shutdown only when the last silent peer has gone. So this file has
//! its own loop around hyper, and the rest of tonic stays as it is.

use std::{
    convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_rustls::server::TlsStream;
use tonic::body::Body;
use tower::Service;

use super::{
    gathered::gather,
    pace::{Pace, Turn},
    paced::Paced,
    tls::{PeerSans, Tls},
};

/// Bounds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// Connections at once, in the whole process; one more waits to be accepted.
    pub max_connections: usize,
    /// A connection older than this is told to go (GOAWAY), so that clients
    /// without a mesh spread over new replicas.
    pub max_age: Duration,
    /// How long after that its running calls may take.
    pub age_grace: Duration,
    /// From the connection to the end of its preface, and of a TLS handshake before
    /// it; [`PREFACE_TIMEOUT`].
    pub preface_timeout: Duration,
    /// A peer that is silent for so long is asked whether it is still there
    /// ([`KEEPALIVE_INTERVAL`])…
    pub keepalive_interval: Duration,
    /// …and gone if it doesn't answer for so long; [`KEEPALIVE_TIMEOUT`].
    pub keepalive_timeout: Duration,
}

/// Streams of one connection at once. 100,000 on one connection cost a bare
/// server 850 MiB.
const MAX_STREAMS: u32 = 128;

/// Bytes of one request's headers. A caller's token and a trace context take a
/// tenth of it.
const MAX_HEADER_LIST_BYTES: u32 = 16 * 1024;

/// Resets that a peer may have sent and we not yet forgotten; what is left of a
/// rapid reset attack (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 32;

/// Bytes that wait to be sent on one connection.
const MAX_SEND_BUFFER_BYTES: usize = 256 * 1024;

/// What a slow network may need for 24 bytes, and for a TLS handshake before them;
/// whoever needs longer doesn't speak HTTP/2, and holds a place.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// The 24 bytes that a client begins with (RFC 9113, section 3.4).
const PREFACE_BYTES: u64 = 24;

/// Rarely enough to cost nothing, often enough to keep a firewall from forgetting
/// the connection.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// Longer than any network that still works takes for an answer.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The life of a server, as its connections see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accepts and answers.
    Serving,
    /// The same, but the store is out of reach: what needs it fails, and whoever asks
    /// hears that calls are better sent elsewhere.
    Cut,
    /// The same, but it is about to end: whoever asks hears that calls are better sent
    /// elsewhere, and those that come all the same are answered.
    Leaving,
    /// Accepts nothing more; running calls may end until this moment.
    Draining {
        /// The hard end.
        until: Instant,
    },
}

/// What is served: calls, each on its own, none of which can fail, and for which it is
/// always ready.
pub trait Calls:
    Service<
        http::Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

impl<S> Calls for S where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// The places that all accept loops of a process share.
pub fn places(bounds: ConnectionBounds) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bounds.max_connections))
}

/// Accepts and serves connections until the phase says otherwise, then lets the
/// running calls end, and ends itself when they have or their time is over. Each
/// connection has a service of its own, which is told its share in its core. With
/// `tls`, each begins with a handshake.
pub async fn serve<S: Calls>(
    listener: TcpListener,
    service: impl Fn(Turn) -> S,
    bounds: ConnectionBounds,
    places: Arc<Semaphore>,
    pace: Pace,
    tls: Option<Tls>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = next(&listener, &places, &mut phase).await {
        // Those that have ended are forgotten; there are never more than places.
        while connections.try_join_next().is_some() {}
        let turn = pace.turn();
        let service = service(turn.clone());
        let accepted = Accepted { stream, turn, tls: tls.clone(), place };
        connections.spawn(connection(accepted, service, bounds, phase.clone()));
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = ended => {}
        // Whatever still runs then is dropped with the set.
        () = hard_end(&mut phase) => {}
    }
}

/// Waits for the hard end, which may come sooner than was told at first.
async fn hard_end(phase: &mut watch::Receiver<Phase>) {
    loop {
        let until = draining(phase).await;
        match timeout_at(until, phase.changed()).await {
            Ok(Ok(())) => {}
            // It is there, or nobody is left who could tell of another one.
            Err(_) => return,
            Ok(Err(_)) => return sleep_until(until).await,
        }
    }
}

/// Waits for the end to begin, and tells its hard end.
async fn draining(phase: &mut watch::Receiver<Phase>) -> Instant {
    let draining = |phase: &Phase| matches!(phase, Phase::Draining { .. });
    match phase.wait_for(draining).await.map(|phase| *phase) {
        Ok(Phase::Draining { until }) => until,
        // Whoever steers the phases is gone, and so is the server.
        Ok(Phase::Serving | Phase::Cut | Phase::Leaving) | Err(_) => Instant::now(),
    }
}

/// The next connection, once there is a place for it. None: there are no more.
///
/// The connection first, then its place: a loop that waits for connections must
/// not hold a place, for a connection of another loop may wait for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    phase: &mut watch::Receiver<Phase>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        let stream = accept(listener).await;
        let place = Arc::clone(places).acquire_owned().await;
        place.ok().map(|place| (stream, place))
    };
    tokio::select! {
        biased;
        _ = draining(phase) => None,
        next = accepted => next,
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection that has its place, and on which nothing was said yet.
struct Accepted {
    stream: TcpStream,
    turn: Turn,
    tls: Option<Tls>,
    place: OwnedSemaphorePermit,
}

async fn connection(
    Accepted { stream, turn, tls, place }: Accepted,
    service: impl Calls,
    bounds: ConnectionBounds,
    mut phase: watch::Receiver<Phase>,
) {
    let _place = place;
    let began = Instant::now();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let stream = Paced::new(stream, turn);
    let Some(tls) = tls else {
        let service = AtOnce { service, peer: None };
        return speak(stream, service, began, bounds, phase).await;
    };
    // On the heap, so that connections without TLS don't hold the room for it.
    Box::pin(async {
        let until = began + preface_time(bounds);
        let Some(stream) = shaken(&tls, stream, until, &mut phase).await else { return };
        let service = AtOnce { service, peer: PeerSans::of(&stream) };
        speak(stream, service, began, bounds, phase).await;
    })
    .await;
}

/// From the connection to the end of its preface.
fn preface_time(bounds: ConnectionBounds) -> Duration {
    bounds.preface_timeout.min(bounds.max_age)
}

/// Shakes hands. None: it failed, took too long, or is too late, since a connection on
/// which there was no call yet ends with the server.
async fn shaken(
    tls: &Tls,
    stream: Paced,
    until: Instant,
    phase: &mut watch::Receiver<Phase>,
) -> Option<TlsStream<Paced>> {
    let shaken = tokio::select! {
        biased;
        _ = draining(phase) => return None,
        shaken = timeout_at(until, tls.accept(stream)) => shaken.unwrap_or_else(|late| Err(late.into())),
    };
    shaken.inspect_err(|error| tracing::debug!(%error, "a TLS handshake failed")).ok()
}

/// Speaks HTTP/2 until the connection ends.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    service: AtOnce<impl Calls>,
    began: Instant,
    bounds: ConnectionBounds,
    mut phase: watch::Receiver<Phase>,
) {
    let (stream, outlet) = gather(stream);
    let mut connection = pin!(builder(bounds).serve_connection(TokioIo::new(stream), service));
    let mut end = Ending::Preface(began + preface_time(bounds));
    loop {
        tokio::select! {
            ended = poll_fn(|context| match connection.as_mut().poll(context) {
                Poll::Ready(ended) => Poll::Ready(ended.map_err(io::Error::other)),
                // It has done what it can; what it answered goes out together.
                Poll::Pending => match outlet.poll_send(context) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                },
            }) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            () = sleep_until(end.at()) => match end {
                Ending::Preface(_) if outlet.received() < PREFACE_BYTES => return,
                Ending::Preface(_) => end = Ending::Age(began + bounds.max_age),
                Ending::Age(at) => {
                    connection.as_mut().graceful_shutdown();
                    end = Ending::Hard(at + bounds.age_grace);
                }
                Ending::Hard(_) => return,
            },
            until = draining(&mut phase), if !matches!(end, Ending::Hard(_)) => {
                connection.as_mut().graceful_shutdown();
                end = Ending::Hard(until);
            }
        }
    }
}

/// Calls the service as soon as a request is there, and not when its task is first
/// polled, as hyper-util's own adapter does: behind whatever else the core has to do.
/// Calls would then wait uncounted, 128 on each connection, and the gate in front of
/// them would never see those that wait for nothing but their core.
struct AtOnce<S> {
    service: S,
    /// Told to every call.
    peer: Option<PeerSans>,
}

impl<S: Calls> hyper::service::Service<http::Request<Incoming>> for AtOnce<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: http::Request<Incoming>) -> S::Future {
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        self.service.clone().call(request.map(Body::new))
    }
}

/// The next moment at which a connection's life changes.
#[derive(Clone, Copy)]
enum Ending {
    /// Its preface must be there.
    Preface(Instant),
    /// It is old, and told to go.
    Age(Instant),
    /// It is over.
    Hard(Instant),
}

impl Ending {
    const fn at(self) -> Instant {
        match self {
            Self::Preface(at) | Self::Age(at) | Self::Hard(at) => at,
        }
    }
}

fn builder(bounds: ConnectionBounds) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_PENDING_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .keep_alive_interval(bounds.keepalive_interval)
        .keep_alive_timeout(bounds.keepalive_timeout);
    builder
}

/// Listens, in such a way that each core's runtime can listen too and the kernel
/// spreads the connections over them.
///
/// With `SO_REUSEPORT` alone a second server on the same port would not be refused,
/// it would share. So a socket that doesn't share proves the port free, and holds it
/// until those that do are there: of two servers that start at once, one is refused.
pub fn listen(address: SocketAddr, listeners: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let proof = socket(address, false)?;
    let address = proof.local_addr()?.as_socket().unwrap_or(address);
    proof.set_reuse_port(true)?;
    (0..listeners.max(1)).map(|_| socket(address, true).map(Into::into)).collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    use socket2::{Domain, Protocol, Socket, Type};

    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

const BACKLOG: i32 = 1024;
