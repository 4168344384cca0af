//! Trusted publishers: which of an index's candidates an ID token stands for.
//!
//! Each provider has a file of the same shape: what an index registered, what
//! an ID token says (read and typed before any candidate is looked at), and the
//! comparison of the two, claim by claim. In here is what they share: the search
//! for the most specific match, and the account of what differed. The rules are
//! those of PyPI, and stricter where other indexes were fooled.
//!
//! This module judges claims that were accepted; whether they were is
//! [`crate::oidc`]'s question, and what a publisher may do the grant's.

mod activestate;
mod claims;
mod github;
mod gitlab;
mod google;
mod project_name;

use std::{borrow::Cow, fmt};

use crate::oidc::{ClaimFault, Claims, Issuer, Provider};

pub use activestate::ActiveState;
pub use claims::{ClaimPolicy, ClaimRule, Condition, MAX_GLOB_BYTES};
pub use github::GitHub;
pub use gitlab::GitLab;
pub use google::Google;
pub use project_name::{ProjectName, ProjectNameInvalid};

/// How much of a claim is repeated in a mismatch. Real ones are shorter, and an
/// answer may hold a mismatch for each of 256 candidates.
const SHOWN_CHARS: usize = 512;

/// How much of one is repeated in a sentence, which has two and must end.
const TOLD_CHARS: usize = 256;

/// A project of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The index's own id.
    pub id: String,
    /// The name as the index shows it, not normalized.
    pub name: String,
}

/// A publisher as an index has it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// The index's own id.
    pub id: String,
    /// The projects that it may publish to.
    pub projects: Vec<Project>,
    /// The issuer's URL, compared with `iss` byte for byte.
    pub issuer: String,
    /// Its scope is whatever projects it has when a token is used; then
    /// `projects` may be empty.
    pub projects_at_use: bool,
    /// Whom an ID token must be about.
    pub identity: Identity,
}

/// Whom an ID token must be about, in the words of its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A workflow of a GitHub repository.
    GitHub(GitHub),
    /// A pipeline of a GitLab project.
    GitLab(GitLab),
    /// A Google service account.
    Google(Google),
    /// A project on the ActiveState Platform.
    ActiveState(ActiveState),
    /// Whoever has these claims.
    Claims(ClaimPolicy),
}

impl Identity {
    /// The provider whose ID tokens can be about it.
    pub const fn provider(&self) -> Provider {
        match self {
            Self::GitHub(_) => Provider::GitHub,
            Self::GitLab(_) => Provider::GitLab,
            Self::Google(_) => Provider::Google,
            Self::ActiveState(_) => Provider::ActiveState,
            Self::Claims(_) => Provider::Claims,
        }
    }
}

/// No candidate may publish with this ID token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPublisher {
    /// A claim that the provider promises is missing, or of another type.
    #[error(transparent)]
    Claims(#[from] ClaimFault),
    /// The job was started in a way in which strangers' code gets at the
    /// repository's ID tokens.
    #[error(
        "ID tokens of jobs started by {event:?} are refused, because such jobs can run other people's code"
    )]
    EventForbidden {
        /// The event's name.
        event: String,
    },
    /// No candidate matches. At least one mismatch, in the order of the candidates.
    #[error("{}", not_found(.0))]
    NotFound(Vec<Mismatch>),
}

/// The first claim in which a candidate differs from an ID token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// The candidate's id. Empty where there was no candidate.
    pub publisher_id: String,
    /// The claim's name.
    pub claim: String,
    /// What the candidate asks for, whole.
    pub expected: String,
    /// What the ID token says; cut where it is very long.
    pub found: String,
    /// How many claims were right before this one.
    pub right: usize,
}

impl Mismatch {
    /// The one whose candidate got furthest: most likely the one that was meant.
    /// Of equal ones the first.
    pub fn closest(mismatches: &[Self]) -> Option<&Self> {
        // Of several greatest `max_by_key` takes the last.
        mismatches.iter().rev().max_by_key(|mismatch| mismatch.right)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.publisher_id.is_empty() {
            let issuer = cut(&self.found, TOLD_CHARS);
            return write!(f, "no publisher is registered for ID tokens of {issuer:?}");
        }
        write!(f, "publisher {:?}: {}", self.publisher_id, self.difference())
    }
}

impl Mismatch {
    fn difference(&self) -> String {
        let (claim, expected) = (&self.claim, cut(&self.expected, TOLD_CHARS));
        let found = cut(&self.found, TOLD_CHARS);
        format!("the claim {claim:?} must be {expected:?}, and the ID token has {found:?}")
    }
}

