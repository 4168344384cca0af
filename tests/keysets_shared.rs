//! Key sets that replicas share over a real Redis: how often the issuer is asked
//! by all of them together, and what happens where Redis, a replica, a clock or a
//! stranger gets in the way. The clocks stand still unless a test moves them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

#[path = "keysets_shared/processes.rs"]
mod processes;
#[path = "store/redis.rs"]
#[allow(dead_code, reason = "of the suite's settings only")]
mod settings;
#[path = "keysets_shared/shelf.rs"]
mod shelf;
mod support;

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use mintage::{
    app::SystemRandomness,
    clock::Timestamp,
    keysets::{IssuerKeys, KeySetCache, MAX_STALE, Sharing, Timing},
    macaroon::{KeyId, Keyring, MasterKey},
    oidc::{Issuer, Provider, VerifyingKey},
    ports::{Clock as _, KeyAbsent, KeySets},
    store::{RedisSettings, RedisStore},
};
use support::{
    clock::ManualClock,
    issuer::{Behaviour, TestIssuer, key_one, key_two},
    redis::{Binary, Cutter, Fault, Memory, PATIENCE, RedisServer, binaries, binary, settled},
    until,
};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const COOLDOWN: Duration = Duration::from_secs(30);

type Found = Result<Arc<VerifyingKey>, KeyAbsent>;

/// An issuer, a Redis of its own, and what it takes to start replicas.
struct Scene {
    redis: RedisServer,
    issuer: TestIssuer,
    configured: Issuer,
    clock: Arc<ManualClock>,
}

/// One replica's key sets.
struct Replica {
    cache: Arc<KeySetCache>,
    configured: Issuer,
}

impl Scene {
    /// None, and said loudly, where there is no Redis.
    async fn start() -> Option<Self> {
        Some(Self::start_on(binary()?).await)
    }

    async fn start_on(binary: &'static Binary) -> Self {
        let redis = RedisServer::start(binary).await;
        let issuer = TestIssuer::start();
        let configured = issuer.configured(Provider::GitHub);
        Self { redis, issuer, configured, clock: Arc::new(ManualClock::at(NOW)) }
    }

    /// A replica that has just started: it holds nothing.
    fn replica(&self) -> Replica {
        self.replica_by(&self.clock, &[("k1", 1)])
    }

    /// Three of them.
    fn replicas(&self) -> [Replica; 3] {
        [self.replica(), self.replica(), self.replica()]
    }

    /// One with a clock and with master keys of its own, the first one current.
    fn replica_by(&self, clock: &Arc<ManualClock>, keys: &[(&str, u8)]) -> Replica {
        self.replica_with(clock, keys, settings::settings(&self.redis.url(), "test"))
    }

    /// One that reaches Redis there.
    fn replica_at(&self, url: &str) -> Replica {
        self.replica_with(&self.clock, &[("k1", 1)], settings::settings(url, "test"))
    }

    fn replica_with(
        &self,
        clock: &Arc<ManualClock>,
        keys: &[(&str, u8)],
        settings: RedisSettings,
    ) -> Replica {
        let sharing = Sharing {
            shelf: Arc::new(RedisStore::new(settings)),
            keyring: Arc::new(ArcSwap::from_pointee(keyring(keys))),
            randomness: Arc::new(SystemRandomness),
        };
        let issuer = IssuerKeys {
            issuer: self.configured.clone(),
            ca_file: None,
            jwks_hosts: Vec::new(),
            max_stale: MAX_STALE,
        };
        let cache =
            KeySetCache::shared(vec![issuer], Timing::default(), clock.clone(), &sharing).unwrap();
        Replica { cache: Arc::new(cache), configured: self.configured.clone() }
    }

    /// How many fetches were made: each begins with the discovery document.
    fn fetches(&self) -> usize {
        self.issuer.discoveries()
    }

    /// The one key of Redis with this in its name.
    fn key(&self, kind: &str) -> String {
        let keys: Vec<String> = self.redis.ask(&["KEYS", &format!("test:*:{kind}:*")]);
        assert_eq!(keys.len(), 1, "{kind}: {keys:?}");
        keys.into_iter().next().unwrap()
    }

