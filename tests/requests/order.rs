//! In which order a call is checked: the caller, the index, the request, the
//! credential.

use std::time::Duration;

use mintage::grpc::proto::{self, Verdict, caveat::Kind};

use crate::{
    attenuating, client_at, revoking,
    support::service::{
        Refused, SCANNER, Scene, WEB, caveat, client, for_user, reasons, sha256_hex, uploading,
        verifying,
    },
};

/// Two more callers, and one more index.
async fn scene_of_two_indexes() -> Scene {
    let sections = format!(
        r#"
        [[callers]]
        name = "reader"
        token_sha256 = "{}"
        may = ["verify"]

        [[callers]]
        name = "elsewhere"
        token_sha256 = "{}"
        may = ["mint-publisher", "mint-user", "verify", "attenuate", "revoke"]
        indexes = ["other"]

        [indexes.other]
        audience = "other"
        location = "other.example"
        prefix = "other"
        "#,
        sha256_hex("reader"),
        sha256_hex("elsewhere")
    );
    Scene::start_with("", &sections).await
}

/// A call of any of the four, to be made by any caller.
#[derive(Clone)]
enum Call {
    Mint(proto::MintRequest),
    Verify(proto::VerifyRequest),
    Attenuate(proto::AttenuateRequest),
    Revoke(proto::RevokeRequest),
}

impl Call {
    /// Makes the call; the answer is `""` or the reason, and the field at fault.
    async fn by(self, scene: &Scene, token: Option<&str>) -> (String, String) {
        let mut client = client(&scene.server, token).await;
        let refused = match self {
            Self::Mint(request) => client.mint(request).await.err(),
            Self::Verify(request) => client.verify(request).await.err(),
            Self::Attenuate(request) => client.attenuate(request).await.err(),
            Self::Revoke(request) => client.revoke(request).await.err(),
        };
        refused.map(Refused::from).map_or_else(Default::default, |it| (it.reason, it.field))
    }

    fn index(&mut self) -> &mut String {
        match self {
            Self::Mint(request) => &mut request.index,
            Self::Verify(request) => &mut request.index,
            Self::Attenuate(request) => &mut request.index,
            Self::Revoke(request) => &mut request.index,
        }
    }
}

#[tokio::test]
async fn the_caller_is_checked_first_then_the_index_the_request_and_the_credential() {
    let scene = scene_of_two_indexes().await;
    let bad_caveat = || vec![caveat(Kind::Versions(proto::Versions { versions: vec![] }))];
    let mint = proto::MintRequest {
        index: "nowhere".to_owned(),
        caveats: bad_caveat(),
        features: vec!["no-use-token".to_owned()],
        ..scene.publishing_with("not.an.id-token".to_owned())
    };
    let user =
        proto::MintRequest { index: "nowhere".to_owned(), caveats: bad_caveat(), ..for_user(None) };
    let mut verify = verifying("nothing");
    verify.index = "nowhere".to_owned();
    uploading(&mut verify).access.as_mut().unwrap().version = "one".to_owned();
    let attenuate = attenuating("nothing", bad_caveat());
    let revoke = proto::RevokeRequest { client: client_at("here"), ..revoking("nothing") };
    for (name, call, field) in [
        ("Mint", Call::Mint(mint.clone()), "caveats[0]"),
        ("Mint for a user", Call::Mint(user), "caveats[0]"),
        ("Verify", Call::Verify(verify), "upload_token.access.version"),
        ("Attenuate", Call::Attenuate(attenuate), "caveats[0]"),
        ("Revoke", Call::Revoke(revoke), "client.ip"),
    ] {
        let mut call = call;
        "nowhere".clone_into(call.index());
        let told = async |call: &Call, token| call.clone().by(&scene, token).await;
        let caller = |reason: &str| (reason.to_owned(), String::new());
        assert_eq!(told(&call, None).await, caller("CALLER_UNKNOWN"), "{name}");
        assert_eq!(told(&call, Some("wrong")).await, caller("CALLER_UNKNOWN"), "{name}");
        // A right that is missing is heard of before the index…
        let other = if name == "Revoke" { "reader" } else { SCANNER };
        assert_eq!(told(&call, Some(other)).await, caller("CALLER_FORBIDDEN"), "{name}");
        let unknown = ("INDEX_UNKNOWN".to_owned(), "index".to_owned());
        assert_eq!(told(&call, Some(WEB)).await, unknown, "{name}");
        assert_eq!(told(&call, Some("elsewhere")).await, unknown, "{name}");
        "pypi".clone_into(call.index());
        // …and an index that isn't the caller's before the request.
        assert_eq!(told(&call, Some("elsewhere")).await, caller("CALLER_FORBIDDEN"), "{name}");
        let request = ("REQUEST_INVALID".to_owned(), field.to_owned());
        assert_eq!(told(&call, Some(WEB)).await, request, "{name}");
    }

    // What the index doesn't offer comes before the credential too.
    let mut mint = proto::MintRequest { index: "pypi".to_owned(), caveats: vec![], ..mint };
    let refused = scene.mint(mint.clone()).await.unwrap_err();
    assert_eq!(refused.reason, "FEATURE_UNSUPPORTED");
    mint.features.clear();
    mint.lifetime = Some(Duration::from_secs(60).try_into().unwrap());
    assert_eq!(scene.mint(mint.clone()).await.unwrap_err().field, "lifetime");
    mint.lifetime = None;
    assert_eq!(scene.mint(mint).await.unwrap_err().reason, "ID_TOKEN_MALFORMED");
    assert_eq!(scene.issuer.discoveries(), 0);
}

