//! Codec, chain, identifier and keys. What other implementations make of the
//! same bytes is held in `tests/vectors.rs`.

#![allow(clippy::string_slice, reason = "the texts cut here are ASCII")]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;

fn pypi() -> TokenPrefix {
    TokenPrefix::parse("pypi").unwrap()
}

fn root() -> RootKey {
    RootKey::new(b"a root key made for this test")
}

fn sample() -> Macaroon {
    let mut macaroon = Macaroon::mint(&root(), "index.example", "an identifier");
    macaroon.attenuate(b"[1,[\"one\"]]").unwrap();
    macaroon.attenuate(b"[0,20,10]").unwrap();
    macaroon
}

fn predicates(macaroon: &Macaroon) -> Vec<Vec<u8>> {
    let bytes = |embedded: Embedded<'_>| match embedded {
        Embedded::FirstParty(predicate) => predicate.to_vec(),
        Embedded::ThirdParty { .. } => panic!("no third party was asked"),
    };
    macaroon.unverified_caveats().map(bytes).collect()
}

fn damage_of(bytes: &[u8]) -> TokenUnreadable {
    let text = format!("pypi-{}", URL_SAFE_NO_PAD.encode(bytes));
    Macaroon::read(&text, &pypi()).unwrap_err()
}

#[test]
fn what_was_written_reads_back_and_verifies() {
    let text = sample().write(&pypi()).unwrap();
    assert!(text.starts_with("pypi-AgEN"), "PyPI's tokens begin like this: {text:.12}");
    let back = Macaroon::read(&text, &pypi()).unwrap();
    assert_eq!(back.location(), b"index.example");
    assert_eq!(back.identifier(), b"an identifier");
    assert_eq!(predicates(&back), [b"[1,[\"one\"]]".to_vec(), b"[0,20,10]".to_vec()]);
    assert!(back.verify(&root()).is_ok());
    assert_eq!(back.write(&pypi()).unwrap(), text);
}

#[test]
fn another_root_key_does_not_verify() {
    assert_eq!(sample().verify(&RootKey::new(b"another")).unwrap_err(), SignatureMismatch);
}

#[test]
fn padding_is_read_and_never_written() {
    for caveat in ["x", "xx", "xxx"] {
        let mut macaroon = sample();
        macaroon.attenuate(caveat.as_bytes()).unwrap();
        let text = macaroon.write(&pypi()).unwrap();
        let padded = format!("{text}{}", "=".repeat((4 - (text.len() - 5) % 4) % 4));
        assert!(!text.contains('='));
        assert_eq!(Macaroon::read(&padded, &pypi()).unwrap().write(&pypi()).unwrap(), text);
    }
}

#[test]
fn damaged_text_is_refused_with_what_is_wrong() {
    let good = sample().write(&pypi()).unwrap();
    let body = good.strip_prefix("pypi-").unwrap();
    for (name, text) in [
        ("another prefix", format!("npm-{body}")),
        ("the prefix in other case", format!("PyPI-{body}")),
        ("no prefix", body.to_owned()),
        ("a prefix that only begins alike", format!("pypitest-{body}")),
        ("nothing after it", "pypi-".to_owned()),
        ("nothing at all", String::new()),
        ("the standard alphabet", format!("pypi-{}+/", &body[..body.len() - 2])),
        ("white space before", format!(" {good}")),
        ("white space after", format!("{good}\n")),
        ("white space within", format!("pypi-{} {}", &body[..8], &body[8..])),
        ("one character too few", good[..good.len() - 1].to_owned()),
        ("padding and then more", format!("{good}==AA")),
    ] {
        let error = Macaroon::read(&text, &pypi()).unwrap_err();
        assert!(matches!(error, TokenUnreadable::Malformed(_)), "{name}: {error}");
    }
}

#[test]
fn every_cut_of_a_token_is_refused() {
    for version in [v2::encode(&sample()), v1_bytes()] {
        for length in 1..version.len() {
            let error = damage_of(&version[..length]);
            assert!(matches!(error, TokenUnreadable::Malformed(_)), "{length} bytes: {error}");
        }
    }
}

