//! Macaroons: bearer tokens that their holder can narrow and nobody can widen.
//!
//! The laws, on one page. A macaroon has a public *identifier* and a list of
//! *caveats*. Its signature is a chain: the first link is an HMAC of the
//! identifier under the *root key*, and each caveat is signed with the link
//! before it as the key. From this follows all the rest:
//!
//! - whoever holds a macaroon can append a caveat, offline, without the root
//!   key ([`Macaroon::attenuate`]);
//! - nobody can take a caveat away or change one, because the link before it is
//!   no longer there;
//! - only who knows the root key can tell whether the chain holds
//!   ([`Macaroon::verify`]), and so whether the bytes are authentic;
//! - whether the caveats *allow* something is another question, and the business
//!   of [`crate::caveat`];
//! - a holder can append any caveat, so nothing but the answer "cleared" or
//!   "not cleared" is ever read out of one. Whose token it is stands in the
//!   identifier.
//!
//! The format is that of libmacaroons, version 2 binary, and bit for bit that of
//! PyPI's upload tokens; version 1 binary is read too.

mod chain;
mod format;
mod identifier;
mod keyring;
mod text;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::{fmt, ops::Range};

pub use format::{Damage, TokenTooLarge, TokenUnreadable, Version};
pub use identifier::{
    Identifier, IdentifierForeign, MAX_SUBJECT_ID_BYTES, Subject, SubjectIdInvalid,
};
pub use keyring::{
    KeyId, KeyIdInvalid, Keyring, KeyringInvalid, MasterKey, MasterKeyShort, RootKey, SealKey,
};
pub use text::{TokenPrefix, TokenPrefixInvalid};

use chain::Signature;

/// An upload token as text: 16 KiB, the most that common HTTP servers take in
/// one header, and twice what the strictest ones do.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Caveats in one macaroon. The longest honest tokens have fewer than ten; each
/// costs the verifier an HMAC.
pub const MAX_CAVEATS: usize = 128;

/// An identifier. Ours need at most 189 bytes, PyPI's 36.
pub const MAX_IDENTIFIER_BYTES: usize = 256;

/// A macaroon whose signature nobody has looked at yet.
///
/// Its parts lie in one buffer, so that reading one allocates three times,
/// however many caveats it has. `Debug` and errors never show the signature:
/// it is what makes the bearer the bearer.
#[derive(Clone)]
pub struct Macaroon {
    version: Version,
    buffer: Vec<u8>,
    location: Range<usize>,
    identifier: Range<usize>,
    caveats: Vec<CaveatSpan>,
    signature: Signature,
}

/// Where one caveat lies in the buffer.
#[derive(Clone)]
enum CaveatSpan {
    First(Range<usize>),
    Third { location: Range<usize>, identifier: Range<usize>, verification_id: Range<usize> },
}

/// One caveat of a macaroon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedded<'a> {
    /// A predicate that the verifier clears itself.
    FirstParty(&'a [u8]),
    /// One that another party would have to discharge. Mintage reads them, and
    /// denies them.
    ThirdParty {
        /// The other party's address.
        location: &'a [u8],
        /// What the other party knows it by.
        identifier: &'a [u8],
    },
}

impl Macaroon {
    /// A new macaroon without caveats, signed with the root key.
    pub fn mint(root_key: &RootKey, location: &str, identifier: &str) -> Self {
        let mut buffer = Vec::with_capacity(512);
        buffer.extend_from_slice(location.as_bytes());
        buffer.extend_from_slice(identifier.as_bytes());
        let signature = chain::start(root_key, identifier.as_bytes());
        Self {
            version: Version::V2,
            location: 0..location.len(),
            identifier: location.len()..buffer.len(),
            buffer,
            caveats: Vec::with_capacity(8),
            signature,
        }
    }

    /// Reads an upload token: its prefix, its base64url, its bytes. Holds every
    /// bound before it does any work.
    pub fn read(text: &str, prefix: &TokenPrefix) -> Result<Self, TokenUnreadable> {
        decode(text::decode(text, prefix)?)
    }

