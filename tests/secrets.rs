//! No secret is ever written: not into a log at its finest, not into `Debug`, not
//! into what a panic leaves. The real binary does all it can do, well and badly,
//! and everything it wrote is searched for every secret in every form.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that fails panics"
)]

mod support;

use std::{collections::BTreeSet, fmt::Debug, path::Path, process::Command, sync::Arc};

use aho_corasick::AhoCorasick;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use mintage::{
    app::SystemClock,
    caveat::Action,
    clock::Timestamp,
    config::{Config, LogConfig, LogFormat},
    demo::signing::SigningKey,
    grant::Wish,
    grpc::{
        CallerTokens,
        proto::{self, caveat::Kind},
    },
    macaroon::{Identifier, KeyId, Keyring, Macaroon, MasterKey, RootKey, Subject, TokenPrefix},
    mark::Seed,
    oidc::{KeySet, Provider, UnverifiedIdToken},
    ports::{Clock as _, SpendMode},
    service::{
        AccessWanted, AttenuateAnswer, AttenuateRequest, Client as Asking, Kept, MintRequest,
        MintSubject, RevokeRequest, RevokeTarget, Secret, TrustedPublishing, UploadTokenRequest,
    },
    telemetry,
};
use prost::Message as _;
use support::{
    http2::{self, message},
    issuer::{TestIssuer, key_one, key_two},
    process::{Folder, Process},
    scrape::Scrape,
    service::{
        Client, WEB, caveat, client_at, configuration, for_user, github_claims, publishing,
        trusted, uploading, verifying,
    },
};

/// The service's master key here: bytes that nothing else in a log looks like.
const MASTER: [u8; 32] =
    *b"\xf7M\x9bst\xe4r \x81k\xc3y\x07o\xd1f\x92t\xaeh\xbbi\xcds\xefl\xfdo\xa3g\xb5!";

/// The root key of a token that the index kept.
const KEPT: [u8; 32] =
    *b"\xe9k\x83p\xf1 \xd6r\x9co\xa4t\xb8 \xc2k\xdae\xfey\x91 \xa7f\xbco\xd3r\xe5!\xb1\x9e";

/// A bearer token of nobody.
const WRONG_BEARER: &str = "a-bearer-token-that-belongs-to-nobody-at-all";

/// What must not be found, by a name that may be shown.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

/// How much of a secret text is one too many: less can't be told from chance.
const PIECE: usize = 24;

impl Secrets {
    /// A text, and every piece of it.
    fn text(&mut self, name: &str, text: &str) {
        assert!(text.len() >= PIECE, "{name} is too short to be searched for");
        for start in (0..=text.len() - PIECE).step_by(4) {
            self.0.push((name.to_owned(), text[start..start + PIECE].to_owned()));
        }
    }

