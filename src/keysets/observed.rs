//! What is told of key sets: how fetches go, and what is held of each issuer.

use std::{borrow::Cow, slice, sync::Arc};

use async_trait::async_trait;
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    global::BoxedTracer,
    metrics::{AsyncInstrument, BoundCounter, BoundHistogram, Meter},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _, get_active_span},
};
use tokio::time::Instant;

use super::{
    cache::Slot,
    decision::Origin,
    source::{Failed, Published, Source},
    wanted::Wanted,
};
use crate::clock::Timestamp;

/// What a cache tells with.
#[derive(Clone, Debug)]
pub struct Observing {
    /// Makes its instruments.
    pub meter: Meter,
    /// Makes its spans; None where none are recorded.
    pub tracer: Option<Arc<BoxedTracer>>,
}

/// A source whose fetches are told of.
pub(super) struct ObservedSource {
    inner: Box<dyn Source>,
    tracer: Option<Arc<BoxedTracer>>,
    issuer: KeyValue,
    took: BoundHistogram<f64>,
    fetched: BoundCounter<u64>,
    shared: BoundCounter<u64>,
    failed: BoundCounter<u64>,
}

impl ObservedSource {
    pub(super) fn new(inner: Box<dyn Source>, url: &str, observing: &Observing) -> Self {
        let Observing { meter, tracer } = observing;
        let issuer = KeyValue::new("issuer", url.to_owned());
        let fetches = meter
            .u64_counter("mintage.issuer.fetches")
            .with_description(
                "Fetches of key sets: from the issuer, or off the shelf that replicas share.",
            )
            .build();
        let outcome =
            |name: &'static str| fetches.bind(&[issuer.clone(), KeyValue::new("outcome", name)]);
        let (fetched, shared, failed) = (outcome("fetched"), outcome("shared"), outcome("failed"));
        let took = meter
            .f64_histogram("mintage.issuer.fetch.duration")
            .with_unit("s")
            .with_description(
                "How long fetches of key sets took, waiting for other replicas included.",
            )
            .build()
            .bind(slice::from_ref(&issuer));
        let issuer = KeyValue::new("mintage.issuer", url.to_owned());
        Self { inner, tracer: tracer.clone(), issuer, took, fetched, shared, failed }
    }

    /// A span in the trace of the call that caused the fetch, if that is recorded.
    fn span(&self) -> Option<Context> {
        let tracer = self.tracer.as_ref()?;
        get_active_span(|caller| caller.is_recording()).then(|| {
            let builder = SpanBuilder {
                span_kind: Some(SpanKind::Client),
                attributes: Some(vec![self.issuer.clone()]),
                ..SpanBuilder::from_name("fetch key set")
            };
            let parent = Context::current();
            parent.with_span(tracer.build_with_context(builder, &parent))
        })
    }
}

#[async_trait]
impl Source for ObservedSource {
    async fn fetch(&self, wanted: Wanted) -> Result<Published, Failed> {
        let began = Instant::now();
        let outcome = match self.span() {
            None => self.inner.fetch(wanted).await,
            Some(context) => {
                let outcome = self.inner.fetch(wanted).with_context(context.clone()).await;
                let span = context.span();
                if outcome.is_err() {
                    span.set_attribute(KeyValue::new("error.type", "failed"));
                    span.set_status(Status::error(Cow::Borrowed("")));
                }
                span.end();
                outcome
            }
        };
        self.took.record(began.elapsed().as_secs_f64());
        match &outcome {
            Ok(Published { origin: Origin::Issuer, .. }) => self.fetched.add(1),
            Ok(Published { origin: Origin::Shelf, .. }) => self.shared.add(1),
            Err(Failed { .. }) => self.failed.add(1),
        }
        outcome
    }
}

/// What is held of an issuer, for whoever looks after the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) keys: usize,
    pub(super) skipped: usize,
    /// When it was fetched from the issuer, until when it is fresh, and until when it
    /// may be used. None: nothing is held.
    pub(super) times: Option<[Timestamp; 3]>,
}

/// Tells how each issuer stands, whenever somebody asks.
pub(super) fn observe(slots: &[Arc<Slot>], meter: &Meter) {
    let issuers: Arc<[(KeyValue, Arc<Slot>)]> = slots
        .iter()
        .map(|slot| (KeyValue::new("issuer", slot.issuer().to_owned()), Arc::clone(slot)))
        .collect();
    for (name, what, number) in COUNTS {
        let issuers = Arc::clone(&issuers);
        let told = move |gauge: &dyn AsyncInstrument<u64>| {
            for (issuer, slot) in issuers.iter() {
                gauge.observe(number(&slot.standing()), slice::from_ref(issuer));
            }
        };
        meter.u64_observable_gauge(name).with_description(what).with_callback(told).build();
    }
    for (at, (name, what)) in TIMES.into_iter().enumerate() {
        let issuers = Arc::clone(&issuers);
        let told = move |gauge: &dyn AsyncInstrument<f64>| {
            for (issuer, slot) in issuers.iter() {
                let time = slot.standing().times.and_then(|times| times.get(at).copied());
                gauge.observe(time.map_or(0.0, seconds), slice::from_ref(issuer));
            }
        };
        let gauge = meter.f64_observable_gauge(name).with_unit("s").with_description(what);
        gauge.with_callback(told).build();
    }
}

type Number = fn(&Standing) -> u64;

const COUNTS: [(&str, &str, Number); 2] = [
    ("mintage.issuer.keys", "Keys of the issuer that are held.", |standing| standing.keys as u64),
    ("mintage.issuer.keys.skipped", "Keys of the issuer's set that can't be used.", |standing| {
        standing.skipped as u64
    }),
];

const TIMES: [(&str, &str); 3] = [
    (
        "mintage.issuer.keys.fetched.timestamp",
        "When the held keys were fetched from the issuer, in Unix seconds; 0 where none are.",
    ),
    (
        "mintage.issuer.keys.fresh_until.timestamp",
        "Until when the held keys are fresh, in Unix seconds; past: stale, and still served.",
    ),
    (
        "mintage.issuer.keys.usable_until.timestamp",
        "Until when the held keys may be used, in Unix seconds; past: refused.",
    ),
];

fn seconds(time: Timestamp) -> f64 {
    let micros = time.micros();
    // Exact for some thousand years.
    micros as f64 / 1e6
}