    /// How often Redis was sent a command.
    fn calls(&self, command: &str) -> u32 {
        let statistics = self.redis.info(&format!("cmdstat_{command}"));
        let calls = statistics.split(',').find_map(|part| part.strip_prefix("calls="));
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    /// What lies on the shelf.
    fn shelved(&self) -> Vec<u8> {
        self.redis.ask(&["GET", &self.key("key-set")])
    }

    /// Leaves something there by hand.
    fn plant(&self, key: &str, value: &[u8]) {
        let mut connection = self.redis.connect().unwrap();
        redis::cmd("SET").arg(key).arg(value).exec(&mut connection).unwrap();
    }
}

impl Replica {
    async fn find(&self, kid: &str) -> Found {
        self.cache.find(&self.configured, kid).await
    }

    fn holds(&self, kid: &str) -> bool {
        self.cache.held(&self.configured, kid).is_some()
    }

    /// Many first finds at the same time.
    fn crowd(&self, finds: usize) -> Vec<tokio::task::JoinHandle<Found>> {
        let find = || {
            let (cache, issuer) = (Arc::clone(&self.cache), self.configured.clone());
            tokio::spawn(async move { cache.find(&issuer, "one").await })
        };
        (0..finds).map(|_| find()).collect()
    }
}

fn keyring(keys: &[(&str, u8)]) -> Keyring {
    let id = |id| KeyId::parse(id).unwrap();
    let ring = keys.iter().map(|(name, byte)| (id(name), MasterKey::new(&[*byte; 32]).unwrap()));
    Keyring::new(ring.collect(), id(keys[0].0)).unwrap()
}

fn is_unpublished(found: &Found) -> bool {
    matches!(found, Err(KeyAbsent::Unpublished))
}

fn is_out_of_reach(found: &Found) -> bool {
    matches!(found, Err(KeyAbsent::OutOfReach { .. }))
}

// When all is well.

#[tokio::test]
async fn cold_replicas_cause_one_fetch() {
    if binary().is_none() {
        return;
    }
    for binary in binaries() {
        let scene = Scene::start_on(binary).await;
        let replicas = scene.replicas();
        let crowds: Vec<_> = replicas.iter().flat_map(|replica| replica.crowd(150)).collect();
        for find in crowds {
            assert!(find.await.unwrap().is_ok());
        }
        assert_eq!((scene.fetches(), scene.issuer.key_set_reads()), (1, 1), "{binary:?}");
        let claims: Vec<String> = scene.redis.ask(&["KEYS", "test:*:claim:*"]);
        assert_eq!(claims, [""; 0], "the claim was given back");
        let ends: i64 = scene.redis.ask(&["TTL", &scene.key("key-set")]);
        assert!((1..=3_600).contains(&ends), "{ends}");
    }
}

#[tokio::test]
async fn who_looked_before_another_left_a_set_and_claims_after_it_fetches_nothing() {
    let Some(scene) = Scene::start().await else { return };
    let cutter = Cutter::before(scene.redis.address()).await;
    let quick = scene.replica();
    let slow = scene.replica_at(&cutter.url());
    for replica in [&quick, &slow] {
        replica.find("one").await.unwrap();
    }
    scene.clock.advance(MINUTE * 6);
    cutter.hold().await;
    let before = scene.calls("evalsha");
    let crowd = slow.crowd(1);
    settled("it looked", || scene.calls("evalsha") > before).await;
    assert!(quick.find("one").await.is_ok());
    cutter.pass().await;
    for find in crowd {
        assert!(find.await.unwrap().is_ok());
    }
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn a_replica_that_starts_later_asks_nobody_and_counts_from_the_true_fetch() {
    let Some(scene) = Scene::start().await else { return };
    scene.issuer.cache_control("max-age=600");
    scene.replica().find("one").await.unwrap();
    scene.clock.advance(SECOND * 479);
    let late = scene.replica();
    assert!(late.find("one").await.is_ok());
    assert_eq!(scene.fetches(), 1);

    scene.issuer.publish(&[key_one(), key_two()]);
    scene.clock.advance(SECOND);
    assert!(late.holds("one"));
    until("it is renewed at four fifths of its ten minutes", || late.holds("two")).await;
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn replicas_renew_together_once_a_period() {
    let Some(scene) = Scene::start().await else { return };
    let replicas = scene.replicas();
    for replica in &replicas {
        replica.find("one").await.unwrap();
    }
    for period in 1..=5 {
        let marker = ["even", "odd"][period % 2];
        let extra = mintage::demo::signing::SigningKey::generate(marker).unwrap();
        scene.issuer.publish(&[key_one(), &extra]);
        scene.clock.advance(MINUTE * 4);
        for replica in &replicas {
            assert!(replica.holds("one"), "nobody waits");
        }
        for replica in &replicas {
            until("it is renewed", || replica.holds(marker)).await;
        }
        assert_eq!(scene.fetches(), 1 + period);
    }
}

#[tokio::test]
async fn a_withdrawn_key_dies_on_every_replica_when_it_would_on_one() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica().find("one").await.unwrap();
    scene.issuer.publish(&[key_two()]);
    scene.clock.advance(SECOND * 239);
    let late = scene.replica();
    assert!(late.find("one").await.is_ok(), "as old as it may be");
    scene.clock.advance(SECOND * 61);
    assert!(!late.holds("one"));
    assert!(is_unpublished(&late.find("one").await));
}

// Rotation and unknown keys.

#[tokio::test]
async fn a_rotated_key_reaches_every_replica_by_one_fetch() {
    let Some(scene) = Scene::start().await else { return };
    let replicas = scene.replicas();
    for replica in &replicas {
        replica.find("one").await.unwrap();
    }
    scene.issuer.publish(&[key_two()]);
    for replica in &replicas {
        scene.clock.advance(SECOND);
        assert!(replica.find("two").await.is_ok());
        assert!(!replica.holds("one"));
    }
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_fetch_per_cooldown_on_all_replicas_together() {
    let Some(scene) = Scene::start().await else { return };
    let replicas = scene.replicas();
    for replica in &replicas {
        replica.find("one").await.unwrap();
    }
    for cooldown in 1..4 {
        for second in 0..30 {
            scene.clock.advance(SECOND);
            for (n, replica) in replicas.iter().enumerate() {
                let found = replica.find(&format!("unknown {second} {n}")).await;
                assert!(is_unpublished(&found), "{found:?}");
            }
        }
        assert_eq!(scene.fetches(), 1 + cooldown);
    }
}

#[tokio::test]
async fn a_key_rotated_inside_the_cooldown_is_found_after_it_on_every_replica() {
    let Some(scene) = Scene::start().await else { return };
    let replicas = scene.replicas();
    for replica in &replicas {
        replica.find("one").await.unwrap();
    }
    scene.clock.advance(SECOND);
    assert!(is_unpublished(&replicas[0].find("unknown").await));
    scene.issuer.publish(&[key_two()]);
    scene.clock.advance(COOLDOWN - SECOND);
    for replica in &replicas {
        assert!(is_unpublished(&replica.find("two").await), "asked so lately");
    }
    scene.clock.advance(SECOND);
    for replica in &replicas {
        assert!(replica.find("two").await.is_ok());
    }
    assert_eq!(scene.fetches(), 3);
}

#[tokio::test]
async fn a_replica_that_starts_after_a_rotation_looks_past_the_shelf() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica().find("one").await.unwrap();
    scene.issuer.publish(&[key_two()]);
    scene.clock.advance(MINUTE);
    assert!(
        scene.replica().find("two").await.is_ok(),
        "the set on the shelf is older than the key"
    );
    assert_eq!(scene.fetches(), 2);
}

// Issuers that are down.

#[tokio::test]
async fn a_failed_fetch_is_not_shared() {
    let Some(scene) = Scene::start().await else { return };
    scene.issuer.behave(Behaviour::Status(500));
    let [first, second, _] = scene.replicas();
    assert!(is_out_of_reach(&first.find("one").await));
    let keys: Vec<String> = scene.redis.ask(&["KEYS", "test:*"]);
    assert_eq!(keys, [""; 0], "neither a set nor a claim is left");
    scene.issuer.behave(Behaviour::Normal);
    assert!(second.find("one").await.is_ok());
    assert!(is_out_of_reach(&first.find("one").await), "each replica has its own patience");
}

#[tokio::test]
async fn what_is_not_a_key_set_is_not_left_for_others() {
    let Some(scene) = Scene::start().await else { return };
    scene.issuer.behave(Behaviour::KeySet("<html>".to_owned()));
    assert!(is_out_of_reach(&scene.replica().find("one").await));
    let keys: Vec<String> = scene.redis.ask(&["KEYS", "test:*"]);
    assert_eq!(keys, [""; 0]);
}

#[tokio::test]
async fn a_replica_that_starts_while_the_issuer_is_down_serves_what_another_fetched_for_an_hour() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica().find("one").await.unwrap();
    scene.issuer.behave(Behaviour::Status(503));
    scene.clock.advance(MINUTE * 20);
    let late = scene.replica();
    assert!(late.find("one").await.is_ok());
    assert!(is_unpublished(&late.find("two").await));
    assert_eq!(scene.fetches(), 2, "the issuer was asked first, and once");
    for minute in 21..60 {
        scene.clock.advance(MINUTE);
        assert!(late.holds("one") || late.find("one").await.is_ok(), "minute {minute}");
    }
    scene.clock.advance(MINUTE);
    assert!(!late.holds("one"));
    assert!(is_out_of_reach(&late.find("one").await));
    assert!(is_out_of_reach(&scene.replica().find("one").await));
}

// Strangers.

#[tokio::test]
async fn a_planted_key_set_is_refused_and_replaced() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica().find("one").await.unwrap();
    let key = scene.key("key-set");
    let sealed = scene.shelved();
    // What a stranger with a keyring of his own would seal, for the same issuer.
    let forged = {
        scene.redis.command(&["DEL", &key]);
        scene.issuer.publish(&[key_two()]);
        scene.replica_by(&scene.clock, &[("k1", 0xee)]).find("two").await.unwrap();
        scene.issuer.publish(&[key_one()]);
        scene.shelved()
    };
    // What a replica of ours sealed, for another issuer.
    let foreign = {
        let other = Scene::start().await.unwrap();
        other.replica().find("one").await.unwrap();
        other.shelved()
    };
    let bare = serde_json::json!({"keys": [key_two().jwk()]}).to_string().into_bytes();
    let cut = sealed[..sealed.len() - 1].to_vec();
    let patched = [&sealed[..sealed.len() - 32], &bare, &sealed[sealed.len() - 32..]].concat();
    for (name, planted, cause) in [
        ("a bare document", bare, "another form"),
        ("another's seal", forged, "not of this issuer's"),
        ("another issuer's", foreign, "not of this issuer's"),
        ("one byte less", cut, "not of this issuer's"),
        ("a document under another's seal", patched, "not of this issuer's"),
        ("far too much", vec![1; 4 << 20], "longer than any"),
    ] {
        // The fetch of the one before is too old for anybody.
        scene.clock.advance(MINUTE * 60);
        scene.plant(&key, &planted);
        let log = Log::default();
        let _guard = log.listen();
        let before = scene.fetches();
        let [first, second, third] = scene.replicas();
        assert!(is_unpublished(&first.find("two").await), "{name}");
        assert!(first.holds("one"), "{name}");
        assert_eq!(log.count(cause), 1, "{name}: told once: {:?}", log.lines());
        assert_eq!(scene.fetches(), before + 1, "{name}: the first fetch opens no cooldown");
        for replica in [&second, &third] {
            assert!(replica.find("one").await.is_ok(), "{name}");
        }
        assert_eq!(scene.fetches(), before + 1, "{name}: a true one is in its place");
        assert_eq!(log.count("not ours"), 1, "{name}: {:?}", log.lines());
    }
}

