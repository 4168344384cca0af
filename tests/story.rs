//! The main job through the real port: an ID token becomes an upload token, is
//! narrowed, is verified, is revoked.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails panics")]

mod support;

use std::time::Duration;

use mintage::grpc::proto::{self, Verdict, caveat::Kind};
use support::service::{
    Scene, caveat, for_user, project, reasons, trusted, upload, verifying, verifying_access,
};

#[tokio::test]
async fn an_id_token_becomes_an_upload_token_in_warehouses_form() {
    let scene = Scene::start().await;
    let minted = scene.mint(scene.publishing("1")).await.unwrap();

    assert!(minted.token.starts_with("pypi-AgEN"), "{:.12}", minted.token);
    assert_eq!(minted.publisher_id, "p1");
    assert_eq!(minted.features, ["multi-use-token"]);
    assert_eq!(minted.projects, [project("id-1", "sample"), project("id-2", "Other.Project")]);
    let end = scene.now() + 1 + 900;
    assert_eq!(minted.expires_at.unwrap().seconds, end, "the second is rounded up");
    assert_eq!(
        minted.caveats,
        [
            caveat(Kind::PublisherId(proto::PublisherId { id: "p1".to_owned() })),
            caveat(Kind::ProjectIds(proto::ProjectIds {
                ids: vec!["id-1".to_owned(), "id-2".to_owned()]
            })),
            caveat(Kind::Expiration(proto::Expiration {
                not_before: scene.now() - 30,
                expires_at: end
            })),
        ]
    );
    let identity = minted.identity.unwrap();
    assert_eq!(identity.issuer, scene.issuer.url());
    assert_eq!(identity.subject, "repo:octo/sample:environment:release");
    assert_eq!(identity.expires_at.unwrap().seconds, scene.now() + 300);
    assert!(identity.claims.unwrap().fields.contains_key("job_workflow_ref"));

    let verified = scene.verify(verifying(&minted.token)).await.unwrap();
    assert_eq!(verified.verdict(), Verdict::Allowed, "{:?}", verified.denials);
    let facts = verified.token.unwrap();
    assert_eq!(facts.token_id, minted.token_id);
    assert_eq!(facts.key_id, "k1");
    assert_eq!(facts.caveats, minted.caveats);
    assert_eq!(facts.minted_at.unwrap().seconds, scene.now());
    assert_eq!(facts.expires_at.unwrap().seconds, end);
    let subject = facts.subject.unwrap().kind.unwrap();
    assert_eq!(subject, proto::subject::Kind::PublisherId("p1".to_owned()));
}

#[tokio::test]
async fn a_token_narrowed_to_one_file_is_good_for_that_file_alone() {
    let scene = Scene::start().await;
    let minted = scene.mint(scene.publishing("1")).await.unwrap();
    let narrowed = scene
        .attenuate(proto::AttenuateRequest {
            index: "pypi".to_owned(),
            token: minted.token,
            caveats: vec![
                caveat(Kind::Digests(proto::Digests { sha256: vec![vec![0xab; 32]] })),
                caveat(Kind::Versions(proto::Versions { versions: vec!["1.0.0".to_owned()] })),
            ],
        })
        .await
        .unwrap();
    assert_eq!(narrowed.caveats.len(), 5);

    let allowed = scene.verify(verifying(&narrowed.token)).await.unwrap();
    assert_eq!(allowed.verdict(), Verdict::Allowed, "{:?}", allowed.denials);

    let other = proto::Access { sha256: vec![0xcd; 32], version: "2.0".to_owned(), ..upload() };
    let denied = scene.verify(verifying_access(&narrowed.token, other)).await.unwrap();
    assert_eq!(denied.verdict(), Verdict::Denied);
    assert_eq!(reasons(&denied), ["CAVEAT_DIGEST", "CAVEAT_VERSION"]);
    assert_eq!(denied.denials[0].caveat, Some(3));
    assert_eq!(denied.denials[1].caveat, Some(4));
}

#[tokio::test]
async fn a_users_token_has_an_end_only_where_it_has_a_lifetime() {
    let scene = Scene::start().await;
    let user = caveat(Kind::UserId(proto::UserId { id: "u1".to_owned() }));

    let endless = scene.mint(for_user(None)).await.unwrap();
    assert_eq!(endless.caveats, [user]);
    assert_eq!(endless.expires_at, None);
    assert_eq!((endless.publisher_id.as_str(), endless.identity), ("", None));

    let hour = scene.mint(for_user(Some(Duration::from_secs(3600)))).await.unwrap();
    assert_eq!(hour.caveats.len(), 2);
    assert_eq!(hour.expires_at.unwrap().seconds, scene.now() + 1 + 3600);

    scene.clock.advance(Duration::from_secs(3601));
    for (token, expected) in [(&endless.token, vec![]), (&hour.token, vec!["CAVEAT_EXPIRED"])] {
        let answer = scene.verify(verifying(token)).await.unwrap();
        assert_eq!(reasons(&answer), expected);
    }
}

