//! The shared store: what any number of replicas agree on lies in Redis.
//!
//! ```text
//! RedisStore   the domain's operations, each one script                 mod.rs, scripts/
//!   Exchange   a request goes to whoever has its keys, within its time  exchange.rs
//!     Owners   which server has which keys                              owners.rs
//!     Lines    the connections of one runtime                           lines.rs
//!       Link   one connection to one server process                     link.rs
//! ```
//!
//! A script decides and writes in one step, and what it writes is kept under names
//! that are hashes ([`place`]). Marks carry their end by the clocks of the replicas;
//! Redis forgets them a minute later. Nothing is sent twice, and what has no answer
//! in time is a failure: the caller hears UNAVAILABLE, whatever came of it.
//!
//! **Lost memory.** Each place's memory names the server process that kept it. Every
//! script is told the process that the link was opened to, and does nothing where
//! these differ: then the memory begins anew, before anything else is done. So a
//! restart, a failover, a FLUSHALL or a moved slot can't be missed, whoever comes
//! first.

mod exchange;
mod limits;
mod lines;
mod link;
mod notices;
mod owners;
mod place;
mod request;
mod seed;
mod server;
mod settings;
mod shelf;
mod slots;

use async_trait::async_trait;
use redis::Value;

pub use settings::{Address, Credentials, Login, RedisSettings, SharedCredentials, Tls, Topology};

use exchange::Exchange;
use limits::{by_place, spent_arguments};
use place::{Kind, Place};
use request::{REDEEM, REVOKE, Request, SPEND_USES};

use super::end_of_mark;
use crate::{
    clock::Timestamp,
    mark::Mark,
    ports::{
        LimitSpend, LimitsSpent, Redeemed, Redemption, Revoked, SpendMode, Store, StoreFailure,
        UsesSpend, UsesSpent,
    },
};

/// The shared store.
pub struct RedisStore {
    exchange: Exchange,
}

impl RedisStore {
    /// A store that hasn't spoken to Redis yet.
    pub fn new(settings: RedisSettings) -> Self {
        Self { exchange: Exchange::new(settings) }
    }

    /// Redeems in one step, with limits that lie in the same place; only looks
    /// where `step` says so.
    async fn redeem_at(
        &self,
        place: Place,
        redemption: &Redemption,
        limits: &[LimitSpend],
        step: Step,
        now: Timestamp,
    ) -> Result<Option<Redeemed>, StoreFailure> {
        let places = self.exchange.places();
        let limit_keys = limits.iter().map(|limit| places.key(place, Kind::Limit, &limit.mark));
        let mut keys =
            vec![places.memory(place), places.key(place, Kind::Redeemed, &redemption.mark)];
        keys.extend(limit_keys);
        let (call, again) = match &redemption.retry {
            Some((mark, until)) => (place::text(mark), micros(*until)),
            None => (String::new(), "0".to_owned()),
        };
        let mut arguments = vec![
            micros(now),
            micros(end_of_mark(redemption.until, now)),
            redemption.issued_at.map(|second| second.to_string()).unwrap_or_default(),
            call,
            again,
            seed::write(&redemption.seed),
            step.word().to_owned(),
        ];
        arguments.extend(spent_arguments(limits));
        let lasting = step == Step::Set;
        let request = Request::Run { script: &REDEEM, keys, arguments, lasting };
        let answer = Answer::of(self.exchange.send(place, &request, now).await?)?;
        Ok(Some(match (answer.word.as_str(), answer.rest.as_slice()) {
            ("free", _) => return Ok(None),
            ("now", _) => Redeemed::Now,
            ("again", [Value::BulkString(kept)]) => {
                Redeemed::Again(seed::read(kept).ok_or_else(|| strange("a seed"))?)
            }
            ("before", _) => Redeemed::Before,
            ("unremembered", _) => Redeemed::Unremembered,
            ("limited", last) => {
                let (limit, retry_after) = limits::last(last)?;
                Redeemed::Limited { limit, retry_after }
            }
            _ => return Err(strange("a redeeming")),
        }))
    }

