//! Readiness is the store's: with a real Redis that goes and comes back, whoever asks
//! for health, watches it or probes the admin port hears it, and nobody restarts
//! anything of ours.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use mintage::{
    app::SystemClock,
    clock::Timestamp,
    grpc::proto::{self, Verdict, caveat::Kind},
    ports::Clock as _,
};
use support::{
    issuer::TestIssuer,
    process::{Folder, Process},
    redis::{Memory, PATIENCE, RedisServer, binary, prefix, settled},
    service::{
        Scene, WEB, caveat, client_at, configuration_with, for_user, github_claims, publishing,
        verifying,
    },
};
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus::{self, NotServing, Serving},
    health_client::HealthClient,
};

/// The names that a health check may ask for.
const NAMES: [&str; 2] = ["", "mintage.v1.TokenService"];

/// The service's present: later than the server's own, from which on it remembers.
const LATER: Timestamp = Timestamp::from_seconds(4_000_000_000);

const READY: (u16, &str) = (200, "ready\n");
const CUT: (u16, &str) = (503, "the store is out of reach\n");

/// Sections and a top line for a service over this server, with an admin port.
fn over(redis: &RedisServer, issuer: &str) -> String {
    let store = format!(
        "[store]\nkind = \"redis\"\nurl = \"{}\"\nprefix = \"{}\"\ntimeout = \"1s\"\n",
        redis.url(),
        prefix()
    );
    let bounds = "shutdown_grace = \"5s\", threads = 2";
    let toml = configuration_with(bounds, issuer, "", &store);
    format!("admin_listen = \"127.0.0.1:0\"\n{toml}")
}

async fn scene_over(redis: &RedisServer) -> Scene {
    let issuer = TestIssuer::start();
    let toml = over(redis, &issuer.url());
    Scene::start_at(issuer, &toml, LATER).await
}

/// Somebody who asks for health, and two who watch it.
struct Watcher {
    health: HealthClient<Channel>,
    watches: Vec<Streaming<HealthCheckResponse>>,
}

impl Watcher {
    async fn of(address: SocketAddr) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        let mut health = HealthClient::new(channel.connect().await.unwrap());
        let mut watches = Vec::new();
        for name in NAMES {
            watches.push(health.watch(about(name)).await.unwrap().into_inner());
        }
        Self { health, watches }
    }

    /// Both watches hear this next, and whoever asks hears the same.
    async fn hears(&mut self, expected: ServingStatus) {
        for watch in &mut self.watches {
            let told = tokio::time::timeout(PATIENCE, watch.message()).await;
            let told = told.unwrap_or_else(|_| panic!("nobody tells of {expected:?}"));
            assert_eq!(told.unwrap().unwrap().status(), expected);
        }
        for name in NAMES {
            let checked = self.health.check(about(name)).await.unwrap().into_inner();
            assert_eq!(checked.status(), expected, "{name:?}");
        }
    }
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Narrows a token to a version.
fn narrowing(token: &str) -> proto::AttenuateRequest {
    let versions = proto::Versions { versions: vec!["1.0".to_owned()] };
    proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: token.to_owned(),
        caveats: vec![caveat(Kind::Versions(versions))],
    }
}

