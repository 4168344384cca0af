//! Candidates, wanted projects, and what is told where none matches.

use std::time::Duration;

use mintage::grpc::proto::{self, Verdict};
use tokio::time::timeout;
use tonic::Code;

use crate::{
    invalid,
    support::service::{Scene, github_publisher, project, trusted},
};

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
