//! What the use cases ask of the world, in the words of the domain.
//!
//! Five object-safe ports. Answers are enums, so that "no" and "I can't tell"
//! are never the same value.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    limits::Rate,
    mark::{Mark, Seed},
    oidc::{Issuer, VerifyingKey},
};

/// What time it is.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// Chance, from a cryptographically secure source.
pub trait Randomness: Send + Sync {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The issuers' public keys.
#[async_trait]
pub trait KeySets: Send + Sync {
    /// The key, where this process holds it and may still use it. Takes no
    /// lock, waits for nothing, and fetches nothing that the caller would wait
    /// for.
    fn held(&self, issuer: &Issuer, kid: &str) -> Option<Arc<VerifyingKey>>;

    /// The key, fetched if it must be. Call it after [`KeySets::held`] had none.
    async fn find(&self, issuer: &Issuer, kid: &str) -> Result<Arc<VerifyingKey>, KeyAbsent>;
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAbsent {
    /// The issuer's key set is known and has no such key (or asking again must
    /// wait for the cooldown).
    Unpublished,
    /// The issuer can't be reached, and no usable key set is left.
    OutOfReach {
        /// When another try makes sense.
        retry_after: Duration,
    },
}

/// What replicas must agree on: marks, uses, limits, revocations.
///
/// Every operation is atomic and one round trip. `now` is the caller's clock.
#[async_trait]
pub trait Store: Send + Sync {
    /// Redeems an ID token: spends the limits and sets the mark, both or
    /// neither. A token that was redeemed before spends nothing.
    async fn redeem(
        &self,
        redemption: &Redemption,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<Redeemed, StoreFailure>;

    /// Spends one unit of each limit, all or none.
    async fn spend_limits(
        &self,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<LimitsSpent, StoreFailure>;

    /// Asks whether a token was revoked and spends its uses, all or none.
    async fn spend_uses(
        &self,
        spend: &UsesSpend,
        now: Timestamp,
    ) -> Result<UsesSpent, StoreFailure>;

    /// Marks a token as revoked, until its end or for good. A repeated
    /// revocation may lengthen the mark and never shortens it.
    async fn revoke(
        &self,
        revocation: Mark,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Revoked, StoreFailure>;

    /// Whether the store can be reached. Asked once a second, however many calls
    /// there are; here a store also looks after itself.
    async fn probe(&self, now: Timestamp) -> Result<(), StoreFailure>;
}

/// Where replicas leave issuers' key sets for each other, sealed. What lies there
/// is a stranger's until its seal was checked. `now` is the caller's clock.
#[async_trait]
pub trait KeySetShelf: Send + Sync {
    /// What was left last, if it is still there; of a stranger's value that is
    /// longer only so many bytes.
    async fn get(
        &self,
        issuer: Mark,
        most: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreFailure>;

    /// Leaves a sealed key set there for so long.
    async fn put(
        &self,
        issuer: Mark,
        sealed: &[u8],
        keep: Duration,
        now: Timestamp,
    ) -> Result<(), StoreFailure>;

    /// Claims the right to fetch for the issuer, for as long as `hold` says at
    /// most: its holder may die.
    async fn claim(
        &self,
        issuer: Mark,
        holder: [u8; 16],
        hold: Duration,
        now: Timestamp,
    ) -> Result<Claimed, StoreFailure>;

    /// Gives the right back, where this holder still has it.
    async fn release(
        &self,
        issuer: Mark,
        holder: [u8; 16],
        now: Timestamp,
    ) -> Result<(), StoreFailure>;
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the caller's now.
    Ours,
    /// Somebody else has it.
    Others,
}

/// How long a mark lives whose end has passed already when it is set.
///
/// Such an end is a slip of the caller or of a clock. Taken at its word it
/// would make a mark that doesn't count, and two calls would both be the first;
/// a minute is longer than any call lives.
pub const SHORTEST_MARK: Duration = Duration::from_secs(60);

/// The store gave no answer: out of reach, too slow, or full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store gave no answer: {cause}")]
pub struct StoreFailure {
    /// For the log, never for a caller.
    pub cause: String,
    /// When another try makes sense.
    pub retry_after: Duration,
}

/// An ID token about to be redeemed.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// What is marked: the ID token, or, where an issuer's tokens can't be told
    /// apart, the retry itself.
    pub mark: Mark,
    /// How long the mark must live. An end that doesn't lie after `now` is a slip,
    /// and the mark then lives for [`SHORTEST_MARK`];
    /// so do all other marks but those of retries.
    pub until: Timestamp,
    /// The ID token's `iat` in Unix seconds, held against the moment from which
    /// on the store remembers everything. None: not held against it.
    pub issued_at: Option<i64>,
    /// Under which the same call may come again, and until when.
    pub retry: Option<(Mark, Timestamp)>,
    /// Kept with the mark, and handed back to the same call.
    pub seed: Seed,
}

/// The answer to a redeeming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It is redeemed, now and by this call.
    Now,
    /// The same call redeemed it before, inside its retry window.
    Again(Seed),
    /// Another call did.
    Before,
    /// Nobody can say that it was not redeemed before: the store's memory begins
    /// after the ID token was issued, or it has cleared such marks away already,
    /// and a clock was put back since.
    Unremembered,
    /// A limit is spent; nothing was redeemed, nothing was spent.
    Limited {
        /// Position, among `limits`, of the one that has room last; of several the first.
        limit: usize,
        /// When the limit has room again.
        retry_after: Duration,
    },
}

/// One unit of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSpend {
    /// Whose limit.
    pub mark: Mark,
    /// How much it allows.
    pub rate: Rate,
}

/// The answer to the spending of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitsSpent {
    /// Every limit had room.
    Within,
    /// At least one had none; none was spent.
    Beyond {
        /// Position of the one that has room last; of several the first.
        limit: usize,
        /// When all of them have room.
        retry_after: Duration,
    },
}

/// A token about to be used.
#[derive(Clone, Debug)]
pub struct UsesSpend {
    /// Under which its revocation would stand.
    pub revocation: Mark,
    /// Its Uses caveats, in order. Empty for most tokens.
    pub uses: Vec<Use>,
    /// When it was minted, held against the moment from which on the store
    /// remembers everything. None: unknown, not held against it.
    pub minted_at: Option<Timestamp>,
    /// Under which the same call may come again without spending, and until when.
    /// Kept only where uses were spent.
    pub retry: Option<(Mark, Timestamp)>,
    /// Whether to spend or only to look.
    pub mode: SpendMode,
}

/// One Uses caveat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The counter.
    pub mark: Mark,
    /// How many allowed answers it is good for.
    pub count: u32,
    /// How long the counter must live: at least as long as any token narrowed
    /// from the same one, so never an end that its holder brought forward. Of
    /// several ends told for one counter the latest counts.
    pub until: Timestamp,
}

/// Whether uses are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendMode {
    /// Spend them.
    Spend,
    /// Answer as if, and spend nothing.
    Look,
}

/// The answer to the spending of uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsesSpent {
    /// Not revoked, and every use was left.
    Allowed,
    /// It was revoked.
    Revoked,
    /// No use is left; nothing was spent.
    Spent {
        /// Position of the first caveat without a use, among `uses`.
        caveat: usize,
    },
    /// Nobody can say how many uses are left: the store's memory begins after the
    /// token was minted, or it has cleared such counters away already, and a clock
    /// was put back since.
    Unremembered,
}

/// The answer to a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// By this call.
    Now,
    /// It had been before.
    Before,
}
