use serde_json::{Value, json};

use crate::{
    oidc::{
        Issuer, Provider,
        testing::{issuer, with},
    },
    publisher::tests::{candidate, fault, found, mismatch},
};

use super::*;

pub(crate) fn registered() -> GitLab {
    GitLab {
        namespace: "group/sub".to_owned(),
        project: "tool".to_owned(),
        workflow_filepath: "ci/release.yml".to_owned(),
        environment: String::new(),
        namespace_id: String::new(),
        project_id: String::new(),
    }
}

/// The claims of a real ID token, as of 2025, but for its names and numbers.
pub(crate) fn claims() -> Value {
    json!({
        "namespace_id": "72", "namespace_path": "group/sub", "project_id": "20",
        "project_path": "group/sub/tool", "user_id": "1", "user_login": "sam",
        "user_email": "sam@example.com", "user_identities": [{"provider": "github", "extern_uid": "2"}],
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main",
        "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
        "groups_direct": ["group/sub"], "deployment_tier": "production",
        "runner_id": 1, "runner_environment": "gitlab-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "ci_config_ref_uri": "gitlab.com/group/sub/tool//ci/release.yml@refs/heads/main",
        "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "sub": "project_path:group/sub/tool:ref_type:branch:ref:main",
        "jti": "63ab75f4-2606-4f0e-a500-86f90ab13a85",
    })
}

fn gitlab_com() -> Issuer {
    issuer(Provider::GitLab, "https://gitlab.com")
}

fn differs_at(issuer: &Issuer, publisher: &GitLab, changes: &Value) -> Option<String> {
    let identity = Identity::GitLab(publisher.clone());
    mismatch(issuer, &with(claims(), changes), &identity).map(|(claim, _, _)| claim)
}

fn differs(publisher: &GitLab, changes: &Value) -> Option<String> {
    differs_at(&gitlab_com(), publisher, changes)
}

const CONFIG: &str = "ci_config_ref_uri";

#[test]
fn id_tokens_of_the_project_match_and_no_others() {
    let sha = "714a629c0b401fdce83e847fc9589983fc6f46bc";
    let config = |rest: &str| json!({CONFIG: format!("gitlab.com/group/sub/tool//{rest}")});
    let moved = |path: &str| {
        json!({
            "project_path": path,
            CONFIG: format!("gitlab.com/{path}//ci/release.yml@refs/heads/main"),
        })
    };
    for (name, changes, claim) in [
        ("the usual claims", json!({}), None),
        ("another case", moved("Group/SUB/Tool"), None),
        ("a commit besides a ref", config(&format!("ci/release.yml@{sha}")), None),
        ("no sha", json!({"sha": null}), None),
        ("an environment", json!({"environment": "pypi"}), None),
        ("another form of sub", json!({"sub": "project_id:20"}), None),
        (
            "somebody else's sub",
            json!({"sub": "project_path:evil/tool:ref_type:branch:ref:main"}),
            None,
        ),
        ("no sub", json!({"sub": null}), None),
        ("a project that ends like it", moved("group/sub/my-tool"), Some("project_path")),
        ("a project that begins like it", moved("group/sub/tool2"), Some("project_path")),
        ("a namespace that ends like it", moved("evil-group/sub/tool"), Some("project_path")),
        ("a namespace before it", moved("evil/group/sub/tool"), Some("project_path")),
        ("the namespace above it", moved("group/tool"), Some("project_path")),
        ("an empty project", json!({"project_path": ""}), Some("project_path")),
        ("another file", config("ci/test.yml@refs/heads/main"), Some(CONFIG)),
        ("a file in another case", config("ci/Release.yml@refs/heads/main"), Some(CONFIG)),
        ("a file that ends like it", config("x/ci/release.yml@refs/heads/main"), Some(CONFIG)),
        (
            "a file with two slashes before it",
            config("/ci/release.yml@refs/heads/main"),
            Some(CONFIG),
        ),
        (
            "one slash",
            json!({CONFIG: "gitlab.com/group/sub/tool/ci/release.yml@refs/heads/main"}),
            Some(CONFIG),
        ),
        ("another ref than the job's", config("ci/release.yml@refs/heads/evil"), Some(CONFIG)),
        ("a ref in its short form", config("ci/release.yml@main"), Some(CONFIG)),
        ("no ref", config("ci/release.yml"), Some(CONFIG)),
        (
            "an empty ref",
            with(config("ci/release.yml@"), &json!({"ref_path": "", "sha": ""})),
            Some(CONFIG),
        ),
        ("neither ref nor sha", json!({"ref_path": null, "sha": null}), Some(CONFIG)),
        (
            "a file of another project",
            json!({CONFIG: "gitlab.com/evil/tool//ci/release.yml@refs/heads/main"}),
            Some(CONFIG),
        ),
        (
            "a file of another host",
            json!({CONFIG: "gitlab.evil/group/sub/tool//ci/release.yml@refs/heads/main"}),
            Some(CONFIG),
        ),
        (
            "a host that ends like it",
            json!({CONFIG: "evil.gitlab.com/group/sub/tool//ci/release.yml@refs/heads/main"}),
            Some(CONFIG),
        ),
        (
            "a host with a scheme",
            json!({CONFIG: "https://gitlab.com/group/sub/tool//ci/release.yml@refs/heads/main"}),
            Some(CONFIG),
        ),
        (
            "a file from elsewhere",
            json!({CONFIG: "https://example.com/ci/release.yml"}),
            Some(CONFIG),
        ),
        ("an empty one", json!({CONFIG: ""}), Some(CONFIG)),
        (
            "a ref that looks like the file",
            with(
                config("evil.yml@refs/heads/x//ci/release.yml@refs/heads/main"),
                &json!({"ref_path": "refs/heads/x//ci/release.yml@refs/heads/main"}),
            ),
            Some(CONFIG),
        ),
        (
            "a file that looks like one with its ref",
            config("ci/release.yml@refs/heads/main.yml@refs/heads/main"),
            Some(CONFIG),
        ),
    ] {
        assert_eq!(differs(&registered(), &changes).as_deref(), claim, "{name}");
    }
}

