//! A primary that is lost under load while Sentinels watch.
//!
//! Sentinels may take a primary for dead that lives, on a busy machine above all, and
//! then there are two for a while. So calls wait here for a replica, as they should
//! wherever Sentinels watch; `waiting.rs` shows what comes of it without.

use super::{
    REUSED, all_mint, counts,
    load::Load,
    redeem_all,
    support::{
        redis::{Memory, Options, Sentinels, binary, say},
        replicas::{Replicas, over},
    },
};

/// The store of replicas that ask these Sentinels.
pub(crate) fn behind(group: &Sentinels) -> String {
    let name = Sentinels::NAME;
    over(&group.url())
        + &format!("topology = \"sentinel\"\nsentinel_master = \"{name}\"\nwait_replicas = 1\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_primary_is_followed_twice_without_a_restart() {
    let Some(binary) = binary() else { return };
    let none = Options::default();
    let mut group = Sentinels::start(binary, &none, &none).await;
    let mut replicas = Replicas::start(3, &behind(&group)).await;
    let load = Load::on(&replicas);
    for _ in 0..2 {
        load.minted(20).await;
        let lost = group.agreed().await;
        group.servers[lost].kill();
        load.failed(1).await;
        group.taken_over(lost).await;
        all_mint(&replicas).await;
        group.servers[lost].start_again(Memory::Kept).await;
        group.follows(lost).await;
    }
    load.minted(20).await;
    let seen = load.end().await;
    let redeemed = seen.is_sound().redeemed();
    say(&format!("two failovers behind Sentinels: callers heard {:?}", seen.tally()));
    assert_eq!(redeem_all(&replicas, &redeemed, "").await, counts(&[(REUSED, redeemed.len())]));
    assert!(replicas.never_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_taken_for_dead_that_wakes_up_grants_nothing_twice() {
    let Some(binary) = binary() else { return };
    let none = Options::default();
    let group = Sentinels::start(binary, &none, &none).await;
    let mut replicas = Replicas::start(3, &behind(&group)).await;
    let load = Load::on(&replicas);
    load.minted(20).await;
    // It is taken for dead, and wakes up as a primary that nobody has told.
    let old = group.agreed().await;
    group.servers[old].pause();
    group.taken_over(old).await;
    load.minted(20).await;
    group.servers[old].resume();
    group.follows(old).await;
    load.minted(20).await;
    let seen = load.end().await;
    let redeemed = seen.is_sound().redeemed();
    say(&format!("deposed while it lived: callers heard {:?}", seen.tally()));
    assert_eq!(redeem_all(&replicas, &redeemed, "").await, counts(&[(REUSED, redeemed.len())]));
    assert!(replicas.never_ended());
}
