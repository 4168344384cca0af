//! Who calls: a bearer token in the call's metadata, of which only the SHA-256
//! is known here.

use std::{collections::HashMap, fmt, sync::Arc};

use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;

use crate::service::{Caller, Reason, Refusal};

/// The callers, by the SHA-256 of their tokens.
pub enum CallerTokens {
    /// None is configured: whoever gets here may do everything.
    Anonymous(Arc<Caller>),
    /// Each proves itself.
    Known(HashMap<[u8; 32], Arc<Caller>>),
}

impl fmt::Debug for CallerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(_) => f.write_str("Anonymous"),
            Self::Known(callers) => f.debug_set().entries(callers.values()).finish(),
        }
    }
}

impl CallerTokens {
    /// For a service that the loopback interface or a mesh guards.
    pub fn anonymous() -> Self {
        Self::Anonymous(Arc::new(Caller::anonymous()))
    }

    /// Who sent this.
    ///
    /// The token is looked up by its hash, so that the time this takes tells
    /// nothing about the tokens that would have been right.
    pub fn authenticate(&self, metadata: &MetadataMap) -> Result<Arc<Caller>, Refusal> {
        let callers = match self {
            Self::Anonymous(caller) => return Ok(Arc::clone(caller)),
            Self::Known(callers) => callers,
        };
        let mut values = metadata.get_all("authorization").iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(unknown("the call must have one authorization header"));
        };
        let token = bearer(value.as_bytes())
            .ok_or_else(|| unknown("the call's authorization is not a bearer token"))?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = callers.get(&hash).map(Arc::clone);
        known.ok_or_else(|| unknown("the call's bearer token is that of no configured caller"))
    }
}

/// The token of `Bearer <token>`; the scheme has no case (RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(BEARER) && !token.is_empty()).then_some(token)
}

const BEARER: &[u8] = b"bearer ";

fn unknown(message: &str) -> Refusal {
    Refusal::new(Reason::CallerUnknown, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> CallerTokens {
        let hash = Sha256::digest(b"right").into();
        CallerTokens::Known([(hash, Arc::new(Caller::anonymous()))].into())
    }

    #[test]
    fn only_one_bearer_token_that_is_known_proves_a_caller() {
        for (values, proves) in [
            (&["Bearer right"][..], true),
            (&["bearer right"], true),
            (&["BEARER  right "], true),
            (&["Bearer wrong"], false),
            (&["Bearer "], false),
            (&["Bearer"], false),
            (&["Basic right"], false),
            (&["right"], false),
            (&[""], false),
            (&[], false),
            (&["Bearer right", "Bearer right"], false),
        ] {
            let mut metadata = MetadataMap::new();
            for value in values {
                metadata.append("authorization", value.parse().unwrap());
            }
            let answer = known().authenticate(&metadata);
            assert_eq!(answer.is_ok(), proves, "{values:?}");
            if let Err(refusal) = answer {
                assert_eq!(refusal.reason, Reason::CallerUnknown);
            }
        }
    }

    #[test]
    fn without_configured_callers_everybody_is_the_anonymous_one() {
        let mut metadata = MetadataMap::new();
        metadata.append("authorization", "Basic whatever".parse().unwrap());
        let caller = CallerTokens::anonymous().authenticate(&metadata).unwrap();
        assert_eq!(caller.name, "anonymous");
    }
}
