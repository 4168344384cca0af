//! What stands in front of every call: so many at once, each with a deadline,
//! and none whose panic ends the others.
//!
//! One too many is refused by an answer that is ready, without a line in the log: in
//! an overload most of a core's time would go into refusals otherwise. They are
//! counted, told by whoever steers, and have a [pace](super::pace).
//!
//! It also gives the library's own bare errors (a message too large, or not
//! readable) the form that all refusals have.
//!
//! Health and reflection, which strangers may call and which may answer for ever,
//! have places of their own, so that they never take one from the contract's calls.

use std::{
    convert::Infallible,
    future::{self, Future},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::{
    Rpc,
    instruments::{Instruments, Room},
    pace::{Pace, Turn, UnderWay, Waiting},
    status,
};
use crate::service::Reason;

/// Bounds that hold for all connections of a process together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateBounds {
    /// Calls of the contract at once, whatever they wait for; one more is refused as
    /// UNAVAILABLE, at once.
    pub max_in_flight: usize,
    /// Calls of health at once, watched ones to their end. As many as there may be
    /// connections: a client watches on each of its own.
    pub max_health: usize,
    /// The deadline of a call that has none, and the latest of one that has.
    pub request_timeout: Duration,
}

/// Calls of anything else at once, to their end: reflection, for a person with a
/// tool. An answer that nobody reads holds 35 KiB.
const MAX_OTHERS: usize = 64;

/// The gate in front of a service. Its clones share its places.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    inner: S,
    calls: Room,
    health: Arc<Semaphore>,
    others: Arc<Semaphore>,
    request_timeout: Duration,
    turn: Turn,
    instruments: Arc<Instruments>,
    /// The headers of a refusal, which are all there is to it.
    overloaded: Arc<HeaderMap>,
}

impl<S> Gate<S> {
    /// A gate in front of a service.
    pub fn new(inner: S, bounds: GateBounds, instruments: Arc<Instruments>) -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self {
            inner,
            turn: Pace::new(Instant::now()).turn(),
            calls: Room { free: places(bounds.max_in_flight), places: bounds.max_in_flight },
            health: places(bounds.max_health),
            others: places(MAX_OTHERS),
            request_timeout: bounds.request_timeout,
            instruments,
            overloaded: Arc::new(status::overloaded().into_http::<()>().headers().clone()),
        }
    }

    /// The same gate for the calls of one connection, which has this share in its core.
    pub fn of(&self, turn: Turn) -> Self
    where
        S: Clone,
    {
        Self { turn, ..self.clone() }
    }

    /// The places for calls of the contract that it and its clones have.
    pub fn room(&self) -> Room {
        self.calls.clone()
    }

    fn refusal(&self, rpc: Option<Rpc>) -> Response<Body> {
        self.instruments.overloaded(rpc);
        if let Some(rpc) = rpc {
            self.instruments.answered(rpc, Code::Unavailable, Duration::ZERO);
        }
        let mut response = Response::new(Body::empty());
        response.headers_mut().clone_from(self.overloaded.as_ref());
        response
    }

    /// A place for a call of this path, and until when it is held. None: it is one too
    /// many.
    fn place(&self, path: &str, now: Instant) -> Option<(Place, HeldUntil)> {
        let (places, held_until) = match path.split('/').nth(1) {
            Some("mintage.v1.TokenService") => (&self.calls.free, HeldUntil::Answered),
            Some("grpc.health.v1.Health") => (&self.health, HeldUntil::Read),
            _ => (&self.others, HeldUntil::Read),
        };
        let (waiting, under_way) = match held_until {
            HeldUntil::Answered => {
                self.turn.admit(now).map(|(one, other)| (Some(one), Some(other)))?
            }
            HeldUntil::Read => (None, None),
        };
        let permit = Arc::clone(places).try_acquire_owned().ok()?;
        Some((Place { waiting, held: Held { permit, under_way } }, held_until))
    }
}

