//! Every reason for which the service says no, provoked through the real port.
//!
//! One list of cases. Each is held against the status, the details and the
//! sentence that the contract promises, and the list as a whole against the
//! contract: a reason without a case fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails panics"
)]

mod support;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mintage::{
    app::{Server, SystemRandomness, World},
    clock::Timestamp,
    config::Config,
    grpc::proto::{self, ErrorReason as E, Verdict, caveat::Kind},
    macaroon::{KeyId, Keyring, Macaroon, MasterKey, TokenPrefix},
    ports::Randomness,
};
use serde_json::json;
use support::{
    clock::ManualClock,
    issuer::{Behaviour, TestIssuer, key_two},
    service::{
        BEGIN, MASTER_KEY, Refused, Scene, WEB, caveat, client, configuration, for_user, project,
        trusted, upload, uploading, verifying, verifying_access,
    },
};
use tonic::Code as C;

/// One way to hear a reason.
struct Case {
    name: &'static str,
    reason: E,
    told: Told,
    expected: Expected,
}

/// How it was told.
enum Told {
    /// By Mint, Attenuate or Revoke, or as the lack of an answer.
    Refused(Refused),
    /// By Verify.
    Denied(proto::VerifyResponse),
}

/// What belongs to it.
enum Expected {
    Status(C),
    /// With the field that is at fault.
    Field(C, &'static str),
    /// With the time to wait.
    Wait(C),
    /// By Verify, for the caveat at this position.
    Caveat(u32),
    /// By Verify, for the credential itself.
    Credential,
}

fn refused<T: std::fmt::Debug>(
    name: &'static str,
    reason: E,
    expected: Expected,
    answer: Result<T, Refused>,
) -> Case {
    let told = Told::Refused(answer.expect_err(name));
    Case { name, reason, told, expected }
}

fn denied(
    name: &'static str,
    reason: E,
    expected: Expected,
    answer: Result<proto::VerifyResponse, Refused>,
) -> Case {
    let told = Told::Denied(answer.unwrap_or_else(|refused| panic!("{name}: {refused:?}")));
    Case { name, reason, told, expected }
}

impl Case {
    /// Holds what was told against what belongs to it, and hands out the sentence.
    fn hold(&self) -> &str {
        let name = self.name;
        let reason = reason_name(self.reason);
        match (&self.told, &self.expected) {
            (Told::Refused(refused), Expected::Status(code)) => {
                assert_eq!(seen(refused), (*code, reason, "", false), "{name}: {refused:?}");
                &refused.message
            }
            (Told::Refused(refused), Expected::Field(code, field)) => {
                assert_eq!(seen(refused), (*code, reason, *field, false), "{name}: {refused:?}");
                &refused.message
            }
            (Told::Refused(refused), Expected::Wait(code)) => {
                assert_eq!(seen(refused), (*code, reason, "", true), "{name}: {refused:?}");
                assert!(refused.retry_after > Some(Duration::ZERO), "{name}: {refused:?}");
                &refused.message
            }
            (Told::Denied(answer), Expected::Caveat(at)) => self.denial(answer, Some(*at)),
            (Told::Denied(answer), Expected::Credential) => self.denial(answer, None),
            (Told::Refused(_), _) | (Told::Denied(_), _) => panic!("{name} is told otherwise"),
        }
    }

    fn denial<'a>(&self, answer: &'a proto::VerifyResponse, caveat: Option<u32>) -> &'a str {
        assert_eq!(answer.verdict(), Verdict::Denied, "{}", self.name);
        assert_eq!(answer.denials.len(), 1, "{}: {:?}", self.name, answer.denials);
        let denial = &answer.denials[0];
        assert_eq!((denial.reason(), denial.caveat), (self.reason, caveat), "{}", self.name);
        &denial.message
    }
}

/// The name of a reason in an `ErrorInfo`.
fn reason_name(reason: E) -> &'static str {
    reason.as_str_name().strip_prefix("ERROR_REASON_").unwrap()
}

