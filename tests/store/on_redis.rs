//! What only a store over Redis can do wrong: what it leaves there, how long, and
//! what it makes of a server that isn't what it was.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mintage::{
    clock::Timestamp,
    mark::Mark,
    ports::{Redeemed, Revoked, Store, UsesSpend, UsesSpent},
    store::{Address, RedisSettings, RedisStore, Topology},
};

use tokio::task::JoinSet;

use super::{
    Calls, HOUR, LONG_AGO, MINUTE, limit, one_use, redemption, repeatable, revocation, spend,
    spend_as,
    support::redis::{Kind, Memory, Options, PATIENCE, RedisServer, binary, binary_of, free_port},
};

/// The present, by the clock that servers go by too.
fn now() -> Timestamp {
    mintage::app::World::system().clock.now()
}

fn settings(server: &RedisServer) -> RedisSettings {
    RedisSettings {
        timeout: Duration::from_secs(5),
        ..super::redis::settings(&server.url(), "mintage")
    }
}

fn store(server: &RedisServer) -> Calls {
    Calls(Arc::new(RedisStore::new(settings(server))))
}

/// A redeeming whose mark lives for an hour from now on, issued at this second.
fn fresh(jti: &str, issued_at: i64, now: Timestamp) -> mintage::ports::Redemption {
    mintage::ports::Redemption {
        until: now.plus(HOUR),
        issued_at: Some(issued_at),
        ..redemption(jti)
    }
}

#[tokio::test]
async fn every_key_is_of_a_known_kind_holds_a_hash_and_has_an_end_unless_it_is_for_good() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    let now = now();
    let call = mintage::ports::Redemption {
        until: now.plus(HOUR),
        retry: Some((Mark::mint_retry("web", "call", &[0; 32]), now.plus(MINUTE))),
        ..repeatable("a jti", "call", "k1")
    };
    let until = now.plus(HOUR);
    store.redeem_within(&call, &[limit("client", 9)], now).await;
    let uses = [mintage::ports::Use { until, ..one_use("nonce", 3) }];
    let retry = Some((Mark::verify_retry("web", "call", &[0; 32], &[0; 32]), now.plus(MINUTE)));
    store.spend_uses(&UsesSpend { retry, ..spend(&uses) }, now).await;
    store.revoke(Some(until), now).await;
    let for_good = Mark::revoked("pypi", "a user's token");
    assert_eq!(store.0.revoke(for_good, None, now).await, Ok(Revoked::Now));

    let mut lives: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]) {
        let seconds: i64 = server.ask(&["TTL", &key]);
        let rest = key.strip_prefix("mintage:{0}:").unwrap();
        let kind = match rest.split_once(':') {
            Some((kind, hash)) => {
                assert_eq!(hash.len(), 43, "a SHA-256 in base64url: {key}");
                kind
            }
            None => rest,
        };
        lives.entry(kind.to_owned()).or_default().push(seconds);
    }
    let longest = |kind: &str| lives[kind].iter().copied().max().unwrap();
    let kinds: Vec<&str> = lives.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["call", "limit", "memory", "redeemed", "revoked", "uses"]);
    // A minute longer than the mark counts, for clocks that are late.
    for (kind, seconds) in [("redeemed", 3_660), ("uses", 3_660), ("call", 120), ("limit", 61)] {
        assert!((seconds - 30..=seconds).contains(&longest(kind)), "{kind}: {lives:?}");
    }
    let mut revoked = lives["revoked"].clone();
    revoked.sort_unstable();
    assert_eq!(revoked[0], -1, "for good");
    assert!((3_630..=3_660).contains(&revoked[1]), "{lives:?}");
    assert_eq!(lives["memory"], [-1]);
}

#[tokio::test]
async fn neither_keys_nor_values_tell_of_tokens_people_or_projects() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    let now = now();
    let mut call = repeatable("secret-jti", "secret-request", "k1");
    call.mark = Mark::redeemed("https://secret-issuer.example", "secret-jti");
    store.redeem_within(&call, &[limit("secret-client", 9)], now).await;
    store.spend_uses(&spend_as("secret-request", &[one_use("secret-nonce", 3)]), now).await;
    store.revoke(None, now).await;
    let mut all = String::new();
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]) {
        let text: Result<String, _> = server.try_ask(&["GET", &key]);
        let hash: Result<Vec<String>, _> = server.try_ask(&["HGETALL", &key]);
        all.push_str(&format!(
            "{key} {} {}\n",
            text.unwrap_or_default(),
            hash.unwrap_or_default().join(" ")
        ));
    }
    assert!(all.lines().count() >= 6, "{all}");
    assert!(!all.contains("secret"), "{all}");
}

