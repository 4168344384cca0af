//! The text of an ID token, read but not believed.
//!
//! Every bound is held before any work is done on what it bounds, and nothing
//! in here is true: names say *unverified* until [`UnverifiedIdToken::verify`]
//! has held the signature against the issuer's key. Only the compact form of
//! RFC 7515 is read, and of its header only what chooses an algorithm and a key.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Algorithm, ClaimValue, Issuer, VerifiedIdToken, VerifyingKey,
    claim_value::{JsonProblem, Members},
};

/// A longer ID token is not looked at. Those of the known providers have 1 to 3
/// KiB; header lists and bodies of the web tier end in the same region.
pub const MAX_ID_TOKEN_BYTES: usize = 16 * 1024;

/// How much of an algorithm's name is repeated in a refusal.
const SHOWN_ALGORITHM_CHARS: usize = 16;

/// An ID token whose form is right, and of which nothing else is known.
pub struct UnverifiedIdToken<'a> {
    /// What is signed: header and payload as they stand, with the dot between.
    message: &'a str,
    signature: Vec<u8>,
    header: Header,
    issuer: String,
    claims: Members,
}

/// What a header says that matters.
struct Header {
    algorithm: String,
    kid: Option<String>,
}

/// The text is no ID token that anybody here reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenMalformed {
    /// Longer than [`MAX_ID_TOKEN_BYTES`].
    #[error("the ID token is larger than {MAX_ID_TOKEN_BYTES} bytes")]
    TooLarge,
    /// Not the compact serialization of RFC 7515.
    #[error("the ID token does not have three segments with dots between")]
    Segments,
    /// A segment has another alphabet, padding, or bits that say nothing.
    #[error("the {0} of the ID token is not canonical unpadded base64url")]
    Encoding(Segment),
    /// A segment is no strict JSON object.
    #[error("the {0} of the ID token {1}")]
    Json(Segment, JsonProblem),
    /// A member of the header that would change what the ID token means
    /// (`crit`, `cty`, `zip`), or one that does not say what it must.
    #[error("the ID token's header has a member {0:?} that is missing or not acceptable")]
    Header(&'static str),
    /// Without an issuer nobody can be asked for a key.
    #[error("the ID token has no claim \"iss\" that is a string")]
    Issuer,
}

/// A part of an ID token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// Nothing proves that the issuer signed the ID token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefused {
    /// Its algorithm is not on the issuer's list.
    #[error("ID tokens of this issuer may not be signed with {named:?}")]
    Algorithm {
        /// What the header names, cut where it is long.
        named: String,
    },
    /// It names another issuer than the one it was held against.
    #[error("the ID token is of another issuer")]
    Issuer,
    /// The signature is not the key's.
    #[error("the signature of the ID token does not hold")]
    Signature,
}

impl<'a> UnverifiedIdToken<'a> {
    /// Reads the text of an ID token.
    ///
    /// # Errors
    ///
    /// Each [`IdTokenMalformed`]; the cheapest check comes first.
    pub fn parse(text: &'a str) -> Result<Self, IdTokenMalformed> {
        if text.len() > MAX_ID_TOKEN_BYTES {
            return Err(IdTokenMalformed::TooLarge);
        }
        // Counted before anything is split, decoded or stored.
        if text.bytes().filter(|byte| *byte == b'.').count() != 2 {
            return Err(IdTokenMalformed::Segments);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(IdTokenMalformed::Segments)?;
        let (header, payload) = message.split_once('.').ok_or(IdTokenMalformed::Segments)?;
        let signature = decoded(Segment::Signature, signature)?;
        let header = Header::read(object(Segment::Header, header)?)?;
        let claims = object(Segment::Payload, payload)?;
        let issuer = claims.get("iss").and_then(ClaimValue::as_str);
        let issuer = issuer.ok_or(IdTokenMalformed::Issuer)?.to_owned();
        Ok(Self { message, signature, header, issuer, claims })
    }

    /// Who is said to have issued it.
    pub fn unverified_issuer(&self) -> &str {
        &self.issuer
    }

    /// The name of the key that it is said to be signed with.
    pub fn unverified_kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The algorithm, where the issuer may use it. Needs no key, so that an ID
    /// token with another one causes no fetch.
    ///
    /// # Errors
    ///
    /// [`SignatureRefused::Algorithm`].
    pub fn algorithm(&self, issuer: &Issuer) -> Result<Algorithm, SignatureRefused> {
        let named = &self.header.algorithm;
        let mut allowed = issuer.algorithms.iter().copied();
        allowed.find(|algorithm| algorithm.name() == named).ok_or_else(|| {
            SignatureRefused::Algorithm {
                named: named.chars().take(SHOWN_ALGORITHM_CHARS).collect(),
            }
        })
    }

    /// Holds the signature against a key of the issuer.
    ///
    /// # Errors
    ///
    /// Each [`SignatureRefused`].
    pub fn verify(
        self,
        issuer: &Issuer,
        key: &VerifyingKey,
    ) -> Result<VerifiedIdToken, SignatureRefused> {
        if self.issuer != issuer.url {
            return Err(SignatureRefused::Issuer);
        }
        let algorithm = self.algorithm(issuer)?;
        if !key.verifies(algorithm, self.message.as_bytes(), &self.signature) {
            return Err(SignatureRefused::Signature);
        }
        Ok(VerifiedIdToken::new(self.issuer, self.claims))
    }
}

impl fmt::Debug for UnverifiedIdToken<'_> {
    /// Leaves out everything from which the ID token could be put together again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedIdToken")
            .field("unverified_issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Header {
    /// `jku`, `x5u`, `x5c` and `jwk` would let the bearer bring the key along;
    /// like every other member they are not looked at.
    fn read(members: Members) -> Result<Self, IdTokenMalformed> {
        let (mut algorithm, mut kid) = (None, None);
        for (name, value) in members {
            match (name.as_str(), value) {
                ("alg", ClaimValue::String(named)) => algorithm = Some(named),
                ("alg", _) => return Err(IdTokenMalformed::Header("alg")),
                ("kid", ClaimValue::String(named)) => kid = Some(named),
                ("kid", _) => return Err(IdTokenMalformed::Header("kid")),
                ("typ", ClaimValue::String(typ)) if typ.eq_ignore_ascii_case("JWT") => {}
                ("typ", _) => return Err(IdTokenMalformed::Header("typ")),
                // Extensions that must be understood: none is.
                ("crit", _) => return Err(IdTokenMalformed::Header("crit")),
                // A token in the token, and a compressed one.
                ("cty", _) => return Err(IdTokenMalformed::Header("cty")),
                ("zip", _) => return Err(IdTokenMalformed::Header("zip")),
                _ => {}
            }
        }
        Ok(Self { algorithm: algorithm.ok_or(IdTokenMalformed::Header("alg"))?, kid })
    }
}

fn decoded(segment: Segment, text: &str) -> Result<Vec<u8>, IdTokenMalformed> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| IdTokenMalformed::Encoding(segment))
}

fn object(segment: Segment, text: &str) -> Result<Members, IdTokenMalformed> {
    let json = decoded(segment, text)?;
    Members::parse(&json).map_err(|problem| IdTokenMalformed::Json(segment, problem))
}

#[cfg(test)]
mod tests;
