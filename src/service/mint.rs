//! Mint: an identity becomes an upload token.
//!
//! Everything pure and cheap comes first, the redeeming is last, and a refused
//! request never redeems. What the macaroon is made of besides the grant (the
//! moment, the chance, the key) is kept with the mark, so that the same call can
//! get the very same token again.

use std::time::Duration;

use super::{
    Admitted, Bearer, Charged, Client, Limit, MARK_SLACK, Reason, Refusal, Retry, Right, Service,
    id_token::Proven,
};
use crate::{
    caveat::Caveat,
    clock::Timestamp,
    grant::{AllowedWish, Feature, Grant, Wish},
    macaroon::{Identifier, KeyId, Macaroon, Subject},
    mark::{Mark, Seed},
    oidc::{Claims, LEEWAY, VerifiedIdToken},
    ports::{LimitSpend, LimitsSpent, Redeemed, Redemption},
    publisher::{self, Project, Publisher},
};

/// For whom, and what else is wanted.
#[derive(Debug)]
pub struct MintRequest {
    /// For whom.
    pub subject: MintSubject,
    /// What else.
    pub wish: Wish,
    /// Who asked the index.
    pub client: Client,
    /// Under which the same call may come again.
    pub retry: Option<Retry>,
}

/// For whom.
#[derive(Debug)]
pub enum MintSubject {
    /// A CI job that proves itself.
    TrustedPublishing(TrustedPublishing),
    /// A user, vouched for by the caller.
    User(Subject),
}

/// Proof of a CI job's identity, and the publishers that may match it.
pub struct TrustedPublishing {
    /// The ID token as the client sent it.
    pub id_token: String,
    /// Who may match.
    pub candidates: Vec<Publisher>,
}

impl std::fmt::Debug for TrustedPublishing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedPublishing")
            .field("candidates", &self.candidates.len())
            .finish_non_exhaustive()
    }
}

/// An upload token, and what it is.
pub struct MintAnswer {
    /// The upload token.
    pub token: String,
    /// Its identifier.
    pub token_id: String,
    /// Whose it is.
    pub subject: Subject,
    /// Its earliest end, in Unix seconds. None: it has none.
    pub expires_at: Option<i64>,
    /// The feature in force.
    pub feature: Feature,
    /// Which candidate matched. None for a user.
    pub publisher_id: Option<String>,
    /// The projects that it is good for; empty where that is decided at use.
    pub projects: Vec<Project>,
    /// Every caveat in it, in order.
    pub caveats: Vec<Caveat<'static>>,
    /// What the ID token said. None for a user.
    pub identity: Option<VerifiedIdToken>,
    /// Whether the token is a fresh one.
    pub minted: Minted,
}

/// Whether a token that is handed out is a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minted {
    /// It is.
    Now,
    /// The same call came before, inside its retry window, and this is its token.
    Before,
}

impl std::fmt::Debug for MintAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintAnswer").field("token_id", &self.token_id).finish_non_exhaustive()
    }
}

impl Service {
    /// Exchanges an identity for an upload token.
    pub async fn mint(&self, at: &Admitted, request: MintRequest) -> Result<MintAnswer, Refusal> {
        let MintRequest { subject, wish, client, retry } = request;
        match subject {
            MintSubject::User(subject) => {
                self.mint_user(at, &subject, wish, &client).await.map_err(|refusal| {
                    refusal.of(Bearer { subject: Some(subject), ..Bearer::default() })
                })
            }
            MintSubject::TrustedPublishing(publishing) => {
                match self.mint_publisher(at, publishing, wish, &client, retry.as_ref()).await {
                    Err(refusal) => Err(self.charge_mint(refusal, &client).await),
                    minted => minted,
                }
            }
        }
    }

    async fn mint_user(
        &self,
        at: &Admitted,
        subject: &Subject,
        wish: Wish,
        client: &Client,
    ) -> Result<MintAnswer, Refusal> {
        at.must_have(Right::MintUser)?;
        let now = self.clock.now();
        let grant = Grant::for_user(subject.id(), at.index().policy.allow_user(wish)?);
        let written = self.write(at, &grant, subject, &self.seed(now))?;
        let limit = self.limits.user_mint(client.ip);
        if let Some(limit) = limit
            && let LimitsSpent::Beyond { limit: _, retry_after } =
                self.store.spend_limits(&[limit], now).await?
        {
            return Err(Refusal::limited(Limit::MintPerClient, retry_after));
        }
        Ok(written.answer(grant, subject.clone()))
    }

