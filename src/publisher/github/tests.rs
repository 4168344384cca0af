use serde_json::{Value, json};

use crate::{
    oidc::{
        Issuer, Provider,
        testing::{issuer, with},
    },
    publisher::tests::{candidate, fault, found, mismatch},
};

use super::*;

pub(crate) fn registered() -> GitHub {
    GitHub {
        repository_owner: "octo".to_owned(),
        repository_owner_id: "65".to_owned(),
        repository_name: "repo".to_owned(),
        workflow_filename: "release.yml".to_owned(),
        environment: String::new(),
        repository_id: String::new(),
    }
}

/// The claims of a real ID token, as of 2025, but for its names and numbers.
pub(crate) fn claims() -> Value {
    json!({
        "actor": "octocat", "actor_id": "12", "base_ref": "", "event_name": "push",
        "head_ref": "", "jti": "4a576b35-ff09-41c5-af2c-ca62dd89b76a",
        "job_workflow_ref": "octo/repo/.github/workflows/release.yml@refs/heads/main",
        "job_workflow_sha": "7f93a73b8273af5d35fcd70661704c1cadc57054",
        "ref": "refs/heads/main", "ref_protected": "true", "ref_type": "branch",
        "repository": "octo/repo", "repository_id": "74", "repository_owner": "octo",
        "repository_owner_id": "65", "repository_visibility": "public", "run_attempt": "2",
        "run_id": "9", "run_number": "10", "runner_environment": "github-hosted",
        "sha": "7f93a73b8273af5d35fcd70661704c1cadc57054", "sub": "repo:octo/repo:ref:refs/heads/main",
        "workflow": "release", "workflow_ref": "octo/repo/.github/workflows/release.yml@refs/heads/main",
        "workflow_sha": "7f93a73b8273af5d35fcd70661704c1cadc57054",
    })
}

pub(crate) fn issuer_and_claims() -> (Issuer, Value) {
    (issuer(Provider::GitHub, "https://token.actions.githubusercontent.com"), claims())
}

/// Which claim of the usual ones, changed so, differs from the registration.
fn differs(publisher: &GitHub, changes: &Value) -> Option<String> {
    let (issuer, claims) = issuer_and_claims();
    let identity = Identity::GitHub(publisher.clone());
    mismatch(&issuer, &with(claims, changes), &identity).map(|(claim, _, _)| claim)
}

const WORKFLOW: &str = "job_workflow_ref";

/// The claim for a file and what follows it, in the repository's workflows.
fn workflow(rest: &str) -> String {
    format!("octo/repo/.github/workflows/{rest}")
}

