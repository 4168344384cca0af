//! Health, as gRPC's own contract has it (`grpc.health.v1`), for everybody.
//!
//! What it tells is the phase of the server, for both names alike: of the four calls
//! only Attenuate does without the store, and nobody runs a replica for that. tonic's reporter is not used: its
//! watched calls never end, so that one client with a health check would hold up
//! every shutdown to its hard end.

use std::pin::Pin;

use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use super::{status, transport::Phase};

/// The names that can be asked for: the whole server, and the contract's service.
const NAMES: [&str; 2] = ["", "mintage.v1.TokenService"];

/// Tells the phase of a server.
pub(super) struct PhaseHealth(watch::Receiver<Phase>);

impl PhaseHealth {
    pub(super) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self(phase)
    }
}

#[tonic::async_trait]
impl Health for PhaseHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        known(&request)?;
        Ok(Response::new(told(*self.0.borrow())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        known(&request)?;
        Ok(Response::new(Box::pin(phases(self.0.clone()))))
    }
}

fn known(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
    if NAMES.contains(&request.get_ref().service.as_str()) {
        Ok(())
    } else {
        Err(status::no_such_service())
    }
}

/// The present phase, and every change up to the end, which ends the call as well.
fn phases(
    mut phase: watch::Receiver<Phase>,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> {
    phase.mark_changed();
    stream::unfold(Some(phase), |watched| async {
        let mut watched = watched?;
        watched.changed().await.ok()?;
        let now = *watched.borrow_and_update();
        let rest = match now {
            Phase::Serving | Phase::Cut | Phase::Leaving => Some(watched),
            Phase::Draining { .. } => None,
        };
        Some((Ok(told(now)), rest))
    })
}

fn told(phase: Phase) -> HealthCheckResponse {
    let status = match phase {
        Phase::Serving => ServingStatus::Serving,
        Phase::Cut | Phase::Leaving | Phase::Draining { .. } => ServingStatus::NotServing,
    };
    HealthCheckResponse { status: status.into() }
}
