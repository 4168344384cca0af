//! Reading, clearing and judging, case by case. What Warehouse answers to the
//! same caveats is held in `tests/vectors.rs`.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::{
    clock::Timestamp,
    macaroon::{Macaroon, RootKey, Subject},
};

const NOW: i64 = 1_700_000_000;

fn publisher() -> Subject {
    Subject::publisher("p1").unwrap()
}

fn access(subject: &Subject) -> Access<'_> {
    Access {
        now: Timestamp::from_seconds(NOW),
        subject,
        action: Action::parse("").unwrap(),
        project: Some(AccessProject { id: Some("id-1"), name: "sample-project".to_owned() }),
        publisher_ids: &[],
        version: Some("1.0".parse().unwrap()),
        filename: Some("sample_project-1.0.tar.gz"),
        sha256: Some([0xab; 32]),
        client_ip: Some("192.0.2.7".parse().unwrap()),
    }
}

/// What reading and clearing make of a predicate for an access.
fn judged(predicate: &str, access: &Access<'_>) -> Result<(), Uncleared> {
    match read(predicate.as_bytes()) {
        Err(Unreadable) => Err(Uncleared::Unreadable),
        Ok(caveat) => clear(&caveat, access),
    }
}

#[test]
fn every_form_of_the_contract_is_read() {
    let texts = |items: &[&'static str]| items.iter().map(|item| Cow::Borrowed(*item)).collect();
    for (predicate, expected) in [
        ("[0,2,1]", Caveat::Expiration { expires_at: 2, not_before: 1 }),
        ("[1,[\"a\",\"b\"]]", Caveat::ProjectNames(texts(&["a", "b"]))),
        ("[1,[]]", Caveat::ProjectNames(vec![])),
        ("[2,[\"i\"]]", Caveat::ProjectIds(texts(&["i"]))),
        ("[3,\"u\"]", Caveat::UserId("u".into())),
        ("[4,\"p\"]", Caveat::PublisherId("p".into())),
        ("[4,\"p\",{\"ref\":\"r\",\"sha\":null}]", Caveat::PublisherId("p".into())),
        ("[4,\"p\",null]", Caveat::PublisherId("p".into())),
        (
            "[4,\"p\",{\"a\":[1.5,-9223372036854775808,9223372036854775807]}]",
            Caveat::PublisherId("p".into()),
        ),
        ("[64,\"n\",3]", Caveat::Uses { nonce: "n".into(), count: 3 }),
        ("[65,[\"1.0\"]]", Caveat::Versions(texts(&["1.0"]))),
        ("[66,[\"f\"]]", Caveat::Filenames(texts(&["f"]))),
        ("[67,[\"00\"]]", Caveat::Digests(texts(&["00"]))),
        ("[68,[\"::/0\"]]", Caveat::ClientNetworks(texts(&["::/0"]))),
        ("[69,[\"upload\"]]", Caveat::Actions(texts(&["upload"]))),
        ("{\"nbf\":1,\"exp\":2}", Caveat::Expiration { expires_at: 2, not_before: 1 }),
        ("{\"project_ids\":[\"i\"]}", Caveat::ProjectIds(texts(&["i"]))),
        ("{\"version\":1,\"permissions\":\"user\"}", Caveat::AnyUser),
        (
            "{\"version\":1,\"permissions\":{\"projects\":[\"a\"]}}",
            Caveat::ProjectNames(texts(&["a"])),
        ),
        // White space and escapes mean what JSON says.
        (" [ 1 , [ \"\\u0061\" ] ] ", Caveat::ProjectNames(texts(&["a"]))),
        ("[3,\"\\ud83d\\ude00\"]", Caveat::UserId("\u{1f600}".into())),
    ] {
        assert_eq!(read(predicate.as_bytes()).as_ref(), Ok(&expected), "{predicate}");
    }
}

#[test]
fn every_other_form_is_unreadable() {
    for predicate in [
        "",
        "null",
        "0",
        "\"\"",
        "[]",
        "{}",
        "[[]]",
        "[5,1]",
        "[63,1]",
        "[70,[\"x\"]]",
        "[-1,1]",
        "[\"0\",2,1]",
        "[true,[\"a\"]]",
        "[1.0,[\"a\"]]",
        "[1e0,[\"a\"]]",
        "[-0,2,1]",
        "[0,2]",
        "[0,2,1,0]",
        "[0,2.0,1]",
        "[0,\"2\",1]",
        "[0,true,false]",
        "[0,null,1]",
        "[0,NaN,1]",
        "[0,Infinity,1]",
        "[0,9223372036854775808,1]",
        "[0,99999999999999999999999,1]",
        "[1,\"a\"]",
        "[1,[1]]",
        "[1,[null]]",
        "[1,[[\"a\"]]]",
        "[1,{\"a\":1}]",
        "[1,[\"a\"],[]]",
        "[2,[1]]",
        "[3,1]",
        "[3,null]",
        "[3,[\"u\"]]",
        "[3,\"u\",{}]",
        "[4,1]",
        "[4,\"p\",[]]",
        "[4,\"p\",\"x\"]",
        "[4,\"p\",1]",
        "[4,\"p\",{\"a\":1,\"a\":2}]",
        "[4,\"p\",{},{}]",
        "[4,\"p\",{\"a\":9223372036854775808}]",
        "[4,\"p\",{\"a\":[-9223372036854775809]}]",
        "[4,\"p\",{\"a\":{\"b\":99999999999999999999999}}]",
        "[64,\"n\"]",
        "[64,\"n\",-1]",
        "[64,\"n\",4294967296]",
        "[64,\"n\",1.0]",
        "[64,1,1]",
        "[65,\"1.0\"]",
        "[1,[\"a\"]] x",
        "[1,[\"a\"]",
        "[1,[\"a\",]]",
        "[1,['a']]",
        "[1,[\"\\ud800\"]]",
        "\u{feff}[1,[\"a\"]]",
        "{\"exp\":2}",
        "{\"exp\":2,\"nbf\":1,\"x\":0}",
        "{\"exp\":2,\"exp\":3,\"nbf\":1}",
        "{\"exp\":2,\"nbf\":1,\"project_ids\":[]}",
        "{\"exp\":2.5,\"nbf\":1}",
        "{\"project_ids\":\"i\"}",
        "{\"version\":1}",
        "{\"version\":2,\"permissions\":\"user\"}",
        "{\"version\":true,\"permissions\":\"user\"}",
        "{\"version\":1.0,\"permissions\":\"user\"}",
        "{\"version\":1,\"permissions\":\"admin\"}",
        "{\"version\":1,\"permissions\":[\"user\"]}",
        "{\"version\":1,\"permissions\":{}}",
        "{\"version\":1,\"permissions\":{\"projects\":[],\"x\":1}}",
        "{\"version\":1,\"permissions\":{\"projects\":[],\"projects\":[\"a\"]}}",
        "{\"permissions\":\"user\"}",
    ] {
        assert_eq!(read(predicate.as_bytes()), Err(Unreadable), "{predicate}");
    }
    assert_eq!(read(b"[1,[\"\xff\"]]"), Err(Unreadable), "invalid UTF-8");
    assert_eq!(read(&b"[\x001\x00]"[..]), Err(Unreadable), "UTF-16");
}

#[test]
fn what_is_written_reads_back_as_the_same() {
    for predicate in [
        "[0,2,-1]",
        "[1,[\"a\",\"\u{e9}\\\"\\\\\\n\"]]",
        "[2,[]]",
        "[3,\"u\"]",
        "[4,\"p\"]",
        "[64,\"n\",1]",
        "[65,[\"1\"]]",
        "[66,[\"f\"]]",
        "[67,[\"00\"]]",
        "[68,[\"10.0.0.0/8\"]]",
        "[69,[\"upload\"]]",
        "{\"version\":1,\"permissions\":\"user\"}",
    ] {
        let caveat = read(predicate.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(caveat.write()).unwrap(), predicate);
    }
}

#[test]
fn time_is_held_to_the_second_and_without_leeway() {
    let subject = publisher();
    for (name, predicate, micros, expected) in [
        ("the last moment", "[0,20,10]", 19_999_999, None),
        ("the end", "[0,20,10]", 20_000_000, Some("expired")),
        ("the first moment", "[0,20,10]", 10_000_000, None),
        ("the moment before", "[0,20,10]", 9_999_999, Some("not valid before")),
        ("an interval that never was", "[0,10,20]", 15_000_000, Some("expired")),
        ("the legacy form", "{\"exp\":20,\"nbf\":10}", 20_000_000, Some("expired")),
        ("the largest end", "[0,9223372036854775807,0]", 10_000_000, None),
    ] {
        let access = Access { now: Timestamp::from_micros(micros), ..access(&subject) };
        let answer = judged(predicate, &access).err().map(|why| why.to_string());
        match expected {
            None => assert_eq!(answer, None, "{name}"),
            Some(words) => assert!(
                answer.as_ref().is_some_and(|said| said.contains(words)),
                "{name}: {answer:?}"
            ),
        }
    }
}

#[test]
fn lists_clear_what_they_hold_and_nothing_else() {
    let subject = publisher();
    let access = access(&subject);
    let digest = "ab".repeat(32);
    for (predicate, clears) in [
        ("[1,[\"other\",\"sample-project\"]]".to_owned(), true),
        ("[1,[\"Sample_Project\"]]".to_owned(), false),
        ("[1,[\"sample-project2\"]]".to_owned(), false),
        ("[1,[]]".to_owned(), false),
        ("[2,[\"id-1\"]]".to_owned(), true),
        ("[2,[\"ID-1\"]]".to_owned(), false),
        ("[65,[\"1.0.0\"]]".to_owned(), true),
        ("[65,[\"v1\"]]".to_owned(), true),
        ("[65,[\"1.0.post1\"]]".to_owned(), false),
        ("[65,[\"not a version\"]]".to_owned(), false),
        ("[65,[\"not a version\",\"1\"]]".to_owned(), true),
        ("[66,[\"sample_project-1.0.tar.gz\"]]".to_owned(), true),
        ("[66,[\"Sample_project-1.0.tar.gz\"]]".to_owned(), false),
        (format!("[67,[\"{digest}\"]]"), true),
        (format!("[67,[\"{}\"]]", digest.to_uppercase()), false),
        ("[67,[\"zz\"]]".to_owned(), false),
        ("[68,[\"192.0.2.0/24\"]]".to_owned(), true),
        ("[68,[\"192.0.2.7/32\"]]".to_owned(), true),
        ("[68,[\"192.0.2.7\"]]".to_owned(), false),
        ("[68,[\"198.51.100.0/24\",\"::/0\"]]".to_owned(), false),
        ("[68,[\"nonsense\"]]".to_owned(), false),
        ("[69,[\"upload\"]]".to_owned(), true),
        ("[69,[\"Upload\"]]".to_owned(), false),
        ("[69,[\"delete\"]]".to_owned(), false),
    ] {
        assert_eq!(judged(&predicate, &access).is_ok(), clears, "{predicate}");
    }
}

#[test]
fn what_the_access_does_not_tell_denies_with_the_reason_of_its_caveat() {
    let subject = publisher();
    let bare = Access {
        project: None,
        version: None,
        filename: None,
        sha256: None,
        client_ip: None,
        ..access(&subject)
    };
    for (predicate, expected) in [
        ("[1,[\"a\"]]", "the token is for the project \"a\", and this is for no project"),
        ("[2,[\"i\"]]", "the token is for the project id \"i\", and this is for no project"),
        ("[4,\"p1\"]", "the token's publisher can only act on a project, and this concerns none"),
        ("[65,[\"1\"]]", "the token is for the version \"1\", and this is no version"),
        ("[66,[\"f\"]]", "the token is for the file \"f\", and this is no named file"),
        ("[67,[\"00\"]]", "the token is for other contents: the file's SHA-256 is not known here"),
        (
            "[68,[\"::/0\"]]",
            "the token is for use from the network \"::/0\", and this comes from an unknown address",
        ),
    ] {
        assert_eq!(judged(predicate, &bare).unwrap_err().to_string(), expected);
    }
}

#[test]
fn subjects_are_held_against_tags_3_and_4() {
    let registered = ["p0".to_owned(), "p1".to_owned()];
    let user = Subject::user("u1").unwrap();
    let publisher = publisher();
    for (name, predicate, subject, publisher_ids, expected) in [
        ("the user", "[3,\"u1\"]", &user, &[][..], Ok(())),
        ("another user", "[3,\"u2\"]", &user, &[], Err(Uncleared::User)),
        ("a publisher for a user", "[3,\"p1\"]", &publisher, &[], Err(Uncleared::SubjectNotUser)),
        ("any user", "{\"version\":1,\"permissions\":\"user\"}", &user, &[], Ok(())),
        (
            "any user, for a publisher",
            "{\"version\":1,\"permissions\":\"user\"}",
            &publisher,
            &[],
            Err(Uncleared::SubjectNotUser),
        ),
        ("registered", "[4,\"p1\"]", &publisher, &registered, Ok(())),
        (
            "not registered any more",
            "[4,\"p1\"]",
            &publisher,
            &registered[..1],
            Err(Uncleared::PublisherNotRegistered { project: "sample-project".to_owned() }),
        ),
        ("another's", "[4,\"p0\"]", &publisher, &registered, Err(Uncleared::Publisher)),
        ("a user's", "[4,\"u1\"]", &user, &registered, Err(Uncleared::Publisher)),
    ] {
        let access = Access { publisher_ids, ..access(subject) };
        assert_eq!(judged(predicate, &access), expected, "{name}");
    }
}

#[test]
fn sentences_for_bearers_stay_short_and_clean() {
    let subject = publisher();
    let access = access(&subject);
    let many = (0..500).map(|at| format!("\"n{at}\"")).collect::<Vec<_>>().join(",");
    let said = judged(&format!("[1,[{many}]]"), &access).unwrap_err().to_string();
    assert_eq!(
        said,
        "the token is for the projects \"n0\", \"n1\", \"n2\" and 497 more, and this is for \
         \"sample-project\""
    );
    let odd = format!("[66,[\"\\u001b[31m{}\"]]", "x".repeat(5_000));
    let said = judged(&odd, &access).unwrap_err().to_string();
    assert!(said.len() < 300 && !said.contains('\u{1b}'), "{said}");
}

fn token(predicates: &[&str]) -> Macaroon {
    let mut macaroon = Macaroon::mint(&root(), "index.example", "identifier");
    for predicate in predicates {
        macaroon.attenuate(predicate.as_bytes()).unwrap();
    }
    macaroon
}

fn root() -> RootKey {
    RootKey::new(b"a root key made for this test")
}

#[test]
fn every_refusal_is_told_with_its_position_and_stored_caveats_count_on() {
    let subject = publisher();
    let macaroon = token(&["[0,1,0]", "[1,[\"sample-project\"]]", "junk"]);
    let stored = [ReadCaveat::Known(Caveat::UserId("u".into()))];
    let judgement =
        judge(macaroon.verify(&root()).unwrap(), &stored, &access(&subject), Offered::Standard);
    let told: Vec<_> =
        judgement.denials.iter().map(|denial| (denial.caveat, &denial.why)).collect();
    assert_eq!(
        told,
        [
            (0, &Uncleared::Expired { expires_at: 1, now: NOW }),
            (2, &Uncleared::Unreadable),
            (3, &Uncleared::SubjectNotUser),
        ]
    );
    assert_eq!(judgement.caveats.len(), 3);
}

#[test]
fn uses_need_an_end_before_them_and_are_counted_until_an_end_that_all_siblings_share() {
    let subject = publisher();
    let far = format!("[0,{},0]", NOW + 900);
    let near = format!("[0,{},0]", NOW + 60);
    for (name, predicates, expected) in [
        ("no end", vec!["[64,\"n\",1]"], Err(Uncleared::UsesWithoutEnd)),
        ("an end before", vec![&far, "[64,\"n\",1]"], Ok(NOW + 900)),
        ("a nearer end after", vec![&far, "[64,\"n\",1]", &near], Ok(NOW + 900)),
        ("two ends before", vec![&far, &near, "[64,\"n\",1]"], Ok(NOW + 60)),
        ("an end only after", vec!["[64,\"n\",1]", &near], Err(Uncleared::UsesWithoutEnd)),
        ("no count", vec![&far, "[64,\"n\",0]"], Err(Uncleared::UsesSpent { count: 0 })),
    ] {
        let macaroon = token(&predicates);
        let verified = macaroon.verify(&root()).unwrap();
        let judgement = judge(verified, &[], &access(&subject), Offered::Extended);
        match expected {
            Err(why) => assert_eq!(judgement.denials[0].why, why, "{name}"),
            Ok(until) => {
                assert_eq!(judgement.denials, [], "{name}");
                assert_eq!(judgement.uses[0].until, until, "{name}");
            }
        }
    }
    // A stored expiration doesn't count: the index can change it.
    let macaroon = token(&["[64,\"n\",1]"]);
    let stored = [ReadCaveat::Known(Caveat::Expiration { expires_at: NOW + 9, not_before: 0 })];
    let verified = macaroon.verify(&root()).unwrap();
    let judgement = judge(verified, &stored, &access(&subject), Offered::Extended);
    assert_eq!(judgement.denials[0].why, Uncleared::UsesWithoutEnd);
}

#[test]
fn tags_from_64_deny_where_the_index_has_not_switched_them_on() {
    let subject = publisher();
    for predicate in ["[64,\"n\",1]", "[65,[\"1.0\"]]", "[69,[\"upload\"]]"] {
        let macaroon = token(&["[0,9223372036854775807,0]", predicate]);
        let verified = macaroon.verify(&root()).unwrap();
        let answer = |offered| judge(verified, &[], &access(&subject), offered).denials.len();
        assert_eq!((answer(Offered::Standard), answer(Offered::Extended)), (1, 0), "{predicate}");
    }
}

#[test]
fn asked_caveats_are_put_in_normal_form_or_refused() {
    let text = |caveat: Result<Caveat<'static>, Unaskable>| {
        caveat.map(|caveat| String::from_utf8(caveat.write()).unwrap())
    };
    for (asked, expected) in [
        (text(Caveat::project_names(["Sample_.Project"])), Ok("[1,[\"sample-project\"]]")),
        (text(Caveat::project_names([])), Err(Unaskable::Empty)),
        (text(Caveat::project_names(["é"])), Err(Unaskable::ProjectName("é".to_owned()))),
        (text(Caveat::client_networks(["10.1.2.3/8"])), Ok("[68,[\"10.0.0.0/8\"]]")),
        (text(Caveat::client_networks(["10.1.2.3"])), Err(Unaskable::Network("10.1.2.3".into()))),
        (text(Caveat::versions(["1.0"])), Ok("[65,[\"1.0\"]]")),
        (text(Caveat::versions(["one"])), Err(Unaskable::Version("one".into()))),
        (text(Caveat::digests([&[1, 2][..]])), Err(Unaskable::Digest(2))),
        (text(Caveat::filenames(["a/b"])), Err(Unaskable::Filename("a/b".into()))),
        (text(Caveat::actions(["Upload"])), Err(Unaskable::Action("Upload".into()))),
        (text(Caveat::actions([""])), Err(Unaskable::Action("".into()))),
        (text(Caveat::uses(0)), Err(Unaskable::NoUses)),
        (text(Caveat::user_id("")), Err(Unaskable::Id)),
        (
            text(Caveat::expiration(2, 2)),
            Err(Unaskable::NeverValid { not_before: 2, expires_at: 2 }),
        ),
    ] {
        assert_eq!(asked, expected.map(str::to_owned));
    }
}

