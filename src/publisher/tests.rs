//! What all providers share. The providers' own rules have their tables beside
//! them.

use serde_json::{Value, json};

use crate::oidc::testing::{AUDIENCE, common_claims, issuer, now, verified, with};

use super::*;

/// The first candidate that an ID token with these claims stands for, by its id,
/// after every real step.
pub(super) fn found(
    issuer: &Issuer,
    claims: &Value,
    candidates: &[Publisher],
) -> Result<String, NoPublisher> {
    let token = verified(issuer, &with(common_claims(issuer), claims));
    let accepted = token.accept(issuer, AUDIENCE, now()).unwrap();
    find(&accepted, candidates).map(|publisher| publisher.id.clone())
}

/// The claim in which one candidate differs; None where it matches.
pub(super) fn mismatch(
    issuer: &Issuer,
    claims: &Value,
    identity: &Identity,
) -> Option<(String, String, String)> {
    match found(issuer, claims, &[candidate("one", issuer, identity.clone())]) {
        Ok(_) => None,
        Err(NoPublisher::NotFound(mut mismatches)) => {
            assert_eq!(mismatches.len(), 1);
            let Mismatch { claim, expected, found, .. } = mismatches.remove(0);
            Some((claim, expected, found))
        }
        Err(other) => panic!("{other}"),
    }
}

/// What is wrong with the ID token whatever the candidates are.
pub(super) fn fault(issuer: &Issuer, claims: &Value) -> Option<(&'static str, String)> {
    match found(issuer, claims, &[]) {
        Err(NoPublisher::Claims(fault)) => Some((fault.claim, fault.problem.to_string())),
        Ok(_) | Err(NoPublisher::EventForbidden { .. } | NoPublisher::NotFound(_)) => None,
    }
}

pub(super) fn candidate(id: &str, issuer: &Issuer, identity: Identity) -> Publisher {
    Publisher {
        id: id.to_owned(),
        projects: vec![],
        issuer: issuer.url.clone(),
        projects_at_use: false,
        identity,
    }
}

fn identities() -> [Identity; 5] {
    [
        Identity::GitHub(GitHub::default()),
        Identity::GitLab(GitLab::default()),
        Identity::Google(Google::default()),
        Identity::ActiveState(ActiveState::default()),
        Identity::Claims(ClaimPolicy::default()),
    ]
}

/// An issuer of each provider, with claims that are whole.
fn issuers() -> [(Issuer, Value); 5] {
    let of = |provider| issuer(provider, "https://issuer.example");
    [
        (of(Provider::GitHub), github::tests::claims()),
        (of(Provider::GitLab), gitlab::tests::claims()),
        (of(Provider::Google), google::tests::claims()),
        (of(Provider::ActiveState), activestate::tests::claims()),
        (of(Provider::Claims), json!({})),
    ]
}

#[test]
fn without_candidates_the_issuer_is_what_differs() {
    for (issuer, claims) in issuers() {
        let expected = Mismatch {
            publisher_id: String::new(),
            claim: "iss".to_owned(),
            expected: "(no publisher is registered)".to_owned(),
            found: "https://issuer.example".to_owned(),
            right: 0,
        };
        let refused = found(&issuer, &claims, &[]).unwrap_err();
        let sentence = "no publisher is registered for ID tokens of \"https://issuer.example\"";
        assert_eq!((expected.to_string(), refused.to_string()), (sentence.into(), sentence.into()));
        assert_eq!(refused, NoPublisher::NotFound(vec![expected]), "{:?}", issuer.provider);
    }
}

#[test]
fn candidates_of_another_issuer_differ_in_the_issuer() {
    let (issuer, claims) = github::tests::issuer_and_claims();
    for other in [
        "https://gitlab.com",
        "https://token.actions.githubusercontent.com/",
        "https://token.actions.githubusercontent.com.evil.example",
        "HTTPS://token.actions.githubusercontent.com",
        "",
    ] {
        let mut candidate =
            candidate("one", &issuer, Identity::GitHub(github::tests::registered()));
        other.clone_into(&mut candidate.issuer);
        let Err(NoPublisher::NotFound(mismatches)) = found(&issuer, &claims, &[candidate]) else {
            panic!("{other:?} was taken for the issuer");
        };
        assert_eq!((mismatches.len(), mismatches[0].claim.as_str()), (1, "iss"), "{other:?}");
        assert_eq!(mismatches[0].publisher_id, "one");
        assert_eq!(mismatches[0].found, issuer.url);
    }
}

#[test]
fn an_identity_of_another_provider_never_matches() {
    for (issuer, claims) in issuers() {
        for identity in identities() {
            let own = identity.provider() == issuer.provider;
            let (claim, expected, _) = mismatch(&issuer, &claims, &identity)
                .expect("an identity of which everything is empty matches nothing");
            let kind = "registered as an issuer of";
            assert_eq!(claim == "iss" && expected.contains(kind), !own, "{identity:?}: {expected}");
        }
    }
}

#[test]
fn the_kind_that_is_registered_is_named() {
    let (issuer, claims) = github::tests::issuer_and_claims();
    let identity = Identity::GitLab(gitlab::tests::registered());
    let url = "https://token.actions.githubusercontent.com";
    assert_eq!(
        mismatch(&issuer, &claims, &identity),
        Some((
            "iss".to_owned(),
            format!("{url} (registered as an issuer of GitLab publishers)"),
            format!("{url} (configured as an issuer of GitHub publishers)"),
        ))
    );
}

