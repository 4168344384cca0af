//! What is logged, and how.
//!
//! ```toml
//! [log]
//! filter = "info"
//! format = "text"
//! ```
//!
//! `filter` takes levels by target, as in `info,mintage=debug`; `format` is
//! `text` or `json`.

use tracing_subscriber::EnvFilter;

use super::reader::{Found, Read, Section, nonempty, one_of};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Directives of tracing's `EnvFilter`; they are known to parse.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Reads `[log]`.
pub(super) fn read(mut section: Section<'_>) -> LogConfig {
    let formats = one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let filter = section.or("filter", "info".to_owned(), filter);
    let format = section.or("format", LogFormat::Text, formats);
    section.end();
    LogConfig { filter, format }
}

fn filter(found: &Found<'_>) -> Read<String> {
    let text = nonempty(found)?;
    match EnvFilter::builder().parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("is no log filter such as \"info,mintage=debug\": {error}")),
    }
}
