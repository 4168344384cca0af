//! How a replica goes without a call that fails, where nobody but it tells its callers:
//! first it says that it goes, then it takes nothing more, then it ends.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod support;

use std::{
    error::Error as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mintage::{app::SystemClock, grpc::proto, ports::Clock as _};
use support::{
    issuer::{Behaviour, TestIssuer},
    process::{Folder, Process},
    service::{
        Client, WEB, client_at, configuration_with, for_user, github_claims, publishing, verifying,
    },
    until,
};
use tokio::{io::copy_bidirectional, net::TcpListener, task::JoinSet};
use tonic::{Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Longer than any test waits: what ends sooner was told to.
const LONG: &str = "drain_delay = \"600s\", shutdown_grace = \"600s\", threads = 2";

fn configuration(issuer: &str) -> String {
    format!("admin_listen = \"127.0.0.1:0\"\n{}", configuration_with(LONG, issuer, "", ""))
}

/// What `/readyz` answers.
fn readiness(process: &Process) -> String {
    let mut stream = TcpStream::connect(process.admin()).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {}", head.split(' ').nth(1).unwrap(), body.trim())
}

async fn is_answered(client: &Client) {
    let mint = |mut client: Client| async move { client.mint(for_user(None)).await };
    let token = called(|| mint(client.clone())).await.token;
    let verify = |mut client: Client, request| async move { client.verify(request).await };
    let answer = called(|| verify(client.clone(), verifying(&token))).await;
    assert_eq!(answer.verdict(), proto::Verdict::Allowed);
}

/// The answer of a call. One that never left is made again, as gRPC asks of a client:
/// its connection was told to go after it was chosen, and before anything was written to
/// it. Other clients than tonic's do so by themselves. (That none was cut on its way, the
/// replica's audit trail says.)
async fn called<T, C>(call: impl Fn() -> C) -> T
where
    C: Future<Output = Result<Response<T>, Status>>,
{
    loop {
        match call().await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => assert!(never_left(&status), "{status:?}"),
        }
    }
}

fn never_left(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let canceled = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        let gone = |error: &h2::Error| {
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
        };
        if canceled || error.downcast_ref::<h2::Error>().is_some_and(gone) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn it_says_that_it_goes_takes_calls_drains_them_and_ends_and_each_signal_hurries_it() {
    let issuer = TestIssuer::start();
    issuer.behave(Behaviour::Held);
    let folder = Folder::new(&configuration(&issuer.url()));
    let mut process = Process::start(&folder);
    let address = process.grpc();
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let before = client_at(address, Some(WEB)).await;
    is_answered(&before).await;
    let running = {
        let claims = github_claims(SystemClock.now().seconds(), "1");
        let request = publishing(&issuer.url(), issuer.id_token(&claims));
        let mut client = before.clone();
        tokio::spawn(async move { client.mint(request).await })
    };
    until("the issuer is asked", || issuer.discoveries() > 0).await;

    // It says so first, to everybody alike, and goes on for whoever hasn't heard.
    process.signal("TERM");
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(readiness(&process), "503 draining");
    is_answered(&before).await;
    let after = client_at(address, Some(WEB)).await;
    is_answered(&after).await;
    let checked = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::NotServing);

    // Then it lets nobody in, and waits for what runs; whoever is there is told to go.
    process.signal("TERM");
    until("nobody is let in any more", || TcpStream::connect(address).is_err()).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none(), "a watch ends");
    assert_eq!(readiness(&process), "503 draining");
    assert!(after.clone().mint(for_user(None)).await.is_err(), "there is nobody to call");
    assert!(process.runs() && !running.is_finished());

    // Its time is over: the call that still runs is cut, and told all the same.
    process.signal("INT");
    assert!(running.await.unwrap().is_err());
    assert_eq!(process.end().await.code(), Some(0), "{}", process.err());
    let err = process.err();
    let at = |part: &str| err.find(part).unwrap_or_else(|| panic!("no {part:?} in {err}"));
    let told = ["leaving:", "stopping: running", "stopping at once", "Mint unanswered", "stopped"];
    assert!(told.map(at).is_sorted(), "{err}");
}

/// A service as kube-proxy makes one: each connection goes to one of the endpoints, and
/// nobody looks at what is in it.
struct Endpoints {
    address: SocketAddr,
    behind: Arc<Mutex<Vec<SocketAddr>>>,
    /// Connections that each got, in order.
    sent: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Endpoints {
    async fn start(behind: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(Mutex::new(behind));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let service = Self { address, behind: Arc::clone(&behind), sent: Arc::clone(&sent) };
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let to = {
                    let (behind, mut sent) = (behind.lock().unwrap(), sent.lock().unwrap());
                    let to = behind[sent.len() % behind.len()];
                    sent.push(to);
                    to
                };
                tokio::spawn(async move {
                    // Whoever isn't there refuses, and the client hears so.
                    if let Ok(mut server) = tokio::net::TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        service
    }

    fn sent_to(&self, address: SocketAddr) -> usize {
        self.sent.lock().unwrap().iter().filter(|to| **to == address).count()
    }
}

/// Calls without a pause, some over a connection that they keep, some over new ones.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    workers: JoinSet<()>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut workers = JoinSet::new();
        for worker in 0..6 {
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            workers.spawn(async move {
                let kept = client_at(address, Some(WEB)).await;
                while !stop.load(Ordering::SeqCst) {
                    if worker % 2 == 0 {
                        is_answered(&kept).await;
                    } else {
                        is_answered(&client_at(address, Some(WEB)).await).await;
                    }
                    calls.fetch_add(2, Ordering::SeqCst);
                }
            });
        }
        Self { stop, calls, workers }
    }

    async fn goes_on(&mut self) {
        let before = self.calls.load(Ordering::SeqCst);
        until("calls go on", || self.calls.load(Ordering::SeqCst) > before + 100).await;
        if let Some(failed) = self.workers.try_join_next() {
            failed.unwrap();
        }
    }

    async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        self.calls.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_replaced_behind_a_plain_service_and_no_call_fails() {
    let folder = Folder::new(&configuration("http://127.0.0.1:1"));
    let mut replicas = [Process::start(&folder), Process::start(&folder)];
    let service = Endpoints::start(replicas.iter().map(Process::grpc).collect()).await;
    let mut load = Load::on(service.address);
    load.goes_on().await;
    for replica in &mut replicas {
        let mut old = std::mem::replace(replica, Process::start(&folder));
        service.behind.lock().unwrap().push(replica.grpc());
        // Its end and its endpoint's race: connections still come for a while.
        old.signal("TERM");
        until("it isn't ready", || readiness(&old) == "503 draining").await;
        let before = service.sent_to(old.grpc());
        until("connections still come", || service.sent_to(old.grpc()) > before + 10).await;
        load.goes_on().await;
        service.behind.lock().unwrap().retain(|address| *address != old.grpc());
        load.goes_on().await;
        // Its delay is over.
        old.signal("TERM");
        assert_eq!(old.end().await.code(), Some(0), "{}", old.err());
        assert!(!old.err().contains("unanswered"), "{}", old.err());
        load.goes_on().await;
    }
    let calls = load.end().await;
    println!("{calls} calls, none failed");
}
