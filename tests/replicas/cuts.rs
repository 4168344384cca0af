//! Connections that end in the middle of an answer, after the script ran: the caller
//! hears that nobody can tell, and the same call made again finishes what was begun.

use mintage::grpc::proto::{self, Verdict, caveat::Kind};

use super::{
    REUSED, UNAVAILABLE, all_mint, counts,
    load::Load,
    redeem_all,
    support::{
        redis::{Cutter, Fault, RedisServer, binary, say},
        replicas::{Replicas, named, over},
        service::{caveat, reasons, verifying},
    },
};

/// Two replicas: the first behind a proxy, the other not.
struct Scene {
    _server: RedisServer,
    cutter: Cutter,
    replicas: Replicas,
}

/// The replica behind the proxy, and the other.
const CUT: usize = 0;
const OTHER: usize = 1;

impl Scene {
    async fn start() -> Option<Self> {
        let server = RedisServer::start(binary()?).await;
        let cutter = Cutter::before(server.address()).await;
        let direct = over(&server.url());
        let proxied = direct.replace(&server.url(), &cutter.url());
        let replicas = Replicas::start_each(&[proxied, direct]).await;
        all_mint(&replicas).await;
        Some(Self { _server: server, cutter, replicas })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_whose_answer_is_cut_is_finished_by_the_same_call_and_by_no_other() {
    let Some(scene) = Scene::start().await else { return };
    let Scene { cutter, replicas, .. } = &scene;
    for (fault, redeemed) in [
        (Fault::CutRequest, false),
        (Fault::CutReply(0), true),
        (Fault::CutReply(1), true),
        (Fault::CutReply(9), true),
        (Fault::CutReply(usize::MAX), true),
    ] {
        for retried_at in [OTHER, CUT] {
            let request = named(replicas.fresh(), "again");
            let other = proto::MintRequest { request_id: String::new(), ..request.clone() };
            cutter.spoil("EVALSHA", fault.clone());
            let cut = replicas.mint(CUT, request.clone()).await.unwrap_err();
            assert_eq!(cut.reason, UNAVAILABLE, "{fault:?}");
            assert!(cut.retry_after.is_some(), "{fault:?}");
            assert_eq!(cutter.to_come(), 0);
            let stolen = replicas.mint(OTHER, other.clone()).await;
            assert_eq!(stolen.is_err(), redeemed, "{fault:?}: {stolen:?}");
            super::mints(replicas, retried_at).await;
            let again = replicas.mint(retried_at, request.clone()).await;
            assert_eq!(again.is_ok(), redeemed, "{fault:?}: {again:?}");
            let last = replicas.mint(OTHER, other).await.unwrap_err();
            assert_eq!(last.reason, REUSED);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verify_whose_answer_is_cut_spends_once() {
    let Some(scene) = Scene::start().await else { return };
    let Scene { cutter, replicas, .. } = &scene;
    for retried_at in [OTHER, CUT] {
        let uses = caveat(Kind::Uses(proto::Uses { count: 2, nonce: String::new() }));
        let request = proto::MintRequest { caveats: vec![uses], ..replicas.fresh() };
        let token = replicas.mint(OTHER, request).await.unwrap().token;
        let verify = verifying(&token);
        let same = proto::VerifyRequest { request_id: "again".to_owned(), ..verify.clone() };
        cutter.spoil("EVALSHA", Fault::CutReply(3));
        let cut = replicas.verify(CUT, same.clone()).await.unwrap_err();
        assert_eq!(cut.reason, UNAVAILABLE);
        super::mints(replicas, retried_at).await;
        for _ in 0..2 {
            let again = replicas.verify(retried_at, same.clone()).await.unwrap();
            assert_eq!(again.verdict(), Verdict::Allowed);
        }
        let second = replicas.verify(OTHER, verify.clone()).await.unwrap();
        assert_eq!(second.verdict(), Verdict::Allowed);
        let third = replicas.verify(OTHER, verify).await.unwrap();
        assert_eq!(reasons(&third), ["CAVEAT_USES_SPENT"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_under_load_grant_nothing_twice() {
    let Some(scene) = Scene::start().await else { return };
    let Scene { _server, cutter, mut replicas } = scene;
    let load = Load::on(&replicas);
    for cut in 0..40 {
        load.minted(3).await;
        cutter.spoil("EVALSHA", Fault::CutReply(cut % 30));
    }
    for _ in 0..3 {
        load.minted(5).await;
        cutter.refuse().await;
        load.failed(3).await;
        cutter.pass().await;
    }
    load.minted(20).await;
    let seen = load.end().await;
    let redeemed = seen.is_sound().redeemed();
    say(&format!("cut 40 times and shut 3 times: callers heard {:?}", seen.tally()));
    all_mint(&replicas).await;
    assert_eq!(redeem_all(&replicas, &redeemed, "").await, counts(&[(REUSED, redeemed.len())]));
    assert!(replicas.never_ended());
}