#[tokio::test]
async fn wanted_projects_narrow_the_token_whatever_their_spelling() {
    let scene = Scene::start().await;
    let mut request = scene.publishing("1");
    trusted(&mut request).projects = vec!["other_project".to_owned(), "unknown".to_owned()];
    let minted = scene.mint(request).await.unwrap();
    assert_eq!(minted.projects, [project("id-2", "Other.Project")]);

    let denied = scene.verify(verifying(&minted.token)).await.unwrap();
    assert_eq!(reasons(&denied), ["CAVEAT_PROJECT"]);
    let other = proto::Access { project: Some(project("id-2", "other-project")), ..upload() };
    let allowed = scene.verify(verifying_access(&minted.token, other)).await.unwrap();
    assert_eq!(allowed.verdict(), Verdict::Allowed);
}

#[tokio::test]
async fn a_token_by_reference_stays_short_and_follows_the_registration() {
    let scene = Scene::start().await;
    let mut request = scene.publishing("1");
    let publisher = &mut trusted(&mut request).candidates[0];
    publisher.projects = vec![];
    publisher.projects_at_use = true;
    let minted = scene.mint(request).await.unwrap();
    assert!(minted.token.len() < 400, "{} bytes", minted.token.len());
    assert_eq!((minted.projects.len(), minted.caveats.len()), (0, 2));

    let mut many = scene.publishing("2");
    trusted(&mut many).candidates[0].projects =
        (0..10_000).map(|at| project(&format!("id-{at}"), &format!("project-{at}"))).collect();
    let listed = scene.mint(many).await.unwrap();
    assert_eq!((listed.projects.len(), listed.caveats.len()), (0, 2));
    assert_eq!(listed.token.len(), minted.token.len());

    for (registered, expected) in [(vec!["p1"], vec![]), (vec!["p2"], vec!["CAVEAT_PUBLISHER"])] {
        let publisher_ids = registered.into_iter().map(str::to_owned).collect();
        let access = proto::Access { publisher_ids, ..upload() };
        let answer = scene.verify(verifying_access(&listed.token, access)).await.unwrap();
        assert_eq!(reasons(&answer), expected);
    }
}

#[tokio::test]
async fn a_revoked_token_ends_with_every_token_narrowed_from_it() {
    let scene = Scene::start().await;
    let minted = scene.mint(scene.publishing("1")).await.unwrap();
    let soon = scene.now() + 60;
    let narrowed = scene
        .attenuate(proto::AttenuateRequest {
            index: "pypi".to_owned(),
            token: minted.token.clone(),
            caveats: vec![caveat(Kind::Expiration(proto::Expiration {
                not_before: 0,
                expires_at: soon,
            }))],
        })
        .await
        .unwrap();
    let revoking = |target| proto::RevokeRequest {
        index: "pypi".to_owned(),
        target: Some(target),
        cause: "seen in public".to_owned(),
        ..Default::default()
    };
    let target = proto::revoke_request::Target::Token(narrowed.token.clone());
    let first = scene.revoke(revoking(target.clone())).await.unwrap();
    assert_eq!((first.token_id.as_str(), first.again), (minted.token_id.as_str(), false));
    assert!(scene.revoke(revoking(target)).await.unwrap().again);

    // The narrower token's own end does not bring the wider one back to life.
    for wait in [0, 61, 600] {
        scene.clock.advance(Duration::from_secs(wait));
        let answer = scene.verify(verifying(&minted.token)).await.unwrap();
        assert_eq!(reasons(&answer), ["TOKEN_REVOKED"], "after {wait} s");
    }

    let by_id = scene.mint(scene.publishing("2")).await.unwrap();
    let target = proto::revoke_request::Target::TokenId(by_id.token_id);
    assert!(!scene.revoke(revoking(target)).await.unwrap().again);
    let answer = scene.verify(verifying(&by_id.token)).await.unwrap();
    assert_eq!(reasons(&answer), ["TOKEN_REVOKED"]);
}

#[tokio::test]
async fn a_token_that_would_be_too_large_leaves_the_id_token_usable() {
    let scene = Scene::start().await;
    let names = (0..40).map(|at| format!("{}-{at}", "x".repeat(240)));
    let filenames = caveat(Kind::Filenames(proto::Filenames { filenames: names.collect() }));
    let request =
        proto::MintRequest { caveats: vec![filenames.clone(), filenames], ..scene.publishing("1") };
    let refused = scene.mint(request).await.unwrap_err();
    assert_eq!(refused.reason, "TOKEN_TOO_LARGE");
    assert!(scene.mint(scene.publishing("1")).await.is_ok());
}
