//! The shelf itself, over each kind of Redis.

use std::time::Duration;

use mintage::{
    mark::Mark,
    ports::{Claimed, KeySetShelf},
    store::{Address, RedisSettings, RedisStore, Topology},
};
use tokio::time::Instant;

use super::{
    NOW, settings,
    support::redis::{Cluster, Options, PATIENCE, RedisServer, binaries, binary},
};

const MOST: usize = 1_000;
const HOLD: Duration = Duration::from_secs(3_600);
const ME: [u8; 16] = [1; 16];
const YOU: [u8; 16] = [2; 16];

/// Two replicas' views of the same shelf.
struct Shelves {
    here: RedisStore,
    there: RedisStore,
}

impl Shelves {
    fn over(settings: &RedisSettings) -> Self {
        let store = || RedisStore::new(settings.clone());
        Self { here: store(), there: store() }
    }
}

#[tokio::test]
async fn on_single_servers() {
    if binary().is_none() {
        return;
    }
    for binary in binaries() {
        let server = RedisServer::start(binary).await;
        keeps_its_promises(&Shelves::over(&settings::settings(&server.url(), "test"))).await;
    }
}

#[tokio::test]
async fn in_a_cluster() {
    let Some(binary) = binary() else { return };
    let cluster = Cluster::start(binary, &Options::default()).await;
    let nodes = cluster.nodes.iter().map(|node| {
        let address = node.address();
        Address { host: address.ip().to_string(), port: address.port() }
    });
    let topology = Topology::Cluster(nodes.collect());
    let settings = settings::settings(&cluster.nodes[0].url(), "test");
    keeps_its_promises(&Shelves::over(&RedisSettings { topology, ..settings })).await;
}

async fn keeps_its_promises(shelves: &Shelves) {
    // So many that a cluster keeps them in many places.
    for issuer in 0..50 {
        let issuer = Mark::key_set(&format!("https://{issuer}.example"));
        sets_are_left_and_found(shelves, issuer).await;
        a_claim_has_one_holder(shelves, issuer).await;
    }
    what_is_left_and_claimed_ends(shelves).await;
}

async fn sets_are_left_and_found(Shelves { here, there }: &Shelves, issuer: Mark) {
    assert_eq!(there.get(issuer, MOST, NOW).await.unwrap(), None);
    for value in [&b"\x00\xffnot text\r\n"[..], &[7; MOST]] {
        here.put(issuer, value, HOLD, NOW).await.unwrap();
        assert_eq!(there.get(issuer, MOST, NOW).await.unwrap().as_deref(), Some(value));
    }
    here.put(issuer, &[7; MOST + 1], HOLD, NOW).await.unwrap();
    let bounded = there.get(issuer, MOST, NOW).await.unwrap().unwrap();
    assert_eq!(bounded.len(), MOST, "no more is read than asked for");
}

async fn a_claim_has_one_holder(Shelves { here, there }: &Shelves, issuer: Mark) {
    assert_eq!(here.claim(issuer, ME, HOLD, NOW).await.unwrap(), Claimed::Ours);
    assert_eq!(there.claim(issuer, YOU, HOLD, NOW).await.unwrap(), Claimed::Others);
    there.release(issuer, YOU, NOW).await.unwrap();
    assert_eq!(there.claim(issuer, YOU, HOLD, NOW).await.unwrap(), Claimed::Others);
    here.release(issuer, ME, NOW).await.unwrap();
    here.release(issuer, ME, NOW).await.unwrap();
    assert_eq!(there.claim(issuer, YOU, HOLD, NOW).await.unwrap(), Claimed::Ours);
    here.release(issuer, ME, NOW).await.unwrap();
    assert_eq!(here.claim(issuer, ME, HOLD, NOW).await.unwrap(), Claimed::Others);
    let set = there.get(issuer, MOST, NOW).await.unwrap();
    assert!(set.is_some(), "a claim is not a set");
}

/// By Redis's own clock, however far ahead ours is.
async fn what_is_left_and_claimed_ends(Shelves { here, there }: &Shelves) {
    const SOON: Duration = Duration::from_millis(50);
    let issuer = Mark::key_set("https://short.example");
    here.put(issuer, b"a set", SOON, NOW).await.unwrap();
    assert_eq!(here.claim(issuer, ME, SOON, NOW).await.unwrap(), Claimed::Ours);
    let until = Instant::now() + PATIENCE;
    while there.get(issuer, MOST, NOW).await.unwrap().is_some()
        || there.claim(issuer, YOU, HOLD, NOW).await.unwrap() == Claimed::Others
    {
        assert!(Instant::now() < until, "it never ends");
    }
}
