//! The seal on a key set that replicas leave for each other.
//!
//! Whoever can write to the shelf must not be able to plant keys, so what lies
//! there is sealed under a key that only the keyring yields, one per issuer: a
//! seal of one issuer means nothing for another. It says by which master key it
//! was made, and any of the keyring will do, so that keys can be rotated.
//!
//! The moment and the cause of the fetch lie under the seal too. A stranger can
//! thus take a sealed set away, or put an older one back; but an old one is taken
//! for what it is, and no key that its issuer withdrew lives longer than it would
//! without any stranger: see [`Wanted::worth`](super::wanted::Wanted::worth).
//!
//! ```text
//! version  length  key id  moment   cause  max-age?  seconds  JWKS document  seal
//!    1       1     1..32     8        1       1         8       ≤ 256 KiB     32
//! ```

use std::time::Duration;

use bytes::Bytes;

use super::{
    decision::{Cause, Fetch, Origin},
    source::{MAX_DOCUMENT, Published},
};
use crate::{
    clock::Timestamp,
    macaroon::{KeyId, Keyring, SealKey},
    oidc::KeySetUnreadable,
};

/// The one form that is written and read. Replicas of another version leave it
/// alone and fetch for themselves.
const VERSION: u8 = 1;

/// Longest sealed key set; what is longer isn't ours.
pub(super) const MAX_SEALED: usize =
    1 + 1 + KeyId::MAX_BYTES + 8 + 1 + 1 + 8 + MAX_DOCUMENT + SealKey::SEAL_BYTES;

/// What lies on the shelf is not a key set that a replica left there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotOurs {
    #[error("it is longer than any sealed key set")]
    TooLong,
    #[error("it has another form than this version's")]
    OtherForm,
    #[error("it is sealed under a key that is not in the keyring")]
    KeyUnknown,
    #[error("its seal is not of this issuer's key set")]
    Forged,
    #[error(transparent)]
    Unreadable(#[from] KeySetUnreadable),
}

/// The sealed key set, under the keyring's current key. None would be a keyring
/// without one, which there isn't.
pub(super) fn seal(keyring: &Keyring, issuer: &str, published: &Published) -> Option<Vec<u8>> {
    let id = keyring.current();
    let key = keyring.key(id)?.seal_key(issuer);
    let Fetch { at, cause, max_age } = published.fetch;
    let mut sealed = vec![VERSION, u8::try_from(id.as_str().len()).ok()?];
    sealed.extend_from_slice(id.as_str().as_bytes());
    sealed.extend_from_slice(&at.micros().to_be_bytes());
    sealed.push(match cause {
        Cause::Age => 0,
        Cause::UnknownKey => 1,
    });
    sealed.push(u8::from(max_age.is_some()));
    sealed.extend_from_slice(&max_age.map_or(0, |age| age.as_secs()).to_be_bytes());
    sealed.extend_from_slice(&published.document);
    let seal = key.seal(&sealed);
    sealed.extend_from_slice(&seal);
    Some(sealed)
}

/// What was sealed, once the seal held.
pub(super) fn open(keyring: &Keyring, issuer: &str, sealed: &[u8]) -> Result<Published, NotOurs> {
    if sealed.len() > MAX_SEALED {
        return Err(NotOurs::TooLong);
    }
    let (message, seal) =
        sealed.split_last_chunk::<{ SealKey::SEAL_BYTES }>().ok_or(NotOurs::OtherForm)?;
    let (id, content) = key_id(message).ok_or(NotOurs::OtherForm)?;
    let key = keyring.key(&id).ok_or(NotOurs::KeyUnknown)?;
    if !key.seal_key(issuer).sealed(message, seal) {
        return Err(NotOurs::Forged);
    }
    let (fetch, document) = fetch(content).ok_or(NotOurs::OtherForm)?;
    Ok(Published::read(Bytes::copy_from_slice(document), fetch, Origin::Shelf)?)
}

/// Under which key it is said to be sealed, and what comes after.
fn key_id(message: &[u8]) -> Option<(KeyId, &[u8])> {
    let ([VERSION, length], rest) = message.split_first_chunk()? else { return None };
    let (id, content) = rest.split_at_checked(usize::from(*length))?;
    Some((KeyId::parse(std::str::from_utf8(id).ok()?).ok()?, content))
}

