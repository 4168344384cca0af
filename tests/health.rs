//! Health, reflection and the probes: for everybody, without a caller's token.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use mintage::app::Server;
use prost::Message as _;
use support::{
    issuer::{Behaviour, TestIssuer},
    service::{BEGIN, Scene, WEB, configuration, configuration_with, trusted, verifying},
    until,
};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

/// The names that a health check may ask for.
const NAMES: [&str; 2] = ["", "mintage.v1.TokenService"];

async fn channel(server: &Server) -> Channel {
    let url = format!("http://{}", server.grpc_address());
    Channel::from_shared(url).unwrap().connect().await.unwrap()
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn next(watch: &mut tonic::Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let told = tokio::time::timeout(Duration::from_secs(60), watch.message()).await;
    told.unwrap().unwrap().map(|told| told.status())
}

/// A scene whose service has an admin port.
async fn with_admin_port() -> Scene {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", "");
    let toml = format!("admin_listen = \"127.0.0.1:0\"\n{toml}");
    Scene::start_at(issuer, &toml, BEGIN).await
}

/// What the admin port answers: its status line's number and its body.
fn probe(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let asked = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn both_names_are_serving_from_the_first_moment() {
    for _ in 0..5 {
        let scene = Scene::start().await;
        let mut health = HealthClient::new(channel(&scene.server).await);
        for name in NAMES {
            let checked = health.check(about(name)).await.unwrap().into_inner();
            assert_eq!(checked.status(), ServingStatus::Serving, "{name:?}");
            let mut watch = health.watch(about(name)).await.unwrap().into_inner();
            assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving), "{name:?}");
        }
        let unknown = health.check(about("mintage.v1.Other")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
        let unknown = health.watch(about("mintage.v1.Other")).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
    }
}

#[tokio::test]
async fn health_has_places_of_its_own() {
    let issuer = TestIssuer::start();
    let bounds = "max_in_flight = 1, max_connections = 3";
    let toml = configuration_with(bounds, &issuer.url(), "", "");
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    scene.issuer.behave(Behaviour::Held);
    let (mut client, request) = (scene.client.clone(), scene.publishing("1"));
    let running = tokio::spawn(async move { client.mint(request).await });
    until("the issuer is asked", || scene.issuer.discoveries() > 0).await;

    let mut health = HealthClient::new(channel(&scene.server).await);
    let mut watches = Vec::new();
    for _ in 0..3 {
        health.check(about("")).await.unwrap();
        watches.push(health.watch(about("")).await.unwrap().into_inner());
    }
    let refused = health.watch(about("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    watches.pop();
    let until = Instant::now() + Duration::from_secs(60);
    while health.check(about("")).await.is_err() {
        assert!(Instant::now() < until, "a watch that ended frees its place");
    }
    scene.issuer.behave(Behaviour::Normal);
    running.await.unwrap().unwrap();
    scene.verify(verifying("pypi-")).await.unwrap();
}

#[tokio::test]
async fn the_end_is_told_first_and_running_calls_are_answered() {
    let scene = with_admin_port().await;
    let (grpc, admin) = (scene.server.grpc_address(), scene.server.admin_address().unwrap());
    assert_eq!(probe(admin, "/livez"), (200, "alive\n".to_owned()));
    assert_eq!(probe(admin, "/readyz"), (200, "ready\n".to_owned()));

    let mut health = HealthClient::new(channel(&scene.server).await);
    let mut watches = Vec::new();
    for name in NAMES {
        let mut watch = health.watch(about(name)).await.unwrap().into_inner();
        assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
        watches.push(watch);
    }
    let minted = scene.mint(scene.publishing("1")).await.unwrap();
    scene.issuer.behave(Behaviour::Held);
    let mut client = scene.client.clone();
    let mut request = scene.publishing("2");
    // A key that isn't known yet: the issuer is asked again, and answers late.
    trusted(&mut request).id_token =
        scene.issuer.id_token_by(support::issuer::key_two(), &scene.github_claims("2"));
    let before = scene.issuer.discoveries();
    let running = tokio::spawn(async move { client.mint(request).await });
    until("the issuer is asked", || scene.issuer.discoveries() > before).await;

    let began = Instant::now();
    let Scene { server, issuer, .. } = scene;
    let stopping = std::thread::spawn(move || server.stop());
    for watch in &mut watches {
        assert_eq!(next(watch).await, Some(ServingStatus::NotServing));
    }
    until("nobody is let in any more", || TcpStream::connect(grpc).is_err()).await;
    assert_eq!(probe(admin, "/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(probe(admin, "/livez"), (200, "alive\n".to_owned()));
    assert!(!running.is_finished() && !stopping.is_finished());

    issuer.publish(&[support::issuer::key_one(), support::issuer::key_two()]);
    issuer.behave(Behaviour::Normal);
    let late = running.await.unwrap().unwrap().into_inner();
    assert!(late.token.starts_with("pypi-") && late.token != minted.token);
    // Whoever watches doesn't hold up the end.
    for watch in &mut watches {
        assert_eq!(next(watch).await, None, "a watch ends with the service");
    }
    until("the service has ended", || stopping.is_finished()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "before its grace was over");
    stopping.join().unwrap();
    assert!(TcpStream::connect(admin).is_err(), "the probes end with the service");
}

#[tokio::test]
async fn an_idle_service_with_an_admin_port_ends_at_once() {
    let scene = with_admin_port().await;
    scene.verify(verifying("pypi-")).await.unwrap();
    let server = scene.server;
    let stopping = std::thread::spawn(move || server.stop());
    until("the service has ended", || stopping.is_finished()).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_holds_up_the_end_no_longer_than_its_grace() {
    let issuer = TestIssuer::start();
    let toml = configuration_with("shutdown_grace = \"500ms\", threads = 2", &issuer.url(), "", "");
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let address = scene.server.grpc_address();
    let _silent = support::http2::Peer::silent(address);
    let mut deaf = support::http2::Peer::greeted(address);
    let bearer = format!("Bearer {WEB}");
    let call = support::http2::call(
        "/mintage.v1.TokenService/Verify",
        &[("authorization", bearer.as_str())],
    );
    deaf.send(&support::http2::headers(1, &call, false));
    scene.verify(verifying("pypi-")).await.unwrap();

    let server = scene.server;
    let began = Instant::now();
    let stopping = std::thread::spawn(move || server.stop());
    until("the service has ended", || stopping.is_finished()).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn without_an_admin_address_there_is_no_admin_port() {
    let issuer = TestIssuer::start();
    let toml = format!("admin_listen = \"\"\n{}", configuration(&issuer.url(), "", ""));
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    assert_eq!(scene.server.admin_address(), None);
}

/// The names of the files' services and messages, read from serialized descriptors.
fn described(files: &[Vec<u8>]) -> Vec<String> {
    let mut names = Vec::new();
    for file in files {
        let file = prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
        let package = file.package().to_owned();
        let services = file.service.iter().map(|service| format!("{package}.{}", service.name()));
        let messages = file.message_type.iter().map(|one| format!("{package}.{}", one.name()));
        names.extend(services.chain(messages));
    }
    names
}

/// What a tool such as grpcurl asks for, in one version of reflection.
macro_rules! reflects {
    ($test:ident, $version:ident) => {
        #[tokio::test]
        async fn $test() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };

            let scene = Scene::start().await;
            let mut client = ServerReflectionClient::new(channel(&scene.server).await);
            let asked = [
                MessageRequest::ListServices(String::new()),
                MessageRequest::FileContainingSymbol("mintage.v1.TokenService".to_owned()),
                MessageRequest::FileContainingSymbol("mintage.v1.TokenService.Mint".to_owned()),
                MessageRequest::FileContainingSymbol("nothing.such".to_owned()),
            ]
            .map(|request| ServerReflectionRequest {
                host: String::new(),
                message_request: Some(request),
            });
            let answers = client.server_reflection_info(tokio_stream::iter(asked)).await.unwrap();
            let answers: Vec<_> = answers.into_inner().collect().await;
            let [listed, of_service, of_method, unknown] = &answers[..] else {
                panic!("{answers:?}")
            };

            let Some(MessageResponse::ListServicesResponse(listed)) =
                listed.clone().unwrap().message_response
            else {
                panic!("{listed:?}")
            };
            let mut names: Vec<_> = listed.service.into_iter().map(|one| one.name).collect();
            names.sort();
            assert_eq!(
                names[..2],
                ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"].map(|name| name
                    .replace("reflection.v1.", concat!("reflection.", stringify!($version), ".")))
            );
            assert!(names.contains(&"mintage.v1.TokenService".to_owned()), "{names:?}");

            for answer in [of_service, of_method] {
                let Some(MessageResponse::FileDescriptorResponse(files)) =
                    answer.clone().unwrap().message_response
                else {
                    panic!("{answer:?}")
                };
                let described = described(&files.file_descriptor_proto);
                for name in ["mintage.v1.TokenService", "mintage.v1.MintRequest"] {
                    assert!(described.contains(&name.to_owned()), "{described:?}");
                }
            }
            let refused = match unknown {
                Ok(answer) => {
                    matches!(answer.message_response, Some(MessageResponse::ErrorResponse(_)))
                }
                Err(status) => status.code() == Code::NotFound,
            };
            assert!(refused, "{unknown:?}");
        }
    };
}

reflects!(reflection_tells_the_contract, v1);
reflects!(reflection_tells_it_to_older_tools_too, v1alpha);
