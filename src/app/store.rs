//! From the configuration's words about Redis to the store's.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    config::{Endpoint, RedisConfig, RedisTls, RedisTopology, SecretText, StoreConfig},
    ports::{KeySetShelf, Store},
    store::{
        Address, Credentials, Login, MemoryStore, RedisSettings, RedisStore, SharedCredentials,
        Tls, Topology,
    },
    telemetry::{
        Telemetry,
        store::{MeasuredShelf, MeasuredStore, StoreCalls},
    },
};

/// What a store holds for the service.
pub(super) struct Shared {
    /// What replicas agree on.
    pub(super) store: Arc<dyn Store>,
    /// Where they leave key sets for each other, if there may be several.
    pub(super) shelf: Option<Arc<dyn KeySetShelf>>,
    /// What its connections are opened with, if there are any.
    pub(super) credentials: Option<SharedCredentials>,
}

/// The store of a configuration. Redis isn't asked yet: a service starts without
/// it, and says that it isn't ready.
pub(super) fn store(config: &StoreConfig, started_at: Timestamp, telemetry: &Telemetry) -> Shared {
    let meter = telemetry.metrics().meter();
    let calls = |system, shelf| StoreCalls::new(system, shelf, &meter, telemetry.spans());
    match config {
        StoreConfig::Memory { max_entries } => {
            let store = Arc::new(MemoryStore::new(started_at, *max_entries));
            let store = Arc::new(MeasuredStore::new(store, calls("memory", false)));
            Shared { store, shelf: None, credentials: None }
        }
        StoreConfig::Redis(redis) => {
            let credentials = SharedCredentials::new(credentials(redis));
            let store = Arc::new(RedisStore::new(settings(redis, credentials.clone())));
            let calls = calls("redis", true);
            let shelf = MeasuredShelf::new(Arc::clone(&store) as _, calls.clone());
            Shared {
                store: Arc::new(MeasuredStore::new(store, calls)),
                shelf: Some(Arc::new(shelf)),
                credentials: Some(credentials),
            }
        }
    }
}

/// What connections of this configuration are opened with.
pub(super) fn credentials(config: &RedisConfig) -> Credentials {
    Credentials {
        tls: config.tls.as_ref().map(tls),
        login: login(config.username.as_ref(), config.password.as_ref()),
        sentinel_login: login(config.sentinel_username.as_ref(), config.sentinel_password.as_ref()),
    }
}

fn settings(config: &RedisConfig, credentials: SharedCredentials) -> RedisSettings {
    RedisSettings {
        topology: match &config.topology {
            RedisTopology::Single(endpoint) => Topology::Single(address(endpoint)),
            RedisTopology::Sentinel { sentinels, master } => Topology::Sentinel {
                sentinels: sentinels.iter().map(address).collect(),
                primary: master.clone(),
            },
            RedisTopology::Cluster(nodes) => Topology::Cluster(nodes.iter().map(address).collect()),
        },
        credentials,
        database: config.database,
        prefix: config.prefix.clone(),
        timeout: config.timeout,
        max_waiting: config.max_waiting,
        wait_replicas: config.wait_replicas,
    }
}

fn address(endpoint: &Endpoint) -> Address {
    Address { host: endpoint.host.clone(), port: endpoint.port }
}

fn tls(config: &RedisTls) -> Tls {
    let client = config
        .client
        .as_ref()
        .map(|client| (client.certificate.clone(), Zeroizing::new(client.key.expose().to_vec())));
    Tls { ca: config.ca.clone(), client }
}

fn login(username: Option<&String>, password: Option<&SecretText>) -> Login {
    Login {
        username: username.cloned(),
        password: password.map(|password| Zeroizing::new(password.expose().to_owned())),
    }
}
