//! Metrics: the instruments' home, and the text that Prometheus reads.
//!
//! Each service has its own, and nothing is global: tests run several in one process.
//! Whoever counts something makes its instruments with [`Metrics::meter`], once; a
//! histogram of seconds has [`BUCKETS`], whatever its maker asked for.
//!
//! A scrape reads what the instruments hold. Calls add to them meanwhile: nobody waits
//! for the text to be written.

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::{
    Resource,
    metrics::{
        Aggregation, Instrument, InstrumentKind, ManualReader, SdkMeterProvider, Stream,
        reader::MetricReader,
    },
};
use prometheus::{Registry, TextEncoder};

use super::NoTelemetry;

/// The scope of every instrument.
const SCOPE: &str = "mintage";

/// Upper bounds of a histogram's buckets, in seconds: from a quarter of a millisecond,
/// which is what a call takes, to the longest deadline.
pub const BUCKETS: [f64; 15] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

/// Combinations of labels that a metric keeps apart. What comes beyond is counted
/// together, under `otel_metric_overflow`: a bound of memory for whoever configures
/// thousands of indexes. Room for as many is made at the start.
pub const MAX_SERIES: usize = 200;

/// The same of those in [`WIDE`].
pub const MAX_WIDE_SERIES: usize = 2_000;

/// Metrics by index and by more than that.
const WIDE: [&str; 3] = ["mintage.refusals", "mintage.denials", "mintage.tokens.minted"];

/// The type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a service counts. Its clones count into the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl Metrics {
    /// Metrics of a service that nobody has counted anything for yet.
    pub fn new(resource: Resource) -> Result<Self, NoTelemetry> {
        Self::read_by(resource, None::<ManualReader>)
    }

    /// The same, with one more reader of them.
    pub(super) fn read_by(
        resource: Resource,
        other: Option<impl MetricReader>,
    ) -> Result<Self, NoTelemetry> {
        let registry = Registry::new();
        let scraped = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()?;
        let builder = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(scraped)
            .with_view(shape);
        let builder = match other {
            None => builder,
            Some(other) => builder.with_reader(other),
        };
        Ok(Self { provider: builder.build(), registry })
    }

    pub(super) fn provider(&self) -> &SdkMeterProvider {
        &self.provider
    }

    /// What instruments are made with.
    pub fn meter(&self) -> Meter {
        self.provider.meter(SCOPE)
    }

    /// What was counted so far, as Prometheus reads it.
    pub fn text(&self) -> Result<String, NoTelemetry> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

/// How an instrument's numbers are kept.
fn shape(instrument: &Instrument) -> Option<Stream> {
    let wide = WIDE.contains(&instrument.name());
    let most = if wide { MAX_WIDE_SERIES } else { MAX_SERIES };
    let stream = Stream::builder().with_cardinality_limit(most);
    let stream = match instrument.kind() {
        InstrumentKind::Histogram => {
            let boundaries = BUCKETS.to_vec();
            stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
                boundaries,
                record_min_max: false,
            })
        }
        _ => stream,
    };
    stream.build().ok()
}
