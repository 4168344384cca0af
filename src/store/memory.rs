//! The embedded store: everything in this process's memory, for one replica.
//!
//! It remembers from the moment it was made, which is why it is told that
//! moment: what was issued before may have been used before. Should a clock be
//! put back, the same goes for what ends no later than a mark that has been
//! cleared away.
//!
//! It is bounded by kind, so that none crowds out another. Full of marks that
//! still count, it refuses rather than forgets one; full of limits, it admits
//! without remembering, since a limit forgotten admits a few too many, while a
//! limit refused would lock everybody out.

mod expiring;
mod shards;

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use self::{
    expiring::{End, Expiring, Full},
    shards::{Locked, Shards},
};
use super::{LONGEST_WAIT, end_of_mark};
use crate::{
    clock::Timestamp,
    limits::{self, Decision},
    mark::{Mark, Seed},
    ports::{
        LimitSpend, LimitsSpent, Redeemed, Redemption, Revoked, SpendMode, Store, StoreFailure,
        Use, UsesSpend, UsesSpent,
    },
};

/// The most parts the state is cut into: more than processors that would meet.
const MOST_SHARDS: usize = 16;

/// A part for fewer entries isn't worth a lock of its own.
const ENTRIES_PER_SHARD: usize = 4_096;

/// The embedded store. One replica only: another would not see its marks.
pub struct MemoryStore {
    /// From here on it remembers everything.
    started_at: Timestamp,
    shards: Shards<Shard>,
}

/// One part of the state, behind one lock.
struct Shard {
    redeemed: Expiring<Redeeming>,
    uses: Expiring<u32>,
    /// Calls that may come again without spending uses.
    retries: Expiring<()>,
    revoked: Expiring<()>,
    /// A limiter's theoretical arrival time. Its entry ends with it or, after a
    /// clock was put back, later.
    limits: Expiring<Timestamp>,
}

/// What is kept of the call that redeemed an ID token.
struct Redeeming {
    retry: Option<(Mark, Timestamp)>,
    seed: Seed,
}

impl MemoryStore {
    /// A store that remembers from `started_at` on, and at most `max_entries`
    /// of each kind: redeemed ID tokens, counters of uses, repeatable calls,
    /// revocations, limits. One entry takes about 300 bytes.
    ///
    /// A large store is cut into parts, each with its share of `max_entries`;
    /// marks spread evenly, so the first part is full a little before the rest.
    pub fn new(started_at: Timestamp, max_entries: usize) -> Self {
        let parts = (max_entries / ENTRIES_PER_SHARD).clamp(1, MOST_SHARDS);
        let most = max_entries.div_ceil(parts);
        let shards = Shards::new(parts, || Shard {
            redeemed: Expiring::new(most),
            uses: Expiring::new(most),
            retries: Expiring::new(most),
            revoked: Expiring::new(most),
            limits: Expiring::new(most),
        });
        Self { started_at, shards }
    }
}