#[test]
fn id_tokens_of_the_repository_match_and_no_others() {
    let sha = "7f93a73b8273af5d35fcd70661704c1cadc57054";
    let moved = |repository: &str, owner: &str| {
        json!({
            "repository": repository, "repository_owner": owner,
            "job_workflow_ref": format!("{repository}/.github/workflows/release.yml@refs/heads/main"),
        })
    };
    for (name, changes, claim) in [
        ("the usual claims", json!({}), None),
        ("another case", moved("OCTO/Repo", "Octo"), None),
        (
            "a tag",
            json!({"ref": "refs/tags/v1", WORKFLOW: workflow("release.yml@refs/tags/v1")}),
            None,
        ),
        (
            "a commit besides a ref",
            json!({WORKFLOW: workflow(&format!("release.yml@{sha}"))}),
            None,
        ),
        (
            "a commit and an empty ref",
            json!({"ref": "", WORKFLOW: workflow(&format!("release.yml@{sha}"))}),
            None,
        ),
        (
            "a commit and no ref",
            json!({"ref": null, WORKFLOW: workflow(&format!("release.yml@{sha}"))}),
            None,
        ),
        ("no sha", json!({"sha": null}), None),
        ("an environment", json!({"environment": "pypi"}), None),
        ("another form of sub", json!({"sub": "repository_id:74:workflow:x"}), None),
        (
            "the immutable form of sub",
            json!({"sub": "repo:octo@65/repo@74:ref:refs/heads/main"}),
            None,
        ),
        ("somebody else's sub", json!({"sub": "repo:evil/repo:ref:refs/heads/main"}), None),
        ("no sub", json!({"sub": null}), None),
        ("a sub that is a list", json!({"sub": ["a"]}), None),
        (
            "another caller",
            json!({"workflow_ref": "evil/repo/.github/workflows/x.yml@refs/heads/main"}),
            None,
        ),
        ("a pull request", json!({"event_name": "pull_request"}), None),
        ("an event in another case", json!({"event_name": "Workflow_Run"}), None),
        ("a repository that ends like it", moved("octo/my-repo", "octo"), Some("repository")),
        ("a repository that begins like it", moved("octo/repo2", "octo"), Some("repository")),
        ("an owner that ends like it", moved("evil-octo/repo", "evil-octo"), Some("repository")),
        ("a fork", moved("evil/repo", "evil"), Some("repository")),
        ("a path before it", moved("evil/octo/repo", "evil"), Some("repository")),
        ("an empty repository", json!({"repository": ""}), Some("repository")),
        ("no slash", json!({"repository": "octorepo"}), Some("repository")),
        ("a slash more", json!({"repository": "octo/repo/"}), Some("repository")),
        ("a Kelvin sign is no k", moved("octo/\u{212a}", "octo"), Some("repository")),
        ("another owner", json!({"repository_owner": "evil"}), Some("repository_owner")),
        ("an empty owner", json!({"repository_owner": ""}), Some("repository_owner")),
        (
            "a name that was taken over",
            json!({"repository_owner_id": "66"}),
            Some("repository_owner_id"),
        ),
        ("an empty id", json!({"repository_owner_id": ""}), Some("repository_owner_id")),
        ("an id with a zero", json!({"repository_owner_id": "065"}), Some("repository_owner_id")),
        ("another file", json!({WORKFLOW: workflow("test.yml@refs/heads/main")}), Some(WORKFLOW)),
        (
            "a file in another case",
            json!({WORKFLOW: workflow("Release.yml@refs/heads/main")}),
            Some(WORKFLOW),
        ),
        (
            "a folder in another case",
            json!({WORKFLOW: "octo/repo/.GitHub/workflows/release.yml@refs/heads/main"}),
            Some(WORKFLOW),
        ),
        (
            "a file that ends like it",
            json!({WORKFLOW: workflow("my-release.yml@refs/heads/main")}),
            Some(WORKFLOW),
        ),
        (
            "a file that begins like it",
            json!({WORKFLOW: workflow("release.yml2@refs/heads/main")}),
            Some(WORKFLOW),
        ),
        (
            "a file in a folder",
            json!({WORKFLOW: workflow("x/release.yml@refs/heads/main")}),
            Some(WORKFLOW),
        ),
        (
            "another ref than the job's",
            json!({WORKFLOW: workflow("release.yml@refs/heads/evil")}),
            Some(WORKFLOW),
        ),
        (
            "a ref in another case",
            json!({WORKFLOW: workflow("release.yml@refs/heads/Main")}),
            Some(WORKFLOW),
        ),
        ("no ref", json!({WORKFLOW: workflow("release.yml")}), Some(WORKFLOW)),
        (
            "an empty ref",
            json!({"ref": "", "sha": "", WORKFLOW: workflow("release.yml@")}),
            Some(WORKFLOW),
        ),
        ("neither ref nor sha", json!({"ref": null, "sha": null}), Some(WORKFLOW)),
        ("part of a commit", json!({WORKFLOW: workflow("release.yml@7f93a73")}), Some(WORKFLOW)),
        ("an empty one", json!({WORKFLOW: ""}), Some(WORKFLOW)),
        (
            "a ref that looks like the file",
            json!({
                "ref": "refs/heads/x/release.yml@refs/heads/main",
                WORKFLOW: workflow("evil.yml@refs/heads/x/release.yml@refs/heads/main"),
            }),
            Some(WORKFLOW),
        ),
        (
            "a file that looks like one with its ref",
            json!({WORKFLOW: workflow("release.yml@refs/heads/main.yml@refs/heads/main")}),
            Some(WORKFLOW),
        ),
        (
            "a reusable workflow of another repository",
            json!({WORKFLOW: "evil/repo/.github/workflows/release.yml@refs/heads/main"}),
            Some(WORKFLOW),
        ),
        (
            "one of a repository that ends like it",
            json!({WORKFLOW: "evil/octo/repo/.github/workflows/release.yml@refs/heads/main"}),
            Some(WORKFLOW),
        ),
        (
            "its reusable workflow, called by another repository",
            json!({
                "repository": "evil/caller", "repository_owner": "evil", "repository_owner_id": "7",
            }),
            Some("repository"),
        ),
    ] {
        assert_eq!(differs(&registered(), &changes).as_deref(), claim, "{name}");
    }
}