#[test]
fn what_is_registered_must_be_whole() {
    let with_file = |file: &str| GitLab { workflow_filepath: file.to_owned(), ..registered() };
    let found =
        |file: &str| json!({CONFIG: format!("gitlab.com/group/sub/tool//{file}@refs/heads/main")});
    for (name, publisher, changes, claim) in [
        (
            "no namespace",
            GitLab { namespace: String::new(), ..registered() },
            json!({"project_path": "/tool"}),
            Some("project_path"),
        ),
        (
            "no project",
            GitLab { project: String::new(), ..registered() },
            json!({"project_path": "group/sub/"}),
            Some("project_path"),
        ),
        ("no file", with_file(""), found(""), Some(CONFIG)),
        ("a suffix alone", with_file(".yml"), found(".yml"), Some(CONFIG)),
        ("a suffix alone in a folder", with_file("ci/.yml"), found("ci/.yml"), Some(CONFIG)),
        ("another suffix", with_file("ci/release"), found("ci/release"), Some(CONFIG)),
        ("the usual file", with_file(".gitlab-ci.yml"), found(".gitlab-ci.yml"), None),
        ("the longer suffix", with_file("a.yaml"), found("a.yaml"), None),
        ("an @ in the path", with_file("ci@v1/a@b.yml"), found("ci@v1/a@b.yml"), None),
    ] {
        assert_eq!(differs(&publisher, &changes).as_deref(), claim, "{name}");
    }
}

#[test]
fn optional_fields_hold_where_they_are_pinned() {
    let environment = GitLab { environment: "PyPI/prod".to_owned(), ..registered() };
    let namespace = GitLab { namespace_id: "72".to_owned(), ..registered() };
    let project = GitLab { project_id: "20".to_owned(), ..registered() };
    for (name, publisher, changes, claim) in [
        ("the environment", &environment, json!({"environment": "PyPI/prod"}), None),
        ("in another case", &environment, json!({"environment": "pypi/prod"}), Some("environment")),
        ("another one", &environment, json!({"environment": "PyPI"}), Some("environment")),
        ("an empty one", &environment, json!({"environment": ""}), Some("environment")),
        ("none", &environment, json!({}), Some("environment")),
        ("the namespace", &namespace, json!({}), None),
        ("another namespace", &namespace, json!({"namespace_id": "720"}), Some("namespace_id")),
        ("no namespace", &namespace, json!({"namespace_id": null}), Some("namespace_id")),
        ("the project", &project, json!({}), None),
        ("another project", &project, json!({"project_id": "2"}), Some("project_id")),
        ("no project", &project, json!({"project_id": null}), Some("project_id")),
    ] {
        assert_eq!(differs(publisher, &changes).as_deref(), claim, "{name}");
    }
}