    /// In a cluster, where the limits lie elsewhere: look, spend the limits, and
    /// redeem last. What was spent for nothing is given back.
    async fn redeem_in_steps(
        &self,
        redemption: &Redemption,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<Redeemed, StoreFailure> {
        let place = self.exchange.places().of(&redemption.mark);
        let (seen, spent) = tokio::join!(
            self.redeem_at(place, redemption, &[], Step::Look, now),
            self.spend_limits(limits, now)
        );
        let redeemed = match (seen, spent?) {
            (Ok(Some(known)), LimitsSpent::Beyond { .. }) => return Ok(known),
            (Ok(None), LimitsSpent::Beyond { limit, retry_after }) => {
                return Ok(Redeemed::Limited { limit, retry_after });
            }
            (Err(failure), LimitsSpent::Beyond { .. }) => return Err(failure),
            (Ok(None), LimitsSpent::Within) => self
                .redeem_at(place, redemption, &[], Step::Set, now)
                .await
                .and_then(|redeemed| redeemed.ok_or_else(|| strange("a redeeming"))),
            (Ok(Some(known)), LimitsSpent::Within) => Ok(known),
            (Err(failure), LimitsSpent::Within) => Err(failure),
        };
        if redeemed != Ok(Redeemed::Now) {
            self.give_back(limits, now).await;
        }
        // A retry that was only looked at must last like any other answer.
        match redeemed? {
            Redeemed::Again(_) if self.exchange.waits() => self
                .redeem_at(place, redemption, &[], Step::Set, now)
                .await?
                .ok_or_else(|| strange("a redeeming")),
            other => Ok(other),
        }
    }

    /// Whether the token was revoked, where nothing has to be spent.
    async fn look_for_revocation(
        &self,
        place: Place,
        revocation: &Mark,
        now: Timestamp,
    ) -> Result<UsesSpent, StoreFailure> {
        let key = self.exchange.places().key(place, Kind::Revoked, revocation);
        match self.exchange.send(place, &Request::Get(key), now).await? {
            Value::Nil => Ok(UsesSpent::Allowed),
            Value::BulkString(until) if until == b"-" => Ok(UsesSpent::Revoked),
            Value::BulkString(until) => {
                let until = str::from_utf8(&until).ok().and_then(|until| until.parse().ok());
                let until = until.ok_or_else(|| strange("a revocation"))?;
                let counts = now < Timestamp::from_micros(until);
                Ok(if counts { UsesSpent::Revoked } else { UsesSpent::Allowed })
            }
            _ => Err(strange("a revocation")),
        }
    }
}

/// How far a redeeming goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Only to the mark.
    Look,
    /// All the way.
    Set,
}

