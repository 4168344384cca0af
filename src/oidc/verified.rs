//! An ID token that its issuer signed, and its claims, held against an
//! issuer, an audience and a moment.
//!
//! *Verified* says that the issuer said so; *accepted* says that it was said to
//! this index and holds now. Who may publish what is the [`crate::publisher`]
//! module's question.

use std::fmt;

use crate::clock::Timestamp;

use super::{ClaimValue, Issuer, JtiRule, LEEWAY, claim_value::Members};

/// A longer `jti` is refused. Providers use UUIDs of 36 bytes.
pub const MAX_JTI_BYTES: usize = 256;

/// An ID token that lives for longer is refused: its mark would have to be kept
/// for as long. Most live for minutes, Google's for an hour, and some of GitLab's
/// for as long as their job may run.
const MAX_LIFETIME_SECONDS: i64 = 24 * 60 * 60;

/// The largest integer that every JSON reader understands alike (RFC 8259).
const MAX_EXACT_INTEGER: i64 = 1 << 53;

/// How much of an audience is repeated in a refusal.
const SHOWN_AUDIENCE_CHARS: usize = 256;

/// An ID token whose signature is the issuer's. Its text is not kept.
pub struct VerifiedIdToken {
    issuer: String,
    claims: Members,
}

/// Claims that hold for an issuer, an audience and a moment. Having them is the
/// proof: only [`VerifiedIdToken::accept`] makes them.
#[derive(Clone, Copy)]
pub struct Claims<'a> {
    token: &'a VerifiedIdToken,
    issuer: &'a Issuer,
    expires_at: i64,
    issued_at: i64,
    jti: Option<&'a str>,
}

/// The claims do not hold. Each variant is one reason of the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsRefused {
    /// Its time is over, leeway included.
    #[error(
        "the ID token expired: its \"exp\" is {}, and it is {}",
        second(.expires_at), second(.now)
    )]
    Expired {
        /// `exp`, in Unix seconds.
        expires_at: i64,
        /// The moment it was held against, in Unix seconds.
        now: i64,
    },
    /// Its time has not come, leeway included.
    #[error(
        "the ID token is not valid yet: its {claim:?} is {}, and it is {}",
        second(.valid_from), second(.now)
    )]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// What that claim says, in Unix seconds.
        valid_from: i64,
        /// The moment it was held against, in Unix seconds.
        now: i64,
    },
    /// It is for somebody else, or for more than one.
    #[error("the ID token is for the audience {found:?}, and must be for {expected:?} alone")]
    Audience {
        /// The index's audience.
        expected: String,
        /// What `aud` is, cut where it is long.
        found: String,
    },
    /// A claim is missing, or is not what it must be.
    #[error(transparent)]
    Claim(#[from] ClaimFault),
}

/// A claim that is missing, or is not what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim {claim:?} of the ID token {problem}")]
pub struct ClaimFault {
    /// Its name.
    pub claim: &'static str,
    /// What is wrong with it.
    pub problem: ClaimProblem,
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimProblem {
    /// It isn't there, or is null.
    #[error("is missing")]
    Missing,
    /// It must be a string.
    #[error("is not a string")]
    NotAString,
    /// It must be an integer.
    #[error("is not an integer of 64 bits")]
    NotAnInteger,
    /// It must be a truth value.
    #[error("is neither true nor false")]
    NotABoolean,
    /// It must say something.
    #[error("is empty")]
    Empty,
    /// More than [`MAX_JTI_BYTES`].
    #[error("is longer than {MAX_JTI_BYTES} bytes")]
    TooLong,
    /// Beyond what every JSON reader understands alike.
    #[error("lies beyond 2^53")]
    OutOfRange,
    /// The time from `iat` to `exp` is too long.
    #[error("lies more than 24 hours after \"iat\"")]
    TooLate,
    /// It is not the issuer that it was held against.
    #[error("is another issuer")]
    OtherIssuer,
}

impl VerifiedIdToken {
    /// For [`super::UnverifiedIdToken::verify`], which alone has the proof.
    pub(super) const fn new(issuer: String, claims: Members) -> Self {
        Self { issuer, claims }
    }

    /// Who issued it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its `sub`, where that is a string.
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(ClaimValue::as_str)
    }

    /// Its `exp` in Unix seconds, where that is an integer. Says nothing about
    /// whether it is over.
    pub fn expires_at(&self) -> Option<i64> {
        self.claims.get("exp").and_then(ClaimValue::as_integer)
    }

