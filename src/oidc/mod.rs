//! ID tokens of OpenID Connect issuers, in three steps whose types are the
//! proof that the step before was done: unverified → verified (the signature
//! held) → accepted (its claims hold for an issuer, an audience and a moment).

mod claim_value;
mod key;
#[cfg(test)]
pub(crate) mod testing;
mod unverified;
mod verified;

use std::time::Duration;

pub use claim_value::{ClaimValue, JsonProblem, MAX_CLAIM_DEPTH};
pub use key::{Algorithm, AlgorithmUnknown, KeySet, KeySetUnreadable, MAX_KEYS, VerifyingKey};
pub use unverified::{
    IdTokenMalformed, MAX_ID_TOKEN_BYTES, Segment, SignatureRefused, UnverifiedIdToken,
};
pub use verified::{
    ClaimFault, ClaimProblem, Claims, ClaimsRefused, MAX_JTI_BYTES, VerifiedIdToken,
};

/// How far an issuer's clock and ours may disagree: clocks kept by NTP stay
/// within a second, virtual machines that just woke up within some more. Since
/// an ID token is accepted for so long after its `exp`, the mark that it was
/// redeemed must live for longer still.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Which provider's rules an issuer's ID tokens follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// GitHub Actions, github.com or Enterprise Server.
    GitHub,
    /// GitLab CI/CD, gitlab.com or self-managed.
    GitLab,
    /// Google Cloud service accounts.
    Google,
    /// The ActiveState Platform.
    ActiveState,
    /// Any other, by claim policies.
    Claims,
}

impl Provider {
    /// How this provider's ID tokens are told apart, so that each is redeemed once.
    pub const fn jti_rule(self) -> JtiRule {
        match self {
            Self::GitHub | Self::GitLab => JtiRule::Required,
            Self::ActiveState | Self::Claims => JtiRule::Optional,
            Self::Google => JtiRule::None,
        }
    }
}

/// Whether a provider's ID tokens have a `jti` to redeem them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JtiRule {
    /// Each has one; one without is refused.
    Required,
    /// Some have one, and are redeemed by it.
    Optional,
    /// None has one. A claim of that name is not looked at.
    None,
}

/// A configured OIDC provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its identifier, compared with `iss` byte for byte. An https URL, or an
    /// http URL on loopback.
    pub url: String,
    /// The URL's host, with its port where the URL has one.
    pub host: String,
    /// Whose rules its ID tokens follow.
    pub provider: Provider,
    /// The signature algorithms accepted from it; never empty.
    pub algorithms: Vec<Algorithm>,
    /// Whether its ID tokens are accepted at present.
    pub enabled: bool,
}