    async fn mint_publisher(
        &self,
        at: &Admitted,
        publishing: TrustedPublishing,
        wish: Wish,
        client: &Client,
        retry: Option<&Retry>,
    ) -> Result<MintAnswer, Refusal> {
        at.must_have(Right::MintPublisher)?;
        let wish = at.index().policy.allow_publisher(wish)?;
        let proven = self.prove(at, &publishing.id_token).await?;
        let mut bearer = Bearer { issuer: Some(proven.issuer.url.clone()), ..Bearer::default() };
        let wanted = Wanted { candidates: &publishing.candidates, wish, client, retry };
        let minted = self.mint_proven(at, proven, wanted, &mut bearer).await;
        minted.map_err(|refusal| refusal.of(bearer))
    }

    /// The rest of the way, on which more and more is known of the bearer.
    async fn mint_proven(
        &self,
        at: &Admitted,
        Proven { id_token, issuer }: Proven,
        Wanted { candidates, wish, client, retry }: Wanted<'_>,
        bearer: &mut Bearer,
    ) -> Result<MintAnswer, Refusal> {
        // Only now: the ID token may have ended while its key was fetched.
        let now = self.clock.now();
        let claims = id_token.accept(&issuer, &at.index().audience, now)?;
        let publisher = publisher::find(&claims, candidates)?;
        let subject = Subject::publisher(&publisher.id)
            .map_err(|error| Refusal::new(Reason::RequestInvalid, error.to_string()))?;
        bearer.subject = Some(subject.clone());
        let most = at.index().policy.max_embedded_projects;
        let grant = Grant::for_publisher(publisher, wish, most)?;
        // Written before it is redeemed, since writing can refuse: a token can be
        // too large. Nobody sees it before the redeeming has gone through.
        let seed = self.seed(now);
        let first = self.write(at, &grant, &subject, &seed)?;
        let limits = self.limits.publisher_mint(client.ip, &at.index().name, &publisher.id);
        let redemption = redemption(at, &claims, retry, seed, now);
        let window = RetryWindow(at.index().retry_window);
        let (minted, written) = match self.redeem(redemption.as_ref(), limits, window, now).await? {
            Redeeming::First => (Minted::Now, first),
            Redeeming::Repeated(seed) => (Minted::Before, self.write(at, &grant, &subject, &seed)?),
        };
        let publisher_id = Some(publisher.id.clone());
        let answer = written.answer(grant, subject);
        Ok(MintAnswer { publisher_id, identity: Some(id_token), minted, ..answer })
    }

    /// The last step: after it, the ID token is used.
    async fn redeem(
        &self,
        redemption: Option<&Redemption>,
        (names, limits): (Vec<Limit>, Vec<LimitSpend>),
        window: RetryWindow,
        now: Timestamp,
    ) -> Result<Redeeming, Refusal> {
        let redeemed = match redemption {
            Some(redemption) => self.store.redeem(redemption, &limits, now).await?,
            // Nothing tells two of this provider's ID tokens apart, so none is
            // redeemed, and only the limits hold.
            None => match self.store.spend_limits(&limits, now).await? {
                LimitsSpent::Within => Redeemed::Now,
                LimitsSpent::Beyond { limit, retry_after } => {
                    Redeemed::Limited { limit, retry_after }
                }
            },
        };
        match redeemed {
            Redeemed::Now => Ok(Redeeming::First),
            Redeemed::Again(first) if window.holds(&first, now) => Ok(Redeeming::Repeated(first)),
            Redeemed::Again(_) | Redeemed::Before => Err(Refusal::new(
                Reason::IdTokenReused,
                "the ID token was used before; the job must ask its provider for a fresh one",
            )),
            Redeemed::Unremembered => Err(Refusal::new(
                Reason::IdTokenReused,
                "the ID token is older than the service's memory, so it may have been used before; \
                 the job must ask its provider for a fresh one",
            )),
            Redeemed::Limited { limit, retry_after } => {
                // Whichever one the store means, it is one of a Mint's.
                let limit = names.get(limit).copied().unwrap_or(Limit::MintPerClient);
                Err(Refusal::limited(limit, retry_after))
            }
        }
    }

    fn seed(&self, now: Timestamp) -> Seed {
        let key_id = self.keyring.load().current().as_str().to_owned();
        let mut seed = Seed { minted_at: now, uuid_bits: [0; 10], nonce_bits: [0; 16], key_id };
        // At once, since each draw is a system call.
        let drawn: [u8; 26] = self.random();
        let (uuid_bits, nonce_bits) = drawn.split_at(seed.uuid_bits.len());
        seed.uuid_bits.copy_from_slice(uuid_bits);
        seed.nonce_bits.copy_from_slice(nonce_bits);
        seed
    }