#[test]
fn what_is_registered_must_be_whole() {
    let with_file = |file: &str| GitHub { workflow_filename: file.to_owned(), ..registered() };
    let found = |file: &str| json!({WORKFLOW: workflow(&format!("{file}@refs/heads/main"))});
    let empty = |text: &str| text.to_owned();
    for (name, publisher, changes, claim) in [
        (
            "no owner",
            GitHub { repository_owner: empty(""), ..registered() },
            json!({"repository": "/repo", "repository_owner": ""}),
            Some("repository"),
        ),
        (
            "no name",
            GitHub { repository_name: empty(""), ..registered() },
            json!({"repository": "octo/"}),
            Some("repository"),
        ),
        (
            "no owner id",
            GitHub { repository_owner_id: empty(""), ..registered() },
            json!({"repository_owner_id": ""}),
            Some("repository_owner_id"),
        ),
        ("no file", with_file(""), found(""), Some(WORKFLOW)),
        ("a suffix alone", with_file(".yml"), found(".yml"), Some(WORKFLOW)),
        ("no suffix", with_file("release"), found("release"), Some(WORKFLOW)),
        ("another suffix", with_file("release.json"), found("release.json"), Some(WORKFLOW)),
        ("a path", with_file("x/release.yml"), found("x/release.yml"), Some(WORKFLOW)),
        ("a path upwards", with_file("../release.yml"), found("../release.yml"), Some(WORKFLOW)),
        ("the longer suffix", with_file("release.yaml"), found("release.yaml"), None),
        ("an @ in the name", with_file("release@v1.yml"), found("release@v1.yml"), None),
        ("a name like a ref", with_file("a.yml@refs.yml"), found("a.yml@refs.yml"), None),
        ("white space", with_file("re lease.yml"), found("re lease.yml"), None),
    ] {
        assert_eq!(differs(&publisher, &changes).as_deref(), claim, "{name}");
    }
}

#[test]
fn optional_fields_hold_where_they_are_pinned() {
    let environment = GitHub { environment: "PyPI".to_owned(), ..registered() };
    let id = GitHub { repository_id: "74".to_owned(), ..registered() };
    for (name, publisher, changes, claim) in [
        ("the environment", &environment, json!({"environment": "PyPI"}), None),
        ("in another case", &environment, json!({"environment": "pypi"}), None),
        ("another one", &environment, json!({"environment": "pypi2"}), Some("environment")),
        ("an empty one", &environment, json!({"environment": ""}), Some("environment")),
        ("none", &environment, json!({}), Some("environment")),
        ("the id", &id, json!({}), None),
        ("another id", &id, json!({"repository_id": "75"}), Some("repository_id")),
        ("no id", &id, json!({"repository_id": null}), Some("repository_id")),
    ] {
        assert_eq!(differs(publisher, &changes).as_deref(), claim, "{name}");
    }
}

#[test]
fn missing_and_wrongly_typed_claims_are_the_id_tokens_fault() {
    let (issuer, claims) = issuer_and_claims();
    for required in
        ["repository", "repository_owner", "repository_owner_id", WORKFLOW, "event_name"]
    {
        let told = |value: Value| fault(&issuer, &with(claims.clone(), &json!({required: value})));
        assert_eq!(told(json!(null)), Some((required, "is missing".to_owned())));
        for wrong in [json!(7), json!(true), json!(["a"]), json!({})] {
            assert_eq!(told(wrong), Some((required, "is not a string".to_owned())));
        }
        assert_eq!(told(json!("")), None, "an empty one is for the candidates to differ from");
    }
    for optional in ["repository_id", "environment", "ref", "sha"] {
        let told = |value: Value| fault(&issuer, &with(claims.clone(), &json!({optional: value})));
        assert_eq!(told(json!(null)), None);
        assert_eq!(told(json!(7)), Some((optional, "is not a string".to_owned())), "not pinned");
    }
}

