//! Attacks on ID tokens, through the real port: each is refused for its own
//! reason, and none makes the service ask anybody who shouldn't be asked.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails panics")]

mod support;

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mintage::{
    demo::signing::SigningKey,
    grpc::proto::{self, caveat::Kind},
};
use serde_json::{Value, json};
use sha2::Sha256;
use support::{
    issuer::{TestIssuer, key_one, key_two},
    service::{Scene, caveat, reasons, trusted},
};
use tokio::time::timeout;

const HEADER: &str = r#"{"alg":"RS256","typ":"JWT","kid":"one"}"#;

/// Claims that the scene's publisher matches, from the scene's issuer.
fn claims(scene: &Scene) -> Value {
    with(scene, &[("iss", json!(scene.issuer.url()))])
}

/// The same with some changed; null takes one away.
fn with(scene: &Scene, changes: &[(&str, Value)]) -> Value {
    let mut claims = scene.github_claims("1");
    claims["iss"] = json!(scene.issuer.url());
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*name);
        } else {
            claims[*name] = value.clone();
        }
    }
    claims
}

/// Signed as it should be, under a header of the attacker's choice.
fn under(scene: &Scene, header: &str) -> String {
    key_one().sign_parts(header, &claims(scene).to_string()).unwrap()
}

/// Signed as it should be, with a payload of the attacker's choice.
fn saying(payload: &str) -> String {
    key_one().sign_parts(HEADER, payload).unwrap()
}

/// A good payload with more text in its first object.
fn saying_more(scene: &Scene, more: &str) -> String {
    let payload = claims(scene).to_string();
    saying(&payload.replacen('{', &format!("{{{more},"), 1))
}

/// The three segments of a good ID token.
fn segments(scene: &Scene) -> (String, String, String) {
    let token = under(scene, HEADER);
    let mut parts = token.split('.').map(str::to_owned);
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

/// Says which reason a Mint with this ID token is refused for. A Verify, asked
/// beforehand, must deny it for the same.
async fn reason(scene: &Scene, id_token: &str) -> String {
    let mut request = scene.publishing_with(id_token.to_owned());
    let answer = scene.verify(verifying(&mut request)).await.unwrap();
    let denied = reasons(&answer);
    match scene.mint(request).await {
        Ok(_) => {
            assert_eq!(denied, [""; 0]);
            "minted".to_owned()
        }
        Err(refused) => {
            assert_eq!(denied, [refused.reason.as_str()]);
            let unproven = [
                "ID_TOKEN_MALFORMED",
                "ISSUER_UNKNOWN",
                "ID_TOKEN_KEY_UNKNOWN",
                "ID_TOKEN_SIGNATURE",
            ];
            let proven = !unproven.contains(&refused.reason.as_str());
            assert_eq!(answer.identity.is_some(), proven, "what it says is told once it is proven");
            refused.reason
        }
    }
}

/// A Verify of the ID token that a Mint brings.
fn verifying(mint: &mut proto::MintRequest) -> proto::VerifyRequest {
    proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::IdToken(trusted(mint).clone())),
        ..Default::default()
    }
}

/// Holds each ID token against its reason, and the issuer against having been
/// asked by any of them. Then shows that a good one mints.
async fn refused_without_a_fetch(scene: &Scene, attacks: &[(&str, String, &str)]) {
    for (name, id_token, expected) in attacks {
        assert_eq!(reason(scene, id_token).await, *expected, "{name}");
    }
    let asked = (scene.issuer.discoveries(), scene.issuer.key_set_reads());
    assert_eq!(asked, (0, 0), "the issuer was asked");
    assert_eq!(reason(scene, &under(scene, HEADER)).await, "minted");
    assert_eq!((scene.issuer.discoveries(), scene.issuer.key_set_reads()), (1, 1));
}

