//! Stores whose calls are measured: how long each took, whether there was an answer, and
//! a span for it in a call's trace.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    metrics::{BoundCounter, BoundHistogram, Meter},
    trace::{Status, TraceContextExt as _},
};
use tokio::time::Instant;

use super::trace::Spans;
use crate::{
    clock::Timestamp,
    mark::Mark,
    ports::{
        Claimed, KeySetShelf, LimitSpend, LimitsSpent, Redeemed, Redemption, Revoked, Store,
        StoreFailure, UsesSpend, UsesSpent,
    },
};

/// What a store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Redeem,
    SpendLimits,
    SpendUses,
    Revoke,
    Probe,
    KeySetGet,
    KeySetPut,
    KeySetClaim,
    KeySetRelease,
}

impl Operation {
    /// All of them, in their order.
    const ALL: [Self; 9] = [
        Self::Redeem,
        Self::SpendLimits,
        Self::SpendUses,
        Self::Revoke,
        Self::Probe,
        Self::KeySetGet,
        Self::KeySetPut,
        Self::KeySetClaim,
        Self::KeySetRelease,
    ];

    /// Whether it is asked of a shelf.
    const fn is_of_shelf(self) -> bool {
        matches!(self, Self::KeySetGet | Self::KeySetPut | Self::KeySetClaim | Self::KeySetRelease)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Redeem => "redeem",
            Self::SpendLimits => "spend_limits",
            Self::SpendUses => "spend_uses",
            Self::Revoke => "revoke",
            Self::Probe => "probe",
            Self::KeySetGet => "key_set_get",
            Self::KeySetPut => "key_set_put",
            Self::KeySetClaim => "key_set_claim",
            Self::KeySetRelease => "key_set_release",
        }
    }
}

/// What is measured of a store's calls. Its clones measure into the same.
#[derive(Clone, Debug)]
pub struct StoreCalls(Arc<Measured>);

#[derive(Debug)]
struct Measured {
    system: &'static str,
    spans: Spans,
    /// By [`Operation`], as they stand in it; none of a shelf that isn't there.
    durations: [Option<Durations>; 9],
    /// Of redeeming, and of the spending of uses.
    unremembered: [BoundCounter<u64>; 2],
    up: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Durations {
    answered: BoundHistogram<f64>,
    failed: BoundHistogram<f64>,
}

impl StoreCalls {
    /// Measures the calls of a store of this kind (`redis`, `memory`), which has a shelf or
    /// has none.
    pub fn new(system: &'static str, shelf: bool, meter: &Meter, spans: Spans) -> Self {
        let durations = meter
            .f64_histogram("db.client.operation.duration")
            .with_unit("s")
            .with_description("How long calls of the store took.")
            .build();
        let durations = Operation::ALL.map(|operation| {
            if operation.is_of_shelf() && !shelf {
                return None;
            }
            let with = |error: &'static str| {
                durations.bind(&[
                    KeyValue::new("db.operation.name", operation.name()),
                    KeyValue::new("db.system.name", system),
                    KeyValue::new("error.type", error),
                ])
            };
            Some(Durations { answered: with(""), failed: with("failed") })
        });
        let unremembered = meter
            .u64_counter("mintage.store.unremembered")
            .with_description("Refused, because the store's memory begins too late.")
            .build();
        let unremembered = [Operation::Redeem, Operation::SpendUses]
            .map(|operation| unremembered.bind(&[KeyValue::new("operation", operation.name())]));
        let up = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&up);
        meter
            .u64_observable_gauge("mintage.store.up")
            .with_description("1 where the store answered the last probe.")
            .with_callback(move |gauge| gauge.observe(told.load(Ordering::Relaxed).into(), &[]))
            .build();
        Self(Arc::new(Measured { system, spans, durations, unremembered, up }))
    }

    async fn told<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreFailure>>,
    ) -> Result<T, StoreFailure> {
        let began = Instant::now();
        let answer = match self.0.span(operation) {
            None => call.await,
            Some(context) => {
                let answer = call.with_context(context.clone()).await;
                ended(&context, answer.is_err());
                answer
            }
        };
        self.0.took(operation, answer.is_err(), began.elapsed());
        answer
    }
}

impl Measured {
    fn span(&self, operation: Operation) -> Option<Context> {
        let attributes = || {
            vec![
                KeyValue::new("db.system.name", self.system),
                KeyValue::new("db.operation.name", operation.name()),
            ]
        };
        self.spans.begin(operation.name(), attributes)
    }