#[test]
fn asked_ends_go_first_and_every_count_gets_a_nonce_of_its_own() {
    let asked = vec![
        Caveat::uses(1).unwrap(),
        Caveat::actions(["upload"]).unwrap(),
        Caveat::uses(2).unwrap(),
        Caveat::expiration(1, 2).unwrap(),
    ];
    let finished = finish(asked, &[0; 16]);
    assert!(matches!(finished[0], Caveat::Expiration { .. }));
    let nonces: Vec<_> = finished
        .iter()
        .filter_map(|caveat| match caveat {
            Caveat::Uses { nonce, .. } => Some(nonce.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(nonces.len(), 2);
    assert_ne!(nonces[0], nonces[1]);
}

fn any_predicate() -> impl Strategy<Value = String> {
    prop_oneof![
        (0i64..40, 0i64..40).prop_map(|(end, start)| format!("[0,{end},{start}]")),
        prop::sample::subsequence(vec!["\"a\"", "\"b\"", "\"sample-project\""], 0..3)
            .prop_map(|names| format!("[1,[{}]]", names.join(","))),
        prop::sample::select(vec![
            "[2,[\"id-1\"]]",
            "[3,\"u1\"]",
            "[4,\"p1\"]",
            "[64,\"n\",1]",
            "[65,[\"1\"]]",
            "[66,[\"x\"]]",
            "[68,[\"0.0.0.0/0\"]]",
            "[69,[\"upload\"]]",
            "[70,1]",
            "junk",
            "{\"exp\":30,\"nbf\":5}",
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_access() -> impl Strategy<Value = (Subject, i64, Option<&'static str>, bool, Option<IpAddr>)>
{
    (
        prop::sample::select(vec![Subject::user("u1").unwrap(), Subject::publisher("p1").unwrap()]),
        0i64..40,
        prop::sample::select(vec![None, Some("a"), Some("sample-project")]),
        any::<bool>(),
        prop::sample::select(vec![None, Some("10.0.0.1".parse().unwrap())]),
    )
}

proptest! {
    /// The law of attenuation: whatever the narrower token is allowed, the wider
    /// one is too.
    #[test]
    fn a_narrower_token_is_never_allowed_more_than_a_wider_one(
        wide in prop::collection::vec(any_predicate(), 0..4),
        more in prop::collection::vec(any_predicate(), 0..3),
        (subject, now, project, registered, client_ip) in any_access(),
    ) {
        let ids = ["p1".to_owned()];
        let access = Access {
            now: Timestamp::from_seconds(now),
            project: project.map(|name| AccessProject { id: Some("id-1"), name: name.to_owned() }),
            publisher_ids: if registered { &ids } else { &[] },
            client_ip,
            ..access(&subject)
        };
        let wider = token(&wide.iter().map(String::as_str).collect::<Vec<_>>());
        let mut narrower = wider.clone();
        for predicate in &more {
            narrower.attenuate(predicate.as_bytes()).unwrap();
        }
        let verdict = |macaroon: &Macaroon| {
            let judgement =
                judge(macaroon.verify(&root()).unwrap(), &[], &access, Offered::Extended);
            (judgement.denials, judgement.uses)
        };
        let (wide_denials, wide_uses) = verdict(&wider);
        let (narrow_denials, narrow_uses) = verdict(&narrower);
        if narrow_denials.is_empty() {
            prop_assert_eq!(wide_denials, []);
            prop_assert!(narrow_uses.starts_with(&wide_uses));
        }
    }

    #[test]
    fn reading_never_panics(bytes: Vec<u8>) {
        let _ = read(&bytes);
    }
}
