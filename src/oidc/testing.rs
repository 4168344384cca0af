//! For the tests of this module and of [`crate::publisher`]: one real issuer's
//! key, and ID tokens that go through every real step.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use crate::{clock::Timestamp, demo::signing::SigningKey};

use super::{
    Algorithm, Issuer, KeySet, Provider, UnverifiedIdToken, VerifiedIdToken, VerifyingKey,
};

/// The moment of the tests, in Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The audience of the tests.
pub(crate) const AUDIENCE: &str = "pypi";

/// RSA keys take their time, so there is one.
pub(crate) static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("k").unwrap());

/// Its public half, as the issuer publishes it.
pub(crate) static PUBLISHED: LazyLock<Arc<VerifyingKey>> = LazyLock::new(|| published(&KEY));

pub(crate) fn published(key: &SigningKey) -> Arc<VerifyingKey> {
    let document = json!({"keys": [key.jwk()]}).to_string();
    let set = KeySet::parse(document.as_bytes()).unwrap();
    Arc::clone(set.key(key.kid()).unwrap())
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

pub(crate) fn issuer(provider: Provider, url: &str) -> Issuer {
    let (_, rest) = url.split_once("://").unwrap();
    Issuer {
        url: url.to_owned(),
        host: rest.split('/').next().unwrap().to_owned(),
        provider,
        algorithms: vec![Algorithm::RS256],
        enabled: true,
    }
}

/// An object with some members changed; `null` takes one away.
pub(crate) fn with(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

/// The claims that every ID token has, valid now.
pub(crate) fn common_claims(issuer: &Issuer) -> Value {
    json!({
        "iss": issuer.url, "aud": AUDIENCE, "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 240,
    })
}

/// Signs claims, and verifies them again.
pub(crate) fn verified(issuer: &Issuer, claims: &Value) -> VerifiedIdToken {
    verified_text(issuer, &claims.to_string())
}

/// The same for claims that `serde_json::Value` can't hold.
pub(crate) fn verified_text(issuer: &Issuer, claims: &str) -> VerifiedIdToken {
    let text = KEY.sign_parts(r#"{"alg":"RS256","typ":"JWT","kid":"k"}"#, claims).unwrap();
    UnverifiedIdToken::parse(&text).unwrap().verify(issuer, &PUBLISHED).unwrap()
}