#[test]
fn each_candidate_says_where_it_differs() {
    let (issuer, claims) = github::tests::issuer_and_claims();
    let registered = github::tests::registered();
    let candidates = [
        candidate(
            "name",
            &issuer,
            Identity::GitHub(GitHub { repository_name: "other".into(), ..registered.clone() }),
        ),
        candidate(
            "id",
            &issuer,
            Identity::GitHub(GitHub { repository_owner_id: "2".into(), ..registered }),
        ),
        candidate("kind", &issuer, Identity::Google(Google::default())),
    ];
    let Err(NoPublisher::NotFound(mismatches)) = found(&issuer, &claims, &candidates) else {
        panic!("none of them should match");
    };
    let told: Vec<_> =
        mismatches.iter().map(|m| (m.publisher_id.as_str(), m.claim.as_str())).collect();
    assert_eq!(told, [("name", "repository"), ("id", "repository_owner_id"), ("kind", "iss")]);
    assert_eq!(
        mismatches[0].to_string(),
        "publisher \"name\": the claim \"repository\" must be \"octo/other\", and the ID token has \"octo/repo\""
    );
}

#[test]
fn the_candidate_that_got_furthest_is_the_closest_and_of_equal_ones_the_first() {
    let (issuer, claims) = github::tests::issuer_and_claims();
    let github = |id: &str, change: &dyn Fn(&mut GitHub)| {
        let mut registered = github::tests::registered();
        change(&mut registered);
        candidate(id, &issuer, Identity::GitHub(registered))
    };
    let name = || github("name", &|own| own.repository_name = "other".into());
    let owner = || github("owner", &|own| own.repository_owner_id = "0".into());
    let file = || github("file", &|own| own.workflow_filename = "other.yml".into());
    let place = || github("place", &|own| own.environment = "nowhere".into());
    let kind = || candidate("kind", &issuer, Identity::Google(Google::default()));
    let stranger = || Publisher { issuer: "https://gitlab.com".to_owned(), ..place() };
    for (candidates, closest) in [
        (vec![name()], "name"),
        (vec![name(), owner(), file(), place()], "place"),
        (vec![place(), file(), owner(), name()], "place"),
        (vec![name(), file(), owner()], "file"),
        (vec![file(), Publisher { id: "second".to_owned(), ..file() }], "file"),
        (vec![kind(), stranger(), name()], "name"),
        (vec![stranger(), kind()], "place"),
    ] {
        let Err(refused) = found(&issuer, &claims, &candidates) else {
            panic!("none of them should match");
        };
        let NoPublisher::NotFound(mismatches) = &refused else { panic!("{refused}") };
        assert_eq!(Mismatch::closest(mismatches).unwrap().publisher_id, closest);
        let in_order: Vec<_> = mismatches.iter().map(|one| &one.publisher_id).collect();
        assert_eq!(in_order, candidates.iter().map(|one| &one.id).collect::<Vec<_>>());
        let told = refused.to_string();
        assert!(told.contains(&format!("publisher {closest:?}")), "{told}");
        let beginning = match candidates.len() {
            1 => "the registered publisher \"name\" does not match the ID token: ".to_owned(),
            count => format!("none of the {count} registered publishers matches the ID token; "),
        };
        assert!(told.starts_with(&beginning), "{told}");
    }
    assert_eq!(Mismatch::closest(&[]), None);
}

#[test]
fn what_was_right_before_is_counted_and_what_was_not_asked_for_is_not() {
    for (issuer, claims) in issuers() {
        let named = |name: &str| ClaimRule {
            claim: name.to_owned(),
            condition: Condition::EqualsIgnoreCase("https://issuer.example".to_owned()),
        };
        // Each wrong in one claim.
        let (identity, right) = match issuer.provider {
            Provider::GitHub => {
                let own = github::tests::registered();
                (Identity::GitHub(GitHub { environment: "nowhere".into(), ..own }), 5)
            }
            // Of another instance, which its pipeline file says.
            Provider::GitLab => (Identity::GitLab(gitlab::tests::registered()), 2),
            Provider::Google => {
                let own = google::tests::registered();
                (Identity::Google(Google { subject: "nobody".into(), ..own }), 3)
            }
            Provider::ActiveState => {
                let own = activestate::tests::registered();
                (Identity::ActiveState(ActiveState { actor_id: "nobody".into(), ..own }), 3)
            }
            Provider::Claims => {
                let rules = vec![named("iss"), named("ISS")];
                (Identity::Claims(ClaimPolicy { rules }), 2)
            }
        };
        let Err(NoPublisher::NotFound(mismatches)) =
            found(&issuer, &claims, &[candidate("one", &issuer, identity)])
        else {
            panic!("it should not match");
        };
        assert_eq!(mismatches[0].right, right, "{mismatches:?}");
    }
}

#[test]
fn very_long_claims_are_cut_where_they_are_shown() {
    let issuer = issuer(Provider::Google, "https://accounts.google.com");
    let identity = Identity::Google(google::tests::registered());
    let claims = with(google::tests::claims(), &json!({"email": "é".repeat(3000)}));
    let (_, _, found) = mismatch(&issuer, &claims, &identity).unwrap();
    assert_eq!(found.chars().count(), SHOWN_CHARS + 1);
    assert!(found.ends_with("é…"));
}

#[test]
fn workflow_files_have_a_name_and_a_suffix() {
    for (path, is) in [
        ("release.yml", true),
        ("release.yaml", true),
        ("a.yml", true),
        (".gitlab-ci.yml", true),
        ("ci/release.yml", true),
        ("release@v1.yml", true),
        (".yml.yml", true),
        ("é.yml", true),
        ("", false),
        (".yml", false),
        (".yaml", false),
        ("ci/.yml", false),
        ("release", false),
        ("release.yml/", false),
        ("release.YML", false),
        ("release.yml ", false),
        ("release.yml@refs/heads/main", false),
        ("yml", false),
    ] {
        assert_eq!(is_workflow_file(path), is, "{path:?}");
    }
}
