//! How a Redis is reached: what a configuration says, as the real `mintage` does
//! it with a real server; what an operator reads where it can't; what may change
//! meanwhile; and the rights that it needs there, as the README has them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails panics"
)]

#[path = "../support/mod.rs"]
mod support;

mod changed;
mod refused;
mod rights;

use std::{fs, net::TcpListener, path::Path, sync::Arc};

use mintage::{app::SystemClock, grpc::proto, ports::Clock as _};
use support::{
    issuer::TestIssuer,
    process::{Folder, Process},
    redis::{
        self, Binary, Certificates, Kind, Options, RedisServer, Sentinels, binaries, binary,
        left_out,
    },
    service::{
        Client, WEB, client_at, configuration, for_user, github_claims, publishing, reasons,
        verifying,
    },
};

/// A password: enough of it to be found in a log, in what a URL makes of it too.
const PASSWORD: &str = "correct-horse/battery@staple";
const IN_URL: &str = "correct-horse%2Fbattery%40staple";

/// A `mintage` of this `[store]`, beside an issuer.
struct Replica {
    process: Process,
    issuer: TestIssuer,
    folder: Folder,
}

impl Replica {
    /// One that has reached its store. `secrets` are files beside its configuration.
    fn start(store: &str, secrets: &[(&str, &str)]) -> Self {
        let replica = Self::spawn(store, secrets);
        replica.process.wait_for_line("connected to Redis");
        replica.process.wait_for_line("listening");
        replica
    }

    /// One that has or hasn't.
    fn spawn(store: &str, secrets: &[(&str, &str)]) -> Self {
        let issuer = TestIssuer::start();
        // Long enough for a machine that does much else.
        let sections = format!(
            "[store]\nkind = \"redis\"\ntimeout = \"5s\"\n{store}\n\n[log]\nfilter = \"trace\"\n"
        );
        let folder = Folder::new(&configuration(&issuer.url(), "", &sections));
        for (name, content) in secrets {
            fs::write(folder.configuration().with_file_name(name), content).unwrap();
        }
        Self { process: Process::spawn(&folder), issuer, folder }
    }

    /// Lays a file down beside its configuration, at once.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let place = |name: &str| self.folder.configuration().with_file_name(name);
        fs::write(place("draft"), content).unwrap();
        fs::rename(place("draft"), place(name)).unwrap();
    }

    async fn client(&self) -> Client {
        client_at(self.process.grpc(), Some(WEB)).await
    }

    /// A Mint for a job of its own.
    fn publishing(&self, jti: &str) -> proto::MintRequest {
        let claims = github_claims(SystemClock.now().seconds(), jti);
        publishing(&self.issuer.url(), self.issuer.id_token(&claims))
    }

    /// Mints once, and hears that a second time is too much.
    async fn mints_once(&self) -> String {
        self.mints_once_for("1").await
    }

    /// The same for another job.
    async fn mints_once_for(&self, jti: &str) -> String {
        let (mut client, request) = (self.client().await, self.publishing(jti));
        let minted = client.mint(request.clone()).await.unwrap().into_inner().token;
        assert_eq!(client.mint(request).await.unwrap_err().code(), tonic::Code::AlreadyExists);
        client.verify(verifying(&minted)).await.unwrap();
        minted
    }
}

/// `url = …` for a server.
fn at(server: &RedisServer) -> String {
    format!("url = \"{}\"\n", server.url())
}

/// The keys of a database.
fn keys(server: &RedisServer, database: u16) -> Vec<String> {
    let script = "redis.call('SELECT', ARGV[1]) return redis.call('KEYS', '*')";
    server.ask(&["EVAL", script, "0", &database.to_string()])
}

/// A program that speaks TLS.
async fn with_tls() -> Option<&'static Binary> {
    binary()?;
    for binary in binaries() {
        if binary.speaks_tls().await {
            return Some(binary);
        }
    }
    left_out("no server here was built with TLS");
    None
}

fn toml(key: &str, path: &Path) -> String {
    format!("{key} = \"{}\"\n", path.display())
}

#[tokio::test]
async fn a_password_is_enough() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start_with(binary, Options::default().password(PASSWORD)).await;
    let store = format!("{}password_file = \"password\"", at(&server));
    let mut replica = Replica::start(&store, &[("password", PASSWORD)]);
    replica.mints_once().await;
    shows_no_password(&mut replica).await;
}