    /// Writes the macaroon.
    fn write(
        &self,
        at: &Admitted,
        grant: &Grant,
        subject: &Subject,
        seed: &Seed,
    ) -> Result<Written, Refusal> {
        let keyring = self.keyring.load();
        let key_id = KeyId::parse(&seed.key_id).ok();
        let Some((key_id, key)) = key_id.and_then(|id| keyring.key(&id).map(|key| (id, key)))
        else {
            // Only a retry can name a key that was retired since.
            let message = "the token minted before ended with its key; a fresh ID token is needed";
            return Err(Refusal::new(Reason::IdTokenReused, message));
        };
        let index = at.index();
        let token_id =
            Identifier::new(key_id, seed.minted_at, &seed.uuid_bits, subject.clone()).to_string();
        let root_key = key.root_key(&index.name, token_id.as_bytes());
        let mut macaroon = Macaroon::mint(&root_key, &index.location, &token_id);
        let caveats = grant.caveats(seed);
        for caveat in &caveats {
            macaroon.attenuate(&caveat.write())?;
        }
        Ok(Written { token: macaroon.write(&index.prefix)?, token_id, caveats })
    }

    /// Spends what a refusal of the bearer's credential costs.
    async fn charge_mint(&self, refusal: Refusal, client: &Client) -> Refusal {
        if refusal.reason.blame() != super::Blame::Bearer {
            return refusal;
        }
        match self.charge(self.limits.refused_mint(client.ip)).await {
            Charged::Within => refusal,
            Charged::Beyond { retry_after } => Refusal {
                bearer: refusal.bearer,
                ..Refusal::limited(Limit::RefusedMintPerClient, retry_after)
            },
        }
    }
}

/// What is wanted of an ID token whose signature holds.
struct Wanted<'r> {
    candidates: &'r [Publisher],
    wish: AllowedWish,
    client: &'r Client,
    retry: Option<&'r Retry>,
}

/// A token that nobody has seen yet.
struct Written {
    token: String,
    token_id: String,
    caveats: Vec<Caveat<'static>>,
}

impl Written {
    fn answer(self, grant: Grant, subject: Subject) -> MintAnswer {
        MintAnswer {
            token: self.token,
            token_id: self.token_id,
            subject,
            expires_at: self.caveats.iter().filter_map(Caveat::end).min(),
            feature: grant.feature,
            publisher_id: None,
            projects: grant.projects,
            caveats: self.caveats,
            identity: None,
            minted: Minted::Now,
        }
    }
}

/// An ID token that was redeemed by this call.
enum Redeeming {
    /// For the first time.
    First,
    /// Again, inside the retry window: with what the first token was made of.
    Repeated(Seed),
}

/// For how long the same call gets the same token.
#[derive(Clone, Copy)]
struct RetryWindow(Duration);

impl RetryWindow {
    /// Whether a call that left this seed lies in it. Who can write to the store could
    /// leave any other, and have a token begin, and end, when he likes.
    fn holds(self, first: &Seed, now: Timestamp) -> bool {
        let (begin, end) = (now.minus(self.0).minus(MARK_SLACK), now.plus(MARK_SLACK));
        begin <= first.minted_at && first.minted_at <= end
    }
}

/// What is marked. An ID token by its issuer and `jti`; where it has none, only
/// the retry itself, so that the same call still gets the same token.
fn redemption(
    at: &Admitted,
    claims: &Claims<'_>,
    retry: Option<&Retry>,
    seed: Seed,
    now: Timestamp,
) -> Option<Redemption> {
    let window = at.index().retry_window;
    let until = now.plus(window);
    let retry = retry.filter(|_| !window.is_zero()).map(|retry| {
        let Retry { request_id, fingerprint } = retry;
        (Mark::mint_retry(&at.caller().name, request_id, fingerprint), until)
    });
    match claims.jti() {
        Some(jti) => Some(Redemption {
            mark: Mark::redeemed(&claims.issuer().url, jti),
            until: Timestamp::from_seconds(claims.exp()).plus(LEEWAY).plus(MARK_SLACK),
            issued_at: Some(claims.iat()),
            retry,
            seed,
        }),
        None => retry.map(|(mark, until)| Redemption {
            mark,
            until,
            issued_at: None,
            retry: Some((mark, until)),
            seed,
        }),
    }
}
