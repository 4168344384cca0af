//! Tokens that the index minted itself and keeps the root keys of.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mintage::{
    grpc::proto::{self, Verdict},
    macaroon::{Macaroon, RootKey, TokenPrefix},
};

use crate::{
    invalid, revoking,
    support::service::{Scene, reasons, uploading, verifying},
};

fn prefix() -> TokenPrefix {
    TokenPrefix::parse("pypi").unwrap()
}

#[tokio::test]
async fn a_kept_token_needs_its_root_key_and_its_subject() {
    let scene = Scene::start().await;
    let subject = |kind: proto::subject::Kind| Some(proto::Subject { kind: Some(kind) });
    let user = |id: &str| subject(proto::subject::Kind::UserId(id.to_owned()));
    let publisher = |id: &str| subject(proto::subject::Kind::PublisherId(id.to_owned()));
    let asking = |root_key: usize, token_key: usize, subject: Option<proto::Subject>| {
        let macaroon = Macaroon::mint(&RootKey::new(&vec![7; token_key]), "pypi.org", "an uuid");
        let mut request = verifying(&macaroon.write(&prefix()).unwrap());
        uploading(&mut request).kept =
            Some(proto::KeptToken { root_key: vec![7; root_key], subject });
        request
    };
    for length in [1, 32, 64] {
        let answer = scene.verify(asking(length, length, user("u9"))).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Allowed, "{length}: {:?}", answer.denials);
        let facts = answer.token.unwrap();
        assert_eq!((facts.token_id.as_str(), facts.key_id.as_str()), ("an uuid", ""));
        assert_eq!((facts.minted_at, facts.subject), (None, user("u9")));
    }
    let wrong = scene.verify(asking(32, 31, user("u9"))).await.unwrap();
    assert_eq!((reasons(&wrong), wrong.token), (vec!["TOKEN_SIGNATURE".to_owned()], None));
    let empty = Some(proto::Subject { kind: None });
    for (name, root_key, subject, field) in [
        ("no key", 0, user("u"), "root_key"),
        ("a long key", 65, user("u"), "root_key"),
        ("no subject", 32, None, "subject"),
        ("an empty subject", 32, empty, "subject"),
        ("an empty user", 32, user(""), "subject.user_id"),
        ("a long publisher", 32, publisher(&"p".repeat(129)), "subject.publisher_id"),
    ] {
        let request = asking(root_key, 32, subject.clone());
        let answer = scene.verify(request).await;
        invalid(name, answer, &format!("upload_token.kept.{field}"));
        let kept = Some(proto::KeptToken { root_key: vec![7; root_key], subject });
        let revoke = proto::RevokeRequest { kept, ..revoking("pypi-x") };
        invalid(name, scene.revoke(revoke).await, &format!("kept.{field}"));
    }
}

#[tokio::test]
async fn a_kept_token_is_revoked_by_its_identifier_whatever_that_is() {
    let scene = Scene::start().await;
    let kept = Some(proto::KeptToken {
        root_key: vec![7; 32],
        subject: Some(proto::Subject { kind: Some(proto::subject::Kind::UserId("u9".to_owned())) }),
    });
    for (identifier, token_id) in [
        ("8c7d0cd6-5d1e-4c9c-9f1d-6ab1d1d6f0d5", "8c7d0cd6-5d1e-4c9c-9f1d-6ab1d1d6f0d5"),
        ("é", &URL_SAFE_NO_PAD.encode("é")),
    ] {
        let macaroon = Macaroon::mint(&RootKey::new(&[7; 32]), "pypi.org", identifier);
        let token = macaroon.write(&prefix()).unwrap();
        let unknown = scene.revoke(revoking(&token)).await.unwrap_err();
        assert_eq!(unknown.reason, "TOKEN_KEY_UNKNOWN", "without the record");
        let request = proto::RevokeRequest { kept: kept.clone(), ..revoking(&token) };
        assert_eq!(scene.revoke(request).await.unwrap().token_id, token_id);
        let mut verify = verifying(&token);
        uploading(&mut verify).kept.clone_from(&kept);
        let answer = scene.verify(verify).await.unwrap();
        assert_eq!(reasons(&answer), ["TOKEN_REVOKED"]);
        assert_eq!(answer.token.unwrap().token_id, token_id);
    }
}