fn seen(refused: &Refused) -> (C, &str, &str, bool) {
    assert_eq!(refused.domain, "mintage.v1");
    (refused.code, &refused.reason, &refused.field, refused.retry_after.is_some())
}

#[tokio::test]
async fn every_reason_of_the_contract_is_told_as_the_contract_says() {
    let mut cases = callers_and_requests().await;
    cases.extend(limits_and_outages().await);
    cases.extend(defects().await);
    cases.extend(id_tokens().await);
    cases.extend(publishers().await);
    cases.extend(upload_tokens().await);
    cases.extend(caveats_of_the_standard().await);
    cases.extend(extended_caveats().await);

    let told: Vec<_> = cases.iter().map(|case| (case.reason, case.hold())).collect();
    for (reason, sentence) in &told {
        assert_is_a_sentence(sentence, *reason);
    }
    let covered: BTreeSet<E> = told.iter().map(|(reason, _)| *reason).collect();
    let contract: BTreeSet<E> = (1..1_000).filter_map(|number| E::try_from(number).ok()).collect();
    let missing: Vec<_> =
        contract.difference(&covered).map(|reason| reason_name(*reason)).collect();
    assert!(missing.is_empty(), "no case provokes {missing:?}");
    assert_eq!(contract.len(), 39);

    // For a reviewer's eyes: what people will read.
    let mut sentences: Vec<_> = told
        .iter()
        .map(|(reason, sentence)| {
            format!("{:<22} {}", reason_name(*reason), without_ports(sentence))
        })
        .collect();
    sentences.dedup();
    insta::assert_snapshot!("sentences", sentences.join("\n"));
}

/// One sentence fit for a stranger's eyes: no line breaks, no marks of a program's
/// innards, not endless.
fn assert_is_a_sentence(sentence: &str, reason: E) {
    let reason = reason_name(reason);
    assert!(!sentence.is_empty() && sentence.len() <= 400, "{reason}: {sentence:?}");
    assert!(!sentence.contains(char::is_control), "{reason}: {sentence:?}");
    assert!(!sentence.ends_with('.'), "{reason}: {sentence:?}");
    for innards in ["pypi-Ag", "eyJ", "Error", "Some(", "None", "::", WEB, "\"\""] {
        assert!(!sentence.contains(innards), "{reason}: {sentence:?} holds {innards:?}");
    }
}

/// Test issuers listen on another port each time.
fn without_ports(sentence: &str) -> String {
    let mut parts = sentence.split("127.0.0.1:");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        text + "issuer.example" + part.trim_start_matches(|one: char| one.is_ascii_digit())
    })
}

