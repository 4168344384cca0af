//! A store so simple that its rightness can be seen: lists that are read from
//! the start, nothing cleared away, no lock, no shortcut. Random calls are
//! played against it and a real store; both must give the same answers.

use std::time::Duration;

use mintage::{
    clock::Timestamp,
    limits::Rate,
    mark::{Mark, Seed},
    ports::{
        LimitSpend, LimitsSpent, Redeemed, Redemption, Revoked, SHORTEST_MARK, SpendMode, Store,
        Use, UsesSpend, UsesSpent,
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use tokio::runtime::Handle;

use super::{Fresh, NOW, seed};

/// Plays random calls; Err tells the shortest play that went wrong.
pub(crate) fn plays(runtime: &Handle, fresh: Fresh) -> Result<(), String> {
    let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec((0_u64..40, call()), 1..80);
    TestRunner::new(config)
        .run(&steps, |steps| {
            let store = runtime.block_on(fresh(STARTED_AT)).unwrap();
            let mut model = Model::default();
            let mut now = NOW;
            for (seconds, call) in steps {
                now = now.plus(Duration::from_secs(seconds));
                let ours = runtime.block_on(call.play(&*store, now));
                prop_assert_eq!(ours, model.play(&call, now), "{:?} at {:?}", call, now);
            }
            Ok(())
        })
        .map_err(|error: TestError<_>| error.to_string())
}

const STARTED_AT: Timestamp = NOW;

#[derive(Clone, Debug)]
enum Call {
    Redeem(Redemption, Vec<LimitSpend>),
    SpendLimits(Vec<LimitSpend>),
    SpendUses(UsesSpend),
    Revoke(Mark, Option<Timestamp>),
}

#[derive(Debug, PartialEq)]
enum Answer {
    Redeemed(Redeemed),
    Limits(LimitsSpent),
    Uses(UsesSpent),
    Revoked(Revoked),
}

impl Call {
    async fn play(&self, store: &dyn Store, now: Timestamp) -> Answer {
        match self {
            Self::Redeem(redemption, limits) => {
                Answer::Redeemed(store.redeem(redemption, limits, now).await.unwrap())
            }
            Self::SpendLimits(limits) => {
                Answer::Limits(store.spend_limits(limits, now).await.unwrap())
            }
            Self::SpendUses(spend) => Answer::Uses(store.spend_uses(spend, now).await.unwrap()),
            Self::Revoke(mark, until) => {
                Answer::Revoked(store.revoke(*mark, *until, now).await.unwrap())
            }
        }
    }
}

// Few names and near ends, so that calls meet.

fn moment() -> impl Strategy<Value = Timestamp> {
    (-100_i64..600).prop_map(|seconds| Timestamp::from_seconds(NOW.seconds() + seconds))
}

fn mint_retry() -> impl Strategy<Value = Option<(Mark, Timestamp)>> {
    prop::option::of((0..3, moment())).prop_map(move |retry| {
        retry.map(|(id, until)| (Mark::mint_retry("web", &i32::to_string(&id), &[0; 32]), until))
    })
}

fn limits() -> impl Strategy<Value = Vec<LimitSpend>> {
    let limit = (0..3_u32).prop_map(|party| LimitSpend {
        mark: Mark::limit("mint", &party.to_string()),
        rate: Rate { burst: party + 1, count: 3 + party, period: Duration::from_secs(100) },
    });
    prop::collection::vec(limit, 0..4)
}

fn redemption() -> impl Strategy<Value = Redemption> {
    let parts = (0..5, moment(), prop::option::of(-3_i64..5), mint_retry(), "[a-c]");
    parts.prop_map(|(jti, until, issued, retry, key_id)| Redemption {
        mark: Mark::redeemed("https://issuer.example", &i32::to_string(&jti)),
        until,
        issued_at: issued.map(|seconds| NOW.seconds() + seconds),
        retry,
        seed: seed(&key_id),
    })
}

fn uses_spend() -> impl Strategy<Value = UsesSpend> {
    let one = (0..4, 0_u32..6, moment());
    let minted_at = prop::option::of(-2_i64..9)
        .prop_map(|millis| millis.map(|ms| Timestamp::from_micros(NOW.micros() + ms * 500)));
    let mode = prop_oneof![3 => Just(SpendMode::Spend), 1 => Just(SpendMode::Look)];
    let retry = prop::option::of((0..3, moment()));
    let parts = (0..3, prop::collection::vec(one, 0..4), minted_at, retry, mode);
    parts.prop_map(|(token, uses, minted_at, retry, mode)| UsesSpend {
        revocation: Mark::revoked("pypi", &i32::to_string(&token)),
        uses: uses
            .into_iter()
            .map(|(nonce, count, until)| {
                let mark = Mark::uses("pypi", &i32::to_string(&token), &i32::to_string(&nonce));
                Use { mark, count, until }
            })
            .collect(),
        minted_at,
        // A call is about one token.
        retry: retry.map(|(id, until)| {
            let (id, token) = (i32::to_string(&id), [u8::try_from(token).unwrap(); 32]);
            (Mark::verify_retry("web", &id, &[0; 32], &token), until)
        }),
        mode,
    })
}

fn call() -> impl Strategy<Value = Call> {
    let revoke = (0..3, prop::option::weighted(0.95, moment())).prop_map(|(token, until)| {
        Call::Revoke(Mark::revoked("pypi", &i32::to_string(&token)), until)
    });
    prop_oneof![
        4 => (redemption(), limits()).prop_map(|(redemption, limits)| Call::Redeem(redemption, limits)),
        2 => limits().prop_map(Call::SpendLimits),
        4 => uses_spend().prop_map(Call::SpendUses),
        1 => revoke,
    ]
}

/// Everything that ever happened, in order.
#[derive(Default)]
struct Model {
    redeemed: Vec<(Redemption, Timestamp)>,
    /// One entry for each use ever spent: the counter and when.
    uses: Vec<(Use, Timestamp)>,
    retries: Vec<(Mark, Timestamp)>,
    revoked: Vec<(Mark, Option<Timestamp>, Timestamp)>,
    /// One entry for each unit ever admitted.
    units: Vec<(LimitSpend, Timestamp)>,
}

/// Whether what was set at `set` with this end counts at `now`.
fn counts(until: Option<Timestamp>, set: Timestamp, now: Timestamp) -> bool {
    match until {
        None => true,
        Some(until) if until > set => now < until,
        Some(_) => now < set.plus(SHORTEST_MARK),
    }
}

impl Model {
    fn play(&mut self, call: &Call, now: Timestamp) -> Answer {
        match call {
            Call::Redeem(redemption, limits) => {
                Answer::Redeemed(self.redeem(redemption, limits, now))
            }
            Call::SpendLimits(limits) => Answer::Limits(match self.spend_limits(limits, now) {
                Ok(()) => LimitsSpent::Within,
                Err((limit, retry_after)) => LimitsSpent::Beyond { limit, retry_after },
            }),
            Call::SpendUses(spend) => Answer::Uses(self.spend_uses(spend, now)),
            Call::Revoke(mark, until) => Answer::Revoked({
                let before = self.is_revoked(*mark, now);
                self.revoked.push((*mark, *until, now));
                if before { Revoked::Before } else { Revoked::Now }
            }),
        }
    }

    fn redeem(
        &mut self,
        redemption: &Redemption,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Redeemed {
        let before = self.redeemed.iter().find(|(before, set)| {
            before.mark == redemption.mark && counts(Some(before.until), *set, now)
        });
        if let Some((before, _)) = before {
            let same_call = before.retry.is_some()
                && before.retry.map(|(mark, _)| mark) == redemption.retry.map(|(mark, _)| mark)
                && before.retry.is_some_and(|(_, until)| now < until);
            return if same_call {
                Redeemed::Again(Seed::clone(&before.seed))
            } else {
                Redeemed::Before
            };
        }
        if redemption.issued_at.is_some_and(|issued| issued < STARTED_AT.seconds()) {
            return Redeemed::Unremembered;
        }
        match self.spend_limits(limits, now) {
            Err((limit, retry_after)) => Redeemed::Limited { limit, retry_after },
            Ok(()) => {
                self.redeemed.push((redemption.clone(), now));
                Redeemed::Now
            }
        }
    }

    fn spend_limits(
        &mut self,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<(), (usize, Duration)> {
        let known = self.units.len();
        let mut waits = Vec::new();
        for limit in limits {
            let missing = self.missing(limit, now);
            if missing.is_zero() {
                self.units.push((*limit, now));
            }
            waits.push(missing);
        }
        let longest = waits.iter().max().copied().unwrap_or_default();
        if longest.is_zero() {
            return Ok(());
        }
        self.units.truncate(known);
        Err((waits.iter().position(|wait| *wait == longest).unwrap(), longest))
    }

    /// How long until this limit's bucket holds a unit: filled and emptied again
    /// from the very first one.
    fn missing(&self, limit: &LimitSpend, now: Timestamp) -> Duration {
        let unit = limit.rate.interval();
        let brim = unit * limit.rate.burst;
        let mut level = brim;
        let mut at = None;
        for (_, spent) in self.units.iter().filter(|(other, _)| other.mark == limit.mark) {
            level = (level + spent.since(at.unwrap_or(*spent))).min(brim) - unit;
            at = Some(*spent);
        }
        level = (level + now.since(at.unwrap_or(now))).min(brim);
        unit.saturating_sub(level)
    }

    fn spend_uses(&mut self, spend: &UsesSpend, now: Timestamp) -> UsesSpent {
        if self.is_revoked(spend.revocation, now) {
            return UsesSpent::Revoked;
        }
        let known = |(mark, _): (Mark, Timestamp)| {
            self.retries.iter().any(|(kept, until)| *kept == mark && now < *until)
        };
        if !spend.uses.is_empty() {
            // A call whose own window has no length never comes again.
            if spend.retry.filter(|(_, until)| *until > now).is_some_and(known) {
                return UsesSpent::Allowed;
            }
            if spend.minted_at.is_some_and(|minted| minted.millis() < STARTED_AT.millis()) {
                return UsesSpent::Unremembered;
            }
        }
        let mut after = self.uses.clone();
        for (caveat, one) in spend.uses.iter().enumerate() {
            if spent(&after, one.mark, now) >= one.count as usize {
                return UsesSpent::Spent { caveat };
            }
            after.push((one.clone(), now));
        }
        if spend.mode == SpendMode::Spend && !spend.uses.is_empty() {
            self.uses = after;
            self.retries.extend(spend.retry);
        }
        UsesSpent::Allowed
    }

    fn is_revoked(&self, mark: Mark, now: Timestamp) -> bool {
        self.revoked.iter().any(|(kept, until, set)| *kept == mark && counts(*until, *set, now))
    }
}

/// How many uses of a counter were spent in its present life: it ends when all
/// that was spent on it has ended, and starts anew.
fn spent(uses: &[(Use, Timestamp)], mark: Mark, now: Timestamp) -> usize {
    let mut life: Vec<&(Use, Timestamp)> = Vec::new();
    let over = |life: &[&(Use, Timestamp)], now| {
        !life.iter().any(|(one, set)| counts(Some(one.until), *set, now))
    };
    for entry in uses.iter().filter(|(one, _)| one.mark == mark) {
        if over(&life, entry.1) {
            life.clear();
        }
        life.push(entry);
    }
    if over(&life, now) { 0 } else { life.len() }
}
