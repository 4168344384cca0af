//! Key sets over real sockets: what is fetched, how often, and what is answered
//! while an issuer misbehaves. The clock stands still unless a test moves it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mintage::{
    clock::Timestamp,
    keysets::{IssuerKeys, IssuerUnusable, KeySetCache, MAX_STALE, Timing},
    oidc::{Algorithm, Issuer, Provider, VerifyingKey},
    ports::{KeyAbsent, KeySets},
};
use serde_json::{Value, json};
use support::{
    clock::ManualClock,
    issuer::{Behaviour, TestIssuer, key_one, key_two},
    until,
};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const COOLDOWN: Duration = Duration::from_secs(30);

/// For issuers that hang: short, and long enough for one that doesn't on a busy
/// machine.
const IMPATIENT: Timing = Timing { exchange: SECOND };

type Found = Result<Arc<VerifyingKey>, KeyAbsent>;

/// An issuer, and a cache that knows it.
struct Scene {
    issuer: TestIssuer,
    configured: Issuer,
    clock: Arc<ManualClock>,
    cache: Arc<KeySetCache>,
}

impl Scene {
    fn new() -> Self {
        Self::start(Behaviour::Normal, Timing::default())
    }

    /// With an issuer that answers so, and a cache that gives it a second.
    fn impatient(behaviour: Behaviour) -> Self {
        Self::start(behaviour, IMPATIENT)
    }

    fn start(behaviour: Behaviour, timing: Timing) -> Self {
        let issuer = TestIssuer::start();
        issuer.behave(behaviour);
        let configured = issuer.configured(Provider::GitHub);
        let clock = Arc::new(ManualClock::at(NOW));
        let cache = cache(&[&configured], timing, &clock);
        Self { issuer, configured, clock, cache }
    }

    async fn find(&self, kid: &str) -> Found {
        self.cache.find(&self.configured, kid).await
    }

    fn holds(&self, kid: &str) -> bool {
        self.cache.held(&self.configured, kid).is_some()
    }

    /// How many fetches were made: each begins with the discovery document.
    fn fetches(&self) -> usize {
        self.issuer.discoveries()
    }
}

fn cache(issuers: &[&Issuer], timing: Timing, clock: &Arc<ManualClock>) -> Arc<KeySetCache> {
    let keys = issuers.iter().map(|issuer| only(Issuer::clone(issuer))).collect();
    Arc::new(KeySetCache::new(keys, timing, clock.clone()).unwrap())
}

/// An issuer without anything special.
fn only(issuer: Issuer) -> IssuerKeys {
    IssuerKeys { issuer, ca_file: None, jwks_hosts: Vec::new(), max_stale: MAX_STALE }
}

fn is_unpublished(found: &Found) -> bool {
    matches!(found, Err(KeyAbsent::Unpublished))
}

fn is_out_of_reach(found: &Found) -> bool {
    matches!(found, Err(KeyAbsent::OutOfReach { .. }))
}

// When all is well.

#[tokio::test]
async fn a_key_is_fetched_when_first_needed_and_then_held() {
    let scene = Scene::new();
    assert!(!scene.holds("one"));
    assert_eq!(scene.fetches(), 0, "start-up and looking ask nobody");
    let key = scene.find("one").await.unwrap();
    let id_token = scene.issuer.id_token(&json!({"aud": "pypi"}));
    let (message, signature) = id_token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(key.verifies(Algorithm::RS256, message.as_bytes(), &signature));
    assert!(scene.holds("one") && !scene.holds("two"));
    assert_eq!((scene.fetches(), scene.issuer.key_set_reads()), (1, 1));
}

#[tokio::test]
async fn two_hundred_first_finds_cause_one_fetch() {
    let scene = Arc::new(Scene::new());
    let finds: Vec<_> = (0..200)
        .map(|_| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { scene.find("one").await.is_ok() })
        })
        .collect();
    for find in finds {
        assert!(find.await.unwrap());
    }
    assert_eq!(scene.fetches(), 1);
}

