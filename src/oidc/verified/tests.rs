use std::time::Duration;

use serde_json::{Value, json};

use crate::oidc::{
    Provider,
    testing::{AUDIENCE, NOW, common_claims, issuer, now, verified, verified_text, with},
};

use super::*;

const URL: &str = "https://issuer.example";

fn issuer_of(provider: Provider) -> Issuer {
    issuer(provider, URL)
}

fn claims_of(issuer: &Issuer) -> Value {
    with(common_claims(issuer), &json!({"sub": "somebody", "jti": "a-jti"}))
}

/// Why the usual claims with these changes are refused; None if they aren't.
fn refusal(provider: Provider, changes: &Value) -> Option<ClaimsRefused> {
    let issuer = issuer_of(provider);
    let token = verified(&issuer, &with(claims_of(&issuer), changes));
    token.accept(&issuer, AUDIENCE, now()).err()
}

fn claim(claim: &'static str, problem: ClaimProblem) -> Option<ClaimsRefused> {
    Some(ClaimsRefused::Claim(ClaimFault { claim, problem }))
}

#[test]
fn accepted_claims_say_what_the_id_token_says() {
    let issuer = issuer_of(Provider::GitHub);
    let claims = with(claims_of(&issuer), &json!({"extra": {"a": 1}}));
    let token = verified(&issuer, &claims);
    assert_eq!((token.issuer(), token.subject()), (URL, Some("somebody")));
    assert_eq!(token.expires_at(), Some(NOW + 240));
    assert_eq!(token.claims().count(), 8);
    let accepted = token.accept(&issuer, AUDIENCE, now()).unwrap();
    assert_eq!((accepted.iat(), accepted.exp()), (NOW - 60, NOW + 240));
    assert_eq!(accepted.jti(), Some("a-jti"));
    assert_eq!(accepted.issuer(), &issuer);
    let inner = vec![("a".to_owned(), ClaimValue::Integer(1))];
    assert_eq!(accepted.value("extra"), Some(&ClaimValue::Object(inner)));
    assert_eq!(accepted.value("absent"), None);
}

#[test]
fn facts_are_there_though_the_claims_are_not_accepted() {
    let issuer = issuer_of(Provider::GitHub);
    let token = verified(&issuer, &json!({"iss": URL, "sub": 7, "exp": "soon"}));
    assert_eq!((token.issuer(), token.subject(), token.expires_at()), (URL, None, None));
    assert!(token.accept(&issuer, AUDIENCE, now()).is_err());
}

#[test]
fn the_audience_is_one_string_and_the_right_one() {
    for (name, aud, found) in [
        ("a list of one", json!([AUDIENCE]), "(a list)"),
        ("a list of two", json!([AUDIENCE, "testpypi"]), "(a list)"),
        ("an empty list", json!([]), "(a list)"),
        ("an object", json!({AUDIENCE: true}), "(an object)"),
        ("a number", json!(7), "7"),
        ("true", json!(true), "true"),
        ("missing", json!(null), "(missing)"),
        ("empty", json!(""), ""),
        ("another", json!("testpypi"), "testpypi"),
        ("another case", json!("PyPI"), "PyPI"),
        ("a space", json!("pypi "), "pypi "),
        ("a longer one", json!("pypi.org"), "pypi.org"),
    ] {
        let refused = ClaimsRefused::Audience { expected: AUDIENCE.into(), found: found.into() };
        assert_eq!(refusal(Provider::Claims, &json!({"aud": aud})), Some(refused), "{name}");
    }
    let Some(ClaimsRefused::Audience { found, .. }) =
        refusal(Provider::Claims, &json!({"aud": "x".repeat(5000)}))
    else {
        panic!("a long audience was not refused for being another");
    };
    assert_eq!(found.len(), SHOWN_AUDIENCE_CHARS);
}

#[test]
fn the_times_hold_with_a_leeway_of_thirty_seconds() {
    let expired = |exp| Some(ClaimsRefused::Expired { expires_at: exp, now: NOW });
    let early =
        |claim, from| Some(ClaimsRefused::NotYetValid { claim, valid_from: from, now: NOW });
    for (name, changes, refused) in [
        ("the last second", json!({"exp": NOW - 29}), None),
        ("the first second after it", json!({"exp": NOW - 30}), expired(NOW - 30)),
        ("long ago", json!({"exp": 1}), expired(1)),
        ("the epoch", json!({"exp": 0}), expired(0)),
        ("before the epoch", json!({"exp": -1}), expired(-1)),
        ("the beginning of time", json!({"exp": i64::MIN}), expired(i64::MIN)),
        ("nbf at the leeway's end", json!({"nbf": NOW + 30}), None),
        ("nbf after the leeway", json!({"nbf": NOW + 31}), early("nbf", NOW + 31)),
        ("nbf at the end of time", json!({"nbf": i64::MAX}), early("nbf", i64::MAX)),
        ("nbf before the epoch", json!({"nbf": i64::MIN}), None),
        ("no nbf", json!({"nbf": null}), None),
        ("iat at the leeway's end", json!({"iat": NOW + 30}), None),
        ("iat after the leeway", json!({"iat": NOW + 31}), early("iat", NOW + 31)),
        ("iat at the end of time", json!({"iat": i64::MAX}), early("iat", i64::MAX)),
        ("expired and not yet valid", json!({"exp": 5, "nbf": NOW + 99}), expired(5)),
    ] {
        assert_eq!(refusal(Provider::Claims, &changes), refused, "{name}");
    }
}

