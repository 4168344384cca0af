//! The bounds of the gRPC server.
//!
//! ```toml
//! [server]
//! max_in_flight = 1024
//! shutdown_grace = "25s"
//! ```
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `max_in_flight` | `1024` | requests at once; beyond, UNAVAILABLE |
//! | `max_connections` | `512` | connections at once; beyond, the next waits |
//! | `max_connection_age` | `"30m"` | then the peer is told to open another one |
//! | `connection_age_grace` | `"30s"` | then the old one is closed |
//! | `request_timeout` | `"10s"` | deadline of a call that brings none, and the longest |
//! | `drain_delay` | `"0s"` | after SIGTERM calls are still taken for so long, while health says no |
//! | `shutdown_grace` | `"25s"` | then running calls may finish; then a hard end |
//! | `threads` | number of cores | runtimes that serve |
//!
//! `[server.tls]` is about TLS on the port: see [`TlsConfig`].

mod tls;

use std::time::Duration;

pub use tls::{ClientCertificates, TlsConfig, TlsContent, TlsFiles};

use super::reader::{Found, Read, Section, integer, time};

/// The most of anything that is counted per process.
const MAX_COUNT: usize = 1_000_000;

/// The most threads: more than any machine has cores.
const MAX_THREADS: usize = 1_024;

/// Bounds of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Requests at once, at least 1.
    pub max_in_flight: usize,
    /// Connections at once, at least 1.
    pub max_connections: usize,
    /// The age at which a connection is told to go.
    pub max_connection_age: Duration,
    /// How long after that it is closed.
    pub connection_age_grace: Duration,
    /// Deadline of a call that brings none.
    pub request_timeout: Duration,
    /// How long calls are still taken at shutdown, for whoever hasn't heard of it yet.
    pub drain_delay: Duration,
    /// How long running calls may take to finish after that.
    pub shutdown_grace: Duration,
    /// Runtimes that serve, at least 1.
    pub threads: usize,
}

/// Reads `[server]`, with `[server.tls]` where it is there.
pub(super) fn read(mut section: Section<'_>) -> (ServerConfig, Option<TlsConfig>) {
    let count = || integer(1..=MAX_COUNT);
    let server = ServerConfig {
        max_in_flight: section.or("max_in_flight", 1_024, count()),
        max_connections: section.or("max_connections", 512, count()),
        max_connection_age: section.or("max_connection_age", seconds(1_800), long(1)),
        connection_age_grace: section.or("connection_age_grace", seconds(30), long(0)),
        request_timeout: section.or("request_timeout", seconds(10), short(10)),
        drain_delay: section.or("drain_delay", seconds(0), short(0)),
        shutdown_grace: section.or("shutdown_grace", seconds(25), short(0)),
        threads: section.or("threads", cores(), integer(1..=MAX_THREADS)),
    };
    let tls = section.has("tls").then(|| tls::read(section.section("tls")));
    section.end();
    (server, tls.flatten())
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn long(least: u64) -> impl Fn(&Found<'_>) -> Read<Duration> {
    time(seconds(least)..=seconds(86_400))
}

fn short(least_ms: u64) -> impl Fn(&Found<'_>) -> Read<Duration> {
    time(Duration::from_millis(least_ms)..=seconds(600))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}
