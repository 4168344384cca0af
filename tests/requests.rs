//! Requests at and beyond their bounds, through the real port: in which order
//! they are checked, and which field is named where one is at fault.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails panics"
)]

mod support;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mintage::{
    grpc::proto::{self, Verdict, caveat::Kind},
    macaroon::{Macaroon, RootKey, TokenPrefix},
};
use support::{
    issuer::TestIssuer,
    service::{
        BEGIN, Refused, SCANNER, Scene, WEB, caveat, client, configuration, for_user,
        github_publisher, project, reasons, sha256_hex, trusted, upload, uploading, verifying,
        verifying_access,
    },
};
use tokio::time::timeout;
use tonic::Code;

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

/// A scene whose index offers no extended caveats, and no single use.
async fn plain_scene() -> Scene {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", "")
        .replace("extended_caveats = true", "extended_caveats = false");
    Scene::start_at(issuer, &toml, BEGIN).await
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

fn attenuating(token: &str, caveats: Vec<proto::Caveat>) -> proto::AttenuateRequest {
    proto::AttenuateRequest { index: "pypi".to_owned(), token: token.to_owned(), caveats }
}

fn revoking(token: &str) -> proto::RevokeRequest {
    proto::RevokeRequest {
        index: "pypi".to_owned(),
        target: Some(proto::revoke_request::Target::Token(token.to_owned())),
        ..Default::default()
    }
}

fn client_at(ip: &str) -> Option<proto::Client> {
    Some(proto::Client { ip: ip.to_owned(), user_agent: String::new() })
}

fn prefix() -> TokenPrefix {
    TokenPrefix::parse("pypi").unwrap()
}

/// A refusal of a request, and the field that is at fault.
fn invalid<T: std::fmt::Debug>(name: &str, answer: Result<T, Refused>, field: &str) {
    let refused = answer.expect_err(name);
    let seen = (refused.code, refused.reason.as_str(), refused.field.as_str());
    assert_eq!(seen, (Code::InvalidArgument, "REQUEST_INVALID", field), "{name}: {refused:?}");
    assert!(!refused.message.is_empty() && refused.message.len() < 400, "{name}: {refused:?}");
    assert!(!refused.message.contains(char::is_control), "{name}: {refused:?}");
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
async fn candidates_and_their_projects_are_counted() {
    let scene = Scene::start().await;
    let url = scene.issuer.url();
    let candidates = |count: usize, jti: &str| {
        let mut request = scene.publishing(jti);
        let stranger = proto::Publisher {
            issuer: "https://gitlab.example".to_owned(),
            ..github_publisher(&url, "p0")
        };
        let publishing = trusted(&mut request);
        publishing.candidates = vec![stranger; count - 1];
        publishing.candidates.push(github_publisher(&url, "p1"));
        request
    };
    assert_eq!(scene.mint(candidates(256, "1")).await.unwrap().publisher_id, "p1");
    let field = "trusted_publishing.candidates";
    invalid("257 candidates", scene.mint(candidates(257, "2")).await, field);

    let projects = |count: usize, jti: &str| {
        let mut request = scene.publishing(jti);
        trusted(&mut request).candidates[0].projects =
            (0..count).map(|at| project(&format!("{at}"), &format!("project-{at}"))).collect();
        request
    };
    scene.mint(projects(20_000, "3")).await.unwrap();
    let field = "trusted_publishing.candidates[0].projects";
    invalid("20,001 projects", scene.mint(projects(20_001, "4")).await, field);

    let rules = |count: usize| {
        let mut request = scene.publishing("5");
        let rule = proto::ClaimRule {
            claim: "sub".to_owned(),
            condition: Some(proto::claim_rule::Condition::Glob("**".to_owned())),
        };
        let policy = proto::ClaimPolicy { rules: vec![rule; count] };
        trusted(&mut request).candidates[0].identity =
            Some(proto::publisher::Identity::Claims(policy));
        request
    };
    assert_eq!(scene.mint(rules(64)).await.unwrap_err().reason, "PUBLISHER_NOT_FOUND");
    let field = "trusted_publishing.candidates[0].claims.rules";
    invalid("65 rules", scene.mint(rules(65)).await, field);
}

#[tokio::test]
async fn rules_of_a_claim_policy_are_whole() {
    use proto::claim_rule::Condition;

    let scene = Scene::start().await;
    let glob = |bytes: usize| Some(Condition::Glob("g".repeat(bytes)));
    for (name, claim, condition, at) in [
        ("no claim", "", glob(1), Some("rules[0].claim")),
        ("no condition", "sub", None, Some("rules[0]")),
        ("a long glob", "sub", glob(1025), Some("rules[0].glob")),
        ("the longest glob", "sub", glob(1024), None),
    ] {
        let mut request = scene.publishing("1");
        let rules = vec![proto::ClaimRule { claim: claim.to_owned(), condition }];
        trusted(&mut request).candidates[0].identity =
            Some(proto::publisher::Identity::Claims(proto::ClaimPolicy { rules }));
        let answer = scene.mint(request).await;
        match at {
            Some(at) => {
                let field = format!("trusted_publishing.candidates[0].claims.{at}");
                invalid(name, answer, &field);
            }
            None => assert_eq!(answer.unwrap_err().reason, "PUBLISHER_NOT_FOUND", "{name}"),
        }
    }
    let mut request = scene.publishing("1");
    trusted(&mut request).candidates[0].issuer = String::new();
    let field = "trusted_publishing.candidates[0].issuer";
    invalid("a publisher without an issuer", scene.mint(request).await, field);
}

#[tokio::test]
async fn wanted_projects_are_names_and_no_more_than_a_token_may_name() {
    let scene = Scene::start().await;
    let wanting = |names: &[String]| {
        let mut request = scene.publishing("1");
        trusted(&mut request).projects = names.to_vec();
        request
    };
    for name in ["", "-a", "a b", "é", "a/b", "a\n"] {
        let names = ["sample".to_owned(), name.to_owned()];
        let field = "trusted_publishing.projects[1]";
        invalid(name, scene.mint(wanting(&names)).await, field);
        let mut request = wanting(&names);
        let verify = proto::VerifyRequest {
            index: "pypi".to_owned(),
            credential: Some(proto::verify_request::Credential::IdToken(
                trusted(&mut request).clone(),
            )),
            ..Default::default()
        };
        invalid(name, scene.verify(verify).await, "id_token.projects[1]");
    }
    // One project in 51 spellings is one, 51 projects are too many.
    let spellings: Vec<_> =
        (0..51).map(|at| format!("other{}project", "-".repeat(at + 1))).collect();
    let others: Vec<_> = (0..51).map(|at| format!("project-{at}")).collect();
    invalid("51 projects", scene.mint(wanting(&others)).await, "trusted_publishing.projects");
    let few = scene.mint(wanting(&others[1..])).await.unwrap_err();
    assert_eq!(few.reason, "NO_ELIGIBLE_PROJECT");
    let minted = scene.mint(wanting(&spellings)).await.unwrap();
    assert_eq!(minted.projects, [project("id-2", "Other.Project")]);
}

#[tokio::test]
async fn a_flood_of_wanted_projects_is_refused_in_no_time() {
    let scene = Scene::start().await;
    let mut request = scene.publishing("1");
    trusted(&mut request).projects = (0..250_000).map(|at| format!("{at}")).collect();
    // Compared pairwise it would take minutes; a busy machine needs a second.
    let answer = timeout(Duration::from_secs(10), scene.mint(request)).await.unwrap();
    invalid("250,000 projects", answer, "trusted_publishing.projects");
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
                assert_eq!(minted.expires_at.unwrap().seconds, end);
            }
            refused => {
                assert!(!good, "{seconds}, {nanos}: {refused:?}");
                invalid("lifetime", refused, "lifetime");
            }
        }
    }
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

