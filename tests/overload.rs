//! The bounds of calls, through the real service: how many at once, how long, how
//! large, and what one that goes wrong does to the others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mintage::{clock::Timestamp, grpc::proto, ports::Clock};
use prost::Message as _;
use support::{
    http2::{self, Peer, code, head, kind, message, status_of},
    issuer::{Behaviour, TestIssuer},
    service::{
        BEGIN, Refused, Scene, WEB, client, configuration, configuration_with, for_user, project,
        server_by, trusted, verifying,
    },
    until,
};
use tokio::time::Instant;
use tonic::Code;

const VERIFY: &str = "/mintage.v1.TokenService/Verify";
const MINT: &str = "/mintage.v1.TokenService/Mint";
const DEADLINE_EXCEEDED: &str = "4";

/// A scene with bounds of the test's own.
async fn bounded(bounds: &str) -> Scene {
    let issuer = TestIssuer::start();
    let toml = configuration_with(bounds, &issuer.url(), "", "");
    Scene::start_at(issuer, &toml, BEGIN).await
}

/// What proves a caller by hand.
fn bearer() -> String {
    format!("Bearer {WEB}")
}

/// A Mint that waits for the issuer, on a task of its own. It comes again as long
/// as there is no place for it.
fn waiting_mint(
    scene: &Scene,
    jti: &str,
) -> tokio::task::JoinHandle<Result<proto::MintResponse, Refused>> {
    let (mut client, request) = (scene.client.clone(), scene.publishing(jti));
    tokio::spawn(async move {
        loop {
            match client.mint(request.clone()).await {
                Err(status) if status.code() == Code::Unavailable => {}
                answer => {
                    return answer.map(tonic::Response::into_inner).map_err(Refused::from);
                }
            }
        }
    })
}

/// Whether the service takes a call, and at once says so.
async fn is_full(scene: &Scene) -> bool {
    let began = Instant::now();
    let answer = scene.verify(verifying("pypi-")).await;
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for a place");
    answer.is_err()
}

async fn until_full(scene: &Scene, full: bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while is_full(scene).await != full {
        assert!(Instant::now() < until, "waited in vain; full should be {full}");
        // Whoever asks takes a place too, and leaves it to others meanwhile.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn one_call_too_many_is_refused_at_once_and_told_when_to_come_again() {
    let scene = bounded("max_in_flight = 2").await;
    scene.issuer.behave(Behaviour::Held);
    let running = [waiting_mint(&scene, "1"), waiting_mint(&scene, "2")];
    until_full(&scene, true).await;

    let refused = scene.verify(verifying("pypi-")).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "a mesh takes RESOURCE_EXHAUSTED for success");
    assert_eq!((refused.reason.as_str(), refused.domain.as_str()), ("UNAVAILABLE", "mintage.v1"));
    assert_eq!(refused.retry_after, Some(Duration::from_millis(100)));

    scene.issuer.behave(Behaviour::Normal);
    for call in running {
        call.await.unwrap().unwrap();
    }
    until_full(&scene, false).await;
}

#[tokio::test]
async fn calls_that_come_together_are_counted_before_any_is_begun() {
    let bounds = "max_in_flight = 4, threads = 1";
    let scene = bounded(bounds).await;
    let call = http2::call(VERIFY, &[("authorization", &bearer())]);
    let body = message(&verifying("pypi-").encode_to_vec());
    let mut peer = Peer::greeted(scene.server.grpc_address());
    peer.wait_for(kind::SETTINGS).unwrap();
    for round in 0..3 {
        // Each is done as soon as its turn comes, and none waits for anything else.
        let streams = (0..20).map(|at| round * 40 + 2 * at + 1);
        let calls: Vec<_> = streams
            .flat_map(|id| [http2::headers(id, &call, false), http2::data(id, &body, true)])
            .collect();
        peer.send(&calls.concat());
        let refused = ended(&mut peer, 20).len();
        assert!((1..=16).contains(&refused), "{refused} of 20, with 4 places");
    }
}

#[tokio::test]
async fn ten_times_too_many_are_refused_at_once_and_leave_nothing_behind() {
    let scene = bounded("max_in_flight = 8").await;
    let call = http2::call(VERIFY, &[("authorization", &bearer())]);
    let body = message(&verifying("pypi-").encode_to_vec());
    let mut peer = Peer::greeted(scene.server.grpc_address());
    peer.wait_for(kind::SETTINGS).unwrap();
    for round in 0..5 {
        // They hold their places: what they ask comes later.
        let streams: Vec<u32> = (0..80).map(|at| round * 160 + 2 * at + 1).collect();
        let (held, beyond) = streams.split_at(8);
        let heads: Vec<_> = streams.iter().map(|id| http2::headers(*id, &call, false)).collect();
        peer.send(&heads.concat());
        let mut refused = ended(&mut peer, 72);
        refused.sort_unstable();
        assert_eq!(refused, beyond, "exactly those that found no place");
        let asked: Vec<_> = held.iter().map(|id| http2::data(*id, &body, true)).collect();
        peer.send(&asked.concat());
        assert_eq!(ended(&mut peer, 8), [0; 0], "all that had a place are answered");
    }
}

