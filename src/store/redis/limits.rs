//! Limits in Redis. In a cluster they lie in several places, and are spent in each
//! at the same time; where one has no room, the others get theirs back.

use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;

use super::{
    Answer, RedisStore, micros,
    place::{Kind, Place, Places},
    request::{GIVE_BACK, Request, SPEND_LIMITS},
    strange,
};
use crate::{
    clock::Timestamp,
    ports::{LimitSpend, LimitsSpent, StoreFailure},
};

/// Longer than any refill that is meant: Lua's numbers stay exact when it is added
/// to a moment. 142 years.
const LONGEST: Duration = Duration::from_micros(1 << 52);

impl RedisStore {
    /// Spends limits of one place.
    pub(super) async fn spend_limits_at(
        &self,
        place: Place,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<LimitsSpent, StoreFailure> {
        let keys = keys(self.exchange.places(), place, limits);
        let mut arguments = vec![micros(now)];
        arguments.extend(spent_arguments(limits));
        let request = Request::Run { script: &SPEND_LIMITS, keys, arguments, lasting: false };
        let answer = Answer::of(self.exchange.send(place, &request, now).await?)?;
        match (answer.word.as_str(), answer.rest) {
            ("within", _) => Ok(LimitsSpent::Within),
            ("beyond", Some(Value::Int(until))) => {
                Ok(LimitsSpent::Beyond { retry_after: wait(until) })
            }
            _ => Err(strange("a limit")),
        }
    }

    /// Spends limits of several places, all or none.
    pub(super) async fn spend_limits_apart(
        &self,
        groups: &[(Place, Vec<LimitSpend>)],
        now: Timestamp,
    ) -> Result<LimitsSpent, StoreFailure> {
        let spending =
            groups.iter().map(|(place, limits)| self.spend_limits_at(*place, limits, now));
        let answers = join_all(spending).await;
        let mut longest = None;
        let mut failed = None;
        let mut spent = Vec::new();
        for (answer, (_, limits)) in answers.into_iter().zip(groups) {
            match answer {
                Ok(LimitsSpent::Within) => spent.extend_from_slice(limits),
                Ok(LimitsSpent::Beyond { retry_after }) => longest = longest.max(Some(retry_after)),
                Err(failure) => failed = Some(failure),
            }
        }
        if longest.is_none() && failed.is_none() {
            return Ok(LimitsSpent::Within);
        }
        self.give_back(&spent, now).await;
        match (longest, failed) {
            (Some(retry_after), _) => Ok(LimitsSpent::Beyond { retry_after }),
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(LimitsSpent::Within),
        }
    }

    /// Gives back what was spent for nothing. Where that fails, a limit is a unit
    /// poorer for a moment, and nobody is told.
    pub(super) async fn give_back(&self, limits: &[LimitSpend], now: Timestamp) {
        let groups = by_place(self.exchange.places(), limits);
        let requests: Vec<_> = groups
            .iter()
            .map(|(place, limits)| {
                let keys = keys(self.exchange.places(), *place, limits);
                let mut arguments = vec![micros(now)];
                arguments.extend(limits.iter().map(|limit| interval(limit).to_string()));
                let script = &GIVE_BACK;
                (*place, Request::Run { script, keys, arguments, lasting: false })
            })
            .collect();
        let giving =
            requests.iter().map(|(place, request)| self.exchange.send(*place, request, now));
        join_all(giving).await;
    }
}

/// The limits by place, in their order.
pub(super) fn by_place(places: &Places, limits: &[LimitSpend]) -> Vec<(Place, Vec<LimitSpend>)> {
    let mut groups: Vec<(Place, Vec<LimitSpend>)> = Vec::new();
    for limit in limits {
        let place = places.of(&limit.mark);
        match groups.iter_mut().find(|(other, _)| *other == place) {
            Some((_, group)) => group.push(*limit),
            None => groups.push((place, vec![*limit])),
        }
    }
    groups
}

/// What the scripts are told of each limit: its interval and its refill.
pub(super) fn spent_arguments(limits: &[LimitSpend]) -> impl Iterator<Item = String> {
    limits.iter().flat_map(|limit| {
        let refill = limit.rate.refill().min(LONGEST).as_micros();
        [interval(limit).to_string(), refill.to_string()]
    })
}

/// A wait as a script tells it.
pub(super) fn wait(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn interval(limit: &LimitSpend) -> u128 {
    limit.rate.interval().min(LONGEST).as_micros()
}

fn keys(places: &Places, place: Place, limits: &[LimitSpend]) -> Vec<String> {
    limits.iter().map(|limit| places.key(place, Kind::Limit, &limit.mark)).collect()
}
