use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};
use serde_json::{Value, json};

use crate::oidc::testing::{KEY, with};

use super::*;

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn parse(keys: &[Value]) -> Result<KeySet, KeySetUnreadable> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
}

/// A JWK whose modulus has so many bits. Nobody knows its factors.
fn rsa_of(bits: usize) -> Value {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] = 0xff >> (modulus.len() * 8 - bits);
    with(KEY.jwk(), &json!({"n": encoded(&modulus)}))
}

fn ec(name: &str, curve: &str, algorithm: &'static EcdsaSigningAlgorithm) -> (Value, EcdsaKeyPair) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let (x, y) = {
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        (encoded(x), encoded(y))
    };
    (json!({"kty": "EC", "kid": name, "crv": curve, "x": x, "y": y}), pair)
}

#[test]
fn a_jwk_counts_where_it_may_and_can_verify_signatures() {
    let rsa = KEY.jwk();
    let changed = |changes: Value| with(KEY.jwk(), &changes);
    let ec_key = ec("k", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING).0;
    let off_curve = with(ec_key.clone(), &json!({"y": encoded(&[7; 32])}));
    let short = with(ec_key.clone(), &json!({"x": encoded(&[7; 31])}));
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(ec_key[name].as_str().unwrap()).unwrap();
    let (x, y) = (coordinate("x"), coordinate("y"));
    let shifted = with(
        ec_key.clone(),
        &json!({"x": encoded(&x[..31]), "y": encoded(&[&x[31..], &y].concat())}),
    );
    let modulus = URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap();
    let zero_before = encoded(&[&[0][..], &modulus].concat());
    for (name, jwk, usable) in [
        ("RSA", rsa.clone(), true),
        ("RSA without alg, use and key_ops", changed(json!({"alg": null, "use": null})), true),
        ("RSA with a certificate chain", changed(json!({"x5c": ["MIIB"], "x5t": "abc"})), true),
        ("RSA with unknown members", changed(json!({"oth": 1, "x": [{}]})), true),
        ("key_ops verify", changed(json!({"use": null, "key_ops": ["verify"]})), true),
        ("key_ops sign and verify", changed(json!({"key_ops": ["sign", "verify"]})), true),
        ("a zero before the modulus", changed(json!({"n": zero_before})), true),
        ("alg PS512", changed(json!({"alg": "PS512"})), true),
        ("2048 bits", rsa_of(2048), true),
        ("8192 bits", rsa_of(8192), true),
        ("P-256", ec_key.clone(), true),
        ("P-256 with its alg", with(ec_key.clone(), &json!({"alg": "ES256"})), true),
        ("no kid", changed(json!({"kid": null})), false),
        ("a kid that is a number", changed(json!({"kid": 1})), false),
        ("use enc", changed(json!({"use": "enc"})), false),
        ("use of its own", changed(json!({"use": "signature"})), false),
        ("use that is a list", changed(json!({"use": ["sig"]})), false),
        ("key_ops sign only", changed(json!({"key_ops": ["sign"]})), false),
        ("key_ops empty", changed(json!({"key_ops": []})), false),
        ("key_ops that is a string", changed(json!({"key_ops": "verify"})), false),
        ("alg for encryption", changed(json!({"alg": "RSA-OAEP"})), false),
        ("alg of another family", changed(json!({"alg": "ES256"})), false),
        ("alg HS256", changed(json!({"alg": "HS256"})), false),
        ("alg none", changed(json!({"alg": "none"})), false),
        ("alg unknown", changed(json!({"alg": "RS1"})), false),
        ("alg in another case", changed(json!({"alg": "rs256"})), false),
        ("alg that is a number", changed(json!({"alg": 256})), false),
        ("kty unknown", changed(json!({"kty": "AKP"})), false),
        ("kty missing", changed(json!({"kty": null})), false),
        ("no modulus", changed(json!({"n": null})), false),
        ("an empty modulus", changed(json!({"n": ""})), false),
        ("a modulus of zeros", changed(json!({"n": encoded(&[0; 256])})), false),
        ("an empty exponent", changed(json!({"e": ""})), false),
        ("a modulus in standard base64", changed(json!({"n": "+/8="})), false),
        ("1024 bits", rsa_of(1024), false),
        ("2047 bits", rsa_of(2047), false),
        ("8193 bits", rsa_of(8193), false),
        ("symmetric", json!({"kty": "oct", "kid": "k", "k": encoded(&[7; 32])}), false),
        (
            "symmetric, said to be for RS256",
            json!({"kty": "oct", "kid": "k", "alg": "RS256", "k": encoded(&[7; 32])}),
            false,
        ),
        ("P-256 with the other curve's alg", with(ec_key, &json!({"alg": "ES384"})), false),
        ("a point that is not on the curve", off_curve, false),
        ("a point that is too short", short, false),
        ("a point cut in the wrong place", shifted, false),
        (
            "P-521",
            json!({"kty": "EC", "kid": "k", "crv": "P-521", "x": encoded(&[1; 66]), "y": encoded(&[1; 66])}),
            false,
        ),
        (
            "secp256k1",
            json!({"kty": "EC", "kid": "k", "crv": "secp256k1", "x": encoded(&[1; 32]), "y": encoded(&[1; 32])}),
            false,
        ),
        (
            "X25519",
            json!({"kty": "OKP", "kid": "k", "crv": "X25519", "x": encoded(&[9; 32])}),
            false,
        ),
        (
            "Ed25519, too short",
            json!({"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": encoded(&[9; 31])}),
            false,
        ),
        ("a string", json!("k"), false),
        ("null", json!(null), false),
    ] {
        assert_eq!(parse(&[jwk]).is_ok(), usable, "{name}");
    }
}