#[tokio::test]
async fn each_call_needs_its_own_right() {
    let mut sections = String::new();
    let rights = ["mint-publisher", "mint-user", "verify", "attenuate", "revoke"];
    for right in rights {
        sections += &format!(
            "[[callers]]\nname = {right:?}\ntoken_sha256 = {:?}\nmay = [{right:?}]\n",
            sha256_hex(right)
        );
    }
    let scene = Scene::start_with("", &sections).await;
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let narrower = vec![caveat(Kind::ProjectIds(proto::ProjectIds { ids: vec!["1".to_owned()] }))];
    let calls = [
        Call::Mint(scene.publishing("1")),
        Call::Mint(for_user(None)),
        Call::Verify(verifying(&token)),
        Call::Attenuate(attenuating(&token, narrower)),
        Call::Revoke(revoking(&token)),
    ];
    for (needed, call) in rights.iter().zip(calls) {
        for right in rights {
            let expected = if right == *needed { "" } else { "CALLER_FORBIDDEN" };
            let (reason, _) = call.clone().by(&scene, Some(right)).await;
            assert_eq!(reason, expected, "{needed} by one who may {right}");
        }
    }
    // A Mint for nobody is told so to whoever may mint for anybody.
    let nobody = Call::Mint(proto::MintRequest { index: "pypi".to_owned(), ..Default::default() });
    for right in rights {
        let expected =
            if right.starts_with("mint") { "REQUEST_INVALID" } else { "CALLER_FORBIDDEN" };
        assert_eq!(nobody.clone().by(&scene, Some(right)).await.0, expected, "{right}");
    }
}

#[tokio::test]
async fn an_empty_index_is_the_only_one() {
    let one = Scene::start().await;
    let two = scene_of_two_indexes().await;
    let unnamed = || proto::MintRequest { index: String::new(), ..for_user(None) };
    let token = one.mint(unnamed()).await.unwrap().token;
    let verify = proto::VerifyRequest { index: String::new(), ..verifying(&token) };
    assert_eq!(one.verify(verify).await.unwrap().verdict(), Verdict::Allowed);
    // By any name it is the same index: root keys depend on the name.
    assert_eq!(one.verify(verifying(&token)).await.unwrap().verdict(), Verdict::Allowed);
    let refused = two.mint(unnamed()).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.field.as_str()), ("INDEX_UNKNOWN", "index"));
    for near in ["PyPI", "pypi ", "pypi\0", "pyp", "pypi.", "../pypi"] {
        let request = proto::MintRequest { index: near.to_owned(), ..for_user(None) };
        assert_eq!(one.mint(request).await.unwrap_err().reason, "INDEX_UNKNOWN", "{near:?}");
    }
}

#[tokio::test]
async fn a_token_of_one_index_is_none_of_another() {
    let scene = scene_of_two_indexes().await;
    let ours = scene.mint(for_user(None)).await.unwrap().token;
    let at_other =
        |token: &str| proto::VerifyRequest { index: "other".to_owned(), ..verifying(token) };
    let told = scene.verify(at_other(&ours)).await.unwrap();
    assert_eq!(reasons(&told), ["TOKEN_MALFORMED"]);
    let renamed = ours.replace("pypi-", "other-");
    let told = scene.verify(at_other(&renamed)).await.unwrap();
    assert_eq!((reasons(&told), told.token), (vec!["TOKEN_SIGNATURE".to_owned()], None));
}
