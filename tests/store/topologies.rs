//! The Redis store over several servers: a cluster, and a primary that sentinels
//! know and whose replica must have what counts.

use std::sync::Arc;

use mintage::{
    clock::Timestamp,
    ports::Store,
    store::{Address, RedisSettings, RedisStore, Topology},
};
use tokio::sync::OnceCell;

use super::support::redis::{Cluster, Options, RedisServer, Sentinels, binary, prefix};

/// A store over a cluster of three that all tests of this binary share.
pub(crate) async fn in_a_cluster(started_at: Timestamp) -> Option<Arc<dyn Store>> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let binary = binary()?;
    let start = || async { Cluster::start(binary, &Options::default()).await };
    let cluster = CLUSTER.get_or_init(start).await;
    let nodes = cluster.nodes.iter().map(address).collect();
    Some(fresh(&cluster.nodes[0], Topology::Cluster(nodes), 0, started_at).await)
}

/// A store over sentinels that all tests of this binary share; what counts is
/// waited for on one replica.
pub(crate) async fn behind_sentinels(started_at: Timestamp) -> Option<Arc<dyn Store>> {
    static SENTINELS: OnceCell<Sentinels> = OnceCell::const_new();
    let binary = binary()?;
    let start =
        || async { Sentinels::start(binary, &Options::default(), &Options::default()).await };
    let group = SENTINELS.get_or_init(start).await;
    let sentinels = group.sentinels.iter().map(address).collect();
    let topology = Topology::Sentinel { sentinels, primary: Sentinels::NAME.to_owned() };
    Some(fresh(&group.servers[0], topology, 1, started_at).await)
}

async fn fresh(
    server: &RedisServer,
    topology: Topology,
    wait_replicas: u32,
    started_at: Timestamp,
) -> Arc<dyn Store> {
    let settings = super::redis::settings(&server.url(), &prefix());
    let store = RedisStore::new(RedisSettings { topology, wait_replicas, ..settings });
    store.probe(started_at).await.unwrap();
    Arc::new(store)
}

fn address(server: &RedisServer) -> Address {
    Address { host: "127.0.0.1".to_owned(), port: server.port() }
}
