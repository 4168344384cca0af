//! The steps that Mint and Verify share: an ID token becomes verified claims.
//!
//! Everything that can refuse without a key comes before the key is looked for,
//! so that no ID token causes a fetch that its own text already rules out.

use std::sync::Arc;

use super::{Admitted, Index, Reason, Refusal, Service};
use crate::{
    oidc::{Issuer, UnverifiedIdToken, VerifiedIdToken, VerifyingKey},
    ports::KeyAbsent,
};

/// An ID token whose signature holds, and the issuer whose key held it.
pub(super) struct Proven {
    pub(super) id_token: VerifiedIdToken,
    pub(super) issuer: Arc<Issuer>,
}

impl Service {
    /// Reads an ID token, finds its issuer and its key, and verifies it.
    pub(super) async fn prove(&self, at: &Admitted, text: &str) -> Result<Proven, Refusal> {
        let unverified = UnverifiedIdToken::parse(text)?;
        let issuer = configured(at.index(), unverified.unverified_issuer())?;
        unverified.algorithm(issuer)?;
        let key = self.key(issuer, unverified.unverified_kid()).await?;
        let id_token = unverified.verify(issuer, &key)?;
        Ok(Proven { id_token, issuer: Arc::clone(issuer) })
    }

    async fn key(&self, issuer: &Issuer, kid: Option<&str>) -> Result<Arc<VerifyingKey>, Refusal> {
        let unknown = |message: &str| Err(Refusal::new(Reason::IdTokenKeyUnknown, message));
        let Some(kid) = kid else {
            return unknown("the ID token does not say which of its issuer's keys signed it");
        };
        if let Some(key) = self.key_sets.held(issuer, kid) {
            return Ok(key);
        }
        match self.key_sets.find(issuer, kid).await {
            Ok(key) => Ok(key),
            Err(KeyAbsent::Unpublished) => {
                unknown("the ID token is signed with a key that its issuer does not publish")
            }
            Err(KeyAbsent::OutOfReach { retry_after }) => Err(Refusal::unavailable(
                "the issuer of the ID token cannot be reached at present; try again a little later",
                retry_after,
            )),
        }
    }
}

/// How much of an issuer that nobody configured is repeated in a refusal.
const SHOWN_ISSUER_CHARS: usize = 128;

/// The index's issuer of this name, compared byte for byte.
fn configured<'i>(index: &'i Index, unverified: &str) -> Result<&'i Arc<Issuer>, Refusal> {
    let issuer = index.issuers.iter().find(|issuer| issuer.url == unverified).ok_or_else(|| {
        let named: String = unverified.chars().take(SHOWN_ISSUER_CHARS).collect();
        let message = format!("this index does not trust the issuer of the ID token, {named:?}");
        Refusal::new(Reason::IssuerUnknown, message)
    })?;
    if issuer.enabled {
        Ok(issuer)
    } else {
        let message =
            "trusted publishing from the issuer of the ID token is switched off at present";
        Err(Refusal::new(Reason::IssuerDisabled, message))
    }
}
