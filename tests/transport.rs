//! The bounds of connections, held against peers that a good client library would
//! not let anybody be: the accept loop with a service that answers when it is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

mod support;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use mintage::grpc::{
    pace::Pace,
    tls::Tls,
    transport::{self, ConnectionBounds, Phase},
};
use support::{
    http2::{
        PREFACE, Peer, call, client, code, frame, head, headers, kind, literal, open_headers,
        settings, status_of,
    },
    tls::{Authority, Dialer},
    until,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Notify, Semaphore, watch},
    time::Instant,
};
use tonic::body::Body;

/// Nothing ends by itself.
const BOUNDS: ConnectionBounds = ConnectionBounds {
    max_connections: 1_000,
    max_age: HOUR,
    age_grace: HOUR,
    preface_timeout: HOUR,
    keepalive_interval: HOUR,
    keepalive_timeout: HOUR,
};

const HOUR: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(300);

/// An accept loop on a thread of its own. Dropped, it ends.
struct Loop {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    places: Arc<Semaphore>,
    /// Lets one held call go on.
    go_on: Arc<Notify>,
    /// Tells that a call is held.
    held: Arc<Semaphore>,
}

impl Loop {
    /// With a service that answers at once, but holds calls of `/held`.
    fn start(bounds: ConnectionBounds) -> Self {
        Self::start_on(1, bounds)
    }

    /// The same, with so many loops that share the port and the places.
    fn start_on(cores: usize, bounds: ConnectionBounds) -> Self {
        Self::start_with(cores, bounds, None)
    }

    /// The same, behind TLS.
    fn start_with(cores: usize, bounds: ConnectionBounds, tls: Option<&Tls>) -> Self {
        let listeners = transport::listen("127.0.0.1:0".parse().unwrap(), cores).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (phase, phases) = watch::channel(Phase::Serving);
        let places = transport::places(bounds);
        let (go_on, held) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        for listener in listeners {
            let service = service(Arc::clone(&go_on), Arc::clone(&held));
            let (places, phases, tls) = (Arc::clone(&places), phases.clone(), tls.cloned());
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                    let pace = Pace::new(Instant::now());
                    let service = |_| service.clone();
                    transport::serve(listener, service, bounds, places, pace, tls, phases).await;
                });
            });
        }
        Self { address, phase, places, go_on, held }
    }

    /// Waits until one more call is held.
    async fn one_held(&self) {
        self.held.acquire().await.unwrap().forget();
    }

    async fn all_places_free(&self, bounds: ConnectionBounds) {
        until("every place is free again", || {
            self.places.available_permits() == bounds.max_connections
        })
        .await;
    }
}

fn service(
    go_on: Arc<Notify>,
    held: Arc<Semaphore>,
) -> impl tower::Service<
    Request<Body>,
    Response = Response<Body>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    tower::service_fn(move |request: Request<Body>| {
        let (go_on, held) = (Arc::clone(&go_on), Arc::clone(&held));
        async move {
            if request.uri().path() == "/held" {
                held.add_permits(1);
                go_on.notified().await;
            }
            let answer = Response::builder().header("grpc-status", "0");
            Ok(answer.body(Body::empty()).unwrap())
        }
    })
}

#[tokio::test]
async fn a_client_is_told_its_bounds_before_anything_else() {
    let server = Loop::start(BOUNDS);
    let mut peer = Peer::greeted(server.address);
    let told = peer.frame().unwrap();
    assert_eq!(told.kind, kind::SETTINGS);
    let settings: Vec<(u16, u32)> = told
        .payload
        .chunks(6)
        .map(|one| {
            (
                u16::from_be_bytes(one[..2].try_into().unwrap()),
                u32::from_be_bytes(one[2..].try_into().unwrap()),
            )
        })
        .collect();
    assert!(settings.contains(&(3, 128)), "concurrent streams: {settings:?}");
    assert!(settings.contains(&(6, 16 * 1024)), "header list: {settings:?}");
}

#[tokio::test]
async fn streams_beyond_the_bound_are_refused_and_the_others_are_answered() {
    let server = Loop::start(BOUNDS);
    let mut peer = Peer::greeted(server.address);
    for at in 0..130 {
        peer.send(&headers(2 * at + 1, &call("/held", &[]), true));
    }
    let refused: Vec<_> = (0..2).map(|_| peer.wait_for(kind::RESET).unwrap()).collect();
    assert_eq!(refused.iter().map(|frame| frame.stream).collect::<Vec<_>>(), [257, 259]);
    for frame in &refused {
        assert_eq!(frame.payload, 7_u32.to_be_bytes(), "REFUSED_STREAM: it may be tried again");
    }
    for _ in 0..128 {
        server.one_held().await;
    }
    for _ in 0..128 {
        server.go_on.notify_one();
        peer.wait_for(kind::HEADERS).unwrap();
    }
}