async fn callers_and_requests() -> Vec<Case> {
    let sections = format!(
        r#"
        [[callers]]
        name = "elsewhere"
        token_sha256 = "{}"
        may = ["verify"]
        indexes = ["other"]

        [indexes.other]
        audience = "other"
        location = "other.example"
        "#,
        support::service::sha256_hex("elsewhere")
    );
    let scene = Scene::start_with("", &sections).await;
    let as_caller = async |token: Option<&str>, request: proto::VerifyRequest| {
        let answer = client(&scene.server, token).await.verify(request).await;
        answer.map(tonic::Response::into_inner).map_err(Refused::from)
    };
    let verify = || verifying("pypi-nothing");
    let unknown = || proto::VerifyRequest { index: "nowhere".to_owned(), ..verify() };
    let mut featured = scene.publishing("1");
    featured.features = vec!["three-use-token".to_owned()];
    let mut both = scene.publishing("1");
    both.features = vec!["multi-use-token".to_owned(), "single-use-token".to_owned()];
    let empty = proto::MintRequest { index: "pypi".to_owned(), ..Default::default() };

    let (status, field) = (Expected::Status, Expected::Field);
    vec![
        refused(
            "no caller",
            E::CallerUnknown,
            status(C::Unauthenticated),
            as_caller(None, verify()).await,
        ),
        refused(
            "another caller",
            E::CallerUnknown,
            status(C::Unauthenticated),
            as_caller(Some("guessed"), verify()).await,
        ),
        refused(
            "a caller without the right",
            E::CallerForbidden,
            status(C::PermissionDenied),
            as_caller(Some(support::service::SCANNER), verify()).await,
        ),
        refused(
            "a caller of another index",
            E::CallerForbidden,
            status(C::PermissionDenied),
            as_caller(Some("elsewhere"), verify()).await,
        ),
        refused(
            "an unknown index",
            E::IndexUnknown,
            field(C::InvalidArgument, "index"),
            scene.verify(unknown()).await,
        ),
        refused(
            "an empty index among several",
            E::IndexUnknown,
            field(C::InvalidArgument, "index"),
            scene.verify(proto::VerifyRequest { index: String::new(), ..verify() }).await,
        ),
        refused(
            "no subject",
            E::RequestInvalid,
            field(C::InvalidArgument, "subject"),
            scene.mint(empty).await,
        ),
        refused(
            "an unknown feature",
            E::FeatureUnsupported,
            field(C::InvalidArgument, "features"),
            scene.mint(featured).await,
        ),
        refused(
            "both features",
            E::FeatureUnsupported,
            field(C::InvalidArgument, "features"),
            scene.mint(both).await,
        ),
    ]
}

async fn limits_and_outages() -> Vec<Case> {
    let one = "[limits.mint_per_publisher]\nburst = 1\ncount = 1\nperiod = \"1m\"";
    let limited = Scene::start_with("", one).await;
    limited.mint(limited.publishing("1")).await.unwrap();

    let full = Scene::start_with("", "[store]\nkind = \"memory\"\nmax_entries = 1").await;
    full.mint(full.publishing("1")).await.unwrap();
    let revoke = |id: &str| proto::RevokeRequest {
        index: "pypi".to_owned(),
        target: Some(proto::revoke_request::Target::TokenId(id.to_owned())),
        ..Default::default()
    };
    full.revoke(revoke("one")).await.unwrap();

    let cut_off = Scene::start().await;
    cut_off.issuer.behave(Behaviour::Status(500));
    let asking = id_token_verify(&cut_off, cut_off.github_id_token("1"));

    let (spent, gone) = (Expected::Wait(C::ResourceExhausted), || Expected::Wait(C::Unavailable));
    vec![
        refused(
            "a spent limit",
            E::RateLimited,
            spent,
            limited.mint(limited.publishing("2")).await,
        ),
        refused("a full store", E::Unavailable, gone(), full.mint(full.publishing("2")).await),
        refused(
            "a full store, in Revoke",
            E::Unavailable,
            gone(),
            full.revoke(revoke("two")).await,
        ),
        refused(
            "an issuer out of reach",
            E::Unavailable,
            gone(),
            cut_off.mint(cut_off.publishing("1")).await,
        ),
        refused(
            "an issuer out of reach, in Verify",
            E::Unavailable,
            gone(),
            cut_off.verify(asking).await,
        ),
    ]
}

/// Chance that a test can take away. The service can't go on without any.
struct Dice {
    lost: AtomicBool,
}

impl Randomness for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        assert!(!self.lost.load(Ordering::SeqCst), "the dice are lost: {}", "0123-inner-secret");
        SystemRandomness.fill(bytes);
    }
}

