//! GitLab CI/CD: the pipeline file of a project, on gitlab.com or self-managed.
//!
//! Whose project `GROUP/PROJECT` is depends on the instance, so the instance is
//! part of every match: through `iss`, and once more as the host in
//! `ci_config_ref_uri`. `sub` is not looked at, since projects can change its form.

use std::borrow::Cow;

use crate::oidc::Claims;

use super::{
    Comparison, Difference, Identity, NoPublisher, ProviderIdentity, Revisions, Specificity,
    after_path, equal_path, is_workflow_file,
};

/// A pipeline of a GitLab project. Namespace and project are compared without
/// regard to ASCII case, the rest exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitLab {
    /// The user or group, with the groups it lies in.
    pub namespace: String,
    /// The project's path, without its namespace.
    pub project: String,
    /// The pipeline file's path inside the project.
    pub workflow_filepath: String,
    /// Empty: any environment, or none.
    pub environment: String,
    /// The namespace's id. Empty: not pinned.
    pub namespace_id: String,
    /// The project's id. Empty: not pinned.
    pub project_id: String,
}

/// What an ID token of GitLab says.
pub(super) struct Facts<'c> {
    host: &'c str,
    project_path: &'c str,
    namespace_id: Option<&'c str>,
    project_id: Option<&'c str>,
    ci_config_ref_uri: &'c str,
    revisions: Revisions<'c>,
    environment: Option<&'c str>,
}

impl ProviderIdentity for GitLab {
    type Facts<'c> = Facts<'c>;

    fn of(identity: &Identity) -> Option<&Self> {
        match identity {
            Identity::GitLab(own) => Some(own),
            Identity::GitHub(_)
            | Identity::Google(_)
            | Identity::ActiveState(_)
            | Identity::Claims(_) => None,
        }
    }

    fn read<'c>(claims: &Claims<'c>) -> Result<Facts<'c>, NoPublisher> {
        Ok(Facts {
            host: &claims.issuer().host,
            project_path: claims.required_string("project_path")?,
            namespace_id: claims.string("namespace_id")?,
            project_id: claims.string("project_id")?,
            ci_config_ref_uri: claims.required_string("ci_config_ref_uri")?,
            revisions: Revisions::new(claims.string("ref_path")?, claims.string("sha")?),
            environment: claims.string("environment")?,
        })
    }

    fn compare<'a>(
        &'a self,
        facts: &'a Facts<'_>,
        claims: &mut Comparison,
    ) -> Result<Specificity, Difference<'a>> {
        let (namespace, project) = (&self.namespace, &self.project);
        claims.held(equal_path("project_path", namespace, project, facts.project_path))?;
        claims.equal_if_pinned("namespace_id", &self.namespace_id, facts.namespace_id)?;
        claims.equal_if_pinned("project_id", &self.project_id, facts.project_id)?;
        claims.held(self.compare_pipeline(facts))?;
        claims.equal_if_pinned("environment", &self.environment, facts.environment)?;
        Ok(Specificity::of(&self.environment, &[&self.namespace_id, &self.project_id]))
    }
}

impl GitLab {
    /// `HOST/NAMESPACE/PROJECT//FILE@REVISION`, built up and not taken apart:
    /// paths and refs may hold each of these characters.
    fn compare_pipeline<'a>(&'a self, facts: &'a Facts<'_>) -> Result<(), Difference<'a>> {
        let found = facts.ci_config_ref_uri;
        let file = &self.workflow_filepath;
        let differs = |expected: String| {
            Err(Difference::new("ci_config_ref_uri", Cow::Owned(expected), Some(found)))
        };
        if !is_workflow_file(file) {
            return differs(format!(
                "a pipeline file that ends with .yml or .yaml, which {file:?} is not"
            ));
        }
        let revision = found
            .strip_prefix(facts.host)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| after_path(rest, &self.namespace, &self.project))
            .and_then(|rest| rest.strip_prefix("//"))
            .and_then(|rest| rest.strip_prefix(file.as_str()))
            .and_then(|rest| rest.strip_prefix('@'));
        if revision.is_some_and(|revision| facts.revisions.contains(revision)) {
            return Ok(());
        }
        let (namespace, project) = (self.namespace.as_str(), self.project.as_str());
        let revision = facts.revisions.described();
        differs([facts.host, "/", namespace, "/", project, "//", file, "@", revision].concat())
    }
}

#[cfg(test)]
pub(super) mod tests;
