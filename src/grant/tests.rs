//! What an index grants and what not, by tables.

use super::*;
use crate::publisher::{GitHub, Identity};

const MINUTE: Duration = Duration::from_secs(60);

fn policy() -> GrantPolicy {
    GrantPolicy {
        lifetime: MIN_PUBLISHER_LIFETIME,
        min_lifetime: None,
        max_lifetime: None,
        features: vec![Feature::MultiUse, Feature::SingleUse],
        default_features: vec![Feature::MultiUse],
        max_embedded_projects: 3,
        offered: Offered::Extended,
    }
}

/// A publisher with these projects, of which the first has the id `1`.
fn publisher(names: &[&str]) -> Publisher {
    let project =
        |(id, name): (usize, &&str)| Project { id: (id + 1).to_string(), name: (*name).to_owned() };
    Publisher {
        id: "p".to_owned(),
        projects: names.iter().enumerate().map(project).collect(),
        issuer: "https://issuer.example".to_owned(),
        projects_at_use: false,
        identity: Identity::GitHub(GitHub::default()),
    }
}

fn lifetime(lifetime: Duration) -> Wish {
    Wish { lifetime: Some(lifetime), ..Wish::default() }
}

fn features(names: &[&str]) -> Wish {
    Wish { features: names.iter().map(|&name| name.to_owned()).collect(), ..Wish::default() }
}

fn projects(names: &[&str]) -> Wish {
    Wish { projects: names.iter().map(|&name| name.to_owned()).collect(), ..Wish::default() }
}

fn caveats(caveats: Vec<Caveat<'static>>) -> Wish {
    Wish { caveats, ..Wish::default() }
}

fn seed(micros: i64) -> Seed {
    Seed {
        minted_at: Timestamp::from_micros(micros),
        uuid_bits: [7; 10],
        nonce_bits: [9; 16],
        key_id: "k1".to_owned(),
    }
}

/// What a publisher's wish comes to: the grant, by the policy's own bounds.
fn granted(policy: &GrantPolicy, publisher: &Publisher, wish: Wish) -> Result<Grant, GrantRefused> {
    let allowed = policy.allow_publisher(wish)?;
    Grant::for_publisher(publisher, allowed, policy.max_embedded_projects)
}

/// The caveats of a grant at the first microsecond of second 1000.
fn written(grant: &Grant) -> Vec<String> {
    let caveats = grant.caveats(&seed(1_000_000_000));
    caveats.iter().map(|caveat| String::from_utf8(caveat.write()).unwrap()).collect()
}

#[test]
fn a_feature_is_taken_where_it_is_known_offered_and_uncontradicted() {
    let (multi, single) = ("multi-use-token", "single-use-token");
    let both = &[Feature::MultiUse, Feature::SingleUse][..];
    let unsupported =
        |feature: &str| Err(GrantRefused::FeatureUnsupported { feature: feature.to_owned() });
    for (name, offered, default, asked, expected) in [
        ("the default", both, Feature::MultiUse, &[][..], Ok(Feature::MultiUse)),
        ("another default", both, Feature::SingleUse, &[], Ok(Feature::SingleUse)),
        ("multi", both, Feature::SingleUse, &[multi], Ok(Feature::MultiUse)),
        ("single", both, Feature::MultiUse, &[single], Ok(Feature::SingleUse)),
        ("one twice", both, Feature::MultiUse, &[single, single], Ok(Feature::SingleUse)),
        ("both", both, Feature::MultiUse, &[multi, single], Err(GrantRefused::FeaturesContradict)),
        (
            "both, the other way round",
            both,
            Feature::MultiUse,
            &[single, multi],
            Err(GrantRefused::FeaturesContradict),
        ),
        ("not offered", &both[..1], Feature::MultiUse, &[single], unsupported(single)),
        ("the other one", &both[1..], Feature::SingleUse, &[multi], unsupported(multi)),
        ("unknown", both, Feature::MultiUse, &["two-use-token"], unsupported("two-use-token")),
        ("unknown among known", both, Feature::MultiUse, &[multi, "x"], unsupported("x")),
        ("another case", both, Feature::MultiUse, &["Multi-Use-Token"], {
            unsupported("Multi-Use-Token")
        }),
        ("an empty name", both, Feature::MultiUse, &[""], unsupported("")),
    ] {
        let policy =
            GrantPolicy { features: offered.to_vec(), default_features: vec![default], ..policy() };
        let answer = policy.allow_publisher(features(asked)).map(|allowed| allowed.feature);
        assert_eq!(answer, expected, "{name}");
    }
}

