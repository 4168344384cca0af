//! Google Cloud: a service account.
//!
//! Its ID tokens have no `jti`, so they can't be redeemed.

use crate::oidc::Claims;

use super::{Comparison, Difference, Identity, NoPublisher, ProviderIdentity, Specificity};

/// A Google service account, compared exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Google {
    /// Its address. Google must have verified it.
    pub email: String,
    /// Its id, which nobody gets who takes the address over. Empty: not pinned.
    pub subject: String,
}

/// What an ID token of Google says.
pub(super) struct Facts<'c> {
    email: &'c str,
    email_verified: &'static str,
    subject: Option<&'c str>,
}

impl ProviderIdentity for Google {
    type Facts<'c> = Facts<'c>;

    fn of(identity: &Identity) -> Option<&Self> {
        match identity {
            Identity::Google(own) => Some(own),
            Identity::GitHub(_)
            | Identity::GitLab(_)
            | Identity::ActiveState(_)
            | Identity::Claims(_) => None,
        }
    }

    fn read<'c>(claims: &Claims<'c>) -> Result<Facts<'c>, NoPublisher> {
        let verified = claims.required_bool("email_verified")?;
        Ok(Facts {
            email: claims.required_string("email")?,
            email_verified: if verified { "true" } else { "false" },
            subject: claims.string("sub")?,
        })
    }

    fn compare<'a>(
        &'a self,
        facts: &'a Facts<'_>,
        claims: &mut Comparison,
    ) -> Result<Specificity, Difference<'a>> {
        claims.equal("email", &self.email, Some(facts.email))?;
        claims.equal("email_verified", "true", Some(facts.email_verified))?;
        claims.equal_if_pinned("sub", &self.subject, facts.subject)?;
        Ok(Specificity::of("", &[&self.subject]))
    }
}

#[cfg(test)]
pub(super) mod tests;
