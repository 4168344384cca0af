//! Caveats asked for and stored, of every kind.

use mintage::grpc::proto::{self, Verdict, caveat::Kind};
use tonic::Code;

use crate::{
    attenuating, invalid,
    support::{
        issuer::TestIssuer,
        service::{BEGIN, Scene, caveat, configuration, for_user, reasons, uploading, verifying},
    },
};

/// A scene whose index offers no extended caveats, and no single use.
async fn plain_scene() -> Scene {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", "")
        .replace("extended_caveats = true", "extended_caveats = false");
    Scene::start_at(issuer, &toml, BEGIN).await
}

/// Every kind of caveat that can be asked for, with what comes of it.
fn askable() -> Vec<(Kind, Kind)> {
    let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let same = |kind: Kind| (kind.clone(), kind);
    vec![
        same(Kind::Expiration(proto::Expiration { not_before: -1, expires_at: i64::MAX })),
        (
            Kind::ProjectNames(proto::ProjectNames { names: strings(&["Zope.Interface", "a"]) }),
            Kind::ProjectNames(proto::ProjectNames { names: strings(&["zope-interface", "a"]) }),
        ),
        same(Kind::ProjectIds(proto::ProjectIds { ids: strings(&["1", "a \"b\""]) })),
        same(Kind::UserId(proto::UserId { id: "u2".to_owned() })),
        same(Kind::PublisherId(proto::PublisherId { id: "p2".to_owned() })),
        same(Kind::Versions(proto::Versions { versions: strings(&["1.0", "2.0rc1+local"]) })),
        same(Kind::Filenames(proto::Filenames { filenames: strings(&["é-1.0.whl"]) })),
        same(Kind::Filenames(proto::Filenames { filenames: vec!["f".repeat(255)] })),
        same(Kind::Digests(proto::Digests { sha256: vec![vec![7; 32], vec![0xff; 32]] })),
        (
            Kind::ClientNetworks(proto::ClientNetworks {
                networks: strings(&["10.1.2.3/8", "2001:DB8::1/32", "::ffff:192.0.2.7/120"]),
            }),
            Kind::ClientNetworks(proto::ClientNetworks {
                networks: strings(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"]),
            }),
        ),
        same(Kind::Actions(proto::Actions { actions: strings(&["upload", "yank"]) })),
    ]
}

/// Every kind of caveat that no access could ever clear.
fn unaskable() -> Vec<(&'static str, Kind)> {
    let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let names = |texts: &[&str]| Kind::ProjectNames(proto::ProjectNames { names: strings(texts) });
    let ids = |texts: &[&str]| Kind::ProjectIds(proto::ProjectIds { ids: strings(texts) });
    let versions = |texts: &[&str]| Kind::Versions(proto::Versions { versions: strings(texts) });
    let files = |texts: &[&str]| Kind::Filenames(proto::Filenames { filenames: strings(texts) });
    let digests = |sha256: Vec<Vec<u8>>| Kind::Digests(proto::Digests { sha256 });
    let networks =
        |texts: &[&str]| Kind::ClientNetworks(proto::ClientNetworks { networks: strings(texts) });
    let actions = |texts: &[&str]| Kind::Actions(proto::Actions { actions: strings(texts) });
    let interval =
        |not_before, expires_at| Kind::Expiration(proto::Expiration { not_before, expires_at });
    let long = "l".repeat(100_000);
    vec![
        ("an interval of nothing", interval(5, 5)),
        ("an interval backwards", interval(6, 5)),
        ("no names", names(&[])),
        ("a name that is none", names(&["a", "-"])),
        ("an endless name that is none", names(&[&format!("{long}-")])),
        ("a name with a line break", names(&["a\nb"])),
        ("no ids", ids(&[])),
        ("an empty id", ids(&["1", ""])),
        ("a long id", ids(&[&"i".repeat(129)])),
        ("a foreign id", ids(&["é"])),
        ("no user", Kind::UserId(proto::UserId::default())),
        ("no publisher", Kind::PublisherId(proto::PublisherId::default())),
        ("no uses", Kind::Uses(proto::Uses { count: 0, nonce: "n".to_owned() })),
        ("no versions", versions(&[])),
        ("a version that is none", versions(&["1.0", "one"])),
        ("a version with a star", versions(&["1.*"])),
        ("an empty version", versions(&[""])),
        ("an endless version", versions(&[&long])),
        ("no files", files(&[])),
        ("an empty file", files(&[""])),
        ("a path", files(&["a/b"])),
        ("a path of Windows", files(&["a\\b"])),
        ("a file with a line break", files(&["a\n"])),
        ("a file whose name is too long", files(&[&"f".repeat(256)])),
        ("no digests", digests(vec![])),
        ("a short digest", digests(vec![vec![0; 32], vec![0; 31]])),
        ("a long digest", digests(vec![vec![0; 33]])),
        ("no networks", networks(&[])),
        ("an address", networks(&["10.0.0.1"])),
        ("a prefix too long", networks(&["10.0.0.0/33"])),
        ("a network that is none", networks(&["example.org"])),
        ("an endless network", networks(&[&long])),
        ("no actions", actions(&[])),
        ("an empty action", actions(&[""])),
        ("an action in capitals", actions(&["Upload"])),
        ("a long action", actions(&[&"a".repeat(65)])),
        ("an unreadable one", Kind::Unreadable(b"[0,2,1]".to_vec())),
    ]
}

#[tokio::test]
async fn every_caveat_can_be_asked_for_in_its_normal_form() {
    let scene = Scene::start().await;
    let plain = scene.mint(for_user(None)).await.unwrap();
    for (asked, written) in askable() {
        let request = proto::MintRequest { caveats: vec![caveat(asked.clone())], ..for_user(None) };
        let minted = scene.mint(request).await.unwrap();
        assert_eq!(minted.caveats[1..], [caveat(written.clone())]);
        let request = attenuating(&plain.token, vec![caveat(asked)]);
        let narrowed = scene.attenuate(request).await.unwrap();
        assert_eq!(narrowed.caveats[1..], [caveat(written.clone())]);
        for token in [&minted.token, &narrowed.token] {
            let facts = scene.verify(verifying(token)).await.unwrap().token.unwrap();
            assert_eq!(facts.caveats[1..], [caveat(written.clone())]);
        }
    }
}

#[tokio::test]
async fn a_caveat_that_nothing_could_clear_cannot_be_asked_for() {
    let scene = Scene::start().await;
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let good = || caveat(Kind::ProjectIds(proto::ProjectIds { ids: vec!["1".to_owned()] }));
    for (name, kind) in unaskable() {
        let caveats = || vec![good(), caveat(kind.clone())];
        let mint = proto::MintRequest { caveats: caveats(), ..for_user(None) };
        invalid(name, scene.mint(mint).await, "caveats[1]");
        let mint = proto::MintRequest { caveats: caveats(), ..scene.publishing("1") };
        invalid(name, scene.mint(mint).await, "caveats[1]");
        invalid(name, scene.attenuate(attenuating(&token, caveats())).await, "caveats[1]");
    }
}

#[tokio::test]
async fn at_most_64_caveats_can_be_asked_for_and_128_stored() {
    let scene = Scene::start().await;
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let some = |count: usize| {
        let one = caveat(Kind::ProjectIds(proto::ProjectIds { ids: vec!["id-1".to_owned()] }));
        vec![one; count]
    };
    let mint = |count| proto::MintRequest { caveats: some(count), ..for_user(None) };
    assert_eq!(scene.mint(mint(64)).await.unwrap().caveats.len(), 65);
    invalid("65 in Mint", scene.mint(mint(65)).await, "caveats");
    let narrowed = scene.attenuate(attenuating(&token, some(64))).await.unwrap().token;
    invalid("65 in Attenuate", scene.attenuate(attenuating(&token, some(65))).await, "caveats");
    // 1 and 64 and 63 are 128; one more is too large a token.
    let full = scene.attenuate(attenuating(&narrowed, some(63))).await.unwrap();
    assert_eq!(full.caveats.len(), 128);
    let refused = scene.attenuate(attenuating(&full.token, some(1))).await.unwrap_err();
    let seen = (refused.code, refused.reason.as_str(), refused.field.as_str());
    assert_eq!(seen, (Code::InvalidArgument, "TOKEN_TOO_LARGE", "caveats"));
    assert_eq!(scene.verify(verifying(&full.token)).await.unwrap().verdict(), Verdict::Allowed);

    let stored = |count| {
        let mut request = verifying(&token);
        uploading(&mut request).stored_caveats = some(count);
        request
    };
    assert_eq!(scene.verify(stored(128)).await.unwrap().verdict(), Verdict::Allowed);
    invalid("129 stored", scene.verify(stored(129)).await, "upload_token.stored_caveats");
}

#[tokio::test]
async fn a_token_that_would_be_too_large_names_the_caveats() {
    let scene = Scene::start().await;
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let names = (0..2_000).map(|at| format!("project-{at}")).collect();
    let caveats = vec![caveat(Kind::ProjectNames(proto::ProjectNames { names }))];
    let mint = proto::MintRequest { caveats: caveats.clone(), ..scene.publishing("1") };
    for refused in [
        scene.mint(mint).await.unwrap_err(),
        scene
            .mint(proto::MintRequest { caveats: caveats.clone(), ..for_user(None) })
            .await
            .unwrap_err(),
        scene.attenuate(attenuating(&token, caveats)).await.unwrap_err(),
    ] {
        let seen = (refused.code, refused.reason.as_str(), refused.field.as_str());
        assert_eq!(seen, (Code::InvalidArgument, "TOKEN_TOO_LARGE", "caveats"), "{refused:?}");
    }
}

#[tokio::test]
async fn uses_need_an_end_and_cannot_be_stored() {
    let scene = Scene::start().await;
    let uses = || caveat(Kind::Uses(proto::Uses { count: 1, nonce: "mine".to_owned() }));
    let end = || {
        let end = proto::Expiration { not_before: 0, expires_at: scene.now() + 60 };
        caveat(Kind::Expiration(end))
    };
    let mint = |caveats| proto::MintRequest { caveats, ..for_user(None) };
    invalid("no end in Mint", scene.mint(mint(vec![uses()])).await, "caveats");
    let single =
        proto::MintRequest { features: vec!["single-use-token".to_owned()], ..for_user(None) };
    invalid("a single use without end", scene.mint(single).await, "caveats");
    let endless = scene.mint(for_user(None)).await.unwrap().token;
    let request = attenuating(&endless, vec![uses()]);
    invalid("no end in Attenuate", scene.attenuate(request).await, "caveats");

    // The end goes before the count, wherever it was asked for, and the nonce is ours.
    for minted in [
        scene.mint(mint(vec![uses(), end()])).await.unwrap().token,
        scene.attenuate(attenuating(&endless, vec![uses(), end()])).await.unwrap().token,
    ] {
        let answer = scene.verify(verifying(&minted)).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Allowed, "{:?}", answer.denials);
        let facts = answer.token.unwrap();
        let Some(Kind::Uses(counted)) = &facts.caveats[2].kind else { panic!("{facts:?}") };
        assert!(counted.count == 1 && counted.nonce != "mine" && counted.nonce.len() == 22);
        let again = scene.verify(verifying(&minted)).await.unwrap();
        assert_eq!(reasons(&again), ["CAVEAT_USES_SPENT"]);
    }
    let mut request = verifying(&endless);
    uploading(&mut request).stored_caveats = vec![end(), uses()];
    invalid("stored uses", scene.verify(request).await, "upload_token.stored_caveats[1].uses");
    let mut request = verifying(&endless);
    uploading(&mut request).stored_caveats = vec![proto::Caveat { kind: None }];
    invalid("a stored nothing", scene.verify(request).await, "upload_token.stored_caveats[0]");
}

