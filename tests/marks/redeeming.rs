//! An ID token is redeemed once, and only by a Mint that gives a token for it.

use std::{sync::Arc, time::Duration};

use mintage::{
    clock::Timestamp,
    grpc::proto::{self, caveat::Kind},
};
use tonic::Code;

use super::{
    ONE_PART, TICK, at_once, by_claims, for_google, mint, scene_of,
    support::{
        issuer::{Behaviour, TestIssuer, key_two},
        service::{BEGIN, Scene, caveat, configuration, github_publisher, trusted},
        until,
    },
    tally,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_mints_of_one_id_token_at_once_one_gets_a_token() {
    let scene = Scene::start().await;
    let request = scene.publishing("1");
    let answers = at_once(&scene, 64, |client| mint(client, request.clone())).await;
    assert_eq!(tally(&answers), [("minted", 1), ("ID_TOKEN_REUSED", 63)].into());
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(refused.code, Code::AlreadyExists);
        assert_eq!(refused.retry_after, None, "waiting does not help");
        assert!(refused.message.contains("used before"), "{}", refused.message);
    }
}

/// A way to spoil a request.
type Spoil = fn(&mut proto::MintRequest);

#[tokio::test]
async fn a_refused_mint_leaves_the_id_token_usable() {
    let scene = Scene::start_with("max_embedded_projects = 2", "").await;
    let spoilt: [(&str, Spoil, &str); 14] = [
        ("unknown feature", |it| it.features = vec!["gold".into()], "FEATURE_UNSUPPORTED"),
        (
            "features that contradict",
            |it| it.features = vec!["single-use-token".into(), "multi-use-token".into()],
            "FEATURE_UNSUPPORTED",
        ),
        ("too short a life", |it| it.lifetime = Some(seconds(899)), "REQUEST_INVALID"),
        ("too long a life", |it| it.lifetime = Some(seconds(21_601)), "REQUEST_INVALID"),
        ("no life", |it| it.lifetime = Some(seconds(0)), "REQUEST_INVALID"),
        (
            "a caveat of no kind",
            |it| it.caveats = vec![proto::Caveat::default()],
            "REQUEST_INVALID",
        ),
        ("another index", |it| it.index = "other".into(), "INDEX_UNKNOWN"),
        ("no address", |it| it.client = Some(client_at("nowhere")), "REQUEST_INVALID"),
        ("a long request id", |it| it.request_id = "x".repeat(129), "REQUEST_INVALID"),
        ("nobody", |it| it.subject = None, "REQUEST_INVALID"),
        (
            "wrong project",
            |it| trusted(it).projects = vec!["somebody-elses".into()],
            "NO_ELIGIBLE_PROJECT",
        ),
        (
            "too many projects",
            |it| trusted(it).projects = ["a", "b", "c"].map(Into::into).into(),
            "REQUEST_INVALID",
        ),
        ("no candidates", |it| trusted(it).candidates.clear(), "PUBLISHER_NOT_FOUND"),
        (
            "another repository",
            |it| {
                let Some(proto::publisher::Identity::Github(github)) =
                    &mut trusted(it).candidates[0].identity
                else {
                    panic!("not a GitHub publisher")
                };
                github.repository_name = "sample-2".into();
            },
            "PUBLISHER_NOT_FOUND",
        ),
    ];
    let request = scene.publishing("1");
    for (name, spoil, reason) in spoilt {
        let mut refused = request.clone();
        spoil(&mut refused);
        assert_eq!(scene.mint(refused).await.unwrap_err().reason, reason, "{name}");
    }
    assert!(scene.mint(request).await.is_ok());
}

#[tokio::test]
async fn a_mint_that_a_limit_or_a_missing_key_stops_leaves_the_id_token_usable() {
    let limit = "[limits.mint_per_publisher]\nburst = 1\ncount = 1\nperiod = \"60s\"\n";
    let scene = Scene::start_with("", limit).await;
    scene.issuer.behave(Behaviour::Status(500));
    let request = scene.publishing("1");
    assert_eq!(scene.mint(request.clone()).await.unwrap_err().reason, "UNAVAILABLE");

    scene.issuer.behave(Behaviour::Normal);
    scene.clock.advance(Duration::from_secs(30));
    scene.mint(scene.publishing("2")).await.unwrap();
    assert_eq!(scene.mint(request.clone()).await.unwrap_err().reason, "RATE_LIMITED");

    scene.clock.advance(Duration::from_secs(60));
    assert!(scene.mint(request).await.is_ok());
}

