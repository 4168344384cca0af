//! Traces: a span for each call of the contract, below the caller's own, and its place
//! in the log.
//!
//! [`Traced`] stands in front of the services. A call that is in a trace, ours or its
//! caller's, runs with the trace's context on its thread, wherever it is polled: spans
//! that are begun below ([`Spans::begin`]) find their parent there, and log lines their
//! ids. Where nothing is recorded and the caller sent no `traceparent`, a call is handed
//! on as it came.
//!
//! Whoever asks for a health check or for reflection is not traced.

use std::{
    borrow::Cow,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context as Polling, Poll, ready},
};

use futures_util::future::Either;
use http::{HeaderMap, Request, Response};
use opentelemetry::{
    Context, KeyValue,
    global::BoxedTracer,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{
        SpanBuilder, SpanId, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _,
        TracerProvider as _, get_active_span,
    },
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider, SpanLimits, SpanProcessor},
};
use tower::Service;

/// The scope of every span.
const SCOPE: &str = "mintage";

/// A span's attributes, at most.
const MAX_ATTRIBUTES: u32 = 16;

/// A longer `tracestate` is dropped, as W3C allows beyond this.
const MAX_STATE_BYTES: usize = 512;

/// The methods of the contract: paths without their first slash, and names of spans.
const METHODS: [&str; 4] = [
    "mintage.v1.TokenService/Mint",
    "mintage.v1.TokenService/Verify",
    "mintage.v1.TokenService/Attenuate",
    "mintage.v1.TokenService/Revoke",
];

/// gRPC's status codes, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The codes that are the server's fault.
const FAULTS: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// What makes spans: nothing, where nothing is recorded.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<BoxedTracer>>);

impl Spans {
    /// None are made.
    pub fn none() -> Self {
        Self::default()
    }

    /// Begins a span below the one that is active on this thread. None: that one is not
    /// recorded, or there is none.
    pub fn begin(
        &self,
        name: &'static str,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<Context> {
        let tracer = self.0.as_ref()?;
        get_active_span(|parent| parent.is_recording()).then(|| {
            let builder = SpanBuilder {
                span_kind: Some(SpanKind::Client),
                attributes: Some(attributes()),
                ..SpanBuilder::from_name(name)
            };
            let parent = Context::current();
            parent.with_span(tracer.build_with_context(builder, &parent))
        })
    }

    /// What spans are made with, for edges that don't know this one.
    pub fn tracer(&self) -> Option<Arc<BoxedTracer>> {
        self.0.clone()
    }
}

/// Makes spans, and hands them on when they end.
#[derive(Clone, Debug)]
pub(super) struct Recording(SdkTracerProvider);

impl Recording {
    /// Records this share of the traces that begin here, and whatever callers record.
    pub(super) fn new(resource: Resource, share: f64, ended: impl SpanProcessor + 'static) -> Self {
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
        let limits = SpanLimits {
            max_attributes_per_span: MAX_ATTRIBUTES,
            max_events_per_span: 0,
            max_links_per_span: 0,
            max_attributes_per_event: 0,
            max_attributes_per_link: 0,
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_span_limits(limits)
            .with_span_processor(ended)
            .build();
        Self(provider)
    }

    pub(super) fn spans(&self) -> Spans {
        Spans(Some(Arc::new(BoxedTracer::new(Box::new(self.0.tracer(SCOPE))))))
    }

    pub(super) fn provider(&self) -> &SdkTracerProvider {
        &self.0
    }
}

/// A service whose calls are in traces.
#[derive(Clone, Debug)]
pub struct Traced<S> {
    inner: S,
    spans: Spans,
    place: Arc<[KeyValue; 2]>,
}

impl<S> Traced<S> {
    /// The calls of a service that is served at this address.
    pub fn new(inner: S, spans: Spans, at: SocketAddr) -> Self {
        let place = [
            KeyValue::new("server.address", at.ip().to_string()),
            KeyValue::new("server.port", i64::from(at.port())),
        ];
        Self { inner, spans, place: Arc::new(place) }
    }

    /// The trace that a call is in, with a span for it where one is recorded.
    fn context(&self, path: &str, headers: &HeaderMap) -> Option<Context> {
        let path = path.strip_prefix('/')?;
        let method = METHODS.into_iter().find(|method| *method == path)?;
        let parent = headers.contains_key(Parent::TRACE).then(|| Parent(headers).context());
        match (&self.spans.0, parent) {
            (None, parent) => parent.filter(Context::has_active_span),
            (Some(tracer), parent) => {
                let parent = parent.unwrap_or_default();
                let [address, port] = &*self.place;
                let builder = SpanBuilder {
                    span_kind: Some(SpanKind::Server),
                    attributes: Some(vec![
                        KeyValue::new("rpc.system.name", "grpc"),
                        KeyValue::new("rpc.method", method),
                        address.clone(),
                        port.clone(),
                    ]),
                    ..SpanBuilder::from_name(method)
                };
                Some(parent.with_span(tracer.build_with_context(builder, &parent)))
            }
        }
    }
}

impl<S, A, B> Service<Request<A>> for Traced<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, InTrace<S::Future>>;

