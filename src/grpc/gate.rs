//! What stands in front of every call: so many at once, each with a deadline,
//! and none whose panic ends the others.
//!
//! It also gives the library's own bare errors (a message too large, or not
//! readable) the form that all refusals have.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tonic::{Code, body::Body};
use tower::Service;

use super::status;

/// Bounds that hold for all connections of a process together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateBounds {
    /// Calls at once; one more is refused as UNAVAILABLE, at once.
    pub max_in_flight: usize,
    /// The deadline of a call that has none, and the latest of one that has.
    pub request_timeout: Duration,
}

/// The gate in front of a service.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    inner: S,
    places: Arc<Semaphore>,
    request_timeout: Duration,
}

/// The places that all gates of a process share.
pub fn places(bounds: GateBounds) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bounds.max_in_flight))
}

impl<S> Gate<S> {
    /// A gate in front of a service, sharing the places.
    pub fn new(inner: S, bounds: GateBounds, places: Arc<Semaphore>) -> Self {
        Self { inner, places, request_timeout: bounds.request_timeout }
    }
}

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Box::pin(async { Ok(status::overloaded().into_http()) });
        };
        let timeout = asked_timeout(request.headers())
            .map_or(self.request_timeout, |asked| asked.min(self.request_timeout));
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            let _place = place;
            Ok(match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(Ok(response))) => in_form(response),
                Ok(Err(_panic)) => {
                    tracing::error!("a call panicked; the others go on");
                    status::defect().into_http()
                }
                Err(_elapsed) => status::deadline_exceeded().into_http(),
            })
        })
    }
}

/// The deadline that a caller asked for (`grpc-timeout`: digits and a unit).
fn asked_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// The library refuses some messages before they get to us, as `OUT_OF_RANGE` or
/// `INTERNAL` and without details; ours always have details.
fn in_form(response: Response<Body>) -> Response<Body> {
    let header = |name| response.headers().get(name);
    if header("grpc-status-details-bin").is_some() {
        return response;
    }
    match header("grpc-status").map(|code| Code::from_bytes(code.as_bytes())) {
        Some(Code::OutOfRange) => status::unreadable_message(true).into_http(),
        Some(Code::Internal) => status::unreadable_message(false).into_http(),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_as_grpc_writes_it() {
        for (text, expected) in [
            ("2S", Some(Duration::from_secs(2))),
            ("1H", Some(Duration::from_secs(3600))),
            ("3M", Some(Duration::from_secs(180))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("999999999S", None),
            ("S", None),
            ("2", None),
            ("-2S", None),
            ("2s", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(asked_timeout(&headers), expected, "{text}");
        }
    }
}
