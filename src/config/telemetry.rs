//! Where traces and metrics go, beside the admin port's `/metrics`.
//!
//! ```toml
//! [telemetry]
//! otlp_endpoint = "http://collector:4317"
//! ```
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `otlp_endpoint` | `""` | the collector (OTLP over gRPC); `""`: no traces, and no metrics but `/metrics` |
//! | `otlp_ca_file` | | with `https://`; trusted in place of the usual authorities |
//! | `otlp_headers_file` | | what every export carries, one `name: value` a line |
//! | `trace_ratio` | `1.0` | of traces that begin here; a caller's own are followed |
//! | `metrics_interval` | `"60s"` | between two exports of metrics |
//! | `service_name` | `"mintage"` | the resource's `service.name` |
//!
//! OpenTelemetry's own variables (`OTEL_…`) are not read: there is one way to
//! configure this service.

use std::{path::Path, time::Duration};

use http::{HeaderName, HeaderValue};
use url::Url;

use super::{
    certificates::authorities,
    reader::{Found, Read, Section, number, printable, string, time},
    secret::{self, SecretText},
};

const ENDPOINT: &str = "otlp_endpoint";
const AUTHORITIES: &str = "otlp_ca_file";
const HEADERS: &str = "otlp_headers_file";

/// Longest name of the service, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What the service tells of itself, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The collector; None where there is none.
    pub otlp: Option<OtlpConfig>,
    /// The name under which it is known; 1 to 255 bytes of printable ASCII.
    pub service_name: String,
}

/// A collector, and what it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpConfig {
    /// Scheme (`http` or `https`), host and port, without a path.
    pub endpoint: String,
    /// PEM certificates of authorities; these alone are trusted. Where there are none,
    /// the usual ones are.
    pub ca: Option<Vec<u8>>,
    /// What every export carries: names in lower case, values in visible ASCII.
    pub headers: Vec<(String, SecretText)>,
    /// How many of the traces that begin here are recorded.
    pub trace_ratio: Ratio,
    /// Between two exports of metrics; 1 s to 1 h.
    pub metrics_interval: Duration,
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

// Never NaN: it was found within bounds.
impl Eq for Ratio {}

impl Ratio {
    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// Reads `[telemetry]`.
pub(super) fn read(mut section: Section<'_>) -> TelemetryConfig {
    let endpoint = section.chosen(ENDPOINT, None, endpoint);
    let path = section.path_reader();
    let interval = Duration::from_secs(1)..=Duration::from_secs(3_600);
    let trace_ratio = section.or("trace_ratio", 1.0, number(0.0..=1.0));
    let metrics_interval = section.or("metrics_interval", Duration::from_secs(60), time(interval));
    let service_name = section.or("service_name", "mintage".to_owned(), printable(MAX_NAME_BYTES));
    match &endpoint {
        Some(None) => section.misplaced(&[AUTHORITIES, HEADERS], "needs otlp_endpoint beside it"),
        Some(Some(plain)) if plain.starts_with("http://") => {
            section.misplaced(&[AUTHORITIES], "needs an otlp_endpoint with https://");
        }
        _ => {}
    }
    let ca = section.optional(AUTHORITIES, |found| authorities(&path(found)?));
    let headers = section.optional(HEADERS, |found| headers(&path(found)?)).unwrap_or_default();
    section.end();
    let otlp = endpoint.flatten().map(|endpoint| OtlpConfig {
        endpoint,
        ca,
        headers,
        trace_ratio: Ratio(trace_ratio),
        metrics_interval,
    });
    TelemetryConfig { otlp, service_name }
}

/// No sentence quotes the URL: it may hold what should not be in it.
fn endpoint(found: &Found<'_>) -> Read<Option<String>> {
    let text = string(found)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = "must be a URL such as \"http://collector:4317\"";
    let url = Url::parse(&text).map_err(|_| wrong.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("must not hold a user or a password; {HEADERS} is for secrets"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its host and port: OTLP over gRPC has no path".to_owned());
    }
    Ok(Some(url.origin().ascii_serialization()))
}

/// Names that the connection itself gives a meaning, or gRPC does.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("grpc-")
        || name.ends_with("-bin")
        || matches!(name, "te" | "content-type" | "user-agent" | "host" | "connection")
}

/// No sentence quotes a line: each may be a secret.
fn headers(path: &Path) -> Read<Vec<(String, SecretText)>> {
    let wrong = |what: &str| format!("names {}, which {what}", path.display());
    let content = secret::content(path, secret::MAX_FILE_BYTES)?;
    let text = std::str::from_utf8(&content).map_err(|_| wrong("is not a text in UTF-8"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let headers = lines.map(|(at, line)| {
        header(line).ok_or_else(|| wrong(&format!("has no `name: value` in line {}", at + 1)))
    });
    match headers.collect::<Read<Vec<_>>>()? {
        none if none.is_empty() => Err(wrong("holds no header")),
        some => Ok(some),
    }
}

fn header(line: &str) -> Option<(String, SecretText)> {
    let (name, value) = line.split_once(':')?;
    let name: HeaderName = name.trim().parse().ok()?;
    let value = HeaderValue::from_str(value.trim()).ok()?;
    let value = value.to_str().ok().filter(|value| !value.is_empty())?;
    (!is_reserved(&name)).then(|| (name.to_string(), SecretText::new(value.to_owned())))
}
