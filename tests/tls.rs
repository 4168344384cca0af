//! TLS on the gRPC port, through the real port with the real client: who comes in,
//! what is carried, and certificates that are replaced while calls go on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mintage::{
    app::{Server, SystemClock},
    grpc::proto,
    ports::Clock as _,
};
use support::{
    clock::ManualClock,
    http2::Peer,
    issuer::{Behaviour, TestIssuer},
    process::{Folder, Process},
    service::{
        BEGIN, WEB, configuration_with, for_user, github_claims, github_publisher, project,
        publishing, server, sha256_hex, trusted, verifying,
    },
    tls::{Authority, Dialer, Home, Identity, certificate_of, der},
    until,
};
use tokio::task::JoinSet;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tonic::Code;

/// A configuration of a service behind these certificates.
fn toml(tls: &str) -> String {
    let bounds = format!("shutdown_grace = \"5s\", threads = 2, {tls}");
    configuration_with(&bounds, "http://127.0.0.1:1", "", "")
}

fn start(tls: &str) -> Server {
    server(&toml(tls), &Arc::new(ManualClock::at(BEGIN)))
}

/// What comes of one call on a connection of its own.
async fn called(dialer: &Dialer, address: SocketAddr, token: Option<&str>) -> Result<(), Code> {
    let mut client = dialer.client(address, token).await.map_err(|_| Code::Unavailable)?;
    client.mint(for_user(None)).await.map(drop).map_err(|status| status.code())
}

/// Somebody who isn't let in hears of a broken connection, in one way or another.
fn kept_out(answer: Result<(), Code>) -> bool {
    matches!(answer, Err(Code::Unavailable | Code::Unknown | Code::Cancelled))
}

#[tokio::test]
async fn calls_are_carried_by_tls_1_2_and_1_3() {
    let authority = Authority::new("of servers");
    let home = Home::new(&authority.server());
    let server = start(&home.section(""));
    let dialer = Dialer::trusting(&authority);
    for version in [&TLS12, &TLS13] {
        for protocols in [&[b"h2".as_slice()][..], &[b"http/1.1", b"h2"], &[]] {
            let dialer = dialer.speaking(version).offering(protocols);
            let stream = dialer.connect(server.grpc_address()).await.unwrap();
            let (_, session) = stream.get_ref();
            assert_eq!(session.protocol_version(), Some(version.version));
            let agreed = session.alpn_protocol();
            assert_eq!(agreed, (!protocols.is_empty()).then_some(&b"h2"[..]));
            let answer = called(&dialer, server.grpc_address(), Some(WEB)).await;
            assert_eq!(answer, Ok(()), "{version:?} {protocols:?}");
        }
    }
    let stranger = called(&dialer, server.grpc_address(), None).await;
    assert_eq!(stranger, Err(Code::Unauthenticated));
}

#[tokio::test]
async fn who_speaks_something_else_is_dropped_and_others_are_served() {
    let authority = Authority::new("of servers");
    let home = Home::new(&authority.server());
    let server = start(&home.section(""));
    let address = server.grpc_address();
    for said in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nhost: mintage\r\n\r\n",
        &[0xff; 1_000],
        // A record that promises more than any may hold.
        b"\x16\x03\x01\xff\xff\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut peer = Peer::silent(address);
        peer.send(said);
        assert!(peer.is_dropped(), "{said:?}");
    }
    let dialer = Dialer::trusting(&authority);
    let http1 = dialer.offering(&[b"http/1.1"]);
    assert!(http1.connect(address).await.is_err(), "there is no HTTP/1.1 here");
    let stranger = Dialer::trusting(&Authority::new("of nobody"));
    assert!(stranger.connect(address).await.is_err(), "the client trusts another authority");
    assert_eq!(called(&dialer, address, Some(WEB)).await, Ok(()));
}