/// A service whose chance can be taken away.
async fn scene_with_dice() -> (Scene, Arc<Dice>) {
    let issuer = TestIssuer::start();
    let clock = Arc::new(ManualClock::at(BEGIN));
    let toml = configuration(&issuer.url(), "", "");
    let config = Config::parse(&toml, Path::new("/"), std::iter::empty()).unwrap();
    let key_id = KeyId::parse("k1").unwrap();
    let keys = [(key_id.clone(), MasterKey::new(&MASTER_KEY).unwrap())];
    let dice = Arc::new(Dice { lost: AtomicBool::new(false) });
    let world = World { clock: Arc::clone(&clock) as _, randomness: Arc::clone(&dice) as _ };
    let keyring = Keyring::new(keys.into(), key_id).unwrap();
    let server = Server::start(&config, keyring, world).unwrap();
    let client = client(&server, Some(WEB)).await;
    (Scene { server, clock, issuer, client }, dice)
}

async fn defects() -> Vec<Case> {
    let (scene, dice) = scene_with_dice().await;
    let request = scene.publishing("1");
    dice.lost.store(true, Ordering::SeqCst);
    let answer = scene.mint(request.clone()).await;
    let case = refused("a defect", E::Internal, Expected::Status(C::Internal), answer);
    let Told::Refused(told) = &case.told else { panic!("told otherwise") };
    assert!(!told.message.contains("dice") && !told.message.contains("secret"), "{told:?}");

    // The connection lives, other calls go on, and the ID token is still good.
    let minted = scene.mint(for_user(None)).await;
    assert_eq!(minted.unwrap_err().reason, "INTERNAL");
    scene.verify(verifying("pypi-nothing")).await.unwrap();
    dice.lost.store(false, Ordering::SeqCst);
    scene.mint(request).await.unwrap();
    vec![case]
}

fn id_token_verify(scene: &Scene, id_token: String) -> proto::VerifyRequest {
    let mut mint = scene.publishing_with(id_token);
    let publishing = trusted(&mut mint).clone();
    proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(publishing)),
        ..Default::default()
    }
}

async fn id_tokens() -> Vec<Case> {
    let other = TestIssuer::start();
    let sections =
        format!("[[issuers]]\nurl = {:?}\nprovider = \"github\"\nenabled = false", other.url());
    // The second issuer is the index's too, but switched off.
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", &sections).replace(
        &format!("issuers = [{:?}]", issuer.url()),
        &format!("issuers = [{:?}, {:?}]", issuer.url(), other.url()),
    );
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let now = scene.now();
    let with = |changes: serde_json::Value| {
        let mut claims = scene.github_claims("1");
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        scene.issuer.id_token(&claims)
    };
    let tokens = [
        ("no ID token", E::IdTokenMalformed, "not.an-id-token".to_owned()),
        ("a stranger", E::IssuerUnknown, with(json!({"iss": "https://evil.example"}))),
        ("a disabled issuer", E::IssuerDisabled, with(json!({"iss": other.url()}))),
        (
            "an unpublished key",
            E::IdTokenKeyUnknown,
            scene.issuer.id_token_by(key_two(), &scene.github_claims("1")),
        ),
        ("a broken signature", E::IdTokenSignature, {
            let token = scene.github_id_token("1");
            let (message, _) = token.rsplit_once('.').unwrap();
            let other = scene.github_id_token("2");
            format!("{message}.{}", other.rsplit_once('.').unwrap().1)
        }),
        ("an old ID token", E::IdTokenExpired, with(json!({"exp": now - 30, "iat": now - 90}))),
        ("an early ID token", E::IdTokenNotYetValid, with(json!({"nbf": now + 31}))),
        ("another audience", E::IdTokenAudience, with(json!({"aud": "testpypi"}))),
        ("no jti", E::IdTokenClaims, with(json!({"jti": null}))),
        (
            "a forbidden event",
            E::EventForbidden,
            with(json!({"event_name": "pull_request_target"})),
        ),
        ("a stranger's job", E::PublisherNotFound, with(json!({"repository": "octo/other"}))),
    ];
    let mut cases = Vec::new();
    for (name, reason, id_token) in tokens {
        let expected = match reason {
            E::IdTokenMalformed => {
                Expected::Field(C::InvalidArgument, "trusted_publishing.id_token")
            }
            _ => Expected::Status(C::PermissionDenied),
        };
        let asking = id_token_verify(&scene, id_token.clone());
        let minting = scene.mint(scene.publishing_with(id_token)).await;
        cases.push(refused(name, reason, expected, minting));
        cases.push(denied(name, reason, Expected::Credential, scene.verify(asking).await));
    }
    cases
}