    /// Bytes in every form in which a program may write them.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for (form, text) in [
            ("base64", STANDARD.encode(bytes)),
            ("base64url", URL_SAFE_NO_PAD.encode(bytes)),
            ("HEX", hex.to_uppercase()),
            ("hex", hex),
            ("{:?}", format!("{bytes:?}")),
            ("{:x?}", format!("{bytes:x?}")),
            ("{:02x?}", format!("{bytes:02x?}")),
            ("escaped", bytes.escape_ascii().to_string()),
            ("lossy", String::from_utf8_lossy(bytes).into_owned()),
        ] {
            // In a dump as JSON escapes would have it, backslashes are doubled.
            let name = format!("{name} as {form}");
            let inner = text.trim_matches(['[', ']']);
            let middle: String = inner.chars().skip(2).take(inner.chars().count() - 4).collect();
            self.0.push((name.clone(), middle.replace('\\', "\\\\")));
            self.0.push((name, middle));
        }
    }

    /// An ID token: its header is the same in all of them.
    fn id_token(&mut self, name: &str, token: &str) {
        let mut segments = token.split('.').skip(1);
        self.text(&format!("the payload of {name}"), segments.next().unwrap());
        if let Some(signature) = segments.next().filter(|segment| segment.len() >= PIECE) {
            self.text(&format!("the signature of {name}"), signature);
            self.bytes(
                &format!("the signature of {name}"),
                &URL_SAFE_NO_PAD.decode(signature).unwrap_or_else(|_| vec![0xf7; 256]),
            );
        }
    }

    /// An upload token: any part of its text, and the signature at its end.
    fn upload_token(&mut self, name: &str, token: &str) {
        self.text(name, token);
        let body = token.split_once('-').unwrap().1;
        let bytes = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).unwrap();
        self.bytes(&format!("the signature of {name}"), &bytes[bytes.len() - 32..]);
        // As Basic authorization has it, wherever it begins among three bytes.
        for before in ["", "1", "12"] {
            let encoded = STANDARD.encode(format!("{before}{token}"));
            self.text(&format!("{name}, encoded once more"), &encoded[4..]);
        }
    }

    /// The names of those that are in a text.
    fn found_in(&self, text: &str) -> Vec<&str> {
        let search = AhoCorasick::new(self.0.iter().map(|(_, form)| form)).unwrap();
        let found = search.find_overlapping_iter(text).map(|found| found.pattern().as_usize());
        let names: BTreeSet<_> = found.map(|at| self.0[at].0.as_str()).collect();
        names.into_iter().collect()
    }
}

/// The secrets that are there from the start.
fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    secrets.bytes("the master key", &MASTER);
    secrets.bytes("the kept root key", &KEPT);
    secrets.text("the caller's token", WEB);
    secrets.text("the wrong caller's token", WRONG_BEARER);
    secrets
}

/// A token that an index kept, with a root key of its own.
fn kept_token() -> String {
    let mut macaroon = Macaroon::mint(&RootKey::new(&KEPT), "index.example", "kept-7");
    macaroon.attenuate(br#"{"version": 1, "permissions": "user"}"#).unwrap();
    macaroon.write(&TokenPrefix::parse("pypi").unwrap()).unwrap()
}

fn kept() -> proto::KeptToken {
    proto::KeptToken {
        root_key: KEPT.to_vec(),
        subject: Some(proto::Subject { kind: Some(proto::subject::Kind::UserId("u1".to_owned())) }),
    }
}

fn revoking(target: proto::revoke_request::Target) -> proto::RevokeRequest {
    proto::RevokeRequest { index: "pypi".to_owned(), target: Some(target), ..Default::default() }
}

fn about_id_token(issuer: &str, id_token: String) -> proto::VerifyRequest {
    let mut minting = publishing(issuer, id_token);
    let publishing = std::mem::take(trusted(&mut minting));
    proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(publishing)),
        ..Default::default()
    }
}

/// A token with another signature.
fn damaged(token: &str) -> String {
    let at = token.len() - 10;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// Everything that a job can do with ID tokens.
async fn use_id_tokens(client: &mut Client, issuer: &TestIssuer, secrets: &mut Secrets) -> String {
    let now = SystemClock.now().seconds();
    let claims = |jti: &str| github_claims(now, jti);
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims("other");
        claims[name] = value;
        issuer.id_token(&claims)
    };
    let good = issuer.id_token(&claims("1"));
    let forged = issuer.id_token_by(key_two(), &claims("2"));
    let signed_otherwise = damaged(&issuer.id_token(&claims("3")));
    let tokens = [
        ("a good ID token", good.clone()),
        ("a reused ID token", good),
        ("an ID token of an unknown key", forged),
        ("a forged ID token", signed_otherwise),
        ("an expired ID token", with("exp", (now - 500).into())),
        ("an ID token for another", with("aud", "elsewhere".into())),
        ("an ID token of another issuer", with("iss", "https://issuer.example".into())),
        ("an ID token of another repository", with("repository", "octo/other".into())),
        ("an ID token with an odd claim", with("ref", 7.into())),
        ("an oversized ID token", with("sub", "x".repeat(20_000).into())),
    ];
    let mut minted = None;
    for (name, token) in tokens {
        if name != "an oversized ID token" {
            secrets.id_token(name, &token);
        }
        let answer = client.mint(publishing(&issuer.url(), token.clone())).await;
        assert_eq!(answer.is_ok(), name == "a good ID token", "{name}: {answer:?}");
        minted = minted.or(answer.ok().map(|answer| answer.into_inner().token));
        let half = token[..token.len() / 2].to_owned();
        for text in [token, half] {
            client.verify(about_id_token(&issuer.url(), text)).await.unwrap();
        }
    }
    minted.unwrap()
}

