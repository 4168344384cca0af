use serde_json::json;

use crate::{
    demo::signing::SigningKey,
    oidc::{
        Provider,
        testing::{KEY, PUBLISHED, common_claims, issuer, published, with},
    },
};

use super::*;

const URL: &str = "https://issuer.example";
const HEADER: &str = r#"{"alg":"RS256","typ":"JWT","kid":"k"}"#;
const PAYLOAD: &str = r#"{"iss":"https://issuer.example","aud":"pypi"}"#;

fn an_issuer() -> Issuer {
    issuer(Provider::Claims, URL)
}

fn encoded(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// An ID token of this form with a signature that nobody made.
fn text(header: &str, payload: &str) -> String {
    format!("{}.{}.AAAA", encoded(header), encoded(payload))
}

fn problem(text: &str) -> Option<IdTokenMalformed> {
    UnverifiedIdToken::parse(text).err()
}

#[test]
fn what_is_read_is_what_stands_there() {
    let text = text(HEADER, PAYLOAD);
    let token = UnverifiedIdToken::parse(&text).unwrap();
    assert_eq!(token.unverified_issuer(), URL);
    assert_eq!(token.unverified_kid(), Some("k"));
    assert_eq!(token.algorithm(&an_issuer()), Ok(Algorithm::RS256));
}

#[test]
fn texts_of_another_form_are_malformed() {
    use IdTokenMalformed::{Encoding, Segments, TooLarge};
    let (header, payload) = (encoded(HEADER), encoded(PAYLOAD));
    let segment = |text: &str| text.to_owned();
    for (name, text, expected) in [
        ("nothing", segment(""), Segments),
        ("one segment", segment("a"), Segments),
        ("two segments", format!("{header}.{payload}"), Segments),
        ("four segments", format!("{header}.{payload}.AAAA.AAAA"), Segments),
        ("five segments, as of an encrypted one", "a.b.c.d.e".to_owned(), Segments),
        ("a dot at the end", format!("{header}.{payload}.AAAA."), Segments),
        ("as many dots as fit", ".".repeat(MAX_ID_TOKEN_BYTES), Segments),
        ("a million dots", ".".repeat(1_000_000), TooLarge),
        ("17 KiB", format!("{header}.{payload}.{}", "A".repeat(17 * 1024)), TooLarge),
        ("padding", format!("{header}==.{payload}.AAAA"), Encoding(Segment::Header)),
        ("padding in the payload", format!("{header}.YQ==.AAAA"), Encoding(Segment::Payload)),
        (
            "padding in the signature",
            format!("{header}.{payload}.YQ=="),
            Encoding(Segment::Signature),
        ),
        ("bits that say nothing", format!("{header}.{payload}.YR"), Encoding(Segment::Signature)),
        ("bits that say nothing, payload", format!("{header}.YR.AAAA"), Encoding(Segment::Payload)),
        ("a lone character", format!("{header}.{payload}.A"), Encoding(Segment::Signature)),
        ("the standard alphabet", format!("{header}.{payload}.+/+/"), Encoding(Segment::Signature)),
        ("white space", format!("{header}.{payload}.AAAA\n"), Encoding(Segment::Signature)),
        ("white space before it", format!(" {header}.{payload}.AAAA"), Encoding(Segment::Header)),
        ("a NUL", format!("{header}.{payload}.AA\0A"), Encoding(Segment::Signature)),
        ("not ASCII", format!("{header}.é.AAAA"), Encoding(Segment::Payload)),
    ] {
        assert_eq!(problem(&text), Some(expected), "{name}");
    }
}

#[test]
fn the_largest_id_token_is_read() {
    let head = format!("{}.{}.", encoded(HEADER), encoded(PAYLOAD));
    let fill = "A".repeat((MAX_ID_TOKEN_BYTES - head.len()) / 4 * 4);
    let text = format!("{head}{fill}");
    assert!(text.len() > MAX_ID_TOKEN_BYTES - 4);
    assert_eq!(problem(&text), None);
}

#[test]
fn headers_are_held_to_what_they_may_say() {
    use IdTokenMalformed::{Header, Json};
    let json = |problem| Some(Json(Segment::Header, problem));
    for (name, header, expected) in [
        ("no typ", r#"{"alg":"RS256"}"#, None),
        ("typ in another case", r#"{"alg":"RS256","typ":"jWt"}"#, None),
        ("a key brought along", r#"{"alg":"RS256","jwk":{"kty":"oct","k":"AA"}}"#, None),
        ("an address of keys", r#"{"alg":"RS256","jku":"http://evil/","x5u":"file:///"}"#, None),
        ("members of any kind", r#"{"alg":"RS256","x5t":null,"b64":false,"é":[1]}"#, None),
        ("a kid like a path", r#"{"alg":"RS256","kid":"../../dev/null"}"#, None),
        ("crit", r#"{"alg":"RS256","crit":["exp"]}"#, Some(Header("crit"))),
        ("an empty crit", r#"{"alg":"RS256","crit":[]}"#, Some(Header("crit"))),
        ("crit that is null", r#"{"alg":"RS256","crit":null}"#, Some(Header("crit"))),
        ("cty", r#"{"alg":"RS256","cty":"JWT"}"#, Some(Header("cty"))),
        ("zip", r#"{"alg":"RS256","zip":"DEF"}"#, Some(Header("zip"))),
        ("another typ", r#"{"alg":"RS256","typ":"at+jwt"}"#, Some(Header("typ"))),
        ("an empty typ", r#"{"alg":"RS256","typ":""}"#, Some(Header("typ"))),
        ("typ that is null", r#"{"alg":"RS256","typ":null}"#, Some(Header("typ"))),
        ("no alg", r#"{"typ":"JWT"}"#, Some(Header("alg"))),
        ("alg that is null", r#"{"alg":null}"#, Some(Header("alg"))),
        ("alg that is a list", r#"{"alg":["RS256"]}"#, Some(Header("alg"))),
        ("kid that is a number", r#"{"alg":"RS256","kid":7}"#, Some(Header("kid"))),
        ("kid that is null", r#"{"alg":"RS256","kid":null}"#, Some(Header("kid"))),
        ("alg twice", r#"{"alg":"none","alg":"RS256"}"#, json(JsonProblem::Duplicate)),
        (
            "kid twice, once escaped",
            r#"{"alg":"RS256","kid":"a","\u006bid":"b"}"#,
            json(JsonProblem::Duplicate),
        ),
        (
            "twice inside an ignored one",
            r#"{"alg":"RS256","jwk":{"k":1,"k":2}}"#,
            json(JsonProblem::Duplicate),
        ),
        ("too deep", r#"{"alg":"RS256","a":[[[[[[[[]]]]]]]]}"#, json(JsonProblem::TooDeep)),
        ("a list", "[]", json(JsonProblem::NotAnObject)),
        ("nothing", "", json(JsonProblem::NotAnObject)),
        ("not JSON", "alg", json(JsonProblem::NotAnObject)),
    ] {
        assert_eq!(problem(&text(header, PAYLOAD)), expected, "{name}");
    }
}

#[test]
fn payloads_are_held_to_what_they_must_be() {
    use IdTokenMalformed::{Issuer, Json};
    let json = |problem| Some(Json(Segment::Payload, problem));
    for (name, payload, expected) in [
        ("an issuer alone", r#"{"iss":"a"}"#, None),
        ("a control character in jti", r#"{"iss":"a","jti":"\u0000\u0007"}"#, None),
        ("an emoji as surrogates", r#"{"iss":"a","x":"\ud83d\ude00"}"#, None),
        ("no issuer", r#"{"sub":"a"}"#, Some(Issuer)),
        ("nothing in it", "{}", Some(Issuer)),
        ("an issuer that is null", r#"{"iss":null}"#, Some(Issuer)),
        ("an issuer that is a list", r#"{"iss":["https://issuer.example"]}"#, Some(Issuer)),
        ("a lone surrogate", r#"{"iss":"a","jti":"\ud800"}"#, json(JsonProblem::NotAnObject)),
        ("iss twice", r#"{"iss":"a","iss":"b"}"#, json(JsonProblem::Duplicate)),
        ("a claim twice", r#"{"iss":"a","sub":1,"sub":1}"#, json(JsonProblem::Duplicate)),
        ("twice in a claim", r#"{"iss":"a","x":{"y":1,"y":2}}"#, json(JsonProblem::Duplicate)),
        ("too deep", r#"{"iss":"a","x":[[[[[[[[]]]]]]]]}"#, json(JsonProblem::TooDeep)),
        ("a list", "[]", json(JsonProblem::NotAnObject)),
        ("nothing", "", json(JsonProblem::NotAnObject)),
    ] {
        assert_eq!(problem(&text(HEADER, payload)), expected, "{name}");
    }
}

proptest::proptest! {
    /// Whatever comes is answered, and what is taken is what `serde_json` reads.
    #[test]
    fn any_payload_is_answered(payload in r#"\{("iss"|[\[\]{}:,"a\\u0d8-]|1|null|\PC){0,24}\}?"#) {
        let text = text(HEADER, &payload);
        if let Ok(token) = UnverifiedIdToken::parse(&text) {
            let value: serde_json::Value = serde_json::from_str(&payload).unwrap();
            proptest::prop_assert_eq!(Some(token.unverified_issuer()), value["iss"].as_str());
        }
    }

    #[test]
    fn any_text_is_answered(text in r"[\PC.]{0,64}") {
        let _ = UnverifiedIdToken::parse(&text);
    }
}

#[test]
fn algorithms_that_the_issuer_does_not_use_are_refused_without_a_key() {
    let only_rs256 = an_issuer();
    let more = Issuer { algorithms: vec![Algorithm::ES256, Algorithm::EdDSA], ..an_issuer() };
    let algorithm = |named: &str, issuer: &Issuer| {
        let text = text(&json!({"alg": named}).to_string(), PAYLOAD);
        UnverifiedIdToken::parse(&text).unwrap().algorithm(issuer)
    };
    let refused = |named: &str| Err(SignatureRefused::Algorithm { named: named.to_owned() });
    for named in ["none", "None", "NONE", "", "HS256", "HS512", "rs256", "RS256 ", "RS384", "ES256"]
    {
        assert_eq!(algorithm(named, &only_rs256), refused(named), "{named:?}");
    }
    assert_eq!(algorithm("RS256", &only_rs256), Ok(Algorithm::RS256));
    assert_eq!(algorithm("RS256", &more), refused("RS256"));
    assert_eq!(algorithm("ES256", &more), Ok(Algorithm::ES256));
    assert_eq!(algorithm("EdDSA", &more), Ok(Algorithm::EdDSA));
    assert_eq!(algorithm(&"x".repeat(5000), &more), refused(&"x".repeat(SHOWN_ALGORITHM_CHARS)));
}

#[test]
fn only_what_the_issuer_signed_is_verified() {
    let issuer = an_issuer();
    let claims = common_claims(&issuer);
    let genuine = KEY.id_token(&claims).unwrap();
    let (head, signature) = genuine.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let forged_claims = encoded(&with(claims.clone(), &json!({"sub": "root"})).to_string());
    let other_key = SigningKey::generate("k").unwrap();
    let verify = |text: &str| {
        UnverifiedIdToken::parse(text).unwrap().verify(&issuer, &PUBLISHED).map(|_| ()).err()
    };
    assert_eq!(verify(&genuine), None);
    for (name, text) in [
        ("no signature", format!("{head}.")),
        ("a signature of zeros", format!("{head}.{}", URL_SAFE_NO_PAD.encode([0; 256]))),
        ("half a signature", format!("{head}.{}", signature.split_at(signature.len() / 8 * 4).0)),
        ("other claims", format!("{header}.{forged_claims}.{signature}")),
        (
            "another header",
            format!(
                "{}.{}",
                text(HEADER, &claims.to_string()).rsplit_once('.').unwrap().0,
                signature
            ),
        ),
        ("another key of the same name", other_key.id_token(&claims).unwrap()),
    ] {
        assert_eq!(verify(&text), Some(SignatureRefused::Signature), "{name}");
    }
    let other = published(&other_key);
    let refused = UnverifiedIdToken::parse(&genuine).unwrap().verify(&issuer, &other).err();
    assert_eq!(refused, Some(SignatureRefused::Signature), "the genuine one, by another's key");
}

#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let issuer = an_issuer();
    let jwk = KEY.jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [modulus, jwk.to_string().into_bytes()] {
        let header = encoded(r#"{"alg":"HS256","typ":"JWT","kid":"k"}"#);
        let message = format!("{header}.{}", encoded(&common_claims(&issuer).to_string()));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&secret).unwrap();
        mac.update(message.as_bytes());
        let text = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        let refused = UnverifiedIdToken::parse(&text).unwrap().verify(&issuer, &PUBLISHED).err();
        assert_eq!(refused, Some(SignatureRefused::Algorithm { named: "HS256".to_owned() }));
    }
}

#[test]
fn an_issuer_is_itself_byte_for_byte() {
    for other in [
        "https://issuer.example/",
        "https://ISSUER.example",
        "http://issuer.example",
        "https://issuer.example:443",
        "https://issuer.example.evil.example",
        "https://issuer.example\0",
        " https://issuer.example",
        "",
    ] {
        let claims = with(common_claims(&an_issuer()), &json!({"iss": other}));
        let text = KEY.id_token(&claims).unwrap();
        let refused =
            UnverifiedIdToken::parse(&text).unwrap().verify(&an_issuer(), &PUBLISHED).err();
        assert_eq!(refused, Some(SignatureRefused::Issuer), "{other:?}");
    }
}

#[test]
fn debug_shows_nothing_to_sign_in_with() {
    let issuer = an_issuer();
    let text = KEY.id_token(&common_claims(&issuer)).unwrap();
    let token = UnverifiedIdToken::parse(&text).unwrap();
    assert_eq!(
        format!("{token:?}"),
        r#"UnverifiedIdToken { unverified_issuer: "https://issuer.example", .. }"#
    );
    let verified = token.verify(&issuer, &PUBLISHED).unwrap();
    assert_eq!(
        format!("{verified:?}"),
        r#"VerifiedIdToken { issuer: "https://issuer.example", .. }"#
    );
}

#[test]
fn refusals_are_sentences() {
    let shown = [
        IdTokenMalformed::TooLarge.to_string(),
        IdTokenMalformed::Encoding(Segment::Payload).to_string(),
        IdTokenMalformed::Json(Segment::Payload, JsonProblem::Duplicate).to_string(),
        IdTokenMalformed::Header("crit").to_string(),
        SignatureRefused::Algorithm { named: "none".to_owned() }.to_string(),
    ];
    let expected = [
        "the ID token is larger than 16384 bytes",
        "the payload of the ID token is not canonical unpadded base64url",
        "the payload of the ID token has an object with two members of one name",
        "the ID token's header has a member \"crit\" that is missing or not acceptable",
        "ID tokens of this issuer may not be signed with \"none\"",
    ];
    assert_eq!(shown, expected);
}