async fn publishers() -> Vec<Case> {
    let scene = Scene::start().await;
    let mut nobody = scene.publishing("1");
    trusted(&mut nobody).candidates.clear();
    let mut elsewhere = scene.publishing("1");
    trusted(&mut elsewhere).candidates[0].issuer = "https://gitlab.example".to_owned();
    let mut no_project = scene.publishing("1");
    trusted(&mut no_project).candidates[0].projects.clear();
    let mut unwanted = scene.publishing("1");
    trusted(&mut unwanted).projects = vec!["numpy".to_owned()];

    let refusal = || Expected::Status(C::PermissionDenied);
    let mut cases = Vec::new();
    for (name, reason, request) in [
        ("no candidate", E::PublisherNotFound, nobody),
        ("a candidate of another issuer", E::PublisherNotFound, elsewhere),
        ("a publisher without projects", E::NoEligibleProject, no_project),
        ("a project of somebody else", E::NoEligibleProject, unwanted),
    ] {
        cases.push(refused(name, reason, refusal(), scene.mint(request).await));
    }
    // None of them used the ID token up.
    scene.mint(scene.publishing("1")).await.unwrap();
    let again = scene.mint(scene.publishing("1")).await;
    cases.push(refused("twice", E::IdTokenReused, Expected::Status(C::AlreadyExists), again));
    cases
}

/// A Revoke of an upload token.
fn revoking(token: &str) -> proto::RevokeRequest {
    proto::RevokeRequest {
        index: "pypi".to_owned(),
        target: Some(proto::revoke_request::Target::Token(token.to_owned())),
        ..Default::default()
    }
}

/// An Attenuate of an upload token.
fn narrowing(token: &str) -> proto::AttenuateRequest {
    proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: token.to_owned(),
        caveats: vec![caveat(Kind::ProjectNames(proto::ProjectNames {
            names: vec!["sample".to_owned()],
        }))],
    }
}

async fn upload_tokens() -> Vec<Case> {
    let scene = Scene::start().await;
    let minted = scene.mint(for_user(None)).await.unwrap();
    let prefix = TokenPrefix::parse("pypi").unwrap();
    let ours = MasterKey::new(&MASTER_KEY).unwrap();
    let retired = MasterKey::new(&[1; 32]).unwrap();
    let forged = |key: &MasterKey, identifier: &str| {
        let root_key = key.root_key("pypi", identifier.as_bytes());
        Macaroon::mint(&root_key, "index.example", identifier).write(&prefix).unwrap()
    };
    let foreign = forged(&ours, "8c7d0cd6-5d1e-4c9c-9f1d-6ab1d1d6f0d5");
    let gone = forged(&retired, &minted.token_id.replace("m1.k1.", "m1.k0."));
    let wrong = forged(&retired, &minted.token_id);
    let long = format!("pypi-{}", "A".repeat(16 * 1024));

    let mut cases = Vec::new();
    for (name, reason, code, field, token) in [
        ("no upload token", E::TokenMalformed, C::InvalidArgument, "token", "pypi-nothing"),
        ("another index's", E::TokenMalformed, C::InvalidArgument, "token", "other-AgEA"),
        ("nothing", E::TokenMalformed, C::InvalidArgument, "token", ""),
        ("a long one", E::TokenTooLarge, C::InvalidArgument, "token", &long),
        ("a foreign one", E::TokenKeyUnknown, C::PermissionDenied, "", &foreign),
        ("one of a retired key", E::TokenKeyUnknown, C::PermissionDenied, "", &gone),
        ("a forged one", E::TokenSignature, C::PermissionDenied, "", &wrong),
    ] {
        let expected = || match field {
            "" => Expected::Status(code),
            field => Expected::Field(code, field),
        };
        cases.push(refused(name, reason, expected(), scene.revoke(revoking(token)).await));
        cases.push(denied(
            name,
            reason,
            Expected::Credential,
            scene.verify(verifying(token)).await,
        ));
        // Whoever holds a macaroon may narrow it, whatever its signature.
        let narrowed = scene.attenuate(narrowing(token)).await;
        if field.is_empty() {
            assert_eq!(narrowed.unwrap().caveats.len(), 1, "{name}");
        } else {
            cases.push(refused(name, reason, expected(), narrowed));
        }
    }
    scene.revoke(revoking(&minted.token)).await.unwrap();
    let answer = scene.verify(verifying(&minted.token)).await;
    cases.push(denied("a revoked token", E::TokenRevoked, Expected::Credential, answer));
    cases
}

