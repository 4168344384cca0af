//! Who calls: a bearer token in the call's headers, of which only the SHA-256 is
//! known here, or the client certificate of its connection.
//!
//! One rule: a call that brings a token is judged by its token. A wrong one is refused
//! whatever certificate lies under it, and the caller of a right one must have the
//! certificate too where it is configured with both. A call without a token is that of
//! the caller whose certificate it is, if that one is configured with no token.
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

use arc_swap::ArcSwap;
use futures_util::future::Either;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::{
    audit,
    instruments::{IndexAt, Instruments},
    metered::{Held, Metered, Purse, Refusals},
    rpc::Rpc,
    spans,
    status::{reason_name, status},
    tls::PeerSans,
};
use crate::service::{Caller, Proof, Reason, Refusal, San};

/// The callers, by what they prove themselves with.
pub enum CallerTokens {
    /// None is configured: whoever gets here may do everything.
    Anonymous(Arc<Caller>),
    /// Each proves itself.
    Known(KnownCallers),
}

/// The callers as the next call is held against. Its clones are the same ones.
#[derive(Clone, Debug)]
pub struct SharedCallers(Arc<ArcSwap<CallerTokens>>);

impl SharedCallers {
    /// These, until others replace them.
    pub fn new(callers: CallerTokens) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(callers)))
    }

    /// Every call from now on is held against these.
    pub fn replace(&self, callers: CallerTokens) {
        self.0.store(Arc::new(callers));
    }
}

/// Callers that prove themselves.
#[derive(Default)]
pub struct KnownCallers {
    /// By the SHA-256 of their tokens.
    by_token: HashMap<[u8; 32], TokenCaller>,
    /// By the names in their certificates; those who need no token.
    by_san: HashMap<San, Arc<Caller>>,
}

/// A caller that brings a token, and the certificate that it must bring along.
struct TokenCaller {
    caller: Arc<Caller>,
    san: Option<San>,
}

impl fmt::Debug for CallerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(_) => f.write_str("Anonymous"),
            Self::Known(known) => {
                let by_token = known.by_token.values().map(|known| &known.caller);
                f.debug_set().entries(by_token.chain(known.by_san.values())).finish()
            }
        }
    }
}

impl FromIterator<(Proof, Caller)> for KnownCallers {
    fn from_iter<T: IntoIterator<Item = (Proof, Caller)>>(callers: T) -> Self {
        let mut known = Self::default();
        for (proof, caller) in callers {
            let caller = Arc::new(caller);
            match proof {
                Proof::San(san) => {
                    known.by_san.insert(san, caller);
                }
                Proof::Token(hash) => {
                    known.by_token.insert(hash, TokenCaller { caller, san: None });
                }
                Proof::Both(hash, san) => {
                    known.by_token.insert(hash, TokenCaller { caller, san: Some(san) });
                }
            }
        }
        known
    }
}

impl CallerTokens {
    /// For a service that the loopback interface or a mesh guards.
    pub fn anonymous() -> Self {
        Self::Anonymous(Arc::new(Caller::anonymous()))
    }

    /// Who sent this, on a connection whose verified client certificate has these
    /// names. None: there is no such certificate.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        sans: Option<&[San]>,
    ) -> Result<Arc<Caller>, Refusal> {
        let known = match self {
            Self::Anonymous(caller) => return Ok(Arc::clone(caller)),
            Self::Known(known) => known,
        };
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next(), sans) {
            (Some(value), None, sans) => known.by_token(value.as_bytes(), sans.unwrap_or_default()),
            (None, _, Some(sans)) => known.by_san(sans),
            _ => Err(unknown("the call must have one authorization header")),
        }
    }
}

impl KnownCallers {
    /// The token is looked up by its hash, so that the time this takes tells nothing
    /// about the tokens that would have been right.
    fn by_token(&self, authorization: &[u8], sans: &[San]) -> Result<Arc<Caller>, Refusal> {
        let token = bearer(authorization)
            .ok_or_else(|| unknown("the call's authorization is not a bearer token"))?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = self
            .by_token
            .get(&hash)
            .ok_or_else(|| unknown("the call's bearer token is that of no configured caller"))?;
        match &known.san {
            Some(san) if !sans.contains(san) => {
                Err(unknown("the call's bearer token is good only with its caller's certificate"))
            }
            _ => Ok(Arc::clone(&known.caller)),
        }
    }

