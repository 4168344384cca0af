//! The text form: `<prefix>-` and base64url. What is read may be padded or not;
//! what is written is not.

use std::fmt;

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{Damage, MAX_TOKEN_BYTES, TokenTooLarge, TokenUnreadable};

/// What an index's upload tokens begin with, before the hyphen: `pypi`. 1 to 32
/// characters of `[A-Za-z0-9_]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPrefix(String);

/// Not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token prefix is 1 to 32 characters out of A-Z, a-z, 0-9 and \"_\"")]
pub struct TokenPrefixInvalid;

impl TokenPrefix {
    const MAX_BYTES: usize = 32;

    /// Reads a prefix, without the hyphen.
    pub fn parse(text: &str) -> Result<Self, TokenPrefixInvalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenPrefixInvalid)
        }
    }

    /// The prefix that a token seems to have: what stands before its first hyphen.
    pub fn of(token: &str) -> Result<Self, TokenPrefixInvalid> {
        Self::parse(token.split_once('-').map_or("", |(prefix, _)| prefix))
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bytes of an upload token.
pub(super) fn decode(text: &str, prefix: &TokenPrefix) -> Result<Vec<u8>, TokenUnreadable> {
    if text.len() > MAX_TOKEN_BYTES {
        return Err(TokenTooLarge::Bytes.into());
    }
    let body = text
        .strip_prefix(prefix.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
        .ok_or_else(|| Damage::Prefix { expected: prefix.clone() })?;
    Ok(READ.decode(body).map_err(|error| Damage::Base64(position(&error)))?)
}

/// The upload token of these bytes.
pub(super) fn encode(bytes: &[u8], prefix: &TokenPrefix) -> String {
    let mut text = String::with_capacity(prefix.0.len() + 1 + bytes.len().div_ceil(3) * 4);
    text.push_str(&prefix.0);
    text.push('-');
    WRITE.encode_string(bytes, &mut text);
    text
}

fn position(error: &base64::DecodeError) -> Option<usize> {
    match *error {
        base64::DecodeError::InvalidByte(offset, _)
        | base64::DecodeError::InvalidLastSymbol { offset, .. } => Some(offset),
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => None,
    }
}

const READ: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const WRITE: GeneralPurpose =
    GeneralPurpose::new(&URL_SAFE, GeneralPurposeConfig::new().with_encode_padding(false));