// Nothing here waits: each operation is one critical section.
#[async_trait]
impl Store for MemoryStore {
    async fn redeem(
        &self,
        redemption: &Redemption,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<Redeemed, StoreFailure> {
        let mark = &redemption.mark;
        let mut locked = self.shards.lock(limits.iter().map(|limit| &limit.mark).chain([mark]));
        if let Some((before, _)) = locked.part(mark).redeemed.live(mark, now) {
            return Ok(before.answer(redemption, now));
        }
        let end = End::At(end_of_mark(redemption.until, now));
        let remembers = |second| {
            second >= self.started_at.seconds() && locked.part(mark).redeemed.remembers(end)
        };
        if !redemption.issued_at.is_none_or(remembers) {
            return Ok(Redeemed::Unremembered);
        }
        let arrivals = match arrivals(&mut locked, limits, now) {
            Ok(arrivals) => arrivals,
            Err((limit, retry_after)) => return Ok(Redeemed::Limited { limit, retry_after }),
        };
        let redeemed = &mut locked.part(mark).redeemed;
        redeemed.make_room(1, now).map_err(|full| failure(&full, now))?;
        let redeeming = Redeeming { retry: redemption.retry, seed: redemption.seed.clone() };
        redeemed.set(*mark, redeeming, end, now);
        remember(&mut locked, arrivals, now);
        Ok(Redeemed::Now)
    }

    async fn spend_limits(
        &self,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<LimitsSpent, StoreFailure> {
        let mut locked = self.shards.lock(limits.iter().map(|limit| &limit.mark));
        match arrivals(&mut locked, limits, now) {
            Ok(arrivals) => {
                remember(&mut locked, arrivals, now);
                Ok(LimitsSpent::Within)
            }
            Err((limit, retry_after)) => Ok(LimitsSpent::Beyond { limit, retry_after }),
        }
    }

    async fn spend_uses(
        &self,
        spend: &UsesSpend,
        now: Timestamp,
    ) -> Result<UsesSpent, StoreFailure> {
        let retry = spend.retry.filter(|(_, until)| *until > now);
        let counters = spend.uses.iter().map(|one| &one.mark);
        let others = retry.iter().map(|(mark, _)| mark).chain([&spend.revocation]);
        let mut locked = self.shards.lock(counters.chain(others));

        if locked.part(&spend.revocation).revoked.live(&spend.revocation, now).is_some() {
            return Ok(UsesSpent::Revoked);
        }
        if spend.uses.is_empty() {
            return Ok(UsesSpent::Allowed);
        }
        if retry.is_some_and(|(mark, _)| locked.part(&mark).retries.live(&mark, now).is_some()) {
            return Ok(UsesSpent::Allowed);
        }
        if spend.minted_at.is_some_and(|minted| minted.millis() < self.started_at.millis()) {
            return Ok(UsesSpent::Unremembered);
        }
        let counts = match counts(&mut locked, &spend.uses, now) {
            Ok(counts) => counts,
            Err(spent) => return Ok(spent),
        };
        match spend.mode {
            SpendMode::Look => {}
            SpendMode::Spend => {
                keep_uses(&mut locked, counts, retry, now).map_err(|full| failure(&full, now))?;
            }
        }
        Ok(UsesSpent::Allowed)
    }

    async fn revoke(
        &self,
        revocation: Mark,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Revoked, StoreFailure> {
        let mut locked = self.shards.lock([&revocation].into_iter());
        let revoked = &mut locked.part(&revocation).revoked;
        let before = revoked.live(&revocation, now).is_some();
        if !before {
            revoked.make_room(1, now).map_err(|full| failure(&full, now))?;
        }
        revoked.set(revocation, (), end(until, now), now);
        Ok(if before { Revoked::Before } else { Revoked::Now })
    }

    async fn probe(&self, _now: Timestamp) -> Result<(), StoreFailure> {
        Ok(())
    }
}

impl Redeeming {
    /// What a later call hears.
    fn answer(&self, redemption: &Redemption, now: Timestamp) -> Redeemed {
        let repeated = match (self.retry, redemption.retry) {
            (Some((first, until)), Some((again, _))) => first == again && now < until,
            (None, _) | (_, None) => false,
        };
        if repeated { Redeemed::Again(self.seed.clone()) } else { Redeemed::Before }
    }
}

/// The arrival times to be kept if all limits have room; else which one has none for
/// longest, and for how long. A limit named twice spends two units.
fn arrivals(
    locked: &mut Locked<'_, Shard>,
    limits: &[LimitSpend],
    now: Timestamp,
) -> Result<Vec<(Mark, Timestamp)>, (usize, Duration)> {
    let mut kept: Vec<(Mark, Timestamp)> = Vec::with_capacity(limits.len());
    let mut last: Option<(usize, Duration)> = None;
    for (at, limit) in limits.iter().enumerate() {
        let pending = kept.iter().rev().find(|(mark, _)| *mark == limit.mark);
        let arrival = match pending {
            Some((_, arrival)) => Some(*arrival),
            None => {
                let limits = &locked.part(&limit.mark).limits;
                limits.live(&limit.mark, now).map(|(arrival, _)| *arrival)
            }
        };
        match limits::spend(limit.rate, arrival, now) {
            Decision::Admitted { arrival } => kept.push((limit.mark, arrival)),
            Decision::Refused { retry_after } => {
                if last.is_none_or(|(_, longest)| retry_after > longest) {
                    last = Some((at, retry_after));
                }
            }
        }
    }
    last.map_or(Ok(kept), Err)
}

/// Keeps the arrival times, as far as there is room for them.
fn remember(locked: &mut Locked<'_, Shard>, arrivals: Vec<(Mark, Timestamp)>, now: Timestamp) {
    for (mark, arrival) in arrivals {
        let limits = &mut locked.part(&mark).limits;
        if limits.live(&mark, now).is_some() || limits.make_room(1, now).is_ok() {
            limits.set(mark, arrival, End::At(arrival), now);
        }
    }
}

/// A counter as it would be after the call.
struct Count {
    spent: u32,
    end: End,
    new: bool,
}

/// The counters after every use was spent, or why not: the first caveat without
/// one decides. A nonce that stands in two caveats spends one for each.
fn counts(
    locked: &mut Locked<'_, Shard>,
    uses: &[Use],
    now: Timestamp,
) -> Result<HashMap<Mark, Count>, UsesSpent> {
    let mut counts = HashMap::with_capacity(uses.len());
    for (caveat, one) in uses.iter().enumerate() {
        let table = &locked.part(&one.mark).uses;
        let until = end(Some(one.until), now);
        let count = counts.entry(one.mark).or_insert_with(|| match table.live(&one.mark, now) {
            Some((spent, end)) => Count { spent: *spent, end, new: false },
            None => Count { spent: 0, end: until, new: true },
        });
        if count.new && !table.remembers(until) {
            return Err(UsesSpent::Unremembered);
        }
        if count.spent >= one.count {
            return Err(UsesSpent::Spent { caveat });
        }
        count.spent = count.spent.saturating_add(1);
        count.end = count.end.max(until);
    }
    Ok(counts)
}

/// Keeps the counters and the mark under which the call may come again: all or,
/// where there is no room, none.
fn keep_uses(
    locked: &mut Locked<'_, Shard>,
    counts: HashMap<Mark, Count>,
    retry: Option<(Mark, Timestamp)>,
    now: Timestamp,
) -> Result<(), Full> {
    // As if all new ones lay in the same part: it may refuse a little early.
    let new = counts.values().filter(|count| count.new).count();
    for (mark, _) in counts.iter().filter(|(_, count)| count.new) {
        locked.part(mark).uses.make_room(new, now)?;
    }
    if let Some((mark, until)) = retry {
        let retries = &mut locked.part(&mark).retries;
        retries.make_room(1, now)?;
        retries.set(mark, (), End::At(until), now);
    }
    for (mark, count) in counts {
        locked.part(&mark).uses.set(mark, count.spent, count.end, now);
    }
    Ok(())
}

fn end(until: Option<Timestamp>, now: Timestamp) -> End {
    until.map_or(End::Never, |until| End::At(end_of_mark(until, now)))
}

fn failure(full: &Full, now: Timestamp) -> StoreFailure {
    let wait = full.until.map_or(LONGEST_WAIT, |until| until.since(now).min(LONGEST_WAIT));
    StoreFailure { cause: "it is full of marks that still count".to_owned(), retry_after: wait }
}