    /// A certificate that is that of two callers is nobody's: which of them calls can't
    /// be said.
    fn by_san(&self, sans: &[San]) -> Result<Arc<Caller>, Refusal> {
        let mut callers = sans.iter().filter_map(|san| self.by_san.get(san));
        let caller = callers.next().ok_or_else(|| {
            unknown("the connection's certificate is that of no configured caller")
        })?;
        if callers.any(|other| !Arc::ptr_eq(other, caller)) {
            return Err(unknown("the connection's certificate is that of several callers"));
        }
        Ok(Arc::clone(caller))
    }
}

/// A service whose every call has a caller that proved itself, and sends no more
/// than there is room for.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    callers: SharedCallers,
    purse: Purse,
    instruments: Arc<Instruments>,
}

impl<S> Guarded<S> {
    /// A guard in front of a service.
    pub(super) fn new(inner: S, callers: SharedCallers, instruments: Arc<Instruments>) -> Self {
        Self { inner, callers, purse: Purse::full(), instruments }
    }

    fn called(&self, caller: &str, rpc: Option<Rpc>) {
        if let Some(rpc) = rpc {
            self.instruments.called(caller, rpc);
        }
    }

    fn refused(&self, rpc: Option<Rpc>, refusal: &Refusal) {
        self.called("", rpc);
        if let Some(rpc) = rpc {
            self.instruments.refused(rpc, IndexAt::default(), refusal);
        }
        audit::stranger(rpc, refusal);
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
        let rpc = Rpc::of_path(request.uri().path());
        let sans = request.extensions().get::<PeerSans>().map(PeerSans::sans);
        match self.callers.0.load().authenticate(request.headers(), sans) {
            Ok(caller) => {
                self.called(&caller.name, rpc);
                request.extensions_mut().insert(Proven(caller));
                let held = Held::nothing(&self.purse);
                let refusals = Refusals { instruments: Arc::clone(&self.instruments), rpc };
                let request = request.map(|body| Metered::new(body, Arc::clone(&held), refusals));
                Either::Left(Holding { call: self.inner.call(request), _held: held })
            }
            Err(refusal) => {
                spans::reasons(reason_name(refusal.reason));
                self.refused(rpc, &refusal);
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
        let hash = |token: &str| Sha256::digest(token).into();
        let san = |name| San::parse(name).unwrap();
        let proofs = [
            ("by token", Proof::Token(hash("right"))),
            ("by name", Proof::San(san("web.internal"))),
            ("by another name", Proof::San(san("spiffe://internal/other"))),
            ("by both", Proof::Both(hash("both"), san("both.internal"))),
        ];
        let named = |name: &str| Caller { name: name.to_owned(), ..Caller::anonymous() };
        let known = proofs.into_iter().map(|(name, proof)| (proof, named(name)));
        CallerTokens::Known(known.collect())
    }

    #[test]
    fn a_token_is_judged_first_and_a_certificate_stands_for_itself_only() {
        let sans = |names: &[&str]| names.iter().map(|name| San::parse(name).unwrap()).collect();
        for (token, names, expected) in [
            ("right", None, Some("by token")),
            ("right", Some(&["stranger.internal"][..]), Some("by token")),
            ("right", Some(&["web.internal"]), Some("by token")),
            ("wrong", Some(&["web.internal"]), None),
            ("", Some(&["web.internal"]), Some("by name")),
            ("", Some(&["spiffe://internal/other", "elsewhere"]), Some("by another name")),
            ("", Some(&["web.internal", "spiffe://internal/other"]), None),
            ("", Some(&["web.internal", "web.internal"]), Some("by name")),
            ("", Some(&["stranger.internal"]), None),
            ("", Some(&["spiffe://internal/Other"]), None),
            ("", Some(&["sub.web.internal"]), None),
            ("", Some(&[]), None),
            ("", Some(&["both.internal"]), None),
            ("both", None, None),
            ("both", Some(&["web.internal"]), None),
            ("both", Some(&["both.internal"]), Some("by both")),
            ("both", Some(&["web.internal", "both.internal"]), Some("by both")),
        ] {
            let mut headers = HeaderMap::new();
            if !token.is_empty() {
                headers.append(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            }
            let names: Option<Vec<San>> = names.map(sans);
            let answer = known().authenticate(&headers, names.as_deref());
            let caller = answer.as_ref().ok().map(|caller| caller.name.as_str());
            assert_eq!(caller, expected, "{token:?}, {names:?}: {answer:?}");
        }
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
            let answer = known().authenticate(&headers, None);
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
        let caller = CallerTokens::anonymous().authenticate(&headers, None).unwrap();
        assert_eq!(caller.name, "anonymous");
    }
}
