//! The Redis store, over real servers: what the suite needs of it.

use std::{sync::Arc, time::Duration};

use mintage::{
    clock::Timestamp,
    ports::Store,
    store::{Address, Credentials, RedisSettings, RedisStore, SharedCredentials, Topology},
};

use super::support::redis::{Kind, prefix, shared};

/// A store that nobody else uses, over a server of this kind.
pub(crate) async fn fresh(kind: Kind, started_at: Timestamp) -> Option<Arc<dyn Store>> {
    Some(fresh_at(&shared(kind).await?, started_at).await)
}

/// The same over the server there.
pub(crate) async fn fresh_at(url: &str, started_at: Timestamp) -> Arc<dyn Store> {
    let store = RedisStore::new(settings(url, &prefix()));
    store.probe(started_at).await.unwrap();
    Arc::new(store)
}

/// How to reach the server at `redis://HOST:PORT`.
pub(crate) fn settings(url: &str, prefix: &str) -> RedisSettings {
    let address = url.strip_prefix("redis://").unwrap().trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').unwrap();
    RedisSettings {
        topology: Topology::Single(Address { host: host.to_owned(), port: port.parse().unwrap() }),
        credentials: SharedCredentials::new(Credentials::default()),
        database: 0,
        prefix: prefix.to_owned(),
        // Long enough for a machine that does much else: no rule is about time.
        timeout: Duration::from_secs(20),
        max_waiting: 1_024,
        wait_replicas: 0,
    }
}
