//! The HMAC chain, as libmacaroons and pymacaroons compute it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use super::RootKey;

/// One link of the chain. The last one is the macaroon's signature, and whoever
/// has it holds the token.
#[derive(Clone, ZeroizeOnDrop)]
pub(super) struct Signature([u8; 32]);

impl Signature {
    pub(super) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For the codec alone.
    pub(super) const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    pub(super) fn fingerprint(&self) -> [u8; 32] {
        Sha256::new_with_prefix(b"mintage/v1/signature\0").chain_update(self.0).finalize().into()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// The first link: the identifier under the root key's derived key.
pub(super) fn start(root_key: &RootKey, identifier: &[u8]) -> Signature {
    Signature(hmac_sha256(root_key.derived(), &[identifier]))
}

/// The link of a first-party caveat.
pub(super) fn first_party(link: &Signature, predicate: &[u8]) -> Signature {
    Signature(hmac_sha256(&link.0, &[predicate]))
}

/// The link of a third-party caveat: both parts are hashed apart, then together.
pub(super) fn third_party(
    link: &Signature,
    verification_id: &[u8],
    identifier: &[u8],
) -> Signature {
    let left = hmac_sha256(&link.0, &[verification_id]);
    let right = hmac_sha256(&link.0, &[identifier]);
    Signature(hmac_sha256(&link.0, &[&left, &right]))
}

/// HMAC-SHA256 of the parts one after another.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
