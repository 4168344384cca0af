//! Every way in which the service says no, for people and for programs.
//!
//! A *refusal* is an answer: the request, the credential or a limit stands in
//! the way. A *failure* ([`Reason::Unavailable`], [`Reason::Internal`]) is the
//! lack of one. Both travel in the same type, since a caller needs the same
//! things of both: a reason for programs, one sentence for people, and when to
//! come back. How a reason looks on the wire is the edge's business.

use std::time::Duration;

use super::Limit;
use crate::{
    caveat::{Unaskable, Uncleared},
    grant::GrantRefused,
    macaroon::{Subject, TokenTooLarge, TokenUnreadable},
    oidc::{ClaimFault, ClaimsRefused, IdTokenMalformed, SignatureRefused},
    ports::StoreFailure,
    publisher::NoPublisher,
};

/// Why, for programs. The names and their meanings are those of the contract
/// (`mintage.v1.ErrorReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "each has its meaning beside it in proto/mintage/v1/error_reason.proto"
)]
pub enum Reason {
    RequestInvalid,
    IndexUnknown,
    CallerUnknown,
    CallerForbidden,
    FeatureUnsupported,
    RateLimited,
    Unavailable,
    Internal,
    IdTokenMalformed,
    IssuerUnknown,
    IssuerDisabled,
    IdTokenKeyUnknown,
    IdTokenSignature,
    IdTokenExpired,
    IdTokenNotYetValid,
    IdTokenAudience,
    IdTokenClaims,
    IdTokenReused,
    EventForbidden,
    PublisherNotFound,
    NoEligibleProject,
    TokenMalformed,
    TokenKeyUnknown,
    TokenSignature,
    TokenTooLarge,
    TokenRevoked,
    CaveatUnreadable,
    CaveatNotOffered,
    CaveatExpired,
    CaveatNotYetValid,
    CaveatProject,
    CaveatUser,
    CaveatPublisher,
    CaveatUsesSpent,
    CaveatVersion,
    CaveatFilename,
    CaveatDigest,
    CaveatClientNetwork,
    CaveatAction,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 39] = [
        Self::RequestInvalid,
        Self::IndexUnknown,
        Self::CallerUnknown,
        Self::CallerForbidden,
        Self::FeatureUnsupported,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
        Self::IdTokenMalformed,
        Self::IssuerUnknown,
        Self::IssuerDisabled,
        Self::IdTokenKeyUnknown,
        Self::IdTokenSignature,
        Self::IdTokenExpired,
        Self::IdTokenNotYetValid,
        Self::IdTokenAudience,
        Self::IdTokenClaims,
        Self::IdTokenReused,
        Self::EventForbidden,
        Self::PublisherNotFound,
        Self::NoEligibleProject,
        Self::TokenMalformed,
        Self::TokenKeyUnknown,
        Self::TokenSignature,
        Self::TokenTooLarge,
        Self::TokenRevoked,
        Self::CaveatUnreadable,
        Self::CaveatNotOffered,
        Self::CaveatExpired,
        Self::CaveatNotYetValid,
        Self::CaveatProject,
        Self::CaveatUser,
        Self::CaveatPublisher,
        Self::CaveatUsesSpent,
        Self::CaveatVersion,
        Self::CaveatFilename,
        Self::CaveatDigest,
        Self::CaveatClientNetwork,
        Self::CaveatAction,
    ];

    /// Whose fault it is.
    pub const fn blame(self) -> Blame {
        match self {
            Self::RequestInvalid
            | Self::IndexUnknown
            | Self::CallerUnknown
            | Self::CallerForbidden
            | Self::FeatureUnsupported
            | Self::CaveatNotOffered => Blame::Caller,
            Self::RateLimited | Self::Unavailable | Self::Internal => Blame::Nobody,
            Self::IdTokenMalformed
            | Self::IssuerUnknown
            | Self::IssuerDisabled
            | Self::IdTokenKeyUnknown
            | Self::IdTokenSignature
            | Self::IdTokenExpired
            | Self::IdTokenNotYetValid
            | Self::IdTokenAudience
            | Self::IdTokenClaims
            | Self::IdTokenReused
            | Self::EventForbidden
            | Self::PublisherNotFound
            | Self::NoEligibleProject
            | Self::TokenMalformed
            | Self::TokenKeyUnknown
            | Self::TokenSignature
            | Self::TokenTooLarge
            | Self::TokenRevoked
            | Self::CaveatUnreadable
            | Self::CaveatExpired
            | Self::CaveatNotYetValid
            | Self::CaveatProject
            | Self::CaveatUser
            | Self::CaveatPublisher
            | Self::CaveatUsesSpent
            | Self::CaveatVersion
            | Self::CaveatFilename
            | Self::CaveatDigest
            | Self::CaveatClientNetwork
            | Self::CaveatAction => Blame::Bearer,
        }
    }
}

