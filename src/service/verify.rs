//! Verify: whether a credential is good for what its bearer wants to do.
//!
//! A denial is an answer. Whatever is wrong with the credential itself is one;
//! a [`Refusal`] means that no answer was given.

use std::net::IpAddr;

use super::{
    Admitted, Bearer, Blame, Charged, Client, Kept, Limit, MARK_SLACK, OnStoreFailure, Reason,
    Refusal, Retry, Service, TrustedPublishing,
    id_token::Proven,
    known::{Known, Origin, known, token_id},
};
use crate::{
    caveat::{Access, AccessProject, Action, Judgement, ReadCaveat, Uncleared, judge},
    clock::Timestamp,
    macaroon::{KeyId, Macaroon, Subject},
    mark::Mark,
    oidc::VerifiedIdToken,
    ports::{SpendMode, Use, UsesSpend, UsesSpent},
    publisher::{self, Mismatch, NoPublisher},
};

/// An upload token, and what its bearer wants to do.
#[derive(Debug)]
pub struct UploadTokenRequest {
    /// The token as the client sent it.
    pub token: Secret,
    /// What its bearer wants to do.
    pub access: AccessWanted,
    /// Caveats that the index keeps outside of the token.
    pub stored: Vec<ReadCaveat<'static>>,
    /// What the index knows of a token that it minted itself.
    pub kept: Option<Kept>,
    /// Whether to spend uses.
    pub mode: SpendMode,
    /// Who asked the index.
    pub client: Client,
    /// Under which the same call may come again.
    pub retry: Option<Retry>,
}

/// A text that `Debug` does not show.
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a bearer wants to do, but for the moment and the subject.
#[derive(Clone, Debug)]
pub struct AccessWanted {
    /// What.
    pub action: Action,
    /// Where: the index's own id, if it told one, and the PEP 503 name.
    pub project: Option<(Option<String>, String)>,
    /// The publishers registered to that project at this moment.
    pub publisher_ids: Vec<String>,
    /// The release's version.
    pub version: Option<pep440_rs::Version>,
    /// The file's name.
    pub filename: Option<String>,
    /// The file's SHA-256.
    pub sha256: Option<[u8; 32]>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good for what its bearer wants to do.
    Allowed,
    /// Not good for it.
    Denied,
}

/// One reason for a no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For programs.
    pub reason: Reason,
    /// For the bearer.
    pub message: String,
    /// Position of the caveat that refused, where one did.
    pub caveat: Option<u32>,
    /// Why a candidate did not match, where that is the reason.
    pub mismatch: Option<Mismatch>,
}

/// The answer.
#[derive(Debug, Default)]
pub struct VerifyAnswer<'t> {
    /// Every reason for a no, in the order in which they were found. Empty for a yes.
    pub denials: Vec<Denial>,
    /// What the upload token is. None unless its signature holds.
    pub token: Option<TokenFacts<'t>>,
    /// What the ID token says. None unless its signature holds.
    pub identity: Option<VerifiedIdToken>,
    /// Which candidate matched.
    pub publisher_id: Option<String>,
    /// Whether it was asked for revocations.
    pub revocations: Revocations,
}

/// Whether a token that is allowed can have been revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Revocations {
    /// The store was asked, or there was no need to.
    #[default]
    Heeded,
    /// The store gave no answer, and such a token is allowed nevertheless
    /// ([`OnStoreFailure::Allow`]).
    Unknown,
}

/// What an upload token is.
#[derive(Debug)]
pub struct TokenFacts<'t> {
    /// Its identifier; base64url where that isn't ASCII.
    pub token_id: String,
    /// Whose token it is.
    pub subject: Subject,
    /// The name of its master key. None for a kept token.
    pub key_id: Option<KeyId>,
    /// Its caveats, in order.
    pub caveats: Vec<ReadCaveat<'t>>,
    /// When it was minted. None for a kept token.
    pub minted_at: Option<Timestamp>,
    /// Its earliest end, in Unix seconds.
    pub expires_at: Option<i64>,
}

impl VerifyAnswer<'_> {
    /// Yes or no.
    pub fn verdict(&self) -> Verdict {
        if self.denials.is_empty() { Verdict::Allowed } else { Verdict::Denied }
    }

    fn denied(refusal: Refusal) -> Self {
        Self { denials: vec![refusal.into()], ..Self::default() }
    }

    /// What it says of the bearer, who gets another answer.
    fn bearer(self) -> Bearer {
        let issuer = self.identity.as_ref().map(|token| token.issuer().to_owned());
        let (token_id, subject) = self.token.map(|token| (token.token_id, token.subject)).unzip();
        Bearer { issuer, subject, token_id }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self { reason: refusal.reason, message: refusal.message, caveat: None, mismatch: None }
    }
}

