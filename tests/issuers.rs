//! Issuers that change their keys, fail or hang, seen through the real port.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

mod support;

use std::{sync::Arc, time::Duration};

use mintage::grpc::proto;
use serde_json::Value;
use support::{
    issuer::{Behaviour, TestIssuer, key_one, key_two},
    service::{BEGIN, Refused, Scene, configuration, github_publisher, trusted},
    until,
};
use tokio::task::JoinHandle;
use tonic::Code;

const TICK: Duration = Duration::from_micros(1);

type Minting = JoinHandle<Result<proto::MintResponse, Refused>>;

/// A Mint in the background.
fn minting(scene: &Arc<Scene>, request: proto::MintRequest) -> Minting {
    let scene = Arc::clone(scene);
    tokio::spawn(async move { scene.mint(request).await })
}

/// An ID token that names this key, and is signed with [`key_one`].
fn naming(scene: &Scene, kid: &str, jti: &str) -> proto::MintRequest {
    let mut claims: Value = scene.github_claims(jti);
    claims["iss"] = scene.issuer.url().into();
    let header = format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{kid}"}}"#);
    scene.publishing_with(key_one().sign_parts(&header, &claims.to_string()).unwrap())
}

async fn reason(scene: &Scene, request: proto::MintRequest) -> String {
    scene.mint(request).await.map_or_else(|refused| refused.reason, |_| "minted".to_owned())
}

#[tokio::test]
async fn a_rotated_key_is_found_at_once_and_a_withdrawn_one_dies() {
    let scene = Scene::start().await;
    let by_two = |jti| {
        let claims = scene.github_claims(jti);
        scene.publishing_with(scene.issuer.id_token_by(key_two(), &claims))
    };
    assert_eq!(reason(&scene, scene.publishing("1")).await, "minted");
    assert_eq!(scene.issuer.key_set_reads(), 1);

    scene.issuer.publish(&[key_one(), key_two()]);
    assert_eq!(reason(&scene, by_two("2")).await, "minted");
    assert_eq!(reason(&scene, scene.publishing("3")).await, "minted");
    assert_eq!(scene.issuer.key_set_reads(), 2);

    scene.issuer.publish(&[key_two()]);
    scene.clock.advance(Duration::from_secs(300));
    assert_eq!(reason(&scene, scene.publishing("4")).await, "ID_TOKEN_KEY_UNKNOWN");
    assert_eq!(reason(&scene, by_two("5")).await, "minted");
}