/// Everything that can be done with upload tokens.
async fn use_upload_tokens(client: &mut Client, minted: String, secrets: &mut Secrets) {
    let of_user = client.mint(for_user(None)).await.unwrap().into_inner().token;
    let digests = caveat(Kind::Digests(proto::Digests { sha256: vec![vec![0xab; 32]] }));
    let narrow = |token: &str, caveats: Vec<proto::Caveat>| proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: token.to_owned(),
        caveats,
    };
    let narrowed = client.attenuate(narrow(&minted, vec![digests.clone()])).await.unwrap();
    let narrowed = narrowed.into_inner().token;
    client.attenuate(narrow(&minted, vec![])).await.unwrap_err();
    client.attenuate(narrow(&minted[..100], vec![digests])).await.unwrap_err();

    for (name, token) in [
        ("a minted token", minted.clone()),
        ("a user's token", of_user),
        ("a narrowed token", narrowed),
        ("a damaged token", damaged(&minted)),
        ("a kept token", kept_token()),
    ] {
        secrets.upload_token(name, &token);
        let mut of_kept = verifying(&token);
        uploading(&mut of_kept).kept = Some(kept());
        let half = verifying(&token[..token.len() / 2]);
        for request in [verifying(&token), half, of_kept] {
            client.verify(request).await.unwrap();
        }
        // In a field where it does not belong.
        let misplaced = proto::revoke_request::Target::TokenId(token.clone());
        client.revoke(revoking(misplaced)).await.unwrap_err();
    }
    let mut of_kept = revoking(proto::revoke_request::Target::Token(kept_token()));
    of_kept.kept = Some(kept());
    client.revoke(of_kept).await.unwrap();
    let mut too_long = revoking(proto::revoke_request::Target::Token(kept_token()));
    too_long.kept = Some(proto::KeptToken { root_key: KEPT.repeat(3), ..kept() });
    client.revoke(too_long).await.unwrap_err();
    client.revoke(revoking(proto::revoke_request::Target::Token(minted.clone()))).await.unwrap();
    client.verify(verifying(&minted)).await.unwrap();
    client
        .revoke(revoking(proto::revoke_request::Target::Token(damaged(&minted))))
        .await
        .unwrap_err();
}

/// What isn't a call, or not one of a caller.
async fn misuse(process: &Process, token: &str) {
    let (client, _connection) = http2::client(process.grpc()).await;
    let request = verifying(token).encode_to_vec();
    let web = format!("Bearer {WEB}");
    let wrong = format!("Bearer {WRONG_BEARER}");
    let basic = format!("Basic {}", STANDARD_NO_PAD.encode(WRONG_BEARER));
    for authorization in [web.as_str(), &wrong, &basic, WRONG_BEARER] {
        let head =
            || http2::head("/mintage.v1.TokenService/Verify", &[("authorization", authorization)]);
        for body in [
            message(&request),
            message(&request[..request.len() - 3]),
            // The token as a field of another kind, and without a frame.
            message(&[&[0x0f][..], token.as_bytes()].concat()),
            token.as_bytes().to_vec(),
        ] {
            http2::status_of(&client, head(), &body).await.unwrap();
        }
    }
    let unknown = format!("/mintage.v1.TokenService/{}", "Nothing");
    let head = http2::head(&unknown, &[("authorization", &web)]);
    http2::status_of(&client, head, &message(&request)).await.unwrap();
}

