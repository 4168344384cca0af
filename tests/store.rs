//! What every store must do: one suite, run over each of them.
//!
//! A rule is a function over a fresh store; [`suite!`] makes a test of each.
//! To add a store, add one line below the macro. What only one store promises
//! (that it is bounded) stands at the end, what only Redis can do wrong in
//! `store/on_redis.rs`. `store/model.rs` holds a store so
//! simple that its rightness can be seen, and plays random calls against both.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

#[path = "store/gcra.rs"]
mod gcra;
#[path = "store/model.rs"]
mod model;
#[path = "store/on_redis.rs"]
mod on_redis;
#[path = "store/redis.rs"]
mod redis;
#[path = "support/mod.rs"]
mod support;
#[path = "store/topologies.rs"]
mod topologies;

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt as _};
use mintage::{
    clock::Timestamp,
    limits::Rate,
    mark::{Mark, Seed},
    ports::{
        LimitSpend, LimitsSpent, Redeemed, Redemption, Revoked, SHORTEST_MARK, SpendMode, Store,
        Use, UsesSpend, UsesSpent,
    },
    store::MemoryStore,
};
use support::redis::Kind;

/// Makes a store that remembers everything from the given moment on. None, and
/// said loudly, where this machine hasn't what it takes.
type Fresh = fn(started_at: Timestamp) -> BoxFuture<'static, Option<Arc<dyn Store>>>;

/// Hands the names of all rules to a macro, after what else it is given.
macro_rules! every_rule {
    ($then:ident, $($given:tt)*) => {
        $then! { $($given)*
            an_id_token_is_redeemed_once
            the_same_call_hears_the_same_seed_inside_its_window
            a_call_without_a_retry_mark_is_never_the_same_call
            a_redeemed_mark_counts_until_its_end_and_not_at_it
            an_end_that_has_passed_still_makes_a_mark_that_counts
            an_id_token_issued_before_the_memory_begins_is_unremembered
            a_spent_limit_redeems_nothing_and_spends_no_other_limit
            a_repeated_redeeming_spends_no_limit
            limits_come_back_at_the_very_moment_that_was_told
            a_limit_named_twice_spends_two_units
            sixty_four_redeemings_at_once_have_one_winner
            sixty_four_redeemings_never_exceed_a_limit
            uses_are_counted_down
            uses_of_several_caveats_are_spent_all_or_none
            the_same_nonce_twice_spends_two_uses
            a_count_of_zero_is_spent_from_the_start
            looking_answers_as_spending_would_and_spends_nothing
            the_same_call_spends_once_inside_its_window
            a_token_without_uses_leaves_nothing_behind
            uses_of_a_token_older_than_the_memory_are_unremembered
            a_counter_counts_until_its_end_and_not_at_it
            a_counter_lives_as_long_as_its_longest_use
            sixty_four_spendings_at_once_spend_what_there_is
            sixty_four_times_the_same_call_spends_one_use
            a_revoked_token_is_revoked_before_anything_else
            a_revocation_counts_until_its_end_and_not_at_it
            a_repeated_revocation_only_lengthens
            a_revocation_for_good_never_ends
            a_store_does_as_the_model_does
        }
    };
}

/// A module with a test of each rule.
macro_rules! suite {
    ($store:ident, $fresh:expr) => {
        every_rule! { tests, $store, $fresh; }
    };
}

macro_rules! tests {
    ($store:ident, $fresh:expr; $($rule:ident)*) => {
        mod $store {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $rule() {
                    let fresh: Fresh = $fresh;
                    // Where there is no such server, that was said loudly.
                    if fresh(LONG_AGO).await.is_some() {
                        super::$rule(fresh).await;
                    }
                }
            )*
        }
    };
}

#[path = "store/in_docker.rs"]
mod in_docker;

