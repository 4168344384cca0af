//! The parts of an upload token, whole or damaged.
//!
//! [`Macaroon::read`] takes a token or refuses it, as a service must. A person
//! with a damaged token wants to know what is left of it: [`Parts::salvage`]
//! reads on as far as it can, and proves nothing.

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::macaroon::{Embedded, MAX_CAVEATS, Macaroon, Version};

/// What a token holds. The signature isn't among it: nobody needs to see it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) version: Option<Version>,
    pub(super) location: Option<Vec<u8>>,
    pub(super) identifier: Option<Vec<u8>>,
    pub(super) caveats: Vec<Restriction>,
    pub(super) signature: Signature,
}

/// One caveat.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restriction {
    FirstParty(Vec<u8>),
    ThirdParty { location: Vec<u8> },
}

/// Whether the signature is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Signature {
    /// All of it.
    Whole,
    /// Not all of it.
    #[default]
    Lost,
}

impl Parts {
    /// The parts of a whole token.
    pub(super) fn of(macaroon: &Macaroon) -> Self {
        let caveats = macaroon.unverified_caveats().map(|caveat| match caveat {
            Embedded::FirstParty(predicate) => Restriction::FirstParty(predicate.to_vec()),
            Embedded::ThirdParty { location, .. } => {
                Restriction::ThirdParty { location: location.to_vec() }
            }
        });
        Self {
            version: Some(macaroon.version()),
            location: Some(macaroon.location().to_vec()),
            identifier: Some(macaroon.identifier().to_vec()),
            caveats: caveats.collect(),
            signature: Signature::Whole,
        }
    }

    /// What is left of a damaged one; `body` is the text after the prefix.
    pub(super) fn salvage(body: &str) -> Self {
        let bytes = legible(body);
        let mut parts = Self::default();
        match bytes.split_first() {
            Some((2, fields)) => {
                parts.version = Some(Version::V2);
                parts.read_v2(fields);
            }
            Some((b'0'..=b'9' | b'a'..=b'f', _)) => {
                parts.version = Some(Version::V1);
                parts.read_v1(&bytes);
            }
            _ => {}
        }
        parts
    }

    /// Fields of a type, a varint length and bytes; a zero ends a section.
    fn read_v2(&mut self, mut rest: &[u8]) {
        let mut location = None;
        while let Some((kind, after)) = rest.split_first() {
            if *kind == 0 {
                rest = after;
                continue;
            }
            let Some((value, after)) = v2_value(after) else { return };
            self.add(Field::of_v2(*kind), value, &mut location);
            rest = after;
        }
    }

    /// Packets of four hexadecimal digits, a name, a space, bytes and a line end.
    fn read_v1(&mut self, mut rest: &[u8]) {
        let mut location = None;
        while let Some((packet, after)) = v1_packet(rest) {
            let mut halves = packet.splitn(2, |byte| *byte == b' ');
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else { return };
            self.add(Field::of_v1(name), value, &mut location);
            rest = after;
        }
    }

    fn add(&mut self, field: Field, value: &[u8], location: &mut Option<Vec<u8>>) {
        match field {
            Field::Location if self.identifier.is_none() => self.location = Some(value.to_vec()),
            Field::Location => *location = Some(value.to_vec()),
            Field::Identifier if self.identifier.is_none() => {
                self.identifier = Some(value.to_vec());
            }
            Field::Identifier if self.caveats.len() < MAX_CAVEATS => {
                self.caveats.push(match location.take() {
                    None => Restriction::FirstParty(value.to_vec()),
                    Some(location) => Restriction::ThirdParty { location },
                });
            }
            Field::ThirdPartyLocation => {
                if let Some(last) = self.caveats.last_mut() {
                    *last = Restriction::ThirdParty { location: value.to_vec() };
                }
            }
            Field::Signature if value.len() == 32 => self.signature = Signature::Whole,
            Field::Signature | Field::Identifier | Field::Other => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Field {
    Location,
    Identifier,
    /// Version 1 names the third party after its caveat.
    ThirdPartyLocation,
    Signature,
    Other,
}

impl Field {
    fn of_v2(kind: u8) -> Self {
        match kind {
            1 => Self::Location,
            2 => Self::Identifier,
            6 => Self::Signature,
            _ => Self::Other,
        }
    }

    fn of_v1(name: &[u8]) -> Self {
        match name {
            b"location" => Self::Location,
            b"identifier" | b"cid" => Self::Identifier,
            b"cl" => Self::ThirdPartyLocation,
            b"signature" => Self::Signature,
            _ => Self::Other,
        }
    }
}

fn v2_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(3).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.get(at + 1..)?.split_at_checked(length);
        }
    }
    None
}

fn v1_packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = std::str::from_utf8(bytes.get(..4)?).ok()?;
    let length = usize::from_str_radix(digits, 16).ok()?;
    let (packet, after) = bytes.split_at_checked(length)?;
    Some((packet.get(4..)?.strip_suffix(b"\n")?, after))
}

/// As many bytes as the text still gives: white space left out, the other base64
/// alphabet taken for this one, and no further than the first stray character.
fn legible(body: &str) -> Vec<u8> {
    let mut text: Vec<u8> = body
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        })
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        .collect();
    // One character alone holds no byte.
    if text.len() % 4 == 1 {
        text.pop();
    }
    LENIENT.decode(text).unwrap_or_default()
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn v1(packets: &[(&str, &str)]) -> Vec<u8> {
        let packet = |(name, value): &(&str, &str)| {
            format!("{:04x}{name} {value}\n", name.len() + value.len() + 6).into_bytes()
        };
        packets.iter().flat_map(packet).collect()
    }

    #[test]
    fn a_cut_token_of_2019_is_read_up_to_its_cut() {
        let whole = v1(&[
            ("location", "pypi.org"),
            ("identifier", "0f3e"),
            ("cid", "{\"version\": 1, \"permissions\": \"user\"}"),
            ("cid", "elsewhere"),
            ("vid", "sealed"),
            ("cl", "third.example"),
            ("cid", "lost"),
        ]);
        let parts = Parts::salvage(&URL_SAFE_NO_PAD.encode(&whole[..whole.len() - 3]));
        let expected = Parts {
            version: Some(Version::V1),
            location: Some(b"pypi.org".to_vec()),
            identifier: Some(b"0f3e".to_vec()),
            caveats: vec![
                Restriction::FirstParty(b"{\"version\": 1, \"permissions\": \"user\"}".to_vec()),
                Restriction::ThirdParty { location: b"third.example".to_vec() },
            ],
            signature: Signature::Lost,
        };
        assert_eq!(parts, expected);
    }

    #[test]
    fn no_input_is_too_strange_to_be_salvaged() {
        for bytes in [
            &b""[..],
            b"\x02",
            b"\x02\x01\xff\xff\xff\xff",
            b"\x02\x02\x05ab",
            b"\x02\x00\x00\x00",
            b"0000",
            b"00060000 ",
            b"ffff",
            b"0005\n",
            b"{}",
        ] {
            let parts = Parts::salvage(&URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(parts.signature, Signature::Lost, "{bytes:?}");
        }
        for text in ["", "=", "é", "A", "AgEI AgEI", "%%%"] {
            assert!(Parts::salvage(text).identifier.is_none(), "{text}");
        }
    }
}