/// All of it, and what the process wrote.
async fn written(format: &str, filter: &str) -> (String, Secrets) {
    let issuer = TestIssuer::start();
    let log = format!("[log]\nfilter = \"{filter}\"\nformat = \"{format}\"");
    let toml = configuration(&issuer.url(), "", &log);
    let folder = Folder::new(&format!("admin_listen = \"127.0.0.1:0\"\n{toml}"));
    folder.key("k1", &MASTER);
    let mut process = Process::start(&folder);
    let mut secrets = secrets();
    let mut client = client_at(process.grpc(), Some(WEB)).await;
    let minted = use_id_tokens(&mut client, &issuer, &mut secrets).await;
    misuse(&process, &minted).await;
    use_upload_tokens(&mut client, minted, &mut secrets).await;

    // The keyring, read again: well, and not at all.
    folder.key("k2", &KEPT);
    process.wait_for_line("the keyring changed");
    folder.key_file("k3", &STANDARD.encode(&KEPT[..31]));
    process.wait_for_line("the keyring can't be read again");
    let metrics = Scrape::of(process.admin());
    assert!(metrics.value("mintage_tokens_revoked_total{index=\"pypi\"}") > 0.0);
    process.signal("TERM");
    assert!(process.end().await.success());
    (format!("{}\n{}\n{}", process.out(), process.err(), metrics.text), secrets)
}

#[tokio::test]
async fn no_log_for_people_holds_a_secret_at_its_finest() {
    log_holds_none("text").await;
}

#[tokio::test]
async fn no_log_for_machines_holds_a_secret_at_its_finest() {
    log_holds_none("json").await;
}

async fn log_holds_none(format: &str) {
    let (written, secrets) = written(format, "trace").await;
    let expected = ["DEBUG", "mintage::audit", "Mint minted", "Revoke revoked", "denied"];
    for expected in expected.into_iter().chain(["credential_sha256", "publisher:p1"]) {
        assert!(written.contains(expected), "{format}: no {expected:?}");
    }
    assert_eq!(secrets.found_in(&written), [""; 0]);
}

#[tokio::test]
async fn not_even_the_carriers_do_when_they_are_asked_for() {
    let carriers = ["h2", "hyper", "hyper_util", "tonic", "tower", "reqwest", "axum", "mio"];
    let named: String = carriers.iter().map(|carrier| format!(",{carrier}=trace")).collect();
    let (written, secrets) = written("text", &format!("trace{named},rustls=trace")).await;
    assert!(written.contains("h2::"), "they were asked for");
    assert_eq!(secrets.found_in(&written), [""; 0]);
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let mut secrets = secrets();
    let token = kept_token();
    secrets.upload_token("an upload token", &token);
    let id_token = key_one().id_token(&github_claims(7, "1")).unwrap();
    secrets.id_token("an ID token", &id_token);
    let body = URL_SAFE_NO_PAD.decode(token.strip_prefix("pypi-").unwrap()).unwrap();
    for planted in [
        format!("got {token}"),
        format!("got {}", &token[50..100]),
        format!("got {body:?}"),
        format!("got {}", STANDARD.encode(&body[body.len() - 32..])),
        format!("got {}", STANDARD.encode(format!("__token__:{token}"))),
        format!("got {id_token}"),
        format!("got {}", id_token.split('.').next_back().unwrap()),
        format!("authorization: Bearer {WEB}"),
        format!("MasterKey({MASTER:?})"),
        format!("MasterKey({MASTER:02x?})"),
        format!("key {}", STANDARD.encode(MASTER)),
        format!("key {}", MASTER.escape_ascii()),
        format!("{{\"key\":\"{}\"}}", MASTER.escape_ascii().to_string().replace('\\', "\\\\")),
        format!("key {:?}", bytes::Bytes::from_static(&KEPT)),
        format!("key {:?}", String::from_utf8_lossy(&KEPT)),
    ] {
        assert_ne!(secrets.found_in(&planted), [""; 0], "overlooked: {planted}");
    }
    assert_eq!(secrets.found_in("a line like any other, index.example, kept-7"), [""; 0]);
}

