//! Candidates: publishers as the index has them registered.

use std::fmt;

use super::{own_id, proto};
use crate::{
    publisher::{
        ActiveState, ClaimPolicy, ClaimRule, Condition, GitHub, GitLab, Google, Identity,
        MAX_GLOB_BYTES, Project, Publisher,
    },
    service::Refusal,
};

/// A request has at most so many candidates.
const MAX_CANDIDATES: usize = 256;

/// A publisher has at most so many projects.
const MAX_PROJECTS: usize = 20_000;

/// A claim policy has at most so many rules.
const MAX_RULES: usize = 64;

/// Every candidate of a request.
pub(super) fn candidates(
    messages: Vec<proto::Publisher>,
    credential: &str,
) -> Result<Vec<Publisher>, Refusal> {
    if messages.len() > MAX_CANDIDATES {
        let path = format!("{credential}.candidates");
        return Err(Refusal::field(path, "a request has at most 256 candidates"));
    }
    (0..)
        .zip(messages)
        .map(|(at, message): (usize, _)| {
            publisher(message, format_args!("{credential}.candidates[{at}]"))
        })
        .collect()
}

/// Where a field stands: put into words only where it is refused.
type Path<'a> = fmt::Arguments<'a>;

fn publisher(message: proto::Publisher, path: Path<'_>) -> Result<Publisher, Refusal> {
    own_id(&message.id, || format!("{path}.id"))?;
    if message.issuer.is_empty() {
        return Err(Refusal::field(format!("{path}.issuer"), "a publisher has an issuer"));
    }
    Ok(Publisher {
        id: message.id,
        projects: projects(message.projects, path)?,
        issuer: message.issuer,
        projects_at_use: message.projects_at_use,
        identity: identity(message.identity, path)?,
    })
}

fn projects(messages: Vec<proto::Project>, path: Path<'_>) -> Result<Vec<Project>, Refusal> {
    if messages.len() > MAX_PROJECTS {
        let message = "a publisher has at most 20000 projects; beyond that, set projects_at_use";
        return Err(Refusal::field(format!("{path}.projects"), message));
    }
    for (at, message) in messages.iter().enumerate() {
        own_id(&message.id, || format!("{path}.projects[{at}].id"))?;
    }
    Ok(messages.into_iter().map(|proto::Project { id, name }| Project { id, name }).collect())
}

fn identity(
    message: Option<proto::publisher::Identity>,
    path: Path<'_>,
) -> Result<Identity, Refusal> {
    use proto::publisher::Identity as Message;

    Ok(match message {
        None => {
            let message = "a publisher has an identity: who it is at its issuer";
            return Err(Refusal::field(format!("{path}.identity"), message));
        }
        Some(Message::Github(github)) => Identity::GitHub(GitHub {
            repository_owner: github.repository_owner,
            repository_owner_id: github.repository_owner_id,
            repository_name: github.repository_name,
            workflow_filename: github.workflow_filename,
            environment: github.environment,
            repository_id: github.repository_id,
        }),
        Some(Message::Gitlab(gitlab)) => Identity::GitLab(GitLab {
            namespace: gitlab.namespace,
            project: gitlab.project,
            workflow_filepath: gitlab.workflow_filepath,
            environment: gitlab.environment,
            namespace_id: gitlab.namespace_id,
            project_id: gitlab.project_id,
        }),
        Some(Message::Google(google)) => {
            Identity::Google(Google { email: google.email, subject: google.subject })
        }
        Some(Message::Activestate(activestate)) => Identity::ActiveState(ActiveState {
            organization: activestate.organization,
            project: activestate.project,
            actor_id: activestate.actor_id,
        }),
        Some(Message::Claims(policy)) => Identity::Claims(claim_policy(policy, path)?),
    })
}

fn claim_policy(message: proto::ClaimPolicy, path: Path<'_>) -> Result<ClaimPolicy, Refusal> {
    if message.rules.len() > MAX_RULES {
        let path = format!("{path}.claims.rules");
        return Err(Refusal::field(path, "a claim policy has at most 64 rules"));
    }
    let rules = (0..)
        .zip(message.rules)
        .map(|(at, rule): (usize, _)| claim_rule(rule, format_args!("{path}.claims.rules[{at}]")))
        .collect::<Result<_, _>>()?;
    Ok(ClaimPolicy { rules })
}

fn claim_rule(message: proto::ClaimRule, path: Path<'_>) -> Result<ClaimRule, Refusal> {
    use proto::claim_rule::Condition as Message;

    if message.claim.is_empty() {
        return Err(Refusal::field(format!("{path}.claim"), "a rule names a claim"));
    }
    let condition = match message.condition {
        None => return Err(Refusal::field(path.to_string(), "a rule has a condition")),
        Some(Message::Equals(text)) => Condition::Equals(text),
        Some(Message::EqualsIgnoreCase(text)) => Condition::EqualsIgnoreCase(text),
        Some(Message::Glob(glob)) if glob.len() > MAX_GLOB_BYTES => {
            return Err(Refusal::field(format!("{path}.glob"), "a glob has at most 1024 bytes"));
        }
        Some(Message::Glob(glob)) => Condition::Glob(glob),
    };
    Ok(ClaimRule { claim: message.claim, condition })
}