#[tokio::test]
async fn peers_that_do_not_begin_with_a_preface_are_dropped_and_free_their_place() {
    let bounds = ConnectionBounds { max_connections: 1, preface_timeout: SHORT, ..BOUNDS };
    let server = Loop::start(bounds);
    for (peer, said, waits) in [
        ("silent", &b""[..], true),
        ("half a preface", &PREFACE[..12], true),
        ("all but one byte", &PREFACE[..23], true),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nhost: mintage\r\n\r\n", false),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false),
        ("garbage", &[0xff; 1_000], false),
    ] {
        let began = Instant::now();
        let mut one = Peer::silent(server.address);
        one.send(said);
        assert!(one.is_dropped(), "{peer}");
        let took = began.elapsed();
        assert_eq!(took >= SHORT, waits, "{peer} was dropped after {took:?}");
        server.all_places_free(bounds).await;
    }
    let (client, _connection) = client(server.address).await;
    let answer = status_of(&client, head("/", &[]), b"").await.unwrap();
    assert_eq!(code(&answer), "0");
}

#[tokio::test]
async fn a_handshake_and_the_preface_behind_it_have_one_time_between_them() {
    let authority = Authority::new("of servers");
    let bounds = ConnectionBounds { max_connections: 1, preface_timeout: SHORT, ..BOUNDS };
    let server = Loop::start_with(1, bounds, Some(&authority.server().tls()));
    for (peer, said) in [("silent", &b""[..]), ("half a hello", b"\x16\x03\x01\x02\x00\x01")] {
        let began = Instant::now();
        let mut one = Peer::silent(server.address);
        one.send(said);
        assert!(one.is_dropped(), "{peer}");
        let took = began.elapsed();
        assert!(took >= SHORT, "{peer} was dropped after {took:?}");
        server.all_places_free(bounds).await;
    }
    // What a handshake takes is no preface.
    let began = Instant::now();
    let mut shaken = Dialer::trusting(&authority).connect(server.address).await.unwrap();
    assert_eq!(server.places.available_permits(), 0, "it has a place");
    shaken.write_all(&PREFACE[..23]).await.unwrap();
    shaken.read_to_end(&mut Vec::new()).await.ok();
    assert!(began.elapsed() >= SHORT);
    server.all_places_free(bounds).await;

    let idle = ConnectionBounds { preface_timeout: HOUR, ..bounds };
    let server = Loop::start_with(1, idle, Some(&authority.server().tls()));
    let mut silent = Peer::silent(server.address);
    until("it has a place", || server.places.available_permits() == 0).await;
    server.phase.send(Phase::Draining { until: Instant::now() + HOUR }).unwrap();
    assert!(silent.is_dropped(), "nothing was under way on it");
    server.phase.closed().await;
}

#[tokio::test]
async fn a_connection_that_goes_on_after_its_preface_stays() {
    let server = Loop::start(ConnectionBounds { preface_timeout: SHORT, ..BOUNDS });
    let (client, connection) = client(server.address).await;
    // The moment at which a peer without a preface is dropped has passed…
    assert!(Peer::silent(server.address).is_dropped());
    assert!(Peer::silent(server.address).is_dropped());
    let answer = status_of(&client, head("/", &[]), b"").await.unwrap();
    assert_eq!(code(&answer), "0");
    assert!(!connection.is_finished());
}

#[tokio::test]
async fn a_peer_that_does_not_answer_a_ping_is_gone() {
    let bounds = ConnectionBounds { keepalive_interval: SHORT, keepalive_timeout: SHORT, ..BOUNDS };
    let server = Loop::start(bounds);
    let mut peer = Peer::greeted(server.address);
    assert!(peer.frame_of(kind::PING).is_some(), "it is asked");
    assert!(peer.is_dropped());
    server.all_places_free(bounds).await;

    let mut polite = Peer::greeted(server.address);
    for _ in 0..3 {
        assert!(polite.wait_for(kind::PING).is_some(), "a peer that answers stays");
    }
}

#[tokio::test]
async fn headers_beyond_16_kib_are_refused_and_the_connection_goes_on() {
    let server = Loop::start(BOUNDS);
    let (client, _connection) = client(server.address).await;
    let long = "x".repeat(5_000);
    let three = head("/", &[("a", &long), ("b", &long), ("c", &long)]);
    assert_eq!(code(&status_of(&client, three, b"").await.unwrap()), "0");

    let four = head("/", &[("a", &long), ("b", &long), ("c", &long), ("d", &long)]);
    let (answer, _) = client.clone().ready().await.unwrap().send_request(four, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 431);
    assert_eq!(code(&status_of(&client, head("/", &[]), b"").await.unwrap()), "0");
}