    /// The upload token: the text that people paste. Always version 2.
    pub fn write(&self, prefix: &TokenPrefix) -> Result<String, TokenTooLarge> {
        let token = text::encode(&v2::encode(self), prefix);
        if token.len() > MAX_TOKEN_BYTES { Err(TokenTooLarge::Bytes) } else { Ok(token) }
    }

    /// Appends a caveat: the one thing that a holder can do without a key.
    pub fn attenuate(&mut self, predicate: &[u8]) -> Result<(), TokenTooLarge> {
        if self.caveats.len() >= MAX_CAVEATS {
            return Err(TokenTooLarge::Caveats);
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(predicate);
        self.caveats.push(CaveatSpan::First(start..self.buffer.len()));
        self.signature = chain::first_party(&self.signature, predicate);
        Ok(())
    }

    /// Checks the chain against the root key, in constant time.
    pub fn verify(&self, root_key: &RootKey) -> Result<VerifiedMacaroon<'_>, SignatureMismatch> {
        let mut link = chain::start(root_key, self.identifier());
        for span in &self.caveats {
            link = match span {
                CaveatSpan::First(predicate) => chain::first_party(&link, self.bytes(predicate)),
                CaveatSpan::Third { identifier, verification_id, .. } => {
                    chain::third_party(&link, self.bytes(verification_id), self.bytes(identifier))
                }
            };
        }
        if link.matches(&self.signature) {
            Ok(VerifiedMacaroon(self))
        } else {
            Err(SignatureMismatch)
        }
    }

    /// The format it was read in; version 2 for one that was minted here.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A hint where the token belongs; compared with nothing.
    pub fn location(&self) -> &[u8] {
        self.bytes(&self.location)
    }

    /// The public head.
    pub fn identifier(&self) -> &[u8] {
        self.bytes(&self.identifier)
    }

    /// The caveats of a token that nobody has verified, for people to look at
    /// and for holders who narrow it. Judging needs a [`VerifiedMacaroon`].
    pub fn unverified_caveats(&self) -> impl Iterator<Item = Embedded<'_>> {
        self.caveats.iter().map(|span| match span {
            CaveatSpan::First(predicate) => Embedded::FirstParty(self.bytes(predicate)),
            CaveatSpan::Third { location, identifier, .. } => Embedded::ThirdParty {
                location: self.bytes(location),
                identifier: self.bytes(identifier),
            },
        })
    }

    /// A hash of the signature: tells two tokens of one family apart, and gives
    /// nothing away.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.signature.fingerprint()
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }
}

/// Reads either binary format; the first byte tells which.
fn decode(bytes: Vec<u8>) -> Result<Macaroon, TokenUnreadable> {
    match bytes.first() {
        None => Err(Damage::Empty.into()),
        Some(2) => v2::decode(bytes),
        Some(b'0'..=b'9' | b'a'..=b'f') => v1::decode(bytes),
        Some(b'{') => Err(Damage::Json.into()),
        Some(other) => Err(Damage::Format(*other).into()),
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Macaroon")
            .field("version", &self.version)
            .field("identifier", &String::from_utf8_lossy(self.identifier()))
            .field("caveats", &self.caveats.len())
            .finish_non_exhaustive()
    }
}

/// The chain does not end in the signature that the token has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upload token's signature does not hold: it was altered, or minted elsewhere")]
pub struct SignatureMismatch;

/// Proof that a macaroon's signature holds: what it says was said by who knows
/// the root key, or appended by a holder. Made by [`Macaroon::verify`] alone.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedMacaroon<'a>(&'a Macaroon);

impl<'a> VerifiedMacaroon<'a> {
    /// Its caveats, in order.
    pub fn caveats(self) -> impl Iterator<Item = Embedded<'a>> {
        self.0.unverified_caveats()
    }

    /// The macaroon itself.
    pub fn macaroon(self) -> &'a Macaroon {
        self.0
    }
}
