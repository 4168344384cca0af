//! Our secrets: master keys, their names, and the keys derived from them: those of
//! macaroons, and those of the seals between replicas.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The name of a master key: 1 to 32 characters of `[A-Za-z0-9_-]`. It stands in
/// every identifier, and is the name of the key's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// Not a key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 1 to 32 characters out of A-Z, a-z, 0-9, \"_\" and \"-\"")]
pub struct KeyIdInvalid;

impl KeyId {
    /// Longest key id, in bytes: it leaves room for a subject in the identifier.
    pub const MAX_BYTES: usize = 32;

    /// Reads a key id.
    pub fn parse(text: &str) -> Result<Self, KeyIdInvalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyIdInvalid)
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret from which the root keys of many macaroons are derived. At least 32
/// bytes; wiped when dropped; never shown.
#[derive(ZeroizeOnDrop)]
pub struct MasterKey(Vec<u8>);

/// Fewer bytes than an HMAC-SHA256 key should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a master key has at least 32 bytes")]
pub struct MasterKeyShort;

impl MasterKey {
    /// The fewest bytes: the strength of the hash (RFC 5869, section 3.3).
    pub const MIN_BYTES: usize = 32;

    /// Takes the bytes of a master key.
    pub fn new(bytes: &[u8]) -> Result<Self, MasterKeyShort> {
        if bytes.len() < Self::MIN_BYTES { Err(MasterKeyShort) } else { Ok(Self(bytes.to_vec())) }
    }

    /// The root key of one macaroon, bound to its index and its identifier:
    /// HKDF-SHA256-Expand of `"mintage/v1/root-key" 0x00 index 0x00 identifier`.
    pub fn root_key(&self, index: &str, identifier: &[u8]) -> RootKey {
        let info = [b"mintage/v1/root-key", &b"\0"[..], index.as_bytes(), b"\0", identifier];
        RootKey::new(self.expand(&info).as_ref())
    }

    /// The key of the seals under which replicas hand each other an issuer's key
    /// set, bound to the issuer: HKDF-SHA256-Expand of
    /// `"mintage/v1/key-set-seal" 0x00 issuer`.
    pub fn seal_key(&self, issuer: &str) -> SealKey {
        SealKey(*self.expand(&[b"mintage/v1/key-set-seal", b"\0", issuer.as_bytes()]))
    }

    fn expand(&self, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        #[expect(
            clippy::expect_used,
            reason = "a master key is long enough, and 32 bytes are few"
        )]
        Hkdf::<Sha256>::from_prk(&self.0)
            .expect("a master key has at least 32 bytes")
            .expand_multi_info(info, key.as_mut())
            .expect("one block is never too much");
        key
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), other.0.as_slice()).into()
    }
}

impl Eq for MasterKey {}

/// The HMAC key of one macaroon. Wiped when dropped; never shown.
#[derive(ZeroizeOnDrop)]
pub struct RootKey {
    derived: [u8; 32],
}

impl RootKey {
    /// Most bytes of a root key that an index kept for its own tokens; one
    /// block of the hash.
    pub const MAX_KEPT_BYTES: usize = 64;

    /// A root key as it is: derived above, or from an index's own records.
    pub fn new(key: &[u8]) -> Self {
        Self { derived: GENERATOR.clone().chain_update(key).finalize().into_bytes().into() }
    }

    /// What libmacaroons and pymacaroons sign with, never the key itself.
    pub(super) const fn derived(&self) -> &[u8; 32] {
        &self.derived
    }
}

/// Keyed once, since its key is the same for everybody.
static GENERATOR: LazyLock<Hmac<Sha256>> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104)")]
    Hmac::new_from_slice(b"macaroons-key-generator").expect("HMAC takes keys of every length")
});

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}

/// The HMAC key of seals. Wiped when dropped; never shown.
#[derive(ZeroizeOnDrop)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// How long a seal is.
    pub const SEAL_BYTES: usize = 32;

    /// The seal of these bytes: their HMAC-SHA256.
    pub fn seal(&self, bytes: &[u8]) -> [u8; Self::SEAL_BYTES] {
        self.hmac(bytes).finalize().into_bytes().into()
    }

    /// Whether this is the seal of these bytes, in constant time.
    pub fn sealed(&self, bytes: &[u8], seal: &[u8]) -> bool {
        self.hmac(bytes).verify_slice(seal).is_ok()
    }

    fn hmac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104)")]
        let keyed = Hmac::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        Hmac::chain_update(keyed, bytes)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Every master key, and the one that mints.
pub struct Keyring {
    keys: BTreeMap<KeyId, MasterKey>,
    current: KeyId,
}

/// A set of keys that can't be a keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringInvalid {
    /// The one that should mint isn't there.
    #[error("there is no key \"{0}\"; it is named as the current one")]
    CurrentMissing(KeyId),
    /// One secret under two names: retiring one would not retire it.
    #[error("the keys \"{0}\" and \"{1}\" are the same secret")]
    SameSecret(KeyId, KeyId),
}

impl Keyring {
    /// A keyring of these keys, minting with the current one.
    pub fn new(keys: BTreeMap<KeyId, MasterKey>, current: KeyId) -> Result<Self, KeyringInvalid> {
        for (at, (id, key)) in keys.iter().enumerate() {
            if let Some((twin, _)) = keys.iter().skip(at + 1).find(|(_, other)| *other == key) {
                return Err(KeyringInvalid::SameSecret(id.clone(), twin.clone()));
            }
        }
        if keys.contains_key(&current) {
            Ok(Self { keys, current })
        } else {
            Err(KeyringInvalid::CurrentMissing(current))
        }
    }

    /// The name of the key that mints.
    pub fn current(&self) -> &KeyId {
        &self.current
    }

    /// The names of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.keys()
    }

    /// The master key of this name.
    pub fn key(&self, id: &KeyId) -> Option<&MasterKey> {
        self.keys.get(id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("ids", &self.keys.keys().map(KeyId::as_str).collect::<Vec<_>>())
            .field("current", &self.current.as_str())
            .finish()
    }
}