/// What a call is given: of the contract's, a place in front of its core until it begins;
/// and what it holds until it ends.
struct Place {
    waiting: Option<Waiting>,
    held: Held,
}

/// One of the process's places, and, of the contract's, one of the core's.
struct Held {
    #[expect(dead_code, reason = "it is there to be dropped")]
    permit: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "it is there to be dropped")]
    under_way: Option<UnderWay>,
}

/// When a call's place is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldUntil {
    /// There is an answer: all of it is there at once.
    Answered,
    /// The answer was taken by the peer, to its end.
    Read,
}

impl<S, B> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let now = Instant::now();
        let path = request.uri().path();
        let rpc = Rpc::of_path(path);
        let Some((place, held_until)) = self.place(path, now) else {
            self.turn.refused(now);
            return Box::pin(future::ready(Ok(self.refusal(rpc))));
        };
        let Place { waiting, held } = place;
        let timeout = asked_timeout(request.headers())
            .map_or(self.request_timeout, |asked| asked.min(self.request_timeout));
        // Begun when it is this call's turn: it is only counted when it comes in.
        let mut inner = self.inner.clone();
        let answer = AssertUnwindSafe(async move {
            drop(waiting);
            inner.call(request).await
        });
        let answer = answer.catch_unwind();
        let told = Told { instruments: Arc::clone(&self.instruments), rpc, began: now };
        Box::pin(async move {
            let response = match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(Ok(response))) => match bare(&response) {
                    None => response,
                    Some(too_large) => {
                        told.refused(Reason::RequestInvalid);
                        status::unreadable_message(too_large).into_http()
                    }
                },
                Ok(Err(_panic)) => {
                    tracing::error!("a call panicked; the others go on");
                    told.instruments.panicked();
                    told.refused(Reason::Internal);
                    status::defect().into_http()
                }
                Err(_elapsed) => status::deadline_exceeded().into_http(),
            };
            told.answered(&response);
            Ok(match held_until {
                HeldUntil::Answered => response,
                HeldUntil::Read => response.map(|body| Body::new(InPieces::new(body, held))),
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

/// What a call's answer is counted by; of one that isn't the contract's, nothing is.
struct Told {
    instruments: Arc<Instruments>,
    rpc: Option<Rpc>,
    began: Instant,
}

impl Told {
    fn refused(&self, reason: Reason) {
        if let Some(rpc) = self.rpc {
            self.instruments.refused_at_once(rpc, reason);
        }
    }

    fn answered(&self, response: &Response<Body>) {
        if let Some(rpc) = self.rpc {
            self.instruments.answered(rpc, code(response), self.began.elapsed());
        }
    }
}

/// The status code of an answer. One that ends well tells it after its message.
fn code(response: &Response<Body>) -> Code {
    let code = response.headers().get("grpc-status");
    code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// The library refuses some messages before they get to us, as `OUT_OF_RANGE` or
/// `INTERNAL` and without details; ours always have details. Whether the message is too
/// large, where an answer is such a refusal.
fn bare(response: &Response<Body>) -> Option<bool> {
    if response.headers().contains_key("grpc-status-details-bin") {
        return None;
    }
    match code(response) {
        Code::OutOfRange => Some(true),
        Code::Internal => Some(false),
        _ => None,
    }
}

/// An answer that is handed over in small pieces, and holds its call's place until
/// the last one is taken.
///
/// HTTP/2's flow control asks for the next piece only when the peer has room for
/// it; one large piece it would take whole, and keep for a peer that reads nothing.
struct InPieces {
    body: Body,
    rest: Bytes,
    _held: Held,
}

/// A peer that reads nothing has so much of an answer kept for it.
const PIECE_BYTES: usize = 1024;

impl InPieces {
    fn new(body: Body, held: Held) -> Self {
        Self { body, rest: Bytes::new(), _held: held }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE_BYTES)))
    }
}

impl http_body::Body for InPieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            Ok(match frame?.into_data() {
                Ok(data) => {
                    self.rest = data;
                    self.piece()
                }
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
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
