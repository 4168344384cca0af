//! Connections: how many, how old, how large their headers, and how they end.
//!
//! tonic's own accept loop closes an aged connection without a GOAWAY as soon as
//! it is told of a grace, waits for ever for a peer that never sends its preface,
//! and ends a shutdown only when the last silent peer has gone. So this file has
//! its own loop around hyper, and the rest of tonic stays as it is.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tonic::body::Body;
use tower::Service;

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

/// From the connection to the end of its preface.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// The 24 bytes that a client begins with (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// A peer that is silent for so long is asked whether it is still there…
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// …and gone if it doesn't answer for so long.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The life of a server, as its connections see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accepts and answers.
    Serving,
    /// Accepts nothing more; running calls may end until this moment.
    Draining {
        /// The hard end.
        until: Instant,
    },
}

/// The places that all accept loops of a process share.
pub fn places(bounds: ConnectionBounds) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bounds.max_connections))
}

/// Accepts and serves connections until the phase says otherwise, then lets the
/// running calls end, and ends itself when they have or their time is over.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    bounds: ConnectionBounds,
    places: Arc<Semaphore>,
    mut phase: watch::Receiver<Phase>,
) where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = draining(&mut phase) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (stream, place) = accept(&listener, &places) => {
                connections.spawn(connection(stream, service.clone(), bounds, place, phase.clone()));
            }
        }
    }
    drop(listener);
    let until = draining(&mut phase).await;
    // Whatever still runs then is dropped with the set.
    let _ = timeout_at(until, async { while connections.join_next().await.is_some() {} }).await;
}

/// Waits for the end to begin, and tells its hard end.
async fn draining(phase: &mut watch::Receiver<Phase>) -> Instant {
    let draining = |phase: &Phase| matches!(phase, Phase::Draining { .. });
    match phase.wait_for(draining).await.map(|phase| *phase) {
        Ok(Phase::Draining { until }) => until,
        // Whoever steers the phases is gone, and so is the server.
        Ok(Phase::Serving) | Err(_) => Instant::now(),
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn connection<S>(
    stream: TcpStream,
    service: S,
    bounds: ConnectionBounds,
    place: OwnedSemaphorePermit,
    mut phase: watch::Receiver<Phase>,
) where
    S: Service<
            http::Request<Body>,
            Response = http::Response<Body>,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let _place = place;
    let began = Instant::now();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let (stream, received) = Counted::new(stream);
    let service =
        tower::util::MapRequest::new(service, |request: http::Request<_>| request.map(Body::new));
    let mut connection =
        pin!(builder().serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let mut end = Ending::Preface(began + PREFACE_TIMEOUT);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            () = sleep_until(end.at()) => match end {
                Ending::Preface(_) if received.load(Ordering::Relaxed) < PREFACE_BYTES => return,
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

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_PENDING_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}

/// Listens, in such a way that each core's runtime can listen too and the kernel
/// spreads the connections over them.
///
/// The first listener of a process proves the port free: with `SO_REUSEPORT` a
/// second server on the same port would not be refused, it would share.
pub fn listen(address: SocketAddr, listeners: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let probe = socket(address, false)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
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

/// A stream that counts what was received, up to the preface and a little more.
struct Counted {
    stream: TcpStream,
    received: Arc<AtomicUsize>,
}

impl Counted {
    fn new(stream: TcpStream) -> (Self, Arc<AtomicUsize>) {
        let received = Arc::new(AtomicUsize::new(0));
        (Self { stream, received: Arc::clone(&received) }, received)
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let answer = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.received.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        answer
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
