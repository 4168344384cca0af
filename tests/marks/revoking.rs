//! A revoked token stays revoked, with its whole family, at its own index.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mintage::{
    grpc::proto::{self, caveat::Kind, revoke_request::Target},
    macaroon::{Macaroon, RootKey, TokenPrefix},
};
use tonic::Code;

use super::{
    ONE_PART,
    support::{
        issuer::TestIssuer,
        service::{BEGIN, Scene, caveat, configuration, for_user, reasons, uploading, verifying},
    },
};

const REVOKED: &str = "TOKEN_REVOKED";

fn revoking(target: Target) -> proto::RevokeRequest {
    proto::RevokeRequest { index: "pypi".to_owned(), target: Some(target), ..Default::default() }
}

fn by_token(token: &str) -> proto::RevokeRequest {
    revoking(Target::Token(token.to_owned()))
}

fn by_id(token_id: &str) -> proto::RevokeRequest {
    revoking(Target::TokenId(token_id.to_owned()))
}

async fn told(scene: &Scene, request: proto::VerifyRequest) -> String {
    reasons(&scene.verify(request).await.unwrap()).join(",")
}

/// A scene with a second index, `other`.
async fn two_indexes() -> Scene {
    let issuer = TestIssuer::start();
    let other = format!(
        "[indexes.other]\naudience = \"other\"\nlocation = \"index.example\"\n\
         issuers = [\"{}\"]\nextended_caveats = true\n",
        issuer.url()
    );
    let toml = configuration(&issuer.url(), "", &other);
    Scene::start_at(issuer, &toml, BEGIN).await
}

/// A token that the index minted itself, and what it knows of it.
fn kept(identifier: &str) -> (String, proto::KeptToken) {
    let root_key = b"the index's own root key";
    let macaroon = Macaroon::mint(&RootKey::new(root_key), "index.example", identifier);
    let token = macaroon.write(&TokenPrefix::parse("pypi").unwrap()).unwrap();
    let subject = proto::Subject { kind: Some(proto::subject::Kind::UserId("u1".to_owned())) };
    (token, proto::KeptToken { root_key: root_key.to_vec(), subject: Some(subject) })
}

fn verifying_kept(token: &str, record: &proto::KeptToken) -> proto::VerifyRequest {
    let mut request = verifying(token);
    uploading(&mut request).kept = Some(record.clone());
    request
}

#[tokio::test]
async fn a_token_is_revoked_by_itself_or_by_its_id_and_repeating_it_is_safe() {
    let scene = Scene::start().await;
    let publishers = scene.mint(scene.publishing("1")).await.unwrap();
    let users = scene.mint(for_user(None)).await.unwrap();
    for minted in [publishers, users] {
        let (by_token, by_id) = (by_token(&minted.token), by_id(&minted.token_id));
        for (request, again) in [(&by_id, false), (&by_id, true), (&by_token, true), (&by_id, true)]
        {
            let answer = scene.revoke(request.clone()).await.unwrap();
            assert_eq!((answer.token_id.as_str(), answer.again), (minted.token_id.as_str(), again));
            assert_eq!(told(&scene, verifying(&minted.token)).await, REVOKED);
        }
    }
    let untouched = scene.mint(scene.publishing("2")).await.unwrap();
    assert_eq!(told(&scene, verifying(&untouched.token)).await, "");
}

#[tokio::test]
async fn revoking_one_token_ends_those_narrower_and_wider() {
    let scene = Scene::start().await;
    for (jti, revoked) in [("1", 0), ("2", 1), ("3", 2)] {
        let wide = scene.mint(scene.publishing(jti)).await.unwrap().token;
        let mut family = vec![wide.clone()];
        for version in ["1.0", "1.0.0"] {
            let versions = vec![version.to_owned()];
            let narrower = proto::AttenuateRequest {
                index: "pypi".to_owned(),
                token: wide.clone(),
                caveats: vec![caveat(Kind::Versions(proto::Versions { versions }))],
            };
            family.push(scene.attenuate(narrower).await.unwrap().token);
        }
        scene.revoke(by_token(&family[revoked])).await.unwrap();
        for token in &family {
            assert_eq!(told(&scene, verifying(token)).await, REVOKED, "{revoked}");
        }
    }
}

