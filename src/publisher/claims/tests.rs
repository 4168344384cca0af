use serde_json::{Value, json};

use crate::{
    oidc::{Issuer, Provider, testing::issuer},
    publisher::tests::{candidate, found, mismatch},
};

use super::*;

fn buildkite() -> Issuer {
    issuer(Provider::Claims, "https://agent.buildkite.com")
}

fn equals(claim: &str, text: &str) -> ClaimRule {
    ClaimRule { claim: claim.to_owned(), condition: Condition::Equals(text.to_owned()) }
}

fn ignoring_case(claim: &str, text: &str) -> ClaimRule {
    ClaimRule { claim: claim.to_owned(), condition: Condition::EqualsIgnoreCase(text.to_owned()) }
}

fn glob(claim: &str, text: &str) -> ClaimRule {
    ClaimRule { claim: claim.to_owned(), condition: Condition::Glob(text.to_owned()) }
}

fn policy(rules: &[ClaimRule]) -> Identity {
    Identity::Claims(ClaimPolicy { rules: rules.to_vec() })
}

fn claims() -> Value {
    json!({
        "organization_slug": "acme", "pipeline_slug": "Tool", "build_branch": "release/1.2",
        "empty": "", "build_number": 7, "flag": true, "tags": ["a"], "more": {"a": "b"},
    })
}

#[test]
fn every_rule_must_hold() {
    for (name, rules, claim) in [
        ("one rule", vec![equals("organization_slug", "acme")], None),
        ("any case", vec![ignoring_case("pipeline_slug", "tOOL")], None),
        ("a glob", vec![glob("build_branch", "release/*")], None),
        (
            "all three",
            vec![
                equals("organization_slug", "acme"),
                ignoring_case("pipeline_slug", "tool"),
                glob("build_branch", "release/?.?"),
            ],
            None,
        ),
        ("a claim of every ID token", vec![equals("iss", "https://agent.buildkite.com")], None),
        ("no rules", vec![], Some("iss")),
        ("another case", vec![equals("pipeline_slug", "tool")], Some("pipeline_slug")),
        ("another text", vec![ignoring_case("pipeline_slug", "tools")], Some("pipeline_slug")),
        (
            "a letter that only Unicode folds",
            vec![ignoring_case("organization_slug", "acm\u{00c9}")],
            Some("organization_slug"),
        ),
        ("part of it", vec![glob("build_branch", "release")], Some("build_branch")),
        ("a glob is no regular expression", vec![glob("build_branch", ".*")], Some("build_branch")),
        ("nothing about an empty claim", vec![equals("empty", "")], Some("empty")),
        ("nothing in any case", vec![ignoring_case("empty", "")], Some("empty")),
        ("an empty glob", vec![glob("empty", "")], Some("empty")),
        ("a glob of anything takes the empty claim", vec![glob("empty", "**")], None),
        ("a number", vec![equals("build_number", "7")], Some("build_number")),
        ("a truth", vec![equals("flag", "true")], Some("flag")),
        ("a list", vec![glob("tags", "**")], Some("tags")),
        ("an object", vec![glob("more", "**")], Some("more")),
        ("a path into an object", vec![equals("more.a", "b")], Some("more.a")),
        ("a claim that isn't there", vec![glob("absent", "**")], Some("absent")),
        ("a claim without a name", vec![glob("", "**")], Some("")),
        (
            "the last of two",
            vec![equals("organization_slug", "acme"), equals("pipeline_slug", "x")],
            Some("pipeline_slug"),
        ),
    ] {
        let told = mismatch(&buildkite(), &claims(), &policy(&rules));
        assert_eq!(told.map(|(claim, _, _)| claim).as_deref(), claim, "{name}");
    }
}

#[test]
fn null_is_missing() {
    let mut text = claims();
    text["nothing"] = Value::Null;
    let told = mismatch(&buildkite(), &text, &policy(&[glob("nothing", "**")])).unwrap();
    assert_eq!(told.2, "(missing)");
}

#[test]
fn a_mismatch_says_what_stands_there() {
    let long = "x".repeat(MAX_GLOB_BYTES + 1);
    for (rule, expected, found) in [
        (equals("pipeline_slug", "tool"), "tool", "Tool"),
        (glob("build_branch", "v*"), "v*", "release/1.2"),
        (glob("absent", "v*"), "v*", "(missing)"),
        (equals("empty", "a"), "a", "(empty)"),
        (equals("build_number", "7"), "7", "7 (not a string)"),
        (equals("flag", "true"), "true", "true (not a string)"),
        (equals("tags", "a"), "a", "(a list) (not a string)"),
        (equals("pipeline_slug", ""), "(nothing is registered)", "Tool"),
        (glob("pipeline_slug", &long), "(a glob of more than 1024 bytes matches nothing)", "Tool"),
    ] {
        let told = mismatch(&buildkite(), &claims(), &policy(std::slice::from_ref(&rule))).unwrap();
        let (_, told_expected, told_found) = told;
        assert_eq!((told_expected.as_str(), told_found.as_str()), (expected, found), "{rule:?}");
    }
}