#[test]
fn damaged_bytes_are_refused_with_what_is_wrong() {
    let good = v2::encode(&sample());
    let trailing = [good.clone(), vec![0]].concat();
    let long_length = [&[2, 1, 0x8d, 0][..], &good[3..]].concat();
    for (name, bytes, expected) in [
        ("trailing bytes", trailing, Damage::Trailing(good.len())),
        ("a varint with a needless byte", long_length, Damage::Length(2)),
        ("JSON", b"{\"v\":2}".to_vec(), Damage::Json),
        ("a format of the future", vec![3, 0, 0], Damage::Format(3)),
        ("an empty identifier", vec![2, 2, 0, 0, 0], Damage::Identifier(0)),
        ("no identifier", vec![2, 1, 1, b'x', 0, 0], Damage::Field(4)),
        ("a first party's location", vec![2, 2, 1, b'i', 0, 1, 0, 2, 1, b'c', 0], Damage::Field(5)),
        ("a short signature", vec![2, 2, 1, b'i', 0, 0, 6, 2, 1, 1], Damage::Signature(2)),
        ("fields out of order", vec![2, 2, 1, b'i', 1, 1, b'l', 0], Damage::Field(4)),
    ] {
        assert_eq!(damage_of(&bytes), TokenUnreadable::Malformed(expected), "{name}");
    }
}

#[test]
fn bounds_are_held() {
    let mut macaroon = Macaroon::mint(&root(), "l", "i");
    for _ in 0..MAX_CAVEATS {
        macaroon.attenuate(b"[0,20,10]").unwrap();
    }
    assert_eq!(macaroon.attenuate(b"[0,20,10]"), Err(TokenTooLarge::Caveats));
    assert!(Macaroon::read(&macaroon.write(&pypi()).unwrap(), &pypi()).is_ok());

    let long = format!("pypi-{}", "A".repeat(MAX_TOKEN_BYTES - 4));
    let error = Macaroon::read(&long, &pypi()).unwrap_err();
    assert_eq!(error, TokenUnreadable::TooLarge(TokenTooLarge::Bytes));

    let mut wide = Macaroon::mint(&root(), "l", "i");
    wide.attenuate(&vec![b' '; MAX_TOKEN_BYTES]).unwrap();
    assert_eq!(wide.write(&pypi()), Err(TokenTooLarge::Bytes));

    for (length, fits) in [(1, true), (256, true), (257, false)] {
        let macaroon = Macaroon::mint(&root(), "l", &"i".repeat(length));
        let read = Macaroon::read(&macaroon.write(&pypi()).unwrap(), &pypi());
        assert_eq!(read.is_ok(), fits, "an identifier of {length} bytes");
    }
}

#[test]
fn one_caveat_too_many_is_too_large_in_both_formats() {
    let mut second = vec![2, 2, 1, b'i', 0];
    let mut first = packet("location", b"l");
    first.extend(packet("identifier", b"i"));
    for _ in 0..=MAX_CAVEATS {
        second.extend([2, 1, b'c', 0]);
        first.extend(packet("cid", b"c"));
    }
    second.extend([0, 6, 32]);
    second.extend([0; 32]);
    first.extend(packet("signature", &[0; 32]));
    for bytes in [first, second] {
        assert_eq!(damage_of(&bytes), TokenUnreadable::TooLarge(TokenTooLarge::Caveats));
    }
}

#[test]
fn version_1_is_read_and_rewritten_as_version_2() {
    let text = format!("pypi-{}", URL_SAFE_NO_PAD.encode(v1_bytes()));
    let macaroon = Macaroon::read(&text, &pypi()).unwrap();
    assert_eq!(macaroon.version(), Version::V1);
    assert!(macaroon.verify(&root()).is_ok());
    let again = Macaroon::read(&macaroon.write(&pypi()).unwrap(), &pypi()).unwrap();
    assert_eq!(again.version(), Version::V2);
    assert!(again.verify(&root()).is_ok());
}