#[test]
fn runtimes_that_share_a_cache_share_its_flights() {
    let scene = Scene::new();
    let ready = std::sync::Barrier::new(4);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                ready.wait();
                assert!(runtime.block_on(scene.find("one")).is_ok());
                // A runtime that ends takes its flights along, so all end together.
                ready.wait();
            });
        }
    });
    assert_eq!(scene.fetches(), 1);
}

#[tokio::test]
async fn a_flight_outlives_the_caller_who_started_it() {
    let scene = Arc::new(Scene::impatient(Behaviour::Hang));
    let find = {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { scene.find("one").await })
    };
    until("the flight has begun", || scene.fetches() == 1).await;
    find.abort();
    assert!(find.await.unwrap_err().is_cancelled());
    let found = scene.find("one").await;
    assert!(is_out_of_reach(&found), "{found:?}");
    assert_eq!(scene.fetches(), 1, "it waited for the flight of the caller who hung up");
}

#[test]
fn a_flight_that_dies_with_its_runtime_lets_the_next_one_fly() {
    let scene = Scene::start(Behaviour::Hang, Timing::default());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(async {
        let cache = Arc::clone(&scene.cache);
        let configured = scene.configured.clone();
        tokio::spawn(async move { cache.find(&configured, "one").await });
        until("the flight has begun", || scene.fetches() == 1).await;
    });
    drop(first);
    scene.issuer.behave(Behaviour::Normal);
    assert!(runtime().block_on(scene.find("one")).is_ok());
}

#[tokio::test]
async fn a_key_set_is_renewed_before_it_stops_being_fresh() {
    let scene = Scene::new();
    scene.find("one").await.unwrap();
    scene.issuer.publish(&[key_one(), key_two()]);
    scene.clock.advance(MINUTE * 4 - SECOND);
    assert!(scene.holds("one") && !scene.holds("two"));
    assert_eq!(scene.fetches(), 1);

    scene.clock.advance(SECOND);
    for _ in 0..50 {
        assert!(scene.holds("one"), "nobody waits for a renewal");
    }
    until("it is renewed", || scene.holds("two")).await;
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn the_issuer_says_how_long_a_key_set_is_fresh_within_bounds() {
    for (said, renewed_after) in [
        ("public, max-age=100", 80),
        ("max-age=1", 48),
        ("no-store", 48),
        ("max-age=31536000", 720),
        ("max-age=for ever", 240),
    ] {
        let scene = Scene::new();
        scene.issuer.cache_control(said);
        scene.find("one").await.unwrap();
        scene.issuer.publish(&[key_one(), key_two()]);
        scene.clock.advance(SECOND * (renewed_after - 1));
        assert!(scene.holds("one"));
        scene.clock.advance(SECOND);
        assert_eq!(scene.fetches(), 1, "{said}");
        assert!(scene.holds("one"));
        until(said, || scene.holds("two")).await;
    }
}

#[tokio::test]
async fn a_key_set_that_nobody_asked_about_is_asked_about_before_it_is_used() {
    let scene = Scene::new();
    scene.find("one").await.unwrap();
    scene.issuer.publish(&[key_two()]);
    scene.clock.advance(MINUTE * 30);
    assert!(!scene.holds("one"), "it may have been withdrawn");
    assert!(is_unpublished(&scene.find("one").await), "and it was");
    assert!(scene.holds("two"));
}

// Rotation and unknown keys.

#[tokio::test]
async fn a_rotated_key_is_found_and_the_withdrawn_one_dies() {
    let scene = Scene::new();
    scene.find("one").await.unwrap();
    scene.issuer.publish(&[key_two()]);
    assert!(scene.find("two").await.is_ok(), "the first fetch opened no cooldown");
    assert!(!scene.holds("one"));
    assert!(is_unpublished(&scene.find("one").await));
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_fetch_per_cooldown() {
    let scene = Scene::new();
    scene.find("one").await.unwrap();
    for cooldown in 1..4 {
        for n in 0..100 {
            let found = scene.find(&format!("unknown {n}")).await;
            assert!(is_unpublished(&found), "{found:?}");
            assert!(scene.holds("one"));
        }
        assert_eq!(scene.fetches(), 1 + cooldown);
        scene.clock.advance(COOLDOWN - SECOND);
        assert!(is_unpublished(&scene.find("unknown").await));
        assert_eq!(scene.fetches(), 1 + cooldown);
        scene.clock.advance(SECOND);
    }
}

#[tokio::test]
async fn the_flood_causes_no_more_while_the_issuer_answers_500() {
    let scene = Scene::new();
    scene.find("one").await.unwrap();
    scene.issuer.behave(Behaviour::Status(500));
    let mut fetches = 1;
    for wait in [30, 60, 120] {
        for n in 0..50 {
            let found = scene.find(&format!("unknown {n}")).await;
            assert!(is_unpublished(&found), "the set is known: {found:?}");
        }
        fetches += 1;
        assert_eq!(scene.fetches(), fetches);
        // Within its freshness nobody notices that the issuer is down.
        assert!(scene.holds("one"));
        scene.clock.advance(SECOND * wait);
    }
}

#[tokio::test]
async fn without_any_set_the_flood_causes_one_fetch_per_cooldown_too() {
    let scene = Scene::start(Behaviour::Status(500), Timing::default());
    for n in 0..100 {
        let found = scene.find(&format!("unknown {n}")).await;
        assert_eq!(found.err(), Some(KeyAbsent::OutOfReach { retry_after: COOLDOWN }));
    }
    assert_eq!(scene.fetches(), 1);
    scene.clock.advance(COOLDOWN);
    scene.issuer.behave(Behaviour::Normal);
    assert!(scene.find("one").await.is_ok());
    assert_eq!(scene.fetches(), 2);
}

#[tokio::test]
async fn unknown_keys_of_a_hanging_issuer_hold_up_no_known_key() {
    let scene = Arc::new(Scene::impatient(Behaviour::Normal));
    scene.find("one").await.unwrap();
    scene.issuer.behave(Behaviour::Hang);
    let flood: Vec<_> = (0..500)
        .map(|n| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { scene.find(&format!("unknown {n}")).await })
        })
        .collect();
    until("the flight has begun", || scene.fetches() == 2).await;
    assert!(scene.holds("one"));
    assert!(scene.find("one").await.is_ok());
    until("those beyond the bound are answered", || {
        flood.iter().filter(|find| find.is_finished()).count() == 500 - 256
    })
    .await;
    for find in flood {
        assert!(is_unpublished(&find.await.unwrap()));
    }
    assert_eq!(scene.fetches(), 2);
}

