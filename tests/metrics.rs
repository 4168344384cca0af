//! What Prometheus reads on the admin port.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod support;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use support::{
    issuer::TestIssuer,
    service::{BEGIN, Scene, configuration},
};

/// A scene whose service shows what it counts.
async fn with_metrics(more: &str) -> Scene {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), "", more);
    let toml = format!("admin_listen = \"127.0.0.1:0\"\n{toml}");
    Scene::start_at(issuer, &toml, BEGIN).await
}

/// The head of the answer, in lower case, and its body.
fn scrape(address: SocketAddr) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let asked = "GET /metrics HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// Every series with its value.
fn series(scene: &Scene) -> BTreeMap<String, f64> {
    let (_, text) = scrape(scene.server.admin_address().unwrap());
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

fn of_store(what: &str, operation: &str, error: &str) -> String {
    format!(
        "db_client_operation_duration_seconds_{what}{{db_operation_name=\"{operation}\",\
         db_system_name=\"memory\",error_type=\"{error}\"}}"
    )
}

#[tokio::test]
async fn it_is_prometheus_text_with_a_help_and_a_type_for_every_metric() {
    let scene = with_metrics("").await;
    scene.mint(scene.publishing("1")).await.unwrap();
    let (head, text) = scrape(scene.server.admin_address().unwrap());
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let named = |mark| {
        let lines = text.lines().filter_map(move |line| line.strip_prefix(mark)?.split(' ').next());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(named("# HELP "), named("# TYPE "), "each has both, once");
    for name in [
        "db_client_operation_duration_seconds",
        "mintage_build_info",
        "mintage_issuer_fetch_duration_seconds",
        "mintage_issuer_fetches_total",
        "mintage_issuer_keys",
        "mintage_issuer_keys_fetched_timestamp_seconds",
        "mintage_issuer_keys_fresh_until_timestamp_seconds",
        "mintage_issuer_keys_skipped",
        "mintage_issuer_keys_usable_until_timestamp_seconds",
        "mintage_store_up",
        "mintage_store_unremembered_total",
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(named("# TYPE ").contains(&name), "{name} is missing:\n{text}");
    }
    assert!(!text.contains("otel_scope") && !text.contains("target_info"));
    let bounds: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("_bucket{") && line.contains("\"redeem\""))
        .filter(|line| line.contains("error_type=\"\""))
        .filter_map(|line| line.split("le=\"").nth(1)?.split('"').next())
        .collect();
    let expected = "0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf";
    assert_eq!(bounds.join(" "), expected);
}

#[tokio::test]
async fn services_of_one_process_count_for_themselves() {
    let (busy, idle) = (with_metrics("").await, with_metrics("").await);
    for jti in ["1", "2", "3"] {
        busy.mint(busy.publishing(jti)).await.unwrap();
    }
    let redeemed = of_store("count", "redeem", "");
    assert_eq!((series(&busy)[&redeemed], series(&idle)[&redeemed]), (3.0, 0.0));
    let failed = of_store("count", "redeem", "failed");
    assert_eq!(series(&busy)[&failed], 0.0, "it is there before anything failed");
}

#[tokio::test]
async fn the_store_is_up_and_what_it_cannot_remember_is_counted() {
    let scene = with_metrics("").await;
    assert_eq!(series(&scene)["mintage_store_up"], 1.0);
    let mut claims = scene.github_claims("1");
    claims["iat"] = (scene.now() - 100).into();
    let before_the_memory = scene.issuer.id_token(&claims);
    scene.mint(scene.publishing_with(before_the_memory)).await.unwrap_err();
    let counted = series(&scene);
    assert_eq!(counted["mintage_store_unremembered_total{operation=\"redeem\"}"], 1.0);
    assert_eq!(counted["mintage_store_unremembered_total{operation=\"spend_uses\"}"], 0.0);
}

#[tokio::test]
async fn keys_are_told_with_their_times_by_the_services_clock() {
    let scene = with_metrics("").await;
    let of_issuer =
        |name: &str| format!("mintage_issuer_{name}{{issuer=\"{}\"}}", scene.issuer.url());
    let times = |counted: &BTreeMap<String, f64>| {
        ["fetched", "fresh_until", "usable_until"]
            .map(|what| counted[&of_issuer(&format!("keys_{what}_timestamp_seconds"))])
    };
    let before = series(&scene);
    assert_eq!((times(&before), before[&of_issuer("keys")]), ([0.0; 3], 0.0));

    scene.mint(scene.publishing("1")).await.unwrap();
    let held = series(&scene);
    let now = 1_790_000_123.456_789;
    assert_eq!(times(&held), [now, now + 300.0, now + 3_600.0]);
    assert!(held[&of_issuer("keys")] >= 1.0);
    assert_eq!(held[&of_issuer("keys_skipped")], 0.0);
    let fetches = |outcome: &str| {
        let issuer = scene.issuer.url();
        held[&format!("mintage_issuer_fetches_total{{issuer=\"{issuer}\",outcome=\"{outcome}\"}}")]
    };
    assert_eq!([fetches("fetched"), fetches("shared"), fetches("failed")], [1.0, 0.0, 0.0]);
    assert_eq!(held[&of_issuer("fetch_duration_seconds_count")], 1.0);

    scene.clock.advance(Duration::from_secs(10));
    assert_eq!(times(&series(&scene)), times(&held), "they are moments, not ages");
}