#[tokio::test]
async fn a_memory_that_was_flushed_begins_anew_and_refuses_what_is_older() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    let began = now();
    let second = began.seconds();
    assert_eq!(store.redeem(&fresh("a", second, began), began).await, Redeemed::Now);
    let minted_at = Some(began.plus(Duration::from_millis(500)));
    let uses = UsesSpend { minted_at, ..spend(&[one_use("n", 1)]) };
    assert_eq!(store.spend_uses(&uses, began).await, UsesSpent::Allowed);

    server.command(&["FLUSHALL"]);
    let lost = now().plus(Duration::from_secs(1));
    let answers = [
        // The same second: nobody can say what happened in it before.
        ("a", lost.seconds(), Redeemed::Unremembered),
        ("b", second, Redeemed::Unremembered),
        ("c", lost.seconds() + 2, Redeemed::Now),
        ("c", lost.seconds() + 2, Redeemed::Before),
    ];
    for (jti, issued_at, answer) in answers {
        assert_eq!(store.redeem(&fresh(jti, issued_at, lost), lost).await, answer, "{jti}");
    }
    assert_eq!(store.spend_uses(&uses, lost).await, UsesSpent::Unremembered);
    let young = UsesSpend { minted_at: Some(lost.plus(MINUTE)), ..spend(&[one_use("m", 1)]) };
    assert_eq!(store.spend_uses(&young, lost).await, UsesSpent::Allowed);
}

#[tokio::test]
async fn another_server_process_is_noticed_by_every_store_also_if_it_kept_its_data() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start_with(
        binary,
        Options::default().arguments(&["--appendonly", "yes", "--appendfsync", "always"]),
    );
    let mut server = server.await;
    let (one, two) = (store(&server), store(&server));
    let began = now();
    assert_eq!(one.redeem(&fresh("a", began.seconds(), began), began).await, Redeemed::Now);
    assert_eq!(two.redeem(&fresh("b", began.seconds(), began), began).await, Redeemed::Now);
    server.kill();
    server.start_again(Memory::Kept).await;
    let later = now().plus(MINUTE);
    for store in [one, two] {
        let old = fresh("c", began.seconds(), later);
        assert_eq!(store.redeem(&old, later).await, Redeemed::Unremembered);
        assert_eq!(
            store.redeem(&fresh("a", began.seconds(), later), later).await,
            Redeemed::Before
        );
    }
}

#[tokio::test]
async fn the_first_to_find_an_empty_server_takes_tokens_of_that_very_second() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let now = now();
    let store = store(&server);
    assert_eq!(store.redeem(&fresh("a", now.seconds() + 1, now), now).await, Redeemed::Now);
    assert_eq!(
        store.redeem(&fresh("b", now.seconds() - 1, now), now).await,
        Redeemed::Unremembered
    );
}

#[tokio::test]
async fn a_late_clock_does_not_let_the_memory_begin_too_early() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let late = store(&server);
    let now = now();
    let behind = now.minus(Duration::from_secs(20));
    let issued = now.seconds() - 10;
    assert_eq!(late.redeem(&fresh("a", issued, behind), behind).await, Redeemed::Unremembered);
}

#[tokio::test]
async fn an_early_clock_does_not_let_a_mark_end_early() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    let now = now();
    let early = now.plus(MINUTE * 10);
    let call = mintage::ports::Redemption {
        until: now.plus(HOUR),
        ..fresh("a", early.seconds() + 1, early)
    };
    assert_eq!(store.redeem(&call, early).await, Redeemed::Now);
    let uses = [mintage::ports::Use { until: now.plus(HOUR), ..one_use("n", 1) }];
    let spent = UsesSpend { minted_at: None, ..spend(&uses) };
    assert_eq!(store.spend_uses(&spent, early).await, UsesSpent::Allowed);
    store.revoke(Some(now.plus(HOUR)), early).await;
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]) {
        let seconds: i64 = server.ask(&["TTL", &key]);
        assert!(seconds > 3_600 || key.ends_with("memory"), "{key}: {seconds}");
    }
}

#[tokio::test]
async fn a_mark_that_the_servers_clock_may_have_ended_is_not_held_for_unredeemed() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    store.0.probe(LONG_AGO).await.unwrap();
    let present = now();
    // This caller's clock was put back by two hours: the mark's end has passed, though
    // not for it.
    let before = present.minus(HOUR * 2);
    let late = fresh("a", before.seconds(), before);
    assert_eq!(store.redeem(&late, before).await, Redeemed::Unremembered);
    let uses = [mintage::ports::Use { until: before.plus(HOUR), ..one_use("n", 1) }];
    let spent = UsesSpend { minted_at: None, ..spend(&uses) };
    assert_eq!(store.spend_uses(&spent, before).await, UsesSpent::Unremembered);
    assert_eq!(store.redeem(&fresh("a", present.seconds(), present), present).await, Redeemed::Now);
}

