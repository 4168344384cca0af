//! GCRA in Lua against the pure function: on random traces, with clocks that are put
//! back too, one answers as the other does, to the microsecond.

use std::{cell::Cell, sync::Arc, time::Duration};

use mintage::{
    clock::Timestamp,
    limits::{self, Decision, Rate},
    mark::Mark,
    ports::{LimitSpend, LimitsSpent, Store},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use tokio::runtime::Handle;

use super::{LONG_AGO, NOW, redis, support::redis::Kind};

/// Rates from a unit every few microseconds to one a day.
fn rate() -> impl Strategy<Value = Rate> {
    let period = prop_oneof![1_u64..1_000, 1_u64..5_000_000, 1_u64..86_400_000_000];
    (1_u32..12, 1_u32..40, period).prop_map(|(burst, count, period)| Rate {
        burst,
        count,
        period: Duration::from_micros(period),
    })
}

/// What the clock does before a unit is spent, in parts of the rate's interval: mostly
/// it goes on, sometimes it is put back, at times far beyond what was kept.
fn step() -> impl Strategy<Value = (bool, f64)> {
    prop_oneof![
        6 => (Just(false), 0.0..2.0),
        1 => (Just(false), 0.0..30.0),
        1 => (Just(true), 0.0..40.0),
    ]
}

fn moved(now: Timestamp, rate: Rate, (back, parts): (bool, f64)) -> Timestamp {
    let by = rate.interval().mul_f64(parts);
    if back { now.minus(by) } else { now.plus(by) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lua_spends_a_limit_as_the_function_does() {
    for kind in [Kind::Redis, Kind::Redis8, Kind::Valkey] {
        let Some(store) = redis::fresh(kind, LONG_AGO).await else { continue };
        let runtime = Handle::current();
        tokio::task::block_in_place(|| plays(&runtime, &store)).unwrap();
    }
}

/// Spends along random traces; Err tells the shortest one that went wrong.
fn plays(runtime: &Handle, store: &Arc<dyn Store>) -> Result<(), String> {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let traces = (rate(), prop::collection::vec(step(), 1..60));
    let limiters = Cell::new(0);
    TestRunner::new(config)
        .run(&traces, |(rate, steps)| {
            limiters.set(limiters.get() + 1);
            let mark = Mark::limit("trace", &limiters.get().to_string());
            let (mut kept, mut now) = (None, NOW);
            for step in steps {
                now = moved(now, rate, step);
                let expected = match limits::spend(rate, kept, now) {
                    Decision::Admitted { arrival } => {
                        kept = Some(arrival);
                        LimitsSpent::Within
                    }
                    Decision::Refused { retry_after } => {
                        LimitsSpent::Beyond { limit: 0, retry_after }
                    }
                };
                let limit = [LimitSpend { mark, rate }];
                let answer = runtime.block_on(store.spend_limits(&limit, now)).unwrap();
                prop_assert_eq!(answer, expected, "{:?} at {:?}, kept {:?}", rate, now, kept);
            }
            Ok(())
        })
        .map_err(|error: TestError<_>| error.to_string())
}
