//! The identifier of a macaroon that was minted here:
//! `m1.<key id>.<22 characters>.<u|p>:<subject id>`.
//!
//! It says under which master key it was minted, when, and whose token it is.
//! It is public, and authentic once the signature holds.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::KeyId;
use crate::clock::Timestamp;

/// An index's own id of a user or a publisher, at most so long.
pub const MAX_SUBJECT_ID_BYTES: usize = 128;

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user of the index, by the index's own id.
    User(String),
    /// A trusted publisher, by the index's own id.
    Publisher(String),
}

/// Not an id of a user or publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to 128 characters of printable ASCII")]
pub struct SubjectIdInvalid;

impl Subject {
    /// A user.
    pub fn user(id: &str) -> Result<Self, SubjectIdInvalid> {
        checked(id).map(Self::User)
    }

    /// A publisher.
    pub fn publisher(id: &str) -> Result<Self, SubjectIdInvalid> {
        checked(id).map(Self::Publisher)
    }

    /// The index's own id.
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Publisher(id) => id,
        }
    }

    const fn letter(&self) -> char {
        match self {
            Self::User(_) => 'u',
            Self::Publisher(_) => 'p',
        }
    }
}

fn checked(id: &str) -> Result<String, SubjectIdInvalid> {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if (1..=MAX_SUBJECT_ID_BYTES).contains(&id.len()) && id.bytes().all(printable) {
        Ok(id.to_owned())
    } else {
        Err(SubjectIdInvalid)
    }
}

/// The identifier of a macaroon that was minted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    key_id: KeyId,
    uuid: [u8; 16],
    subject: Subject,
}

/// An identifier of somebody else's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identifier is not one of Mintage's")]
pub struct IdentifierForeign;

impl Identifier {
    /// A fresh identifier: the moment (in milliseconds, as a `UUIDv7` has it, RFC
    /// 9562) and 80 random bits, 74 of which it keeps.
    pub fn new(key_id: KeyId, minted_at: Timestamp, random: &[u8; 10], subject: Subject) -> Self {
        let millis = u64::try_from(minted_at.millis()).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid();
        Self { key_id, uuid: uuid.into_bytes(), subject }
    }

    /// Reads an identifier. Strict: every identifier has one spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, IdentifierForeign> {
        Self::read(bytes).ok_or(IdentifierForeign)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.splitn(4, '.');
        if parts.next()? != "m1" {
            return None;
        }
        let key_id = KeyId::parse(parts.next()?).ok()?;
        let uuid = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?.try_into().ok()?;
        let subject = match parts.next()?.split_once(':')? {
            ("u", id) => Subject::user(id).ok()?,
            ("p", id) => Subject::publisher(id).ok()?,
            _ => return None,
        };
        Some(Self { key_id, uuid, subject })
    }

    /// The name of the master key it was minted under.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Whose token it is.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// When it was minted, to the millisecond.
    pub fn minted_at(&self) -> Timestamp {
        let millis = self.uuid.iter().take(6).fold(0, |sum, byte| sum << 8 | i64::from(*byte));
        Timestamp::from_micros(millis * 1_000)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uuid = URL_SAFE_NO_PAD.encode(self.uuid);
        write!(f, "m1.{}.{uuid}.{}:{}", self.key_id, self.subject.letter(), self.subject.id())
    }
}