/// Waits until so many calls have ended, and tells which were refused: their status
/// is in the head, and no message came before.
fn ended(peer: &mut Peer, calls: usize) -> Vec<u32> {
    const END_STREAM: u8 = 1;
    let (mut begun, mut refused) = (Vec::new(), Vec::new());
    let mut answered = 0;
    while answered + refused.len() < calls {
        let headers = peer.frame_of(kind::HEADERS).unwrap();
        match (headers.flags & END_STREAM, begun.contains(&headers.stream)) {
            (0, _) => begun.push(headers.stream),
            (_, true) => answered += 1,
            (_, false) => refused.push(headers.stream),
        }
    }
    refused
}

#[tokio::test]
async fn a_cancelled_call_frees_its_place() {
    let scene = bounded("max_in_flight = 1, threads = 1").await;
    scene.issuer.behave(Behaviour::Held);
    for jti in ["1", "2", "3"] {
        let running = waiting_mint(&scene, jti);
        until_full(&scene, true).await;
        running.abort();
        until_full(&scene, false).await;
    }
    // So does one whose connection is cut.
    let mut peer = Peer::greeted(scene.server.grpc_address());
    let block = http2::call(VERIFY, &[("authorization", &bearer())]);
    peer.send(&http2::headers(1, &block, false));
    // Answered after the call was taken in: whoever asks now comes later.
    peer.send(&http2::frame(kind::PING, 0, 0, &[0; 8]));
    peer.wait_for(kind::PING).unwrap();
    until_full(&scene, true).await;
    drop(peer);
    until_full(&scene, false).await;
}

#[tokio::test]
async fn a_call_ends_at_its_callers_deadline_or_at_ours() {
    for (bounds, asked, least) in [
        // The caller's, where it has one that is sooner.
        ("request_timeout = \"10s\"", Some("200m"), 200),
        ("request_timeout = \"10s\"", Some("200000u"), 200),
        // Ours, where it has none, or none that can be read, or a later one.
        ("request_timeout = \"250ms\"", None, 250),
        ("request_timeout = \"250ms\"", Some("soon"), 250),
        ("request_timeout = \"250ms\"", Some("1H"), 250),
        ("request_timeout = \"250ms\"", Some("99999999H"), 250),
    ] {
        let scene = bounded(bounds).await;
        scene.issuer.behave(Behaviour::Held);
        let (client, _connection) = http2::client(scene.server.grpc_address()).await;
        let bearer = bearer();
        let mut more = vec![("authorization", bearer.as_str())];
        more.extend(asked.map(|asked| ("grpc-timeout", asked)));
        let body = message(&scene.publishing("1").encode_to_vec());

        let began = Instant::now();
        let answer = status_of(&client, head(MINT, &more), &body).await.unwrap();
        let took = began.elapsed();
        assert_eq!(code(&answer), DEADLINE_EXCEEDED, "{bounds} {asked:?}");
        let least = Duration::from_millis(least);
        assert!(took >= least && took < least + Duration::from_secs(5), "{took:?} {asked:?}");
    }
}

#[tokio::test]
async fn a_request_that_never_ends_is_over_at_the_deadline_and_frees_its_place() {
    let scene = bounded("max_in_flight = 1, request_timeout = \"300ms\"").await;
    let mut slow = Peer::greeted(scene.server.grpc_address());
    slow.send(&http2::headers(1, &http2::call(VERIFY, &[("authorization", &bearer())]), false));
    slow.send(&http2::data(1, &message(&[0; 100])[..50], false));
    let status = slow.wait_for(kind::HEADERS).unwrap();
    assert_eq!(status.stream, 1);
    until_full(&scene, false).await;
}

#[tokio::test]
async fn messages_are_read_up_to_4_mib() {
    let scene = Scene::start().await;
    let sized = |bytes: usize| {
        let mut request = for_user(None);
        request.features = vec!["x".repeat(bytes - request.encoded_len() - 5)];
        assert_eq!(request.encoded_len(), bytes);
        request
    };
    let most = 4 * 1024 * 1024;
    let read = scene.mint(sized(most)).await.unwrap_err();
    assert_eq!((read.code, read.reason.as_str()), (Code::InvalidArgument, "FEATURE_UNSUPPORTED"));
    let refused = scene.mint(sized(most + 1)).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "REQUEST_INVALID"));
    assert_eq!(refused.message, "the request is larger than 4 MiB");
}

