//! `mintage demo`: the whole story on one machine, with an OIDC issuer of its
//! own beside the real service.
//!
//! Everything speaks over real sockets: the service is this very binary as a
//! child process, [`index`] is what an index's web tier would be (HTTP outside,
//! gRPC to the service), [`issuer`] what a CI provider would be, and [`story`]
//! the CI job and its opponents.

mod http;
mod index;
mod issuer;
mod service;
pub mod signing;
mod stage;
mod story;

use tokio::signal::unix::{SignalKind, signal};

use service::Service;

/// Why the demo did not go as told: one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DemoFailed(String);

impl DemoFailed {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// Anything that went wrong, in the course of what.
fn failed<E: std::fmt::Display>(doing: &str) -> impl Fn(E) -> DemoFailed + '_ {
    move |error| DemoFailed::new(format!("{doing}: {error}"))
}

/// Tells the story on standard output. However it ends, the service is stopped
/// and its folder is gone.
pub fn run() -> Result<(), DemoFailed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed("starting"))?;
    runtime.block_on(async {
        // Both before anything is there that must not be left behind.
        let mut stop = signal(SignalKind::terminate()).map_err(failed("starting"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("starting"))?;
        tokio::select! {
            told = tell() => told,
            _ = interrupt.recv() => Err(DemoFailed::new("it was interrupted")),
            _ = stop.recv() => Err(DemoFailed::new("it was stopped")),
        }
    })
}

async fn tell() -> Result<(), DemoFailed> {
    let issuer = issuer::start().await?;
    let service = Service::start(&issuer).await?;
    let index = index::start(&service, issuer.url()).await?;
    let told = story::tell(&issuer, &service, &index).await;
    told.map_err(|DemoFailed(sentence)| {
        let log = service.last_lines();
        match log.is_empty() {
            true => DemoFailed(sentence),
            false => DemoFailed(format!("{sentence}\n\nthe service's last lines:\n{log}")),
        }
    })
}