suite!(in_memory, |started_at| {
    async move { Some(Arc::new(MemoryStore::new(started_at, 100_000)) as Arc<dyn Store>) }.boxed()
});
suite!(over_redis, |started_at| redis::fresh(Kind::Redis, started_at).boxed());
suite!(over_redis_8, |started_at| redis::fresh(Kind::Redis8, started_at).boxed());
suite!(over_valkey, |started_at| redis::fresh(Kind::Valkey, started_at).boxed());
suite!(over_a_cluster, |started_at| topologies::in_a_cluster(started_at).boxed());
suite!(behind_sentinels, |started_at| topologies::behind_sentinels(started_at).boxed());
suite!(over_the_given_server, |started_at| redis::fresh(Kind::Given, started_at).boxed());

/// The present of these tests: so far ahead that no server's own clock ends a
/// mark before the test does.
const NOW: Timestamp = Timestamp::from_seconds(4_000_000_000);
const LONG_AGO: Timestamp = Timestamp::from_seconds(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const TICK: Duration = Duration::from_micros(1);

fn seed(key_id: &str) -> Seed {
    Seed { minted_at: NOW, uuid_bits: [1; 10], nonce_bits: [2; 16], key_id: key_id.to_owned() }
}

/// A redeeming of the ID token with this `jti`, marked for an hour.
fn redemption(jti: &str) -> Redemption {
    Redemption {
        mark: Mark::redeemed("https://issuer.example", jti),
        until: NOW.plus(HOUR),
        issued_at: Some(NOW.seconds()),
        retry: None,
        seed: seed("first"),
    }
}

/// The same by a call that may come again for a minute.
fn repeatable(jti: &str, request_id: &str, key_id: &str) -> Redemption {
    let mark = Mark::mint_retry("web", request_id, &[0; 32]);
    Redemption { retry: Some((mark, NOW.plus(MINUTE))), seed: seed(key_id), ..redemption(jti) }
}

/// One unit of a limit of so many at once and one a second.
fn limit(party: &str, burst: u32) -> LimitSpend {
    let rate = Rate { burst, count: 1, period: Duration::from_secs(1) };
    LimitSpend { mark: Mark::limit("mint", party), rate }
}

fn one_use(nonce: &str, count: u32) -> Use {
    Use { mark: Mark::uses("pypi", "token", nonce), count, until: NOW.plus(HOUR) }
}

fn spend(uses: &[Use]) -> UsesSpend {
    UsesSpend {
        revocation: revocation(),
        uses: uses.to_vec(),
        minted_at: Some(NOW),
        retry: None,
        mode: SpendMode::Spend,
    }
}

fn spend_as(request_id: &str, uses: &[Use]) -> UsesSpend {
    let mark = Mark::verify_retry("web", request_id, &[0; 32], &[0; 32]);
    UsesSpend { retry: Some((mark, NOW.plus(MINUTE))), ..spend(uses) }
}

fn look(uses: &[Use]) -> UsesSpend {
    UsesSpend { mode: SpendMode::Look, ..spend(uses) }
}

fn revocation() -> Mark {
    Mark::revoked("pypi", "token")
}

/// Calls a store and takes its answer for granted.
struct Calls(Arc<dyn Store>);

impl Calls {
    async fn fresh(fresh: Fresh) -> Self {
        Self::since(fresh, LONG_AGO).await
    }

    async fn since(fresh: Fresh, started_at: Timestamp) -> Self {
        Self(fresh(started_at).await.unwrap())
    }

    async fn redeem(&self, redemption: &Redemption, now: Timestamp) -> Redeemed {
        self.0.redeem(redemption, &[], now).await.unwrap()
    }

    async fn redeem_within(
        &self,
        redemption: &Redemption,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Redeemed {
        self.0.redeem(redemption, limits, now).await.unwrap()
    }

    async fn spend_limits(&self, limits: &[LimitSpend], now: Timestamp) -> LimitsSpent {
        self.0.spend_limits(limits, now).await.unwrap()
    }

    async fn spend_uses(&self, spend: &UsesSpend, now: Timestamp) -> UsesSpent {
        self.0.spend_uses(spend, now).await.unwrap()
    }

    async fn revoke(&self, until: Option<Timestamp>, now: Timestamp) -> Revoked {
        self.0.revoke(revocation(), until, now).await.unwrap()
    }
}

/// Runs the call 64 times at once.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    call: impl Fn(usize) -> F,
) -> Vec<T> {
    let tasks: Vec<_> = (0..64).map(|n| tokio::spawn(call(n))).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

// Redeeming.

async fn an_id_token_is_redeemed_once(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    assert_eq!(store.redeem(&redemption("a"), NOW).await, Redeemed::Now);
    assert_eq!(store.redeem(&redemption("a"), NOW).await, Redeemed::Before);
    assert_eq!(store.redeem(&redemption("b"), NOW).await, Redeemed::Now);
}

async fn the_same_call_hears_the_same_seed_inside_its_window(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    assert_eq!(store.redeem(&repeatable("a", "call", "first"), NOW).await, Redeemed::Now);
    let again = repeatable("a", "call", "second");
    let last = NOW.plus(MINUTE).minus(TICK);
    for now in [NOW, last] {
        assert_eq!(store.redeem(&again, now).await, Redeemed::Again(seed("first")));
    }
    assert_eq!(store.redeem(&again, NOW.plus(MINUTE)).await, Redeemed::Before);
    let other = repeatable("a", "other call", "second");
    assert_eq!(store.redeem(&other, NOW).await, Redeemed::Before);
}

async fn a_call_without_a_retry_mark_is_never_the_same_call(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    store.redeem(&redemption("a"), NOW).await;
    assert_eq!(store.redeem(&repeatable("a", "call", "x"), NOW).await, Redeemed::Before);
    store.redeem(&repeatable("b", "call", "x"), NOW).await;
    assert_eq!(store.redeem(&redemption("b"), NOW).await, Redeemed::Before);
}

async fn a_redeemed_mark_counts_until_its_end_and_not_at_it(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    store.redeem(&redemption("a"), NOW).await;
    let end = NOW.plus(HOUR);
    assert_eq!(store.redeem(&redemption("a"), end.minus(TICK)).await, Redeemed::Before);
    assert_eq!(store.redeem(&redemption("a"), end).await, Redeemed::Now);
}

async fn an_end_that_has_passed_still_makes_a_mark_that_counts(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let last = NOW.plus(SHORTEST_MARK).minus(TICK);
    for (name, until) in
        [("zero", Timestamp::from_seconds(0)), ("past", NOW.minus(HOUR)), ("now", NOW)]
    {
        let late = Redemption { until, ..redemption(name) };
        assert_eq!(store.redeem(&late, NOW).await, Redeemed::Now, "{name}");
        assert_eq!(store.redeem(&late, last).await, Redeemed::Before, "{name}");

        let uses = [Use { until, ..one_use(name, 1) }];
        assert_eq!(store.spend_uses(&spend(&uses), NOW).await, UsesSpent::Allowed, "{name}");
        let after = store.spend_uses(&spend(&uses), last).await;
        assert_eq!(after, UsesSpent::Spent { caveat: 0 }, "{name}");
    }
    assert_eq!(store.revoke(Some(NOW.minus(HOUR)), NOW).await, Revoked::Now);
    assert_eq!(store.spend_uses(&spend(&[]), last).await, UsesSpent::Revoked);
}

async fn an_id_token_issued_before_the_memory_begins_is_unremembered(fresh: Fresh) {
    let store = Calls::since(fresh, NOW.plus(Duration::from_millis(700))).await;
    let second = NOW.seconds();
    let issued = |jti, issued_at| Redemption { issued_at, ..redemption(jti) };
    for (jti, issued_at, answer) in [
        ("the second before", Some(second - 1), Redeemed::Unremembered),
        ("the same second", Some(second), Redeemed::Now),
        ("the second after", Some(second + 1), Redeemed::Now),
        ("not held against it", None, Redeemed::Now),
    ] {
        assert_eq!(store.redeem(&issued(jti, issued_at), NOW.plus(MINUTE)).await, answer, "{jti}");
    }
    let late = issued("the same second", Some(second - 1));
    assert_eq!(store.redeem(&late, NOW.plus(MINUTE)).await, Redeemed::Before);
}

async fn a_spent_limit_redeems_nothing_and_spends_no_other_limit(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let narrow = limit("narrow", 1);
    let wide = limit("wide", 2);
    assert_eq!(store.spend_limits(&[narrow], NOW).await, LimitsSpent::Within);
    let limited = Redeemed::Limited { limit: 1, retry_after: Duration::from_secs(1) };
    for _ in 0..5 {
        let answer = store.redeem_within(&redemption("a"), &[wide, narrow], NOW).await;
        assert_eq!(answer, limited);
    }
    assert_eq!(store.spend_limits(&[wide], NOW).await, LimitsSpent::Within);
    assert_eq!(store.redeem_within(&redemption("a"), &[wide], NOW).await, Redeemed::Now);
}

async fn a_repeated_redeeming_spends_no_limit(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let limits = [limit("client", 2)];
    let call = repeatable("a", "call", "first");
    assert_eq!(store.redeem_within(&call, &limits, NOW).await, Redeemed::Now);
    for _ in 0..5 {
        let again = store.redeem_within(&call, &limits, NOW).await;
        assert_eq!(again, Redeemed::Again(seed("first")));
        let before = store.redeem_within(&redemption("a"), &limits, NOW).await;
        assert_eq!(before, Redeemed::Before);
    }
    assert_eq!(store.spend_limits(&limits, NOW).await, LimitsSpent::Within);
    let beyond = LimitsSpent::Beyond { limit: 0, retry_after: Duration::from_secs(1) };
    assert_eq!(store.spend_limits(&limits, NOW).await, beyond);
}

async fn limits_come_back_at_the_very_moment_that_was_told(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let rate = Rate { burst: 1, count: 3, period: Duration::from_secs(1) };
    let quick = LimitSpend { mark: Mark::limit("mint", "quick"), rate };
    let limits = [limit("slow", 1), quick];
    assert_eq!(store.spend_limits(&limits, NOW).await, LimitsSpent::Within);
    let answer = store.spend_limits(&limits, NOW.plus(Duration::from_millis(1))).await;
    let wait = Duration::from_millis(999);
    let beyond = LimitsSpent::Beyond { limit: 0, retry_after: wait };
    assert_eq!(answer, beyond, "the longer of both waits");
    let turned = [quick, limit("slow", 1)];
    let answer = store.spend_limits(&turned, NOW.plus(Duration::from_millis(1))).await;
    assert_eq!(answer, LimitsSpent::Beyond { limit: 1, retry_after: wait }, "wherever it stands");
    let back = NOW.plus(Duration::from_secs(1));
    assert_eq!(
        store.spend_limits(&limits, back.minus(TICK)).await,
        LimitsSpent::Beyond { limit: 0, retry_after: TICK }
    );
    assert_eq!(store.spend_limits(&limits, back).await, LimitsSpent::Within);
}

async fn a_limit_named_twice_spends_two_units(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let twice = [limit("client", 3), limit("client", 3)];
    assert_eq!(store.spend_limits(&twice, NOW).await, LimitsSpent::Within);
    let beyond = LimitsSpent::Beyond { limit: 1, retry_after: Duration::from_secs(1) };
    assert_eq!(store.spend_limits(&twice, NOW).await, beyond);
    assert_eq!(store.spend_limits(&twice[..1], NOW).await, LimitsSpent::Within);
}

async fn sixty_four_redeemings_at_once_have_one_winner(fresh: Fresh) {
    let store = Calls::fresh(fresh).await.0;
    let answers = at_once(|n| {
        let store = Arc::clone(&store);
        let call = repeatable("a", &n.to_string(), &n.to_string());
        async move { store.redeem(&call, &[limit("client", 100)], NOW).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| **answer == Redeemed::Now).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Redeemed::Before).count(), 63);
}

async fn sixty_four_redeemings_never_exceed_a_limit(fresh: Fresh) {
    let store = Calls::fresh(fresh).await.0;
    let answers = at_once(|n| {
        let store = Arc::clone(&store);
        async move {
            // In either order, so that locks taken in the order of the call would cross.
            let mut limits = vec![limit("client", 10), limit("publisher", 40)];
            if n % 2 == 0 {
                limits.reverse();
            }
            store.redeem(&redemption(&n.to_string()), &limits, NOW).await.unwrap()
        }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| **answer == Redeemed::Now).count(), 10);
}

// Uses.

async fn uses_are_counted_down(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let uses = [one_use("n", 2)];
    for answer in [UsesSpent::Allowed, UsesSpent::Allowed, UsesSpent::Spent { caveat: 0 }] {
        assert_eq!(store.spend_uses(&spend(&uses), NOW).await, answer);
    }
}

async fn uses_of_several_caveats_are_spent_all_or_none(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let (one, two) = (one_use("one", 1), one_use("two", 2));
    store.spend_uses(&spend(std::slice::from_ref(&one)), NOW).await;
    for _ in 0..3 {
        let answer = store.spend_uses(&spend(&[two.clone(), one.clone()]), NOW).await;
        assert_eq!(answer, UsesSpent::Spent { caveat: 1 });
    }
    let both = [two.clone(), one_use("three", 9)];
    assert_eq!(store.spend_uses(&spend(&both), NOW).await, UsesSpent::Allowed);
    assert_eq!(store.spend_uses(&spend(&both), NOW).await, UsesSpent::Allowed);
    assert_eq!(store.spend_uses(&spend(&both), NOW).await, UsesSpent::Spent { caveat: 0 });
}

async fn the_same_nonce_twice_spends_two_uses(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let twice = [one_use("n", 3), one_use("n", 3)];
    assert_eq!(store.spend_uses(&spend(&twice), NOW).await, UsesSpent::Allowed);
    assert_eq!(store.spend_uses(&spend(&twice), NOW).await, UsesSpent::Spent { caveat: 1 });
    assert_eq!(store.spend_uses(&spend(&twice[..1]), NOW).await, UsesSpent::Allowed);
    let single = [one_use("m", 1), one_use("m", 1)];
    assert_eq!(store.spend_uses(&spend(&single), NOW).await, UsesSpent::Spent { caveat: 1 });
}

async fn a_count_of_zero_is_spent_from_the_start(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let answer = store.spend_uses(&spend(&[one_use("n", 0)]), NOW).await;
    assert_eq!(answer, UsesSpent::Spent { caveat: 0 });
}

async fn looking_answers_as_spending_would_and_spends_nothing(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let uses = [one_use("n", 1)];
    let looked = UsesSpend { mode: SpendMode::Look, ..spend_as("call", &uses) };
    for _ in 0..3 {
        assert_eq!(store.spend_uses(&looked, NOW).await, UsesSpent::Allowed);
    }
    // Neither a use nor a retry mark is left behind.
    assert_eq!(store.spend_uses(&spend_as("call", &uses), NOW).await, UsesSpent::Allowed);
    assert_eq!(store.spend_uses(&look(&uses), NOW).await, UsesSpent::Spent { caveat: 0 });
    assert_eq!(store.spend_uses(&looked, NOW).await, UsesSpent::Allowed, "the same call");
}

async fn the_same_call_spends_once_inside_its_window(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let uses = [one_use("n", 2)];
    let call = spend_as("call", &uses);
    for now in [NOW, NOW, NOW.plus(MINUTE).minus(TICK)] {
        assert_eq!(store.spend_uses(&call, now).await, UsesSpent::Allowed);
    }
    assert_eq!(store.spend_uses(&spend_as("other", &uses), NOW).await, UsesSpent::Allowed);
    assert_eq!(
        store.spend_uses(&call, NOW).await,
        UsesSpent::Allowed,
        "nothing left, yet the same"
    );
    let late = store.spend_uses(&call, NOW.plus(MINUTE)).await;
    assert_eq!(late, UsesSpent::Spent { caveat: 0 }, "its window is over");
}

async fn a_token_without_uses_leaves_nothing_behind(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let old = UsesSpend { minted_at: Some(Timestamp::from_seconds(0)), ..spend_as("call", &[]) };
    assert_eq!(store.spend_uses(&old, NOW).await, UsesSpent::Allowed, "nothing to remember");
    let uses = [one_use("n", 1)];
    let call = spend_as("call", &uses);
    assert_eq!(store.spend_uses(&call, NOW).await, UsesSpent::Allowed);
    let spent = store.spend_uses(&spend(&uses), NOW).await;
    assert_eq!(spent, UsesSpent::Spent { caveat: 0 }, "the call was a new one");
}

async fn uses_of_a_token_older_than_the_memory_are_unremembered(fresh: Fresh) {
    let started_at = NOW.plus(Duration::from_micros(5_900));
    let store = Calls::since(fresh, started_at).await;
    let minted = |nonce, minted_at| UsesSpend { minted_at, ..spend(&[one_use(nonce, 1)]) };
    let millis = |millis| Some(NOW.plus(Duration::from_millis(millis)));
    for (nonce, minted_at, answer) in [
        ("the millisecond before", millis(4), UsesSpent::Unremembered),
        ("the same millisecond", millis(5), UsesSpent::Allowed),
        ("the millisecond after", millis(6), UsesSpent::Allowed),
        ("unknown", None, UsesSpent::Allowed),
    ] {
        let call = minted(nonce, minted_at);
        assert_eq!(store.spend_uses(&call, NOW.plus(MINUTE)).await, answer, "{nonce}");
    }
}

async fn a_counter_counts_until_its_end_and_not_at_it(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let uses = [one_use("n", 1)];
    store.spend_uses(&spend(&uses), NOW).await;
    let end = NOW.plus(HOUR);
    let before = store.spend_uses(&spend(&uses), end.minus(TICK)).await;
    assert_eq!(before, UsesSpent::Spent { caveat: 0 });
    assert_eq!(store.spend_uses(&spend(&uses), end).await, UsesSpent::Allowed);
}

async fn a_counter_lives_as_long_as_its_longest_use(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let until = |until| [Use { until, ..one_use("n", 3) }];
    for end in [NOW.plus(MINUTE), NOW.plus(HOUR), NOW.plus(MINUTE)] {
        assert_eq!(store.spend_uses(&spend(&until(end)), NOW).await, UsesSpent::Allowed);
    }
    let last = NOW.plus(HOUR).minus(TICK);
    let answer = store.spend_uses(&spend(&until(NOW.plus(HOUR))), last).await;
    assert_eq!(answer, UsesSpent::Spent { caveat: 0 });
}

async fn sixty_four_spendings_at_once_spend_what_there_is(fresh: Fresh) {
    let store = Calls::fresh(fresh).await.0;
    let answers = at_once(|_| {
        let store = Arc::clone(&store);
        let call = spend(&[one_use("many", 64), one_use("few", 3)]);
        async move { store.spend_uses(&call, NOW).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| **answer == UsesSpent::Allowed).count(), 3);
    let store = Calls(store);
    let rest = store.spend_uses(&look(&[one_use("many", 3)]), NOW).await;
    assert_eq!(rest, UsesSpent::Spent { caveat: 0 });
    assert_eq!(store.spend_uses(&look(&[one_use("many", 4)]), NOW).await, UsesSpent::Allowed);
}

async fn sixty_four_times_the_same_call_spends_one_use(fresh: Fresh) {
    let store = Calls::fresh(fresh).await.0;
    let answers = at_once(|_| {
        let store = Arc::clone(&store);
        let call = spend_as("call", &[one_use("n", 2)]);
        async move { store.spend_uses(&call, NOW).await.unwrap() }
    })
    .await;
    assert!(answers.iter().all(|answer| *answer == UsesSpent::Allowed));
    let store = Calls(store);
    let uses = [one_use("n", 2)];
    assert_eq!(store.spend_uses(&spend(&uses), NOW).await, UsesSpent::Allowed);
    assert_eq!(store.spend_uses(&spend(&uses), NOW).await, UsesSpent::Spent { caveat: 0 });
}

// Revocations.

async fn a_revoked_token_is_revoked_before_anything_else(fresh: Fresh) {
    let store = Calls::since(fresh, NOW).await;
    let uses = [one_use("n", 1)];
    let call = spend_as("call", &uses);
    assert_eq!(store.spend_uses(&call, NOW).await, UsesSpent::Allowed);
    assert_eq!(store.revoke(Some(NOW.plus(HOUR)), NOW).await, Revoked::Now);
    for (name, call) in [
        ("the same call", call),
        ("without uses", spend(&[])),
        ("nothing left", spend(&uses)),
        ("only looking", look(&uses)),
        ("unremembered", UsesSpend { minted_at: Some(LONG_AGO), ..spend(&uses) }),
    ] {
        assert_eq!(store.spend_uses(&call, NOW).await, UsesSpent::Revoked, "{name}");
    }
    let other = UsesSpend { revocation: Mark::revoked("pypi", "other token"), ..spend(&[]) };
    assert_eq!(store.spend_uses(&other, NOW).await, UsesSpent::Allowed);
}

async fn a_revocation_counts_until_its_end_and_not_at_it(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let end = NOW.plus(HOUR);
    store.revoke(Some(end), NOW).await;
    assert_eq!(store.spend_uses(&spend(&[]), end.minus(TICK)).await, UsesSpent::Revoked);
    assert_eq!(store.spend_uses(&spend(&[]), end).await, UsesSpent::Allowed);
    assert_eq!(store.revoke(Some(end.plus(HOUR)), end).await, Revoked::Now);
}

async fn a_repeated_revocation_only_lengthens(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    let end = NOW.plus(HOUR);
    assert_eq!(store.revoke(Some(NOW.plus(MINUTE)), NOW).await, Revoked::Now);
    assert_eq!(store.revoke(Some(end), NOW).await, Revoked::Before);
    assert_eq!(store.revoke(Some(NOW.plus(MINUTE)), NOW).await, Revoked::Before);
    assert_eq!(store.spend_uses(&spend(&[]), end.minus(TICK)).await, UsesSpent::Revoked);
    assert_eq!(store.revoke(None, NOW).await, Revoked::Before);
    assert_eq!(store.spend_uses(&spend(&[]), end).await, UsesSpent::Revoked);
}

async fn a_revocation_for_good_never_ends(fresh: Fresh) {
    let store = Calls::fresh(fresh).await;
    assert_eq!(store.revoke(None, NOW).await, Revoked::Now);
    assert_eq!(store.revoke(Some(NOW.plus(MINUTE)), NOW).await, Revoked::Before);
    let later = NOW.plus(HOUR * 1_000_000);
    assert_eq!(store.spend_uses(&spend(&[]), later).await, UsesSpent::Revoked);
}

// All together.

async fn a_store_does_as_the_model_does(fresh: Fresh) {
    let plays =
        tokio::task::block_in_place(|| model::plays(&tokio::runtime::Handle::current(), fresh));
    assert!(plays.is_ok(), "{}", plays.unwrap_err());
}

// Only the memory store is bounded by itself.

mod fullness {
    use super::*;

    fn store(most: usize) -> Calls {
        Calls(Arc::new(MemoryStore::new(LONG_AGO, most)))
    }

    #[tokio::test]
    async fn full_of_marks_that_count_it_refuses_until_the_first_ends() {
        let store = store(2);
        let first = Redemption { until: NOW.plus(Duration::from_secs(20)), ..redemption("a") };
        assert_eq!(store.redeem(&first, NOW).await, Redeemed::Now);
        assert_eq!(store.redeem(&redemption("b"), NOW).await, Redeemed::Now);

        let now = NOW.plus(Duration::from_secs(15));
        let limits = [limit("client", 1)];
        let failure = store.0.redeem(&redemption("c"), &limits, now).await.unwrap_err();
        assert_eq!(failure.retry_after, Duration::from_secs(5));
        assert!(failure.to_string().contains("full"), "{failure}");
        assert_eq!(store.redeem(&first, now).await, Redeemed::Before, "it forgot nothing");
        assert_eq!(store.spend_limits(&limits, now).await, LimitsSpent::Within, "nor spent");

        let end = NOW.plus(Duration::from_secs(20));
        assert_eq!(store.redeem(&redemption("c"), end).await, Redeemed::Now);
    }

    #[tokio::test]
    async fn the_wait_is_bounded() {
        let store = store(1);
        store.redeem(&redemption("a"), NOW).await;
        let failure = store.0.redeem(&redemption("b"), &[], NOW).await.unwrap_err();
        assert_eq!(failure.retry_after, MINUTE);
        store.revoke(None, NOW).await;
        let other = Mark::revoked("pypi", "other token");
        let failure = store.0.revoke(other, None, NOW).await.unwrap_err();
        assert_eq!(failure.retry_after, MINUTE);
    }

    #[tokio::test]
    async fn uses_that_find_no_room_are_not_spent() {
        let store = store(2);
        store.spend_uses(&spend(&[one_use("a", 2)]), NOW).await;
        let three = [one_use("a", 2), one_use("b", 1), one_use("c", 1)];
        assert!(store.0.spend_uses(&spend(&three), NOW).await.is_err());
        let two = spend(&[one_use("a", 2), one_use("b", 1)]);
        assert_eq!(store.spend_uses(&two, NOW).await, UsesSpent::Allowed);
        assert_eq!(store.spend_uses(&look(&three[..1]), NOW).await, UsesSpent::Spent { caveat: 0 });
    }

    #[tokio::test]
    async fn a_call_that_cannot_be_remembered_spends_no_use() {
        let store = store(1);
        let uses = [one_use("n", 3)];
        store.spend_uses(&spend_as("first", &uses), NOW).await;
        assert!(store.0.spend_uses(&spend_as("second", &uses), NOW).await.is_err());
        assert_eq!(store.spend_uses(&spend(&uses), NOW).await, UsesSpent::Allowed);
        assert_eq!(store.spend_uses(&spend(&uses), NOW).await, UsesSpent::Allowed);
        let answer = store.spend_uses(&spend(&uses), NOW).await;
        assert_eq!(answer, UsesSpent::Spent { caveat: 0 });
    }

    #[tokio::test]
    async fn known_marks_need_no_room() {
        let store = store(1);
        let uses = [one_use("n", 2)];
        for _ in 0..2 {
            assert_eq!(store.spend_uses(&spend(&uses), NOW).await, UsesSpent::Allowed);
        }
        store.redeem(&redemption("a"), NOW).await;
        assert_eq!(store.redeem(&redemption("a"), NOW).await, Redeemed::Before);
        assert_eq!(store.revoke(Some(NOW.plus(MINUTE)), NOW).await, Revoked::Now);
        assert_eq!(store.revoke(None, NOW).await, Revoked::Before);
    }

    #[tokio::test]
    async fn full_of_limits_it_admits_and_still_redeems() {
        let store = store(2);
        let known = [limit("known", 1)];
        assert_eq!(store.spend_limits(&known, NOW).await, LimitsSpent::Within);
        for n in 0..1_000 {
            let limits = [limit(&n.to_string(), 1)];
            assert_eq!(store.spend_limits(&limits, NOW).await, LimitsSpent::Within);
        }
        let beyond = LimitsSpent::Beyond { limit: 0, retry_after: Duration::from_secs(1) };
        assert_eq!(store.spend_limits(&known, NOW).await, beyond, "what it knows it keeps");
        let answer = store.redeem_within(&redemption("a"), &[limit("new", 1)], NOW).await;
        assert_eq!(answer, Redeemed::Now);
        // Those at rest make room for those that come.
        let later = NOW.plus(Duration::from_secs(1));
        assert_eq!(store.spend_limits(&[limit("new", 1)], later).await, LimitsSpent::Within);
        assert_eq!(store.spend_limits(&[limit("new", 1)], later).await, beyond);
    }
}