#[tokio::test]
async fn a_refusal_fits_into_its_headers_whatever_it_repeats() {
    let scene = Scene::start().await;
    // Three bytes a character, each of them escaped in a header.
    let long = "漢".repeat(2_500);
    let mut claims = scene.github_claims("1");
    claims["environment"] = long.clone().into();
    let mut request = scene.publishing_with(scene.issuer.id_token(&claims));
    let Some(proto::publisher::Identity::Github(github)) =
        &mut trusted(&mut request).candidates[0].identity
    else {
        panic!("not a publisher at GitHub");
    };
    github.environment = long.repeat(10);
    let refused = scene.mint(request).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::PermissionDenied, "PUBLISHER_NOT_FOUND")
    );
    assert!(refused.message.len() <= 1_100, "{} bytes", refused.message.len());

    let mut request = scene.publishing("2");
    trusted(&mut request).projects = vec!["a".repeat(100_000)];
    assert_eq!(scene.mint(request).await.unwrap_err().reason, "NO_ELIGIBLE_PROJECT");
}

#[tokio::test]
async fn the_closest_candidate_is_the_one_that_a_refusal_tells_of() {
    let scene = Scene::start().await;
    let url = scene.issuer.url();
    let with = |id: &str, change: &dyn Fn(&mut proto::GitHub)| {
        let mut publisher = github_publisher(&url, id);
        let Some(proto::publisher::Identity::Github(github)) = &mut publisher.identity else {
            panic!("not a publisher at GitHub");
        };
        change(github);
        publisher
    };
    let mut request = scene.publishing("1");
    trusted(&mut request).candidates = vec![
        with("another repository", &|github| github.repository_name = "other".to_owned()),
        with("another environment", &|github| github.environment = "staging".to_owned()),
        with("yet another environment", &|github| github.environment = "testing".to_owned()),
        with("another owner", &|github| github.repository_owner_id = "1".to_owned()),
    ];
    let refused = scene.mint(request.clone()).await.unwrap_err();
    assert_eq!(
        refused.message,
        "none of the 4 registered publishers matches the ID token; the closest is publisher \
         \"another environment\": the claim \"environment\" must be \"staging\", and the ID token \
         has \"release\""
    );

    // Verify tells of each, in the order of the request.
    let verify = proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(trusted(&mut request).clone())),
        ..Default::default()
    };
    let answer = scene.verify(verify).await.unwrap();
    let told: Vec<_> = answer
        .denials
        .iter()
        .map(|denial| {
            let mismatch = denial.mismatch.as_ref().unwrap();
            (mismatch.publisher_id.as_str(), mismatch.claim.as_str(), mismatch.expected.as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("another repository", "repository", "octo/other"),
            ("another environment", "environment", "staging"),
            ("yet another environment", "environment", "testing"),
            ("another owner", "repository_owner_id", "1"),
        ]
    );
    assert_eq!(answer.identity.unwrap().subject, "repo:octo/sample:environment:release");
}

#[tokio::test]
async fn a_verify_of_an_id_token_matches_it_and_redeems_nothing() {
    let scene = Scene::start().await;
    let mut mint = scene.publishing("1");
    let verify = proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(trusted(&mut mint).clone())),
        ..Default::default()
    };
    for _ in 0..3 {
        let answer = scene.verify(verify.clone()).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Allowed, "{:?}", answer.denials);
        assert_eq!(answer.publisher_id, "p1");
        assert_eq!((answer.token, answer.denials.len()), (None, 0));
        assert_eq!(answer.identity.unwrap().issuer, scene.issuer.url());
    }
    scene.mint(mint.clone()).await.unwrap();
    assert_eq!(scene.mint(mint).await.unwrap_err().reason, "ID_TOKEN_REUSED");
    // It says whose it is, not whether it was used.
    assert_eq!(scene.verify(verify).await.unwrap().verdict(), Verdict::Allowed);
}