/// A user's token, narrowed by its holder to these bytes.
async fn narrowed(scene: &Scene, caveats: &[&[u8]]) -> String {
    let prefix = TokenPrefix::parse("pypi").unwrap();
    let minted = scene.mint(for_user(None)).await.unwrap();
    let mut macaroon = Macaroon::read(&minted.token, &prefix).unwrap();
    for caveat in caveats {
        macaroon.attenuate(caveat).unwrap();
    }
    macaroon.write(&prefix).unwrap()
}

async fn caveats_of_the_standard() -> Vec<Case> {
    let scene = Scene::start().await;
    let now = scene.now();
    let minted = scene.mint(scene.publishing("1")).await.unwrap();
    let unregistered = proto::Access { publisher_ids: vec![], ..upload() };
    let elsewhere = proto::Access { project: Some(project("id-9", "numpy")), ..upload() };
    let expired = format!("[0,{now},0]");
    let early = format!("[0,{},{}]", now + 60, now + 1);
    let mut cases = vec![
        denied(
            "a publisher that lost its project",
            E::CaveatPublisher,
            Expected::Caveat(0),
            scene.verify(verifying_access(&minted.token, unregistered)).await,
        ),
        denied(
            "another project",
            E::CaveatProject,
            Expected::Caveat(1),
            scene.verify(verifying_access(&minted.token, elsewhere)).await,
        ),
    ];
    for (name, reason, caveat) in [
        ("an unknown tag", E::CaveatUnreadable, "[5,\"x\"]"),
        ("no caveat", E::CaveatUnreadable, "upload only"),
        ("uses without an end", E::CaveatUnreadable, "[64,\"n\",1]"),
        ("an end that came", E::CaveatExpired, &expired),
        ("a beginning to come", E::CaveatNotYetValid, &early),
        ("project names", E::CaveatProject, "[1,[\"numpy\"]]"),
        ("another user", E::CaveatUser, "[3,\"u2\"]"),
        ("a publisher", E::CaveatPublisher, "[4,\"p1\"]"),
    ] {
        let token = narrowed(&scene, &[caveat.as_bytes()]).await;
        let answer = scene.verify(verifying(&token)).await;
        cases.push(denied(name, reason, Expected::Caveat(1), answer));
    }
    cases
}