impl Service {
    /// Answers for an upload token that was read into `macaroon`, or could not be.
    pub async fn verify_upload_token<'t>(
        &self,
        at: &Admitted,
        request: &UploadTokenRequest,
        macaroon: Result<&'t Macaroon, Refusal>,
    ) -> Result<VerifyAnswer<'t>, Refusal> {
        let now = self.clock.now();
        let answer = match macaroon {
            Ok(macaroon) => self.judge(at, request, macaroon, now).await?,
            Err(unreadable) => VerifyAnswer::denied(unreadable),
        };
        self.charge_verify(answer, request.client.ip).await
    }

    /// Reads an upload token of an index.
    pub fn read_upload_token(at: &Admitted, token: &str) -> Result<Macaroon, Refusal> {
        Macaroon::read(token, &at.index().prefix).map_err(Refusal::from)
    }

    /// Answers for an ID token, without redeeming it.
    pub async fn verify_id_token(
        &self,
        at: &Admitted,
        publishing: &TrustedPublishing,
        client: &Client,
    ) -> Result<VerifyAnswer<'static>, Refusal> {
        let answer = match self.prove(at, &publishing.id_token).await {
            // Only now: the ID token may have ended while its key was fetched.
            Ok(proven) => matched(at, proven, publishing, self.clock.now()),
            Err(refusal) if refusal.reason.blame() == Blame::Bearer => {
                VerifyAnswer::denied(refusal)
            }
            Err(failure) => return Err(failure),
        };
        self.charge_verify(answer, client.ip).await
    }

    async fn judge<'t>(
        &self,
        at: &Admitted,
        request: &UploadTokenRequest,
        macaroon: &'t Macaroon,
        now: Timestamp,
    ) -> Result<VerifyAnswer<'t>, Refusal> {
        let known = match known(at.index(), request.kept.as_ref(), macaroon, &self.keyring.load()) {
            Ok(known) => known,
            Err(denied) => return Ok(VerifyAnswer::denied(denied)),
        };
        let access = request.access.at(now, known.subject(), request.client.ip);
        let offered = at.index().policy.offered;
        let Judgement { denials, uses, caveats, expires_at } =
            judge(known.macaroon, &request.stored, &access, offered);
        let mut denials: Vec<Denial> = denials.into_iter().map(Denial::from).collect();
        let token_id = token_id(macaroon);
        let subject = known.subject().clone();
        let mut revocations = Revocations::Heeded;
        if denials.is_empty() {
            let spend = self.spend(at, request, &known, &token_id, &uses, now);
            let spent = self.spent(&spend, &uses, now).await;
            match spent.map_err(|refusal| refusal.of(Bearer::with(&subject, &token_id)))? {
                Spent::Allowed => {}
                Spent::Denied(denial) => denials.push(denial),
                Spent::Unknown => revocations = Revocations::Unknown,
            }
        }
        let (key_id, minted_at) = match &known.origin {
            Origin::Kept(_) => (None, None),
            Origin::Ours(identifier) => {
                (Some(identifier.key_id().clone()), Some(identifier.minted_at()))
            }
        };
        let facts = TokenFacts { token_id, subject, key_id, caveats, minted_at, expires_at };
        Ok(VerifyAnswer { denials, token: Some(facts), revocations, ..VerifyAnswer::default() })
    }

    fn spend(
        &self,
        at: &Admitted,
        request: &UploadTokenRequest,
        known: &Known<'_>,
        token_id: &str,
        uses: &[crate::caveat::UseWanted],
        now: Timestamp,
    ) -> UsesSpend {
        let index = &at.index().name;
        let retry = request.retry.as_ref().map(|retry| {
            let Retry { request_id, fingerprint } = retry;
            let token = known.macaroon.macaroon().fingerprint();
            let mark = Mark::verify_retry(&at.caller().name, request_id, fingerprint, &token);
            (mark, now.plus(at.index().retry_window))
        });
        UsesSpend {
            revocation: Mark::revoked(index, token_id),
            uses: uses
                .iter()
                .map(|wanted| Use {
                    mark: Mark::uses(index, token_id, &wanted.nonce),
                    count: wanted.count,
                    until: Timestamp::from_seconds(wanted.until).plus(MARK_SLACK),
                })
                .collect(),
            minted_at: match &known.origin {
                Origin::Ours(identifier) => Some(identifier.minted_at()),
                Origin::Kept(_) => None,
            },
            retry,
            mode: request.mode,
        }
    }

    /// The one round trip: not revoked, and a use left of each.
    async fn spent(
        &self,
        spend: &UsesSpend,
        uses: &[crate::caveat::UseWanted],
        now: Timestamp,
    ) -> Result<Spent, Refusal> {
        let denial = |reason, message: &str| Spent::Denied(Refusal::new(reason, message).into());
        match self.store.spend_uses(spend, now).await {
            Ok(UsesSpent::Allowed) => Ok(Spent::Allowed),
            Ok(UsesSpent::Revoked) => {
                Ok(denial(Reason::TokenRevoked, "the upload token was revoked"))
            }
            Ok(UsesSpent::Spent { caveat }) => Ok(match uses.get(caveat) {
                Some(wanted) => {
                    let why = Uncleared::UsesSpent { count: wanted.count };
                    Spent::Denied(crate::caveat::Denial { caveat: wanted.caveat, why }.into())
                }
                // Whichever caveat the store means, it said no.
                None => denial(Reason::CaveatUsesSpent, "the upload token has no use left"),
            }),
            Ok(UsesSpent::Unremembered) => Ok(denial(
                Reason::CaveatUsesSpent,
                "the upload token's uses are limited, and it is older than the service's memory of \
                 them; a fresh one is needed",
            )),
            Err(failure) => match (spend.uses.is_empty(), self.on_store_failure) {
                (true, OnStoreFailure::Allow) => Ok(Spent::Unknown),
                (true, OnStoreFailure::Refuse) | (false, _) => Err(failure.into()),
            },
        }
    }

    /// A denial costs its client a unit of a limit. Where that is spent, there is
    /// no answer.
    async fn charge_verify<'t>(
        &self,
        answer: VerifyAnswer<'t>,
        client: Option<IpAddr>,
    ) -> Result<VerifyAnswer<'t>, Refusal> {
        if answer.verdict() == Verdict::Allowed {
            return Ok(answer);
        }
        match self.charge(self.limits.denied_verify(client)).await {
            Charged::Within => Ok(answer),
            Charged::Beyond { retry_after } => {
                let refusal = Refusal::limited(Limit::DeniedVerifyPerClient, retry_after);
                Err(refusal.of(answer.bearer()))
            }
        }
    }
}

