//! The public keys of an issuer, and the check of a signature.
//!
//! `jsonwebtoken` reads the JWKs, and nothing else here or elsewhere: claims and
//! times are this crate's own business. Signatures are held against keys that
//! AWS-LC parsed once, when the key set was read: that saves every Mint 2 µs,
//! and a key that can't work is found out then, and not by an ID token.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyAlgorithm,
    KeyOperations, OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters,
};
use serde::Deserialize;

/// Keys read from one key set; the rest is left out. The largest issuers
/// publish fewer than ten.
pub const MAX_KEYS: usize = 64;

/// RSA keys of other lengths are left out: shorter ones are weak (NIST SP
/// 800-131A), longer ones make every check dear, and AWS-LC takes neither.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

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

    /// What AWS-LC calls it, where it is one for RSA keys.
    fn of_rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Some(&RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Some(&RSA_PSS_2048_8192_SHA512),
            Self::ES256 | Self::ES384 | Self::EdDSA => None,
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

/// One public key of an issuer, ready for each algorithm that it may be used with.
pub struct VerifyingKey {
    keys: Vec<(Algorithm, ParsedPublicKey)>,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.keys.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("VerifyingKey").field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

impl VerifyingKey {
    /// Whether the signature (its bytes, as RFC 7518 has them) is this key's over
    /// the message.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.keys
            .iter()
            .find(|(own, _)| *own == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }

    /// The key and its `kid`, where it is one that may verify ID tokens.
    fn from_jwk(jwk: &Jwk) -> Option<(String, Self)> {
        let kid = jwk.common.key_id.clone()?;
        if !meant_for_signatures(jwk) {
            return None;
        }
        let mut keys = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) => rsa_keys(key)?,
            AlgorithmParameters::EllipticCurve(key) => vec![ec_key(key)?],
            AlgorithmParameters::OctetKeyPair(key) => vec![ed_key(key)?],
            // Symmetric keys never count, nor does what nobody here can read.
            _ => return None,
        };
        if let Some(named) = jwk.common.key_algorithm {
            let named = own_algorithm(named)?;
            keys.retain(|(algorithm, _)| *algorithm == named);
        }
        if keys.is_empty() { None } else { Some((kid, Self { keys })) }
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

fn rsa_keys(key: &RSAKeyParameters) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    let (n, e) = (decoded_integer(&key.n)?, decoded_integer(&key.e)?);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    if !RSA_BITS.contains(&bits) {
        return None;
    }
    let components = RsaPublicKeyComponents { n, e };
    let parsed = |algorithm: Algorithm| {
        let key = components.to_parsed_public_key(algorithm.of_rsa()?).ok()?;
        Some((algorithm, key))
    };
    Some(Algorithm::ALL.into_iter().filter_map(parsed).collect())
}

fn ec_key(key: &EllipticCurveKeyParameters) -> Option<(Algorithm, ParsedPublicKey)> {
    let (algorithm, vendor, width): (_, &'static dyn VerificationAlgorithm, _) = match key.curve {
        EllipticCurve::P256 => (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED, 32),
        EllipticCurve::P384 => (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED, 48),
        _ => return None,
    };
    let (x, y) = (decoded(&key.x)?, decoded(&key.y)?);
    if x.len() != width || y.len() != width {
        return None;
    }
    // An uncompressed point (SEC 1, section 2.3.3).
    let point = [&[4][..], &x, &y].concat();
    Some((algorithm, ParsedPublicKey::new(vendor, point).ok()?))
}

fn ed_key(key: &OctetKeyPairParameters) -> Option<(Algorithm, ParsedPublicKey)> {
    if key.curve != EllipticCurve::Ed25519 {
        return None;
    }
    Some((Algorithm::EdDSA, ParsedPublicKey::new(&ED25519, decoded(&key.x)?).ok()?))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// An integer without the zeros that some issuers put before it.
fn decoded_integer(text: &str) -> Option<Vec<u8>> {
    let bytes = decoded(text)?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// The usable keys of an issuer, by `kid`. The default has none; one that was
/// parsed has at least one.
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
        let listed = document.keys.len();
        let mut keys = HashMap::new();
        for value in document.keys.into_iter().take(MAX_KEYS) {
            let jwk = serde_json::from_value(value).ok();
            if let Some((kid, key)) = jwk.and_then(|jwk| VerifyingKey::from_jwk(&jwk)) {
                keys.entry(kid).or_insert_with(|| Arc::new(key));
            }
        }
        if keys.is_empty() {
            return Err(KeySetUnreadable);
        }
        Ok(Self { skipped: listed - keys.len(), keys })
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

    /// How many JWKs were left out, those beyond [`MAX_KEYS`] among them.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }
}

#[cfg(test)]
mod tests;