#[test]
fn an_unknown_feature_is_shown_cut_and_without_control_characters() {
    let odd = format!("a\nb\u{7f}{}", "é".repeat(100));
    let refused = policy().allow_publisher(features(&[&odd])).unwrap_err();
    let expected = format!("this index does not offer the feature \"ab{}\"", "é".repeat(62));
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn a_publishers_lifetime_lies_between_a_quarter_of_an_hour_and_six_hours() {
    let second = Duration::from_secs(1);
    let nano = Duration::from_nanos(1);
    for (name, min, max, asked, allowed) in [
        ("nothing asked", None, None, None, true),
        ("the shortest", None, None, Some(900 * second), true),
        ("a second less", None, None, Some(899 * second), false),
        ("a nanosecond less", None, None, Some(900 * second - nano), false),
        ("a nanosecond more", None, None, Some(900 * second + nano), true),
        ("the longest", None, None, Some(21_600 * second), true),
        ("a second more than that", None, None, Some(21_601 * second), false),
        ("a nanosecond more than that", None, None, Some(21_600 * second + nano), false),
        ("none at all", None, None, Some(Duration::ZERO), false),
        ("endless", None, None, Some(Duration::MAX), false),
        ("the index's shortest", Some(20 * MINUTE), None, Some(20 * MINUTE), true),
        ("less than that", Some(20 * MINUTE), None, Some(20 * MINUTE - nano), false),
        ("the index's longest", None, Some(60 * MINUTE), Some(60 * MINUTE), true),
        ("more than that", None, Some(60 * MINUTE), Some(60 * MINUTE + nano), false),
        ("a user's shortest is no publisher's", Some(MINUTE), None, Some(MINUTE), false),
        ("a user's longest is no publisher's", None, Some(600 * MINUTE), Some(400 * MINUTE), false),
        ("a longest below the shortest", None, Some(5 * MINUTE), Some(15 * MINUTE), true),
        ("and nothing beside it", None, Some(5 * MINUTE), Some(16 * MINUTE), false),
    ] {
        let policy = GrantPolicy { min_lifetime: min, max_lifetime: max, ..policy() };
        let answer = policy.allow_publisher(Wish { lifetime: asked, ..Wish::default() });
        match answer {
            Ok(_) => assert!(allowed, "{name}"),
            Err(GrantRefused::Lifetime { .. }) => assert!(!allowed, "{name}"),
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn the_lifetime_that_nobody_asked_for_is_the_indexs_inside_its_bounds() {
    for (own, min, max, expected) in [
        (15 * MINUTE, None, None, 900),
        (60 * MINUTE, None, None, 3_600),
        (15 * MINUTE, Some(30 * MINUTE), None, 1_800),
        (60 * MINUTE, None, Some(20 * MINUTE), 1_200),
        (60 * MINUTE, None, Some(5 * MINUTE), 900),
    ] {
        let policy =
            GrantPolicy { lifetime: own, min_lifetime: min, max_lifetime: max, ..policy() };
        let grant = granted(&policy, &publisher(&["a"]), Wish::default()).unwrap();
        assert_eq!(written(&grant)[2], format!("[0,{},970]", 1_000 + expected), "{policy:?}");
    }
}

#[test]
fn a_token_lives_for_its_whole_lifetime_counted_from_the_next_second() {
    let half = Duration::from_millis(500);
    for (minted_at, lifetime, expected) in [
        (1_000_000_000, 15 * MINUTE, "[0,1900,970]"),
        (1_000_000_001, 15 * MINUTE, "[0,1901,970]"),
        (1_000_999_999, 15 * MINUTE, "[0,1901,970]"),
        (1_000_000_000, 15 * MINUTE + half, "[0,1901,970]"),
        (1_000_000_001, 15 * MINUTE + half, "[0,1902,970]"),
        (1_000_000_000, 15 * MINUTE + Duration::from_nanos(1), "[0,1901,970]"),
        // Nor does it live longer than it may.
        (1_000_000_000, MAX_PUBLISHER_LIFETIME, "[0,22600,970]"),
        (1_000_000_001, MAX_PUBLISHER_LIFETIME, "[0,22600,970]"),
        (1_000_999_999, MAX_PUBLISHER_LIFETIME, "[0,22600,970]"),
        (1_000_000_001, MAX_PUBLISHER_LIFETIME - half, "[0,22600,970]"),
        (1_999_999_999, MAX_PUBLISHER_LIFETIME - half, "[0,23599,1969]"),
    ] {
        let wish = Wish { lifetime: Some(lifetime), ..Wish::default() };
        let grant = granted(&policy(), &publisher(&["a"]), wish).unwrap();
        let caveats = grant.caveats(&seed(minted_at));
        assert_eq!(caveats[2].write(), expected.as_bytes(), "{minted_at} µs, {lifetime:?}");
    }
}

#[test]
fn a_users_token_ends_only_where_somebody_says_so() {
    let second = Duration::from_secs(1);
    let refused = |min, max| Err(GrantRefused::Lifetime { min, max });
    for (name, min, max, asked, expected) in [
        ("nobody says", None, None, None, Ok("")),
        ("the request", None, None, Some(second), Ok("[0,1001,970]")),
        ("years", None, None, Some(315_360_000 * second), Ok("[0,315361000,970]")),
        ("less than a second", None, None, Some(second / 2), refused(second, None)),
        ("the index", None, Some(60 * MINUTE), None, Ok("[0,4600,970]")),
        ("beyond the index", None, Some(60 * MINUTE), Some(61 * MINUTE), {
            refused(second, Some(60 * MINUTE))
        }),
        ("short of the index", Some(MINUTE), None, Some(59 * second), refused(MINUTE, None)),
        ("a shortest, and nothing asked", Some(MINUTE), None, None, Ok("")),
    ] {
        let policy = GrantPolicy { min_lifetime: min, max_lifetime: max, ..policy() };
        let answer = policy.allow_user(Wish { lifetime: asked, ..Wish::default() });
        let answer = answer.map(|allowed| written(&Grant::for_user("u", allowed))[1..].join(""));
        assert_eq!(answer, expected.map(str::to_owned), "{name}");
    }
}

#[test]
fn a_lifetime_out_of_bounds_is_told_with_its_bounds() {
    let hour = 60 * MINUTE;
    for (max, asked, publishers, users) in [
        (
            None,
            Duration::from_millis(1),
            "the lifetime must lie between 15 min and 6 h",
            "the lifetime must be at least 1 s",
        ),
        (
            Some(hour),
            2 * hour,
            "the lifetime must lie between 15 min and 1 h",
            "the lifetime must lie between 1 s and 1 h",
        ),
        (
            Some(15 * MINUTE),
            2 * hour,
            "the lifetime must be exactly 15 min",
            "the lifetime must lie between 1 s and 15 min",
        ),
    ] {
        let policy = GrantPolicy { max_lifetime: max, ..policy() };
        let refused = policy.allow_publisher(lifetime(asked)).unwrap_err();
        assert_eq!(refused.to_string(), publishers);
        let refused = policy.allow_user(lifetime(asked)).unwrap_err();
        assert_eq!(refused.to_string(), users);
    }
}

#[test]
fn the_scope_names_projects_up_to_the_bound_and_the_publisher_beyond() {
    let four = &["a", "b", "c", "d"];
    for (name, registered, wanted, scope, told) in [
        ("one", &four[..1], &[][..], Some(r#"[2,["1"]]"#), 1),
        ("exactly as many as may be", &four[..3], &[], Some(r#"[2,["1","2","3"]]"#), 3),
        ("one too many", &four[..], &[], None, 0),
        ("one wanted of too many", four, &["d"], Some(r#"[2,["4"]]"#), 1),
        ("three wanted of too many", four, &["a", "c", "d"], Some(r#"[2,["1","3","4"]]"#), 3),
        ("in the publisher's order", four, &["c", "a"], Some(r#"[2,["1","3"]]"#), 2),
        ("one known and one unknown", four, &["b", "z"], Some(r#"[2,["2"]]"#), 1),
        ("one registered twice", &["a", "A"], &["a"], Some(r#"[2,["1","2"]]"#), 2),
        ("another spelling", &["Zope.Interface"], &["zope-interface"], Some(r#"[2,["1"]]"#), 1),
        ("a registered name that is none", &["-", "b"], &[], Some(r#"[2,["1","2"]]"#), 2),
    ] {
        let grant = granted(&policy(), &publisher(registered), projects(wanted)).unwrap();
        let mut expected = vec![r#"[4,"p"]"#];
        expected.extend(scope);
        expected.push("[0,1900,970]");
        assert_eq!(written(&grant), expected, "{name}");
        assert_eq!(grant.projects.len(), told, "{name}");
    }
}

#[test]
fn names_that_several_projects_bear_are_no_way_around_the_bound() {
    let many: Vec<&str> = std::iter::repeat_n("a", 10).collect();
    let grant = granted(&policy(), &publisher(&many), projects(&["a"])).unwrap();
    assert_eq!(grant.projects.len(), policy().max_embedded_projects);
}

#[test]
fn a_publisher_without_a_wanted_project_gets_nothing() {
    for (registered, wanted, sentence) in [
        (&[][..], &[][..], "the publisher is registered to no project"),
        (&[], &["a"], "the publisher is not registered to the project \"a\""),
        (&["b"], &["a"], "the publisher is not registered to the project \"a\""),
        (&["b"], &["a", "c"], "the publisher is registered to none of \"a\" and 1 more"),
        (&["-"], &["a"], "the publisher is not registered to the project \"a\""),
    ] {
        let refused = granted(&policy(), &publisher(registered), projects(wanted)).unwrap_err();
        assert!(matches!(refused, GrantRefused::NoEligibleProject { .. }), "{refused:?}");
        assert_eq!(refused.to_string(), sentence);
    }
}

#[test]
fn a_long_name_is_cut_where_it_is_shown() {
    let refused = granted(&policy(), &publisher(&["b"]), projects(&[&"a".repeat(5_000)]));
    let sentence = refused.unwrap_err().to_string();
    assert!(sentence.len() < 200, "{} bytes", sentence.len());
}

#[test]
fn no_more_projects_can_be_wanted_than_a_token_may_name() {
    let wish = || projects(&["a", "b", "c", "d"]);
    let refused = policy().allow_publisher(wish()).unwrap_err();
    assert_eq!(refused, GrantRefused::TooManyProjects { wanted: 4, most: 3 });
    assert!(policy().allow_publisher(projects(&["a", "b", "c"])).is_ok());
}

#[test]
fn a_publisher_looked_up_at_use_has_no_list_and_wanted_projects_go_in_by_name() {
    let at_use = Publisher { projects_at_use: true, ..publisher(&["a", "b"]) };
    for (wanted, scope) in
        [(&[][..], None), (&["c"], Some(r#"[1,["c"]]"#)), (&["a", "c"], Some(r#"[1,["a","c"]]"#))]
    {
        let grant = granted(&policy(), &at_use, projects(wanted)).unwrap();
        let mut expected = vec![r#"[4,"p"]"#];
        expected.extend(scope);
        expected.push("[0,1900,970]");
        assert_eq!(written(&grant), expected);
        let told: Vec<&str> = grant.projects.iter().map(|project| project.name.as_str()).collect();
        assert_eq!(told, wanted);
    }
}

#[test]
fn caveats_stand_in_warehouses_order_and_then_what_was_asked_for() {
    let asked = || {
        vec![
            Caveat::versions(["1.0"]).unwrap(),
            Caveat::uses(2).unwrap(),
            Caveat::expiration(0, 5).unwrap(),
            Caveat::uses(3).unwrap(),
        ]
    };
    let single = Wish { caveats: asked(), ..features(&["single-use-token"]) };
    let grant = granted(&policy(), &publisher(&["a"]), single).unwrap();
    assert_eq!(
        written(&grant),
        [
            r#"[4,"p"]"#,
            r#"[2,["1"]]"#,
            "[0,1900,970]",
            "[0,5,0]",
            r#"[64,"CQkJCQkJCQkJCQkJCQkJCQ",1]"#,
            r#"[65,["1.0"]]"#,
            r#"[64,"CQkJCQkJCQkJCQkJCQkJCQ.1",2]"#,
            r#"[64,"CQkJCQkJCQkJCQkJCQkJCQ.2",3]"#,
        ]
    );
    let allowed = policy().allow_user(caveats(asked())).unwrap();
    assert_eq!(
        written(&Grant::for_user("u", allowed)),
        [
            r#"[3,"u"]"#,
            "[0,5,0]",
            r#"[65,["1.0"]]"#,
            r#"[64,"CQkJCQkJCQkJCQkJCQkJCQ",2]"#,
            r#"[64,"CQkJCQkJCQkJCQkJCQkJCQ.1",3]"#,
        ]
    );
}

#[test]
fn the_same_seed_writes_the_same_caveats() {
    let wish = features(&["single-use-token"]);
    let grant = granted(&policy(), &publisher(&["a"]), wish).unwrap();
    assert_eq!(grant.caveats(&seed(5)), grant.caveats(&seed(5)));
    let other = Seed { nonce_bits: [8; 16], ..seed(5) };
    assert_ne!(grant.caveats(&seed(5)), grant.caveats(&other));
}

#[test]
fn uses_are_counted_only_in_a_token_that_ends() {
    let uses = || Caveat::uses(1).unwrap();
    let end = || Caveat::expiration(0, 2_000).unwrap();
    let hour = Some(60 * MINUTE);
    for (name, max, lifetime, features, asked, allowed) in [
        ("uses alone", None, None, None, vec![uses()], false),
        ("uses with a lifetime", None, hour, None, vec![uses()], true),
        ("uses with the index's longest", hour, None, None, vec![uses()], true),
        ("uses before an end", None, None, None, vec![uses(), end()], true),
        ("uses after an end", None, None, None, vec![end(), uses()], true),
        ("a single use", None, None, Some("single-use-token"), vec![], false),
        ("a single use with a lifetime", None, hour, Some("single-use-token"), vec![], true),
        ("no uses and no end", None, None, None, vec![Caveat::versions(["1"]).unwrap()], true),
    ] {
        let policy = GrantPolicy { max_lifetime: max, ..policy() };
        let features = features.into_iter().map(str::to_owned).collect();
        let answer =
            policy.allow_user(Wish { lifetime, features, caveats: asked, ..Wish::default() });
        match answer {
            Ok(_) => assert!(allowed, "{name}"),
            Err(refused) => {
                assert_eq!((refused, allowed), (GrantRefused::UsesWithoutEnd, false), "{name}");
            }
        }
    }
}

#[test]
fn extended_caveats_are_asked_for_only_where_the_index_offers_them() {
    let plain =
        GrantPolicy { offered: Offered::Standard, features: vec![Feature::MultiUse], ..policy() };
    for (asked, tag) in [
        (Caveat::uses(1).unwrap(), 64),
        (Caveat::versions(["1"]).unwrap(), 65),
        (Caveat::filenames(["a"]).unwrap(), 66),
        (Caveat::digests([&[0; 32][..]]).unwrap(), 67),
        (Caveat::client_networks(["10.0.0.0/8"]).unwrap(), 68),
        (Caveat::actions(["upload"]).unwrap(), 69),
    ] {
        let wish = || Wish { lifetime: Some(60 * MINUTE), ..caveats(vec![asked.clone()]) };
        let refused = GrantRefused::CaveatNotOffered { tag };
        assert_eq!(plain.allow_publisher(wish()).unwrap_err(), refused);
        assert_eq!(plain.allow_user(wish()).unwrap_err(), refused);
        assert!(policy().allow_publisher(wish()).is_ok());
    }
    for asked in [
        Caveat::expiration(0, 1).unwrap(),
        Caveat::project_names(["a"]).unwrap(),
        Caveat::project_ids(["1"]).unwrap(),
        Caveat::user_id("u").unwrap(),
        Caveat::publisher_id("p").unwrap(),
    ] {
        assert!(plain.allow_publisher(caveats(vec![asked])).is_ok());
    }
}