#[tokio::test]
async fn a_narrowed_token_is_revoked_whatever_its_caveats_say() {
    let scene = Scene::start().await;
    let wide = scene.mint(for_user(None)).await.unwrap().token;
    let ended = proto::Expiration { not_before: 0, expires_at: scene.now() - 100 };
    let narrower = proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: wide.clone(),
        caveats: vec![caveat(Kind::Expiration(ended))],
    };
    let narrow = scene.attenuate(narrower).await.unwrap().token;
    assert!(!scene.revoke(by_token(&narrow)).await.unwrap().again);
    scene.clock.advance(Duration::from_secs(10 * 365 * 86_400));
    assert_eq!(told(&scene, verifying(&wide)).await, REVOKED, "an endless token for good");
}

#[tokio::test]
async fn a_publishers_token_stays_revoked_to_the_end_of_the_longest_life() {
    let scene = Scene::start_with("", ONE_PART).await;
    let lifetime = Some(prost_types::Duration { seconds: 21_600, nanos: 0 });
    let long = proto::MintRequest { lifetime, ..scene.publishing("1") };
    let minted = scene.mint(long).await.unwrap();
    scene.revoke(by_id(&minted.token_id)).await.unwrap();
    for wait in [900, 20_000, 699] {
        scene.clock.advance(Duration::from_secs(wait));
        let other = scene.mint(scene.publishing(&wait.to_string())).await.unwrap();
        scene.revoke(by_id(&other.token_id)).await.unwrap();
        assert_eq!(told(&scene, verifying(&minted.token)).await, REVOKED, "after {wait} s more");
    }
    scene.clock.advance(Duration::from_secs(2));
    assert_eq!(told(&scene, verifying(&minted.token)).await, "CAVEAT_EXPIRED");
    scene.clock.advance(Duration::from_secs(60));
    assert!(scene.revoke(by_id(&minted.token_id)).await.is_ok(), "long ended: nothing to revoke");
}

#[tokio::test]
async fn kept_tokens_are_revoked_by_themselves_and_by_their_ids() {
    let scene = Scene::start().await;
    for identifier in ["6f0e4cc7-0a9e-4a45-8e53-0a2b9a5f9f3c", "nicht nur ASCII: é", "é2"] {
        let expected = if identifier.is_ascii() {
            identifier.to_owned()
        } else {
            URL_SAFE_NO_PAD.encode(identifier)
        };
        for way in ["by token", "by id"] {
            let identifier = format!("{identifier}{}", if way == "by id" { "" } else { "!" });
            let (token, record) = kept(&identifier);
            let request = verifying_kept(&token, &record);
            let answer = scene.verify(request.clone()).await.unwrap();
            assert!(answer.denials.is_empty(), "{identifier}");
            let token_id = answer.token.unwrap().token_id;
            let revoking = if way == "by id" {
                assert_eq!(token_id, expected);
                by_id(&token_id)
            } else {
                proto::RevokeRequest { kept: Some(record.clone()), ..by_token(&token) }
            };
            for again in [false, true] {
                let answer = scene.revoke(revoking.clone()).await.unwrap();
                assert_eq!((answer.token_id, answer.again), (token_id.clone(), again));
                assert_eq!(told(&scene, request.clone()).await, REVOKED, "{identifier} {way}");
            }
        }
    }
}