/// How the set was fetched, and the set.
fn fetch(content: &[u8]) -> Option<(Fetch, &[u8])> {
    let (at, content) = content.split_first_chunk()?;
    let ([cause, said], content) = content.split_first_chunk()?;
    let (seconds, document) = content.split_first_chunk()?;
    let cause = match cause {
        0 => Cause::Age,
        1 => Cause::UnknownKey,
        _ => return None,
    };
    let seconds = Duration::from_secs(u64::from_be_bytes(*seconds));
    let max_age = match said {
        0 => None,
        1 => Some(seconds),
        _ => return None,
    };
    Some((Fetch { at: Timestamp::from_micros(i64::from_be_bytes(*at)), cause, max_age }, document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::macaroon::MasterKey;

    const ISSUER: &str = "https://issuer.example";

    /// Keys by id and byte; the first is current.
    fn keyring(keys: &[(&str, u8)]) -> Keyring {
        let id = |id| KeyId::parse(id).unwrap();
        let ring =
            keys.iter().map(|(name, byte)| (id(name), MasterKey::new(&[*byte; 32]).unwrap()));
        Keyring::new(ring.collect(), id(keys[0].0)).unwrap()
    }

    fn document() -> Bytes {
        // RFC 7517, appendix A.1.
        Bytes::from_static(
            br#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "1",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#,
        )
    }

    fn published(cause: Cause, max_age: Option<Duration>) -> Published {
        let fetch = Fetch { at: Timestamp::from_micros(1_790_000_123_456_789), cause, max_age };
        Published::read(document(), fetch, Origin::Issuer).unwrap()
    }

    fn sealed_by(keyring: &Keyring) -> Vec<u8> {
        seal(keyring, ISSUER, &published(Cause::Age, None)).unwrap()
    }

    #[test]
    fn what_was_sealed_comes_out_again() {
        let ring = keyring(&[("k1", 1)]);
        for (cause, max_age) in [
            (Cause::Age, None),
            (Cause::UnknownKey, Some(Duration::ZERO)),
            (Cause::UnknownKey, Some(Duration::from_secs(300))),
            (Cause::Age, Some(Duration::from_secs(u64::MAX))),
        ] {
            let before = published(cause, max_age);
            let after = open(&ring, ISSUER, &seal(&ring, ISSUER, &before).unwrap()).unwrap();
            assert_eq!(after.fetch, before.fetch);
            assert_eq!(after.document, before.document);
            assert_eq!(after.origin, Origin::Shelf);
            assert!(after.keys.key("1").is_some());
        }
    }

    #[test]
    fn any_key_of_the_keyring_opens_and_no_other() {
        let old = sealed_by(&keyring(&[("k1", 1)]));
        for (name, ring, opened) in [
            ("the same", keyring(&[("k1", 1)]), None),
            ("current has moved on", keyring(&[("k2", 2), ("k1", 1)]), None),
            ("retired", keyring(&[("k2", 2)]), Some(NotOurs::KeyUnknown)),
            ("another secret of the same name", keyring(&[("k1", 2)]), Some(NotOurs::Forged)),
        ] {
            assert_eq!(open(&ring, ISSUER, &old).err(), opened, "{name}");
        }
    }

    #[test]
    fn the_seal_of_one_issuer_means_nothing_for_another() {
        let ring = keyring(&[("k1", 1)]);
        let sealed = sealed_by(&ring);
        for other in ["https://issuer.example/", "https://other.example", ""] {
            assert_eq!(open(&ring, other, &sealed).err(), Some(NotOurs::Forged), "{other}");
        }
    }

    #[test]
    fn no_bit_can_be_turned_and_nothing_cut_or_added() {
        let ring = keyring(&[("k1", 1), ("k3", 3)]);
        let sealed = sealed_by(&ring);
        for bit in 0..sealed.len() * 8 {
            let mut turned = sealed.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&ring, ISSUER, &turned).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open(&ring, ISSUER, &sealed[..length]).is_err(), "{length} bytes");
        }
        assert!(open(&ring, ISSUER, &[&sealed[..], b" "].concat()).is_err());
    }

    #[test]
    fn what_a_stranger_may_leave_is_refused_for_what_it_is() {
        let ring = keyring(&[("k1", 1)]);
        let named = |id: &[u8]| [&[1, 2], id, &[0; 60]].concat();
        for (name, left, refusal) in [
            ("nothing", vec![], NotOurs::OtherForm),
            ("a bare document", document().to_vec(), NotOurs::OtherForm),
            ("another version", [&[2, 2], &b"k1"[..], &[0; 60]].concat(), NotOurs::OtherForm),
            (
                "a name that ends beyond it",
                [&[1, 255][..], &[b'k'; 60]].concat(),
                NotOurs::OtherForm,
            ),
            ("no key's name", named(b"k\n"), NotOurs::OtherForm),
            ("no text", named(&[0xff, 0xff]), NotOurs::OtherForm),
            ("an unknown key's name", named(b"k9"), NotOurs::KeyUnknown),
            ("a seal of zeros", named(b"k1"), NotOurs::Forged),
            ("too much", vec![1; MAX_SEALED + 1], NotOurs::TooLong),
        ] {
            assert_eq!(open(&ring, ISSUER, &left).err(), Some(refusal), "{name}");
        }
    }

    #[test]
    fn the_longest_document_fits() {
        let longest = "k".repeat(KeyId::MAX_BYTES);
        let ring = keyring(&[(&longest, 1)]);
        let mut padded = document().to_vec();
        padded.resize(MAX_DOCUMENT, b' ');
        let fetch = published(Cause::Age, None).fetch;
        let published = Published::read(padded.into(), fetch, Origin::Issuer).unwrap();
        let sealed = seal(&ring, ISSUER, &published).unwrap();
        assert_eq!(sealed.len(), MAX_SEALED);
        assert!(open(&ring, ISSUER, &sealed).is_ok());
    }
}
