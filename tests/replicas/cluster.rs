//! A Cluster whose slots move and whose masters are lost, under load.

use super::{
    REUSED, all_mint, counts,
    load::Load,
    redeem_all,
    support::{
        redis::{Cluster, Kind, Memory, Options, binary_rather, say, settled},
        replicas::{Replicas, over},
    },
};

/// The store of replicas that ask these nodes.
fn on(cluster: &Cluster) -> String {
    over(&cluster.url()) + "topology = \"cluster\"\n"
}

/// The slots that hold anything, on one master.
fn used_slots(cluster: &Cluster, master: usize) -> Vec<u16> {
    let keys: Vec<String> = cluster.nodes[master].ask(&["KEYS", "*"]);
    let mut slots: Vec<u16> = keys.iter().map(|key| cluster.slot_of(key)).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_take_their_marks_along() {
    let Some(binary) = binary_rather(Kind::Valkey) else { return };
    let cluster = Cluster::start(binary, &Options::default()).await;
    let mut replicas = Replicas::start(3, &on(&cluster)).await;
    all_mint(&replicas).await;
    let load = Load::on(&replicas);
    load.minted(20).await;
    let slots = used_slots(&cluster, 0);
    assert!(slots.len() > 2, "marks lie in many slots: {slots:?}");
    for (round, &slot) in slots.iter().take(6).enumerate() {
        let to = 1 + round % 2;
        cluster.begin_move(slot, 0, to);
        // While it moves keys are asked for in both places.
        load.minted(5).await;
        cluster.carry_over(slot, 0, to);
        load.minted(5).await;
        // Calls since have left nothing behind.
        cluster.carry_over(slot, 0, to);
        cluster.end_move(slot, to).await;
        load.minted(5).await;
    }
    let seen = load.end().await;
    let redeemed = seen.is_sound().redeemed();
    say(&format!("six slots moved: callers heard {:?}", seen.tally()));
    assert_eq!(redeem_all(&replicas, &redeemed, "").await, counts(&[(REUSED, redeemed.len())]));
    assert!(replicas.never_ended());
    assert_eq!(cluster.master_of(slots[0]), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_is_followed_and_its_return_changes_nothing() {
    let Some(binary) = binary_rather(Kind::Valkey) else { return };
    let mut cluster = Cluster::with_replicas(binary, &Options::default()).await;
    let mut replicas = Replicas::start(3, &on(&cluster)).await;
    all_mint(&replicas).await;
    let load = Load::on(&replicas);
    load.minted(40).await;
    let slot = used_slots(&cluster, 0)[0];
    let lost = cluster.lose_master_of(slot).await;
    all_mint(&replicas).await;
    load.minted(40).await;
    cluster.nodes[lost].start_again(Memory::Kept).await;
    settled("the lost master follows", || {
        cluster.nodes[lost].is_in_step_with(&cluster.nodes[lost + 3])
    })
    .await;
    load.minted(40).await;
    let seen = load.end().await;
    let redeemed = seen.is_sound().redeemed();
    say(&format!("a master lost: callers heard {:?}", seen.tally()));
    assert_eq!(redeem_all(&replicas, &redeemed, "").await, counts(&[(REUSED, redeemed.len())]));
    assert!(replicas.never_ended());
}