fn not_found(mismatches: &[Mismatch]) -> String {
    match (mismatches, Mismatch::closest(mismatches)) {
        (_, None) => "no registered publisher matches the ID token".to_owned(),
        ([only], Some(_)) if only.publisher_id.is_empty() => only.to_string(),
        ([only], Some(_)) => {
            let (id, difference) = (&only.publisher_id, only.difference());
            format!("the registered publisher {id:?} does not match the ID token: {difference}")
        }
        (several, Some(closest)) => {
            let count = several.len();
            format!(
                "none of the {count} registered publishers matches the ID token; the closest is \
                 {closest}"
            )
        }
    }
}

/// The most specific of the candidates that match; of equally specific ones
/// the first.
///
/// # Errors
///
/// Each [`NoPublisher`]: what is wrong with the ID token whatever the
/// candidates are comes first.
pub fn find<'p>(
    claims: &Claims<'_>,
    candidates: &'p [Publisher],
) -> Result<&'p Publisher, NoPublisher> {
    match claims.issuer().provider {
        Provider::GitHub => most_specific::<GitHub>(claims, candidates),
        Provider::GitLab => most_specific::<GitLab>(claims, candidates),
        Provider::Google => most_specific::<Google>(claims, candidates),
        Provider::ActiveState => most_specific::<ActiveState>(claims, candidates),
        Provider::Claims => most_specific::<ClaimPolicy>(claims, candidates),
    }
}

/// The shape of a provider's file.
trait ProviderIdentity: Sized + 'static {
    /// What an ID token of this provider says, every claim of its type.
    type Facts<'c>;

    /// The identity, where it is this provider's.
    fn of(identity: &Identity) -> Option<&Self>;

    /// Reads the claims that this provider promises.
    fn read<'c>(claims: &Claims<'c>) -> Result<Self::Facts<'c>, NoPublisher>;

    /// Whether this identity is the one that the facts are about, claim by claim.
    fn compare<'a>(
        &'a self,
        facts: &'a Self::Facts<'_>,
        claims: &mut Comparison,
    ) -> Result<Specificity, Difference<'a>>;
}

/// Holds one claim after the other against what is registered, and counts those
/// that were right.
#[derive(Debug, Default)]
struct Comparison {
    right: usize,
}

/// How much a publisher asks for beyond what each must. Compared in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Specificity {
    environments: usize,
    others: usize,
}

impl Specificity {
    /// Of an identity's optional fields, those that are pinned.
    fn of(environment: &str, others: &[&str]) -> Self {
        Self {
            environments: usize::from(!environment.is_empty()),
            others: others.iter().filter(|pinned| !pinned.is_empty()).count(),
        }
    }
}

/// A claim that differs, before it is written down.
#[derive(Debug)]
struct Difference<'a> {
    claim: &'a str,
    expected: Cow<'a, str>,
    found: Cow<'a, str>,
}

fn most_specific<'p, I: ProviderIdentity>(
    claims: &Claims<'_>,
    candidates: &'p [Publisher],
) -> Result<&'p Publisher, NoPublisher> {
    let facts = I::read(claims)?;
    let mut best: Option<(&'p Publisher, Specificity)> = None;
    let mut differences = Vec::new();
    for candidate in candidates {
        let mut comparison = Comparison::default();
        match compare::<I>(candidate, claims.issuer(), &facts, &mut comparison) {
            Ok(specificity) if best.is_none_or(|(_, so_far)| specificity > so_far) => {
                best = Some((candidate, specificity));
            }
            Ok(_) => {}
            Err(difference) => differences.push((candidate, difference, comparison.right)),
        }
    }
    match best {
        Some((publisher, _)) => Ok(publisher),
        None if candidates.is_empty() => Err(no_candidate(claims.issuer())),
        None => Err(NoPublisher::NotFound(
            differences
                .into_iter()
                .map(|(candidate, difference, right)| difference.of(candidate, right))
                .collect(),
        )),
    }
}

fn compare<'a, I: ProviderIdentity>(
    candidate: &'a Publisher,
    issuer: &'a Issuer,
    facts: &'a I::Facts<'_>,
    claims: &mut Comparison,
) -> Result<Specificity, Difference<'a>> {
    hold("iss", &candidate.issuer, Some(&issuer.url), |found| found == candidate.issuer)?;
    match I::of(&candidate.identity) {
        Some(identity) => {
            claims.right += 1;
            identity.compare(facts, claims)
        }
        None => Err(Difference {
            claim: "iss",
            expected: Cow::Owned(format!(
                "{} (registered as an issuer of {} publishers)",
                candidate.issuer,
                name(candidate.identity.provider())
            )),
            found: Cow::Owned(format!(
                "{} (configured as an issuer of {} publishers)",
                issuer.url,
                name(issuer.provider)
            )),
        }),
    }
}

fn no_candidate(issuer: &Issuer) -> NoPublisher {
    NoPublisher::NotFound(vec![Mismatch {
        publisher_id: String::new(),
        claim: "iss".to_owned(),
        expected: "(no publisher is registered)".to_owned(),
        found: issuer.url.clone(),
        right: 0,
    }])
}