#[test]
fn the_leeway_ends_at_the_very_microsecond() {
    let issuer = issuer_of(Provider::Claims);
    let token = verified(&issuer, &claims_of(&issuer));
    let at = |moment: Timestamp| token.accept(&issuer, AUDIENCE, moment).is_ok();
    let micro = Duration::from_micros(1);
    let end = Timestamp::from_seconds(NOW + 240).plus(LEEWAY);
    assert!(at(end.minus(micro)) && !at(end));
    let start = Timestamp::from_seconds(NOW - 60).minus(LEEWAY);
    assert!(at(start) && !at(start.minus(micro)));
}

#[test]
fn times_are_integers_within_bounds() {
    use ClaimProblem::{Missing, NotAnInteger, OutOfRange, TooLate};
    let day = 24 * 60 * 60;
    for (name, changes, refused) in [
        ("exp missing", json!({"exp": null}), claim("exp", Missing)),
        ("exp a string", json!({"exp": "1800000240"}), claim("exp", NotAnInteger)),
        ("exp a float", json!({"exp": 1_800_000_240.0}), claim("exp", NotAnInteger)),
        ("exp with a fraction", json!({"exp": 1_800_000_240.5}), claim("exp", NotAnInteger)),
        ("exp true", json!({"exp": true}), claim("exp", NotAnInteger)),
        ("exp a list", json!({"exp": [1_800_000_240]}), claim("exp", NotAnInteger)),
        ("exp beyond 63 bits", json!({"exp": u64::MAX}), claim("exp", NotAnInteger)),
        ("exp beyond 2^53", json!({"exp": (1_i64 << 53) + 1}), claim("exp", OutOfRange)),
        ("exp at 2^53", json!({"exp": 1_i64 << 53}), claim("exp", TooLate)),
        ("exp at the end of time", json!({"exp": i64::MAX}), claim("exp", OutOfRange)),
        ("iat missing", json!({"iat": null}), claim("iat", Missing)),
        ("iat a string", json!({"iat": "1"}), claim("iat", NotAnInteger)),
        ("iat a float", json!({"iat": 1.0}), claim("iat", NotAnInteger)),
        ("iat false", json!({"iat": false}), claim("iat", NotAnInteger)),
        ("nbf a string", json!({"nbf": "1"}), claim("nbf", NotAnInteger)),
        ("nbf a float", json!({"nbf": 1.5}), claim("nbf", NotAnInteger)),
        ("a life of a day", json!({"iat": NOW - day + 240}), None),
        ("a second more", json!({"iat": NOW - day + 239}), claim("exp", TooLate)),
        ("since the epoch", json!({"iat": 0}), claim("exp", TooLate)),
        ("since the beginning of time", json!({"iat": i64::MIN}), claim("exp", TooLate)),
    ] {
        assert_eq!(refusal(Provider::Claims, &changes), refused, "{name}");
    }
}

