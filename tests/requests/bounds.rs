//! Fields at and beyond their bounds, and messages that are none.

use mintage::grpc::proto::{self, Verdict, caveat::Kind};
use tonic::Code;

use crate::{
    client_at, invalid, revoking,
    support::service::{
        Refused, Scene, WEB, caveat, for_user, project, reasons, trusted, upload, uploading,
        verifying, verifying_access,
    },
};

#[tokio::test]
async fn fields_of_the_envelope_have_their_bounds() {
    let scene = Scene::start().await;
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let mint = |id: usize, agent: usize, ip: &str| proto::MintRequest {
        request_id: "r".repeat(id),
        client: Some(proto::Client { ip: ip.to_owned(), user_agent: "a".repeat(agent) }),
        ..for_user(None)
    };
    scene.mint(mint(128, 512, "")).await.unwrap();
    invalid("a long request id", scene.mint(mint(129, 0, "")).await, "request_id");
    invalid("a long user agent", scene.mint(mint(0, 513, "")).await, "client.user_agent");
    let verify =
        |id: usize| proto::VerifyRequest { request_id: "é".repeat(id), ..verifying(&token) };
    scene.verify(verify(64)).await.unwrap();
    invalid("a long request id in Verify", scene.verify(verify(65)).await, "request_id");
    let cause =
        |bytes: usize| proto::RevokeRequest { cause: "c".repeat(bytes), ..revoking(&token) };
    invalid("a long cause", scene.revoke(cause(257)).await, "cause");
    scene.revoke(cause(256)).await.unwrap();

    for ip in ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "::", "0.0.0.0", "2001:DB8::1"] {
        scene.mint(mint(0, 0, ip)).await.unwrap_or_else(|refused| panic!("{ip}: {refused:?}"));
    }
    for ip in [
        " ",
        "192.0.2",
        "192.0.2.7 ",
        "192.0.2.7:443",
        "192.0.2.07",
        "192.0.2.256",
        "192.0.2.0/24",
        "0xc0000207",
        "[2001:db8::1]",
        "fe80::1%eth0",
        "localhost",
        "192.0.2.7\0",
        "192.0.2.7, 192.0.2.8",
    ] {
        invalid(ip, scene.mint(mint(0, 0, ip)).await, "client.ip");
        let verify = proto::VerifyRequest { client: client_at(ip), ..verifying(&token) };
        invalid(ip, scene.verify(verify).await, "client.ip");
        let revoke = proto::RevokeRequest { client: client_at(ip), ..revoking(&token) };
        invalid(ip, scene.revoke(revoke).await, "client.ip");
    }
}

#[tokio::test]
async fn a_oneof_without_a_choice_is_told_by_its_name() {
    let scene = Scene::start().await;
    let index = || "pypi".to_owned();
    let mint = proto::MintRequest { index: index(), ..Default::default() };
    invalid("Mint", scene.mint(mint).await, "subject");
    let verify = proto::VerifyRequest { index: index(), ..Default::default() };
    invalid("Verify", scene.verify(verify).await, "credential");
    let revoke = proto::RevokeRequest { index: index(), ..Default::default() };
    invalid("Revoke", scene.revoke(revoke).await, "target");
    let attenuate = proto::AttenuateRequest { index: index(), ..Default::default() };
    invalid("Attenuate", scene.attenuate(attenuate).await, "caveats");
    let none = proto::MintRequest { caveats: vec![proto::Caveat { kind: None }], ..for_user(None) };
    invalid("a caveat of no kind", scene.mint(none).await, "caveats[0]");
    let mut request = scene.publishing("1");
    trusted(&mut request).candidates[0].identity = None;
    let field = "trusted_publishing.candidates[0].identity";
    invalid("a publisher without an identity", scene.mint(request).await, field);
    for id in ["", "0"] {
        let target = proto::revoke_request::Target::TokenId(id.repeat(345));
        let revoke =
            proto::RevokeRequest { index: index(), target: Some(target), ..Default::default() };
        invalid("a token id", scene.revoke(revoke).await, "token_id");
    }
}