#[tokio::test]
async fn what_is_not_even_text_is_replaced_too() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica().find("one").await.unwrap();
    let key = scene.key("key-set");
    scene.redis.command(&["DEL", &key]);
    scene.redis.command(&["RPUSH", &key, "a", "b"]);
    scene.clock.advance(MINUTE);
    let [first, second, _] = scene.replicas();
    assert!(first.find("one").await.is_ok());
    assert!(second.find("one").await.is_ok());
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn an_old_set_put_back_by_hand_is_taken_for_as_old_as_it_is() {
    let Some(scene) = Scene::start().await else { return };
    let first = scene.replica();
    first.find("one").await.unwrap();
    let (key, old) = (scene.key("key-set"), scene.shelved());
    scene.issuer.publish(&[key_two()]);
    scene.clock.advance(MINUTE);
    assert!(first.find("two").await.is_ok());

    scene.plant(&key, &old);
    scene.clock.advance(MINUTE * 4);
    assert!(first.holds("two"), "and asks for a new one");
    until("it is renewed", || scene.fetches() == 3).await;
    assert!(!first.holds("one"), "nobody goes back to it");

    scene.plant(&key, &old);
    let cold = scene.replica();
    assert!(is_unpublished(&cold.find("one").await), "too old to be taken by the newest replica");
    assert!(cold.holds("two"));
}

