use serde_json::{Value, json};

use crate::{
    oidc::{
        Issuer, Provider,
        testing::{issuer, with},
    },
    publisher::tests::{candidate, fault, found, mismatch},
};

use super::*;

pub(crate) fn registered() -> Google {
    Google { email: "publisher@project.iam.gserviceaccount.com".to_owned(), subject: String::new() }
}

/// The claims of a real ID token but for its names and numbers. It has no `jti`.
pub(crate) fn claims() -> Value {
    json!({
        "azp": "109876543210987654321", "email": "publisher@project.iam.gserviceaccount.com",
        "email_verified": true, "sub": "109876543210987654321",
    })
}

fn google() -> Issuer {
    issuer(Provider::Google, "https://accounts.google.com")
}

#[test]
fn id_tokens_of_the_service_account_match_and_no_others() {
    let email = |email: &str| json!({"email": email});
    let plain = registered();
    let pinned = Google { subject: "109876543210987654321".to_owned(), ..registered() };
    let empty = Google::default();
    for (name, publisher, changes, claim) in [
        ("the usual claims", &plain, json!({}), None),
        ("any subject", &plain, json!({"sub": "7"}), None),
        ("no subject", &plain, json!({"sub": null}), None),
        ("a jti of any kind", &plain, json!({"jti": 7}), None),
        ("another address", &plain, email("other@project.iam.gserviceaccount.com"), Some("email")),
        ("another case", &plain, email("Publisher@project.iam.gserviceaccount.com"), Some("email")),
        (
            "an address that ends like it",
            &plain,
            email("x-publisher@project.iam.gserviceaccount.com"),
            Some("email"),
        ),
        (
            "an address that begins like it",
            &plain,
            email("publisher@project.iam.gserviceaccount.com.evil.example"),
            Some("email"),
        ),
        ("white space", &plain, email("publisher@project.iam.gserviceaccount.com "), Some("email")),
        ("an empty address", &plain, email(""), Some("email")),
        ("nothing registered", &empty, email(""), Some("email")),
        ("not verified", &plain, json!({"email_verified": false}), Some("email_verified")),
        ("the subject", &pinned, json!({}), None),
        ("another subject", &pinned, json!({"sub": "7"}), Some("sub")),
        ("an empty subject", &pinned, json!({"sub": ""}), Some("sub")),
        ("no subject where it is pinned", &pinned, json!({"sub": null}), Some("sub")),
    ] {
        let identity = Identity::Google(publisher.clone());
        let told = mismatch(&google(), &with(claims(), &changes), &identity);
        assert_eq!(told.map(|(claim, _, _)| claim).as_deref(), claim, "{name}");
    }
}

#[test]
fn missing_and_wrongly_typed_claims_are_the_id_tokens_fault() {
    for (name, changes, expected) in [
        ("no address", json!({"email": null}), Some(("email", "is missing"))),
        ("an address that is a list", json!({"email": ["a"]}), Some(("email", "is not a string"))),
        (
            "nothing about it",
            json!({"email_verified": null}),
            Some(("email_verified", "is missing")),
        ),
        (
            "true as text",
            json!({"email_verified": "true"}),
            Some(("email_verified", "is neither true nor false")),
        ),
        (
            "true as a number",
            json!({"email_verified": 1}),
            Some(("email_verified", "is neither true nor false")),
        ),
        ("a subject that is a number", json!({"sub": 7}), Some(("sub", "is not a string"))),
        ("no subject", json!({"sub": null}), None),
    ] {
        let told = fault(&google(), &with(claims(), &changes));
        assert_eq!(told, expected.map(|(claim, problem)| (claim, problem.to_owned())), "{name}");
    }
}

#[test]
fn a_candidate_with_the_subject_wins() {
    let pinned = Google { subject: "109876543210987654321".to_owned(), ..registered() };
    let candidates = [
        candidate("plain", &google(), Identity::Google(registered())),
        candidate("pinned", &google(), Identity::Google(pinned)),
    ];
    assert_eq!(found(&google(), &claims(), &candidates).as_deref(), Ok("pinned"));
    let other = with(claims(), &json!({"sub": "7"}));
    assert_eq!(found(&google(), &other, &candidates).as_deref(), Ok("plain"));
}
