//! The audit trail: one event for each call's answer, of its own target, so that
//! an operator can send it elsewhere. Never a token, an ID token or a key; of a
//! credential its SHA-256, by which somebody who has it finds what was done with it.
//!
//! `docs/audit.md` says what each field means, and what the trail answers.

use std::{fmt, time::Duration};

use sha2::{Digest as _, Sha256};

use super::{rpc::Rpc, status::reason_name};
use crate::{
    macaroon::Subject,
    service::{Client, Refusal, Revocations},
};

/// The target of every event.
pub const TARGET: &str = "mintage::audit";

/// What is told about a call besides its outcome.
#[derive(Debug)]
pub struct Call<'a> {
    /// Which call. None: one that the contract doesn't know.
    pub rpc: Option<Rpc>,
    /// The caller's name; empty where it didn't prove itself.
    pub caller: &'a str,
    /// The index's name, as the request had it.
    pub index: &'a str,
    /// Who asked the index.
    pub client: &'a Client,
    /// The ID token or upload token that was presented.
    pub credential: Option<&'a CredentialHash>,
    /// The projects that were wanted; [`projects`].
    pub projects: &'a str,
    /// How long it took.
    pub took: Duration,
}

/// What came of a call.
#[derive(Debug, Default)]
pub struct Outcome {
    /// `minted`, `allowed`, `denied`, `attenuated`, `revoked`, `refused` or `unanswered`.
    pub outcome: &'static str,
    /// The upload token's id; empty where there is none.
    pub token_id: String,
    /// Whose upload token it is.
    pub subject: Option<Subject>,
    /// The publisher that an ID token stands for, where no upload token is about it.
    pub publisher: Option<String>,
    /// The verified issuer of the ID token.
    pub issuer: String,
    /// The projects that a token is good for, in place of those that were wanted.
    pub projects: Option<String>,
    /// The reasons of a denial or a refusal, with commas between.
    pub reasons: String,
    /// Why the index wanted this, in its own words.
    pub cause: String,
    /// Whether it was asked for revocations.
    pub revocations: Revocations,
}

impl Outcome {
    /// An outcome of which nothing else is known yet.
    pub fn of(outcome: &'static str) -> Self {
        Self { outcome, ..Self::default() }
    }
}

/// The SHA-256 of a credential's text as it was sent, in hex.
#[derive(Debug)]
pub struct CredentialHash(String);

/// A longer text is no credential ([`MAX_ID_TOKEN_BYTES`], [`MAX_TOKEN_BYTES`]), and
/// isn't worth the work.
///
/// [`MAX_ID_TOKEN_BYTES`]: crate::oidc::MAX_ID_TOKEN_BYTES
/// [`MAX_TOKEN_BYTES`]: crate::macaroon::MAX_TOKEN_BYTES
const MAX_HASHED_BYTES: usize = 16 * 1024;

impl CredentialHash {
    /// Of this text. None: there is none, it is too long, or nobody wants to know.
    pub fn of(text: &str) -> Option<Self> {
        let wanted = tracing::event_enabled!(target: TARGET, tracing::Level::INFO);
        let bounded = (1..=MAX_HASHED_BYTES).contains(&text.len());
        (wanted && bounded).then(|| {
            let digest = Sha256::digest(text);
            let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
            Self(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
        })
    }
}

/// So many bytes of projects' names are told.
const MAX_PROJECTS_BYTES: usize = 512;

/// The names of projects with commas between, as many as there is room for; of the
/// others their number, as `+3`.
pub fn projects<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let mut told = String::new();
    let mut left = names.len();
    for name in names {
        if told.len() + name.len() >= MAX_PROJECTS_BYTES {
            break;
        }
        told.push_str(if told.is_empty() { "" } else { "," });
        told.push_str(name);
        left -= 1;
    }
    if left > 0 {
        told.push_str(&format!("{}+{left}", if told.is_empty() { "" } else { "," }));
    }
    told
}

/// Tells of a call that was answered.
pub fn answered(call: &Call<'_>, outcome: &Outcome) {
    tell(call, outcome, format_args!(""));
}

