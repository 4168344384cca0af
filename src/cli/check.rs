//! `mintage config check`: what a configuration without mistakes amounts to.

use std::path::Path;

use crate::{
    config::{Callers, Config, Endpoint, RedisTopology, StoreConfig},
    macaroon::Keyring,
    paint::{GOOD, facts},
};

/// Says that the configuration is good, and sums it up.
pub(super) fn report(path: &Path, config: &Config, keyring: &Keyring) -> String {
    let facts = facts(&summary(config, keyring));
    format!("{GOOD}{} is good.{GOOD:#}\n\n{facts}", path.display())
}

fn summary(config: &Config, keyring: &Keyring) -> Vec<(&'static str, String)> {
    let issuers = config.issuers.iter().map(|one| match one.issuer.enabled {
        true => one.issuer.url.clone(),
        false => format!("{} (disabled)", one.issuer.url),
    });
    let keys = keyring.ids().map(|id| match id == keyring.current() {
        true => format!("{id} (mints)"),
        false => id.to_string(),
    });
    let callers = match &config.callers {
        Callers::Anonymous => "whoever reaches the port".to_owned(),
        Callers::Known(callers) => lines(callers.iter().map(|one| one.caller.name.clone())),
    };
    vec![
        ("gRPC on", config.listen.to_string()),
        ("admin on", config.admin_listen.map_or("none".to_owned(), |admin| admin.to_string())),
        ("keys", lines(keys)),
        ("store", store(&config.store)),
        ("callers", callers),
        ("issuers", lines(issuers)),
        ("indexes", lines(config.indexes.keys().cloned())),
    ]
}

fn store(config: &StoreConfig) -> String {
    let redis = match config {
        StoreConfig::Memory { max_entries } => {
            return format!("memory, up to {max_entries} entries; for one replica");
        }
        StoreConfig::Redis(redis) => redis,
    };
    let place = match &redis.topology {
        RedisTopology::Single(endpoint) => format!("at {endpoint}"),
        RedisTopology::Sentinel { sentinels, master } => {
            format!("\"{master}\", by the sentinels {}", listed(sentinels))
        }
        RedisTopology::Cluster(nodes) => format!("cluster, by {}", listed(nodes)),
    };
    let tls = if redis.tls.is_some() { ", over TLS" } else { "" };
    format!("Redis {place}{tls}; for any number of replicas")
}

fn listed(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(", ")
}

fn lines(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join("\n") }
}
