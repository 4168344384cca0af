//! A store that lost its memory: nothing that it knew is redeemed again, and what is
//! issued from the next second on works at once.

use mintage::{app::SystemClock, ports::Clock as _};

use super::{
    REUSED, answered, counts,
    load::Load,
    redeem_all,
    support::{
        redis::{Memory, Options, RedisServer, Sentinels, binary, settled},
        replicas::{Replicas, named, over},
    },
};

/// How many ID tokens are redeemed before the memory is lost.
const BEFORE: usize = 1_000;

/// So many ID tokens, all redeemed.
async fn redeemed(replicas: &Replicas) -> Vec<String> {
    let id_tokens: Vec<String> =
        (0..BEFORE).map(|job| replicas.id_token(&format!("before {job}"))).collect();
    assert_eq!(redeem_all(replicas, &id_tokens, "before").await, counts(&[("minted", BEFORE)]));
    id_tokens
}

/// None of what was redeemed before is redeemed again, be it under load or later.
async fn is_remembered_or_refused(mut replicas: Replicas, before: &[String], load: Load) {
    // Whoever comes first finds out; what he has was issued before he did.
    let _ = answered(&replicas, 0, replicas.fresh()).await;
    let second = SystemClock.now().seconds();
    settled("the next second", || SystemClock.now().seconds() > second).await;
    for replica in 0..replicas.count() {
        let fresh = answered(&replicas, replica, named(replicas.fresh(), "fresh")).await;
        assert!(fresh.is_ok(), "at once, at replica {replica}: {fresh:?}");
    }
    load.minted(20).await;
    let seen = load.end().await;
    let under_load = seen.is_sound().redeemed();
    for id_tokens in [before, &under_load] {
        let again = redeem_all(&replicas, id_tokens, "").await;
        assert_eq!(again, counts(&[(REUSED, id_tokens.len())]));
    }
    assert!(replicas.never_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_under_load_brings_nothing_back() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let replicas = Replicas::start(3, &over(&server.url())).await;
    let before = redeemed(&replicas).await;
    let load = Load::on(&replicas);
    load.minted(20).await;
    server.command(&["FLUSHALL"]);
    is_remembered_or_refused(replicas, &before, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_persistence_under_load_brings_nothing_back() {
    let Some(binary) = binary() else { return };
    let mut server = RedisServer::start(binary).await;
    let replicas = Replicas::start(3, &over(&server.url())).await;
    let before = redeemed(&replicas).await;
    let load = Load::on(&replicas);
    load.minted(20).await;
    server.start_again(Memory::Lost).await;
    super::all_mint(&replicas).await;
    is_remembered_or_refused(replicas, &before, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_under_load_brings_nothing_back() {
    let Some(binary) = binary() else { return };
    let none = Options::default();
    let mut group = Sentinels::start(binary, &none, &none).await;
    let replicas = Replicas::start(3, &super::failover::behind(&group)).await;
    let before = redeemed(&replicas).await;
    let load = Load::on(&replicas);
    load.minted(20).await;
    group.fail_over().await;
    super::all_mint(&replicas).await;
    is_remembered_or_refused(replicas, &before, load).await;
}
