//! Where things lie: the names of all keys.
//!
//! ```text
//! mintage:{0}:memory                 one server, or sentinels: one place
//! mintage:{17}:redeemed:RCM3…        a cluster: 64 places
//! ```
//!
//! The number in braces is the *place*. Redis puts all keys with the same braces
//! into the same hash slot, so that one script can use them together. Marks of
//! an ID token, of an upload token, of a limit go to the place that their hash
//! says. Each place has a memory of its own, since a cluster can lose a part.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::mark::Mark;

/// Places of a cluster: enough to spread evenly over a few dozen nodes, and few
/// enough that each can be looked after every second.
const IN_A_CLUSTER: u8 = 64;

/// Hash slots of a cluster (Redis Cluster specification).
const SLOTS: u16 = 16_384;

/// A group of keys that one script can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(u8);

impl Place {
    /// Its number, which stands in braces.
    pub(super) const fn number(self) -> u8 {
        self.0
    }

    /// The cluster's slot of the place: CRC-16/XMODEM of what stands in braces.
    pub(super) fn slot(self) -> u16 {
        crc16(self.0.to_string().as_bytes()) % SLOTS
    }
}

/// What a key is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// An ID token that was redeemed, or a call that minted without one.
    Redeemed,
    /// A counter of uses.
    Uses,
    /// A Verify that may come again.
    Call,
    /// A revocation.
    Revoked,
    /// A limit.
    Limit,
    /// A key set that replicas share.
    KeySet,
    /// The claim to fetch it.
    Claim,
}

/// Names keys.
#[derive(Debug)]
pub(super) struct Places {
    prefix: String,
    count: u8,
}

impl Places {
    /// One place, for one server.
    pub(super) const fn one(prefix: String) -> Self {
        Self { prefix, count: 1 }
    }

    /// The places of a cluster.
    pub(super) const fn of_a_cluster(prefix: String) -> Self {
        Self { prefix, count: IN_A_CLUSTER }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.count).map(Place)
    }

    /// The place of a mark.
    pub(super) const fn of(&self, mark: &Mark) -> Place {
        let [first, ..] = mark.bytes();
        Place(*first % self.count)
    }

    /// The key of a place's memory.
    pub(super) fn memory(&self, place: Place) -> String {
        format!("{}:{{{}}}:memory", self.prefix, place.0)
    }

    /// The key of a mark, in a place.
    pub(super) fn key(&self, place: Place, kind: Kind, mark: &Mark) -> String {
        let kind = match kind {
            Kind::Redeemed => "redeemed",
            Kind::Uses => "uses",
            Kind::Call => "call",
            Kind::Revoked => "revoked",
            Kind::Limit => "limit",
            Kind::KeySet => "key-set",
            Kind::Claim => "claim",
        };
        let mut key = String::with_capacity(self.prefix.len() + 64);
        // Writing into a String never fails.
        let _ = write!(key, "{}:{{{}}}:{kind}:", self.prefix, place.0);
        URL_SAFE_NO_PAD.encode_string(mark.bytes(), &mut key);
        key
    }
}

/// A mark's hash as text.
pub(super) fn text(mark: &Mark) -> String {
    URL_SAFE_NO_PAD.encode(mark.bytes())
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the value that the specification names");
        assert_eq!(crc16(b"") % SLOTS, 0);
    }

    #[test]
    fn keys_are_readable_and_hold_a_hash() {
        let places = Places::one("mintage".to_owned());
        let mark = Mark::redeemed("https://issuer.example", "a jti");
        let key = places.key(places.of(&mark), Kind::Redeemed, &mark);
        let (head, hash) = key.split_at(key.len() - 43);
        assert_eq!(head, "mintage:{0}:redeemed:");
        assert_eq!(URL_SAFE_NO_PAD.decode(hash).unwrap(), mark.bytes());
        assert_eq!(places.memory(places.of(&mark)), "mintage:{0}:memory");
    }

    #[test]
    fn a_clusters_places_are_spread() {
        let places = Places::of_a_cluster("mintage".to_owned());
        let slots: BTreeSet<_> = places.all().map(Place::slot).collect();
        assert_eq!(slots.len(), usize::from(IN_A_CLUSTER), "no two share a slot");
        for third in 0..3 {
            let own = slots.iter().filter(|slot| **slot / 5_462 == third).count();
            assert!(own >= 12, "a third of the slots has {own} places");
        }
    }
}