// Issuers that misbehave.

#[tokio::test]
async fn one_bad_jwk_is_left_out_and_not_the_good_ones_with_it() {
    let scene = Scene::new();
    let nameless = {
        let mut jwk = key_two().jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let symmetric = json!({"kty": "oct", "kid": "secret", "k": "AAAA"});
    let broken = json!({"kty": "RSA", "kid": "broken", "n": "!", "e": 3});
    scene.issuer.publish_jwks(vec![
        json!(1),
        broken,
        nameless,
        symmetric,
        Value::Null,
        key_one().jwk(),
    ]);
    assert!(scene.find("one").await.is_ok());
    for kid in ["broken", "secret", "two"] {
        assert!(is_unpublished(&scene.find(kid).await), "{kid}");
    }
}

#[tokio::test]
async fn what_is_not_a_key_set_of_this_issuer_is_a_failed_fetch() {
    let elsewhere = TestIssuer::start();
    let foreign = format!("{}/keys", elsewhere.url());
    let key_set = |text: &str| Behaviour::KeySet(text.to_owned());
    for (behaviour, cause) in [
        (Behaviour::Status(500), "status is 500"),
        (Behaviour::Status(404), "status is 404"),
        (Behaviour::Status(204), "status is 204"),
        (Behaviour::Redirect, "status is 302"),
        (Behaviour::Huge, "longer than 262144 bytes"),
        (Behaviour::HugeChunked, "longer than 262144 bytes"),
        (Behaviour::SlowLoris, "took longer than 1s"),
        (Behaviour::Hang, "took longer than 1s"),
        (Behaviour::WrongIssuer, "names another issuer"),
        (Behaviour::JwksUri(foreign), "not a URL of the issuer's origin"),
        (
            Behaviour::JwksUri("https://keys.example/keys".to_owned()),
            "not a URL of the issuer's origin",
        ),
        (key_set(""), "at least one usable key"),
        (key_set("<html>"), "at least one usable key"),
        (key_set(r#"{"keys": []}"#), "at least one usable key"),
        (key_set(r#"{"keys": {}}"#), "at least one usable key"),
    ] {
        let log = Log::default();
        let _guard = log.listen();
        let scene = Scene::impatient(behaviour.clone());
        let found = scene.find("one").await;
        assert!(is_out_of_reach(&found), "{behaviour:?}: {found:?}");
        assert!(scene.issuer.key_set_reads() <= 1, "{behaviour:?}: nothing is followed");
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{behaviour:?}: logged once: {lines:?}");
        assert!(lines[0].contains(cause), "{behaviour:?}: {lines:?}");
        assert!(lines[0].contains(&scene.issuer.url()), "{behaviour:?}: {lines:?}");
    }
    assert_eq!(elsewhere.key_set_reads(), 0);
}

/// What Mintage logs on this thread, where a test's runtime has its tasks too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let filter = tracing_subscriber::EnvFilter::new("mintage=trace");
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_keys() {
    for behaviour in
        [Behaviour::Status(500), Behaviour::KeySet(r#"{"keys": []}"#.to_owned()), Behaviour::Hang]
    {
        let scene = Scene::impatient(Behaviour::Normal);
        scene.find("one").await.unwrap();
        scene.issuer.behave(behaviour.clone());
        scene.clock.advance(MINUTE * 6);
        assert!(!scene.holds("one"));
        assert!(scene.find("one").await.is_ok(), "{behaviour:?}");
        assert!(scene.holds("one"), "{behaviour:?}: known to be down, nobody waits again");
        assert_eq!(scene.fetches(), 2);
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_is_served_stale_for_an_hour_and_then_refused() {
    let scene = Scene::new();
    scene.find("one").await.unwrap();
    scene.issuer.behave(Behaviour::Status(503));
    for minute in 1..60 {
        scene.clock.advance(MINUTE);
        assert!(scene.holds("one") || scene.find("one").await.is_ok(), "minute {minute}");
    }
    let found = {
        scene.clock.advance(MINUTE);
        assert!(!scene.holds("one"));
        scene.find("one").await
    };
    assert!(is_out_of_reach(&found), "{found:?}");

    scene.issuer.behave(Behaviour::Normal);
    scene.clock.advance(MINUTE * 2);
    assert!(scene.find("one").await.is_ok(), "it came back");
}

#[tokio::test]
async fn an_issuer_that_nobody_answers_for_is_out_of_reach() {
    let scene = Scene::new();
    let gone = {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Issuer { url: format!("http://{port}"), ..scene.configured.clone() }
    };
    let cache = cache(&[&gone], Timing::default(), &scene.clock);
    assert!(is_out_of_reach(&cache.find(&gone, "one").await));
}

#[tokio::test]
async fn a_hanging_issuer_does_not_slow_another() {
    let hanging = TestIssuer::start();
    hanging.behave(Behaviour::Hang);
    let scene = Scene::new();
    let stuck = hanging.configured(Provider::GitLab);
    let cache = cache(&[&stuck, &scene.configured], Timing::default(), &scene.clock);
    let find = {
        let cache = Arc::clone(&cache);
        let stuck = stuck.clone();
        tokio::spawn(async move { cache.find(&stuck, "one").await })
    };
    until("it hangs", || hanging.discoveries() == 1).await;
    assert!(cache.find(&scene.configured, "one").await.is_ok());
    assert!(cache.held(&scene.configured, "one").is_some());
    assert!(!find.is_finished(), "the other one hangs still");
}

#[tokio::test]
async fn nothing_is_ever_fetched_for_an_issuer_that_is_not_configured() {
    let scene = Scene::new();
    let stranger = TestIssuer::start();
    let found = scene.cache.find(&stranger.configured(Provider::GitHub), "one").await;
    assert!(is_unpublished(&found));
    assert_eq!(stranger.discoveries(), 0);
}

// Trust.

#[tokio::test]
async fn a_ca_file_is_trusted_for_its_issuer_and_for_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = TestIssuer::start_tls();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, trusted.ca_pem().unwrap()).unwrap();

    let ours = trusted.configured(Provider::GitLab);
    let keys = |ca_file| IssuerKeys { ca_file, ..only(ours.clone()) };
    let clock = Arc::new(ManualClock::at(NOW));
    for (ca_file, reached) in [(Some(ca_file), true), (None, false)] {
        let issuers = vec![keys(ca_file)];
        let cache = KeySetCache::new(issuers, Timing::default(), clock.clone()).unwrap();
        let found = cache.find(&ours, "one").await;
        assert_eq!(found.is_ok(), reached, "{found:?}");
    }

    let other = TestIssuer::start_tls();
    let theirs = other.configured(Provider::GitLab);
    let ca_file = Some(directory.path().join("ca.pem"));
    let issuers = vec![IssuerKeys { ca_file, ..only(theirs.clone()) }];
    let cache = KeySetCache::new(issuers, Timing::default(), clock).unwrap();
    assert!(is_out_of_reach(&cache.find(&theirs, "one").await), "only what the file holds");
    assert_eq!(other.discoveries(), 0);
}

#[tokio::test]
async fn a_ca_file_that_changes_is_trusted_from_the_next_fetch_on() {
    let directory = tempfile::tempdir().unwrap();
    let (before, issuer) = (TestIssuer::start_tls(), TestIssuer::start_tls());
    let path = directory.path().join("ca.pem");
    let put = |pem: &str| std::fs::write(&path, pem).unwrap();
    put(before.ca_pem().unwrap());
    let ours = issuer.configured(Provider::GitLab);
    let issuers = vec![IssuerKeys { ca_file: Some(path.clone()), ..only(ours.clone()) }];
    let clock = Arc::new(ManualClock::at(NOW));
    let cache = KeySetCache::new(issuers, Timing::default(), clock.clone()).unwrap();
    let found = async || {
        let found = cache.find(&ours, "one").await;
        // Whatever was found out ends, so that each time is a fetch.
        clock.advance(2 * MAX_STALE);
        found
    };
    assert!(is_out_of_reach(&found().await), "another authority is trusted");
    put("half a file");
    assert!(is_out_of_reach(&found().await));
    put(&format!("{}{}", before.ca_pem().unwrap(), issuer.ca_pem().unwrap()));
    assert!(found().await.is_ok());
    put("");
    assert!(found().await.is_ok(), "a broken file changes nothing");
    put(before.ca_pem().unwrap());
    assert!(is_out_of_reach(&found().await), "whom the file doesn't hold any more");
}

// Configurations that can't work.

#[test]
fn every_issuer_that_cannot_be_used_is_told_in_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let issuer = |url: &str| {
        let configured = TestIssuer::start().configured(Provider::GitLab);
        only(Issuer { url: url.to_owned(), ..configured })
    };
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with_ca = |ca_file| IssuerKeys { ca_file: Some(ca_file), ..issuer("https://a.example") };
    let issuers = vec![
        issuer("http://a.example"),
        with_ca(directory.path().join("absent.pem")),
        with_ca(file("empty.pem", "")),
        with_ca(file("garbled.pem", garbled)),
        IssuerKeys { jwks_hosts: vec!["https://x".to_owned()], ..issuer("https://a.example") },
    ];
    let clock = Arc::new(ManualClock::at(NOW));
    let mistakes = KeySetCache::new(issuers, Timing::default(), clock).err().unwrap();
    assert!(
        matches!(
            mistakes.as_slice(),
            [
                IssuerUnusable::Url { .. },
                IssuerUnusable::CaUnreadable { .. },
                IssuerUnusable::CaUnusable { .. },
                IssuerUnusable::CaUnusable { .. } | IssuerUnusable::Tls { .. },
                IssuerUnusable::JwksHost { .. },
            ]
        ),
        "{mistakes:#?}"
    );
    for mistake in &mistakes {
        assert!(mistake.to_string().contains("a.example") && !mistake.to_string().contains('\n'));
    }
}