#[tokio::test]
async fn a_value_that_is_not_ours_is_a_failure_and_not_an_answer() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    let now = now();
    let call = fresh("a", now.seconds() + 1, now);
    assert_eq!(store.redeem(&call, now).await, Redeemed::Now);
    assert_eq!(store.revoke(None, now).await, Revoked::Now);
    for key in server.ask::<Vec<String>>(&["KEYS", "*"]) {
        if !key.ends_with("memory") {
            server.command(&["SET", &key, "somebody else's"]);
        }
    }
    for _ in 0..2 {
        assert!(store.0.redeem(&call, &[], now).await.is_err());
        assert!(store.0.spend_uses(&spend(&[]), now).await.is_err());
        assert!(store.0.spend_uses(&spend(&[one_use("n", 1)]), now).await.is_err());
        assert!(store.0.revoke(revocation(), Some(now.plus(HOUR)), now).await.is_err());
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    let now = now();
    for jti in ["a", "b", "c"] {
        server.command(&["SCRIPT", "FLUSH"]);
        let call = fresh(jti, now.seconds() + 1, now);
        assert_eq!(store.redeem_within(&call, &[limit("x", 9)], now).await, Redeemed::Now);
    }
}

#[tokio::test]
async fn a_server_without_room_refuses_and_keeps_what_counts() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let store = store(&server);
    let now = now();
    let call = fresh("a", now.seconds() + 1, now);
    assert_eq!(store.redeem(&call, now).await, Redeemed::Now);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = store.0.redeem(&fresh("b", now.seconds() + 1, now), &[limit("x", 1)], now).await;
    assert!(refused.unwrap_err().cause.contains("OOM"));
    assert_eq!(store.redeem(&call, now).await, Redeemed::Before, "reading goes on");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let redeemed =
        store.redeem_within(&fresh("b", now.seconds() + 1, now), &[limit("x", 1)], now).await;
    assert_eq!(redeemed, Redeemed::Now, "neither the mark nor the limit was spent");
}

#[tokio::test]
async fn more_than_may_wait_fail_at_once_and_leave_their_places() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let few =
        RedisSettings { max_waiting: 2, timeout: Duration::from_secs(20), ..settings(&server) };
    let store: Arc<dyn Store> = Arc::new(RedisStore::new(few));
    let now = now();
    store.probe(now).await.unwrap();
    server.pause();
    let mut calls = JoinSet::new();
    for n in 0..3 {
        let store = Arc::clone(&store);
        let call = fresh(&n.to_string(), now.seconds() + 1, now);
        calls.spawn(async move { store.redeem(&call, &[], now).await });
    }
    let first = calls.join_next().await.unwrap().unwrap();
    assert_eq!(first.unwrap_err().cause, "too many calls wait for Redis");
    server.resume();
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap(), Ok(Redeemed::Now));
    }
    let third = fresh("third", now.seconds() + 1, now);
    assert!(store.redeem(&third, &[], now).await.is_ok(), "the places are free again");
}

#[tokio::test]
async fn a_server_that_is_away_fails_calls_and_serves_them_once_it_is_back() {
    let Some(binary) = binary() else { return };
    let mut server = RedisServer::start(binary).await;
    let store = store(&server);
    let now = now();
    assert_eq!(store.redeem(&fresh("a", now.seconds() + 1, now), now).await, Redeemed::Now);
    server.kill();
    assert!(store.0.redeem(&fresh("b", now.seconds() + 1, now), &[], now).await.is_err());
    assert!(store.0.probe(now).await.is_err());
    server.start_again(Memory::Lost).await;
    let until = tokio::time::Instant::now() + PATIENCE;
    while let Err(failure) = store.0.probe(now).await {
        assert!(tokio::time::Instant::now() < until, "{failure}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let call = fresh("c", now.seconds() + 100, now);
    assert_eq!(store.redeem(&call, now).await, Redeemed::Now);
}

#[tokio::test]
async fn nobody_at_the_other_end_is_a_failure_that_names_the_address_for_the_log() {
    let address = Address { host: "127.0.0.1".to_owned(), port: free_port() };
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let gone = RedisSettings { topology: Topology::Single(address), ..settings(&server) };
    let store = RedisStore::new(gone);
    let failure = store.probe(now()).await.unwrap_err();
    assert!(failure.cause.contains("refused"), "{failure}");
    assert_eq!(failure.retry_after, Duration::from_secs(1));
}

#[tokio::test]
async fn a_replica_is_not_taken_for_a_primary() {
    let Some(binary) = binary_of(Kind::Redis) else { return };
    let server = RedisServer::start(binary).await;
    let port = free_port().to_string();
    server.command(&["REPLICAOF", "127.0.0.1", &port]);
    let failure = store(&server).0.probe(now()).await.unwrap_err();
    assert!(failure.cause.contains("it is a replica"), "{failure}");
}