#[tokio::test]
async fn headers_without_an_end_close_the_connection_and_no_other() {
    let server = Loop::start(BOUNDS);
    let (client, _connection) = client(server.address).await;
    let mut flood = Peer::greeted(server.address);
    flood.send(&open_headers(1, &call("/", &[])));
    let one = literal("a", &"x".repeat(1_000));
    let sent =
        (0..100_000).take_while(|_| flood.send(&frame(kind::CONTINUATION, 0, 1, &one))).count();
    assert!(sent < 100_000, "100 MB of headers were taken");
    let answer = status_of(&client, head("/", &[]), b"").await.unwrap();
    assert_eq!(code(&answer), "0");
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_when_it_is_old() {
    let bounds = ConnectionBounds { max_age: SHORT, ..BOUNDS };
    let server = Loop::start(bounds);
    let began = Instant::now();
    let (_client, connection) = client(server.address).await;
    connection.await.unwrap().unwrap();
    assert!(began.elapsed() >= SHORT);
    server.all_places_free(bounds).await;
}

#[tokio::test]
async fn an_old_connection_finishes_its_calls_and_takes_no_more() {
    let bounds = ConnectionBounds { max_age: SHORT, ..BOUNDS };
    let server = Loop::start(bounds);
    let (client, connection) = client(server.address).await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { status_of(&client, head("/held", &[]), b"").await }
    });
    server.one_held().await;

    // A connection that learns of its age refuses new calls by itself.
    let until = Instant::now() + Duration::from_secs(10);
    while status_of(&client, head("/", &[]), b"").await.is_ok() {
        assert!(Instant::now() < until, "the connection is told to go");
    }
    assert!(!connection.is_finished(), "its call still runs");
    server.go_on.notify_one();
    assert_eq!(code(&running.await.unwrap().unwrap()), "0");
    connection.await.unwrap().unwrap();
    server.all_places_free(bounds).await;
}

#[tokio::test]
async fn a_peer_that_ignores_its_goaway_is_closed_at_the_hard_end() {
    let bounds = ConnectionBounds { max_age: SHORT, age_grace: SHORT, ..BOUNDS };
    let server = Loop::start(bounds);
    let began = Instant::now();
    let mut deaf = Peer::greeted(server.address);
    deaf.send(&headers(1, &call("/held", &[]), true));
    server.one_held().await;
    assert!(deaf.frame_of(kind::GOAWAY).is_some(), "it is told");
    assert!(began.elapsed() >= SHORT);
    assert!(deaf.is_dropped());
    assert!(began.elapsed() >= 2 * SHORT, "not before its grace is over");
    server.all_places_free(bounds).await;
}

#[tokio::test]
async fn at_the_end_running_calls_are_answered_and_silent_peers_are_not_waited_for() {
    let server = Loop::start(BOUNDS);
    let _silent = Peer::silent(server.address);
    let mut half = Peer::silent(server.address);
    half.send(&PREFACE[..12]);
    let mut deaf = Peer::greeted(server.address);
    deaf.send(&headers(1, &call("/held", &[]), false));
    server.one_held().await;
    let (client, connection) = client(server.address).await;
    let running = tokio::spawn(async move { status_of(&client, head("/held", &[]), b"").await });
    server.one_held().await;

    let grace = Duration::from_secs(2);
    let began = Instant::now();
    server.phase.send(Phase::Draining { until: began + grace }).unwrap();
    until("nobody is let in any more", || std::net::TcpStream::connect(server.address).is_err())
        .await;
    server.go_on.notify_waiters();
    assert_eq!(code(&running.await.unwrap().unwrap()), "0");
    connection.await.unwrap().unwrap();
    assert!(began.elapsed() < grace, "whoever is ready needs no grace");

    server.phase.closed().await;
    let took = began.elapsed();
    assert!(took >= grace && took < 2 * grace, "{took:?}");
    assert!(deaf.is_dropped() && half.is_dropped());
}

#[tokio::test]
async fn an_end_without_calls_is_at_once() {
    let server = Loop::start(BOUNDS);
    let (client, connection) = client(server.address).await;
    status_of(&client, head("/", &[]), b"").await.unwrap();
    let began = Instant::now();
    server.phase.send(Phase::Draining { until: began + HOUR }).unwrap();
    connection.await.unwrap().unwrap();
    server.phase.closed().await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn settings_of_a_peer_change_nothing_for_others() {
    let server = Loop::start(BOUNDS);
    let mut mean = Peer::silent(server.address);
    // No window, the smallest and then the largest table, frames of every size.
    mean.send(&[PREFACE, &settings(&[(1, u32::MAX), (4, 0), (5, 16_777_215), (6, 0)])].concat());
    mean.send(&headers(1, &call("/held", &[]), true));
    server.one_held().await;
    let (client, _connection) = client(server.address).await;
    let answer = status_of(&client, head("/", &[]), b"").await.unwrap();
    assert_eq!(code(&answer), "0");
}

#[tokio::test]
async fn one_connection_more_than_the_bound_waits_until_another_goes() {
    for cores in [1, 2, 8] {
        let server = Loop::start_on(cores, ConnectionBounds { max_connections: 2, ..BOUNDS });
        let address = server.address;
        // Whichever core a connection comes in on.
        for _ in 0..8 {
            let (mut first, mut second) = (Peer::greeted(address), Peer::greeted(address));
            assert!(first.frame_of(kind::SETTINGS).is_some(), "{cores} cores");
            assert!(second.frame_of(kind::SETTINGS).is_some(), "{cores} cores");
            let mut third = Peer::greeted(address);
            third.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            assert!(third.0.peek(&mut [0]).is_err(), "{cores} cores: nobody is there for it");
            drop(first);
            third.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            assert!(third.frame_of(kind::SETTINGS).is_some(), "{cores} cores");
        }
    }
}
