//! Who may call what: every call of the contract by every kind of caller, through
//! the real port with TLS, with the answer that each must get.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use std::sync::Arc;

use mintage::{app::Server, grpc::proto};
use support::{
    clock::ManualClock,
    issuer::TestIssuer,
    service::{
        BEGIN, Client, Refused, SCANNER, WEB, caveat, configuration_with, for_user, github_claims,
        publishing, server, sha256_hex, verifying,
    },
    tls::{Authority, Dialer, Home},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// The token of a caller that may only verify.
const VERIFIER: &str = "the verifier's token, made for tests";

/// The token of a caller that must show a certificate too.
const BOUND: &str = "a token that is bound to a certificate, made for tests";

const WEB_NAME: &str = "web.index.internal";
const WEB_ID: &str = "spiffe://index.internal/web";
const SCANNER_NAME: &str = "scanner.index.internal";
const VERIFIER_ID: &str = "spiffe://index.internal/verifier";
const BOUND_NAME: &str = "bound.index.internal";

/// Callers by certificate, beside those that every configuration of a test has.
fn callers() -> String {
    let every = r#"["mint-publisher", "mint-user", "verify", "attenuate", "revoke"]"#;
    let by_token = |token: &str| format!("token_sha256 = \"{}\"", sha256_hex(token));
    let by_name = |name: &str| format!("san = \"{name}\"");
    let bound = format!("{}\n{}", by_token(BOUND), by_name(BOUND_NAME));
    [
        ("web by name", by_name(WEB_NAME), every),
        ("web by id", by_name(WEB_ID), every),
        ("scanner by name", by_name(SCANNER_NAME), r#"["revoke"]"#),
        ("verifier", by_token(VERIFIER), r#"["verify"]"#),
        ("verifier by id", by_name(VERIFIER_ID), r#"["verify"]"#),
        ("bound", bound, every),
    ]
    .iter()
    .map(|(name, proof, may)| format!("[[callers]]\nname = \"{name}\"\n{proof}\nmay = {may}\n"))
    .collect()
}

/// The calls, with the right that each needs: Mint needs one of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rpc {
    MintForPublisher,
    MintForUser,
    Verify,
    Attenuate,
    Revoke,
}

const RPCS: [Rpc; 5] =
    [Rpc::MintForPublisher, Rpc::MintForUser, Rpc::Verify, Rpc::Attenuate, Rpc::Revoke];

/// What a caller must be answered.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// What it asked for.
    Answer,
    /// `UNAUTHENTICATED`: nobody.
    Unknown,
    /// `PERMISSION_DENIED`: somebody who may not.
    Forbidden,
}

use Expected::{Answer, Forbidden, Unknown};

/// A kind of caller: the token that it sends, the names in its certificate, and what
/// it must be answered to every call.
type Kind = (&'static str, Option<&'static str>, Option<&'static [&'static str]>, [Expected; 5]);

const ALL: [Expected; 5] = [Answer; 5];
const NOTHING: [Expected; 5] = [Unknown; 5];
const ONLY_VERIFY: [Expected; 5] = [Forbidden, Forbidden, Answer, Forbidden, Forbidden];
const ONLY_REVOKE: [Expected; 5] = [Forbidden, Forbidden, Forbidden, Forbidden, Answer];

/// In the order of [`RPCS`].
const KINDS: [Kind; 22] = [
    ("neither token nor certificate", None, None, NOTHING),
    ("a wrong token", Some("wrong"), None, NOTHING),
    ("a right token", Some(WEB), None, ALL),
    ("a right token without the right", Some(SCANNER), None, ONLY_REVOKE),
    ("a right token with another right", Some(VERIFIER), None, ONLY_VERIFY),
    ("a wrong name", None, Some(&["stranger.index.internal"]), NOTHING),
    ("a wrong id", None, Some(&["spiffe://index.internal/web/other"]), NOTHING),
    ("a name below a right one", None, Some(&["sub.web.index.internal"]), NOTHING),
    ("a pattern that a right name is of", None, Some(&["*.index.internal"]), NOTHING),
    ("a certificate without a name", None, Some(&[]), NOTHING),
    ("a right name", None, Some(&[WEB_NAME]), ALL),
    ("a right id", None, Some(&[WEB_ID]), ALL),
    ("a right name among others", None, Some(&["other.internal", WEB_NAME, "urn:other"]), ALL),
    ("a right name without the right", None, Some(&[SCANNER_NAME]), ONLY_REVOKE),
    ("a right id with another right", None, Some(&[VERIFIER_ID]), ONLY_VERIFY),
    ("the names of two callers", None, Some(&[WEB_NAME, SCANNER_NAME]), NOTHING),
    ("a wrong token with a right name", Some("wrong"), Some(&[WEB_NAME]), NOTHING),
    ("a right token with a wrong name", Some(WEB), Some(&["stranger.internal"]), ALL),
    ("a token without the right, with a name", Some(SCANNER), Some(&[WEB_NAME]), ONLY_REVOKE),
    ("half of both: the token", Some(BOUND), Some(&[WEB_NAME]), NOTHING),
    ("half of both: the name", None, Some(&[BOUND_NAME]), NOTHING),
    ("both", Some(BOUND), Some(&[BOUND_NAME]), ALL),
];

/// A service that asks for certificates and lets those without in, and who signs.
struct Stage {
    server: Server,
    issuer: TestIssuer,
    clients: Authority,
    dialer: Dialer,
    _home: Home,
}

impl Stage {
    fn start() -> Self {
        let (servers, clients) = (Authority::new("of servers"), Authority::new("of clients"));
        let home = Home::with_clients(&servers.server(), &clients);
        let issuer = TestIssuer::start();
        let bounds = format!("threads = 2, {}", home.mutual("optional"));
        let toml = configuration_with(&bounds, &issuer.url(), "", &callers());
        let server = server(&toml, &Arc::new(ManualClock::at(BEGIN)));
        Self { server, issuer, clients, dialer: Dialer::trusting(&servers), _home: home }
    }

    async fn client(&self, token: Option<&str>, names: Option<&[&str]>) -> Client {
        let dialer = match names {
            None => self.dialer.clone(),
            Some(names) => self.dialer.showing(&self.clients.client(names)),
        };
        dialer.client(self.server.grpc_address(), token).await.unwrap()
    }

    /// A call that is good but for who calls. `once` is unlike that of any other.
    async fn call(&self, client: &mut Client, rpc: Rpc, once: &str) -> Result<(), Refused> {
        let answer = match rpc {
            Rpc::MintForPublisher => {
                let claims = github_claims(BEGIN.seconds(), once);
                let request = publishing(&self.issuer.url(), self.issuer.id_token(&claims));
                client.mint(request).await.map(drop)
            }
            Rpc::MintForUser => client.mint(for_user(None)).await.map(drop),
            Rpc::Verify => client.verify(verifying(&self.token().await)).await.map(drop),
            Rpc::Attenuate => client.attenuate(attenuating(self.token().await)).await.map(drop),
            Rpc::Revoke => client.revoke(revoking(self.token().await)).await.map(drop),
        };
        answer.map_err(Refused::from)
    }

    /// A token that nothing is wrong with.
    async fn token(&self) -> String {
        let mut client = self.client(Some(WEB), None).await;
        client.mint(for_user(None)).await.unwrap().into_inner().token
    }
}

fn attenuating(token: String) -> proto::AttenuateRequest {
    let names = proto::ProjectNames { names: vec!["sample".to_owned()] };
    let caveats = vec![caveat(proto::caveat::Kind::ProjectNames(names))];
    proto::AttenuateRequest { index: "pypi".to_owned(), token, caveats }
}

fn revoking(token: String) -> proto::RevokeRequest {
    let target = Some(proto::revoke_request::Target::Token(token));
    proto::RevokeRequest { index: "pypi".to_owned(), target, ..Default::default() }
}

#[tokio::test]
async fn every_call_is_answered_by_who_calls() {
    let stage = Stage::start();
    for (kind, token, names, answers) in KINDS {
        let mut client = stage.client(token, names).await;
        for (rpc, expected) in RPCS.into_iter().zip(answers) {
            let answer = stage.call(&mut client, rpc, &format!("{kind}, {rpc:?}")).await;
            let found = answer.as_ref().map_err(|it| (it.code, it.reason.as_str()));
            let expected = match expected {
                Answer => Ok(&()),
                Unknown => Err((Code::Unauthenticated, "CALLER_UNKNOWN")),
                Forbidden => Err((Code::PermissionDenied, "CALLER_FORBIDDEN")),
            };
            assert_eq!(found, expected, "{kind}, {rpc:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn health_is_told_to_whoever_comes_in() {
    let stage = Stage::start();
    let stranger = stage.dialer.showing(&stage.clients.client(&["stranger.internal"]));
    for dialer in [&stage.dialer, &stranger] {
        let channel = dialer.channel(stage.server.grpc_address()).await.unwrap();
        HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    }
}