#[tokio::test]
async fn stored_caveats_restrict_in_whatever_form_they_are() {
    let scene = Scene::start().await;
    let token = scene.mint(for_user(None)).await.unwrap().token;
    for (name, kind, expected) in [
        ("an empty user is any user", Kind::UserId(proto::UserId::default()), ""),
        ("that user", Kind::UserId(proto::UserId { id: "u1".to_owned() }), ""),
        (
            "no projects",
            Kind::ProjectNames(proto::ProjectNames { names: vec![] }),
            "CAVEAT_PROJECT",
        ),
        (
            "a name as the index wrote it, which is compared as written",
            Kind::ProjectNames(proto::ProjectNames { names: vec!["Sample".to_owned()] }),
            "CAVEAT_PROJECT",
        ),
        (
            "a network that is none",
            Kind::ClientNetworks(proto::ClientNetworks { networks: vec!["x".to_owned()] }),
            "CAVEAT_CLIENT_NETWORK",
        ),
        (
            "a version that is none",
            Kind::Versions(proto::Versions { versions: vec!["one".to_owned()] }),
            "CAVEAT_VERSION",
        ),
        (
            "a short digest",
            Kind::Digests(proto::Digests { sha256: vec![vec![0xab]] }),
            "CAVEAT_DIGEST",
        ),
        ("the digest", Kind::Digests(proto::Digests { sha256: vec![vec![0xab; 32]] }), ""),
        ("an unreadable one", Kind::Unreadable(b"[1,[\"sample\"]]".to_vec()), "CAVEAT_UNREADABLE"),
    ] {
        let mut request = verifying(&token);
        uploading(&mut request).stored_caveats = vec![caveat(kind)];
        let answer = scene.verify(request).await.unwrap();
        assert_eq!(reasons(&answer).join(" "), expected, "{name}");
        // Not the token's own, so no fact of it.
        assert_eq!(answer.token.unwrap().caveats.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_index_without_extended_caveats_neither_gives_nor_takes_them() {
    let scene = plain_scene().await;
    let token = scene.mint(for_user(None)).await.unwrap().token;
    let extended = |kind: &Kind| {
        !matches!(
            kind,
            Kind::Expiration(_)
                | Kind::ProjectNames(_)
                | Kind::ProjectIds(_)
                | Kind::UserId(_)
                | Kind::PublisherId(_)
        )
    };
    for (asked, _) in askable() {
        let expected = if extended(&asked) { "CAVEAT_NOT_OFFERED" } else { "" };
        let caveats = || vec![caveat(asked.clone())];
        let mint = proto::MintRequest { caveats: caveats(), ..for_user(None) };
        let told = scene.mint(mint).await.err().map(|refused| refused.reason).unwrap_or_default();
        assert_eq!(told, expected, "{asked:?}");
        let request = attenuating(&token, caveats());
        let told = scene.attenuate(request).await.err().map(|it| it.reason).unwrap_or_default();
        assert_eq!(told, expected, "{asked:?}");
        let mut request = verifying(&token);
        uploading(&mut request).stored_caveats = caveats();
        let told = reasons(&scene.verify(request).await.unwrap()).join(" ");
        assert_eq!(told == "CAVEAT_NOT_OFFERED", extended(&asked), "{asked:?}: {told}");
    }
    let single = proto::MintRequest {
        features: vec!["single-use-token".to_owned()],
        ..scene.publishing("1")
    };
    assert_eq!(scene.mint(single).await.unwrap_err().reason, "FEATURE_UNSUPPORTED");
}