/// The sample in version 1.
fn v1_bytes() -> Vec<u8> {
    let sample = sample();
    let mut bytes = packet("location", sample.location());
    bytes.extend(packet("identifier", sample.identifier()));
    for predicate in predicates(&sample) {
        bytes.extend(packet("cid", &predicate));
    }
    bytes.extend(packet("signature", sample.signature.expose()));
    bytes
}

fn packet(key: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:04x}{key} ", 4 + key.len() + 2 + value.len()).into_bytes();
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
    bytes
}

#[test]
fn an_identifier_reads_back_and_tells_its_parts() {
    let key_id = KeyId::parse("2026-11").unwrap();
    let minted_at = Timestamp::from_micros(1_700_000_000_123_456);
    for subject in [Subject::user("u.1:x"), Subject::publisher("6f1c")] {
        let subject = subject.unwrap();
        let identifier = Identifier::new(key_id.clone(), minted_at, &[7; 10], subject.clone());
        let text = identifier.to_string();
        let back = Identifier::parse(text.as_bytes()).unwrap();
        assert_eq!(back, identifier);
        assert_eq!(back.subject(), &subject);
        assert_eq!(back.minted_at(), Timestamp::from_micros(1_700_000_000_123_000));
        assert!(text.starts_with("m1.2026-11.") && text.is_ascii(), "{text}");
    }
}

#[test]
fn the_longest_identifier_fits_its_bound() {
    let key_id = KeyId::parse(&"k".repeat(KeyId::MAX_BYTES)).unwrap();
    let subject = Subject::publisher(&"p".repeat(MAX_SUBJECT_ID_BYTES)).unwrap();
    let identifier = Identifier::new(key_id, Timestamp::from_seconds(1), &[0; 10], subject);
    assert!(identifier.to_string().len() <= MAX_IDENTIFIER_BYTES);
}

#[test]
fn foreign_identifiers_are_told_apart() {
    for text in [
        "",
        "m1",
        "f2e1c1d0-7d5a-4f3e-9a55-0c9bfb1de2a1",
        "m2.k.AZAAAAAAAAAAAAAAAAAAAA.u:1",
        "m1..AZAAAAAAAAAAAAAAAAAAAA.u:1",
        "m1.k k.AZAAAAAAAAAAAAAAAAAAAA.u:1",
        "m1.k.AZAAAAAAAAAAAAAAAAAAA.u:1",
        "m1.k.AZAAAAAAAAAAAAAAAAAAAB.u:1",
        "m1.k.AZAAAAAAAAAAAAAAAAAAAA.x:1",
        "m1.k.AZAAAAAAAAAAAAAAAAAAAA.u:",
        "m1.k.AZAAAAAAAAAAAAAAAAAAAA.u",
        "m1.k.AZAAAAAAAAAAAAAAAAAAAA.u:caf\u{e9}",
    ] {
        assert_eq!(Identifier::parse(text.as_bytes()), Err(IdentifierForeign), "{text:?}");
    }
    assert!(Identifier::parse(b"m1.k.AZAAAAAAAAAAAAAAAAAAAA.u:1").is_ok());
}

#[test]
fn a_seal_is_bound_to_its_bytes_its_issuer_and_its_master_key() {
    let master = |byte: u8| MasterKey::new(&[byte; 32]).unwrap();
    let seal = master(1).seal_key("https://a.example").seal(b"keys");
    let sealed = |byte, issuer: &str, bytes: &[u8], seal: &[u8]| {
        master(byte).seal_key(issuer).sealed(bytes, seal)
    };
    assert!(sealed(1, "https://a.example", b"keys", &seal));
    assert!(!sealed(2, "https://a.example", b"keys", &seal));
    assert!(!sealed(1, "https://b.example", b"keys", &seal));
    assert!(!sealed(1, "https://a.example", b"key", &seal));
    assert!(!sealed(1, "https://a.example", b"keys", &seal[..31]));
    assert!(!sealed(1, "https://a.example", b"keys", b""));
}