#[test]
fn a_bad_jwk_takes_none_of_the_others_with_it() {
    let good = KEY.jwk();
    let bad = [
        json!(null),
        json!({"kty": "oct", "kid": "s", "k": "AAAA"}),
        with(KEY.jwk(), &json!({"kid": "short", "n": encoded(&[0xff; 128])})),
        with(KEY.jwk(), &json!({"kid": "enc", "use": "enc"})),
    ];
    let keys: Vec<_> = bad.iter().cloned().chain([good]).collect();
    let set = parse(&keys).unwrap();
    assert_eq!((set.len(), set.skipped(), set.is_empty()), (1, 4, false));
    assert!(set.key("k").is_some());
    for absent in ["s", "short", "enc", "K", "", "../k", "k\0"] {
        assert!(set.key(absent).is_none(), "{absent:?}");
    }
}

#[test]
fn of_a_doubled_kid_the_first_usable_key_counts() {
    let unusable = with(KEY.jwk(), &json!({"use": "enc"}));
    let (other, _) = ec("k", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING);
    let set = parse(&[unusable, KEY.jwk(), other]).unwrap();
    assert_eq!((set.len(), set.skipped()), (1, 2));
    let (message, signature) = signed();
    assert!(set.key("k").unwrap().verifies(Algorithm::RS256, &message, &signature));
}

#[test]
fn of_too_many_keys_the_first_are_read() {
    let named = |n: usize| with(KEY.jwk(), &json!({"kid": n.to_string()}));
    let keys: Vec<_> = (0..MAX_KEYS + 3).map(named).collect();
    let set = parse(&keys).unwrap();
    assert_eq!((set.len(), set.skipped()), (MAX_KEYS, 3));
    assert!(set.key(&(MAX_KEYS - 1).to_string()).is_some());
    assert!(set.key(&MAX_KEYS.to_string()).is_none());
}

#[test]
fn other_documents_are_no_key_sets() {
    for (name, document) in [
        ("nothing", ""),
        ("HTML", "<html></html>"),
        ("null", "null"),
        ("a list", "[]"),
        ("no keys", "{}"),
        ("keys that are an object", r#"{"keys": {}}"#),
        ("an empty set", r#"{"keys": []}"#),
        ("a set without a usable key", r#"{"keys": [{"kty": "oct", "kid": "k", "k": "AAAA"}]}"#),
        ("something after it", r#"{"keys": []} x"#),
    ] {
        assert!(KeySet::parse(document.as_bytes()).is_err(), "{name}");
    }
}

fn signed() -> (Vec<u8>, Vec<u8>) {
    let token = KEY.sign_parts("{}", "{}").unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    (message.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[test]
fn a_signature_holds_for_one_key_one_algorithm_and_one_message() {
    let (message, signature) = signed();
    let set = parse(&[with(KEY.jwk(), &json!({"alg": null}))]).unwrap();
    let key = set.key("k").unwrap();
    for algorithm in Algorithm::ALL {
        let holds = key.verifies(algorithm, &message, &signature);
        assert_eq!(holds, algorithm == Algorithm::RS256, "{algorithm:?}");
    }
    assert!(!key.verifies(Algorithm::RS256, b"another message", &signature));
    assert!(!key.verifies(Algorithm::RS256, &message, b""));
    assert!(!key.verifies(Algorithm::RS256, &message, &[0; 256]));
    let longer = [&signature[..], &[0]].concat();
    assert!(!key.verifies(Algorithm::RS256, &message, &longer));
    let named = parse(&[with(KEY.jwk(), &json!({"alg": "PS256"}))]).unwrap();
    let named = named.key("k").unwrap();
    assert!(!named.verifies(Algorithm::RS256, &message, &signature), "the JWK's alg is honoured");
}

#[test]
fn elliptic_curves_verify_what_they_signed() {
    let message = b"a message";
    let chance = SystemRandom::new();
    let (p256, p256_pair) = ec("p256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING);
    let (p384, p384_pair) = ec("p384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING);
    let ed_pair = Ed25519KeyPair::generate().unwrap();
    let ed = json!({
        "kty": "OKP", "kid": "ed", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
        "x": encoded(ed_pair.public_key().as_ref()),
    });
    let set = parse(&[p256, p384, ed]).unwrap();
    let signatures = [
        (Algorithm::ES256, "p256", p256_pair.sign(&chance, message).unwrap().as_ref().to_vec()),
        (Algorithm::ES384, "p384", p384_pair.sign(&chance, message).unwrap().as_ref().to_vec()),
        (Algorithm::EdDSA, "ed", ed_pair.sign(message).as_ref().to_vec()),
    ];
    for (signed_with, _, signature) in &signatures {
        for (algorithm, kid, _) in &signatures {
            let holds = set.key(kid).unwrap().verifies(*algorithm, message, signature);
            assert_eq!(holds, algorithm == signed_with, "{signed_with:?} against {kid}");
        }
    }
}

#[test]
fn the_names_of_algorithms_are_exact_and_symmetric_ones_have_none() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
    }
    for name in ["", "none", "None", "HS256", "HS512", "rs256", "RS256 ", "ES512", "Ed25519"] {
        assert_eq!(name.parse::<Algorithm>(), Err(AlgorithmUnknown), "{name:?}");
    }
}