/// What the admin port answers: its status and its body.
fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let asked = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn assert_probes(address: SocketAddr, (status, body): (u16, &str)) {
    assert_eq!(probe(address, "/readyz"), (status, body.to_owned()));
    assert_eq!(probe(address, "/livez"), (200, "alive\n".to_owned()), "it lives all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_is_heard_of_and_so_is_its_return() {
    let Some(binary) = binary() else { return };
    let mut redis = RedisServer::start(binary).await;
    let scene = scene_over(&redis).await;
    let admin = scene.server.admin_address().unwrap();
    let mut watcher = Watcher::of(scene.server.grpc_address()).await;
    watcher.hears(Serving).await;
    assert_probes(admin, READY);
    let minted = scene.mint(scene.publishing("1")).await.unwrap();

    for round in ["2", "3"] {
        redis.kill();
        watcher.hears(NotServing).await;
        assert_probes(admin, CUT);
        // It is still served, whoever sends it calls.
        let refused = scene.mint(scene.publishing(round)).await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
        let answer = scene.verify(verifying(&minted.token)).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Allowed, "on_store_failure = \"allow\"");
        scene.attenuate(narrowing(&minted.token)).await.unwrap();

        redis.start_again(Memory::Lost).await;
        watcher.hears(Serving).await;
        assert_probes(admin, READY);
        scene.mint(for_user(None)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_is_a_store_that_is_gone() {
    let Some(binary) = binary() else { return };
    let redis = RedisServer::start(binary).await;
    let scene = scene_over(&redis).await;
    let mut watcher = Watcher::of(scene.server.grpc_address()).await;
    watcher.hears(Serving).await;
    redis.pause();
    watcher.hears(NotServing).await;
    redis.resume();
    watcher.hears(Serving).await;
    scene.mint(scene.publishing("1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_not_ready_before_its_store_was_there_once() {
    let Some(binary) = binary() else { return };
    let mut redis = RedisServer::start(binary).await;
    redis.kill();
    let scene = scene_over(&redis).await;
    let admin = scene.server.admin_address().unwrap();
    let mut watcher = Watcher::of(scene.server.grpc_address()).await;
    watcher.hears(NotServing).await;
    assert_probes(admin, CUT);
    redis.start_again(Memory::Lost).await;
    watcher.hears(Serving).await;
    assert_probes(admin, READY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_drains_does_not_become_ready_again() {
    let Some(binary) = binary() else { return };
    let mut redis = RedisServer::start(binary).await;
    let scene = scene_over(&redis).await;
    let (grpc, admin) = (scene.server.grpc_address(), scene.server.admin_address().unwrap());
    let mut watcher = Watcher::of(grpc).await;
    watcher.hears(Serving).await;
    redis.kill();
    watcher.hears(NotServing).await;

    // A call that never ends keeps it draining, for its grace.
    let mut deaf = support::http2::Peer::greeted(grpc);
    let bearer = format!("Bearer {}", WEB);
    let call = support::http2::call("/mintage.v1.TokenService/Mint", &[("authorization", &bearer)]);
    deaf.send(&support::http2::headers(1, &call, false));
    scene.verify(verifying("pypi-")).await.unwrap();
    let Scene { server, .. } = scene;
    let stopping = std::thread::spawn(move || server.stop());
    settled("it drains", || probe(admin, "/readyz").1 == "draining\n").await;
    redis.start_again(Memory::Lost).await;
    settled("it has ended", || stopping.is_finished()).await;
    for watch in &mut watcher.watches {
        // NOT_SERVING once more, for the end, and then the end.
        while let Ok(Some(told)) = watch.message().await {
            assert_eq!(told.status(), NotServing);
        }
    }
    stopping.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_told_once_in_the_log_with_its_cause() {
    let Some(binary) = binary() else { return };
    let mut redis = RedisServer::start(binary).await;
    let issuer = TestIssuer::start();
    let folder = Folder::new(&over(&redis, &issuer.url()));
    let process = Process::start(&folder);
    let mut watcher = Watcher::of(process.grpc()).await;
    watcher.hears(Serving).await;
    redis.kill();
    watcher.hears(NotServing).await;
    let line = process.wait_for_line("not ready");
    assert!(line.contains("WARN") && line.contains("cause="), "{line}");
    redis.start_again(Memory::Lost).await;
    watcher.hears(Serving).await;
    let line = process.wait_for_line("ready again");
    assert!(line.contains("INFO") && line.contains("after="), "{line}");

    // The process that was not restarted mints.
    let client = client_at(process.grpc(), Some(WEB)).await;
    let id_token = issuer.id_token(&github_claims(SystemClock.now().seconds() + 1, "1"));
    client.clone().mint(publishing(&issuer.url(), id_token)).await.unwrap();
    let log = process.err();
    assert_eq!((log.matches("not ready").count(), log.matches("ready again").count()), (1, 1));
}
