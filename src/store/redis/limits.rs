//! Limits in Redis. In a cluster they lie in several places, and are spent in each
//! at the same time; where one has no room, the others get theirs back.

use std::{cmp::Reverse, time::Duration};

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
        match answer.word.as_str() {
            "within" => Ok(LimitsSpent::Within),
            "beyond" => {
                let (limit, retry_after) = last(&answer.rest)?;
                Ok(LimitsSpent::Beyond { limit, retry_after })
            }
            _ => Err(strange("a limit")),
        }
    }

    /// Spends limits of several places, all or none.
    pub(super) async fn spend_limits_apart(
        &self,
        limits: &[LimitSpend],
        groups: &[(Place, Vec<LimitSpend>)],
        now: Timestamp,
    ) -> Result<LimitsSpent, StoreFailure> {
        let spending =
            groups.iter().map(|(place, limits)| self.spend_limits_at(*place, limits, now));
        let answers = join_all(spending).await;
        let mut last = None;
        let mut failed = None;
        let mut spent = Vec::new();
        for (answer, (place, group)) in answers.into_iter().zip(groups) {
            match answer {
                Ok(LimitsSpent::Within) => spent.extend_from_slice(group),
                Ok(LimitsSpent::Beyond { limit, retry_after }) => {
                    let at = self.position(limits, *place, limit);
                    last = last.max(Some((retry_after, Reverse(at))));
                }
                Err(failure) => failed = Some(failure),
            }
        }
        if last.is_none() && failed.is_none() {
            return Ok(LimitsSpent::Within);
        }
        self.give_back(&spent, now).await;
        match (last, failed) {
            (Some((retry_after, Reverse(limit))), _) => {
                Ok(LimitsSpent::Beyond { limit, retry_after })
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(LimitsSpent::Within),
        }
    }

    /// Where a limit stands among all, that is the `nth` of its place.
    fn position(&self, limits: &[LimitSpend], place: Place, nth: usize) -> usize {
        let places = self.exchange.places();
        let of_place = |at: &usize| {
            limits.get(*at).is_some_and(|limit: &LimitSpend| places.of(&limit.mark) == place)
        };
        (0..limits.len()).filter(of_place).nth(nth).unwrap_or(nth)
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

/// The limit that has room last, and when, as a script tells it.
pub(super) fn last(told: &[Value]) -> Result<(usize, Duration), StoreFailure> {
    let [Value::Int(wait), Value::Int(limit)] = told else { return Err(strange("a limit")) };
    let limit = usize::try_from(*limit).map_err(|_| strange("a limit"))?;
    Ok((limit, Duration::from_micros(u64::try_from(*wait).unwrap_or(0))))
}

fn interval(limit: &LimitSpend) -> u128 {
    limit.rate.interval().min(LONGEST).as_micros()
}

fn keys(places: &Places, place: Place, limits: &[LimitSpend]) -> Vec<String> {
    limits.iter().map(|limit| places.key(place, Kind::Limit, &limit.mark)).collect()
}