impl Step {
    const fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Set => "set",
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn redeem(
        &self,
        redemption: &Redemption,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<Redeemed, StoreFailure> {
        let places = self.exchange.places();
        let place = places.of(&redemption.mark);
        if limits.iter().any(|limit| places.of(&limit.mark) != place) {
            return self.redeem_in_steps(redemption, limits, now).await;
        }
        let redeemed = self.redeem_at(place, redemption, limits, Step::Set, now).await?;
        redeemed.ok_or_else(|| strange("a redeeming"))
    }

    async fn spend_limits(
        &self,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<LimitsSpent, StoreFailure> {
        let groups = by_place(self.exchange.places(), limits);
        match groups.as_slice() {
            [] => Ok(LimitsSpent::Within),
            [(place, limits)] => self.spend_limits_at(*place, limits, now).await,
            _ => self.spend_limits_apart(limits, &groups, now).await,
        }
    }

    async fn spend_uses(
        &self,
        spend: &UsesSpend,
        now: Timestamp,
    ) -> Result<UsesSpent, StoreFailure> {
        let places = self.exchange.places();
        // All of one token lies together.
        let place = places.of(&spend.revocation);
        if spend.uses.is_empty() {
            return self.look_for_revocation(place, &spend.revocation, now).await;
        }
        let retry = spend.retry.filter(|(_, until)| *until > now);
        let revoked = places.key(place, Kind::Revoked, &spend.revocation);
        let (call, again) = match retry {
            Some((mark, until)) => (places.key(place, Kind::Call, &mark), micros(until)),
            None => (revoked.clone(), String::new()),
        };
        let mut keys = vec![places.memory(place), revoked, call];
        keys.extend(spend.uses.iter().map(|one| places.key(place, Kind::Uses, &one.mark)));
        let mode = match spend.mode {
            SpendMode::Spend => "spend",
            SpendMode::Look => "look",
        };
        let minted = spend.minted_at.map(|minted| minted.millis().to_string());
        let mut arguments = vec![micros(now), mode.to_owned(), minted.unwrap_or_default(), again];
        for one in &spend.uses {
            arguments.push(one.count.to_string());
            arguments.push(micros(end_of_mark(one.until, now)));
        }
        let lasting = spend.mode == SpendMode::Spend;
        let request = Request::Run { script: &SPEND_USES, keys, arguments, lasting };
        let answer = Answer::of(self.exchange.send(place, &request, now).await?)?;
        match (answer.word.as_str(), answer.rest.as_slice()) {
            ("allowed", _) => Ok(UsesSpent::Allowed),
            ("revoked", _) => Ok(UsesSpent::Revoked),
            ("unremembered", _) => Ok(UsesSpent::Unremembered),
            ("spent", [Value::Int(caveat)]) => {
                let caveat = usize::try_from(*caveat).map_err(|_| strange("a use"))?;
                Ok(UsesSpent::Spent { caveat })
            }
            _ => Err(strange("a use")),
        }
    }

    async fn revoke(
        &self,
        revocation: Mark,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Revoked, StoreFailure> {
        let places = self.exchange.places();
        let place = places.of(&revocation);
        let keys = vec![places.memory(place), places.key(place, Kind::Revoked, &revocation)];
        let until = until.map_or_else(|| "-".to_owned(), |until| micros(end_of_mark(until, now)));
        let arguments = vec![micros(now), until];
        let request = Request::Run { script: &REVOKE, keys, arguments, lasting: true };
        let answer = Answer::of(self.exchange.send(place, &request, now).await?)?;
        match answer.word.as_str() {
            "now" => Ok(Revoked::Now),
            "before" => Ok(Revoked::Before),
            _ => Err(strange("a revocation")),
        }
    }

    async fn probe(&self, now: Timestamp) -> Result<(), StoreFailure> {
        self.exchange.probe(now).await
    }
}

/// A script's answer: a word, and what belongs to it.
struct Answer {
    word: String,
    rest: Vec<Value>,
}

impl Answer {
    fn of(value: Value) -> Result<Self, StoreFailure> {
        let Value::Array(parts) = value else { return Err(strange("a script")) };
        let mut parts = parts.into_iter();
        match parts.next() {
            Some(Value::BulkString(word)) => {
                let word = String::from_utf8(word).map_err(|_| strange("a script"))?;
                Ok(Self { word, rest: parts.collect() })
            }
            _ => Err(strange("a script")),
        }
    }
}

/// An answer that no script of ours gives.
fn strange(of: &str) -> StoreFailure {
    exchange::failure(format!("Redis's answer is not that of {of}"))
}

/// A moment as the scripts read it. Lua's numbers are exact up to 2^53; a later
/// moment, beyond the year 2255, is taken for that one.
fn micros(moment: Timestamp) -> String {
    const LATEST: i64 = (1 << 53) - 1;
    moment.micros().clamp(0, LATEST).to_string()
}