#[tokio::test]
async fn a_claim_that_never_ends_holds_nobody_up_for_long() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica().find("one").await.unwrap();
    let claim = scene.key("key-set").replace(":key-set:", ":claim:");
    scene.redis.command(&["DEL", &scene.key("key-set")]);
    scene.plant(&claim, b"a stranger's");
    let replicas = scene.replicas();
    let crowds: Vec<_> = replicas.iter().flat_map(|replica| replica.crowd(10)).collect();
    for find in crowds {
        assert!(find.await.unwrap().is_ok());
    }
    assert!((2..=4).contains(&scene.fetches()), "each for itself, or what one just left");
    assert_eq!(scene.redis.ask::<String>(&["GET", &claim]), "a stranger's", "it isn't ours to end");
}

// Replicas that die, or disagree.

#[tokio::test]
async fn the_claim_of_a_dead_replica_is_taken_over_by_one_of_the_others() {
    let Some(scene) = Scene::start().await else { return };
    scene.issuer.behave(Behaviour::Held);
    // A runtime of its own, which dies with the flight in the air.
    let doomed = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let holder = scene.replica();
    let find = doomed.spawn(async move { holder.find("one").await });
    until("it asks", || scene.fetches() == 1).await;
    let [first, second, third] = scene.replicas();
    let crowds: Vec<_> =
        [&first, &second, &third].into_iter().flat_map(|replica| replica.crowd(50)).collect();
    doomed.shutdown_background();
    assert!(find.await.unwrap_err().is_cancelled());
    scene.issuer.behave(Behaviour::Normal);
    for find in crowds {
        assert!(find.await.unwrap().is_ok());
    }
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn a_rotated_master_key_opens_what_the_old_one_sealed_and_a_retired_one_nothing() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica_by(&scene.clock, &[("k1", 1)]).find("one").await.unwrap();
    for (keys, fetches) in [
        (&[("k1", 1), ("k2", 2)][..], 1),
        (&[("k2", 2), ("k1", 1)], 1),
        (&[("k2", 2)], 2),
        (&[("k2", 2), ("k1", 1)], 2),
        (&[("k1", 1)], 3),
    ] {
        assert!(scene.replica_by(&scene.clock, keys).find("one").await.is_ok());
        assert_eq!(scene.fetches(), fetches, "{keys:?}");
    }
}