/// Not at its finest level.
async fn shows_no_password(replica: &mut Replica) {
    replica.process.signal("TERM");
    assert!(replica.process.end().await.success());
    let written = format!("{}{}", replica.process.out(), replica.process.err());
    assert!(written.contains("DEBUG"), "{written}");
    for secret in [PASSWORD, IN_URL, "correct-horse", "battery"] {
        assert!(!written.contains(secret), "{written}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start_with(binary, Options::default().password("another")).await;
    let store = format!("{}password_file = \"password\"", at(&server));
    let mut replica = Replica::spawn(&store, &[("password", PASSWORD)]);
    let line = replica.process.wait_for_line("not ready");
    assert!(line.contains(&server.address().to_string()), "{line}");
    assert!(line.contains("WRONGPASS"), "{line}");
    replica.process.wait_for_line("listening");
    let refused = replica.client().await.mint(replica.publishing("1")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    for told in ["Redis", "WRONGPASS", "127.0.0.1"] {
        assert!(!refused.message().contains(told), "a caller need not know: {refused}");
    }
    shows_no_password(&mut replica).await;
}

#[tokio::test]
async fn a_url_in_a_file_holds_the_user_the_password_and_the_database() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let password = format!(">{PASSWORD}");
    server.command(&["ACL", "SETUSER", "mintage", "on", &password, "~*", "+@all"]);
    let url = server.url().replace("redis://", &format!("redis://mintage:{IN_URL}@"));
    let store = "url_file = \"url\"\nprefix = \"an-index\"";
    let mut replica = Replica::start(store, &[("url", &format!("{url}/3\n"))]);
    replica.mints_once().await;
    shows_no_password(&mut replica).await;
    let there = keys(&server, 3);
    assert!(there.iter().any(|key| key.starts_with("an-index:{0}:redeemed:")), "{there:?}");
    assert!(there.iter().all(|key| key.starts_with("an-index:{0}:")), "{there:?}");
    assert_eq!(keys(&server, 0), [""; 0]);
}

#[tokio::test]
async fn two_prefixes_are_two_stores() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    for prefix in ["one", "two"] {
        let replica = Replica::start(&format!("{}prefix = \"{prefix}\"", at(&server)), &[]);
        replica.mints_once().await;
    }
}

#[tokio::test]
async fn tls_needs_no_more_than_its_authority() {
    let Some(binary) = with_tls().await else { return };
    let certificates = Arc::new(Certificates::new());
    let server = RedisServer::start_with(binary, Options::default().tls(&certificates)).await;
    let store = at(&server) + &toml("ca_file", &certificates.ca());
    Replica::start(&store, &[]).mints_once().await;
}

#[tokio::test]
async fn tls_proves_both_sides_where_the_server_asks() {
    let Some(binary) = with_tls().await else { return };
    let certificates = Arc::new(Certificates::new());
    let options = Options::default().mutual_tls(&certificates).password(PASSWORD);
    let server = RedisServer::start_with(binary, options).await;
    let store = at(&server)
        + &toml("ca_file", &certificates.ca())
        + &toml("client_certificate_file", &certificates.client())
        + &toml("client_key_file", &certificates.client_key())
        + "password_file = \"password\"";
    let mut replica = Replica::start(&store, &[("password", PASSWORD)]);
    replica.mints_once().await;
    shows_no_password(&mut replica).await;
}

#[tokio::test]
async fn an_ipv6_address_is_reached() {
    let Some(binary) = binary() else { return };
    if TcpListener::bind("[::1]:0").is_err() {
        left_out("no IPv6 on this machine");
        return;
    }
    let options = Options::default().arguments(&["--bind", "127.0.0.1", "::1"]);
    let server = RedisServer::start_with(binary, options).await;
    let store = format!("url = \"redis://[::1]:{}\"", server.port());
    let replica = Replica::start(&store, &[]);
    replica.mints_once().await;
    let line = replica.process.wait_for_line("connected to Redis");
    assert!(line.contains(&format!("[::1]:{}", server.port())), "{line}");
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own() {
    let Some(binary) = binary() else { return };
    let (servers, watching) = (Options::default().password(PASSWORD), Options::default());
    let group = Sentinels::start(binary, &servers, &watching.password("watchful-watchful")).await;
    let store = format!(
        "url = \"{}\"\ntopology = \"sentinel\"\nsentinel_master = \"{}\"\n\
         password_file = \"password\"\nsentinel_password_file = \"sentinel\"",
        group.url(),
        Sentinels::NAME
    );
    let secrets = [("password", PASSWORD), ("sentinel", "watchful-watchful")];
    let mut replica = Replica::start(&store, &secrets);
    replica.mints_once().await;
    let primary = group.servers[group.agreed().await].address().to_string();
    assert!(replica.process.wait_for_line("connected to Redis").contains(&primary));
    shows_no_password(&mut replica).await;
    assert!(!replica.process.err().contains("watchful"));

    let swapped = [("password", "watchful-watchful"), ("sentinel", PASSWORD)];
    let line = Replica::spawn(&store, &swapped).process.wait_for_line("not ready");
    assert!(line.contains("WRONGPASS"), "{line}");
}

#[tokio::test]
async fn a_server_that_may_throw_marks_away_is_told_of_once() {
    let Some(binary) = binary() else { return };
    let options = Options::default().arguments(&["--maxmemory-policy", "allkeys-lru"]);
    let server = RedisServer::start_with(binary, options).await;
    let mut replica = Replica::start(&at(&server), &[]);
    let line = replica.process.wait_for_line("maxmemory-policy");
    assert!(line.contains("ERROR") && line.contains("allkeys-lru"), "{line}");
    // Calls come in on several threads, and each has a connection of its own.
    for jti in 0..8 {
        replica.mints_once_for(&jti.to_string()).await;
    }
    replica.process.signal("TERM");
    assert!(replica.process.end().await.success());
    assert_eq!(replica.process.err().matches("maxmemory-policy").count(), 1);
}

#[tokio::test]
async fn why_calls_get_no_answer_is_told_though_the_server_is_there() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let mut replica = Replica::start(&at(&server), &[]);
    replica.mints_once().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut client = replica.client().await;
    for jti in 0..20 {
        let request = replica.publishing(&format!("full {jti}"));
        assert_eq!(client.mint(request).await.unwrap_err().code(), tonic::Code::Unavailable);
    }
    let line = replica.process.wait_for_line("OOM");
    assert!(line.contains("WARN"), "{line}");
    replica.process.signal("TERM");
    assert!(replica.process.end().await.success());
    let lines = replica.process.err().matches("OOM").count();
    assert!(lines < 20, "{lines} lines: not one for each call");
}
