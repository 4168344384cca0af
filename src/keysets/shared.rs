//! Key sets that replicas share, so that they ask an issuer as often together as
//! one would alone.
//!
//! Between a replica and its issuer lies a shelf. What lies there is taken if it
//! was left by one of us (see [`seal`](super::seal)) and will do for what the
//! flight wants (see [`wanted`](super::wanted)). Otherwise one replica claims the
//! fetch, and leaves the set for the others, who look again until it is there.
//!
//! Nobody depends on it. A shelf that gives no answer is skipped for the rest of
//! the flight, so that it costs one timeout of the store at most. A claim ends
//! by itself where its holder died, and the next one takes it over; and who has
//! waited long enough fetches for itself. A set that came off the shelf still
//! counts from its true fetch, so that a withdrawn key dies when it should.
//!
//! Replicas with the same keyring believe each other, so they must be configured
//! alike: what one of them takes for the issuer's, by its `ca_file` or
//! `jwks_hosts`, all of them do.
//!
//! What remains to somebody who can write there: to take sets away or to hold
//! the claim for ever, which makes each replica fetch for itself, late by
//! [`PATIENCE`]; and to put back a set that was fetched minutes ago, which each
//! replica then holds no longer than it may hold one of that age anyway.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{
    IssuerKeys,
    seal::{self, MAX_SEALED},
    source::{Failed, Published, Source},
    wanted::{Wanted, Worth},
};
use crate::{
    clock::Timestamp,
    macaroon::Keyring,
    mark::Mark,
    ports::{Claimed, Clock, KeySetShelf, Randomness, StoreFailure},
};

/// How long a claim lasts whose holder died. Most issuers answer in a quarter of
/// it; one that takes longer is asked by the next replica too.
const HOLD: Duration = Duration::from_secs(2);

/// How long a flight waits for others before it asks the issuer itself. Longer
/// than a hold, so that of those who wait for a dead holder one takes over and
/// the rest get what it fetches; and with the exchange itself within the deadline
/// of a call.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two looks at the shelf while another replica fetches.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The shelf, and what it takes to use it.
#[derive(Clone)]
pub struct Sharing {
    /// Where sealed key sets lie.
    pub shelf: Arc<dyn KeySetShelf>,
    /// What seals them.
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// What tells the holder of one claim from another.
    pub randomness: Arc<dyn Randomness>,
}

/// One issuer's key set, by way of the shelf.
pub(super) struct SharedSource {
    issuer: String,
    mark: Mark,
    inner: Box<dyn Source>,
    max_stale: Duration,
    clock: Arc<dyn Clock>,
    sharing: Sharing,
}

/// What came of looking and waiting.
enum Turn {
    /// A set that will do.
    Found(Published),
    /// It is ours to fetch.
    Ours,
    /// Others had their time.
    Overdue,
}

impl SharedSource {
    pub(super) fn new(
        keys: &IssuerKeys,
        inner: Box<dyn Source>,
        clock: &Arc<dyn Clock>,
        sharing: &Sharing,
    ) -> Self {
        Self {
            issuer: keys.issuer.url.clone(),
            mark: Mark::key_set(&keys.issuer.url),
            inner,
            max_stale: keys.max_stale,
            clock: Arc::clone(clock),
            sharing: sharing.clone(),
        }
    }
}

#[async_trait]
impl Source for SharedSource {
    async fn fetch(&self, wanted: Wanted) -> Result<Published, Failed> {
        let mut visit = Visit::new(self, wanted);
        let turn = visit.wait_for_turn().await;
        if let Ok(Turn::Found(published)) = turn {
            return Ok(published);
        }
        // Counted from here: a wait doesn't make a set older than it is.
        let outcome = self.inner.fetch(Wanted { now: self.clock.now(), ..wanted }).await;
        let left = match turn {
            Ok(_) => visit.leave(outcome.as_ref().ok()).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = left {
            tracing::warn!(issuer = self.issuer, %failure, "a key set is not shared with other replicas");
        }
        outcome.map_err(|failed| Failed { instead: visit.spare.map(Box::new), ..failed })
    }
}

/// One flight's business with the shelf, which ends with the first failure.
struct Visit<'a> {
    source: &'a SharedSource,
    wanted: Wanted,
    holder: [u8; 16],
    /// Seen on the shelf, and good for nothing but want of a better one.
    spare: Option<Published>,
    /// Whether a stranger's value was told of.
    told: bool,
}

impl<'a> Visit<'a> {
    fn new(source: &'a SharedSource, wanted: Wanted) -> Self {
        let mut holder = [0; 16];
        source.sharing.randomness.fill(&mut holder);
        Self { source, wanted, holder, spare: None, told: false }
    }

    /// Looks, claims and waits, until the flight has a set or should fetch one.
    async fn wait_for_turn(&mut self) -> Result<Turn, StoreFailure> {
        let SharedSource { mark, sharing, .. } = self.source;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.look().await? {
                return Ok(Turn::Found(found));
            }
            match sharing.shelf.claim(*mark, self.holder, HOLD, self.now()).await? {
                Claimed::Ours => break,
                Claimed::Others if Instant::now() >= until => return Ok(Turn::Overdue),
                Claimed::Others => sleep(LOOK_AGAIN).await,
            }
        }
        // Between the look and the claim another may have fetched and gone.
        let Some(found) = self.look().await? else { return Ok(Turn::Ours) };
        // What can't be given back ends by itself.
        let _ = sharing.shelf.release(*mark, self.holder, self.now()).await;
        Ok(Turn::Found(found))
    }

    /// A set on the shelf that will do.
    async fn look(&mut self) -> Result<Option<Published>, StoreFailure> {
        let SharedSource { issuer, mark, sharing, .. } = self.source;
        let Some(sealed) = sharing.shelf.get(*mark, MAX_SEALED + 1, self.now()).await? else {
            return Ok(None);
        };
        match seal::open(&sharing.keyring.load(), issuer, &sealed) {
            Ok(published) => Ok(self.worth_taking(published)),
            Err(cause) => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(issuer, %cause, "what lies in the place of a shared key set is not ours");
                }
                Ok(None)
            }
        }
    }

    fn worth_taking(&mut self, published: Published) -> Option<Published> {
        match self.wanted.worth(&published.fetch) {
            Worth::Enough => return Some(published),
            Worth::Spare => self.spare = Some(published),
            Worth::Nothing => self.spare = None,
        }
        None
    }

    /// Leaves what was fetched, if anything was, and gives the claim back, if this
    /// flight has one: in this order, so that who claims next sees it.
    async fn leave(&self, fetched: Option<&Published>) -> Result<(), StoreFailure> {
        let SharedSource { issuer, mark, sharing, max_stale, .. } = self.source;
        let sealed = fetched.and_then(|set| seal::seal(&sharing.keyring.load(), issuer, set));
        if let Some(sealed) = sealed {
            sharing.shelf.put(*mark, &sealed, *max_stale, self.now()).await?;
        }
        sharing.shelf.release(*mark, self.holder, self.now()).await
    }

    fn now(&self) -> Timestamp {
        self.source.clock.now()
    }
}
