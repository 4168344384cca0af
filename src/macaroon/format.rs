//! What the binary formats have in common, and what can be wrong with them.

use std::ops::Range;

use super::{
    CaveatSpan, MAX_CAVEATS, MAX_IDENTIFIER_BYTES, Macaroon, TokenPrefix, chain::Signature,
};

/// A binary format of libmacaroons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Packets with a length in hexadecimal; PyPI's tokens of 2019.
    V1,
    /// Typed fields with a varint length; all tokens since.
    V2,
}

/// An upload token that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenUnreadable {
    /// Beyond a bound.
    #[error(transparent)]
    TooLarge(#[from] TokenTooLarge),
    /// Not of the form that an upload token has.
    #[error("the upload token is damaged: {0}")]
    Malformed(#[from] Damage),
}

/// Beyond a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTooLarge {
    /// More than [`super::MAX_TOKEN_BYTES`].
    #[error("the upload token is longer than 16 KiB")]
    Bytes,
    /// More than [`super::MAX_CAVEATS`].
    #[error("the upload token has more than 128 caveats")]
    Caveats,
}

/// What is wrong with the form of a token. Positions count bytes from 0, in the
/// text after the prefix for base64 and in the decoded bytes for the rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It begins with something else.
    #[error("it does not begin with \"{expected}-\"")]
    Prefix {
        /// The index's prefix.
        expected: TokenPrefix,
    },
    /// Not canonical base64url.
    #[error("what follows the prefix is not base64url{}", at(.0))]
    Base64(Option<usize>),
    /// Nothing after the prefix.
    #[error("nothing follows its prefix")]
    Empty,
    /// The JSON form, which no index has ever handed out.
    #[error("it is a macaroon in JSON form, and only the binary forms are accepted")]
    Json,
    /// A first byte that no format begins with.
    #[error("its first byte, {0:#04x}, is that of no macaroon format")]
    Format(u8),
    /// It ends in the middle of something.
    #[error("it ends too early, at byte {0}: a part of it was lost")]
    Truncated(usize),
    /// A length that is written longer than it needs to be, or absurd.
    #[error("the length at byte {0} is not well-formed")]
    Length(usize),
    /// A field where another has to stand.
    #[error("the field at byte {0} does not belong there")]
    Field(usize),
    /// An identifier that is empty or longer than [`super::MAX_IDENTIFIER_BYTES`].
    #[error("its identifier has {0} bytes instead of 1 to 256")]
    Identifier(usize),
    /// A signature that is none.
    #[error("its signature has {0} bytes instead of 32")]
    Signature(usize),
    /// Something after the end.
    #[error("something follows after its end, at byte {0}")]
    Trailing(usize),
}

fn at(position: &Option<usize>) -> String {
    position.map_or_else(String::new, |at| format!(" at character {at}"))
}

/// What stands before the caveats.
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) location: Range<usize>,
    pub(super) identifier: Range<usize>,
}

/// Puts together what a format's reader found: the signature is one, and nothing
/// follows after the end.
pub(super) fn assemble(
    head: Head,
    caveats: Vec<CaveatSpan>,
    signature: Range<usize>,
    end: usize,
    buffer: Vec<u8>,
) -> Result<Macaroon, TokenUnreadable> {
    let length = signature.len();
    let bytes = buffer.get(signature).and_then(|bytes| bytes.try_into().ok());
    let signature = Signature::new(bytes.ok_or(Damage::Signature(length))?);
    if end != buffer.len() {
        return Err(Damage::Trailing(end).into());
    }
    let Head { version, location, identifier } = head;
    Ok(Macaroon { version, buffer, location, identifier, caveats, signature })
}

/// Refuses an identifier that is empty or too long.
pub(super) fn hold_identifier(identifier: &Range<usize>) -> Result<(), Damage> {
    match identifier.len() {
        1..=MAX_IDENTIFIER_BYTES => Ok(()),
        other => Err(Damage::Identifier(other)),
    }
}

/// Refuses one caveat too many before it is kept.
pub(super) fn room_for_another<T>(caveats: &[T]) -> Result<(), TokenTooLarge> {
    if caveats.len() < MAX_CAVEATS { Ok(()) } else { Err(TokenTooLarge::Caveats) }
}