#[test]
fn an_instance_is_its_host_with_its_port() {
    let found = |host: &str| json!({CONFIG: format!("{host}/group/sub/tool//ci/release.yml@refs/heads/main")});
    for (url, host, claim) in [
        ("https://gitlab.example", "gitlab.example", None),
        ("https://gitlab.example:8443", "gitlab.example:8443", None),
        ("https://example.org/gitlab", "example.org", None),
        ("https://gitlab.example:8443", "gitlab.example", Some(CONFIG)),
        ("https://gitlab.example", "gitlab.example:8443", Some(CONFIG)),
        ("https://example.org/gitlab", "example.org/gitlab", Some(CONFIG)),
        ("https://gitlab.example", "gitlab.com", Some(CONFIG)),
    ] {
        let instance = issuer(Provider::GitLab, url);
        let told = differs_at(&instance, &registered(), &found(host));
        assert_eq!(told.as_deref(), claim, "{url} with {host}");
    }
}

#[test]
fn a_self_managed_instance_never_stands_for_gitlab_com() {
    let instance = issuer(Provider::GitLab, "https://gitlab.evil.example");
    // Everything in its claims says gitlab.com, but who issued them.
    let candidates = [candidate("one", &gitlab_com(), Identity::GitLab(registered()))];
    let Err(NoPublisher::NotFound(mismatches)) = found(&instance, &claims(), &candidates) else {
        panic!("an instance posed as another");
    };
    assert_eq!(mismatches[0].claim, "iss");
    assert_eq!(mismatches[0].expected, "https://gitlab.com");
    assert_eq!(mismatches[0].found, "https://gitlab.evil.example");
}

#[test]
fn missing_and_wrongly_typed_claims_are_the_id_tokens_fault() {
    let issuer = gitlab_com();
    for required in ["project_path", CONFIG] {
        let told = |value: Value| fault(&issuer, &with(claims(), &json!({required: value})));
        assert_eq!(told(json!(null)), Some((required, "is missing".to_owned())));
        for wrong in [json!(7), json!(true), json!(["a"]), json!({})] {
            assert_eq!(told(wrong), Some((required, "is not a string".to_owned())));
        }
    }
    for optional in ["namespace_id", "project_id", "environment", "ref_path", "sha"] {
        let told = |value: Value| fault(&issuer, &with(claims(), &json!({optional: value})));
        assert_eq!(told(json!(null)), None);
        assert_eq!(told(json!(7)), Some((optional, "is not a string".to_owned())), "not pinned");
    }
}

#[test]
fn the_most_specific_candidate_wins_and_of_equals_the_first() {
    let issuer = gitlab_com();
    let claims = with(claims(), &json!({"environment": "pypi"}));
    let pinned = |environment: &str, namespace_id: &str, project_id: &str| GitLab {
        environment: environment.to_owned(),
        namespace_id: namespace_id.to_owned(),
        project_id: project_id.to_owned(),
        ..registered()
    };
    let winner = |candidates: &[(&str, GitLab)]| {
        let candidates: Vec<_> = candidates
            .iter()
            .map(|(id, own)| candidate(id, &issuer, Identity::GitLab(own.clone())))
            .collect();
        found(&issuer, &claims, &candidates).unwrap()
    };
    let (plain, environment) = (pinned("", "", ""), pinned("pypi", "", ""));
    let (one, two) = (pinned("", "72", ""), pinned("", "72", "20"));
    assert_eq!(winner(&[("plain", plain.clone()), ("env", environment.clone())]), "env");
    assert_eq!(winner(&[("two", two.clone()), ("env", environment)]), "env", "it weighs most");
    assert_eq!(winner(&[("one", one.clone()), ("two", two)]), "two");
    assert_eq!(winner(&[("one", one), ("project", pinned("", "", "20"))]), "one");
    assert_eq!(winner(&[("first", plain.clone()), ("second", plain)]), "first");
}

#[test]
fn a_mismatch_has_the_whole_of_what_was_expected() {
    let changes = json!({CONFIG: "gitlab.com/group/sub/tool//.gitlab-ci.yml@refs/heads/main"});
    let identity = Identity::GitLab(registered());
    let told = mismatch(&gitlab_com(), &with(claims(), &changes), &identity).unwrap();
    let (claim, expected, found) = told;
    assert_eq!(claim, CONFIG);
    assert_eq!(expected, "gitlab.com/group/sub/tool//ci/release.yml@refs/heads/main");
    assert_eq!(found, "gitlab.com/group/sub/tool//.gitlab-ci.yml@refs/heads/main");
}
