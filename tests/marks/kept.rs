//! Uses of tokens that the index minted itself: their caveats can be of any form
//! and in any order, so the service can't rely on having written them.

use mintage::{
    grpc::proto,
    macaroon::{Macaroon, RootKey, TokenPrefix},
};

use super::{
    support::service::{Scene, uploading, verifying},
    uses::{SPENT, ends_at, told, told_of},
};

/// A Verify of a token that the index minted itself, with these caveats, and
/// others stored.
fn kept(identifier: &str, predicates: &[&str], stored: Vec<proto::Caveat>) -> proto::VerifyRequest {
    let root_key = b"the index's own root key";
    let mut macaroon = Macaroon::mint(&RootKey::new(root_key), "index.example", identifier);
    for predicate in predicates {
        macaroon.attenuate(predicate.as_bytes()).unwrap();
    }
    let token = macaroon.write(&TokenPrefix::parse("pypi").unwrap()).unwrap();
    let mut request = verifying(&token);
    let subject = proto::Subject { kind: Some(proto::subject::Kind::UserId("u1".to_owned())) };
    let record = proto::KeptToken { root_key: root_key.to_vec(), subject: Some(subject) };
    uploading(&mut request).kept = Some(record);
    uploading(&mut request).stored_caveats = stored;
    request
}

const END: &str = "[0,2000000000,0]";

#[tokio::test]
async fn uses_of_a_kept_token_are_counted_too() {
    let scene = Scene::start().await;
    for (identifier, predicates, allowed) in [
        ("one", &[END, r#"[64,"n",1]"#][..], 1),
        ("two", &[END, r#"[64,"n",2]"#], 2),
        ("not ASCII: é", &[END, r#"[64,"n",1]"#], 1),
        ("another, not ASCII: è", &[END, r#"[64,"n",1]"#], 1),
        ("the same nonce twice", &[END, r#"[64,"n",4]"#, r#"[64,"n",4]"#], 2),
        ("the same nonce, once more than it has", &[END, r#"[64,"n",3]"#, r#"[64,"n",1]"#], 0),
        ("two nonces", &[END, r#"[64,"n",1]"#, r#"[64,"o",2]"#], 1),
        ("no use", &[END, r#"[64,"n",0]"#], 0),
        ("the most", &[END, r#"[64,"n",4294967295]"#], 6),
    ] {
        let request = kept(identifier, predicates, vec![]);
        for at in 0..6 {
            let expected = if at < allowed { "" } else { SPENT };
            assert_eq!(told_of(&scene, request.clone()).await, expected, "{identifier}: {at}");
        }
    }
}

#[tokio::test]
async fn a_count_without_an_end_before_it_is_unreadable() {
    let scene = Scene::start().await;
    let stored = || vec![ends_at(scene.now() + 60)];
    for (identifier, predicates, stored, expected) in [
        ("no end", &[r#"[64,"n",1]"#][..], vec![], "CAVEAT_UNREADABLE"),
        ("a stored end", &[r#"[64,"n",1]"#], stored(), "CAVEAT_UNREADABLE"),
        ("an end after it", &[r#"[64,"n",1]"#, END], vec![], "CAVEAT_UNREADABLE"),
        ("an end before it", &[END, r#"[64,"n",1]"#], stored(), ""),
        (
            "an old form of end before it",
            &[r#"{"nbf":0,"exp":2000000000}"#, r#"[64,"n",1]"#],
            vec![],
            "",
        ),
    ] {
        let request = kept(identifier, predicates, stored);
        assert_eq!(told_of(&scene, request).await, expected, "{identifier}");
    }
}

#[tokio::test]
async fn full_of_counts_the_service_allows_nothing_more_that_is_counted() {
    let scene = Scene::start_with("", "[store]\nmax_entries = 2\n").await;
    let token = |at: u32| kept(&at.to_string(), &[END, r#"[64,"n",1]"#], vec![]);
    for at in [1, 2] {
        assert_eq!(told_of(&scene, token(at)).await, "");
    }
    for _ in 0..2 {
        let refused = scene.verify(token(3)).await.unwrap_err();
        assert_eq!(refused.reason, "UNAVAILABLE");
        assert!(refused.retry_after.is_some());
    }
    for at in [1, 2] {
        assert_eq!(told_of(&scene, token(at)).await, SPENT, "nothing was forgotten");
    }
    let plain = scene.mint(scene.publishing("1")).await.unwrap().token;
    assert_eq!(told(&scene, &plain).await, "", "what isn't counted goes on");
}