#[tokio::test]
async fn clocks_that_are_twenty_seconds_apart_share_all_the_same() {
    let Some(scene) = Scene::start().await else { return };
    let clock =
        |ahead: i64| Arc::new(ManualClock::at(Timestamp::from_seconds(NOW.seconds() + ahead)));
    let clocks = [clock(-20), clock(0), clock(20)];
    let advance = |time| clocks.iter().for_each(|clock| clock.advance(time));
    let replicas = clocks.each_ref().map(|clock| scene.replica_by(clock, &[("k1", 1)]));
    for order in [[2, 1, 0], [0, 1, 2]] {
        let before = scene.fetches();
        for at in order {
            assert!(replicas[at].find("one").await.is_ok());
        }
        assert!(scene.fetches() <= before + 1);
    }
    assert_eq!(scene.fetches(), 1);

    scene.issuer.publish(&[key_two()]);
    for at in [2, 0, 1] {
        advance(SECOND);
        assert!(replicas[at].find("two").await.is_ok());
    }
    assert!(scene.fetches() <= 4, "each once at worst");

    scene.issuer.publish(&[key_one()]);
    advance(MINUTE);
    for (clock, replica) in clocks.iter().zip(&replicas) {
        assert!(replica.find("one").await.is_ok(), "at {}", clock.now());
    }
}

