//! ID tokens, step by step, and what the steps can't be faster than.

use std::error::Error;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mintage::{
    oidc::UnverifiedIdToken,
    publisher::{self, GitHub, Identity, Publisher},
};
use sha2::{Digest as _, Sha256};

use super::{
    fixture::{Fixture, INDEX, NOW, publisher},
    harness::{Cost, Effort},
};

/// As many as a request may have.
const CANDIDATES: usize = 256;

/// Every row, the bare limits last.
pub(super) fn rows(
    fixture: &Fixture,
    effort: Effort,
) -> Result<Vec<(&'static str, Cost)>, Box<dyn Error>> {
    let Fixture { issuer, key, id_token: text, .. } = fixture;
    let unverified = || UnverifiedIdToken::parse(text);
    let verified = unverified()?.verify(issuer, key)?;
    let claims = verified.accept(issuer, INDEX, NOW)?;
    let (one, many) = (vec![publisher(0, 1)], candidates());
    let found = |candidates, id| publisher::find(&claims, candidates).is_ok_and(|one| one.id == id);
    let bare = Bare::new(fixture)?;
    let mut rows = Vec::new();
    let mut add = |operation, holds: &mut dyn FnMut() -> bool| {
        effort.measure(operation, holds).map(|cost| rows.push((operation, cost)))
    };
    add("parse: text → unverified", &mut || unverified().is_ok())?;
    add("parse + verify its signature", &mut || {
        unverified().is_ok_and(|read| read.verify(issuer, key).is_ok())
    })?;
    add("accept its claims", &mut || verified.accept(issuer, INDEX, NOW).is_ok())?;
    add("find the publisher, 1 candidate", &mut || found(&one, "publisher-0"))?;
    add("find the publisher, 256 candidates", &mut || found(&many, "publisher-255"))?;
    add("bare: RSA-2048 verify, key parsed", &mut || {
        bare.key.verify_sig(bare.message, &bare.signature).is_ok()
    })?;
    add("bare: SHA-256 of what is signed", &mut || {
        Sha256::digest(bare.message) != Sha256::digest([])
    })?;
    add("bare: base64url of what is signed", &mut || URL_SAFE_NO_PAD.decode(bare.payload).is_ok())?;
    add("bare: serde_json of its claims", &mut || {
        serde_json::from_slice::<serde_json::Value>(&bare.claims).is_ok()
    })?;
    Ok(rows)
}

/// The last one matches, and the others differ in their workflow file.
fn candidates() -> Vec<Publisher> {
    let other = |id| {
        let mut publisher = publisher(id, 1);
        if let Identity::GitHub(GitHub { workflow_filename, .. }) = &mut publisher.identity {
            *workflow_filename = format!("other-{id}.yml");
        }
        publisher
    };
    let last = CANDIDATES - 1;
    (0..last).map(other).chain([publisher(last, 1)]).collect()
}

/// The ID token in parts.
struct Bare<'f> {
    message: &'f [u8],
    payload: &'f str,
    claims: Vec<u8>,
    signature: Vec<u8>,
    key: ParsedPublicKey,
}

impl<'f> Bare<'f> {
    fn new(fixture: &'f Fixture) -> Result<Self, Box<dyn Error>> {
        let (message, signature) = fixture.id_token.rsplit_once('.').ok_or("no signature")?;
        let (_, payload) = message.split_once('.').ok_or("no payload")?;
        let integer = |name: &str| {
            let text = fixture.jwk.get(name).and_then(serde_json::Value::as_str);
            URL_SAFE_NO_PAD.decode(text.unwrap_or_default())
        };
        let components = RsaPublicKeyComponents { n: integer("n")?, e: integer("e")? };
        Ok(Self {
            message: message.as_bytes(),
            payload,
            claims: URL_SAFE_NO_PAD.decode(payload)?,
            signature: URL_SAFE_NO_PAD.decode(signature)?,
            key: components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)?,
        })
    }
}
