//! A token is good for as many allowed answers as it says, whoever narrows,
//! re-spells or hurries it.

use std::time::Duration;

use mintage::{
    clock::Timestamp,
    grpc::proto::{self, Verdict, caveat::Kind},
};

use super::{
    MIRROR, ONE_PART, TICK, at_once, mirror,
    support::service::{
        Scene, caveat, client, for_user, project, reasons, upload, uploading, verifying,
        verifying_access,
    },
    verify,
};

pub(crate) const SPENT: &str = "CAVEAT_USES_SPENT";

fn uses(count: u32) -> proto::Caveat {
    caveat(Kind::Uses(proto::Uses { count, nonce: String::new() }))
}

pub(crate) fn ends_at(expires_at: i64) -> proto::Caveat {
    caveat(Kind::Expiration(proto::Expiration { not_before: 0, expires_at }))
}

/// The publisher's token, good for so many uses.
async fn good_for(scene: &Scene, count: u32) -> String {
    let request = proto::MintRequest { caveats: vec![uses(count)], ..scene.publishing("1") };
    scene.mint(request).await.unwrap().token
}

async fn single_use(scene: &Scene) -> String {
    let features = vec!["single-use-token".to_owned()];
    let request = proto::MintRequest { features, ..scene.publishing("1") };
    scene.mint(request).await.unwrap().token
}

async fn narrowed(scene: &Scene, token: &str, by: Vec<proto::Caveat>) -> String {
    let (index, token) = ("pypi".to_owned(), token.to_owned());
    let request = proto::AttenuateRequest { index, token, caveats: by };
    scene.attenuate(request).await.unwrap().token
}

/// The reasons of a denial; empty where the token was allowed.
pub(crate) async fn told(scene: &Scene, token: &str) -> String {
    told_of(scene, verifying(token)).await
}

pub(crate) async fn told_of(scene: &Scene, request: proto::VerifyRequest) -> String {
    reasons(&scene.verify(request).await.unwrap()).join(",")
}

fn named(request: proto::VerifyRequest, request_id: &str) -> proto::VerifyRequest {
    proto::VerifyRequest { request_id: request_id.to_owned(), ..request }
}

fn dry(token: &str) -> proto::VerifyRequest {
    let mut request = verifying(token);
    uploading(&mut request).dry_run = true;
    request
}