#[tokio::test]
async fn a_text_that_is_no_id_token_is_malformed_and_asks_nobody() {
    let scene = Scene::start().await;
    let (header, payload, signature) = segments(&scene);
    let odd = |text: &str| {
        // A last character whose unused bits are set.
        let (start, last) = text.split_at(text.len() - 1);
        let other = match last {
            "A" => "B",
            "Q" => "R",
            "g" => "h",
            _ => "x",
        };
        format!("{start}{other}")
    };
    let payload_text = claims(&scene).to_string();
    // Lengths that leave bits unused in the last character: one byte too many, or two.
    let one_over = payload_text.clone() + &" ".repeat((4 - payload_text.len() % 3) % 3);
    assert_eq!(one_over.len() % 3, 1);
    let noncanonical = format!("{header}.{}.{signature}", odd(&URL_SAFE_NO_PAD.encode(&one_over)));
    let padded = format!("{header}.{}.{signature}", URL_SAFE.encode(&one_over));
    let standard = {
        let text = payload_text.replacen('{', "{\"odd\":\"\u{3ff}\u{3ff}???>>>\",", 1);
        let encoded = STANDARD.encode(text).replace('=', "");
        assert!(encoded.contains('/') || encoded.contains('+'));
        format!("{header}.{encoded}.{signature}")
    };
    let malformed = "ID_TOKEN_MALFORMED";
    let attacks: Vec<_> = [
        ("nothing", String::new()),
        ("one segment", header.clone()),
        ("two segments", format!("{header}.{payload}")),
        ("four segments", format!("{header}.{payload}.{signature}.{signature}")),
        ("five segments, as in an encrypted one", format!("{header}.a.b.c.d")),
        ("only dots", "..".to_owned()),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("17 KiB", saying_more(&scene, &format!("\"x\":\"{}\"", "a".repeat(13 * 1024)))),
        ("padded", padded),
        ("a padded signature", format!("{header}.{payload}.{signature}==")),
        ("not canonical", noncanonical),
        ("a signature that is not canonical", format!("{header}.{payload}.{}", odd(&signature))),
        ("the other alphabet", standard),
        ("a line break", format!("{header}.{payload}.{signature}\n")),
        ("white space before it", format!(" {header}.{payload}.{signature}")),
        ("a scheme before it", format!("Bearer {header}.{payload}.{signature}")),
        ("a null byte in it", format!("{header}.{payload}\0.{signature}")),
        ("a header that is a list", under(&scene, "[]")),
        ("a header that is no JSON", under(&scene, "alg=RS256")),
        ("no algorithm", under(&scene, r#"{"typ":"JWT","kid":"one"}"#)),
        ("an algorithm that is a list", under(&scene, r#"{"alg":["RS256"],"kid":"one"}"#)),
        ("a kid that is a number", under(&scene, r#"{"alg":"RS256","kid":1}"#)),
        ("another type", under(&scene, r#"{"alg":"RS256","kid":"one","typ":"at+jwt"}"#)),
        ("an extension", {
            under(&scene, r#"{"alg":"RS256","kid":"one","crit":["exp"],"exp":9999999999}"#)
        }),
        ("an extension that is empty", under(&scene, r#"{"alg":"RS256","kid":"one","crit":[]}"#)),
        ("an unencoded payload", {
            under(&scene, r#"{"alg":"RS256","kid":"one","crit":["b64"],"b64":false}"#)
        }),
        ("a token in the token", under(&scene, r#"{"alg":"RS256","kid":"one","cty":"JWT"}"#)),
        ("a compressed one", under(&scene, r#"{"alg":"RS256","kid":"one","zip":"DEF"}"#)),
        ("a header twice", under(&scene, r#"{"alg":"none","alg":"RS256","kid":"one"}"#)),
        ("a header twice, once escaped", {
            under(&scene, r#"{"kid":"one","alg":"RS256","\u006bid":"two"}"#)
        }),
        ("a claim twice", saying_more(&scene, r#""aud":"pypi""#)),
        ("a claim twice, once escaped", saying_more(&scene, r#""\u0069ss":"x""#)),
        ("a claim twice, deep down", saying_more(&scene, r#""x":[{"a":1,"a":2}]"#)),
        ("a lone surrogate", saying_more(&scene, r#""x":"\ud800""#)),
        ("a lone surrogate in a name", saying_more(&scene, r#""\udc00":1"#)),
        ("invalid UTF-8", {
            let bytes = [b"{\"x\":\"\xff\",".as_slice(), &payload_text.as_bytes()[1..]].concat();
            format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(bytes))
        }),
        ("not a number", saying_more(&scene, r#""x":NaN"#)),
        ("nine levels", saying_more(&scene, &format!("\"x\":{}{}", "[".repeat(8), "]".repeat(8)))),
        ("ten thousand levels", {
            // Half of it, so that the whole stays under 16 KiB.
            format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("[".repeat(10_000)))
        }),
        ("no issuer", saying(&with(&scene, &[("iss", Value::Null)]).to_string())),
        ("an issuer that is a list", {
            saying(&with(&scene, &[("iss", json!([scene.issuer.url()]))]).to_string())
        }),
        ("two objects", saying(&format!("{payload_text}{payload_text}"))),
        ("a byte order mark", saying(&format!("\u{feff}{payload_text}"))),
    ]
    .into_iter()
    .map(|(name, token)| (name, token, malformed))
    .collect();
    refused_without_a_fetch(&scene, &attacks).await;
}

#[tokio::test]
async fn an_algorithm_that_the_issuer_does_not_use_asks_nobody() {
    let scene = Scene::start().await;
    let none = |alg: &str, signature: &str| {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"one"}}"#);
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims(&scene).to_string())
        );
        format!("{message}.{signature}")
    };
    // The public key as the secret of an HMAC, in the forms in which attackers
    // have tried it.
    let hmac = |secret: &[u8]| {
        let unsigned = none("HS256", "");
        let message = unsigned.strip_suffix('.').unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let jwk = key_one().jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let signature = segments(&scene).2;
    let attacks: Vec<_> = [
        ("none, unsigned", none("none", "")),
        ("none, with a signature", none("none", &signature)),
        ("None", none("None", "")),
        ("NONE", none("NONE", "")),
        ("an empty name", none("", "")),
        ("HMAC by the modulus", hmac(&modulus)),
        ("HMAC by the JWK", hmac(jwk.to_string().as_bytes())),
        ("HMAC by nothing", hmac(b"")),
        ("rs256", none("rs256", &signature)),
        ("RS256 and a null byte", none("RS256\\u0000", &signature)),
        ("RS384, which it may not use", none("RS384", &signature)),
        ("PS256, which it may not use", none("PS256", &signature)),
        ("ES256, which it may not use", none("ES256", &signature)),
        ("EdDSA, which it may not use", none("EdDSA", &signature)),
        ("an endless name", none(&"R".repeat(5_000), &signature)),
    ]
    .into_iter()
    .map(|(name, token)| (name, token, "ID_TOKEN_SIGNATURE"))
    .collect();
    refused_without_a_fetch(&scene, &attacks).await;
}

#[tokio::test]
async fn an_issuer_that_is_not_configured_byte_for_byte_is_asked_nothing() {
    let scene = Scene::start().await;
    let stranger = TestIssuer::start();
    let url = scene.issuer.url();
    let port = url.rsplit_once(':').unwrap().1;
    let attacks: Vec<_> = [
        ("a stranger's", stranger.url()),
        ("a slash more", format!("{url}/")),
        ("a path", format!("{url}/x")),
        ("the scheme in capitals", url.replace("http", "HTTP")),
        ("another name of the host", format!("http://localhost:{port}")),
        ("another spelling of the host", format!("http://127.1:{port}")),
        ("https", url.replace("http", "https")),
        ("a user", url.replace("http://", "http://x@")),
        ("a query", format!("{url}?")),
        ("a null byte after it", format!("{url}\0")),
        ("a null byte and more after it", format!("{url}\0.evil.example")),
        ("white space after it", format!("{url} ")),
        ("a line break after it", format!("{url}\n")),
        ("without its scheme", url.replace("http://", "")),
        ("nothing", String::new()),
        ("a file", "file:///etc/passwd".to_owned()),
        ("the cloud's metadata", "http://169.254.169.254/latest".to_owned()),
    ]
    .into_iter()
    .map(|(name, iss)| {
        // Signed by whoever it claims to be from, as well as it can be.
        let token = saying(&with(&scene, &[("iss", json!(iss))]).to_string());
        (name, token, "ISSUER_UNKNOWN")
    })
    .collect();
    refused_without_a_fetch(&scene, &attacks).await;
    assert_eq!((stranger.discoveries(), stranger.key_set_reads()), (0, 0));
}

#[tokio::test]
async fn an_id_token_without_a_kid_asks_nobody() {
    let scene = Scene::start().await;
    let attacks =
        [("no kid", under(&scene, r#"{"alg":"RS256","typ":"JWT"}"#), "ID_TOKEN_KEY_UNKNOWN")];
    refused_without_a_fetch(&scene, &attacks).await;
}

#[tokio::test]
async fn names_of_keys_that_nobody_publishes_cause_one_fetch_in_a_cooldown() {
    let scene = Scene::start().await;
    assert_eq!(reason(&scene, &scene.github_id_token("warm")).await, "minted");
    let asked = || (scene.issuer.discoveries(), scene.issuer.key_set_reads());
    assert_eq!(asked(), (1, 1));
    let kids = [
        "two",
        "",
        " ",
        "ONE",
        "one ",
        "one\\u0000",
        "../../etc/passwd",
        "/dev/null",
        "http://evil.example/key",
        "' OR 1=1 --",
        "one;two",
        &"k".repeat(8_000),
    ];
    for round in 1..=2 {
        for kid in kids {
            let header = format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{kid}"}}"#);
            let told = reason(&scene, &under(&scene, &header)).await;
            assert_eq!(told, "ID_TOKEN_KEY_UNKNOWN", "{kid:.40}");
        }
        assert_eq!(asked().1, 1 + round, "one fetch for all of them");
        scene.clock.advance(Duration::from_secs(31));
    }
    // Known keys were held up by none of it.
    assert_eq!(reason(&scene, &scene.github_id_token("later")).await, "minted");
}

#[tokio::test]
async fn a_key_that_the_bearer_brings_along_is_not_looked_at() {
    let scene = Scene::start().await;
    let attacker = TestIssuer::start();
    let own = SigningKey::generate("one").unwrap();
    attacker.publish(&[&own]);
    let jwk = own.jwk();
    let keys = format!("{}/keys", attacker.url());
    for (name, more) in [
        ("a key set elsewhere", json!({"jku": keys})),
        ("a certificate elsewhere", json!({"x5u": keys})),
        ("an embedded key", json!({"jwk": jwk})),
        ("an embedded certificate", json!({"x5c": ["MIIB"], "x5t": "AAAA", "x5t#S256": "AAAA"})),
        ("all of them", json!({"jku": keys, "x5u": keys, "jwk": jwk, "x5c": ["MIIB"]})),
    ] {
        let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": "one"});
        for (member, value) in more.as_object().unwrap() {
            header[member] = value.clone();
        }
        let payload = claims(&scene).to_string();
        let by_attacker = own.sign_parts(&header.to_string(), &payload).unwrap();
        assert_eq!(reason(&scene, &by_attacker).await, "ID_TOKEN_SIGNATURE", "{name}");
    }
    assert_eq!((attacker.discoveries(), attacker.key_set_reads()), (0, 0));
    assert_eq!((scene.issuer.discoveries(), scene.issuer.key_set_reads()), (1, 1));
    // Not looked at in an honest ID token either.
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "one", "jku": keys, "jwk": jwk});
    assert_eq!(reason(&scene, &under(&scene, &header.to_string())).await, "minted");
}

#[tokio::test]
async fn a_signature_must_be_the_issuers_own_over_these_very_bytes() {
    let sections = |url: &str| format!("[[issuers]]\nurl = {url:?}\nprovider = \"github\"");
    let other = TestIssuer::start();
    other.publish(&[key_two()]);
    let issuer = TestIssuer::start();
    let toml = support::service::configuration(&issuer.url(), "", &sections(&other.url())).replace(
        &format!("issuers = [{:?}]", issuer.url()),
        &format!("issuers = [{:?}, {:?}]", issuer.url(), other.url()),
    );
    let scene = Scene::start_at(issuer, &toml, support::service::BEGIN).await;
    let impostor = SigningKey::generate("one").unwrap();
    let payload = claims(&scene).to_string();
    let (header, body, signature) = segments(&scene);
    let flipped = {
        let mut bytes = URL_SAFE_NO_PAD.decode(&signature).unwrap();
        bytes[100] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let changed = URL_SAFE_NO_PAD.encode(payload.replace("octo/sample", "evil/sample"));
    let spaced = URL_SAFE_NO_PAD.encode(payload.replacen('{', "{ ", 1));
    for (name, token, expected) in [
        ("another key of this name", impostor.sign_parts(HEADER, &payload).unwrap(), "SIGNATURE"),
        ("another issuer's key", key_two().sign_parts(HEADER, &payload).unwrap(), "SIGNATURE"),
        (
            "another issuer's key under its own name",
            key_two().sign_parts(&HEADER.replace("one", "two"), &payload).unwrap(),
            "KEY_UNKNOWN",
        ),
        ("no signature", format!("{header}.{body}."), "SIGNATURE"),
        ("one bit flipped", format!("{header}.{body}.{flipped}"), "SIGNATURE"),
        ("half a signature", format!("{header}.{body}.{}", signature.split_at(128).0), "SIGNATURE"),
        ("a doubled signature", format!("{header}.{body}.{signature}{signature}"), "SIGNATURE"),
        ("other claims", format!("{header}.{changed}.{signature}"), "SIGNATURE"),
        (
            "the same claims written otherwise",
            format!("{header}.{spaced}.{signature}"),
            "SIGNATURE",
        ),
        (
            "a header written otherwise",
            format!(
                "{}.{body}.{signature}",
                URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256","kid":"one"}"#)
            ),
            "SIGNATURE",
        ),
        ("zeros", format!("{header}.{body}.{}", "A".repeat(342)), "SIGNATURE"),
    ] {
        assert_eq!(reason(&scene, &token).await, format!("ID_TOKEN_{expected}"), "{name}");
    }
    assert_eq!(reason(&scene, &format!("{header}.{body}.{signature}")).await, "minted");
    // And of the other issuer, what the first one signed.
    let crossed = saying(&with(&scene, &[("iss", json!(other.url()))]).to_string());
    assert_eq!(reason(&scene, &crossed).await, "ID_TOKEN_KEY_UNKNOWN");
}

#[tokio::test]
async fn claims_are_held_to_the_second_and_to_their_types() {
    let scene = Scene::start().await;
    // ID tokens from before the service's memory would be refused for that.
    scene.clock.advance(Duration::from_secs(600));
    let now = scene.now();
    let (claims, expired, early) =
        ("ID_TOKEN_CLAIMS", "ID_TOKEN_EXPIRED", "ID_TOKEN_NOT_YET_VALID");
    let audience = "ID_TOKEN_AUDIENCE";
    let day = 86_400;
    for (name, changes, expected) in [
        ("exp as a string", vec![("exp", json!((now + 300).to_string()))], claims),
        ("exp as a float", vec![("exp", json!(1_790_000_423.0))], claims),
        ("exp as a truth", vec![("exp", json!(true))], claims),
        ("exp as a list", vec![("exp", json!([now + 300]))], claims),
        ("exp absent", vec![("exp", Value::Null)], claims),
        ("exp beyond 2^53", vec![("exp", json!((1_i64 << 53) + 1))], claims),
        ("exp beyond 2^63", vec![("exp", json!(u64::MAX))], claims),
        ("exp negative", vec![("exp", json!(-1))], expired),
        ("exp far back", vec![("exp", json!(i64::MIN))], expired),
        ("exp 0", vec![("exp", json!(0))], expired),
        ("expired with leeway", vec![("exp", json!(now - 30)), ("iat", json!(now - 90))], expired),
        ("iat absent", vec![("iat", Value::Null)], claims),
        ("iat as a string", vec![("iat", json!(now.to_string()))], claims),
        ("iat in the future", vec![("iat", json!(now + 31))], early),
        ("iat far ahead", vec![("iat", json!(i64::MAX))], early),
        ("nbf in the future", vec![("nbf", json!(now + 31))], early),
        ("nbf as a string", vec![("nbf", json!("now"))], claims),
        ("a life of a day and a second", vec![("exp", json!(now + day + 1))], claims),
        ("a life since ever", vec![("iat", json!(i64::MIN))], claims),
        ("aud as a list of one", vec![("aud", json!(["pypi"]))], audience),
        ("aud as a list of two", vec![("aud", json!(["pypi", "testpypi"]))], audience),
        ("aud absent", vec![("aud", Value::Null)], audience),
        ("aud empty", vec![("aud", json!(""))], audience),
        ("aud in capitals", vec![("aud", json!("PyPI"))], audience),
        ("aud with a null byte", vec![("aud", json!("pypi\0"))], audience),
        ("aud as an object", vec![("aud", json!({"pypi": true}))], audience),
        ("aud that begins alike", vec![("aud", json!("pypi.org"))], audience),
        ("jti absent", vec![("jti", Value::Null)], claims),
        ("jti empty", vec![("jti", json!(""))], claims),
        ("jti as a number", vec![("jti", json!(7))], claims),
        ("jti of 257 bytes", vec![("jti", json!("j".repeat(257)))], claims),
        ("a pinned claim of a wrong type", vec![("environment", json!(1))], claims),
        ("a required claim missing", vec![("repository_owner_id", Value::Null)], claims),
        (
            "a null byte in the repository",
            { vec![("repository", json!("octo/sample\0"))] },
            "PUBLISHER_NOT_FOUND",
        ),
    ] {
        let token = scene.issuer.id_token(&with(&scene, &changes));
        assert_eq!(reason(&scene, &token).await, expected, "{name}");
    }
    for (at, (name, changes)) in [
        ("the last moment of its leeway", vec![("exp", json!(now - 29)), ("iat", json!(now - 60))]),
        ("the first moment of its leeway", vec![("nbf", json!(now + 30))]),
        ("issued a little ahead", vec![("iat", json!(now + 30)), ("nbf", Value::Null)]),
        ("a life of a day", vec![("exp", json!(now + day))]),
        ("control characters in the jti", vec![("jti", json!("\0\n\u{7f}"))]),
        ("a jti of 256 bytes", vec![("jti", json!("j".repeat(256)))]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut changes = changes;
        if !changes.iter().any(|(claim, _)| *claim == "jti") {
            changes.push(("jti", json!(format!("good-{at}"))));
        }
        let token = scene.issuer.id_token(&with(&scene, &changes));
        assert_eq!(reason(&scene, &token).await, "minted", "{name}");
    }
    // One discovery and one read served them all.
    assert_eq!((scene.issuer.discoveries(), scene.issuer.key_set_reads()), (1, 1));
}

#[tokio::test]
async fn large_hostile_texts_are_refused_in_no_time() {
    let scene = Scene::start().await;
    let wide =
        format!("{{{}}}", (0..1_000).map(|at| format!("\"{at}\":0")).collect::<Vec<_>>().join(","));
    for (name, text) in [
        ("a million dots", ".".repeat(1_000_000)),
        ("three megabytes", "a".repeat(3_000_000)),
        ("three megabytes in three segments", { format!("{0}.{0}.{0}", "a".repeat(1_000_000)) }),
        ("brackets", format!("e30.{}.e30", URL_SAFE_NO_PAD.encode("[{".repeat(6_000)))),
        ("a thousand headers", key_one().sign_parts(&wide, "{}").unwrap()),
    ] {
        // A hundred times what it takes, on a machine that is busy with others.
        let told = timeout(Duration::from_secs(5), reason(&scene, &text)).await;
        assert_eq!(told.as_deref(), Ok("ID_TOKEN_MALFORMED"), "{name}");
    }
    assert_eq!(scene.issuer.discoveries(), 0);
}

#[tokio::test]
async fn a_refused_mint_leaves_the_id_token_usable() {
    let scene = Scene::start().await;
    let good = || scene.publishing("1");
    let mut requests = vec![("a stranger's candidate", good(), "PUBLISHER_NOT_FOUND")];
    trusted(&mut requests[0].1).candidates[0].issuer = "https://gitlab.example".to_owned();

    let mut unwanted = good();
    trusted(&mut unwanted).projects = vec!["numpy".to_owned()];
    requests.push(("an unwanted project", unwanted, "NO_ELIGIBLE_PROJECT"));

    let mut short = good();
    short.lifetime = Some(Duration::from_secs(899).try_into().unwrap());
    requests.push(("a short life", short, "REQUEST_INVALID"));

    let mut featured = good();
    featured.features = vec!["no-use-token".to_owned()];
    requests.push(("an unknown feature", featured, "FEATURE_UNSUPPORTED"));

    let mut odd = good();
    odd.client = Some(proto::Client { ip: "here".to_owned(), ..Default::default() });
    requests.push(("an odd client", odd, "REQUEST_INVALID"));

    let mut large = good();
    let names = (0..2_000).map(|at| format!("project-{at}")).collect();
    large.caveats = vec![caveat(Kind::ProjectNames(proto::ProjectNames { names }))];
    requests.push(("a token that would be too large", large, "TOKEN_TOO_LARGE"));

    for (name, request, expected) in requests {
        assert_eq!(scene.mint(request).await.unwrap_err().reason, expected, "{name}");
    }
    scene.mint(good()).await.unwrap();
    assert_eq!(scene.mint(good()).await.unwrap_err().reason, "ID_TOKEN_REUSED");
}
