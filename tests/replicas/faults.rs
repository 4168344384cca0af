//! A server that goes away, stands still, or says that it can't, under load. What
//! callers hear is that nobody can tell now; then all is as before, and no replica
//! had to be started again.

use std::time::Duration;

use mintage::grpc::proto;
use tokio::time::Instant;
use tonic::Code;

use super::{
    REUSED, UNAVAILABLE, all_mint, counts,
    load::{Load, Seen},
    redeem_all,
    support::{
        redis::{Cutter, Fault, Memory, Options, RedisServer, binary, free_port, say, settled},
        replicas::{Replicas, named, over, soon_failing_over},
        service::Refused,
    },
};

/// A call that nobody could answer: the caller is told so, and when to come again.
fn is_unavailable(refused: &Refused) {
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, UNAVAILABLE));
    assert!(refused.retry_after.is_some_and(|after| after <= Duration::from_secs(60)));
}

/// Everything that was redeemed stays so; and nobody was started again.
async fn came_through(what: &str, mut replicas: Replicas, load: Load) -> Seen {
    load.minted(20).await;
    let seen = load.end().await;
    let redeemed = seen.is_sound().redeemed();
    say(&format!("{what}: callers heard {:?}", seen.tally()));
    assert_eq!(redeem_all(&replicas, &redeemed, "").await, counts(&[(REUSED, redeemed.len())]));
    assert!(replicas.never_ended());
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_comes_back_with_or_without_its_files() {
    let Some(binary) = binary() else { return };
    let always = Options::default().arguments(&["--appendonly", "yes", "--appendfsync", "always"]);
    for memory in [Memory::Kept, Memory::Lost] {
        let mut server = RedisServer::start_with(binary, always.clone()).await;
        let replicas = Replicas::start(3, &over(&server.url())).await;
        let load = Load::on(&replicas);
        load.minted(20).await;
        server.kill();
        load.failed(20).await;
        server.start_again(memory).await;
        all_mint(&replicas).await;
        came_through(&format!("killed, memory {memory:?}"), replicas, load).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_reads_its_file_again_is_waited_for() {
    let Some(binary) = binary() else { return };
    let mut server = RedisServer::start_with(binary, Options::default().slow_to_load()).await;
    let replicas = Replicas::start(3, &over(&server.url())).await;
    server.grow(30_000).await;
    let load = Load::on(&replicas);
    load.minted(20).await;
    server.begin_again();
    settled("it is loading", || {
        let refused = server.try_ask::<u32>(&["EXISTS", "any"]);
        refused.is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    is_unavailable(&replicas.mint(0, replicas.fresh()).await.unwrap_err());
    load.failed(20).await;
    all_mint(&replicas).await;
    came_through("LOADING", replicas, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_for_five_seconds_loses_nothing() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let replicas = Replicas::start(3, &soon_failing_over(&server.url())).await;
    all_mint(&replicas).await;
    let unused = replicas.fresh();
    let load = Load::on(&replicas);
    load.minted(20).await;
    server.pause();
    let stands_still = Instant::now() + Duration::from_secs(5);
    load.failed(20).await;
    is_unavailable(&replicas.mint(0, replicas.fresh()).await.unwrap_err());
    tokio::time::sleep_until(stands_still).await;
    server.resume();
    all_mint(&replicas).await;
    let kept = replicas.mint(1, unused).await;
    assert!(kept.is_ok(), "its memory is whole, so what was issued before is still good: {kept:?}");
    came_through("stopped for 5 s", replicas, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_says_it_cannot_do_is_unavailable_until_it_can() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let replicas = Replicas::start(2, &over(&server.url())).await;
    all_mint(&replicas).await;
    let nobody = free_port().to_string();
    for (what, begin, end) in [
        ("OOM", ["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
        (
            "MISCONF or NOREPLICAS",
            ["CONFIG", "SET", "min-replicas-to-write", "1"],
            ["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
    ] {
        let request = replicas.fresh();
        server.command(&begin);
        is_unavailable(&replicas.mint(0, request.clone()).await.unwrap_err());
        server.command(&end);
        // Nothing was redeemed, and nothing was forgotten.
        assert!(replicas.mint(1, request).await.is_ok(), "{what}");
    }

    let request = replicas.fresh();
    server.command(&["REPLICAOF", "127.0.0.1", &nobody]);
    for replica in 0..2 {
        is_unavailable(&replicas.mint(replica, request.clone()).await.unwrap_err());
    }
    server.command(&["REPLICAOF", "NO", "ONE"]);
    all_mint(&replicas).await;
    assert!(replicas.mint(0, request).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_the_scripts_is_told_them_again_unnoticed() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let replicas = Replicas::start(3, &over(&server.url())).await;
    for round in 0..3 {
        for replica in 0..3 {
            server.command(&["SCRIPT", "FLUSH"]);
            let answer = replicas.mint(replica, replicas.fresh()).await;
            assert!(answer.is_ok(), "round {round}: {answer:?}");
        }
    }
    let before = server.info("run_id");
    let load = Load::on(&replicas);
    for _ in 0..10 {
        load.minted(5).await;
        server.command(&["SCRIPT", "FLUSH"]);
    }
    let seen = came_through("SCRIPT FLUSH", replicas, load).await;
    assert!(!seen.tally().contains_key(UNAVAILABLE));
    assert_eq!(server.info("run_id"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_the_place_of_an_answer_redeems_nothing() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let cutter = Cutter::before(server.address()).await;
    let replicas = Replicas::start(2, &over(&cutter.url())).await;
    all_mint(&replicas).await;
    for error in [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist on disk.",
        "NOREPLICAS Not enough good replicas to write.",
        "CLUSTERDOWN The cluster is down",
        "NOAUTH Authentication required.",
        "NOPERM User default has no permissions to run the 'evalsha' command",
        "ERR max number of clients reached",
        "WHATEVER nobody has heard of this one",
    ] {
        let request = replicas.fresh();
        cutter.spoil("EVALSHA", Fault::Answer(error));
        is_unavailable(&replicas.mint(0, request.clone()).await.unwrap_err());
        assert_eq!(cutter.to_come(), 0, "{error}");
        // Another call, at the other replica and then at the same one.
        let answer = replicas.mint(1, request.clone()).await;
        assert!(answer.is_ok(), "{error}: {answer:?}");
        all_mint(&replicas).await;
        assert_eq!(replicas.mint(0, request).await.unwrap_err().reason, REUSED, "{error}");
    }
    // What a server has forgotten, it is told again.
    cutter.spoil("EVALSHA", Fault::Answer("NOSCRIPT No matching script."));
    assert!(replicas.mint(0, replicas.fresh()).await.is_ok());
    assert_eq!(cutter.to_come(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_killed_in_the_middle_of_a_call_leaves_a_call_that_others_finish() {
    let Some(binary) = binary() else { return };
    let server = RedisServer::start(binary).await;
    let cutter = Cutter::before(server.address()).await;
    // The replica to be killed is behind the proxy, the others aren't.
    let direct = over(&server.url());
    let proxied = direct.replace(&server.url(), &cutter.url());
    let stores = [proxied, direct.clone(), direct];
    let mut replicas = Replicas::start_each(&stores).await;
    all_mint(&replicas).await;
    for _ in 0..5 {
        let request = named(replicas.fresh(), "once");
        let marks = || server.ask::<Vec<String>>(&["KEYS", "*"]).len();
        cutter.hold().await;
        let before = marks();
        let mut client = replicas.client(0);
        let call = tokio::spawn({
            let request = request.clone();
            async move { client.mint(request).await }
        });
        // The script ran, and its answer is on the way.
        settled("the ID token is redeemed", || marks() > before).await;
        replicas.kill(0);
        let cut = Refused::from(call.await.unwrap().unwrap_err());
        assert_eq!(cut.reason, "", "nobody was there to say why: {cut:?}");
        cutter.pass().await;

        let elsewhere = replicas.mint(1, request.clone()).await.unwrap();
        let again = replicas.mint(2, request.clone()).await.unwrap();
        assert_eq!(elsewhere, again);
        let other = proto::MintRequest { request_id: String::new(), ..request };
        assert_eq!(replicas.mint(2, other.clone()).await.unwrap_err().reason, REUSED);
        replicas.start_again(0).await;
        assert_eq!(replicas.mint(0, other).await.unwrap_err().reason, REUSED);
    }
}
