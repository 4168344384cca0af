//! The admin port: whether the process lives, whether it may be sent calls, and what
//! it has counted.

use std::net::{SocketAddr, TcpListener};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::sync::watch;

use super::StartFailed;
use crate::{
    grpc::transport::Phase,
    telemetry::{Metrics, metrics},
};

/// Opens the port.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartFailed> {
    let failed = |error| StartFailed::Listen { key: "admin_listen", address, error };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves `/livez`, `/readyz` and `/metrics` until the runtime ends.
///
/// It looks at the phase through a sender: the end waits for every receiver, and
/// it doesn't wait for the probes.
pub(super) async fn serve(listener: TcpListener, phase: watch::Sender<Phase>, metrics: Metrics) {
    let ready = move || {
        let answer = match *phase.borrow() {
            Phase::Serving => (StatusCode::OK, "ready\n"),
            Phase::Cut => (StatusCode::SERVICE_UNAVAILABLE, "the store is out of reach\n"),
            Phase::Leaving | Phase::Draining { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
        };
        std::future::ready(answer)
    };
    let probes = Router::new()
        .route("/livez", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || std::future::ready(counted(&metrics))));
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, probes).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the admin port is not served any more");
    }
}

/// What was counted, in Prometheus' form.
fn counted(metrics: &Metrics) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be told");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