#[tokio::test]
async fn what_is_not_the_issuers_own_redeems_nothing() {
    let scene = Scene::start().await;
    let claims = scene.github_claims("1");
    let good = scene.issuer.id_token(&claims);
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    let mut for_another = claims.clone();
    for_another["aud"] = "testpypi".into();
    for (name, id_token, reason) in [
        ("no signature", format!("{unsigned}."), "ID_TOKEN_SIGNATURE"),
        ("a key nobody published", key_two_token(&scene, &claims), "ID_TOKEN_KEY_UNKNOWN"),
        ("for another index", scene.issuer.id_token(&for_another), "ID_TOKEN_AUDIENCE"),
        ("cut", unsigned.to_owned(), "ID_TOKEN_MALFORMED"),
    ] {
        let refused = scene.mint(scene.publishing_with(id_token)).await.unwrap_err();
        assert_eq!(refused.reason, reason, "{name}");
    }
    assert!(scene.mint(scene.publishing_with(good)).await.is_ok());
}

#[tokio::test]
async fn a_redeemed_id_token_is_refused_as_reused_for_as_long_as_it_is_accepted() {
    let scene = Scene::start_with("", ONE_PART).await;
    let exp = scene.now() + 300;
    let request = scene.publishing("1");
    scene.mint(request.clone()).await.unwrap();
    let at = |seconds| Timestamp::from_seconds(exp + seconds);
    for (now, reason) in [
        (at(0).minus(TICK), "ID_TOKEN_REUSED"),
        (at(0), "ID_TOKEN_REUSED"),
        (at(29), "ID_TOKEN_REUSED"),
        (at(30).minus(TICK), "ID_TOKEN_REUSED"),
        (at(30), "ID_TOKEN_EXPIRED"),
        (at(59), "ID_TOKEN_EXPIRED"),
        (at(60), "ID_TOKEN_EXPIRED"),
        (at(61), "ID_TOKEN_EXPIRED"),
        (at(100_000), "ID_TOKEN_EXPIRED"),
    ] {
        scene.clock.set(now);
        // Another's redeeming clears away what has ended.
        scene.mint(scene.publishing(&format!("{now:?}"))).await.unwrap();
        let refused = scene.mint(request.clone()).await.unwrap_err();
        assert_eq!(refused.reason, reason, "at {now:?}, exp is {exp}");
    }
}

#[tokio::test]
async fn an_id_token_that_comes_in_the_leeway_is_redeemed_once_too() {
    let scene = Scene::start_with("", ONE_PART).await;
    let request = scene.publishing("1");
    scene.clock.set(Timestamp::from_seconds(scene.now() + 330).minus(TICK));
    scene.mint(request.clone()).await.unwrap();
    assert_eq!(scene.mint(request.clone()).await.unwrap_err().reason, "ID_TOKEN_REUSED");
    scene.clock.advance(TICK);
    assert_eq!(scene.mint(request).await.unwrap_err().reason, "ID_TOKEN_EXPIRED");
}

