//! The names under which the store remembers things.
//!
//! A mark is a hash, so that whoever reads the store learns nothing of tokens,
//! claims or people. It is made by one of the constructors below and by nothing
//! else: each has a label of its own, and each part is counted before it is
//! hashed, so that no two things can ever share a mark.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

/// The SHA-256 under which the store keeps one fact.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark([u8; 32]);

impl Mark {
    /// An ID token was redeemed: the verified issuer and its `jti`.
    pub fn redeemed(issuer: &str, jti: &str) -> Self {
        Self::of("redeemed", &[issuer.as_bytes(), jti.as_bytes()])
    }

    /// A repeatable Mint: who called, with which id, for which request
    /// (a fingerprint that leaves the client aside).
    pub fn mint_retry(caller: &str, request_id: &str, fingerprint: &[u8; 32]) -> Self {
        Self::of("mint-retry", &[caller.as_bytes(), request_id.as_bytes(), fingerprint])
    }

    /// A repeatable Verify: who called, with which id, for which request
    /// (a fingerprint that leaves the client and the token's text aside), and for
    /// which token (a fingerprint of its signature, because its text has many
    /// spellings).
    pub fn verify_retry(
        caller: &str,
        request_id: &str,
        fingerprint: &[u8; 32],
        token: &[u8; 32],
    ) -> Self {
        let parts: [&[u8]; 4] = [caller.as_bytes(), request_id.as_bytes(), fingerprint, token];
        Self::of("verify-retry", &parts)
    }

    /// An upload token was revoked, with every token narrowed from it.
    pub fn revoked(index: &str, token_id: &str) -> Self {
        Self::of("revoked", &[index.as_bytes(), token_id.as_bytes()])
    }

    /// The uses of one nonce of one token, and of every token narrowed from it.
    pub fn uses(index: &str, token_id: &str, nonce: &str) -> Self {
        Self::of("uses", &[index.as_bytes(), token_id.as_bytes(), nonce.as_bytes()])
    }

    /// One limit (by its name in the configuration) for one party.
    pub fn limit(name: &str, party: &str) -> Self {
        Self::of("limit", &[name.as_bytes(), party.as_bytes()])
    }

    /// The key set of an issuer, shared by replicas.
    pub fn key_set(issuer: &str) -> Self {
        Self::of("key-set", &[issuer.as_bytes()])
    }

    /// The hash itself.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(label: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new_with_prefix(b"mintage/v1/mark\0");
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(")?;
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

/// What is needed to mint the very same token again: everything in it that
/// came from time, chance or the keyring's current state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// When it was minted, as this service's clock had it.
    pub minted_at: Timestamp,
    /// Random bits of the identifier's UUIDv7.
    pub uuid_bits: [u8; 10],
    /// Random bytes for the nonces of Uses caveats.
    pub nonce_bits: [u8; 16],
    /// The id of the master key it was minted under.
    pub key_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_flow_into_each_other() {
        assert_ne!(Mark::redeemed("ab", "c"), Mark::redeemed("a", "bc"));
        assert_ne!(Mark::redeemed("a", "b"), Mark::revoked("a", "b"));
        assert_eq!(Mark::limit("mint", "10.0.0.1"), Mark::limit("mint", "10.0.0.1"));
    }

    #[test]
    fn debug_shows_only_the_first_bytes() {
        let shown = format!("{:?}", Mark::redeemed("https://issuer.example", "a jti"));
        assert_eq!(shown.chars().count(), "Mark(01234567…)".chars().count());
    }
}
