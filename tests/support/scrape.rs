//! What Prometheus would read.
//!
//! ```ignore
//! let before = Scrape::of(admin);
//! client.mint(request).await.unwrap();
//! assert_eq!(Scrape::of(admin).since(&before), ["mintage_calls_total{caller=\"web\",rpc=\"Mint\"}"]);
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

/// One reading of `/metrics`.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// As it was answered.
    pub text: String,
    /// By name and labels, these in order.
    pub series: BTreeMap<String, f64>,
}

impl Scrape {
    /// Of the admin port at this address.
    pub fn of(admin: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self { text: text.to_owned(), series: series.collect() }
    }

    /// The value of a series; zero where there is none.
    pub fn value(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }

    /// The counters (of the service's own numbers, and of its calls' durations) that
    /// have grown since, each with by how much where it isn't 1.
    pub fn since(&self, before: &Self) -> BTreeSet<String> {
        let counters = self.series.iter().filter(|(name, _)| {
            let bare = name.split('{').next().unwrap_or_default();
            bare.starts_with("mintage_") && bare.ends_with("_total")
                || bare == "rpc_server_call_duration_seconds_count"
        });
        let grown = counters.map(|(name, now)| (name, now - before.value(name)));
        let grown = grown.filter(|(_, by)| *by != 0.0);
        grown
            .map(
                |(name, by)| {
                    if (by - 1.0).abs() < 1e-9 { name.clone() } else { format!("{name} by {by}") }
                },
            )
            .collect()
    }

    /// Every metric by its name, with its type and the names of its labels. Of a
    /// histogram's series the name is the histogram's, and `le` isn't a label of its own.
    pub fn metrics(&self) -> BTreeMap<String, (String, BTreeSet<String>)> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut metrics: BTreeMap<String, (String, BTreeSet<String>)> = types
            .map(|line| {
                let (name, kind) = line.split_once(' ').unwrap();
                (name.to_owned(), (kind.to_owned(), BTreeSet::new()))
            })
            .collect();
        for series in self.series.keys() {
            let (name, labels) = labels(series);
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|base| metrics.contains_key(*base))
                .unwrap_or(name);
            let of = metrics.get_mut(base).unwrap_or_else(|| panic!("{series} has no type"));
            of.1.extend(labels.into_iter().map(|(label, _)| label).filter(|label| label != "le"));
        }
        metrics
    }

    /// Every value of a label of a metric.
    pub fn values(&self, metric: &str, label: &str) -> BTreeSet<String> {
        let of = self.series.keys().map(|series| labels(series));
        let of = of.filter(|(name, _)| {
            name.strip_prefix(metric)
                .is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
        });
        of.flat_map(|(_, labels)| labels)
            .filter_map(|(name, value)| (name == label).then_some(value))
            .collect()
    }
}

/// The name of a series and its labels.
fn labels(series: &str) -> (&str, Vec<(String, String)>) {
    let Some((name, rest)) = series.split_once('{') else { return (series, Vec::new()) };
    let rest = rest.strip_suffix("\"}").unwrap();
    let labels = rest.split("\",").map(|label| {
        let (label, value) = label.split_once("=\"").unwrap();
        (label.to_owned(), value.to_owned())
    });
    (name, labels.collect())
}
