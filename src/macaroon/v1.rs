//! Version 1 of the binary format, read only: packets of four hexadecimal
//! digits (the length of all of it), a key, a space, a value and a newline.

use std::ops::Range;

use super::{
    CaveatSpan, Damage, Macaroon, TokenUnreadable, Version,
    format::{Head, assemble, hold_identifier, room_for_another},
};

/// Reads a macaroon and nothing after it.
pub(super) fn decode(buffer: Vec<u8>) -> Result<Macaroon, TokenUnreadable> {
    let mut reader = Reader { bytes: &buffer, at: 0 };
    let location = reader.required(b"location")?;
    let identifier = reader.required(b"identifier")?;
    hold_identifier(&identifier)?;
    let mut caveats = Vec::new();
    while let Some(identifier) = reader.optional(b"cid")? {
        room_for_another(&caveats)?;
        caveats.push(match reader.optional(b"vid")? {
            None => CaveatSpan::First(identifier),
            Some(verification_id) => {
                let location = reader.required(b"cl")?;
                CaveatSpan::Third { location, identifier, verification_id }
            }
        });
    }
    let signature = reader.required(b"signature")?;
    let end = reader.at;
    let head = Head { version: Version::V1, location, identifier };
    assemble(head, caveats, signature, end, buffer)
}

const LENGTH_DIGITS: usize = 4;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn required(&mut self, key: &[u8]) -> Result<Range<usize>, Damage> {
        self.optional(key)?.ok_or(Damage::Field(self.at))
    }

    /// The value of the next packet, if that packet has this key.
    fn optional(&mut self, key: &[u8]) -> Result<Option<Range<usize>>, Damage> {
        let end = self.at + self.length()?;
        let start = self.at + LENGTH_DIGITS;
        let packet = self.bytes.get(start..end).ok_or(Damage::Truncated(self.bytes.len()))?;
        let Some(value) = packet.strip_prefix(key).and_then(|rest| rest.strip_prefix(b" ")) else {
            return Ok(None);
        };
        if value.last() != Some(&b'\n') {
            return Err(Damage::Field(self.at));
        }
        self.at = end;
        Ok(Some(start + key.len() + 1..end - 1))
    }

    fn length(&self) -> Result<usize, Damage> {
        let digits = self
            .bytes
            .get(self.at..self.at + LENGTH_DIGITS)
            .ok_or(Damage::Truncated(self.bytes.len()))?;
        let length = digits.iter().try_fold(0, |length, digit| match digit {
            b'0'..=b'9' => Some(length * 16 + usize::from(digit - b'0')),
            b'a'..=b'f' => Some(length * 16 + usize::from(digit - b'a') + 10),
            _ => None,
        });
        length.filter(|length| *length > LENGTH_DIGITS).ok_or(Damage::Length(self.at))
    }
}
