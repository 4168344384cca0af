use serde_json::{Value, json};

use crate::{
    oidc::{
        Issuer, Provider,
        testing::{issuer, with},
    },
    publisher::tests::{candidate, fault, found, mismatch},
};

use super::*;

pub(in crate::publisher) fn registered() -> ActiveState {
    ActiveState {
        organization: "org".to_owned(),
        project: "tool".to_owned(),
        actor_id: "00000000-1000-8000-0000-000000000003".to_owned(),
    }
}

/// The claims of an ID token of the platform but for its names and numbers.
pub(crate) fn claims() -> Value {
    json!({
        "actor": "sam", "actor_id": "00000000-1000-8000-0000-000000000003",
        "artifact_id": "00000000-1000-8000-0000-000000000001", "builder": "pypi-publisher",
        "ingredient": "tool", "jti": "7", "organization": "org",
        "organization_id": "00000000-1000-8000-0000-000000000002", "project": "tool",
        "project_id": "00000000-1000-8000-0000-000000000004", "project_path": "org/tool",
        "project_visibility": "public", "sub": "org:org:project:tool",
    })
}

fn platform() -> Issuer {
    issuer(Provider::ActiveState, "https://platform.activestate.com/api/v1/oauth/oidc")
}

#[test]
fn id_tokens_of_the_project_match_and_no_others() {
    let odd = ActiveState { project: "tool:x".to_owned(), ..registered() };
    let empty = ActiveState::default();
    let blank = json!({"organization": "", "project": "", "actor_id": "", "sub": "org::project:"});
    for (name, publisher, changes, claim) in [
        ("the usual claims", &registered(), json!({}), None),
        (
            "more behind the subject",
            &registered(),
            json!({"sub": "org:org:project:tool:branch:main"}),
            None,
        ),
        (
            "a colon behind the subject",
            &registered(),
            json!({"sub": "org:org:project:tool:"}),
            None,
        ),
        ("no jti", &registered(), json!({"jti": null}), None),
        (
            "another organization",
            &registered(),
            json!({"organization": "org2"}),
            Some("organization"),
        ),
        ("in another case", &registered(), json!({"organization": "Org"}), Some("organization")),
        ("another project", &registered(), json!({"project": "my-tool"}), Some("project")),
        ("a project in another case", &registered(), json!({"project": "Tool"}), Some("project")),
        ("another member", &registered(), json!({"actor_id": "7"}), Some("actor_id")),
        ("another builder", &registered(), json!({"builder": "pypi-publisher-2"}), Some("builder")),
        (
            "a builder in another case",
            &registered(),
            json!({"builder": "PyPI-Publisher"}),
            Some("builder"),
        ),
        ("an empty builder", &registered(), json!({"builder": ""}), Some("builder")),
        ("another subject", &registered(), json!({"sub": "org:evil:project:tool"}), Some("sub")),
        (
            "a subject that begins like it",
            &registered(),
            json!({"sub": "org:org:project:tool2"}),
            Some("sub"),
        ),
        (
            "a subject that ends like it",
            &registered(),
            json!({"sub": "x:org:org:project:tool"}),
            Some("sub"),
        ),
        ("a shorter subject", &registered(), json!({"sub": "org:org:project"}), Some("sub")),
        ("an empty subject", &registered(), json!({"sub": ""}), Some("sub")),
        (
            "the project of which it is the start",
            &odd,
            json!({"sub": "org:org:project:tool:x"}),
            Some("project"),
        ),
        ("nothing registered", &empty, blank, Some("organization")),
    ] {
        let identity = Identity::ActiveState(publisher.clone());
        let told = mismatch(&platform(), &with(claims(), &changes), &identity);
        assert_eq!(told.map(|(claim, _, _)| claim).as_deref(), claim, "{name}");
    }
}

#[test]
fn missing_and_wrongly_typed_claims_are_the_id_tokens_fault() {
    for required in ["organization", "project", "actor_id", "builder", "sub"] {
        let told = |value: Value| fault(&platform(), &with(claims(), &json!({required: value})));
        assert_eq!(told(json!(null)), Some((required, "is missing".to_owned())));
        assert_eq!(told(json!(7)), Some((required, "is not a string".to_owned())));
    }
    assert_eq!(fault(&platform(), &with(claims(), &json!({"actor": 7, "ingredient": 7}))), None);
}

#[test]
fn of_two_that_match_the_first_is_found() {
    let candidates = ["first", "second"]
        .map(|id| candidate(id, &platform(), Identity::ActiveState(registered())));
    assert_eq!(found(&platform(), &claims(), &candidates).as_deref(), Ok("first"));
}