#[test]
fn events_in_which_strangers_choose_what_runs_are_refused() {
    let (issuer, claims) = issuer_and_claims();
    let candidates = [candidate("one", &issuer, Identity::GitHub(registered()))];
    for event in ["pull_request_target", "workflow_run"] {
        let claims = with(claims.clone(), &json!({"event_name": event}));
        let refused = NoPublisher::EventForbidden { event: event.to_owned() };
        assert_eq!(found(&issuer, &claims, &candidates), Err(refused.clone()));
        assert_eq!(found(&issuer, &claims, &[]), Err(refused), "whatever the candidates are");
    }
    for event in ["push", "release", "workflow_dispatch", "schedule", "deployment", ""] {
        let claims = with(claims.clone(), &json!({"event_name": event}));
        assert_eq!(found(&issuer, &claims, &candidates).as_deref(), Ok("one"), "{event}");
    }
}

#[test]
fn the_most_specific_candidate_wins_and_of_equals_the_first() {
    let (issuer, claims) = issuer_and_claims();
    let claims = with(claims, &json!({"environment": "pypi"}));
    let pinned = |environment: &str, repository_id: &str| GitHub {
        environment: environment.to_owned(),
        repository_id: repository_id.to_owned(),
        ..registered()
    };
    let winner = |candidates: &[(&str, GitHub)]| {
        let candidates: Vec<_> = candidates
            .iter()
            .map(|(id, own)| candidate(id, &issuer, Identity::GitHub(own.clone())))
            .collect();
        found(&issuer, &claims, &candidates).unwrap()
    };
    let (plain, id) = (pinned("", ""), pinned("", "74"));
    let (environment, both) = (pinned("pypi", ""), pinned("PYPI", "74"));
    let other = pinned("testpypi", "74");
    assert_eq!(winner(&[("plain", plain.clone()), ("env", environment.clone())]), "env");
    assert_eq!(winner(&[("env", environment.clone()), ("plain", plain.clone())]), "env");
    assert_eq!(winner(&[("plain", plain.clone()), ("id", id.clone())]), "id");
    assert_eq!(winner(&[("id", id), ("env", environment.clone())]), "env", "it weighs most");
    assert_eq!(winner(&[("env", environment.clone()), ("both", both)]), "both");
    assert_eq!(winner(&[("other", other), ("plain", plain.clone())]), "plain");
    assert_eq!(winner(&[("first", plain.clone()), ("second", plain)]), "first");
    assert_eq!(winner(&[("first", environment.clone()), ("second", environment)]), "first");
}

#[test]
fn a_mismatch_has_the_whole_of_what_was_expected() {
    let (issuer, claims) = issuer_and_claims();
    let told = |publisher: GitHub, changes: Value| {
        let identity = Identity::GitHub(publisher);
        let (claim, expected, found) =
            mismatch(&issuer, &with(claims.clone(), &changes), &identity).unwrap();
        format!("{claim}: {expected} / {found}")
    };
    let sha = "7f93a73b8273af5d35fcd70661704c1cadc57054";
    let test = workflow("test.yml@refs/heads/main");
    for (name, publisher, changes, expected) in [
        (
            "the file",
            registered(),
            json!({WORKFLOW: test.clone()}),
            format!("{WORKFLOW}: {} / {test}", workflow("release.yml@refs/heads/main")),
        ),
        (
            "the file, at a commit",
            registered(),
            json!({WORKFLOW: test.clone(), "ref": ""}),
            format!("{WORKFLOW}: {} / {test}", workflow(&format!("release.yml@{sha}"))),
        ),
        (
            "nothing to say what state of it",
            registered(),
            json!({WORKFLOW: "", "ref": "", "sha": ""}),
            format!(
                "{WORKFLOW}: {} / (empty)",
                workflow("release.yml@(the ID token has neither a ref nor a sha)")
            ),
        ),
        (
            "a file that can't be",
            GitHub { workflow_filename: "release".into(), ..registered() },
            json!({}),
            format!(
                "{WORKFLOW}: a file in .github/workflows that ends with .yml or .yaml, which \"release\" is not / {}",
                workflow("release.yml@refs/heads/main")
            ),
        ),
        (
            "an environment that isn't there",
            GitHub { environment: "pypi".into(), ..registered() },
            json!({}),
            "environment: pypi / (missing)".to_owned(),
        ),
        (
            "an id that was never registered",
            GitHub { repository_owner_id: String::new(), ..registered() },
            json!({}),
            "repository_owner_id: (nothing is registered) / 65".to_owned(),
        ),
    ] {
        assert_eq!(told(publisher, changes), expected, "{name}");
    }
}
