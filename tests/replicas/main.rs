//! Many replicas, one truth: real processes over a real store, and whatever can
//! befall them. Nothing is ever granted twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod clocks;
mod cluster;
mod cuts;
mod failover;
mod faults;
mod load;
mod lost_memory;
mod planted;
mod races;
mod waiting;

#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use mintage::grpc::proto;
use support::{
    redis::PATIENCE,
    replicas::{Replicas, mint, named},
    service::Refused,
};
use tokio::time::Instant;

/// What a Mint of an ID token that was redeemed before is refused for.
const REUSED: &str = "ID_TOKEN_REUSED";

/// What a call hears that nobody can answer.
const UNAVAILABLE: &str = "UNAVAILABLE";

/// What a caller heard: `minted`, or the reason; where there is none, the code.
fn told(answer: &Result<proto::MintResponse, Refused>) -> String {
    match answer {
        Ok(_) => "minted".to_owned(),
        Err(refused) if refused.reason.is_empty() => format!("{:?}", refused.code),
        Err(refused) => refused.reason.clone(),
    }
}

/// How many heard what.
fn tally(answers: &[Result<proto::MintResponse, Refused>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(told(answer)).or_default() += 1;
    }
    counts
}

/// The same with counts that a test writes down.
fn counts(told: &[(&str, usize)]) -> BTreeMap<String, usize> {
    told.iter().map(|&(reason, count)| (reason.to_owned(), count)).collect()
}

/// The tokens among the answers, each once.
fn tokens(answers: &[Result<proto::MintResponse, Refused>]) -> BTreeSet<String> {
    answers.iter().flatten().map(|minted| minted.token.clone()).collect()
}

/// The same Mint many times at once, at the replicas in turn. Each is a call of its
/// own, unless it has a `request_id`.
async fn at_once(
    replicas: &Replicas,
    count: usize,
    request: &proto::MintRequest,
) -> Vec<Result<proto::MintResponse, Refused>> {
    let calls = (0..count).map(|call| mint(replicas.client(call), request.clone()));
    join_all(calls).await
}

/// Waits until every replica mints again.
async fn all_mint(replicas: &Replicas) {
    for replica in 0..replicas.count() {
        mints(replicas, replica).await;
    }
}

/// Waits until a replica mints again, each time with a fresh ID token.
async fn mints(replicas: &Replicas, replica: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = replicas.mint(replica, replicas.fresh()).await;
        if answer.is_ok() {
            return;
        }
        assert!(Instant::now() < until, "{replica}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Mints with these ID tokens, each at the next replica, many at a time. Calls that
/// nobody could answer are made again: only what was told counts.
async fn redeem_all(
    replicas: &Replicas,
    id_tokens: &[String],
    request_id: &str,
) -> BTreeMap<String, usize> {
    let mut answers = Vec::new();
    for some in id_tokens.chunks(32) {
        let calls = some.iter().enumerate().map(|(at, id_token)| {
            let request = named(replicas.publishing(id_token), request_id);
            answered(replicas, at, request)
        });
        answers.extend(join_all(calls).await);
    }
    tally(&answers)
}

/// What a Mint is told by a replica, once it is told anything.
async fn answered(
    replicas: &Replicas,
    replica: usize,
    request: proto::MintRequest,
) -> Result<proto::MintResponse, Refused> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = replicas.mint(replica, request.clone()).await;
        if told(&answer) != UNAVAILABLE || Instant::now() > until {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
