//! `[telemetry]`: what is read, every mistake with its sentence, and that no sentence
//! and no `Debug` shows a secret.

use std::{fs, time::Duration};

use mintage::config::{Config, Mistakes};

use super::{Identity, SMALLEST};

const SECRET: &str = "correct horse battery staple";

/// A folder with the files, thrown away at the end.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("ca.pem", &Identity::new().certificate);
        home.write("headers", &format!("Authorization: Bearer {SECRET}\r\n\n x-scope : a:b \n"));
        home.write("reserved", &format!("x-scope: a\ngrpc-timeout: {SECRET}\n"));
        home.write("no-colon", &format!("{SECRET}\n"));
        home.write("no-value", "x-scope:\n");
        home.write("no-ascii", &format!("x-scope: {SECRET} \u{e9}\n"));
        home.write("empty", "\n");
        home
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    /// The configuration whose `[telemetry]` has these lines.
    fn read(&self, lines: &str) -> Result<Config, Mistakes> {
        let text = format!("{SMALLEST}\n[telemetry]\n{lines}");
        Config::parse(&text, self.0.path(), std::iter::empty())
    }

    /// The mistakes, without the name of the section and of the folder.
    fn mistakes(&self, lines: &str) -> Vec<String> {
        let home = format!("{}/", self.0.path().display());
        let mistakes = self.read(lines).unwrap_err();
        mistakes
            .iter()
            .map(|mistake| mistake.to_string().replace(&home, "").replace("telemetry.", ""))
            .collect()
    }
}

#[test]
fn without_a_collector_nothing_is_sent() {
    for lines in ["", "otlp_endpoint = ''\ntrace_ratio = 0.5\nmetrics_interval = 5"] {
        let telemetry = Home::new().read(lines).unwrap().telemetry;
        assert_eq!((telemetry.otlp, telemetry.service_name.as_str()), (None, "mintage"));
    }
}

#[test]
fn a_whole_collector_is_read_and_its_headers_shown_nowhere() {
    let home = Home::new();
    let config = home
        .read(
            "otlp_endpoint = 'https://Collector.internal:4317/'
             otlp_ca_file = 'ca.pem'
             otlp_headers_file = 'headers'
             trace_ratio = 0.25
             metrics_interval = '15s'
             service_name = 'mintage of the index'",
        )
        .unwrap();
    let otlp = config.telemetry.otlp.as_ref().unwrap();
    assert_eq!(otlp.endpoint, "https://collector.internal:4317");
    assert_eq!(otlp.ca, fs::read(home.0.path().join("ca.pem")).ok());
    let headers: Vec<_> =
        otlp.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(headers, [("authorization", bearer.as_str()), ("x-scope", "a:b")]);
    assert_eq!((otlp.trace_ratio.get(), otlp.metrics_interval), (0.25, Duration::from_secs(15)));
    assert_eq!(config.telemetry.service_name, "mintage of the index");
    assert!(!format!("{config:?}").contains("battery"));
}

#[test]
fn a_ratio_may_be_written_without_a_fraction() {
    for (written, expected) in [("0", 0.0), ("1", 1.0), ("1e-3", 0.001)] {
        let lines = format!("otlp_endpoint = 'http://[::1]:4317'\ntrace_ratio = {written}");
        let otlp = Home::new().read(&lines).unwrap().telemetry.otlp.unwrap();
        assert_eq!(otlp.trace_ratio.get().to_bits(), f64::to_bits(expected), "{written}");
    }
}

#[test]
fn every_mistake_has_its_sentence_and_none_shows_a_secret() {
    const TO: &str = "otlp_endpoint = 'http://collector:4317'\n";
    let url = "otlp_endpoint: must be a URL such as \"http://collector:4317\"";
    let home = Home::new();
    for (lines, expected) in [
        ("otlp_endpoint = 'collector:4317'", &[url][..]),
        ("otlp_endpoint = 'ftp://collector'", &[url]),
        ("otlp_endpoint = 'http://'", &[url]),
        ("otlp_endpoint = 4317", &["otlp_endpoint: must be a string, but is a whole number"]),
        (
            "otlp_endpoint = 'https://me:battery@collector:4317'",
            &[
                "otlp_endpoint: must not hold a user or a password; otlp_headers_file is for secrets",
            ],
        ),
        (
            "otlp_endpoint = 'https://collector/v1/traces'",
            &["otlp_endpoint: must end with its host and port: OTLP over gRPC has no path"],
        ),
        (
            "otlp_ca_file = 'ca.pem'\notlp_headers_file = 'headers'",
            &[
                "otlp_ca_file: needs otlp_endpoint beside it",
                "otlp_headers_file: needs otlp_endpoint beside it",
            ],
        ),
        (
            "otlp_endpoint = 'http://collector'\notlp_ca_file = 'ca.pem'",
            &["otlp_ca_file: needs an otlp_endpoint with https://"],
        ),
        (
            "otlp_endpoint = 'https://collector'\notlp_ca_file = 'headers'",
            &["otlp_ca_file: names headers, which holds no PEM certificate"],
        ),
        (
            "trace_ratio = 1.5\nmetrics_interval = '10ms'\nservice_name = ''\ncolour = 1",
            &[
                "trace_ratio: must lie between 0.0 and 1.0",
                "metrics_interval: must lie between 1s and 1h, but is 10ms",
                "service_name: must not be empty",
                "colour: is unknown; known here: otlp_endpoint, trace_ratio, metrics_interval, \
                 service_name, otlp_ca_file, otlp_headers_file",
            ],
        ),
        ("trace_ratio = nan", &["trace_ratio: must lie between 0.0 and 1.0"]),
        ("trace_ratio = 'all'", &["trace_ratio: must be a number, but is a string"]),
    ] {
        assert_eq!(home.mistakes(lines), expected, "{lines}");
    }
    for (file, expected) in [
        ("no-colon", "has no `name: value` in line 1"),
        ("no-value", "has no `name: value` in line 1"),
        ("no-ascii", "has no `name: value` in line 1"),
        ("reserved", "has no `name: value` in line 2"),
        ("empty", "holds no header"),
        ("absent", "can't be read: No such file or directory (os error 2)"),
    ] {
        let found = home.mistakes(&format!("{TO}otlp_headers_file = '{file}'"));
        assert_eq!(found, [format!("otlp_headers_file: names {file}, which {expected}")]);
    }
}