#[tokio::test]
async fn a_key_that_only_shares_its_name_holds_nothing() {
    let scene = Scene::start().await;
    assert_eq!(reason(&scene, naming(&scene, "one", "1")).await, "minted");
    scene.issuer.publish(&[key_one(), key_two()]);
    assert_eq!(reason(&scene, naming(&scene, "two", "2")).await, "ID_TOKEN_SIGNATURE");
    assert_eq!(reason(&scene, scene.publishing("2")).await, "minted", "nothing was redeemed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_keys_causes_one_fetch_per_cooldown() {
    let scene = Arc::new(Scene::start().await);
    let flood = async |name: &str| {
        let calls: Vec<_> = (0..50)
            .map(|at| minting(&scene, naming(&scene, &format!("{name}-{at}"), "flood")))
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap_err().reason, "ID_TOKEN_KEY_UNKNOWN");
        }
    };
    assert_eq!(reason(&scene, scene.publishing("1")).await, "minted");
    assert_eq!(scene.issuer.discoveries(), 1);
    for (round, wait, fetches) in [
        ("at once", Duration::ZERO, 2),
        ("again", Duration::ZERO, 2),
        ("just before the cooldown ends", Duration::from_secs(30) - TICK, 2),
        ("when it ends", TICK, 3),
    ] {
        scene.clock.advance(wait);
        flood(round).await;
        assert_eq!(scene.issuer.discoveries(), fetches, "{round}");
        assert_eq!(reason(&scene, scene.publishing(round)).await, "minted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flood_causes_no_more_fetches_while_the_issuer_answers_500() {
    let scene = Arc::new(Scene::start().await);
    assert_eq!(reason(&scene, scene.publishing("1")).await, "minted");
    scene.issuer.behave(Behaviour::Status(500));
    for (round, wait, fetches) in [
        ("at once", Duration::ZERO, 2),
        ("just before the cooldown ends", Duration::from_secs(30) - TICK, 2),
        ("when it ends", TICK, 3),
        ("30 s later: it doubles", Duration::from_secs(30), 3),
        ("60 s later", Duration::from_secs(30), 4),
        ("2 min is the longest", Duration::from_secs(119), 4),
        ("after them", Duration::from_secs(1), 5),
    ] {
        scene.clock.advance(wait);
        for at in 0..20 {
            let request = naming(&scene, &format!("{round}-{at}"), "flood");
            assert_eq!(reason(&scene, request).await, "ID_TOKEN_KEY_UNKNOWN", "{round}");
        }
        assert_eq!(scene.issuer.discoveries(), fetches, "{round}");
        assert_eq!(reason(&scene, scene.publishing(round)).await, "minted", "{round}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_from_the_start_is_unavailable_and_costs_no_id_token() {
    let scene = Scene::start().await;
    scene.issuer.behave(Behaviour::Status(500));
    let request = scene.publishing("1");
    let refused = scene.mint(request.clone()).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
    let wait = refused.retry_after.unwrap();
    assert_eq!(wait, Duration::from_secs(30));
    assert!(!refused.message.contains("127.0.0.1"), "{}", refused.message);
    assert!(!refused.message.contains("500"), "{}", refused.message);

    scene.issuer.behave(Behaviour::Normal);
    scene.clock.advance(wait - TICK);
    let refused = scene.mint(request.clone()).await.unwrap_err();
    assert_eq!(refused.retry_after, Some(TICK), "the wait that was told is the true one");
    scene.clock.advance(TICK);
    assert!(scene.mint(request).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_goes_down_is_served_from_memory_for_an_hour() {
    let scene = Scene::start().await;
    assert_eq!(reason(&scene, scene.publishing("first")).await, "minted");
    scene.issuer.behave(Behaviour::Status(500));
    let fetched = BEGIN;
    for minutes in [1, 5, 20, 40, 59] {
        scene.clock.set(fetched.plus(Duration::from_secs(minutes * 60)));
        let jti = minutes.to_string();
        assert_eq!(reason(&scene, scene.publishing(&jti)).await, "minted", "after {minutes} min");
    }
    let hour = fetched.plus(Duration::from_secs(3600));
    scene.clock.set(hour.minus(TICK));
    assert_eq!(reason(&scene, scene.publishing("last")).await, "minted");
    scene.clock.set(hour);
    let refused = scene.mint(scene.publishing("too late")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
    assert!(refused.retry_after.is_some_and(|wait| wait > Duration::ZERO));

    scene.issuer.behave(Behaviour::Normal);
    scene.clock.advance(refused.retry_after.unwrap());
    assert_eq!(reason(&scene, scene.publishing("too late")).await, "minted");
}

#[tokio::test]
async fn for_how_long_it_is_served_from_memory_is_each_issuers_own() {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", "")
        .replace("provider = \"github\"", "provider = \"github\"\nmax_stale = \"10m\"");
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    assert_eq!(reason(&scene, scene.publishing("first")).await, "minted");
    scene.issuer.behave(Behaviour::Status(500));
    let end = BEGIN.plus(Duration::from_secs(600));
    scene.clock.set(end.minus(TICK));
    assert_eq!(reason(&scene, scene.publishing("last")).await, "minted");
    scene.clock.set(end);
    assert_eq!(reason(&scene, scene.publishing("too late")).await, "UNAVAILABLE");
}

#[tokio::test]
async fn an_issuer_that_is_switched_off_is_not_asked() {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", "")
        .replace("provider = \"github\"", "provider = \"github\"\nenabled = false");
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let refused = scene.mint(scene.publishing("1")).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::PermissionDenied, "ISSUER_DISABLED")
    );
    assert_eq!(scene.issuer.discoveries(), 0);
}

#[tokio::test]
async fn an_issuer_that_is_not_the_indexs_is_not_asked() {
    let other = TestIssuer::start();
    let issuer = TestIssuer::start();
    let more = format!("[[issuers]]\nurl = \"{}\"\nprovider = \"github\"\n", other.url());
    let toml = configuration(&issuer.url(), "", &more);
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let theirs = scene.publishing_with(other.id_token(&scene.github_claims("1")));
    let refused = scene.mint(theirs).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "ISSUER_UNKNOWN"));
    assert_eq!((other.discoveries(), scene.issuer.discoveries()), (0, 0));
}

/// A scene with a second issuer.
async fn two_issuers() -> (Arc<Scene>, TestIssuer) {
    let second = TestIssuer::start();
    let url = second.url();
    let issuer = TestIssuer::start();
    let more = format!("[[issuers]]\nurl = \"{url}\"\nprovider = \"github\"\n");
    let both = format!("issuers = [\"{}\", \"{url}\"]", issuer.url());
    let toml = configuration(&issuer.url(), "", &more)
        .replace(&format!("issuers = [\"{}\"]", issuer.url()), &both);
    (Arc::new(Scene::start_at(issuer, &toml, BEGIN).await), second)
}

fn of_second(scene: &Scene, second: &TestIssuer, jti: &str) -> proto::MintRequest {
    let mut request = scene.publishing_with(second.id_token(&scene.github_claims(jti)));
    trusted(&mut request).candidates = vec![github_publisher(&second.url(), "p2")];
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_issuer_hangs_another_ones_tokens_mint_at_once() {
    let (scene, second) = two_issuers().await;
    let healthy: Vec<_> = (0..200).map(|at| scene.publishing(&at.to_string())).collect();
    let held: Vec<_> = (0..20).map(|at| of_second(&scene, &second, &at.to_string())).collect();

    second.behave(Behaviour::Held);
    let held: Vec<_> = held.into_iter().map(|request| minting(&scene, request)).collect();
    until("the second issuer is asked", || second.discoveries() == 1).await;
    let healthy: Vec<_> = healthy.into_iter().map(|request| minting(&scene, request)).collect();
    for call in healthy {
        assert_eq!(call.await.unwrap().unwrap().publisher_id, "p1");
    }
    assert!(held.iter().all(|call| !call.is_finished()), "they still wait for their issuer");

    second.behave(Behaviour::Normal);
    for call in held {
        assert_eq!(call.await.unwrap().unwrap().publisher_id, "p2");
    }
    assert_eq!(second.discoveries(), 1, "one flight for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_issuers_unknown_keys_hold_up_none_of_its_known_ones() {
    let scene = Arc::new(Scene::start().await);
    assert_eq!(reason(&scene, scene.publishing("0")).await, "minted");
    scene.issuer.behave(Behaviour::Held);
    let unknown = minting(&scene, naming(&scene, "unknown", "flood"));
    until("the issuer is asked again", || scene.issuer.discoveries() == 2).await;
    for at in 1..20 {
        assert_eq!(reason(&scene, scene.publishing(&at.to_string())).await, "minted");
    }
    assert!(!unknown.is_finished());
    scene.issuer.behave(Behaviour::Normal);
    assert_eq!(unknown.await.unwrap().unwrap_err().reason, "ID_TOKEN_KEY_UNKNOWN");
}

#[tokio::test]
async fn a_call_that_waits_for_a_hanging_issuer_ends_by_its_deadline_and_redeems_nothing() {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", "")
        .replace("threads = 2", "threads = 2, request_timeout = \"200ms\"");
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    scene.issuer.behave(Behaviour::Held);
    let request = scene.publishing("1");
    let refused = scene.mint(request.clone()).await.unwrap_err();
    assert_eq!(refused.code, Code::DeadlineExceeded);

    scene.issuer.behave(Behaviour::Normal);
    until("the flight has landed", || scene.issuer.key_set_reads() == 1).await;
    let mut answer = scene.mint(request.clone()).await;
    while answer.as_ref().is_err_and(|refused| refused.code == Code::DeadlineExceeded) {
        answer = scene.mint(request.clone()).await;
    }
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn an_issuer_that_never_answers_is_unavailable_when_its_time_is_over() {
    let scene = Scene::start().await;
    scene.issuer.behave(Behaviour::Hang);
    let refused = scene.mint(scene.publishing("1")).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
    assert_eq!(refused.retry_after, Some(Duration::from_secs(30)));
    // From then on it is known to be down, and nobody waits for it.
    let next = tokio::time::timeout(Duration::from_secs(3), scene.mint(scene.publishing("2")));
    assert_eq!(next.await.unwrap().unwrap_err().reason, "UNAVAILABLE");
    assert_eq!(scene.issuer.discoveries(), 1);
}

#[tokio::test]
async fn a_verified_id_token_hears_the_same_of_its_issuer() {
    let scene = Scene::start().await;
    scene.issuer.behave(Behaviour::Status(500));
    let verifying = |mut request: proto::MintRequest| proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(trusted(&mut request).clone())),
        ..Default::default()
    };
    let refused = scene.verify(verifying(scene.publishing("1"))).await.unwrap_err();
    assert_eq!(refused.reason, "UNAVAILABLE", "no answer, and so no denial");

    scene.issuer.behave(Behaviour::Normal);
    scene.clock.advance(refused.retry_after.unwrap());
    let unknown = verifying(naming(&scene, "unknown", "1"));
    let answer = scene.verify(unknown).await.unwrap();
    assert_eq!(support::service::reasons(&answer), ["ID_TOKEN_KEY_UNKNOWN"]);
    assert!(answer.identity.is_none(), "nothing is told of what nobody signed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_token_that_ends_while_its_key_is_fetched_is_denied() {
    let scene = Arc::new(Scene::start().await);
    scene.issuer.behave(Behaviour::Held);
    let mut request = scene.publishing("1");
    let credential = proto::verify_request::Credential::IdToken(trusted(&mut request).clone());
    let verifying = proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(credential),
        ..Default::default()
    };
    scene.clock.advance(Duration::from_secs(329));
    let waiting = tokio::spawn({
        let scene = Arc::clone(&scene);
        async move { scene.verify(verifying).await }
    });
    until("the key is being fetched", || scene.issuer.discoveries() == 1).await;
    scene.clock.advance(Duration::from_secs(2));
    scene.issuer.behave(Behaviour::Normal);
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(support::service::reasons(&answer), ["ID_TOKEN_EXPIRED"]);
}
