//! Replicas whose clocks are 20 s apart, over one store: a mark lasts as long as
//! the latest of them could take the ID token for a good one.
//!
//! Real time can't be put forward, so these are services in this process, each by a
//! clock of its own; their store is as real as elsewhere.

use std::{sync::Arc, time::Duration};

use mintage::{app::SystemClock, clock::Timestamp, ports::Clock as _};

use super::{
    REUSED,
    support::{
        clock::ManualClock,
        issuer::TestIssuer,
        redis::{RedisServer, binary},
        replicas::{mint, over},
        service::{Client, Refused, WEB, client, configuration, github_claims, publishing, server},
    },
};

/// How far the clocks are apart: late, right and early.
const APART: Duration = Duration::from_secs(20);

/// What an ID token's times are read with.
const LEEWAY: Duration = Duration::from_secs(30);

/// One service, its clock, and a client.
struct Replica {
    clock: Arc<ManualClock>,
    client: Client,
    _server: mintage::app::Server,
}

impl Replica {
    async fn start(toml: &str, now: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::at(now));
        let server = server(toml, &clock);
        let client = client(&server, Some(WEB)).await;
        Self { clock, client, _server: server }
    }

    /// The reason of a refusal; none where it minted.
    async fn told(&self, request: &mintage::grpc::proto::MintRequest) -> Option<String> {
        let answer = mint(self.client.clone(), request.clone()).await;
        answer.err().map(|refused: Refused| refused.reason)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_outlasts_the_id_token_by_every_clock() {
    let Some(binary) = binary() else { return };
    let redis = RedisServer::start(binary).await;
    let issuer = TestIssuer::start();
    let store = format!("[store]\n{}", over(&redis.url()));
    let toml = configuration(&issuer.url(), "", &store);
    let now = SystemClock.now();
    let mut replicas = Vec::new();
    for moment in [now.minus(APART), now, now.plus(APART)] {
        replicas.push(Replica::start(&toml, moment).await);
    }
    // The memory begins with the first call, by the late clock or the server's.
    let _ = replicas[0].told(&job(&issuer, now.seconds(), "first")).await;
    for first in 0..replicas.len() {
        // Later than the memory, and not too early for the late clock.
        let issued = replicas[1].clock.now().seconds() + 3;
        let request = job(&issuer, issued, &format!("job {first}"));
        assert_eq!(replicas[first].told(&request).await, None, "replica {first} is the first");
        for replica in &replicas {
            assert_eq!(replica.told(&request).await.as_deref(), Some(REUSED));
        }
        kept_long_enough(&redis, &replicas, issued).await;

        // Up to the last second at which the latest clock takes it for a good one.
        let end = Timestamp::from_seconds(issued + 300).plus(LEEWAY);
        let left = end.since(replicas[0].clock.now());
        for passed in [left / 2, left / 2 - Duration::from_secs(1)] {
            replicas.iter().for_each(|replica| replica.clock.advance(passed));
            assert_eq!(replicas[0].told(&request).await.as_deref(), Some(REUSED));
        }
        replicas.iter().for_each(|replica| replica.clock.advance(Duration::from_secs(2)));
        assert_eq!(replicas[0].told(&request).await.as_deref(), Some("ID_TOKEN_EXPIRED"));
    }
}

/// A Mint with an ID token of this job, issued then and good for five minutes.
fn job(issuer: &TestIssuer, issued: i64, jti: &str) -> mintage::grpc::proto::MintRequest {
    publishing(&issuer.url(), issuer.id_token(&github_claims(issued, jti)))
}

/// Redis's own clock doesn't end a mark either before the latest clock has reached
/// the end of the ID token.
async fn kept_long_enough(redis: &RedisServer, replicas: &[Replica], issued: i64) {
    let end = Timestamp::from_seconds(issued + 300).plus(LEEWAY);
    let needed = end.since(replicas[0].clock.now());
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]);
    let longest = keys.iter().map(|key| redis.ask::<i64>(&["PTTL", key])).max();
    assert!(longest > i64::try_from(needed.as_millis()).ok(), "{longest:?} {needed:?}");
}
