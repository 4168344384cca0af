//! Requests at and beyond their bounds, through the real port: in which order
//! they are checked, and which field is named where one is at fault.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails panics"
)]

mod bounds;
mod caveats;
mod kept;
mod order;
mod publishers;
#[path = "../support/mod.rs"]
mod support;

use mintage::grpc::proto;
use support::service::Refused;
use tonic::Code;

fn attenuating(token: &str, caveats: Vec<proto::Caveat>) -> proto::AttenuateRequest {
    proto::AttenuateRequest { index: "pypi".to_owned(), token: token.to_owned(), caveats }
}

fn revoking(token: &str) -> proto::RevokeRequest {
    proto::RevokeRequest {
        index: "pypi".to_owned(),
        target: Some(proto::revoke_request::Target::Token(token.to_owned())),
        ..Default::default()
    }
}

/// A refusal of a request, and the field that is at fault.
fn invalid<T: std::fmt::Debug>(name: &str, answer: Result<T, Refused>, field: &str) {
    let refused = answer.expect_err(name);
    let seen = (refused.code, refused.reason.as_str(), refused.field.as_str());
    assert_eq!(seen, (Code::InvalidArgument, "REQUEST_INVALID", field), "{name}: {refused:?}");
    assert!(!refused.message.is_empty() && refused.message.len() < 400, "{name}: {refused:?}");
    assert!(!refused.message.contains(char::is_control), "{name}: {refused:?}");
}

fn client_at(ip: &str) -> Option<proto::Client> {
    Some(proto::Client { ip: ip.to_owned(), user_agent: String::new() })
}