/// What the store said of a token that its caveats allow.
enum Spent {
    Allowed,
    Denied(Denial),
    /// Nothing, and that is no reason to deny.
    Unknown,
}

/// Claims accepted and a publisher found, or why not.
fn matched(
    at: &Admitted,
    proven: Proven,
    publishing: &TrustedPublishing,
    now: Timestamp,
) -> VerifyAnswer<'static> {
    let Proven { id_token, issuer } = proven;
    let found = match id_token.accept(&issuer, &at.index().audience, now) {
        Err(refused) => Err(vec![Refusal::from(refused).into()]),
        Ok(claims) => match publisher::find(&claims, &publishing.candidates) {
            Ok(publisher) => Ok(publisher.id.clone()),
            Err(NoPublisher::NotFound(mismatches)) => {
                Err(mismatches.into_iter().map(Denial::from).collect())
            }
            Err(other) => Err(vec![Refusal::from(other).into()]),
        },
    };
    let (publisher_id, denials) = match found {
        Ok(id) => (Some(id), Vec::new()),
        Err(denials) => (None, denials),
    };
    VerifyAnswer { denials, identity: Some(id_token), publisher_id, ..VerifyAnswer::default() }
}

impl From<Mismatch> for Denial {
    fn from(mismatch: Mismatch) -> Self {
        Self {
            reason: Reason::PublisherNotFound,
            message: mismatch.to_string(),
            caveat: None,
            mismatch: Some(mismatch),
        }
    }
}

impl From<crate::caveat::Denial> for Denial {
    fn from(denial: crate::caveat::Denial) -> Self {
        Self {
            reason: Reason::from(&denial.why),
            message: denial.why.to_string(),
            caveat: Some(denial.caveat),
            mismatch: None,
        }
    }
}

impl AccessWanted {
    fn at<'a>(&'a self, now: Timestamp, subject: &'a Subject, ip: Option<IpAddr>) -> Access<'a> {
        Access {
            now,
            subject,
            action: self.action.clone(),
            project: self
                .project
                .as_ref()
                .map(|(id, name)| AccessProject { id: id.as_deref(), name: name.clone() }),
            publisher_ids: &self.publisher_ids,
            version: self.version.clone(),
            filename: self.filename.as_deref(),
            sha256: self.sha256,
            client_ip: ip,
        }
    }
}
