//! Ways to a Redis that don't work: each is said in a sentence that names what to
//! mend, and shows no secret.

use std::{fs, time::Duration};

use mintage::{
    ports::Store as _,
    store::{
        Address, Credentials, Login, RedisSettings, RedisStore, SharedCredentials, Tls, Topology,
    },
};
use zeroize::Zeroizing;

use super::*;

/// How to reach a server, without any proof of who we are.
pub(super) fn settings(server: &RedisServer) -> RedisSettings {
    RedisSettings {
        topology: Topology::Single(Address { host: "127.0.0.1".to_owned(), port: server.port() }),
        credentials: SharedCredentials::new(Credentials::default()),
        database: 0,
        prefix: "mintage".to_owned(),
        // No sentence here is about time.
        timeout: Duration::from_secs(20),
        max_waiting: 1_024,
        wait_replicas: 0,
    }
}

/// The same with proof.
pub(super) fn proving(server: &RedisServer, login: Login, tls: Option<Tls>) -> RedisSettings {
    let credentials = Credentials { tls, login, ..Credentials::default() };
    RedisSettings { credentials: SharedCredentials::new(credentials), ..settings(server) }
}

pub(super) fn login(username: &str, password: &str) -> Login {
    Login {
        username: (!username.is_empty()).then(|| username.to_owned()),
        password: Some(Zeroizing::new(password.to_owned())),
    }
}

fn tls(certificates: &Certificates) -> Tls {
    Tls { ca: Some(fs::read(certificates.ca()).unwrap()), client: None }
}

/// What an operator hears of a way that doesn't work.
pub(super) async fn cause(settings: RedisSettings) -> String {
    let shown = format!("{settings:?}");
    let failure = RedisStore::new(settings).probe(SystemClock.now()).await.unwrap_err();
    let shown = format!("{shown} {failure:?} {failure}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    failure.cause
}

#[tokio::test]
async fn whoever_does_not_prove_who_it_is_hears_so() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start_with(binary, Options::default().password("another")).await;
    server.command(&["ACL", "SETUSER", "off", "off", "nopass", "~*", "+@all"]);
    for (name, login, part) in [
        ("nothing", Login::default(), "NOAUTH"),
        ("wrong", login("", PASSWORD), "WRONGPASS"),
        ("unknown", login("nobody", PASSWORD), "WRONGPASS"),
        ("switched off", login("off", PASSWORD), "WRONGPASS"),
    ] {
        let cause = cause(proving(&server, login, None)).await;
        assert!(cause.contains(part), "{name}: {cause}");
        assert!(cause.contains(&server.address().to_string()), "{name}: {cause}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_who_it_is_is_left_at_once() {
    let Some(binary) = with_tls().await else { return };
    let (own, other) = (Arc::new(Certificates::new()), Certificates::new());
    let server = RedisServer::start_with(binary, Options::default().tls(&own)).await;
    let by_name = Topology::Single(Address { host: "localhost".to_owned(), port: server.port() });
    let usual = Tls { ca: None, client: None };
    for (name, topology, tls, part) in [
        ("another authority", None, tls(&other), "invalid peer certificate"),
        ("the usual authorities", None, usual, "invalid peer certificate"),
        ("another name", Some(by_name), tls(&own), "not valid for name \"localhost\""),
    ] {
        let topology = topology.unwrap_or(settings(&server).topology);
        let proving = proving(&server, login("", PASSWORD), Some(tls));
        let cause = cause(RedisSettings { topology, ..proving }).await;
        assert!(cause.contains(part), "{name}: {cause}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one_of_its_authority_or_refuses() {
    let Some(binary) = with_tls().await else { return };
    let (own, other) = (Arc::new(Certificates::new()), Certificates::new());
    let server = RedisServer::start_with(binary, Options::default().mutual_tls(&own)).await;
    let of = |of: &Certificates| {
        let key = Zeroizing::new(fs::read(of.client_key()).unwrap());
        Some((fs::read(of.client()).unwrap(), key))
    };
    for (name, client, part) in
        [("none", None, "CertificateRequired"), ("of another authority", of(&other), "alert")]
    {
        let tls = Some(Tls { client, ..tls(&own) });
        let cause = cause(proving(&server, Login::default(), tls)).await;
        assert!(cause.contains(part), "{name}: {cause}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_tls_does_not_understand_plain_text() {
    let Some(binary) = with_tls().await else { return };
    let certificates = Arc::new(Certificates::new());
    let server = RedisServer::start_with(binary, Options::default().tls(&certificates)).await;
    let cause = cause(proving(&server, login("", PASSWORD), None)).await;
    assert!(cause.contains(&server.address().to_string()), "{cause}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let cause = cause(RedisSettings { database: 99, ..settings(&server) }).await;
    assert!(cause.contains("DB index is out of range"), "{cause}");
}

#[tokio::test]
async fn replicas_that_are_waited_for_and_are_not_there_are_counted() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let timeout = Duration::from_secs(5);
    let store = RedisStore::new(RedisSettings { wait_replicas: 1, timeout, ..settings(&server) });
    // The first time the server has yet to be told the script, and time may run out.
    let _ = store.probe(SystemClock.now()).await;
    let failure = store.probe(SystemClock.now()).await.unwrap_err();
    assert!(failure.cause.contains("0 of 1 replicas have it"), "{failure}");
}
