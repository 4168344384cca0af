//! What the service can't remember it doesn't believe: ID tokens issued, and
//! tokens with uses minted, before the embedded store's memory begins.

use std::{sync::Arc, time::Duration};

use mintage::grpc::proto::{self, Verdict, caveat::Kind};
use serde_json::Value;
use tonic::Code;

use super::{
    ONE_PART, by_claims, for_google, mint, scene_of,
    support::{
        issuer::TestIssuer,
        service::{
            BEGIN, Client, Scene, WEB, caveat, client, configuration, for_user, reasons, server,
            upload, verifying, verifying_access,
        },
    },
    verify,
};

fn issued(scene: &Scene, jti: &str, iat: i64) -> proto::MintRequest {
    let mut claims: Value = scene.github_claims(jti);
    claims["iat"] = iat.into();
    claims["nbf"] = iat.into();
    scene.publishing_with(scene.issuer.id_token(&claims))
}

#[tokio::test]
async fn an_id_token_from_before_the_start_is_refused_and_one_of_the_same_second_is_not() {
    let scene = Scene::start().await;
    let start = BEGIN.seconds();
    scene.clock.advance(Duration::from_secs(100));
    for (jti, iat, minted) in [
        ("long before", start - 200, false),
        ("the second before", start - 1, false),
        ("the same second", start, true),
        ("the second after", start + 1, true),
        ("now", start + 100, true),
    ] {
        let answer = scene.mint(issued(&scene, jti, iat)).await;
        assert_eq!(answer.is_ok(), minted, "{jti}");
        let Err(refused) = answer else { continue };
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::AlreadyExists, "ID_TOKEN_REUSED")
        );
        assert!(refused.message.contains("memory"), "{}", refused.message);
        assert!(refused.message.contains("fresh"), "{}", refused.message);
    }
}

#[tokio::test]
async fn id_tokens_that_are_not_redeemed_need_no_memory() {
    let google = scene_of("google", "").await;
    assert!(google.mint(for_google(&google, google.now() - 3000)).await.is_ok());

    let robots = scene_of("claims", "").await;
    let before = robots.now() - 100;
    assert!(robots.mint(by_claims(&robots, None, before)).await.is_ok());
    let refused = robots.mint(by_claims(&robots, Some("1"), before)).await.unwrap_err();
    assert_eq!(refused.reason, "ID_TOKEN_REUSED");
}

/// The service on the same keys, and with the same configuration, once more.
async fn restarted(scene: &Scene, toml: &str) -> (mintage::app::Server, Client) {
    let server = server(toml, &scene.clock);
    let client = client(&server, Some(WEB)).await;
    (server, client)
}

#[tokio::test]
async fn after_a_restart_used_and_unused_tokens_with_uses_are_denied_alike() {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", ONE_PART);
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let id_token = scene.publishing("0");
    let multi = scene.mint(id_token.clone()).await.unwrap();
    let features = vec!["single-use-token".to_owned()];
    let single = |jti| proto::MintRequest { features: features.clone(), ..scene.publishing(jti) };
    let used = scene.mint(single("1")).await.unwrap();
    let unused = scene.mint(single("2")).await.unwrap();
    let lifetime = Some(Duration::from_secs(3600));
    let users = proto::MintRequest { features: features.clone(), ..for_user(lifetime) };
    let users = scene.mint(users).await.unwrap();
    let uses = vec![caveat(Kind::Uses(proto::Uses { count: 9, nonce: String::new() }))];
    let attenuating = proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: multi.token.clone(),
        caveats: uses,
    };
    let counted = scene.attenuate(attenuating).await.unwrap();
    assert!(scene.verify(verifying(&used.token)).await.unwrap().denials.is_empty());

    scene.clock.advance(Duration::from_secs(1));
    let (_server, client) = restarted(&scene, &toml).await;
    for (name, token, expected) in [
        ("used", &used.token, "CAVEAT_USES_SPENT"),
        ("unused", &unused.token, "CAVEAT_USES_SPENT"),
        ("a user's", &users.token, "CAVEAT_USES_SPENT"),
        ("counted by its holder", &counted.token, "CAVEAT_USES_SPENT"),
        ("without uses", &multi.token, ""),
    ] {
        let answer = verify(client.clone(), verifying(token)).await.unwrap();
        assert_eq!(reasons(&answer).join(","), expected, "{name}");
        for denial in answer.denials {
            assert!(denial.message.contains("fresh"), "{name}: {}", denial.message);
        }
    }
    let refused = mint(client.clone(), id_token).await.unwrap_err();
    assert_eq!(refused.reason, "ID_TOKEN_REUSED");

    let fresh = mint(client.clone(), single("3")).await.unwrap();
    for verdict in [Verdict::Allowed, Verdict::Denied] {
        let answer = verify(client.clone(), verifying_access(&fresh.token, upload())).await;
        assert_eq!(answer.unwrap().verdict(), verdict);
    }
}

#[tokio::test]
async fn a_retry_across_a_restart_is_refused() {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", ONE_PART);
    let scene = Arc::new(Scene::start_at(issuer, &toml, BEGIN).await);
    let request = proto::MintRequest { request_id: "call".to_owned(), ..scene.publishing("1") };
    scene.mint(request.clone()).await.unwrap();
    scene.clock.advance(Duration::from_secs(1));
    let (_server, client) = restarted(&scene, &toml).await;
    assert_eq!(mint(client, request).await.unwrap_err().reason, "ID_TOKEN_REUSED");
}
