//! What the service tells of itself: logs, and [`metrics`].
//!
//! Logs are one line for each event, on standard error.
//!
//! Libraries below us see what must never be logged (a call's headers hold the
//! caller's token), so at their finest levels they are left out whatever the
//! filter says, unless it names them. What they write then holds no secret today
//! (`tests/secrets.rs` looks), but that is theirs to keep, not ours.
//!
//! A panic is logged as an event too, by its place alone: its message may quote
//! the very text on which the code failed.

mod json;
pub mod metrics;
pub mod process;
mod writer;

use std::{io, panic};

use anstream::{AutoStream, ColorChoice};
use opentelemetry::KeyValue;
use opentelemetry_sdk::{Resource, error::OTelSdkError};
use tracing_subscriber::{EnvFilter, fmt, util::TryInitError};

pub use self::metrics::Metrics;
use self::{json::Json, writer::Writing};
use crate::config::{LogConfig, LogFormat, TelemetryConfig};

/// Libraries through which headers and bodies pass.
const CARRIERS: [&str; 9] =
    ["h2", "hyper", "hyper_util", "tonic", "tower", "reqwest", "rustls", "axum", "mio"];

/// A log that is written. Dropped, it has been, to its last line.
#[must_use = "the last lines are written when it is dropped"]
#[derive(Debug)]
pub struct Log(#[expect(dead_code, reason = "lives until the log ends")] Writing);

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum NoLog {
    /// Somebody else logs for this process already.
    #[error(transparent)]
    Taken(#[from] TryInitError),
    /// There is no thread that could write.
    #[error("the system does not let the log be written: {0}")]
    System(#[from] io::Error),
}

/// Why there is nothing to count with, or nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum NoTelemetry {
    /// The SDK can't be set up.
    #[error(transparent)]
    Sdk(#[from] OTelSdkError),
    /// What was counted can't be written as text.
    #[error(transparent)]
    Text(#[from] prometheus::Error),
}

/// As whom the service tells it. Nothing is taken from the environment.
pub fn resource(config: &TelemetryConfig) -> Resource {
    Resource::builder_empty()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Starts logging for this process. Fails where somebody else has.
pub fn start(config: &LogConfig) -> Result<Log, NoLog> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let writing = Writing::start(io::stderr())?;
    let lines = writing.lines();
    let events = fmt()
        .with_env_filter(filter(&config.filter))
        .with_writer(writing.lines())
        .with_ansi(colours);
    match config.format {
        LogFormat::Text => events.finish().try_init(),
        LogFormat::Json => events.event_format(Json).finish().try_init(),
    }?;
    panic::set_hook(Box::new(move |panicked| {
        let place = panicked.location().map(tracing::field::display);
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name(), "a defect: the code panicked here");
        // It may be the last thing that this process does.
        lines.flush();
    }));
    Ok(Log(writing))
}

/// The configured filter, with every carrier held at `info` that it doesn't name.
fn filter(configured: &str) -> EnvFilter {
    let named = |carrier: &&str| {
        configured.split(',').any(|part| part.trim().split(['=', '[', ':']).next() == Some(carrier))
    };
    let held = CARRIERS.iter().filter(|carrier| !named(carrier));
    let directives = held.map(|carrier| format!(",{carrier}=info")).collect::<String>();
    EnvFilter::builder().parse_lossy(format!("{configured}{directives}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriers_stay_at_info_unless_they_are_named() {
        let shown = filter("trace").to_string();
        assert!(shown.contains("h2=info") && shown.contains("trace"), "{shown}");
        let shown = filter("info,h2=trace").to_string();
        assert!(shown.contains("h2=trace") && !shown.contains("h2=info"), "{shown}");
    }
}
