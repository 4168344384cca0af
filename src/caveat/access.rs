//! What a bearer wants to do, and when. A value: the time is in it.

use std::net::IpAddr;

use pep440_rs::Version;

use crate::{clock::Timestamp, macaroon::Subject};

/// One thing that a bearer wants to do.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// When.
    pub now: Timestamp,
    /// Whose token it is. From the identifier, or from the index's own record.
    pub subject: &'a Subject,
    /// What.
    pub action: Action,
    /// Where, for an action that concerns a project.
    pub project: Option<AccessProject<'a>>,
    /// The publishers registered to that project at this moment.
    pub publisher_ids: &'a [String],
    /// The release's version.
    pub version: Option<Version>,
    /// The file's name.
    pub filename: Option<&'a str>,
    /// The file's SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// Where the bearer's connection comes from; an IPv4 address never in its
    /// IPv6 form.
    pub client_ip: Option<IpAddr>,
}

/// A project of the index.
#[derive(Clone, Debug)]
pub struct AccessProject<'a> {
    /// The index's own id, if it told one.
    pub id: Option<&'a str>,
    /// The PEP 503 name.
    pub name: String,
}

/// A verb in lower-case ASCII: `upload` unless the index says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action(String);

/// Not an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an action is 1 to 64 characters out of a-z, 0-9, \"_\" and \"-\"")]
pub struct ActionInvalid;

impl Action {
    const MAX_BYTES: usize = 64;

    /// Reads an action; nothing stands for `upload`.
    pub fn parse(text: &str) -> Result<Self, ActionInvalid> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        };
        match text {
            "" => Ok(Self("upload".to_owned())),
            _ if text.len() <= Self::MAX_BYTES && text.bytes().all(allowed) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ActionInvalid),
        }
    }

    /// The action as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