async fn extended_caveats() -> Vec<Case> {
    let scene = Scene::start().await;
    let from_elsewhere = |token: &str| proto::VerifyRequest {
        client: Some(proto::Client { ip: "192.0.2.7".to_owned(), ..Default::default() }),
        ..verifying(token)
    };
    let mut cases = Vec::new();
    for (name, reason, caveat) in [
        ("another version", E::CaveatVersion, "[65,[\"2.0\"]]"),
        ("another file", E::CaveatFilename, "[66,[\"sample-2.0.tar.gz\"]]"),
        ("other contents", E::CaveatDigest, "[67,[\"00\"]]"),
        ("another network", E::CaveatClientNetwork, "[68,[\"10.0.0.0/8\"]]"),
        ("another action", E::CaveatAction, "[69,[\"yank\"]]"),
        ("no uses", E::CaveatUsesSpent, "[64,\"n\",0]"),
    ] {
        let token = narrowed(&scene, &[caveat.as_bytes()]).await;
        let answer = scene.verify(from_elsewhere(&token)).await;
        cases.push(denied(name, reason, Expected::Caveat(1), answer));
    }
    let mut single = scene.publishing("1");
    single.features = vec!["single-use-token".to_owned()];
    let once = scene.mint(single).await.unwrap().token;
    assert_eq!(scene.verify(verifying(&once)).await.unwrap().verdict(), Verdict::Allowed);
    let again = scene.verify(verifying(&once)).await;
    cases.push(denied("a spent use", E::CaveatUsesSpent, Expected::Caveat(3), again));
    cases.extend(unoffered_caveats().await);
    cases
}

async fn unoffered_caveats() -> Vec<Case> {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", "")
        .replace("extended_caveats = true", "extended_caveats = false");
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let versions =
        || vec![caveat(Kind::Versions(proto::Versions { versions: vec!["1.0".to_owned()] }))];
    let minting = proto::MintRequest { caveats: versions(), ..for_user(None) };
    let plain = scene.mint(for_user(None)).await.unwrap();
    let asking = proto::AttenuateRequest { caveats: versions(), ..narrowing(&plain.token) };
    let appended = narrowed(&scene, &[b"[65,[\"1.0\"]]"]).await;
    let field = || Expected::Field(C::InvalidArgument, "caveats");
    vec![
        refused(
            "an unoffered caveat in Mint",
            E::CaveatNotOffered,
            field(),
            scene.mint(minting).await,
        ),
        refused(
            "an unoffered caveat in Attenuate",
            E::CaveatNotOffered,
            field(),
            scene.attenuate(asking).await,
        ),
        denied(
            "an unoffered caveat in a token",
            E::CaveatNotOffered,
            Expected::Caveat(1),
            scene.verify(verifying(&appended)).await,
        ),
    ]
}

#[tokio::test]
async fn a_denial_names_everything_at_once_and_stored_caveats_after_embedded_ones() {
    let scene = Scene::start().await;
    let token = narrowed(&scene, &[b"[3,\"u2\"]", b"nonsense", b"[65,[\"2.0\"]]"]).await;
    let mut request = verifying(&token);
    uploading(&mut request).stored_caveats = vec![
        caveat(Kind::Actions(proto::Actions { actions: vec!["upload".to_owned()] })),
        caveat(Kind::ProjectIds(proto::ProjectIds { ids: vec!["id-2".to_owned()] })),
    ];
    let answer = scene.verify(request).await.unwrap();
    let told: Vec<_> = answer.denials.iter().map(|one| (one.reason(), one.caveat)).collect();
    assert_eq!(
        told,
        [
            (E::CaveatUser, Some(1)),
            (E::CaveatUnreadable, Some(2)),
            (E::CaveatVersion, Some(3)),
            (E::CaveatProject, Some(5)),
        ]
    );
}

#[tokio::test]
async fn a_spent_limit_is_told_with_the_time_after_which_it_has_room() {
    let one = "[limits.mint_per_publisher]\nburst = 1\ncount = 1\nperiod = \"1m\"";
    let scene = Scene::start_with("", one).await;
    scene.mint(scene.publishing("1")).await.unwrap();
    let refused = scene.mint(scene.publishing("2")).await.unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(60)));
    scene.clock.set(Timestamp::from_micros(BEGIN.micros() + 59_999_999));
    assert_eq!(scene.mint(scene.publishing("2")).await.unwrap_err().reason, "RATE_LIMITED");
    scene.clock.advance(Duration::from_micros(1));
    scene.mint(scene.publishing("2")).await.unwrap();
}
