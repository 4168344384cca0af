//! Who calls: a bearer token in the call's headers, of which only the SHA-256 is
//! known here.
//!
//! It is looked at before anything of the call's message is read: a stranger gets
//! no byte of memory and learns nothing of what a good message would be.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::{
    audit,
    metered::{Held, Metered, Purse},
    status::status,
};
use crate::service::{Caller, Reason, Refusal};

/// The callers, by the SHA-256 of their tokens.
pub enum CallerTokens {
    /// None is configured: whoever gets here may do everything.
    Anonymous(Arc<Caller>),
    /// Each proves itself.
    Known(HashMap<[u8; 32], Arc<Caller>>),
}

impl fmt::Debug for CallerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(_) => f.write_str("Anonymous"),
            Self::Known(callers) => f.debug_set().entries(callers.values()).finish(),
        }
    }
}

impl CallerTokens {
    /// For a service that the loopback interface or a mesh guards.
    pub fn anonymous() -> Self {
        Self::Anonymous(Arc::new(Caller::anonymous()))
    }

    /// Who sent this.
    ///
    /// The token is looked up by its hash, so that the time this takes tells
    /// nothing about the tokens that would have been right.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let callers = match self {
            Self::Anonymous(caller) => return Ok(Arc::clone(caller)),
            Self::Known(callers) => callers,
        };
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(unknown("the call must have one authorization header"));
        };
        let token = bearer(value.as_bytes())
            .ok_or_else(|| unknown("the call's authorization is not a bearer token"))?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = callers.get(&hash).map(Arc::clone);
        known.ok_or_else(|| unknown("the call's bearer token is that of no configured caller"))
    }
}

/// A service whose every call has a caller that proved itself, and sends no more
/// than there is room for.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    callers: Arc<CallerTokens>,
    purse: Purse,
}

impl<S> Guarded<S> {
    /// A guard in front of a service.
    pub(super) fn new(inner: S, callers: Arc<CallerTokens>) -> Self {
        Self { inner, callers, purse: Purse::full() }
    }
}

/// What a guard leaves in a call's extensions: its caller, who proved itself.
#[derive(Clone)]
pub(super) struct Proven(Arc<Caller>);

impl Proven {
    /// The caller of a call that came through a guard; of another, nobody.
    pub(super) fn caller<T>(call: &tonic::Request<T>) -> Result<Arc<Caller>, Refusal> {
        let proven = call.extensions().get::<Self>().map(|proven| Arc::clone(&proven.0));
        proven.ok_or_else(|| unknown("the call came past the guard"))
    }
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<Metered<B>>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Holding<S::Future>, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.callers.authenticate(request.headers()) {
            Ok(caller) => {
                request.extensions_mut().insert(Proven(caller));
                let held = Held::nothing(&self.purse);
                let request = request.map(|body| Metered::new(body, Arc::clone(&held)));
                Either::Left(Holding { call: self.inner.call(request), _held: held })
            }
            Err(refusal) => {
                audit::stranger(request.uri().path(), &refusal);
                Either::Right(ready(Ok(status(refusal).into_http())))
            }
        }
    }
}

/// A call that keeps what it has taken until it is answered.
pub(crate) struct Holding<F> {
    call: F,
    _held: Arc<Held>,
}

impl<F: Future + Unpin> Future for Holding<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.call).poll(context)
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

/// The token of `Bearer <token>`; the scheme has no case (RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(BEARER) && !token.is_empty()).then_some(token)
}

const BEARER: &[u8] = b"bearer ";

fn unknown(message: &str) -> Refusal {
    Refusal::new(Reason::CallerUnknown, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> CallerTokens {
        let hash = Sha256::digest(b"right").into();
        CallerTokens::Known([(hash, Arc::new(Caller::anonymous()))].into())
    }

    #[test]
    fn only_one_bearer_token_that_is_known_proves_a_caller() {
        for (values, proves) in [
            (&["Bearer right"][..], true),
            (&["bearer right"], true),
            (&["BEARER  right "], true),
            (&["Bearer wrong"], false),
            (&["Bearer "], false),
            (&["Bearer"], false),
            (&["Basic right"], false),
            (&["right"], false),
            (&[""], false),
            (&[], false),
            (&["Bearer right", "Bearer right"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            let answer = known().authenticate(&headers);
            assert_eq!(answer.is_ok(), proves, "{values:?}");
            if let Err(refusal) = answer {
                assert_eq!(refusal.reason, Reason::CallerUnknown);
            }
        }
    }

    #[test]
    fn without_configured_callers_everybody_is_the_anonymous_one() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "Basic whatever".parse().unwrap());
        let caller = CallerTokens::anonymous().authenticate(&headers).unwrap();
        assert_eq!(caller.name, "anonymous");
    }
}