#[tokio::test]
async fn a_clock_that_is_put_back_makes_no_id_token_new() {
    let scene = Scene::start_with("", ONE_PART).await;
    let request = scene.publishing("1");
    scene.mint(request.clone()).await.unwrap();
    let back = scene.now() + 200;
    // Far enough ahead that the mark has ended, and is cleared away.
    scene.clock.set(Timestamp::from_seconds(scene.now() + 361));
    scene.mint(scene.publishing("2")).await.unwrap();

    scene.clock.set(Timestamp::from_seconds(back));
    let refused = scene.mint(request).await.unwrap_err();
    assert_eq!(refused.reason, "ID_TOKEN_REUSED");
    assert!(refused.message.contains("fresh"), "{}", refused.message);
    let fresh = scene.mint(scene.publishing("3")).await;
    assert!(fresh.is_ok(), "a fresh one is taken: {fresh:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_token_that_ends_while_its_key_is_fetched_is_refused() {
    let scene = Arc::new(Scene::start().await);
    scene.issuer.behave(Behaviour::Held);
    let request = scene.publishing("1");
    scene.clock.advance(Duration::from_secs(329));
    let waiting = tokio::spawn({
        let scene = Arc::clone(&scene);
        async move { scene.mint(request).await }
    });
    until("the key is being fetched", || scene.issuer.discoveries() == 1).await;
    scene.clock.advance(Duration::from_secs(2));
    scene.issuer.behave(Behaviour::Normal);
    assert_eq!(waiting.await.unwrap().unwrap_err().reason, "ID_TOKEN_EXPIRED");
}

#[tokio::test]
async fn one_jti_of_two_issuers_is_two_id_tokens() {
    let second = TestIssuer::start();
    let url = second.url();
    let issuer = TestIssuer::start();
    let more = format!("[[issuers]]\nurl = \"{url}\"\nprovider = \"github\"\n");
    let both = format!("issuers = [\"{}\", \"{url}\"]", issuer.url());
    let toml = configuration(&issuer.url(), "", &more)
        .replace(&format!("issuers = [\"{}\"]", issuer.url()), &both);
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;

    let theirs = || {
        let mut request = scene.publishing_with(second.id_token(&scene.github_claims("1")));
        trusted(&mut request).candidates = vec![github_publisher(&url, "p2")];
        request
    };
    assert_eq!(scene.mint(scene.publishing("1")).await.unwrap().publisher_id, "p1");
    assert_eq!(scene.mint(theirs()).await.unwrap().publisher_id, "p2");
    for request in [scene.publishing("1"), theirs()] {
        assert_eq!(scene.mint(request).await.unwrap_err().reason, "ID_TOKEN_REUSED");
    }
}

#[tokio::test]
async fn an_id_token_is_redeemed_once_for_all_indexes_together() {
    let issuer = TestIssuer::start();
    let other = format!(
        "[indexes.other]\naudience = \"pypi\"\nlocation = \"other.example\"\nissuers = [\"{}\"]\n",
        issuer.url()
    );
    let toml = configuration(&issuer.url(), "", &other);
    let scene = Scene::start_at(issuer, &toml, BEGIN).await;
    let request = scene.publishing("1");
    let elsewhere = proto::MintRequest { index: "other".to_owned(), ..request.clone() };
    scene.mint(request).await.unwrap();
    assert_eq!(scene.mint(elsewhere).await.unwrap_err().reason, "ID_TOKEN_REUSED");
}

#[tokio::test]
async fn an_id_token_is_redeemed_where_its_provider_tells_two_apart() {
    let google = scene_of("google", "").await;
    let request = for_google(&google, google.now());
    let first = google.mint(request.clone()).await.unwrap();
    let second = google.mint(request).await.unwrap();
    assert_ne!(first.token, second.token, "none is redeemed, so each call gets its own");

    let robots = scene_of("claims", "").await;
    let without = by_claims(&robots, None, robots.now());
    robots.mint(without.clone()).await.unwrap();
    robots.mint(without).await.unwrap();
    let with = by_claims(&robots, Some("1"), robots.now());
    robots.mint(with.clone()).await.unwrap();
    assert_eq!(robots.mint(with).await.unwrap_err().reason, "ID_TOKEN_REUSED");
}

#[tokio::test]
async fn a_verified_id_token_is_not_redeemed() {
    let scene = Scene::start().await;
    let mut request = scene.publishing("1");
    let credential = proto::verify_request::Credential::IdToken(trusted(&mut request).clone());
    let verifying = proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(credential),
        ..Default::default()
    };
    for _ in 0..2 {
        let answer = scene.verify(verifying.clone()).await.unwrap();
        assert_eq!(answer.publisher_id, "p1", "{:?}", answer.denials);
    }
    scene.mint(request).await.unwrap();
    let after = scene.verify(verifying).await.unwrap();
    assert_eq!(after.publisher_id, "p1", "nor is it asked whether it was");
}

#[tokio::test]
async fn full_of_marks_the_service_mints_nothing_and_forgets_nothing() {
    let scene = Scene::start_with("", "[store]\nmax_entries = 2\n").await;
    let (first, second) = (scene.publishing("1"), scene.publishing("2"));
    scene.mint(first.clone()).await.unwrap();
    scene.mint(second.clone()).await.unwrap();
    let third = scene.publishing("3");
    let refused = scene.mint(third.clone()).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
    assert_eq!(refused.retry_after, Some(Duration::from_secs(60)));
    for known in [first, second] {
        assert_eq!(scene.mint(known).await.unwrap_err().reason, "ID_TOKEN_REUSED");
    }
    let networks = vec!["192.0.2.0/24".to_owned()];
    let more = vec![caveat(Kind::ClientNetworks(proto::ClientNetworks { networks }))];
    scene.clock.set(Timestamp::from_seconds(scene.now() + 360));
    let late = proto::MintRequest { caveats: more, ..scene.publishing("4") };
    assert!(scene.mint(late).await.is_ok(), "once the marks have ended there is room");
}

fn key_two_token(scene: &Scene, claims: &serde_json::Value) -> String {
    scene.issuer.id_token_by(key_two(), claims)
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn client_at(ip: &str) -> proto::Client {
    proto::Client { ip: ip.to_owned(), user_agent: String::new() }
}
