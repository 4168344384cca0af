//! The ActiveState Platform: a project of an organization, and the member who
//! set up its publishing.

use std::borrow::Cow;

use crate::oidc::Claims;

use super::{Comparison, Difference, Identity, NoPublisher, ProviderIdentity, Specificity};

/// The one builder of the platform that publishes to Python indexes.
const BUILDER: &str = "pypi-publisher";

/// A project on the ActiveState Platform, compared exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveState {
    /// The organization's name.
    pub organization: String,
    /// The project's name, without its organization.
    pub project: String,
    /// The id of the member as whom the build publishes.
    pub actor_id: String,
}

/// What an ID token of ActiveState says.
pub(super) struct Facts<'c> {
    organization: &'c str,
    project: &'c str,
    actor_id: &'c str,
    builder: &'c str,
    subject: &'c str,
}

impl ProviderIdentity for ActiveState {
    type Facts<'c> = Facts<'c>;

    fn of(identity: &Identity) -> Option<&Self> {
        match identity {
            Identity::ActiveState(own) => Some(own),
            Identity::GitHub(_)
            | Identity::GitLab(_)
            | Identity::Google(_)
            | Identity::Claims(_) => None,
        }
    }

    fn read<'c>(claims: &Claims<'c>) -> Result<Facts<'c>, NoPublisher> {
        Ok(Facts {
            organization: claims.required_string("organization")?,
            project: claims.required_string("project")?,
            actor_id: claims.required_string("actor_id")?,
            builder: claims.required_string("builder")?,
            subject: claims.required_string("sub")?,
        })
    }

    fn compare<'a>(
        &'a self,
        facts: &'a Facts<'_>,
        claims: &mut Comparison,
    ) -> Result<Specificity, Difference<'a>> {
        claims.equal("organization", &self.organization, Some(facts.organization))?;
        claims.equal("project", &self.project, Some(facts.project))?;
        claims.equal("actor_id", &self.actor_id, Some(facts.actor_id))?;
        claims.equal("builder", BUILDER, Some(facts.builder))?;
        claims.held(self.compare_subject(facts.subject))?;
        Ok(Specificity::of("", &[]))
    }
}

impl ActiveState {
    /// `org:ORG:project:PROJECT`, and maybe more behind another colon.
    fn compare_subject<'a>(&'a self, found: &'a str) -> Result<(), Difference<'a>> {
        let expected = format!("org:{}:project:{}", self.organization, self.project);
        match found.strip_prefix(expected.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with(':') => Ok(()),
            Some(_) | None => Err(Difference::new("sub", Cow::Owned(expected), Some(found))),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