    fn poll_ready(&mut self, context: &mut Polling<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        match self.context(request.uri().path(), request.headers()) {
            None => Either::Left(self.inner.call(request)),
            Some(context) => {
                let entered = context.clone().attach();
                let call = Some(Box::pin(self.inner.call(request)));
                drop(entered);
                Either::Right(InTrace { call, context })
            }
        }
    }
}

/// A call in a trace. Dropped in the middle it leaves in it too.
#[derive(Debug)]
pub struct InTrace<F> {
    call: Option<Pin<Box<F>>>,
    context: Context,
}

impl<F, B, E> Future for InTrace<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, polling: &mut Polling<'_>) -> Poll<F::Output> {
        let entered = self.context.clone().attach();
        let Some(call) = &mut self.call else { return Poll::Pending };
        let answer = ready!(call.as_mut().poll(polling));
        self.call = None;
        drop(entered);
        if let Ok(response) = &answer {
            answered(&self.context, code(response.headers()));
        }
        Poll::Ready(answer)
    }
}

impl<F> Drop for InTrace<F> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            let entered = self.context.clone().attach();
            drop(call);
            drop(entered);
            let span = self.context.span();
            span.set_attribute(KeyValue::new("error.type", "unanswered"));
            span.set_status(Status::error(Cow::Borrowed("")));
            span.end();
        }
    }
}

fn answered(context: &Context, code: &'static str) {
    let span = context.span();
    if span.is_recording() {
        span.set_attribute(KeyValue::new("rpc.response.status_code", code));
        if FAULTS.contains(&code) {
            span.set_attribute(KeyValue::new("error.type", code));
            span.set_status(Status::error(Cow::Borrowed("")));
        }
    }
    span.end();
}

/// An answer without a status in its headers has one behind its message: OK.
fn code(headers: &HeaderMap) -> &'static str {
    let Some(status) = headers.get("grpc-status") else { return "OK" };
    let number = status.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    number.and_then(|number| CODES.get(number).copied()).unwrap_or("UNKNOWN")
}

/// Where a call's headers say what trace it is in.
struct Parent<'h>(&'h HeaderMap);

impl Parent<'_> {
    const TRACE: &'static str = "traceparent";
    const STATE: &'static str = "tracestate";

    /// The caller's span as the active one; none, where it can't be read.
    fn context(&self) -> Context {
        static W3C: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

        W3C.extract_with_context(&Context::new(), self)
    }
}

impl Extractor for Parent<'_> {
    /// Two of them are none, and so is one that is too long.
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        value.to_str().ok().filter(|text| text.len() <= MAX_STATE_BYTES)
    }

    fn keys(&self) -> Vec<&str> {
        vec![Self::TRACE, Self::STATE]
    }
}

/// The ids of the trace that is active on this thread, and of our span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) trace: TraceId,
    /// None: the only span that is known is the caller's.
    pub(super) span: Option<SpanId>,
}

impl Ids {
    pub(super) fn current() -> Option<Self> {
        Context::map_current(|context| {
            if !context.has_active_span() {
                return None;
            }
            let span = context.span();
            let ids = span.span_context();
            let own = (!ids.is_remote()).then(|| ids.span_id());
            ids.is_valid().then(|| Self { trace: ids.trace_id(), span: own })
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// The trace that these headers put a call in, and its `tracestate`.
    fn read(parents: &[&str], states: &[&str]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, values) in [(Parent::TRACE, parents), (Parent::STATE, states)] {
            for value in values {
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        let context = Parent(&headers).context();
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid().then(|| (ids.trace_id().to_string(), ids.trace_state().header()))
    }

    #[test]
    fn a_good_traceparent_is_followed_whatever_becomes_of_its_state() {
        let long = format!("a={}", "b".repeat(MAX_STATE_BYTES));
        for (parents, states, state) in [
            (&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"][..], &[][..], ""),
            (&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"], &["a=b,c=d"], "a=b,c=d"),
            (&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], &["a=b", "c=d"], ""),
            (&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], &["?"], ""),
            (&["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], &[&long], ""),
            (&["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"], &[], ""),
        ] {
            let expected = Some((TRACE.to_owned(), state.to_owned()));
            assert_eq!(read(parents, states), expected, "{parents:?} {states:?}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let long = "1".repeat(4_000);
        for parents in [
            &[][..],
            &[""],
            &["-"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            &["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-g1"],
            &["00-0af7651916cd43dd8448eb211c80319\u{e9}-b7ad6b7169203331-01"],
            &[good, good],
            &[&long],
        ] {
            assert_eq!(read(parents, &[]), None, "{parents:?}");
        }
    }

    #[test]
    fn an_answer_has_the_name_of_its_code() {
        for (status, expected) in [
            (None, "OK"),
            (Some("0"), "OK"),
            (Some("14"), "UNAVAILABLE"),
            (Some("16"), "UNAUTHENTICATED"),
            (Some("17"), "UNKNOWN"),
            (Some("x"), "UNKNOWN"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(status) = status {
                headers.insert("grpc-status", HeaderValue::from_static(status));
            }
            assert_eq!(code(&headers), expected, "{status:?}");
        }
    }
}
