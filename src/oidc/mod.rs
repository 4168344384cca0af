//! ID tokens of OpenID Connect issuers, in three steps whose types are the
//! proof that the step before was done: unverified → verified (the signature
//! held) → accepted (its claims hold for an issuer, an audience and a moment).

mod key;

pub use key::{Algorithm, AlgorithmUnknown, KeySet, KeySetUnreadable, MAX_KEYS, VerifyingKey};

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
