//! What the service tells of itself: logs, [`metrics`], and [traces](trace).
//!
//! Metrics and traces are each service's own: a [`Telemetry`], handed to whoever counts
//! or begins a span. Nothing of them is global.
//!
//! Logs are one line for each event, on standard error, with the ids of the trace that
//! it belongs to.
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
mod otlp;
pub mod process;
pub mod store;
mod text;
pub mod trace;
mod writer;

use std::{io, panic, sync::mpsc, thread, time::Duration};

use anstream::{AutoStream, ColorChoice};
use opentelemetry::KeyValue;
use opentelemetry_sdk::{Resource, error::OTelSdkError};
use tracing_subscriber::{EnvFilter, fmt, util::TryInitError};

use self::{
    json::Json,
    otlp::Collector,
    text::Text,
    trace::{Recording, Spans},
    writer::Writing,
};
pub use self::{metrics::Metrics, writer::lines_lost};
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

/// Why there is nothing to count with, or nobody to tell.
#[derive(Debug, thiserror::Error)]
pub enum NoTelemetry {
    /// The SDK can't be set up.
    #[error(transparent)]
    Sdk(#[from] OTelSdkError),
    /// What was counted can't be written as text.
    #[error(transparent)]
    Text(#[from] prometheus::Error),
    /// The collector can't be reached in this way, whether it is there or not.
    #[error("telemetry.otlp_endpoint: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    /// A header that gRPC doesn't carry.
    #[error("telemetry.otlp_headers_file: {0} can't be sent")]
    Header(String),
    /// The system has no thread left to give.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The end of the process waits at most so long for a collector.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Metrics and traces of one service.
#[derive(Debug)]
pub struct Telemetry {
    // Before the rest: dropped without an end, nobody waits for the collector.
    sending: Option<(Collector, Recording)>,
    metrics: Metrics,
}

impl Telemetry {
    /// Begins to count, and to send where there is a collector; nobody waits for it.
    /// `chance` tells this process from other replicas.
    pub fn start(config: &TelemetryConfig, chance: [u8; 16]) -> Result<Self, NoTelemetry> {
        let resource = resource(config, chance);
        let Some(otlp) = &config.otlp else {
            return Ok(Self { metrics: Metrics::new(resource)?, sending: None });
        };
        let collector = Collector::new(otlp)?;
        let reader = collector.metrics(otlp.metrics_interval);
        let metrics = Metrics::read_by(resource.clone(), Some(reader))?;
        collector.observe(&metrics.meter());
        let recording = Recording::new(resource, otlp.trace_ratio.get(), collector.spans());
        Ok(Self { metrics, sending: Some((collector, recording)) })
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What makes spans.
    pub fn spans(&self) -> Spans {
        self.sending.as_ref().map_or_else(Spans::none, |(_, recording)| recording.spans())
    }

    /// Sends what was not sent yet, if the collector takes it soon. Blocks.
    pub fn end(self) {
        let Some((collector, recording)) = self.sending else { return };
        let (ended, ends) = mpsc::channel();
        let ending = [
            {
                let (ended, spans) = (ended.clone(), recording.provider().clone());
                thread::Builder::new().spawn(move || {
                    let _ = ended.send(spans.shutdown_with_timeout(END_PATIENCE).is_ok());
                })
            },
            {
                let metrics = self.metrics.provider().clone();
                thread::Builder::new().spawn(move || {
                    let _ = ended.send(metrics.shutdown_with_timeout(END_PATIENCE).is_ok());
                })
            },
        ];
        let until = tokio::time::Instant::now() + END_PATIENCE;
        let taken = ending.iter().filter(|thread| thread.is_ok()).all(|_| {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            ends.recv_timeout(left).unwrap_or(false)
        });
        if !taken {
            tracing::warn!("the collector did not take the last traces and metrics");
        }
        collector.close();
    }
}

/// As whom the service tells it. Nothing is taken from the environment.
fn resource(config: &TelemetryConfig, chance: [u8; 16]) -> Resource {
    let instance = uuid::Builder::from_random_bytes(chance).into_uuid().to_string();
    Resource::builder_empty()
        .with_attribute(KeyValue::new("service.instance.id", instance))
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
        LogFormat::Text => events.fmt_fields(Text::default()).finish().try_init(),
        LogFormat::Json => events.event_format(Json).finish().try_init(),
    }?;
    panic::set_hook(Box::new(move |panicked| {
        let place = panicked.location().map(tracing::field::display);
        let thread = thread::current();
        tracing::error!(place, thread = thread.name(), "a defect: the code panicked here");
        // It may be the last thing that this process does.
        lines.flush();
    }));
    Ok(Log(writing))
}

/// The API of traces and metrics. It tells of its own mishaps while it holds what a log
/// line asks it for, the trace's ids.
const UNSPEAKABLE: &str = "opentelemetry";

/// The configured filter, with every carrier held at `info` that it doesn't name.
fn filter(configured: &str) -> EnvFilter {
    let named = |carrier: &&str| {
        configured.split(',').any(|part| part.trim().split(['=', '[', ':']).next() == Some(carrier))
    };
    let held = CARRIERS.iter().filter(|carrier| !named(carrier));
    let directives = held.map(|carrier| format!(",{carrier}=info")).collect::<String>();
    EnvFilter::builder().parse_lossy(format!("{configured}{directives},{UNSPEAKABLE}=off"))
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
