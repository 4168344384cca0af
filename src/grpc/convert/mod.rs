//! Messages to values and back, as pure functions. What a message may hold is
//! checked here, once; a field that is out of bounds is refused with its path.

mod answer;
mod caveat;
mod publisher;
mod request;

pub(super) use answer::{attenuate_response, mint_response, revoke_response, verify_response};
pub(super) use request::{
    VerifyCredential, attenuate_request, mint_request, revoke_request, verify_request,
};

use std::net::IpAddr;

use super::proto;
use crate::{
    macaroon::{MAX_SUBJECT_ID_BYTES, Subject},
    service::{Client, Refusal},
};

/// A request id is at most so long.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// A user agent is at most so long.
const MAX_USER_AGENT_BYTES: usize = 512;

/// The client of a request.
fn client(message: Option<proto::Client>) -> Result<Client, Refusal> {
    let proto::Client { ip, user_agent } = message.unwrap_or_default();
    if user_agent.len() > MAX_USER_AGENT_BYTES {
        return Err(Refusal::field("client.user_agent", "a user agent has at most 512 bytes"));
    }
    let ip = match ip.as_str() {
        "" => None,
        text => Some(text.parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| {
            Refusal::field("client.ip", "the client's address is neither IPv4 nor IPv6")
        })?),
    };
    Ok(Client { ip, user_agent })
}

fn request_id(id: &str) -> Result<(), Refusal> {
    if id.len() > MAX_REQUEST_ID_BYTES {
        return Err(Refusal::field("request_id", "a request id has at most 128 bytes"));
    }
    Ok(())
}

/// An id that the index chose: 1 to 128 bytes of printable ASCII.
fn own_id(id: &str, path: impl Fn() -> String) -> Result<(), Refusal> {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if (1..=MAX_SUBJECT_ID_BYTES).contains(&id.len()) && id.bytes().all(printable) {
        Ok(())
    } else {
        Err(Refusal::field(path(), "an id is 1 to 128 characters of printable ASCII"))
    }
}

fn subject(message: Option<proto::Subject>, path: &str) -> Result<Subject, Refusal> {
    use proto::subject::Kind;

    let (subject, field) = match message.and_then(|subject| subject.kind) {
        Some(Kind::UserId(id)) => (Subject::user(&id), "user_id"),
        Some(Kind::PublisherId(id)) => (Subject::publisher(&id), "publisher_id"),
        None => return Err(Refusal::field(path, "the token's subject must be given")),
    };
    subject.map_err(|error| Refusal::field(format!("{path}.{field}"), error.to_string()))
}