/// Several Verifies at once: how many were allowed.
async fn allowed_at_once(scene: &Scene, count: usize, request: proto::VerifyRequest) -> usize {
    let answers = at_once(scene, count, |client| verify(client, request.clone())).await;
    answers
        .into_iter()
        .map(|answer| answer.unwrap())
        .filter(|answer| match answer.verdict() {
            Verdict::Allowed => true,
            _ => {
                assert_eq!(reasons(answer), [SPENT]);
                false
            }
        })
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_verifies_at_once_as_many_are_allowed_as_the_token_is_good_for() {
    for count in [1, 7] {
        let scene = Scene::start().await;
        let token = good_for(&scene, count).await;
        let allowed = allowed_at_once(&scene, 64, verifying(&token)).await;
        assert_eq!(allowed, count as usize);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_times_the_same_verify_at_once_spends_one_use() {
    let scene = Scene::start().await;
    let token = good_for(&scene, 2).await;
    let request = named(verifying(&token), "call");
    assert_eq!(allowed_at_once(&scene, 64, request).await, 64);
    assert_eq!(told(&scene, &token).await, "", "one use is left");
    assert_eq!(told(&scene, &token).await, SPENT);
}

#[tokio::test]
async fn a_single_use_token_is_good_for_one_upload_and_says_so_after() {
    let scene = Scene::start().await;
    let token = single_use(&scene).await;
    assert_eq!(told(&scene, &token).await, "");
    let denied = scene.verify(verifying(&token)).await.unwrap();
    assert_eq!(reasons(&denied), [SPENT]);
    assert_eq!(denied.denials[0].caveat, Some(3));
    assert!(denied.denials[0].message.contains("good for 1"), "{}", denied.denials[0].message);
    assert!(denied.token.is_some());
}

#[tokio::test]
async fn denied_accesses_spend_nothing() {
    let scene = Scene::start().await;
    let token = single_use(&scene).await;
    let other = proto::Access { project: Some(project("id-9", "another")), ..upload() };
    let unregistered = proto::Access { publisher_ids: vec![], ..upload() };
    for access in [other, unregistered, proto::Access::default()] {
        let answer = scene.verify(verifying_access(&token, access)).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Denied);
        assert!(!reasons(&answer).contains(&SPENT.to_owned()));
    }
    let mut stored = verifying(&token);
    uploading(&mut stored).stored_caveats = vec![ends_at(scene.now())];
    assert_eq!(told_of(&scene, stored).await, "CAVEAT_EXPIRED");
    let narrow = narrowed(&scene, &token, vec![ends_at(scene.now())]).await;
    assert_eq!(told(&scene, &narrow).await, "CAVEAT_EXPIRED");

    assert_eq!(told(&scene, &token).await, "");
    assert_eq!(told(&scene, &token).await, SPENT);
}

#[tokio::test]
async fn a_dry_run_spends_nothing_and_tells_the_truth() {
    let scene = Scene::start().await;
    let token = single_use(&scene).await;
    for _ in 0..3 {
        assert_eq!(told_of(&scene, dry(&token)).await, "");
        assert_eq!(told_of(&scene, named(dry(&token), "call")).await, "");
    }
    assert_eq!(told_of(&scene, named(verifying(&token), "call")).await, "", "not a repeated call");
    for _ in 0..3 {
        assert_eq!(told_of(&scene, dry(&token)).await, SPENT);
        assert_eq!(told_of(&scene, named(dry(&token), "call")).await, SPENT);
    }
}

#[tokio::test]
async fn of_several_counts_each_spends_one_use_all_or_none() {
    let scene = Scene::start().await;
    let wide = good_for(&scene, 3).await;
    let narrow = narrowed(&scene, &wide, vec![uses(1)]).await;
    assert_eq!(told(&scene, &narrow).await, "");
    for _ in 0..5 {
        let denied = scene.verify(verifying(&narrow)).await.unwrap();
        assert_eq!(reasons(&denied), [SPENT]);
        assert_eq!(denied.denials[0].caveat, Some(4), "the second count");
    }
    for expected in ["", "", SPENT] {
        assert_eq!(told(&scene, &wide).await, expected, "denials spent none of the first count");
    }
}

#[tokio::test]
async fn narrowed_tokens_share_the_count_they_inherit() {
    let scene = Scene::start().await;
    let token = good_for(&scene, 2).await;
    let files = |name: &str| {
        let filenames = vec![name.to_owned()];
        vec![caveat(Kind::Filenames(proto::Filenames { filenames }))]
    };
    let one = narrowed(&scene, &token, files("sample-1.0.tar.gz")).await;
    let two = narrowed(&scene, &token, vec![uses(1)]).await;
    assert_eq!(told(&scene, &one).await, "");
    assert_eq!(told(&scene, &two).await, "");
    for spent in [&one, &two, &token] {
        assert_eq!(told(&scene, spent).await, SPENT);
    }
}

#[tokio::test]
async fn counts_that_siblings_append_are_their_own() {
    let scene = Scene::start().await;
    let minted = scene.mint(scene.publishing("1")).await.unwrap();
    let one = narrowed(&scene, &minted.token, vec![uses(1)]).await;
    let two = narrowed(&scene, &minted.token, vec![uses(1)]).await;
    for token in [&one, &two] {
        assert_eq!(told(&scene, token).await, "");
        assert_eq!(told(&scene, token).await, SPENT);
    }
    assert_eq!(told(&scene, &minted.token).await, "", "the wider one has no count");
}

#[tokio::test]
async fn a_nearer_end_appended_later_frees_no_count() {
    let scene = Scene::start_with("", ONE_PART).await;
    let token = single_use(&scene).await;
    let soon = narrowed(&scene, &token, vec![ends_at(scene.now() + 60)]).await;
    assert_eq!(told(&scene, &soon).await, "");

    scene.clock.advance(Duration::from_secs(700));
    clear_away(&scene).await;
    assert_eq!(told(&scene, &token).await, SPENT);
    assert_eq!(told(&scene, &soon).await, "CAVEAT_EXPIRED");
}

#[tokio::test]
async fn a_count_is_kept_to_the_last_moment_of_its_token_and_longer_than_clocks_differ() {
    let scene = Scene::start_with("", ONE_PART).await;
    let token = single_use(&scene).await;
    let end = Timestamp::from_seconds(scene.now() + 1 + 900);
    assert_eq!(told(&scene, &token).await, "");
    scene.clock.set(end.minus(TICK));
    clear_away(&scene).await;
    assert_eq!(told(&scene, &token).await, SPENT);

    for ahead in [0, 29, 31, 1000] {
        scene.clock.set(end.plus(Duration::from_secs(ahead)));
        clear_away(&scene).await;
        assert_eq!(told(&scene, &token).await, "CAVEAT_EXPIRED");
        scene.clock.set(end.minus(TICK));
        assert_eq!(told(&scene, &token).await, SPENT, "put back by {ahead} s");
    }
}

/// Lets another token be used, which clears away what has ended.
async fn clear_away(scene: &Scene) {
    for _ in 0..3 {
        let lifetime = Some(Duration::from_secs(100_000));
        let request = proto::MintRequest { caveats: vec![uses(1)], ..for_user(lifetime) };
        let token = scene.mint(request).await.unwrap().token;
        assert_eq!(told(scene, &token).await, "");
    }
}

#[tokio::test]
async fn every_spelling_of_a_token_shares_its_count_and_its_calls() {
    let scene = Scene::start().await;
    // One of these needs padding, whatever the length of the scene's ids.
    for (at, name) in ["a", "ab", "abc"].into_iter().enumerate() {
        let filenames = vec![name.to_owned(), "sample-1.0.tar.gz".to_owned()];
        let files = caveat(Kind::Filenames(proto::Filenames { filenames }));
        let request = proto::MintRequest {
            caveats: vec![files, uses(1)],
            ..scene.publishing(&at.to_string())
        };
        let token = scene.mint(request).await.unwrap().token;
        let body = token.len() - "pypi-".len();
        let padded = format!("{token}{}", "=".repeat((4 - body % 4) % 4));
        assert_eq!(told_of(&scene, named(verifying(&token), "call")).await, "");
        assert_eq!(told(&scene, &padded).await, SPENT, "{} of padding", padded.len() - token.len());
        assert_eq!(told_of(&scene, named(verifying(&padded), "call")).await, "", "the same call");
    }
}

#[tokio::test]
async fn a_count_needs_an_end_that_stands_in_the_token() {
    let scene = Scene::start().await;
    let without_end = proto::MintRequest { caveats: vec![uses(1)], ..for_user(None) };
    let single =
        proto::MintRequest { features: vec!["single-use-token".to_owned()], ..for_user(None) };
    for request in [without_end, single] {
        let refused = scene.mint(request).await.unwrap_err();
        assert_eq!(
            (refused.reason.as_str(), refused.field.as_str()),
            ("REQUEST_INVALID", "caveats")
        );
    }
    let endless = scene.mint(for_user(None)).await.unwrap().token;
    let attenuating = |caveats| proto::AttenuateRequest {
        index: "pypi".to_owned(),
        token: endless.clone(),
        caveats,
    };
    let refused = scene.attenuate(attenuating(vec![uses(1)])).await.unwrap_err();
    assert_eq!(refused.reason, "REQUEST_INVALID");

    // With an end beside it a count can be had, and counts.
    let both = vec![uses(1), ends_at(scene.now() + 60)];
    let narrow = scene.attenuate(attenuating(both.clone())).await.unwrap().token;
    let asked = proto::MintRequest { caveats: both, ..for_user(None) };
    let hour = proto::MintRequest {
        features: vec!["single-use-token".to_owned()],
        ..for_user(Some(Duration::from_secs(3600)))
    };
    let asked = scene.mint(asked).await.unwrap().token;
    let hour = scene.mint(hour).await.unwrap().token;
    for token in [&narrow, &asked, &hour] {
        assert_eq!(told(&scene, token).await, "");
        assert_eq!(told(&scene, token).await, SPENT);
    }
    for count in [0, 1] {
        let mut stored = verifying(&endless);
        uploading(&mut stored).stored_caveats = vec![uses(count)];
        assert_eq!(scene.verify(stored).await.unwrap_err().reason, "REQUEST_INVALID");
    }
}

#[tokio::test]
async fn a_verify_comes_again_for_the_same_token_access_and_caller_alone() {
    let scene = Scene::start_with("", &mirror()).await;
    let token = good_for(&scene, 3).await;
    let request = named(verifying(&token), "call");
    assert_eq!(told_of(&scene, request.clone()).await, "");
    assert_eq!(told_of(&scene, request.clone()).await, "", "the same");
    let elsewhere = proto::Client { ip: "192.0.2.1".to_owned(), user_agent: "uv".to_owned() };
    let moved = proto::VerifyRequest { client: Some(elsewhere), ..request.clone() };
    assert_eq!(told_of(&scene, moved).await, "", "the client may differ");

    let other_file = proto::Access { filename: "sample-1.0.whl".to_owned(), ..upload() };
    let other = named(verifying_access(&token, other_file), "call");
    assert_eq!(told_of(&scene, other.clone()).await, "", "a second use");
    let theirs = client(&scene.server, Some(MIRROR)).await;
    let answer = verify(theirs.clone(), request.clone()).await.unwrap();
    assert_eq!(reasons(&answer), [""; 0], "a third use, by another caller");

    let another_id = named(verifying(&token), "another");
    assert_eq!(told_of(&scene, another_id).await, SPENT);
    assert_eq!(told(&scene, &token).await, SPENT);
    let narrow = narrowed(&scene, &token, vec![ends_at(scene.now() + 60)]).await;
    assert_eq!(told_of(&scene, named(verifying(&narrow), "call")).await, SPENT, "another token");
    for again in [request, other] {
        assert_eq!(told_of(&scene, again).await, "", "those that were allowed may come again");
    }
}

#[tokio::test]
async fn a_verify_comes_again_inside_its_window_and_never_past_an_end_or_a_revocation() {
    let scene = Scene::start_with("retry_window = \"90s\"", "").await;
    let token = single_use(&scene).await;
    let request = named(verifying(&token), "call");
    assert_eq!(told_of(&scene, request.clone()).await, "");
    scene.clock.advance(Duration::from_secs(90) - TICK);
    assert_eq!(told_of(&scene, request.clone()).await, "");
    scene.clock.advance(TICK);
    assert_eq!(told_of(&scene, request).await, SPENT);

    let request = proto::MintRequest { caveats: vec![uses(1)], ..scene.publishing("2") };
    let minted = scene.mint(request).await.unwrap();
    let request = named(verifying(&minted.token), "call");
    assert_eq!(told_of(&scene, request.clone()).await, "");
    let revoking = proto::RevokeRequest {
        index: "pypi".to_owned(),
        target: Some(proto::revoke_request::Target::TokenId(minted.token_id)),
        ..Default::default()
    };
    scene.revoke(revoking).await.unwrap();
    assert_eq!(told_of(&scene, request).await, "TOKEN_REVOKED");
}

#[tokio::test]
async fn without_a_window_every_verify_spends() {
    let scene = Scene::start_with("retry_window = \"0s\"", "").await;
    let token = single_use(&scene).await;
    assert_eq!(told_of(&scene, named(verifying(&token), "call")).await, "");
    assert_eq!(told_of(&scene, named(verifying(&token), "call")).await, SPENT);
}