/// Tells of a call that was refused, or got no answer.
pub fn refused(call: &Call<'_>, refusal: &Refusal) {
    let bearer = refusal.bearer.as_deref().cloned().unwrap_or_default();
    let outcome = Outcome {
        token_id: bearer.token_id.unwrap_or_default(),
        subject: bearer.subject,
        issuer: bearer.issuer.unwrap_or_default(),
        reasons: reason_name(refusal.reason).to_owned(),
        ..Outcome::of("refused")
    };
    tell(call, &outcome, format_args!(": {}", refusal.message));
}

/// Tells of a call that was dropped before there was an answer. What it did is not
/// undone.
pub fn unanswered(call: &Call<'_>) {
    tell(call, &Outcome::of("unanswered"), format_args!(""));
}

/// Tells of a call whose caller did not prove itself. Nothing that it brought is
/// told but the method that the contract knows.
pub fn stranger(rpc: Option<Rpc>, refusal: &Refusal) {
    let call = Call {
        rpc,
        caller: "",
        index: "",
        client: &Client::default(),
        credential: None,
        projects: "",
        took: Duration::ZERO,
    };
    refused(&call, refusal);
}

fn tell(call: &Call<'_>, outcome: &Outcome, said: fmt::Arguments<'_>) {
    let rpc = call.rpc.map_or("", Rpc::name);
    let publisher = match &outcome.subject {
        Some(Subject::Publisher(id)) => Some(id.as_str()),
        Some(Subject::User(_)) | None => outcome.publisher.as_deref(),
    };
    let without_store = match outcome.revocations {
        Revocations::Heeded => None,
        Revocations::Unknown => Some(true),
    };
    tracing::info!(
        target: TARGET,
        rpc,
        outcome = outcome.outcome,
        caller = told(call.caller),
        index = told(call.index),
        token_id = told(&outcome.token_id),
        subject = outcome.subject.as_ref().map(|subject| tracing::field::display(Shown(subject))),
        publisher,
        issuer = told(&outcome.issuer),
        projects = told(outcome.projects.as_deref().unwrap_or(call.projects)),
        reasons = told(&outcome.reasons),
        cause = told(&outcome.cause),
        credential_sha256 = call.credential.map(|hash| hash.0.as_str()),
        without_store,
        client_ip = call.client.ip.map(tracing::field::display),
        user_agent = told(&call.client.user_agent),
        took_us = micros(call.took),
        "{rpc} {}{said}", outcome.outcome
    );
}

/// `user:ID` or `publisher:ID`.
struct Shown<'s>(&'s Subject);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Subject::User(_) => "user:",
            Subject::Publisher(_) => "publisher:",
        };
        f.write_str(kind)?;
        f.write_str(self.0.id())
    }
}

/// What is empty is not told.
fn told(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_told_by_name_as_far_as_there_is_room_and_by_number_beyond() {
        let long = "x".repeat(MAX_PROJECTS_BYTES);
        let many: Vec<String> = (100..400).map(|number| format!("project-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (names, expected) in [
            (&[][..], String::new()),
            (&["sample"], "sample".to_owned()),
            (&["sample", "other"], "sample,other".to_owned()),
            (&["sample", &long, "other"], "sample,+2".to_owned()),
            (&[&long], "+1".to_owned()),
        ] {
            assert_eq!(projects(names.iter().copied()), expected);
        }
        let told = projects(many.iter().copied());
        assert!(told.len() < MAX_PROJECTS_BYTES + 8 && told.ends_with(",+258"), "{told}");
    }

    #[test]
    fn a_credential_is_hashed_as_sha256sum_would() {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        tracing::subscriber::with_default(subscriber, || {
            let hash = CredentialHash::of("abc").map(|hash| hash.0);
            let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
            assert_eq!(hash.as_deref(), Some(expected));
            assert!(CredentialHash::of("").is_none());
            assert!(CredentialHash::of(&"x".repeat(MAX_HASHED_BYTES)).is_some());
            assert!(CredentialHash::of(&"x".repeat(MAX_HASHED_BYTES + 1)).is_none());
        });
    }
}
