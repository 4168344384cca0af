//! What `wait_replicas` changes where Redis may lose what it has acknowledged: a
//! primary that is cut off goes on answering, while its replica has taken over.
//!
//! Without it, both sides of such a split redeem. With it, the side that no replica
//! follows redeems nothing: it says that nobody can tell.

use mintage::{
    app::SystemClock,
    grpc::proto::{self, Verdict, revoke_request::Target},
    ports::Clock as _,
};
use tonic::Code;

use super::{
    REUSED, UNAVAILABLE, mints,
    support::{
        redis::{Options, RedisServer, Replicated, binary, settled},
        replicas::{Replicas, over},
        service::{Refused, verifying},
    },
};

/// The side of the old primary, and that of its replica which took over.
const OLD: usize = 0;
const NEW: usize = 1;

/// A primary with a replica, and a Mintage for each.
struct Pair {
    group: Replicated,
    replicas: Replicas,
}

impl Pair {
    /// At the primary's side calls wait for so many replicas. At the other's they
    /// don't: nobody follows it yet.
    async fn start(wait_replicas: u32) -> Option<Self> {
        let group = Replicated::start(binary()?, &Options::default(), 1).await;
        let store = over(&group.primary.url());
        let other = store.replace(&group.primary.url(), &group.replicas[0].url());
        let stores = [store + &format!("wait_replicas = {wait_replicas}\n"), other];
        let replicas = Replicas::start_each(&stores).await;
        Some(Self { group, replicas })
    }

    /// The replica takes over, and the primary doesn't hear of it.
    async fn split(&self) {
        self.group.in_step().await;
        self.group.promote(0);
        mints(&self.replicas, NEW).await;
        next_second().await;
    }

    async fn revoke(&self, token: &str) -> Result<proto::RevokeResponse, Refused> {
        let target = Some(Target::Token(token.to_owned()));
        let index = "pypi".to_owned();
        let request = proto::RevokeRequest { index, target, ..Default::default() };
        self.replicas.revoke(OLD, request).await
    }
}

/// From then on what is issued is younger than any memory that has begun.
async fn next_second() {
    let second = SystemClock.now().seconds();
    settled("the next second", || SystemClock.now().seconds() > second).await;
}

fn is_unavailable(refused: &Refused) {
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, UNAVAILABLE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_waiting_both_sides_of_a_split_redeem_and_a_revocation_is_lost() {
    let Some(pair) = Pair::start(0).await else { return };
    let revoked = pair.replicas.mint(OLD, pair.replicas.fresh()).await.unwrap().token;
    pair.split().await;

    let request = pair.replicas.fresh();
    let [old, new] = [OLD, NEW].map(|side| pair.replicas.mint(side, request.clone()));
    assert_ne!(old.await.unwrap().token, new.await.unwrap().token, "as the README says");

    pair.revoke(&revoked).await.unwrap();
    let verified = pair.replicas.verify(NEW, verifying(&revoked)).await.unwrap();
    assert_eq!(verified.verdict(), Verdict::Allowed, "as the README says");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_waiting_the_side_that_nobody_follows_grants_and_acknowledges_nothing() {
    let Some(pair) = Pair::start(1).await else { return };
    let revoked = pair.replicas.mint(OLD, pair.replicas.fresh()).await.unwrap().token;
    pair.split().await;

    let request = pair.replicas.fresh();
    is_unavailable(&pair.replicas.mint(OLD, request.clone()).await.unwrap_err());
    assert!(pair.replicas.mint(NEW, request.clone()).await.is_ok());
    assert!(pair.replicas.mint(OLD, request).await.is_err());

    is_unavailable(&pair.revoke(&revoked).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_waited_for_survives_the_primary() {
    let Some(mut pair) = Pair::start(1).await else { return };
    let minted = pair.replicas.fresh();
    let token = pair.replicas.mint(OLD, minted.clone()).await.unwrap().token;
    pair.revoke(&token).await.unwrap();
    // At once, and without a look whether the replica has it all.
    pair.group.primary.kill();
    pair.group.promote(0);
    mints(&pair.replicas, NEW).await;
    let verified = pair.replicas.verify(NEW, verifying(&token)).await.unwrap();
    assert_eq!(verified.verdict(), Verdict::Denied);
    assert!(pair.replicas.mint(NEW, minted).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_primary_remembers_from_when_a_replica_follows_it_and_not_before() {
    let Some(binary) = binary() else { return };
    let group = Replicated::start(binary, &Options::default(), 2).await;
    let [follower, promoted] = &group.replicas[..] else { panic!() };
    let store = over(&group.primary.url()) + "wait_replicas = 1\n";
    let other = store.replace(&group.primary.url(), &promoted.url());
    let replicas = Replicas::start_each(&[store, other]).await;
    // It was a primary before, so it knows the scripts.
    promoted.command(&["REPLICAOF", "NO", "ONE"]);
    follower.follow(promoted);
    mints(&replicas, NEW).await;
    promoted.follow(&group.primary);
    follower.follow(&group.primary);
    group.in_step().await;
    mints(&replicas, OLD).await;
    group.in_step().await;

    // It takes over, and has been asked, while the old one is still followed.
    promoted.command(&["REPLICAOF", "NO", "ONE"]);
    settled("nobody follows the new one", || promoted.is_primary()).await;
    // It is asked all the time, for readiness' sake too.
    settled("the new one's process is known", || knows_itself(promoted)).await;
    is_unavailable(&replicas.mint(NEW, replicas.fresh()).await.unwrap_err());
    next_second().await;
    let request = replicas.fresh();
    assert!(replicas.mint(OLD, request.clone()).await.is_ok(), "a replica has it");
    follower.follow(promoted);
    settled("the new one is followed", || follower.is_in_step_with(promoted)).await;
    mints(&replicas, NEW).await;
    let again = replicas.mint(NEW, request).await.unwrap_err();
    assert_eq!(again.reason, REUSED);
}

/// Whether anything that it keeps names its own process.
fn knows_itself(server: &RedisServer) -> bool {
    let run = server.info("run_id");
    let keys: Vec<String> = server.ask(&["KEYS", "*"]);
    keys.iter().any(|key| {
        server.ask::<String>(&["TYPE", key]) == "hash"
            && server.ask::<Vec<String>>(&["HVALS", key]).contains(&run)
    })
}
