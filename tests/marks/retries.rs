//! The same call gets the same answer, and nobody else does.

use std::{fs, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mintage::{
    app::{Server, SystemRandomness, World},
    config::Config,
    grpc::proto::{self, caveat::Kind},
    macaroon::{KeyId, Keyring, MasterKey},
};

use super::{
    MIRROR, TICK, at_once, for_google, mint, mirror, scene_of,
    support::{
        clock::ManualClock,
        issuer::TestIssuer,
        service::{
            BEGIN, MASTER_KEY, Refused, Scene, WEB, caveat, client, configuration, for_user,
            github_publisher, reasons, trusted, verifying,
        },
    },
};

/// The same request under an id.
fn named(request: proto::MintRequest, request_id: &str) -> proto::MintRequest {
    proto::MintRequest { request_id: request_id.to_owned(), ..request }
}

fn reused(answer: Result<proto::MintResponse, Refused>) {
    assert_eq!(answer.unwrap_err().reason, "ID_TOKEN_REUSED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_times_the_same_mint_at_once_gets_the_same_token() {
    let scene = Scene::start().await;
    let features = vec!["single-use-token".to_owned()];
    let request = proto::MintRequest { features, ..named(scene.publishing("1"), "call") };
    let answers = at_once(&scene, 64, |client| mint(client, request.clone())).await;
    let first = answers[0].as_ref().unwrap();
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), first);
    }
}

#[tokio::test]
async fn a_mint_comes_again_inside_its_window_and_not_at_its_end() {
    let scene = Scene::start_with("retry_window = \"90s\"", "").await;
    let request = named(scene.publishing("1"), "call");
    let first = scene.mint(request.clone()).await.unwrap();
    scene.clock.advance(Duration::from_secs(90) - TICK);
    assert_eq!(scene.mint(request.clone()).await.unwrap(), first, "down to its end");
    scene.clock.advance(TICK);
    reused(scene.mint(request).await);
}

#[tokio::test]
async fn a_repeated_mint_has_the_same_id_the_same_request_and_any_client() {
    let scene = Scene::start().await;
    let request = named(scene.publishing("1"), "call");
    let at = |ip: &str| Some(proto::Client { ip: ip.to_owned(), user_agent: "uv".to_owned() });
    let request = proto::MintRequest { client: at("192.0.2.1"), ..request };
    let first = scene.mint(request.clone()).await.unwrap();

    let change = |change: fn(&mut proto::MintRequest)| {
        let mut changed = request.clone();
        change(&mut changed);
        changed
    };
    for (name, other) in [
        ("no id", change(|it| it.request_id.clear())),
        ("another id", change(|it| it.request_id.push('2'))),
        (
            "a lifetime",
            change(|it| it.lifetime = Some(prost_types::Duration { seconds: 900, nanos: 0 })),
        ),
        ("a feature", change(|it| it.features = vec!["multi-use-token".into()])),
        (
            "a caveat",
            change(|it| {
                let actions = vec!["upload".to_owned()];
                it.caveats = vec![caveat(Kind::Actions(proto::Actions { actions }))];
            }),
        ),
        ("a wanted project", change(|it| trusted(it).projects = vec!["sample".into()])),
        ("fewer projects", change(|it| drop(trusted(it).candidates[0].projects.pop()))),
        ("another publisher id", change(|it| trusted(it).candidates[0].id.push('2'))),
        (
            "one more candidate",
            change(|it| {
                let again = trusted(it).candidates[0].clone();
                trusted(it).candidates.push(again);
            }),
        ),
    ] {
        let refused = scene.mint(other).await.unwrap_err();
        assert_eq!(refused.reason, "ID_TOKEN_REUSED", "{name}");
    }
    for (name, same) in [
        ("the same", request.clone()),
        ("another client", proto::MintRequest { client: at("198.51.100.7"), ..request.clone() }),
        ("no client", change(|it| it.client = None)),
        ("the only index, unnamed", change(|it| it.index.clear())),
    ] {
        assert_eq!(scene.mint(same).await.unwrap(), first, "{name}");
    }
}

#[tokio::test]
async fn a_mint_without_an_id_never_comes_again() {
    let scene = Scene::start().await;
    scene.mint(scene.publishing("1")).await.unwrap();
    reused(scene.mint(scene.publishing("1")).await);
    reused(scene.mint(named(scene.publishing("1"), "call")).await);
}

#[tokio::test]
async fn request_ids_are_each_callers_own() {
    let scene = Scene::start_with("", &mirror()).await;
    let request = named(scene.publishing("1"), "call");
    let first = scene.mint(request.clone()).await.unwrap();
    let theirs = client(&scene.server, Some(MIRROR)).await;
    reused(mint(theirs, request.clone()).await);
    assert_eq!(scene.mint(request).await.unwrap(), first);
}

#[tokio::test]
async fn one_id_serves_many_id_tokens() {
    let scene = Scene::start().await;
    let one = scene.mint(named(scene.publishing("1"), "call")).await.unwrap();
    let two = scene.mint(named(scene.publishing("2"), "call")).await.unwrap();
    assert_ne!(one.token, two.token);
    assert_eq!(scene.mint(named(scene.publishing("1"), "call")).await.unwrap(), one);
    assert_eq!(scene.mint(named(scene.publishing("2"), "call")).await.unwrap(), two);
}