    /// Every claim, those that are null too, in the order of the ID token.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &ClaimValue)> {
        self.claims.iter()
    }

    /// The same, to keep.
    pub fn into_claims(self) -> impl Iterator<Item = (String, ClaimValue)> {
        self.claims.into_iter()
    }

    /// Holds the claims against the issuer, an index's audience and a moment.
    ///
    /// # Errors
    ///
    /// The first [`ClaimsRefused`] in the order issuer, audience, times,
    /// lifetime, `jti`.
    pub fn accept<'a>(
        &'a self,
        issuer: &'a Issuer,
        audience: &str,
        now: Timestamp,
    ) -> Result<Claims<'a>, ClaimsRefused> {
        if self.issuer != issuer.url {
            return Err(fault("iss", ClaimProblem::OtherIssuer).into());
        }
        self.hold_audience(audience)?;
        let (expires_at, issued_at) = self.hold_times(now)?;
        let jti = self.read_jti(issuer.provider.jti_rule())?;
        Ok(Claims { token: self, issuer, expires_at, issued_at, jti })
    }

    /// One string and no list, not even of one: what is for two can be replayed
    /// by either.
    fn hold_audience(&self, audience: &str) -> Result<(), ClaimsRefused> {
        let found = self.value("aud");
        if found.and_then(ClaimValue::as_str) == Some(audience) {
            return Ok(());
        }
        let found = found.map_or("(missing)".into(), ClaimValue::described);
        Err(ClaimsRefused::Audience {
            expected: audience.to_owned(),
            found: found.chars().take(SHOWN_AUDIENCE_CHARS).collect(),
        })
    }

    fn hold_times(&self, now: Timestamp) -> Result<(i64, i64), ClaimsRefused> {
        let missing = |claim| fault(claim, ClaimProblem::Missing);
        let exp = self.integer("exp")?.ok_or_else(|| missing("exp"))?;
        let iat = self.integer("iat")?.ok_or_else(|| missing("iat"))?;
        let nbf = self.integer("nbf")?;
        if exp > MAX_EXACT_INTEGER {
            return Err(fault("exp", ClaimProblem::OutOfRange).into());
        }
        if now >= Timestamp::from_seconds(exp).plus(LEEWAY) {
            return Err(ClaimsRefused::Expired { expires_at: exp, now: now.seconds() });
        }
        for (claim, valid_from) in [("nbf", nbf), ("iat", Some(iat))] {
            if let Some(valid_from) = valid_from
                && now < Timestamp::from_seconds(valid_from).minus(LEEWAY)
            {
                return Err(ClaimsRefused::NotYetValid { claim, valid_from, now: now.seconds() });
            }
        }
        if exp.saturating_sub(iat) > MAX_LIFETIME_SECONDS {
            return Err(fault("exp", ClaimProblem::TooLate).into());
        }
        Ok((exp, iat))
    }

    fn read_jti(&self, rule: JtiRule) -> Result<Option<&str>, ClaimFault> {
        let jti = match rule {
            JtiRule::Required => Some(self.required_string("jti")?),
            JtiRule::Optional => self.string("jti")?,
            JtiRule::None => None,
        };
        match jti {
            Some("") => Err(fault("jti", ClaimProblem::Empty)),
            Some(jti) if jti.len() > MAX_JTI_BYTES => Err(fault("jti", ClaimProblem::TooLong)),
            Some(_) | None => Ok(jti),
        }
    }

    /// Null is missing.
    fn value(&self, claim: &str) -> Option<&ClaimValue> {
        self.claims.get(claim).filter(|value| **value != ClaimValue::Null)
    }

    fn integer(&self, claim: &'static str) -> Result<Option<i64>, ClaimFault> {
        let problem = fault(claim, ClaimProblem::NotAnInteger);
        self.value(claim).map(|value| value.as_integer().ok_or(problem)).transpose()
    }

    fn string(&self, claim: &'static str) -> Result<Option<&str>, ClaimFault> {
        let problem = fault(claim, ClaimProblem::NotAString);
        self.value(claim).map(|value| value.as_str().ok_or(problem)).transpose()
    }

    fn required_string(&self, claim: &'static str) -> Result<&str, ClaimFault> {
        self.string(claim)?.ok_or_else(|| fault(claim, ClaimProblem::Missing))
    }

    fn required_bool(&self, claim: &'static str) -> Result<bool, ClaimFault> {
        let value = self.value(claim).ok_or_else(|| fault(claim, ClaimProblem::Missing))?;
        value.as_bool().ok_or_else(|| fault(claim, ClaimProblem::NotABoolean))
    }
}

impl fmt::Debug for VerifiedIdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedIdToken").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl<'a> Claims<'a> {
    /// The issuer they were held against.
    pub const fn issuer(&self) -> &'a Issuer {
        self.issuer
    }

    /// When they cease to hold, leeway not counted, in Unix seconds.
    pub const fn exp(&self) -> i64 {
        self.expires_at
    }

    /// When they were stated, in Unix seconds.
    pub const fn iat(&self) -> i64 {
        self.issued_at
    }

    /// The `jti` by which the ID token is redeemed, 1 to [`MAX_JTI_BYTES`] bytes
    /// of any characters. None: it isn't redeemed, because its provider has none
    /// ([`JtiRule`]).
    pub const fn jti(&self) -> Option<&'a str> {
        self.jti
    }

    /// A claim by its name; null is missing.
    pub fn value(&self, claim: &str) -> Option<&'a ClaimValue> {
        self.token.value(claim)
    }

    /// A claim that must be a string where it is there.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn string(&self, claim: &'static str) -> Result<Option<&'a str>, ClaimFault> {
        self.token.string(claim)
    }

    /// A claim that must be there and be a string, maybe an empty one.
    ///
    /// # Errors
    ///
    /// It is missing, or something else.
    pub fn required_string(&self, claim: &'static str) -> Result<&'a str, ClaimFault> {
        self.token.required_string(claim)
    }

    /// A claim that must be there and be true or false.
    ///
    /// # Errors
    ///
    /// It is missing, or something else.
    pub fn required_bool(&self, claim: &'static str) -> Result<bool, ClaimFault> {
        self.token.required_bool(claim)
    }
}

impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer.url)
            .field("exp", &self.expires_at)
            .finish_non_exhaustive()
    }
}

const fn fault(claim: &'static str, problem: ClaimProblem) -> ClaimFault {
    ClaimFault { claim, problem }
}

/// A Unix second, for people.
fn second(second: &i64) -> Timestamp {
    Timestamp::from_seconds(*second)
}

#[cfg(test)]
mod tests;
