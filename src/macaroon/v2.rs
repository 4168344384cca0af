//! Version 2 of the binary format: `0x02`, then fields of a type, a varint
//! length and bytes, in sections that end with `0x00`.
//!
//! ```text
//! 02  [location] identifier 00  ([location] identifier [vid] 00)*  00  signature
//! ```

use std::ops::Range;

use super::{
    CaveatSpan, Damage, Macaroon, TokenUnreadable, Version,
    format::{Head, assemble, hold_identifier, room_for_another},
};

const END: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const VERIFICATION_ID: u8 = 4;
const SIGNATURE: u8 = 6;

/// Reads a macaroon and nothing after it.
pub(super) fn decode(buffer: Vec<u8>) -> Result<Macaroon, TokenUnreadable> {
    let mut reader = Reader { bytes: &buffer, at: 1 };
    let location = reader.optional(LOCATION)?.unwrap_or(1..1);
    let identifier = reader.required(IDENTIFIER)?;
    hold_identifier(&identifier)?;
    reader.end_of_section()?;
    let mut caveats = Vec::new();
    while reader.peek()? != END {
        room_for_another(&caveats)?;
        caveats.push(reader.caveat()?);
    }
    reader.end_of_section()?;
    let signature = reader.required(SIGNATURE)?;
    let end = reader.at;
    let head = Head { version: Version::V2, location, identifier };
    assemble(head, caveats, signature, end, buffer)
}

/// Writes a macaroon. An absent location is written as an empty one, as
/// pymacaroons does.
pub(super) fn encode(macaroon: &Macaroon) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(macaroon.buffer.len() + 64 + macaroon.caveats.len() * 4);
    bytes.push(2);
    field(&mut bytes, LOCATION, macaroon.location());
    field(&mut bytes, IDENTIFIER, macaroon.identifier());
    bytes.push(END);
    for span in &macaroon.caveats {
        match span {
            CaveatSpan::First(predicate) => {
                field(&mut bytes, IDENTIFIER, macaroon.bytes(predicate));
            }
            CaveatSpan::Third { location, identifier, verification_id } => {
                field(&mut bytes, LOCATION, macaroon.bytes(location));
                field(&mut bytes, IDENTIFIER, macaroon.bytes(identifier));
                field(&mut bytes, VERIFICATION_ID, macaroon.bytes(verification_id));
            }
        }
        bytes.push(END);
    }
    bytes.push(END);
    field(&mut bytes, SIGNATURE, macaroon.signature.expose());
    bytes
}

fn field(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    let mut length = value.len();
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            bytes.push(low & 0x7f);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.extend_from_slice(value);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn caveat(&mut self) -> Result<CaveatSpan, Damage> {
        let start = self.at;
        let location = self.optional(LOCATION)?;
        let identifier = self.required(IDENTIFIER)?;
        let verification_id = self.optional(VERIFICATION_ID)?;
        self.end_of_section()?;
        match (location, verification_id) {
            (None, None) => Ok(CaveatSpan::First(identifier)),
            (location, Some(verification_id)) => Ok(CaveatSpan::Third {
                location: location.unwrap_or(start..start),
                identifier,
                verification_id,
            }),
            // A location belongs to a third party, and none is named.
            (Some(_), None) => Err(Damage::Field(start)),
        }
    }

    fn peek(&self) -> Result<u8, Damage> {
        self.bytes.get(self.at).copied().ok_or(Damage::Truncated(self.at))
    }

    fn end_of_section(&mut self) -> Result<(), Damage> {
        if self.peek()? != END {
            return Err(Damage::Field(self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn required(&mut self, kind: u8) -> Result<Range<usize>, Damage> {
        self.optional(kind)?.ok_or(Damage::Field(self.at))
    }

    fn optional(&mut self, kind: u8) -> Result<Option<Range<usize>>, Damage> {
        if self.peek()? != kind {
            return Ok(None);
        }
        self.at += 1;
        let length = self.length()?;
        let start = self.at;
        match start.checked_add(length).filter(|end| *end <= self.bytes.len()) {
            Some(end) => {
                self.at = end;
                Ok(Some(start..end))
            }
            None => Err(Damage::Truncated(self.bytes.len())),
        }
    }

    /// A varint in its shortest form. Two spellings of one length would be two
    /// spellings of one token; three bytes count further than any token is long.
    fn length(&mut self) -> Result<usize, Damage> {
        let start = self.at;
        let mut length = 0;
        for shift in [0, 7, 14] {
            let byte = self.peek()?;
            self.at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let minimal = shift == 0 || byte != 0;
                return if minimal { Ok(length) } else { Err(Damage::Length(start)) };
            }
        }
        Err(Damage::Length(start))
    }
}