#[tokio::test]
async fn ids_are_1_to_128_characters_of_printable_ascii() {
    let scene = Scene::start().await;
    let (longest, too_long) = ("i".repeat(128), "i".repeat(129));
    let good =
        [longest.as_str(), "1", " ", "~", "a b.c:d/e\"", "0190f6c2-7b1e-7cc3-8f4a-0242ac120002"];
    let bad = ["", too_long.as_str(), "é", "a\n", "a\0", "\u{7f}", "１"];

    let user = |id: &str| proto::MintRequest {
        subject: Some(proto::mint_request::Subject::User(proto::User { user_id: id.to_owned() })),
        ..for_user(None)
    };
    let publisher = |id: &str, jti: &str| {
        let mut request = scene.publishing(jti);
        trusted(&mut request).candidates[0].id = id.to_owned();
        request
    };
    let of_project = |id: &str, jti: &str| {
        let mut request = scene.publishing(jti);
        trusted(&mut request).candidates[0].projects[1].id = id.to_owned();
        request
    };
    for (at, id) in good.into_iter().enumerate() {
        let minted = scene.mint(user(id)).await.unwrap();
        assert!(minted.token_id.ends_with(&format!(".u:{id}")), "{id}");
        let answer = scene.verify(verifying(&minted.token)).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Allowed, "{id}");
        let minted = scene.mint(publisher(id, &format!("p{at}"))).await.unwrap();
        assert_eq!(minted.publisher_id, id);
        let access = proto::Access { publisher_ids: vec![id.to_owned()], ..upload() };
        let answer = scene.verify(verifying_access(&minted.token, access)).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Allowed, "{id}: {:?}", answer.denials);
        let minted = scene.mint(of_project(id, &format!("q{at}"))).await.unwrap();
        let access = proto::Access { project: Some(project(id, "other-project")), ..upload() };
        let answer = scene.verify(verifying_access(&minted.token, access)).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Allowed, "{id}: {:?}", answer.denials);
    }
    for id in bad {
        let candidate = "trusted_publishing.candidates[0]";
        invalid(id, scene.mint(user(id)).await, "user.user_id");
        invalid(id, scene.mint(publisher(id, "x")).await, &format!("{candidate}.id"));
        let answer = scene.mint(of_project(id, "x")).await;
        invalid(id, answer, &format!("{candidate}.projects[1].id"));
        let access = proto::Access { publisher_ids: vec![id.to_owned()], ..upload() };
        let answer = scene.verify(verifying_access("pypi-x", access)).await;
        invalid(id, answer, "upload_token.access.publisher_ids[0]");
        if !id.is_empty() {
            let access = proto::Access { project: Some(project(id, "sample")), ..upload() };
            let answer = scene.verify(verifying_access("pypi-x", access)).await;
            invalid(id, answer, "upload_token.access.project.id");
        }
        let stranger = proto::MintRequest {
            caveats: vec![caveat(Kind::UserId(proto::UserId { id: id.to_owned() }))],
            ..for_user(None)
        };
        invalid(id, scene.mint(stranger).await, "caveats[0]");
    }
}

#[tokio::test]
async fn a_lifetime_is_a_positive_time_within_bounds() {
    let scene = Scene::start().await;
    for (seconds, nanos, good) in [
        (900, 0, true),
        (21_600, 0, true),
        (900, 1, true),
        (899, 999_999_999, false),
        (21_600, 1, false),
        (0, 0, false),
        (-900, 0, false),
        (901, -1, false),
        (899, 1_000_000_000, false),
        (i64::MAX, 0, false),
        (i64::MIN, i32::MIN, false),
    ] {
        let mut request = scene.publishing(&format!("{seconds}/{nanos}"));
        request.lifetime = Some(prost_types::Duration { seconds, nanos });
        let answer = scene.mint(request).await;
        match answer {
            Ok(minted) => {
                assert!(good, "{seconds}, {nanos}");
                let end = scene.now() + 1 + seconds + i64::from(nanos > 0);
                // PEP 807's bound is one of the end, too.
                let end = end.min(scene.now() + 21_600);
                assert_eq!(minted.expires_at.unwrap().seconds, end);
            }
            refused => {
                assert!(!good, "{seconds}, {nanos}: {refused:?}");
                invalid("lifetime", refused, "lifetime");
            }
        }
    }
}