/// What `Debug` shows, in both of its forms.
fn shown(value: &dyn Debug) -> String {
    format!("{value:?}\n{value:#?}")
}

#[test]
fn debug_shows_no_secret_of_the_domain() {
    let issuer = TestIssuer::start();
    let mut secrets = secrets();
    let token = kept_token();
    secrets.upload_token("the token", &token);
    let id_token = issuer.id_token(&github_claims(1_790_000_000, "1"));
    secrets.id_token("the ID token", &id_token);

    let key_id = KeyId::parse("k1").unwrap();
    let master = || MasterKey::new(&MASTER).unwrap();
    let keyring = Keyring::new([(key_id.clone(), master())].into(), key_id.clone()).unwrap();
    let prefix = TokenPrefix::parse("pypi").unwrap();
    let macaroon = Macaroon::read(&token, &prefix).unwrap();
    let unverified = UnverifiedIdToken::parse(&id_token).unwrap();
    let jwks = serde_json::json!({"keys": [key_one().jwk()]}).to_string();
    let keys = KeySet::parse(jwks.as_bytes()).unwrap();
    let configured = issuer.configured(Provider::GitHub);
    let key = keys.key(key_one().kid()).unwrap();
    let verified = UnverifiedIdToken::parse(&id_token).unwrap().verify(&configured, key).unwrap();
    let accepted = verified.accept(&configured, "pypi", Timestamp::from_seconds(1_790_000_001));
    let subject = || Subject::user("u1").unwrap();
    let kept = || Kept { root_key: RootKey::new(&KEPT), subject: subject() };
    let asking = Asking::default;
    let publishing = || TrustedPublishing { id_token: id_token.clone(), candidates: Vec::new() };
    let toml = configuration(&issuer.url(), "", "");
    let config = Config::parse(&toml, Path::new("/"), std::iter::empty()).unwrap();
    let seed = Seed {
        minted_at: Timestamp::from_seconds(1),
        uuid_bits: [1; 10],
        nonce_bits: [2; 16],
        key_id: "k1".to_owned(),
    };
    let access = AccessWanted {
        action: Action::parse("").unwrap(),
        project: None,
        publisher_ids: Vec::new(),
        version: None,
        filename: None,
        sha256: None,
    };
    let upload = UploadTokenRequest {
        token: Secret(token.clone()),
        access,
        stored: Vec::new(),
        kept: Some(kept()),
        mode: SpendMode::Spend,
        client: asking(),
        retry: None,
    };
    let minting = MintRequest {
        subject: MintSubject::TrustedPublishing(publishing()),
        wish: Wish::default(),
        client: asking(),
        retry: None,
    };
    let attenuated = AttenuateAnswer {
        token: token.clone(),
        macaroon: Macaroon::read(&token, &prefix).unwrap(),
    };
    let target = RevokeTarget::Token(Secret(token.clone()), Some(kept()));
    let identifier = Identifier::new(key_id, Timestamp::from_seconds(1), &[7; 10], subject());
    let callers = CallerTokens::anonymous();
    let minted = Macaroon::mint(
        &master().root_key("pypi", identifier.to_string().as_bytes()),
        "index.example",
        &identifier.to_string(),
    );
    secrets.upload_token("the minted token", &minted.write(&prefix).unwrap());
    let values: [(&str, &dyn Debug); 22] = [
        ("MasterKey", &master()),
        ("RootKey", &RootKey::new(&KEPT)),
        ("derived RootKey", &master().root_key("pypi", b"x")),
        ("Keyring", &keyring),
        ("Arc<Keyring>", &Arc::new(&keyring)),
        ("Macaroon", &macaroon),
        ("minted Macaroon", &minted),
        ("VerifiedMacaroon", &macaroon.verify(&RootKey::new(&KEPT))),
        ("SignatureMismatch", &macaroon.verify(&RootKey::new(&MASTER))),
        ("UnverifiedIdToken", &unverified),
        ("VerifiedIdToken", &verified),
        ("Claims", &accepted),
        ("VerifyingKey", &key),
        ("Secret", &Secret(token.clone())),
        ("Kept", &kept()),
        ("UploadTokenRequest", &upload),
        ("MintRequest", &minting),
        ("AttenuateRequest", &AttenuateRequest { token: Secret(token.clone()), caveats: vec![] }),
        ("AttenuateAnswer", &attenuated),
        ("RevokeRequest", &RevokeRequest { target }),
        ("SigningKey", &SigningKey::generate("k").unwrap()),
        ("the rest", &(config, seed, callers, TrustedPublishing { ..publishing() })),
    ];
    for (name, value) in values {
        let shown = shown(value);
        assert_eq!(secrets.found_in(&shown), [""; 0], "{name}: {shown}");
    }
}