#[tokio::test]
async fn an_id_token_that_is_not_redeemed_gets_the_same_token_again_too() {
    let scene = scene_of("google", "").await;
    let request = for_google(&scene, scene.now());
    let first = scene.mint(named(request.clone(), "call")).await.unwrap();
    assert_eq!(scene.mint(named(request.clone(), "call")).await.unwrap(), first);
    let other = scene.mint(named(request.clone(), "another")).await.unwrap();
    assert_ne!(other.token, first.token);

    scene.clock.advance(Duration::from_secs(60));
    let late = scene.mint(named(request, "call")).await.unwrap();
    assert_ne!(late.token, first.token, "after the window it is a new call");
}

#[tokio::test]
async fn without_a_window_no_mint_comes_again() {
    let scene = Scene::start_with("retry_window = \"0s\"", "").await;
    let request = named(scene.publishing("1"), "call");
    scene.mint(request.clone()).await.unwrap();
    reused(scene.mint(request).await);
}

#[tokio::test]
async fn without_a_window_an_id_token_that_is_not_redeemed_stays_usable() {
    let scene = scene_of("google", "retry_window = \"0s\"").await;
    let request = named(for_google(&scene, scene.now()), "call");
    let first = scene.mint(request.clone()).await.unwrap();
    let second = scene.mint(request).await.unwrap();
    assert_ne!(first.token, second.token);
}

#[tokio::test]
async fn a_mint_for_a_user_takes_no_notice_of_its_id() {
    let scene = Scene::start().await;
    let first = scene.mint(named(for_user(None), "call")).await.unwrap();
    let second = scene.mint(named(for_user(None), "call")).await.unwrap();
    assert_ne!(first.token_id, second.token_id);
}

#[tokio::test]
async fn an_id_token_refused_at_first_is_minted_by_the_same_call_later() {
    let scene = Scene::start().await;
    let mut nobody = named(scene.publishing("1"), "call");
    trusted(&mut nobody).candidates.clear();
    assert_eq!(scene.mint(nobody).await.unwrap_err().reason, "PUBLISHER_NOT_FOUND");
    let mut registered = named(scene.publishing("1"), "call");
    trusted(&mut registered).candidates = vec![github_publisher(&scene.issuer.url(), "p1")];
    assert!(scene.mint(registered).await.is_ok());
}

#[tokio::test]
async fn a_repeated_mint_gets_the_token_of_the_key_it_was_minted_with() {
    const SECOND_KEY: [u8; 32] = [0xa5; 32];
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let clock = Arc::new(ManualClock::at(BEGIN));
    let issuer = TestIssuer::start();
    let folder = format!("directory = {:?}", directory.path());
    let toml = configuration(&issuer.url(), "", "").replace("directory = \"keys\"", &folder);
    let config = Config::parse(&toml, "/".as_ref(), std::iter::empty()).unwrap();
    let id = |name| KeyId::parse(name).unwrap();
    let key = |bytes: &[u8]| MasterKey::new(bytes).unwrap();
    let keys = [(id("k1"), key(&MASTER_KEY)), (id("k2"), key(&SECOND_KEY))];
    let keyring = Keyring::new(keys.into(), id("k2")).unwrap();
    let world = World { clock: Arc::clone(&clock) as _, randomness: Arc::new(SystemRandomness) };
    let server = Server::start(&config, keyring, world).unwrap();
    let client = client(&server, Some(WEB)).await;
    let scene = Scene { server, clock, issuer, client };

    let request = named(scene.publishing("1"), "call");
    let first = scene.mint(request.clone()).await.unwrap();
    assert!(first.token_id.starts_with("m1.k2."), "{}", first.token_id);

    // The keyring's folder, empty until now, says that k1 mints.
    fs::write(path("k2"), STANDARD.encode(SECOND_KEY)).unwrap();
    fs::write(path("k1"), STANDARD.encode(MASTER_KEY)).unwrap();
    let minted_with = async || scene.mint(for_user(None)).await.unwrap().token_id;
    soon("k1 mints", async || minted_with().await.starts_with("m1.k1.")).await;
    assert_eq!(scene.mint(request.clone()).await.unwrap(), first);

    fs::remove_file(path("k2")).unwrap();
    let denied = async || reasons(&scene.verify(verifying(&first.token)).await.unwrap());
    soon("k2 is retired", async || !denied().await.is_empty()).await;
    let answer = scene.verify(verifying(&first.token)).await.unwrap();
    assert_eq!(reasons(&answer), ["TOKEN_KEY_UNKNOWN"]);
    reused(scene.mint(request).await);
}

/// Asks until the service says yes: it looks at the keyring's folder every few
/// seconds. A minute at most.
async fn soon(what: &str, asked: impl AsyncFn() -> bool) {
    let asking = async {
        while !asked().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), asking).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}
