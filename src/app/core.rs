//! One core's part of the serving: its listener, its runtime, its pace.

use std::{io, sync::Arc};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    grpc::{
        Served,
        gate::Gate,
        pace::Pace,
        tls::Tls,
        transport::{self, ConnectionBounds, Phase},
    },
    telemetry::trace::Traced,
};

/// What a core serves.
pub(super) struct Core {
    pub(super) listener: std::net::TcpListener,
    pub(super) gate: Gate<Traced<Served>>,
    pub(super) bounds: ConnectionBounds,
    pub(super) places: Arc<Semaphore>,
    pub(super) tls: Option<Tls>,
    pub(super) phases: watch::Receiver<Phase>,
}

impl Core {
    /// What a thread runs, to the end of the service.
    pub(super) fn served(self) -> io::Result<impl FnOnce() + Send + 'static> {
        let pace = Pace::new(Instant::now());
        let runtime = runtime_of(&pace)?;
        let Self { listener, gate, bounds, places, tls, phases } = self;
        Ok(move || {
            runtime.block_on(async move {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let service = |turn| gate.of(turn);
                        transport::serve(listener, service, bounds, places, pace, tls, phases)
                            .await;
                    }
                    Err(error) => tracing::error!(%error, "a listener could not be used"),
                }
            });
        })
    }
}

/// A core's runtime, which tells its pace when the core has nothing to do.
fn runtime_of(pace: &Pace) -> io::Result<Runtime> {
    let (parking, unparking) = (pace.clone(), pace.clone());
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || parking.parked(Instant::now()))
        .on_thread_unpark(move || unparking.unparked(Instant::now()))
        .build()
}