#[tokio::test]
async fn large_messages_and_many_answers_at_once_come_whole() {
    let authority = Authority::new("of servers");
    let home = Home::new(&authority.server());
    let server = start(&home.section(""));
    let dialer = Dialer::trusting(&authority);
    let client = dialer.client(server.grpc_address(), Some(WEB)).await.unwrap();

    let calls: Vec<_> = (0..600)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.mint(for_user(None)).await.unwrap().into_inner() })
        })
        .collect();
    let mut token = String::new();
    for call in calls {
        token = call.await.unwrap().token;
    }
    let answer = client.clone().verify(verifying(&token)).await.unwrap().into_inner();
    assert_eq!(answer.verdict(), proto::Verdict::Allowed);

    // A few megabytes in one request; it is refused for what is in it.
    let mut publisher = github_publisher("http://127.0.0.1:1", "p1");
    publisher.projects = (0..20_000).map(|at| project(&at.to_string(), &"x".repeat(150))).collect();
    let mut request = publishing("http://127.0.0.1:1", "none".to_owned());
    trusted(&mut request).candidates = vec![publisher];
    let refused = client.clone().mint(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

#[tokio::test]
async fn clients_come_in_with_a_certificate_of_their_authority() {
    let authority = Authority::new("of servers");
    let (ours, theirs) = (Authority::new("of clients"), Authority::new("of other clients"));
    let dialer = Dialer::trusting(&authority);
    let good = dialer.showing(&ours.client(&["web.index.internal"]));
    let bad = dialer.showing(&theirs.client(&["web.index.internal"]));
    // A server's own certificate is no client's: another authority made it.
    let own = dialer.showing(&authority.server());
    let home = Home::with_clients(&authority.server(), &ours);
    for (word, without) in [("required", false), ("optional", true)] {
        let server = start(&home.mutual(word));
        for (who, dialer, comes_in) in [
            ("with a good one", &good, true),
            ("with none", &dialer, without),
            ("with somebody else's", &bad, false),
            ("with the server's", &own, false),
        ] {
            for version in [&TLS12, &TLS13] {
                let dialer = dialer.speaking(version);
                let answer = called(&dialer, server.grpc_address(), Some(WEB)).await;
                if comes_in {
                    assert_eq!(answer, Ok(()), "{word}, {who}, {version:?}");
                } else {
                    assert!(kept_out(answer), "{word}, {who}, {version:?}: {answer:?}");
                }
            }
        }
    }
    let unasked = start(&home.section(""));
    assert_eq!(called(&bad, unasked.grpc_address(), Some(WEB)).await, Ok(()), "nobody asks");
}

#[tokio::test]
async fn at_the_end_running_calls_are_answered() {
    let authority = Authority::new("of servers");
    let home = Home::new(&authority.server());
    let issuer = TestIssuer::start();
    issuer.behave(Behaviour::Held);
    let bounds = format!("shutdown_grace = \"60s\", {}", home.section(""));
    let folder = Folder::new(&configuration_with(&bounds, &issuer.url(), "", ""));
    let mut process = Process::start(&folder);
    let address = process.grpc();
    let mut client = Dialer::trusting(&authority).client(address, Some(WEB)).await.unwrap();
    let id_token = issuer.id_token(&github_claims(SystemClock.now().seconds(), "1"));
    let request = publishing(&issuer.url(), id_token);
    let running = tokio::spawn(async move { client.mint(request).await });
    until("the issuer is asked", || issuer.discoveries() > 0).await;
    // Nothing was said on it: nobody waits for it.
    let _silent = Peer::silent(address);

    process.signal("TERM");
    until("nobody is let in any more", || TcpStream::connect(address).is_err()).await;
    assert!(process.runs(), "a call still runs");
    issuer.behave(Behaviour::Normal);
    assert!(running.await.unwrap().unwrap().into_inner().token.starts_with("pypi-"));
    assert_eq!(process.end().await.code(), Some(0), "{}", process.err());
}

/// Whose certificate a new connection is shown.
async fn shown(dialer: &Dialer, address: SocketAddr, expected: &Identity) -> bool {
    let stream = dialer.connect(address).await.unwrap();
    certificate_of(&stream) == der(expected)
}

/// Callers that mint and verify without a pause: half of them over a connection that they
/// keep, half over a new one for each call. A call that fails ends the test.
struct Load {
    done: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    workers: JoinSet<()>,
}

impl Load {
    /// Each connects as the dialer says that stands there at that moment; without a token
    /// its certificate makes the caller.
    fn on(address: SocketAddr, dialer: &Arc<Mutex<Dialer>>, token: Option<&'static str>) -> Self {
        let (done, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut workers = JoinSet::new();
        for worker in 0..8 {
            let (done, calls, dialer) = (Arc::clone(&done), Arc::clone(&calls), Arc::clone(dialer));
            workers.spawn(async move {
                let connect = async || {
                    let dialer = dialer.lock().unwrap().clone();
                    dialer.client(address, token).await.unwrap()
                };
                let mut client = connect().await;
                while !done.load(Ordering::Relaxed) {
                    if worker % 2 == 0 {
                        client = connect().await;
                    }
                    let minted = client.mint(for_user(None)).await.unwrap().into_inner().token;
                    let answer = client.verify(verifying(&minted)).await.unwrap().into_inner();
                    assert_eq!(answer.verdict(), proto::Verdict::Allowed);
                    calls.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        Self { done, calls, workers }
    }

    /// Waits for so many more calls that each of those under way has ended.
    async fn goes_on(&mut self) {
        let then = self.calls.load(Ordering::Relaxed);
        until("the load goes on", || self.calls.load(Ordering::Relaxed) > then + 100).await;
        if let Some(failed) = self.workers.try_join_next() {
            failed.unwrap();
        }
    }

    async fn end(mut self) {
        self.done.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test]
async fn certificates_are_replaced_under_load_and_no_call_fails() {
    let authority = Authority::new("of servers");
    let (first, second) = (authority.server(), authority.server());
    let home = Home::new(&first);
    let server = start(&home.section(""));
    let address = server.grpc_address();
    let dialer = Dialer::trusting(&authority);
    assert!(shown(&dialer, address, &first).await);
    let mut load = Load::on(address, &Arc::new(Mutex::new(dialer.clone())), Some(WEB));
    load.goes_on().await;

    // Key and certificate one after the other: between the two they don't fit.
    home.put("server.key", &second.key);
    home.put("server.pem", &second.certificate);
    replaced(&dialer, address, &second).await;
    load.goes_on().await;
    load.end().await;
    assert!(shown(&dialer, address, &second).await);
}

#[tokio::test]
async fn authorities_of_clients_are_replaced_under_load_and_no_call_fails() {
    let authority = Authority::new("of servers");
    let (old, new) = (Authority::new("of clients"), Authority::new("of the next clients"));
    let home = Home::with_clients(&authority.server(), &old);
    // The caller proves itself by its certificate alone.
    let by_token = format!("token_sha256 = \"{}\"", sha256_hex(WEB));
    let by_name = toml(&home.mutual("required")).replace(&by_token, "san = \"web.internal\"");
    let server = server(&by_name, &Arc::new(ManualClock::at(BEGIN)));
    let address = server.grpc_address();
    let trusting = Dialer::trusting(&authority);
    let before = trusting.showing(&old.client(&["web.internal"]));
    let after = trusting.showing(&new.client(&["web.internal"]));
    let dialer = Arc::new(Mutex::new(before.clone()));
    let mut load = Load::on(address, &dialer, None);
    load.goes_on().await;
    assert!(kept_out(called(&after, address, None).await));

    // Both authorities, then clients with certificates of the new one, then it alone.
    home.put("clients.pem", &format!("{}{}", old.certificate, new.certificate));
    comes_in(&after, address, true).await;
    load.goes_on().await;
    assert_eq!(called(&before, address, None).await, Ok(()));
    *dialer.lock().unwrap() = after.clone();
    load.goes_on().await;
    home.put("clients.pem", &new.certificate);
    comes_in(&before, address, false).await;
    // Half of the load is still on connections that began with the old one.
    load.goes_on().await;
    load.end().await;
    assert_eq!(called(&after, address, None).await, Ok(()));
    // A name is good under its own authority only.
    let stranger = trusting.showing(&new.client(&["elsewhere.internal"]));
    assert_eq!(called(&stranger, address, None).await, Err(Code::Unauthenticated));
}

/// Waits until who connects so comes in, or doesn't.
async fn comes_in(dialer: &Dialer, address: SocketAddr, wanted: bool) {
    let looking = async {
        while called(dialer, address, None).await.is_ok() != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(support::process::PATIENCE, looking).await.unwrap();
}

/// Waits until new connections are shown this certificate.
async fn replaced(dialer: &Dialer, address: SocketAddr, by: &Identity) {
    let looking = async { while !shown(dialer, address, by).await {} };
    tokio::time::timeout(support::process::PATIENCE, looking).await.unwrap();
}

#[tokio::test]
async fn broken_files_change_nothing_and_are_told_once() {
    let authority = Authority::new("of servers");
    let (ours, next) = (Authority::new("of clients"), Authority::new("of the next clients"));
    let (first, second) = (authority.server(), authority.server());
    let home = Home::with_clients(&first, &ours);
    let log = "[log]\nfilter = \"info,mintage::grpc::transport=debug\"";
    let folder = Folder::new(&format!("{}\n{log}", toml(&home.mutual("required"))));
    let process = Process::start(&folder);
    let address = process.grpc();
    assert!(process.wait_for_line("listening").contains("tls=true"));
    let trusting = Dialer::trusting(&authority);
    let web = trusting.showing(&ours.client(&["web"]));
    let newcomer = trusting.showing(&next.client(&["web"]));
    let mut open = web.client(address, Some(WEB)).await.unwrap();
    open.mint(for_user(None)).await.unwrap();
    assert!(kept_out(called(&newcomer, address, Some(WEB)).await));
    let line = process.wait_for_line("a TLS handshake failed");
    assert!(line.contains("DEBUG") && line.contains("UnknownIssuer"), "{line}");

    home.put("server.key", &second.key);
    let line = process.wait_for_line("the certificates can't be read again");
    assert!(line.contains("server.tls.key_file: is not the key of the first"), "{line}");
    assert!(shown(&web, address, &first).await);
    assert_eq!(called(&web, address, Some(WEB)).await, Ok(()));

    // Mended, everything is taken that changed meanwhile: the clients' authority too.
    home.put("clients.pem", &next.certificate);
    home.put("server.pem", &second.certificate);
    process.wait_for_line("the certificates changed");
    assert!(shown(&newcomer, address, &second).await);
    assert_eq!(called(&newcomer, address, Some(WEB)).await, Ok(()));
    assert!(kept_out(called(&web, address, Some(WEB)).await));
    // An open connection goes on.
    open.mint(for_user(None)).await.unwrap();
    assert_eq!(process.err().matches("the certificates can't be read again").count(), 1);
    assert!(!process.err().contains("PRIVATE KEY"));
}
