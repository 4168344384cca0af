//! Who asks at the same time, at whichever replica: one of them is the first.

use std::time::Duration;

use futures_util::future::join_all;
use mintage::grpc::proto::{self, Verdict, caveat::Kind};
use tokio::time::Instant;

use super::{
    REUSED, at_once, counts,
    support::{
        redis::{any, say},
        replicas::{Replicas, named, over},
        service::{caveat, reasons, verifying},
    },
    tally, tokens,
};

/// How often the smaller race is run, and for how long at most.
const ROUNDS: usize = 1_000;
const BOUND: Duration = Duration::from_secs(120);

/// Three replicas over a server that others use too.
async fn three() -> Option<Replicas> {
    Some(Replicas::start(3, &over(&any().await?)).await)
}

fn good_for(request: proto::MintRequest, count: u32) -> proto::MintRequest {
    let uses = caveat(Kind::Uses(proto::Uses { count, nonce: String::new() }));
    proto::MintRequest { caveats: vec![uses], ..request }
}

/// Verifies at once, at the replicas in turn: how many were allowed. All others were
/// told that no use is left.
async fn allowed(replicas: &Replicas, count: usize, request: &proto::VerifyRequest) -> usize {
    let calls = (0..count).map(|call| replicas.verify(call, request.clone()));
    let answers = join_all(calls).await;
    let allowed = |answer: &proto::VerifyResponse| match answer.verdict() {
        Verdict::Allowed => true,
        _ => {
            assert_eq!(reasons(answer), ["CAVEAT_USES_SPENT"]);
            false
        }
    };
    answers.iter().filter(|answer| allowed(answer.as_ref().unwrap())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_mints_of_one_id_token_make_one_token() {
    let Some(replicas) = three().await else { return };
    let answers = at_once(&replicas, 200, &replicas.fresh()).await;
    assert_eq!(tally(&answers), counts(&[("minted", 1), (REUSED, 199)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_verifies_of_a_token_with_seven_uses_allow_seven() {
    let Some(replicas) = three().await else { return };
    let token = replicas.mint(0, good_for(replicas.fresh(), 7)).await.unwrap().token;
    assert_eq!(allowed(&replicas, 200, &verifying(&token)).await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_call_at_other_replicas_gets_the_same_token_and_the_same_answer() {
    let Some(replicas) = three().await else { return };
    let request = named(good_for(replicas.fresh(), 1), "again");
    let answers = at_once(&replicas, 60, &request).await;
    assert_eq!(tally(&answers), counts(&[("minted", 60)]));
    let minted = answers[0].as_ref().unwrap();
    assert!(answers.iter().flatten().all(|other| other == minted), "the same answer");

    let verify = verifying(&minted.token);
    let verify = proto::VerifyRequest { request_id: "again".to_owned(), ..verify };
    assert_eq!(allowed(&replicas, 60, &verify).await, 60, "one use, one call");
    assert_eq!(allowed(&replicas, 3, &verifying(&minted.token)).await, 0);
    let other = replicas.mint(1, named(request, "another")).await.unwrap_err();
    assert_eq!(other.reason, REUSED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rounds_of_both_have_no_excess() {
    const CALLS: usize = 12;
    let Some(replicas) = three().await else { return };
    let began = Instant::now();
    for round in 0..ROUNDS {
        assert!(began.elapsed() < BOUND, "after {round} rounds");
        let request = good_for(replicas.fresh(), 2);
        // In every other round half of the calls are the same one.
        let same = named(request.clone(), "again");
        let calls = (0..CALLS).map(|call| {
            let repeated = round % 2 == 1 && call % 2 == 1;
            replicas.mint(call, if repeated { same.clone() } else { request.clone() })
        });
        let answers = join_all(calls).await;
        let tokens = tokens(&answers);
        assert_eq!(tokens.len(), 1, "round {round}: {:?}", tally(&answers));
        let others = answers.iter().filter_map(|answer| answer.as_ref().err());
        others.for_each(|refused| assert_eq!(refused.reason, REUSED, "round {round}"));

        let verify = verifying(tokens.first().unwrap());
        assert_eq!(allowed(&replicas, CALLS, &verify).await, 2, "round {round}");
    }
    say(&format!("{ROUNDS} rounds over 3 replicas took {:?}", began.elapsed()));
}