#[test]
fn the_policy_with_more_rules_wins_and_of_equals_the_first() {
    let one = policy(&[equals("organization_slug", "acme")]);
    let two = policy(&[equals("organization_slug", "acme"), glob("build_branch", "release/*")]);
    let winner = |identities: [(&str, &Identity); 2]| {
        let candidates =
            identities.map(|(id, identity)| candidate(id, &buildkite(), identity.clone()));
        found(&buildkite(), &claims(), &candidates).unwrap()
    };
    assert_eq!(winner([("one", &one), ("two", &two)]), "two");
    assert_eq!(winner([("two", &two), ("one", &one)]), "two");
    assert_eq!(winner([("first", &one), ("second", &one)]), "first");
}

#[test]
fn globs_match_whole_claims() {
    for (glob, text, matches) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "", false),
        ("a", "ab", false),
        ("a", "ba", false),
        ("?", "a", true),
        ("?", "é", true),
        ("?", "\u{1f600}", true),
        ("?", "/", false),
        ("?", "", false),
        ("??", "a", false),
        ("*", "", true),
        ("*", "abc", true),
        ("*", "a/b", false),
        ("*", "/", false),
        ("*.*", "a.b", true),
        ("a*", "a", true),
        ("a*c", "abbbc", true),
        ("a*c", "ab/c", false),
        ("a*b*c", "abXbYc", true),
        ("a*b*c", "acb", false),
        ("*/*", "a/b", true),
        ("*/*", "a/b/c", false),
        ("*/*", "/", true),
        ("**", "", true),
        ("**", "a/b/c", true),
        ("***", "a/b/c", true),
        ("a/**", "a/", true),
        ("a/**", "a", false),
        ("a/**", "a/b/c", true),
        ("**/c", "a/b/c", true),
        ("**/c", "c", false),
        ("a/**/c", "a/c", false),
        ("a/**/c", "a/b/b/c", true),
        ("**a*b", "x/axb", true),
        ("**a*b", "a/xb", false),
        ("**a*b", "a/aab", true),
        ("**a*b**", "a/a/ab/", true),
        ("**?x", "/x", false),
        ("**?x", "y/yx", true),
        ("refs/tags/v*", "refs/tags/v1.2", true),
        ("refs/tags/v*", "refs/tags/v1/evil", false),
        ("refs/tags/v*", "refs/tags/w1", false),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/tool:ref:refs/heads/main", true),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/x/tool:ref:refs/heads/main", false),
        ("[a]", "a", false),
        ("[a]", "[a]", true),
        ("{a,b}", "a", false),
        ("\\*", "*", false),
        ("\\*", "\\x", true),
        ("a.c", "abc", false),
        ("A", "a", false),
        ("a\nb", "a\nb", true),
        ("*", "a\nb", true),
    ] {
        assert_eq!(glob_matches(glob, text), matches, "{glob:?} on {text:?}");
    }
}

#[test]
fn no_claim_makes_a_glob_slow() {
    let glob = "**a*".repeat(200);
    let text = "a".repeat(12_000);
    // Tried one way after another this would outlive the universe.
    assert!(!glob_matches(&format!("{glob}b"), &text));
    assert!(glob_matches(&glob, &text));
}

proptest::proptest! {
    /// Against the plainest account of what a glob means.
    #[test]
    fn globs_match_what_they_say(glob in "[ab/*?]{0,8}", text in "[ab/]{0,8}") {
        proptest::prop_assert_eq!(glob_matches(&glob, &text), matches_slowly(&pieces(&glob), &text));
    }
}

fn matches_slowly(pieces: &[Piece], text: &str) -> bool {
    let rest =
        |text: &str| text.chars().next().map(|first| text.split_at(first.len_utf8()).1.to_owned());
    match pieces.split_first() {
        None => text.is_empty(),
        Some((Piece::Character(own), after)) => {
            text.starts_with(*own) && rest(text).is_some_and(|rest| matches_slowly(after, &rest))
        }
        Some((Piece::One, after)) => {
            !text.starts_with('/') && rest(text).is_some_and(|rest| matches_slowly(after, &rest))
        }
        Some((run, after)) => {
            let further = *run == Piece::AnyRun || !text.starts_with('/');
            matches_slowly(after, text)
                || (further && rest(text).is_some_and(|rest| matches_slowly(pieces, &rest)))
        }
    }
}