const fn name(provider: Provider) -> &'static str {
    match provider {
        Provider::GitHub => "GitHub",
        Provider::GitLab => "GitLab",
        Provider::Google => "Google",
        Provider::ActiveState => "ActiveState",
        Provider::Claims => "claim policy",
    }
}

impl<'a> Difference<'a> {
    fn new(claim: &'a str, expected: impl Into<Cow<'a, str>>, found: Option<&'a str>) -> Self {
        let found = match found {
            None => "(missing)",
            Some("") => "(empty)",
            Some(found) => found,
        };
        Self { claim, expected: expected.into(), found: Cow::Borrowed(found) }
    }

    fn of(self, candidate: &Publisher, right: usize) -> Mismatch {
        Mismatch {
            publisher_id: candidate.id.clone(),
            claim: self.claim.to_owned(),
            expected: self.expected.into_owned(),
            found: cut(&self.found, SHOWN_CHARS),
            right,
        }
    }
}

impl Comparison {
    /// A claim that must be this text, and the text must not be empty: what an
    /// index left out must never match what an issuer left out.
    fn equal<'a>(
        &mut self,
        claim: &'a str,
        expected: &'a str,
        found: Option<&'a str>,
    ) -> Result<(), Difference<'a>> {
        self.held(hold(claim, expected, found, |found| found == expected))
    }

    /// The same but for ASCII case.
    fn equal_ignoring_case<'a>(
        &mut self,
        claim: &'a str,
        expected: &'a str,
        found: Option<&'a str>,
    ) -> Result<(), Difference<'a>> {
        self.held(hold(claim, expected, found, |found| found.eq_ignore_ascii_case(expected)))
    }

    /// The same as [`Self::equal`] where the text isn't empty; an empty one asks
    /// for nothing.
    fn equal_if_pinned<'a>(
        &mut self,
        claim: &'a str,
        expected: &'a str,
        found: Option<&'a str>,
    ) -> Result<(), Difference<'a>> {
        if expected.is_empty() { Ok(()) } else { self.equal(claim, expected, found) }
    }

    /// A claim that was held by a rule of the provider's own.
    fn held<'a>(&mut self, outcome: Result<(), Difference<'a>>) -> Result<(), Difference<'a>> {
        self.right += usize::from(outcome.is_ok());
        outcome
    }
}

fn hold<'a>(
    claim: &'a str,
    expected: &'a str,
    found: Option<&'a str>,
    matches: impl FnOnce(&str) -> bool,
) -> Result<(), Difference<'a>> {
    if expected.is_empty() {
        return Err(Difference::new(claim, "(nothing is registered)", found));
    }
    if found.is_some_and(matches) { Ok(()) } else { Err(Difference::new(claim, expected, found)) }
}

/// What follows in a text after a path of two parts (`OWNER/REPO`), whose ASCII
/// case doesn't matter and neither of which may be empty.
fn after_path<'a>(text: &'a str, parent: &str, child: &str) -> Option<&'a str> {
    if parent.is_empty() || child.is_empty() {
        return None;
    }
    let rest = after_ignoring_case(text, parent)?.strip_prefix('/')?;
    after_ignoring_case(rest, child)
}

fn after_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A path that must be `PARENT/CHILD` but for ASCII case.
fn equal_path<'a>(
    claim: &'a str,
    parent: &str,
    child: &str,
    found: &'a str,
) -> Result<(), Difference<'a>> {
    match after_path(found, parent, child) {
        Some("") => Ok(()),
        Some(_) | None => Err(Difference::new(claim, [parent, "/", child].concat(), Some(found))),
    }
}

/// Whether a provider can run this file as a workflow: it has a name before
/// its suffix.
fn is_workflow_file(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.strip_suffix(".yml").or_else(|| file.strip_suffix(".yaml"));
    stem.is_some_and(|stem| !stem.is_empty())
}

/// The state of the repository that a workflow file was taken from: a ref, or
/// a commit where a job has no ref. Empty ones say nothing.
#[derive(Clone, Copy, Debug)]
struct Revisions<'c> {
    reference: Option<&'c str>,
    sha: Option<&'c str>,
}

impl<'c> Revisions<'c> {
    fn new(reference: Option<&'c str>, sha: Option<&'c str>) -> Self {
        let said = |text: &&str| !text.is_empty();
        Self { reference: reference.filter(said), sha: sha.filter(said) }
    }

    fn contains(self, revision: &str) -> bool {
        self.reference == Some(revision) || self.sha == Some(revision)
    }

    /// How the end of a workflow claim is expected to be, for a person.
    fn described(self) -> &'c str {
        self.reference.or(self.sha).unwrap_or("(the ID token has neither a ref nor a sha)")
    }
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
    }
}

#[cfg(test)]
mod tests;