#[tokio::test]
async fn what_is_no_message_is_refused_in_the_form_of_all_refusals() {
    let scene = Scene::start().await;
    let (client, _connection) = http2::client(scene.server.grpc_address()).await;
    let bearer = bearer();
    for (what, body) in [
        ("a length of 4 GiB", vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
        ("a field of no known type", message(&[0x0f, 0xff, 0xff])),
        ("text that isn't UTF-8", message(&[0x0a, 2, 0xff, 0xfe])),
        ("half a message", message(&[0x0a, 200, 1])),
    ] {
        let asked = head(VERIFY, &[("authorization", &bearer)]);
        let answer = status_of(&client, asked, &body).await.unwrap();
        assert_eq!(code(&answer), "3", "{what}: {answer:?}");
        assert!(answer.contains_key("grpc-status-details-bin"), "{what}");
    }
    // A caller that doesn't prove itself learns nothing about its message.
    for body in [vec![0, 0xff, 0xff, 0xff, 0xff, 1], message(&[0x0f, 0xff])] {
        let answer = status_of(&client, head(VERIFY, &[]), &body).await.unwrap();
        assert_eq!(code(&answer), "16", "the caller comes first: {answer:?}");
    }
}

#[tokio::test]
async fn a_caller_that_does_not_prove_itself_is_refused_before_its_message_is_read() {
    let scene = Scene::start().await;
    let (client, _connection) = http2::client(scene.server.grpc_address()).await;
    // The message never comes, and the answer doesn't wait for it.
    let mut client = client.ready().await.unwrap();
    let (answer, _message) = client.send_request(head(MINT, &[]), false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(code(answer.headers()), "16", "{answer:?}");
}

#[tokio::test]
async fn hundreds_of_calls_at_once_are_all_answered() {
    let scene = Scene::start().await;
    let clients =
        [scene.client.clone(), client(&scene.server, Some(WEB)).await, scene.client.clone()];
    let mut calls = Vec::new();
    for at in 0..256 {
        let mut client = clients[at % 3].clone();
        let request = scene.publishing(&at.to_string());
        calls.push(tokio::spawn(async move {
            let minted = client.mint(request).await.unwrap().into_inner();
            let verified = client.verify(verifying(&minted.token)).await.unwrap().into_inner();
            assert_eq!(verified.verdict(), proto::Verdict::Allowed);
            minted.token_id
        }));
    }
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await.unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 256, "each has a token of its own");
    assert_eq!(scene.issuer.key_set_reads(), 1, "and the issuer was asked once");
}

#[tokio::test]
async fn large_requests_at_once_are_all_answered() {
    let scene = bounded("request_timeout = \"60s\"").await;
    let calls: Vec<_> = (0..32)
        .map(|at| {
            let mut request = scene.publishing(&at.to_string());
            trusted(&mut request).candidates[0].projects = (0..10_000)
                .map(|at| project(&format!("{at:036}"), &format!("some-project-{at}")))
                .collect();
            let mut client = scene.client.clone();
            tokio::spawn(async move { client.mint(request).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

/// A clock that breaks when it is told, once, for a call. The thread that looks
/// after the store asks for the time too, and would take the fall from it.
struct FragileClock(AtomicBool);

impl Clock for FragileClock {
    fn now(&self) -> Timestamp {
        if std::thread::current().name() != Some("mintage-steer") {
            assert!(!self.0.swap(false, Ordering::SeqCst), "the clock fell down: pypi-secret");
        }
        BEGIN
    }
}

#[tokio::test]
async fn a_panic_ends_one_call_and_tells_nothing() {
    let clock = Arc::new(FragileClock(AtomicBool::new(false)));
    let server = server_by(&configuration("http://127.0.0.1:1", "", ""), Arc::clone(&clock) as _);
    let mut client = client(&server, Some(WEB)).await;
    for _ in 0..3 {
        clock.0.store(true, Ordering::SeqCst);
        let refused = Refused::from(client.mint(for_user(None)).await.unwrap_err());
        assert_eq!(
            refused,
            Refused {
                code: Code::Internal,
                reason: "INTERNAL".to_owned(),
                domain: "mintage.v1".to_owned(),
                message: "the service has a defect; its operator can see it in the log".to_owned(),
                field: String::new(),
                retry_after: None,
            }
        );
        client.mint(for_user(None)).await.unwrap();
    }
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_up_nobody_else() {
    let scene = Scene::start().await;
    let minted = scene.mint(for_user(None)).await.unwrap();
    scene.issuer.behave(Behaviour::Held);
    let running = waiting_mint(&scene, "1");
    until("the issuer is asked", || scene.issuer.discoveries() == 1).await;
    for _ in 0..20 {
        let answer = scene.verify(verifying(&minted.token)).await.unwrap();
        assert_eq!(answer.verdict(), proto::Verdict::Allowed, "{:?}", answer.denials);
    }
    assert!(!running.is_finished());
    let mut other = scene.publishing("2");
    trusted(&mut other).id_token = "x.y.z".to_owned();
    assert_eq!(scene.mint(other).await.unwrap_err().reason, "ID_TOKEN_MALFORMED");
    scene.issuer.behave(Behaviour::Normal);
    running.await.unwrap().unwrap();
}