    fn took(&self, operation: Operation, failed: bool, time: Duration) {
        if let Some(Some(durations)) = self.durations.get(operation as usize) {
            let durations = if failed { &durations.failed } else { &durations.answered };
            durations.record(time.as_secs_f64());
        }
    }
}

fn ended(context: &Context, failed: bool) {
    let span = context.span();
    if failed {
        span.set_attribute(KeyValue::new("error.type", "failed"));
        span.set_status(Status::error(Cow::Borrowed("")));
    }
    span.end();
}

/// A probe that is under way, and counts as failed until it was answered.
struct Probing<'u> {
    up: &'u AtomicBool,
    answered: bool,
}

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        self.up.store(self.answered, Ordering::Relaxed);
    }
}

/// A store whose calls are measured.
pub struct MeasuredStore {
    inner: Arc<dyn Store>,
    calls: StoreCalls,
}

impl MeasuredStore {
    /// The same store, measured.
    pub fn new(inner: Arc<dyn Store>, calls: StoreCalls) -> Self {
        Self { inner, calls }
    }
}

#[async_trait]
impl Store for MeasuredStore {
    async fn redeem(
        &self,
        redemption: &Redemption,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<Redeemed, StoreFailure> {
        let call = self.inner.redeem(redemption, limits, now);
        let answer = self.calls.told(Operation::Redeem, call).await;
        if let Ok(Redeemed::Unremembered) = answer {
            let [redeem, _] = &self.calls.0.unremembered;
            redeem.add(1);
        }
        answer
    }

    async fn spend_limits(
        &self,
        limits: &[LimitSpend],
        now: Timestamp,
    ) -> Result<LimitsSpent, StoreFailure> {
        self.calls.told(Operation::SpendLimits, self.inner.spend_limits(limits, now)).await
    }

    async fn spend_uses(
        &self,
        spend: &UsesSpend,
        now: Timestamp,
    ) -> Result<UsesSpent, StoreFailure> {
        let answer = self.calls.told(Operation::SpendUses, self.inner.spend_uses(spend, now)).await;
        if let Ok(UsesSpent::Unremembered) = answer {
            let [_, uses] = &self.calls.0.unremembered;
            uses.add(1);
        }
        answer
    }

    async fn revoke(
        &self,
        revocation: Mark,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Revoked, StoreFailure> {
        self.calls.told(Operation::Revoke, self.inner.revoke(revocation, until, now)).await
    }

    async fn probe(&self, now: Timestamp) -> Result<(), StoreFailure> {
        let mut probing = Probing { up: &self.calls.0.up, answered: false };
        let answer = self.calls.told(Operation::Probe, self.inner.probe(now)).await;
        probing.answered = answer.is_ok();
        answer
    }
}

/// A shelf whose calls are measured.
pub struct MeasuredShelf {
    inner: Arc<dyn KeySetShelf>,
    calls: StoreCalls,
}

impl MeasuredShelf {
    /// The same shelf, measured.
    pub fn new(inner: Arc<dyn KeySetShelf>, calls: StoreCalls) -> Self {
        Self { inner, calls }
    }
}

#[async_trait]
impl KeySetShelf for MeasuredShelf {
    async fn get(
        &self,
        issuer: Mark,
        most: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.calls.told(Operation::KeySetGet, self.inner.get(issuer, most, now)).await
    }

    async fn put(
        &self,
        issuer: Mark,
        sealed: &[u8],
        keep: Duration,
        now: Timestamp,
    ) -> Result<(), StoreFailure> {
        self.calls.told(Operation::KeySetPut, self.inner.put(issuer, sealed, keep, now)).await
    }

    async fn claim(
        &self,
        issuer: Mark,
        holder: [u8; 16],
        hold: Duration,
        now: Timestamp,
    ) -> Result<Claimed, StoreFailure> {
        self.calls.told(Operation::KeySetClaim, self.inner.claim(issuer, holder, hold, now)).await
    }

    async fn release(
        &self,
        issuer: Mark,
        holder: [u8; 16],
        now: Timestamp,
    ) -> Result<(), StoreFailure> {
        self.calls.told(Operation::KeySetRelease, self.inner.release(issuer, holder, now)).await
    }
}