#[tokio::test]
async fn an_access_must_make_sense() {
    let scene = Scene::start().await;
    let access = |change: &dyn Fn(&mut proto::Access)| {
        let mut access = upload();
        change(&mut access);
        verifying_access("pypi-x", access)
    };
    for (name, request, field) in [
        (
            "a name that is none",
            access(&|access| access.project = Some(project("1", "-"))),
            "project.name",
        ),
        ("no name", access(&|access| access.project = Some(project("1", ""))), "project.name"),
        ("a version that is none", access(&|access| access.version = "one".to_owned()), "version"),
        ("an endless version", access(&|access| access.version = "v".repeat(99_999)), "version"),
        ("a long file", access(&|access| access.filename = "f".repeat(256)), "filename"),
        ("a short digest", access(&|access| access.sha256 = vec![0; 31]), "sha256"),
        ("a long digest", access(&|access| access.sha256 = vec![0; 33]), "sha256"),
        ("a digest in hexadecimal", access(&|access| access.sha256 = vec![b'a'; 64]), "sha256"),
        ("an action in capitals", access(&|access| access.action = "Upload".to_owned()), "action"),
        ("a long action", access(&|access| access.action = "a".repeat(65)), "action"),
    ] {
        invalid(name, scene.verify(request).await, &format!("upload_token.access.{field}"));
    }
    // No access at all is an upload of nothing in particular.
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let mut request = verifying(&token);
    uploading(&mut request).access = None;
    assert_eq!(scene.verify(request).await.unwrap().verdict(), Verdict::Allowed);
    let token = scene.mint(scene.publishing("1")).await.unwrap().token;
    let mut request = verifying(&token);
    uploading(&mut request).access = None;
    let answer = scene.verify(request).await.unwrap();
    assert_eq!(reasons(&answer), ["CAVEAT_PUBLISHER", "CAVEAT_PROJECT"]);
}

#[tokio::test]
async fn a_message_that_is_too_large_or_no_message_is_told_like_any_other_fault() {
    let scene = Scene::start().await;
    let sized =
        |bytes: usize| proto::MintRequest { features: vec!["f".repeat(bytes)], ..for_user(None) };
    let fits = scene.mint(sized(4 * 1024 * 1024 - 100)).await.unwrap_err();
    assert_eq!((fits.code, fits.reason.as_str()), (Code::InvalidArgument, "FEATURE_UNSUPPORTED"));
    invalid("more than 4 MiB", scene.mint(sized(4 * 1024 * 1024)).await, "");
    invalid("9 MiB", scene.mint(sized(9 * 1024 * 1024)).await, "");

    // Another message: its field 1 is a number, and ours a text.
    invalid(
        "another message",
        raw(&scene, prost_types::Timestamp { seconds: 5, nanos: 5 }).await,
        "",
    );
    // A text that is no UTF-8.
    invalid("no UTF-8", raw(&scene, vec![0xff_u8; 8]).await, "");
    // The connection lives on.
    scene.mint(for_user(None)).await.unwrap();
}

/// A Mint of which the service gets another message than it expects.
async fn raw(
    scene: &Scene,
    message: impl prost::Message + 'static,
) -> Result<proto::MintResponse, Refused> {
    let address = format!("http://{}", scene.server.grpc_address());
    let channel = tonic::transport::Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(message);
    let bearer = format!("Bearer {WEB}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let path = http::uri::PathAndQuery::from_static("/mintage.v1.TokenService/Mint");
    let answer = grpc.unary(request, path, tonic_prost::ProstCodec::default()).await;
    answer.map(tonic::Response::into_inner).map_err(Refused::from)
}
