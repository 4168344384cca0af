//! The audit trail: one event for each call's answer, of its own target, so that
//! an operator can send it elsewhere. Never a token, an ID token or a key.

use std::time::Duration;

use super::status::reason_name;
use crate::service::{Client, Refusal};

/// The target of every event.
pub const TARGET: &str = "mintage::audit";

/// What is told about a call besides its outcome.
#[derive(Debug)]
pub struct Call<'a> {
    /// `Mint`, `Verify`, `Attenuate` or `Revoke`.
    pub rpc: &'static str,
    /// The caller's name; empty where it didn't prove itself.
    pub caller: &'a str,
    /// The index's name, as the request had it.
    pub index: &'a str,
    /// Who asked the index.
    pub client: &'a Client,
    /// How long it took.
    pub took: Duration,
}

/// What came of a call.
#[derive(Debug, Default)]
pub struct Outcome {
    /// `minted`, `allowed`, `denied`, `attenuated` or `revoked`.
    pub outcome: &'static str,
    /// The token's id, which says whose it is; empty where there is none.
    pub token_id: String,
    /// The verified issuer of the ID token.
    pub issuer: String,
    /// The reasons of a denial, with commas between.
    pub reasons: String,
    /// Why the index wanted this, in its own words.
    pub cause: String,
}

impl Outcome {
    /// An outcome of which nothing else is known yet.
    pub fn of(outcome: &'static str) -> Self {
        Self { outcome, ..Self::default() }
    }
}

/// Tells of a call that was answered.
pub fn answered(call: &Call<'_>, outcome: &Outcome) {
    tracing::info!(
        target: TARGET,
        rpc = call.rpc,
        outcome = outcome.outcome,
        caller = told(call.caller),
        index = told(call.index),
        token_id = told(&outcome.token_id),
        issuer = told(&outcome.issuer),
        reasons = told(&outcome.reasons),
        cause = told(&outcome.cause),
        client_ip = call.client.ip.map(tracing::field::display),
        user_agent = told(&call.client.user_agent),
        took_us = micros(call.took),
        "{} {}", call.rpc, outcome.outcome
    );
}

/// Tells of a call that was refused, or got no answer.
pub fn refused(call: &Call<'_>, refusal: &Refusal) {
    tracing::info!(
        target: TARGET,
        rpc = call.rpc,
        outcome = "refused",
        caller = told(call.caller),
        index = told(call.index),
        reasons = reason_name(refusal.reason),
        client_ip = call.client.ip.map(tracing::field::display),
        user_agent = told(&call.client.user_agent),
        took_us = micros(call.took),
        "{} refused: {}", call.rpc, refusal.message
    );
}

/// Tells of a call that was dropped before there was an answer. What it did is not
/// undone.
pub fn unanswered(call: &Call<'_>) {
    tracing::info!(
        target: TARGET,
        rpc = call.rpc,
        outcome = "unanswered",
        caller = told(call.caller),
        index = told(call.index),
        client_ip = call.client.ip.map(tracing::field::display),
        user_agent = told(&call.client.user_agent),
        took_us = micros(call.took),
        "{} unanswered",
        call.rpc
    );
}

/// Tells of a call whose caller did not prove itself. Nothing that it brought is
/// told but the method that the contract knows.
pub fn stranger(path: &str, refusal: &Refusal) {
    let method = path.rsplit('/').next().unwrap_or_default();
    let rpc = RPCS.into_iter().find(|rpc| *rpc == method).unwrap_or_default();
    let client = Client::default();
    let took = Duration::ZERO;
    refused(&Call { rpc, caller: "", index: "", client: &client, took }, refusal);
}

/// The methods of the contract.
const RPCS: [&str; 4] = ["Mint", "Verify", "Attenuate", "Revoke"];

/// What is empty is not told.
fn told(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