#[tokio::test]
async fn who_cannot_prove_a_token_cannot_revoke_it() {
    let scene = two_indexes().await;
    let minted = scene.mint(scene.publishing("1")).await.unwrap();
    let (kept_token, record) = kept("an identifier");
    let wrong = proto::KeptToken { root_key: b"another root key".to_vec(), ..record.clone() };
    let altered = {
        let (head, tail) = minted.token.split_at(minted.token.len() - 8);
        format!("{head}{}", if tail == "AAAAAAAA" { "BBBBBBBB" } else { "AAAAAAAA" })
    };
    let elsewhere = proto::RevokeRequest { index: "other".to_owned(), ..by_token(&minted.token) };
    let no_target = proto::RevokeRequest { target: None, ..by_token("") };
    for (name, request, code, reason) in [
        ("altered", by_token(&altered), Code::PermissionDenied, "TOKEN_SIGNATURE"),
        ("at another index", elsewhere, Code::PermissionDenied, "TOKEN_SIGNATURE"),
        (
            "kept, without its record",
            by_token(&kept_token),
            Code::PermissionDenied,
            "TOKEN_KEY_UNKNOWN",
        ),
        (
            "kept, with another root key",
            proto::RevokeRequest { kept: Some(wrong), ..by_token(&kept_token) },
            Code::PermissionDenied,
            "TOKEN_SIGNATURE",
        ),
        ("not a token", by_token("pypi-nonsense"), Code::InvalidArgument, "TOKEN_MALFORMED"),
        ("empty", by_token(""), Code::InvalidArgument, "TOKEN_MALFORMED"),
        ("no target", no_target, Code::InvalidArgument, "REQUEST_INVALID"),
        ("no id", by_id(""), Code::InvalidArgument, "REQUEST_INVALID"),
        ("a long id", by_id(&"x".repeat(345)), Code::InvalidArgument, "REQUEST_INVALID"),
    ] {
        let refused = scene.revoke(request).await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (code, reason), "{name}");
    }
    assert_eq!(told(&scene, verifying(&minted.token)).await, "");
    assert_eq!(told(&scene, verifying_kept(&kept_token, &record)).await, "");
}

#[tokio::test]
async fn a_revocation_is_for_its_own_index() {
    let scene = two_indexes().await;
    let other = |request: proto::VerifyRequest| proto::VerifyRequest {
        index: "other".to_owned(),
        ..request
    };
    let minted = scene.mint(scene.publishing("1")).await.unwrap();
    let there = told(&scene, other(verifying(&minted.token))).await;
    assert_eq!(there, "TOKEN_SIGNATURE", "a token is bound to its index");
    let by_id_there = proto::RevokeRequest { index: "other".to_owned(), ..by_id(&minted.token_id) };
    assert!(!scene.revoke(by_id_there).await.unwrap().again);
    assert_eq!(told(&scene, verifying(&minted.token)).await, "");

    // Kept tokens are told apart by the index that asks.
    let (token, record) = kept("the same on both");
    let request = verifying_kept(&token, &record);
    scene.revoke(by_id("the same on both")).await.unwrap();
    assert_eq!(told(&scene, request.clone()).await, REVOKED);
    assert_eq!(told(&scene, other(request)).await, "");
}

#[tokio::test]
async fn full_of_revocations_the_service_refuses_more_and_forgets_none() {
    let scene = Scene::start_with("", "[store]\nmax_entries = 2\n").await;
    let mut minted = Vec::new();
    for _ in 0..3 {
        minted.push(scene.mint(for_user(None)).await.unwrap());
    }
    for known in &minted[..2] {
        scene.revoke(by_token(&known.token)).await.unwrap();
    }
    for request in [by_token(&minted[2].token), by_id(&minted[2].token_id), by_id("anything")] {
        let refused = scene.revoke(request).await.unwrap_err();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
        assert!(refused.retry_after.is_some());
    }
    for known in &minted[..2] {
        assert!(scene.revoke(by_id(&known.token_id)).await.unwrap().again);
        assert_eq!(told(&scene, verifying(&known.token)).await, REVOKED);
    }
    assert_eq!(told(&scene, verifying(&minted[2].token)).await, "");
}
