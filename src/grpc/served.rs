//! Which call goes where: the contract's straight to its service, everything else
//! through tonic's router.
//!
//! The router costs a call about as much as all its caveats do, for a choice that the
//! first bytes of the path make.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService, service::Routes};
use tower::Service;

use super::{TokenServer, callers::Guarded, proto::token_service_server::TokenServiceServer};

type Tokens = Guarded<TokenServiceServer<TokenServer>>;

/// Everything that is served on the gRPC port.
#[derive(Clone)]
pub(crate) struct Served {
    tokens: Tokens,
    others: Routes,
}

impl Served {
    pub(super) const fn new(tokens: Tokens, others: Routes) -> Self {
        Self { tokens, others }
    }
}

/// Whether a path is that of one of the contract's calls: `/SERVICE/METHOD`.
fn is_of_tokens(path: &str) -> bool {
    let path = path.strip_prefix('/').and_then(|path| path.strip_prefix(Tokens::NAME));
    path.is_some_and(|path| path.starts_with('/'))
}

impl Service<Request<Body>> for Served {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<
        <Tokens as Service<Request<Body>>>::Future,
        <Routes as Service<Request<Body>>>::Future,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Neither is ever busy: what there is too much of, the gate has refused.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_of_tokens(request.uri().path()) {
            Either::Left(self.tokens.call(request))
        } else {
            Either::Right(self.others.call(request))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_paths_are_those_of_its_service() {
        for (path, expected) in [
            ("/mintage.v1.TokenService/Mint", true),
            ("/mintage.v1.TokenService/Unheard", true),
            ("/mintage.v1.TokenService/", true),
            ("/mintage.v1.TokenService", false),
            ("/mintage.v1.TokenServices/Mint", false),
            ("//mintage.v1.TokenService/Mint", false),
            ("mintage.v1.TokenService/Mint", false),
            ("/grpc.health.v1.Health/Check", false),
            ("/", false),
            ("*", false),
        ] {
            assert_eq!(is_of_tokens(path), expected, "{path}");
        }
    }
}