/// Who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The index: its request, its configuration, or the one here.
    Caller,
    /// The client at the other end of the index, with its credential.
    Bearer,
    /// Neither: waiting helps, or somebody has to mend something here.
    Nobody,
}

/// The service says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people: one sentence without secrets, inner errors or addresses,
    /// of at most [`MAX_SENTENCE_BYTES`].
    pub message: String,
    /// The path of the request's field that is at fault, where one is.
    pub field: Option<String>,
    /// When another try makes sense, where waiting helps.
    pub retry_after: Option<Duration>,
    /// The limit that is spent, where that is why.
    pub limit: Option<Limit>,
    /// What is known of the bearer, if anything is. Not for callers.
    pub bearer: Option<Box<Bearer>>,
}

/// What was proven of a bearer before the answer was no: for the audit trail, and to
/// count by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// The issuer, with whose key the ID token's signature holds.
    pub issuer: Option<String>,
    /// Whose upload token it is, or would have been.
    pub subject: Option<Subject>,
    /// The id of the upload token, whose signature holds.
    pub token_id: Option<String>,
}

impl Bearer {
    /// The bearer of this upload token.
    pub(super) fn with(subject: &Subject, token_id: &str) -> Self {
        let (subject, token_id) = (Some(subject.clone()), Some(token_id.to_owned()));
        Self { issuer: None, subject, token_id }
    }
}

/// A longer sentence is cut. It may repeat what a stranger wrote, and it travels
/// in a header, escaped, and up to twice more in the details beside it; clients
/// take 16 KiB of headers, and one byte more ends the call without any reason.
pub const MAX_SENTENCE_BYTES: usize = 1024;

impl Refusal {
    /// For this reason, in this sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: cut(message.into()),
            field: None,
            retry_after: None,
            limit: None,
            bearer: None,
        }
    }

    /// A field of the request is at fault.
    pub fn field(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: Some(path.into()), ..Self::new(Reason::RequestInvalid, message) }
    }

    /// This limit is spent.
    pub fn limited(limit: Limit, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            limit: Some(limit),
            ..Self::new(Reason::RateLimited, "too many requests; try again a little later")
        }
    }

    /// There is no answer for now.
    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Reason::Unavailable, message) }
    }

    /// The same refusal, with the field that is at fault.
    #[must_use]
    pub fn at(self, path: impl Into<String>) -> Self {
        Self { field: Some(path.into()), ..self }
    }

    /// The same refusal, of this bearer.
    pub(super) fn of(self, bearer: Bearer) -> Self {
        Self { bearer: Some(Box::new(bearer)), ..self }
    }
}

fn cut(sentence: String) -> String {
    if sentence.len() <= MAX_SENTENCE_BYTES {
        return sentence;
    }
    let room = MAX_SENTENCE_BYTES - '…'.len_utf8();
    let end = |(start, character): (usize, char)| start + character.len_utf8() <= room;
    sentence.char_indices().take_while(|one| end(*one)).map(|(_, one)| one).chain(['…']).collect()
}

impl From<StoreFailure> for Refusal {
    fn from(failure: StoreFailure) -> Self {
        // Why it failed is in the log, where the store was called.
        Self::unavailable(
            "the service cannot reach its store at present; try again a little later",
            failure.retry_after,
        )
    }
}

impl From<GrantRefused> for Refusal {
    fn from(refused: GrantRefused) -> Self {
        let message = refused.to_string();
        match refused {
            GrantRefused::FeatureUnsupported { .. } | GrantRefused::FeaturesContradict => {
                Self::new(Reason::FeatureUnsupported, message).at("features")
            }
            GrantRefused::Lifetime { .. } => Self::field("lifetime", message),
            GrantRefused::TooManyProjects { .. } => {
                Self::field("trusted_publishing.projects", message)
            }
            GrantRefused::CaveatNotOffered { .. } => {
                Self::new(Reason::CaveatNotOffered, message).at("caveats")
            }
            GrantRefused::UsesWithoutEnd => Self::field("caveats", message),
            GrantRefused::NoEligibleProject { .. } => Self::new(Reason::NoEligibleProject, message),
        }
    }
}

