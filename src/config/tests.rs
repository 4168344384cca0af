use std::{path::Path, time::Duration};

use crate::grant::Feature;

use super::*;

#[test]
fn the_smallest_toml_in_every_modules_head_is_read() {
    let sources = [
        include_str!("mod.rs"),
        include_str!("callers.rs"),
        include_str!("issuers.rs"),
        include_str!("indexes.rs"),
        include_str!("keyring.rs"),
        include_str!("limits.rs"),
        include_str!("log.rs"),
        include_str!("server.rs"),
        include_str!("store.rs"),
        include_str!("store/redis.rs"),
    ];
    let smallest = block(sources[0]);
    for source in sources {
        let own: Table = block(source).parse().unwrap();
        let mut whole: Table = smallest.parse().unwrap();
        whole.extend(own);
        let text = toml::to_string(&whole).unwrap();
        Config::parse(&text, Path::new(""), std::iter::empty()).unwrap();
    }
}

/// The first TOML block of a module's head.
fn block(source: &str) -> String {
    let head = source.split("//! ```toml\n").nth(1).unwrap();
    let lines = head.lines().take_while(|line| *line != "//! ```");
    lines.map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n").collect()
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let text = block(include_str!("mod.rs"));
    let config = Config::parse(&text, Path::new("/etc/mintage"), std::iter::empty()).unwrap();
    assert_eq!(config.admin_listen, None);
    assert_eq!(config.keyring.directory, Path::new("/etc/mintage/keys"));
    assert_eq!(config.callers, Callers::Anonymous);
    assert_eq!(config.store, StoreConfig::Memory { max_entries: 500_000 });
    let index = &config.indexes["pypi"];
    assert_eq!(index.prefix.as_str(), "pypi");
    assert_eq!(index.lifetime, Duration::from_secs(900));
    assert_eq!(index.retry_window, Duration::from_secs(60));
    assert_eq!(index.max_embedded_projects, 50);
    assert_eq!(index.features, [Feature::MultiUse]);
    assert_eq!(index.default_feature, Feature::MultiUse);
    assert_eq!((index.min_lifetime, index.max_lifetime), (None, None));
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(25));
    assert!(config.limits.mint_per_client.is_some());
}
