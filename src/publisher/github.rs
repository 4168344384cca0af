//! GitHub Actions: a workflow file of a repository.
//!
//! What counts is `job_workflow_ref`, the file that the job's steps stand in.
//! `workflow_ref`, the file that called it, is not looked at: the callee of a
//! reusable workflow decides what is published. Nor is `sub`, whose form every
//! repository can change.

use std::borrow::Cow;

use crate::oidc::Claims;

use super::{
    Comparison, Difference, Identity, NoPublisher, ProviderIdentity, Revisions, Specificity,
    after_path, equal_path, is_workflow_file,
};

/// Events whose jobs hold the repository's rights while strangers choose what
/// they run on.
const FORBIDDEN_EVENTS: [&str; 2] = ["pull_request_target", "workflow_run"];

/// Where workflow files lie in a repository.
const WORKFLOWS: &str = "/.github/workflows/";

/// A workflow of a GitHub repository. Owner, repository and environment are
/// compared without regard to ASCII case, the rest exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitHub {
    /// The user or organization.
    pub repository_owner: String,
    /// Its id, which nobody gets who takes the name over.
    pub repository_owner_id: String,
    /// The repository's name, without its owner.
    pub repository_name: String,
    /// The file's name inside `.github/workflows`.
    pub workflow_filename: String,
    /// Empty: any environment, or none.
    pub environment: String,
    /// The repository's id. Empty: not pinned.
    pub repository_id: String,
}

/// What an ID token of GitHub says.
pub(super) struct Facts<'c> {
    repository: &'c str,
    owner: &'c str,
    owner_id: &'c str,
    repository_id: Option<&'c str>,
    job_workflow_ref: &'c str,
    revisions: Revisions<'c>,
    environment: Option<&'c str>,
}

impl ProviderIdentity for GitHub {
    type Facts<'c> = Facts<'c>;

    fn of(identity: &Identity) -> Option<&Self> {
        match identity {
            Identity::GitHub(own) => Some(own),
            Identity::GitLab(_)
            | Identity::Google(_)
            | Identity::ActiveState(_)
            | Identity::Claims(_) => None,
        }
    }

    fn read<'c>(claims: &Claims<'c>) -> Result<Facts<'c>, NoPublisher> {
        let facts = Facts {
            repository: claims.required_string("repository")?,
            owner: claims.required_string("repository_owner")?,
            owner_id: claims.required_string("repository_owner_id")?,
            repository_id: claims.string("repository_id")?,
            job_workflow_ref: claims.required_string("job_workflow_ref")?,
            revisions: Revisions::new(claims.string("ref")?, claims.string("sha")?),
            environment: claims.string("environment")?,
        };
        let event = claims.required_string("event_name")?;
        if FORBIDDEN_EVENTS.contains(&event) {
            return Err(NoPublisher::EventForbidden { event: event.to_owned() });
        }
        Ok(facts)
    }

    fn compare<'a>(
        &'a self,
        facts: &'a Facts<'_>,
        claims: &mut Comparison,
    ) -> Result<Specificity, Difference<'a>> {
        let (owner, name) = (&self.repository_owner, &self.repository_name);
        claims.held(equal_path("repository", owner, name, facts.repository))?;
        claims.equal_ignoring_case("repository_owner", owner, Some(facts.owner))?;
        claims.equal("repository_owner_id", &self.repository_owner_id, Some(facts.owner_id))?;
        claims.equal_if_pinned("repository_id", &self.repository_id, facts.repository_id)?;
        claims.held(self.compare_workflow(facts))?;
        if !self.environment.is_empty() {
            claims.equal_ignoring_case("environment", &self.environment, facts.environment)?;
        }
        Ok(Specificity::of(&self.environment, &[&self.repository_id]))
    }
}

impl GitHub {
    /// `OWNER/REPO/.github/workflows/FILE@REVISION`, built up and not taken
    /// apart: file names and refs may hold each of these characters.
    fn compare_workflow<'a>(&'a self, facts: &'a Facts<'_>) -> Result<(), Difference<'a>> {
        let found = facts.job_workflow_ref;
        let file = &self.workflow_filename;
        let differs = |expected: String| {
            Err(Difference::new("job_workflow_ref", Cow::Owned(expected), Some(found)))
        };
        if !is_workflow_file(file) || file.contains('/') {
            return differs(format!(
                "a file in .github/workflows that ends with .yml or .yaml, which {file:?} is not"
            ));
        }
        let revision = after_path(found, &self.repository_owner, &self.repository_name)
            .and_then(|rest| rest.strip_prefix(WORKFLOWS))
            .and_then(|rest| rest.strip_prefix(file.as_str()))
            .and_then(|rest| rest.strip_prefix('@'));
        if revision.is_some_and(|revision| facts.revisions.contains(revision)) {
            return Ok(());
        }
        let (owner, name) = (self.repository_owner.as_str(), self.repository_name.as_str());
        differs([owner, "/", name, WORKFLOWS, file, "@", facts.revisions.described()].concat())
    }
}

#[cfg(test)]
pub(super) mod tests;
