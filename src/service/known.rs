//! The first step of Verify and of Revoke: whose token it is, and that its
//! signature holds.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Index, Reason, Refusal};
use crate::macaroon::{Identifier, Keyring, Macaroon, RootKey, Subject, VerifiedMacaroon};

/// What the index knows of a token that it minted itself.
#[derive(Debug)]
pub struct Kept {
    /// Its root key.
    pub root_key: RootKey,
    /// Whose token it is.
    pub subject: Subject,
}

/// A macaroon whose signature holds, and where it comes from.
pub(super) struct Known<'m> {
    pub(super) macaroon: VerifiedMacaroon<'m>,
    pub(super) origin: Origin,
}

/// Who minted a token.
pub(super) enum Origin {
    /// This service: its identifier says everything.
    Ours(Identifier),
    /// The index itself: its own record says whose it is.
    Kept(Subject),
}

impl Known<'_> {
    pub(super) fn subject(&self) -> &Subject {
        match &self.origin {
            Origin::Ours(identifier) => identifier.subject(),
            Origin::Kept(subject) => subject,
        }
    }
}

/// Finds the root key of a macaroon and verifies its signature.
pub(super) fn known<'m>(
    index: &Index,
    kept: Option<&Kept>,
    macaroon: &'m Macaroon,
    keyring: &Keyring,
) -> Result<Known<'m>, Refusal> {
    let key_unknown = || {
        let message = "the upload token was minted elsewhere, or with a key that was retired";
        Refusal::new(Reason::TokenKeyUnknown, message)
    };
    let verified = |root_key: &RootKey| {
        macaroon
            .verify(root_key)
            .map_err(|error| Refusal::new(Reason::TokenSignature, error.to_string()))
    };
    if let Some(kept) = kept {
        let macaroon = verified(&kept.root_key)?;
        return Ok(Known { macaroon, origin: Origin::Kept(kept.subject.clone()) });
    }
    let identifier = Identifier::parse(macaroon.identifier()).map_err(|_| key_unknown())?;
    let key = keyring.key(identifier.key_id()).ok_or_else(key_unknown)?;
    let macaroon = verified(&key.root_key(&index.name, macaroon.identifier()))?;
    Ok(Known { macaroon, origin: Origin::Ours(identifier) })
}

/// The identifier as text: as it is where it is ASCII, else in base64url.
pub(super) fn token_id(macaroon: &Macaroon) -> String {
    match std::str::from_utf8(macaroon.identifier()) {
        Ok(text) if text.is_ascii() => text.to_owned(),
        _ => URL_SAFE_NO_PAD.encode(macaroon.identifier()),
    }
}