#[test]
fn what_json_writes_as_no_integer_is_none() {
    let issuer = issuer_of(Provider::Claims);
    for exp in ["null", "1.8e9", "1800000240e0", "1800000240.0", "18000002400000000000000"] {
        let text = claims_of(&issuer).to_string().replace(&(NOW + 240).to_string(), exp);
        assert!(text.contains(&format!(r#""exp":{exp}"#)));
        let refused = verified_text(&issuer, &text).accept(&issuer, AUDIENCE, now()).err();
        assert!(
            matches!(refused, Some(ClaimsRefused::Claim(ClaimFault { claim: "exp", .. }))),
            "{exp}"
        );
    }
}

#[test]
fn the_jti_is_what_its_provider_promises() {
    use ClaimProblem::{Empty, Missing, NotAString, TooLong};
    use Provider::{ActiveState, Claims, GitHub, GitLab, Google};
    let longest = "x".repeat(MAX_JTI_BYTES);
    let cases = [
        ("a UUID", json!("0e5b0c5e"), None),
        ("control characters", json!("\0\u{7}\n"), None),
        ("256 bytes", json!(longest), None),
        ("257 bytes", json!(longest.clone() + "x"), Some(TooLong)),
        ("256 characters of two bytes", json!("é".repeat(MAX_JTI_BYTES)), Some(TooLong)),
        ("empty", json!(""), Some(Empty)),
        ("a number", json!(7), Some(NotAString)),
        ("a list", json!(["a"]), Some(NotAString)),
        ("missing", json!(null), Some(Missing)),
    ];
    for (name, jti, problem) in cases {
        let changes = json!({"jti": jti});
        let required = problem.and_then(|problem| claim("jti", problem));
        let optional = if problem == Some(Missing) { None } else { required.clone() };
        for (provider, refused) in [
            (GitHub, &required),
            (GitLab, &required),
            (ActiveState, &optional),
            (Claims, &optional),
            (Google, &None),
        ] {
            assert_eq!(&refusal(provider, &changes), refused, "{name}, {provider:?}");
        }
    }
}

#[test]
fn an_id_token_is_redeemed_by_its_jti_where_its_provider_has_one() {
    for (provider, jti) in [
        (Provider::GitHub, Some("a-jti")),
        (Provider::GitLab, Some("a-jti")),
        (Provider::ActiveState, Some("a-jti")),
        (Provider::Claims, Some("a-jti")),
        (Provider::Google, None),
    ] {
        let issuer = issuer_of(provider);
        let token = verified(&issuer, &claims_of(&issuer));
        assert_eq!(token.accept(&issuer, AUDIENCE, now()).unwrap().jti(), jti, "{provider:?}");
    }
    let issuer = issuer_of(Provider::Claims);
    let token = verified(&issuer, &with(claims_of(&issuer), &json!({"jti": null})));
    assert_eq!(token.accept(&issuer, AUDIENCE, now()).unwrap().jti(), None);
}

#[test]
fn null_is_missing() {
    let issuer = issuer_of(Provider::GitHub);
    let text = claims_of(&issuer).to_string();
    for name in ["exp", "iat", "jti", "aud"] {
        let nulled =
            text.replace(&format!("\"{name}\":"), &format!("\"{name}\":null,\"was_{name}\":"));
        let refused = verified_text(&issuer, &nulled).accept(&issuer, AUDIENCE, now()).unwrap_err();
        let expected = match name {
            "aud" => {
                ClaimsRefused::Audience { expected: AUDIENCE.into(), found: "(missing)".into() }
            }
            "exp" => claim("exp", ClaimProblem::Missing).unwrap(),
            "iat" => claim("iat", ClaimProblem::Missing).unwrap(),
            _ => claim("jti", ClaimProblem::Missing).unwrap(),
        };
        assert_eq!(refused, expected, "{name}");
    }
    let nulled = text.replace("\"nbf\":", "\"nbf\":null,\"was_nbf\":");
    let token = verified_text(&issuer, &nulled);
    let accepted = token.accept(&issuer, AUDIENCE, now()).unwrap();
    assert_eq!(accepted.value("nbf"), None);
}

#[test]
fn claims_hold_for_no_issuer_but_their_own() {
    let issuer = issuer_of(Provider::Claims);
    let token = verified(&issuer, &claims_of(&issuer));
    let other = crate::oidc::testing::issuer(Provider::Claims, "https://issuer.example/");
    let refused = token.accept(&other, AUDIENCE, now()).err();
    assert_eq!(refused, claim("iss", ClaimProblem::OtherIssuer));
}

#[test]
fn refusals_are_sentences() {
    let shown = [
        refusal(Provider::Claims, &json!({"exp": 5})).unwrap().to_string(),
        refusal(Provider::Claims, &json!({"nbf": NOW + 99})).unwrap().to_string(),
        refusal(Provider::Claims, &json!({"aud": [AUDIENCE]})).unwrap().to_string(),
        refusal(Provider::GitHub, &json!({"jti": null})).unwrap().to_string(),
        refusal(Provider::GitHub, &json!({"iat": 5})).unwrap().to_string(),
    ];
    let expected = [
        "the ID token expired: its \"exp\" is 1970-01-01 00:00:05 UTC, and it is 2027-01-15 08:00:00 UTC",
        "the ID token is not valid yet: its \"nbf\" is 2027-01-15 08:01:39 UTC, and it is 2027-01-15 08:00:00 UTC",
        "the ID token is for the audience \"(a list)\", and must be for \"pypi\" alone",
        "the claim \"jti\" of the ID token is missing",
        "the claim \"exp\" of the ID token lies more than 24 hours after \"iat\"",
    ];
    assert_eq!(shown, expected);
}