// A Redis that is down.

#[tokio::test]
async fn a_redis_that_is_gone_or_silent_is_skipped_after_one_try() {
    let Some(mut scene) = Scene::start().await else { return };
    let timeout = Duration::from_millis(250);
    let replica = |scene: &Scene| {
        let settings = settings::settings(&scene.redis.url(), "test");
        let settings = RedisSettings { timeout, ..settings };
        scene.replica_with(&scene.clock, &[("k1", 1)], settings)
    };
    let connected = replica(&scene);
    connected.find("one").await.unwrap();

    scene.redis.pause();
    scene.clock.advance(MINUTE * 6);
    for (name, replica) in [("connected", connected), ("cold", replica(&scene))] {
        let log = Log::default();
        let _guard = log.listen();
        assert!(replica.find("one").await.is_ok(), "{name}");
        assert_eq!(log.count("not shared"), 1, "{name}: {:?}", log.lines());
        assert_eq!(
            log.count("no answer: Redis gave no answer within 250ms"),
            1,
            "{name}: {:?}",
            log.lines()
        );
    }
    scene.redis.resume();
    scene.redis.kill();
    let gone = replica(&scene);
    let log = Log::default();
    {
        let _guard = log.listen();
        assert!(gone.find("one").await.is_ok());
        assert_eq!(log.count("not shared"), 1, "{:?}", log.lines());
    }
    assert_eq!(scene.fetches(), 4, "each for itself");

    scene.redis.start_again(Memory::Lost).await;
    // Who couldn't reach it leaves it alone for a moment, which takes real time.
    let shares_again = async {
        loop {
            scene.clock.advance(MINUTE * 6);
            let before = scene.fetches();
            assert!(gone.find("one").await.is_ok());
            assert!(replica(&scene).find("one").await.is_ok());
            if scene.fetches() == before + 1 {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, shares_again).await.unwrap();
}

#[tokio::test]
async fn the_first_failure_ends_a_flights_business_with_redis() {
    let Some(scene) = Scene::start().await else { return };
    let cutter = Cutter::before(scene.redis.address()).await;
    cutter.spoil("EVALSHA", Fault::Answer("LOADING Redis is loading the dataset in memory"));
    assert!(scene.replica_at(&cutter.url()).find("one").await.is_ok());
    let keys: Vec<String> = scene.redis.ask(&["KEYS", "*"]);
    assert_eq!(keys, [""; 0], "nothing was tried any more");
    assert_eq!(cutter.to_come(), 0);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_ends_by_itself() {
    let Some(scene) = Scene::start().await else { return };
    let cutter = Cutter::before(scene.redis.address()).await;
    cutter.spoil("SET", Fault::CutReply(2));
    assert!(scene.replica_at(&cutter.url()).find("one").await.is_ok());
    assert_eq!(cutter.to_come(), 0);
    assert_eq!(scene.fetches(), 1);
    assert!(scene.redis.ask::<i64>(&["PTTL", &scene.key("claim")]) > 0);
    assert!(scene.replica().find("one").await.is_ok());
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_skipped_too() {
    let Some(scene) = Scene::start().await else { return };
    scene.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for replica in scene.replicas() {
        assert!(replica.find("one").await.is_ok());
    }
    assert_eq!(scene.fetches(), 3);
}

#[tokio::test]
async fn nothing_in_redis_tells_which_issuer_it_is_about() {
    let Some(scene) = Scene::start().await else { return };
    scene.replica().find("one").await.unwrap();
    let keys: Vec<String> = scene.redis.ask(&["KEYS", "*"]);
    let address = scene.issuer.url().replace("http://", "");
    for key in &keys {
        assert!(!key.contains(&address), "{key}");
    }
    assert_eq!(keys.len(), 1, "{keys:?}");
}

/// What Mintage logs on this thread, where a test's runtime has its tasks too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new("mintage=trace"))
            .with_ansi(false)
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn count(&self, part: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(part)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