impl From<IdTokenMalformed> for Refusal {
    fn from(malformed: IdTokenMalformed) -> Self {
        Self::new(Reason::IdTokenMalformed, malformed.to_string()).at("trusted_publishing.id_token")
    }
}

impl From<SignatureRefused> for Refusal {
    fn from(refused: SignatureRefused) -> Self {
        Self::new(Reason::IdTokenSignature, refused.to_string())
    }
}

impl From<ClaimFault> for Refusal {
    fn from(fault: ClaimFault) -> Self {
        Self::new(Reason::IdTokenClaims, fault.to_string())
    }
}

impl From<ClaimsRefused> for Refusal {
    fn from(refused: ClaimsRefused) -> Self {
        let message = refused.to_string();
        let reason = match refused {
            ClaimsRefused::Expired { .. } => Reason::IdTokenExpired,
            ClaimsRefused::NotYetValid { .. } => Reason::IdTokenNotYetValid,
            ClaimsRefused::Audience { .. } => Reason::IdTokenAudience,
            ClaimsRefused::Claim(_) => Reason::IdTokenClaims,
        };
        Self::new(reason, message)
    }
}

impl From<NoPublisher> for Refusal {
    fn from(refused: NoPublisher) -> Self {
        let message = refused.to_string();
        match refused {
            NoPublisher::Claims(fault) => fault.into(),
            NoPublisher::EventForbidden { .. } => Self::new(Reason::EventForbidden, message),
            NoPublisher::NotFound(_) => Self::new(Reason::PublisherNotFound, message),
        }
    }
}

/// A token that can't be written. One that can't be read is a [`TokenUnreadable`].
impl From<TokenTooLarge> for Refusal {
    fn from(too_large: TokenTooLarge) -> Self {
        let message = format!("with these caveats {too_large}");
        Self::new(Reason::TokenTooLarge, message).at("caveats")
    }
}

impl From<TokenUnreadable> for Refusal {
    fn from(unreadable: TokenUnreadable) -> Self {
        let reason = match unreadable {
            TokenUnreadable::TooLarge(_) => Reason::TokenTooLarge,
            TokenUnreadable::Malformed(_) => Reason::TokenMalformed,
        };
        Self::new(reason, unreadable.to_string()).at("token")
    }
}

impl From<Unaskable> for Refusal {
    fn from(unaskable: Unaskable) -> Self {
        Self::new(Reason::RequestInvalid, unaskable.to_string())
    }
}

impl From<&Uncleared> for Reason {
    fn from(uncleared: &Uncleared) -> Self {
        match uncleared {
            Uncleared::Unreadable | Uncleared::UsesWithoutEnd => Self::CaveatUnreadable,
            Uncleared::NotOffered { .. } => Self::CaveatNotOffered,
            Uncleared::Expired { .. } => Self::CaveatExpired,
            Uncleared::NotYetValid { .. } => Self::CaveatNotYetValid,
            Uncleared::Project { .. } => Self::CaveatProject,
            Uncleared::User | Uncleared::SubjectNotUser => Self::CaveatUser,
            Uncleared::Publisher
            | Uncleared::PublisherWithoutProject
            | Uncleared::PublisherNotRegistered { .. } => Self::CaveatPublisher,
            Uncleared::UsesSpent { .. } => Self::CaveatUsesSpent,
            Uncleared::Version { .. } => Self::CaveatVersion,
            Uncleared::Filename { .. } => Self::CaveatFilename,
            Uncleared::Digest { .. } => Self::CaveatDigest,
            Uncleared::ClientNetwork { .. } => Self::CaveatClientNetwork,
            Uncleared::Action { .. } => Self::CaveatAction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_cut_between_two_characters() {
        for (bytes, expected) in [
            (MAX_SENTENCE_BYTES - 2, MAX_SENTENCE_BYTES - 2),
            (MAX_SENTENCE_BYTES, MAX_SENTENCE_BYTES),
            (MAX_SENTENCE_BYTES + 2, MAX_SENTENCE_BYTES - 1),
            (MAX_SENTENCE_BYTES * 100, MAX_SENTENCE_BYTES - 1),
        ] {
            let refusal = Refusal::new(Reason::RequestInvalid, "é".repeat(bytes / 2));
            assert_eq!(refusal.message.len(), expected, "{bytes}");
            assert_eq!(refusal.message.ends_with("é…"), bytes > MAX_SENTENCE_BYTES, "{bytes}");
        }
    }
}