#[test]
fn a_root_key_is_bound_to_its_index_and_its_identifier() {
    let master = MasterKey::new(&[7; 32]).unwrap();
    let key = |index, identifier: &[u8]| *master.root_key(index, identifier).derived();
    assert_eq!(key("pypi", b"i"), key("pypi", b"i"));
    assert_ne!(key("pypi", b"i"), key("test", b"i"));
    assert_ne!(key("pypi", b"i"), key("pypi", b"j"));
    assert_ne!(key("a", b"bc"), key("ab", b"c"));
}

#[test]
fn a_keyring_wants_its_current_key_and_no_secret_twice() {
    let key = |id: &str, byte| (KeyId::parse(id).unwrap(), MasterKey::new(&[byte; 32]).unwrap());
    let current = KeyId::parse("a").unwrap();
    let ring = Keyring::new([key("a", 1), key("b", 2)].into(), current.clone()).unwrap();
    assert!(ring.key(&current).is_some());
    let missing = Keyring::new([key("b", 2)].into(), current.clone()).unwrap_err();
    assert_eq!(missing, KeyringInvalid::CurrentMissing(current.clone()));
    let twice = Keyring::new([key("a", 1), key("b", 1)].into(), current).unwrap_err();
    assert!(matches!(twice, KeyringInvalid::SameSecret(..)));
    assert_eq!(MasterKey::new(&[1; 31]).unwrap_err(), MasterKeyShort);
}

#[test]
fn debug_shows_no_secret() {
    let secret = [0xab; 32];
    let ring = Keyring::new(
        [(KeyId::parse("a").unwrap(), MasterKey::new(&secret).unwrap())].into(),
        KeyId::parse("a").unwrap(),
    );
    let macaroon = sample();
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        ring,
        MasterKey::new(&secret).unwrap(),
        MasterKey::new(&secret).unwrap().seal_key("https://issuer.example"),
        RootKey::new(&secret),
        macaroon,
        macaroon.verify(&root()).unwrap(),
    );
    for bytes in [&secret, macaroon.signature.expose(), root().derived()] {
        let decimal = bytes[..4].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let hex = bytes[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(!shown.contains(&decimal) && !shown.contains(&hex), "{shown}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_reads_writes_the_same_bytes(bytes: Vec<u8>) {
        let bytes = [vec![2], bytes].concat();
        let text = format!("pypi-{}", URL_SAFE_NO_PAD.encode(bytes));
        if let Ok(macaroon) = Macaroon::read(&text, &pypi()) {
            prop_assert!(Macaroon::read(&macaroon.write(&pypi()).unwrap(), &pypi()).is_ok());
        }
    }

    #[test]
    fn any_macaroon_survives_the_codec(
        location in "\\PC{0,20}",
        identifier in "[ -~]{1,200}",
        caveats in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
    ) {
        let mut macaroon = Macaroon::mint(&root(), &location, &identifier);
        for caveat in &caveats {
            macaroon.attenuate(caveat).unwrap();
        }
        let back = Macaroon::read(&macaroon.write(&pypi()).unwrap(), &pypi()).unwrap();
        prop_assert!(back.verify(&root()).is_ok());
        prop_assert_eq!(back.location(), location.as_bytes());
        prop_assert_eq!(back.identifier(), identifier.as_bytes());
        prop_assert_eq!(predicates(&back), caveats);
    }

    #[test]
    fn one_flipped_bit_never_verifies(at in 0usize..100, bit in 0u8..8) {
        let mut bytes = v2::encode(&sample());
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let text = format!("pypi-{}", URL_SAFE_NO_PAD.encode(&bytes));
        if let Ok(macaroon) = Macaroon::read(&text, &pypi()) {
            // The location is a hint: it is the one part that nobody signs.
            let only_location = macaroon.location() != sample().location();
            prop_assert!(macaroon.verify(&root()).is_err() || only_location);
        }
    }
}
