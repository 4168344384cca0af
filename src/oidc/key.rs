//! The public keys of an issuer, and the check of a signature.
//!
//! The one file that names `jsonwebtoken`, and only for signatures:
//! claims and times are this crate's own business.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use jsonwebtoken::{
    AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;

/// Keys read from one key set; the rest is left out. The largest issuers
/// publish fewer than ten.
pub const MAX_KEYS: usize = 64;

/// RSA keys shorter than this are left out (NIST SP 800-131A).
const MIN_RSA_BITS: usize = 2048;

/// An asymmetric signature algorithm of RFC 7518 and RFC 8037. Symmetric ones
/// and `none` have no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the RFCs")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// Every algorithm that an issuer may be configured with.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The name in a header's `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    const fn vendor(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::RS384 => jsonwebtoken::Algorithm::RS384,
            Self::RS512 => jsonwebtoken::Algorithm::RS512,
            Self::PS256 => jsonwebtoken::Algorithm::PS256,
            Self::PS384 => jsonwebtoken::Algorithm::PS384,
            Self::PS512 => jsonwebtoken::Algorithm::PS512,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::ES384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// Not the name of an algorithm that an issuer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an asymmetric signature algorithm that Mintage knows")]
pub struct AlgorithmUnknown;

impl FromStr for Algorithm {
    type Err = AlgorithmUnknown;

    fn from_str(name: &str) -> Result<Self, AlgorithmUnknown> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(AlgorithmUnknown)
    }
}

/// One public key of an issuer.
pub struct VerifyingKey {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Whether the signature (base64url, as in a JWT) is this key's over the message.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm.vendor())
                .unwrap_or(false)
    }

    /// The key and its `kid`, where it is one that may verify ID tokens.
    fn from_jwk(jwk: &Jwk) -> Option<(String, Self)> {
        let kid = jwk.common.key_id.clone()?;
        if !meant_for_signatures(jwk) {
            return None;
        }
        let fitting = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &Algorithm::ALL[0..6],
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => &[Algorithm::ES256][..],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                &[Algorithm::EdDSA]
            }
            // Symmetric keys never count, nor does what nobody here can read.
            _ => return None,
        };
        let algorithms = match jwk.common.key_algorithm {
            None => fitting.to_vec(),
            Some(named) => vec![own_algorithm(named).filter(|named| fitting.contains(named))?],
        };
        let key = DecodingKey::from_jwk(jwk).ok()?;
        if key.family() == AlgorithmFamily::Rsa && rsa_bits(&key) < MIN_RSA_BITS {
            return None;
        }
        Some((kid, Self { key, algorithms }))
    }
}

fn meant_for_signatures(jwk: &Jwk) -> bool {
    let for_use = jwk.common.public_key_use.as_ref();
    let operations = jwk.common.key_operations.as_deref();
    for_use.is_none_or(|used| *used == PublicKeyUse::Signature)
        && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

fn own_algorithm(named: KeyAlgorithm) -> Option<Algorithm> {
    named.to_string().parse().ok()
}

fn rsa_bits(key: &DecodingKey) -> usize {
    match key.kind() {
        jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } => {
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            let first = n.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
            ((n.len() - zeros) * 8).saturating_sub(first)
        }
        jsonwebtoken::DecodingKeyKind::SecretOrDer(_) => 0,
    }
}

/// The usable keys of an issuer, by `kid`.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: HashMap<String, Arc<VerifyingKey>>,
    skipped: usize,
}

/// The document is not a JSON object with an array `keys`, or has no usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document is not a key set with at least one usable key")]
pub struct KeySetUnreadable;

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWKS document (RFC 7517). A JWK that can't be used is left out
    /// and counted, never the rest with it; of a doubled `kid` the first usable
    /// one counts; of more than [`MAX_KEYS`] the first so many are read.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetUnreadable> {
        let document: Document = serde_json::from_slice(document).map_err(|_| KeySetUnreadable)?;
        let mut set = Self::default();
        for value in document.keys.into_iter().take(MAX_KEYS) {
            let usable =
                serde_json::from_value(value).ok().and_then(|jwk| VerifyingKey::from_jwk(&jwk));
            match usable {
                Some((kid, key)) if !set.keys.contains_key(&kid) => {
                    set.keys.insert(kid, Arc::new(key));
                }
                _ => set.skipped += 1,
            }
        }
        if set.keys.is_empty() { Err(KeySetUnreadable) } else { Ok(set) }
    }

    /// The key with this `kid`.
    pub fn key(&self, kid: &str) -> Option<&Arc<VerifyingKey>> {
        self.keys.get(kid)
    }

    /// How many usable keys it has.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none; never so for a set that was parsed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many JWKs were left out.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }
}
