//! OTLP over gRPC: what is sent to a collector, and what happens where it doesn't take it.
//!
//! The SDK's two threads (one gathers spans, one reads the instruments) hand what they
//! have to the exporters here. The connection lives on a runtime of its own with one
//! thread, so that no thread that serves has anything to do with it. Whatever a collector
//! does, calls go on: spans wait in a queue of [`QUEUE`], and one that finds it full is
//! dropped; an export has [`EXPORT_TIMEOUT`], from the first look-up of a name to the
//! answer, and isn't repeated.
//!
//! `opentelemetry-otlp` does the same on top of the same generated clients, but takes
//! headers and compression from the environment whatever it is told.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Meter};
use opentelemetry_proto::{
    tonic::collector::{
        metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
        trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    },
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    metrics::{PeriodicReader, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::timeout,
};
use tonic::{
    Request, Response, Status,
    metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::NoTelemetry;
use crate::config::OtlpConfig;

/// Spans that wait at most: some seconds' worth of a busy core, in two megabytes.
const QUEUE: usize = 2_048;

/// Spans in one export.
const BATCH: usize = 512;

/// A span waits at most so long before it is sent.
const GATHERED_FOR: Duration = Duration::from_secs(2);

/// One export, connecting included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection on which nothing comes for so long is asked whether it still is one.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// The connection to a collector.
#[derive(Debug)]
pub(super) struct Collector {
    runtime: Runtime,
    sender: Sender,
    signals: [Arc<Signal>; 2],
}

impl Collector {
    /// A collector that nobody has connected to yet.
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, NoTelemetry> {
        let headers = headers(config)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("mintage-otlp")
            .enable_all()
            .build()?;
        let channel = {
            let _entered = runtime.enter();
            endpoint(config)?.connect_lazy()
        };
        let sender =
            Sender { channel, headers: Arc::new(headers), handle: runtime.handle().clone() };
        let signals = ["traces", "metrics"].map(|name| Arc::new(Signal::new(name)));
        Ok(Self { runtime, sender, signals })
    }

    /// What spans are handed to.
    pub(super) fn spans(&self) -> BatchSpanProcessor {
        let [signal, _] = &self.signals;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(GATHERED_FOR)
            .build();
        let (sender, signal) = (self.sender.clone(), Arc::clone(signal));
        let exporter = Spans { sender, signal, resource: ResourceAttributesWithSchema::default() };
        BatchSpanProcessor::builder(exporter).with_batch_config(config).build()
    }

    /// What reads the instruments, so often.
    pub(super) fn metrics(&self, every: Duration) -> PeriodicReader<Metrics> {
        let [_, signal] = &self.signals;
        let exporter = Metrics { sender: self.sender.clone(), signal: Arc::clone(signal) };
        PeriodicReader::builder(exporter).with_interval(every).build()
    }

    /// Counts what the collector didn't take.
    pub(super) fn observe(&self, meter: &Meter) {
        let signals = self.signals.clone().map(|signal| {
            let name = [KeyValue::new("signal", signal.name)];
            (signal, name)
        });
        meter
            .u64_observable_counter("mintage.otlp.export_failures")
            .with_description("Exports that the collector did not take.")
            .with_callback(move |told| {
                for (signal, name) in &signals {
                    told.observe(signal.failures.load(Ordering::Relaxed), name);
                }
            })
            .build();
    }

    /// Lets go of the connection, whatever is still on its way.
    pub(super) fn close(self) {
        self.runtime.shutdown_background();
    }
}

fn endpoint(config: &OtlpConfig) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(config.endpoint.clone())?
        .user_agent(concat!("mintage/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(EXPORT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    if !config.endpoint.starts_with("https://") {
        return Ok(endpoint);
    }
    let tls = match &config.ca {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint.tls_config(tls)
}

fn headers(config: &OtlpConfig) -> Result<MetadataMap, NoTelemetry> {
    let mut headers = MetadataMap::with_capacity(config.headers.len());
    for (name, secret) in &config.headers {
        let unusable = || NoTelemetry::Header(name.clone());
        let name: AsciiMetadataKey = name.parse().map_err(|_| unusable())?;
        let mut value: AsciiMetadataValue = secret.expose().parse().map_err(|_| unusable())?;
        // It isn't shown by `Debug`, and not put into HPACK's table.
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// What an export is sent with.
#[derive(Clone, Debug)]
struct Sender {
    channel: Channel,
    headers: Arc<MetadataMap>,
    handle: Handle,
}

impl Sender {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().clone_from(&self.headers);
        request
    }

    /// Waits for an answer, on whatever thread, while the connection's own does the work.
    async fn sent<T: Send + 'static>(
        &self,
        export: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
    ) -> Result<(), Lost> {
        // A timer belongs to the runtime on whose thread it is made.
        let bounded = async move { timeout(EXPORT_TIMEOUT, export).await };
        let exported = self.handle.spawn(bounded).await;
        match exported {
            Ok(Ok(Ok(_taken))) => Ok(()),
            Ok(Ok(Err(status))) => Err(Lost::Refused(told(&status))),
            Ok(Err(_elapsed)) => Err(Lost::TooSlow),
            Err(_ended) => Err(Lost::Closed),
        }
    }
}

/// Why an export was lost; for the log.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Refused(String),
    #[error("no answer for {EXPORT_TIMEOUT:?}")]
    TooSlow,
    #[error("the connection was closed")]
    Closed,
}

/// What may be told of a status: its code, and what our own end of the connection says.
/// A collector's message may quote what it was sent.
fn told(status: &Status) -> String {
    let mut told = format!("{:?}", status.code());
    let mut cause = status.source();
    while let Some(why) = cause {
        told.push_str(&format!(": {why}"));
        cause = why.source();
    }
    told
}

/// Traces, or metrics: whether the collector takes them.
#[derive(Debug)]
struct Signal {
    name: &'static str,
    failures: AtomicU64,
    lost: AtomicBool,
}

impl Signal {
    const fn new(name: &'static str) -> Self {
        Self { name, failures: AtomicU64::new(0), lost: AtomicBool::new(false) }
    }

    /// Notes how an export went. An outage is told when it begins and when it ends.
    fn note(&self, outcome: Result<(), Lost>) -> OTelSdkResult {
        let signal = self.name;
        match outcome {
            Ok(()) => {
                if self.lost.swap(false, Ordering::Relaxed) {
                    tracing::info!(signal, "the collector takes what it is sent again");
                }
                Ok(())
            }
            Err(cause) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if !self.lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(signal, %cause, "the collector does not take what it is sent; until it does, that is lost");
                }
                Err(OTelSdkError::InternalFailure(String::new()))
            }
        }
    }
}

/// Sends spans.
#[derive(Debug)]
pub(super) struct Spans {
    sender: Sender,
    signal: Arc<Signal>,
    resource: ResourceAttributesWithSchema,
}

impl SpanExporter for Spans {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let request = self.sender.request(ExportTraceServiceRequest { resource_spans });
        let mut client = TraceServiceClient::new(self.sender.channel.clone());
        self.signal.note(self.sender.sent(async move { client.export(request).await }).await)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = ResourceAttributesWithSchema::from(resource);
    }
}

/// Sends what was counted.
#[derive(Debug)]
pub(super) struct Metrics {
    sender: Sender,
    signal: Arc<Signal>,
}

impl PushMetricExporter for Metrics {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let request = self.sender.request(ExportMetricsServiceRequest::from(metrics));
        let mut client = MetricsServiceClient::new(self.sender.channel.clone());
        self.signal.note(self.sender.sent(async move { client.export(request).await }).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