#[test]
fn debug_shows_no_secret_of_the_contracts_messages() {
    let mut secrets = secrets();
    let token = kept_token();
    secrets.upload_token("the token", &token);
    let id_token = key_one().id_token(&github_claims(7, "1")).unwrap();
    secrets.id_token("the ID token", &id_token);

    let mut verifying = verifying(&token);
    uploading(&mut verifying).kept = Some(kept());
    let mut revoking = revoking(proto::revoke_request::Target::Token(token.clone()));
    revoking.kept = Some(kept());
    let messages: [(&str, &dyn Debug); 7] = [
        ("MintRequest", &publishing("https://issuer.example", id_token.clone())),
        ("MintResponse", &proto::MintResponse { token: token.clone(), ..Default::default() }),
        ("VerifyRequest of an upload token", &tonic::Request::new(verifying)),
        ("VerifyRequest of an ID token", &about_id_token("https://issuer.example", id_token)),
        (
            "AttenuateRequest",
            &proto::AttenuateRequest { token: token.clone(), ..Default::default() },
        ),
        (
            "AttenuateResponse",
            &tonic::Response::new(proto::AttenuateResponse { token, ..Default::default() }),
        ),
        ("RevokeRequest", &revoking),
    ];
    for (name, message) in messages {
        let shown = shown(message);
        assert_eq!(secrets.found_in(&shown), [""; 0], "{name}: {shown}");
        assert!(shown.contains(" bytes)"), "{name} says that there is one: {shown}");
    }
}

/// Runs in a process of its own, started by the test below.
#[test]
#[ignore = "it panics on purpose, for the test below"]
fn panics_over_a_secret() {
    let log = LogConfig { filter: "trace".to_owned(), format: LogFormat::Json };
    let _log = telemetry::start(&log).unwrap();
    let token = format!("{}é", kept_token());
    let at = token.len() - 1;
    // The standard library's own message quotes the text.
    let _ = std::panic::catch_unwind(move || token[..at].len());
}

#[test]
fn a_panic_is_logged_by_its_place_and_not_by_its_text() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "panics_over_a_secret", "--ignored", "--nocapture"]);
    let mut process = Process::run(command);
    assert!(process.wait().success(), "{}", process.err());
    let err = process.err();
    let line: serde_json::Value = serde_json::from_str(&err).unwrap_or_else(|_| panic!("{err}"));
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["fields"]["message"], "a defect: the code panicked here");
    assert!(line["fields"]["place"].as_str().unwrap().starts_with("tests/secrets.rs:"), "{line}");
    let mut secrets = Secrets::default();
    secrets.upload_token("the token", &kept_token());
    assert_eq!(secrets.found_in(&err), [""; 0]);
}
