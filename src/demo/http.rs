//! The little HTTP that the demo's CI job speaks: one request, one JSON answer,
//! to an address on this machine.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{DemoFailed, failed};

/// More than any answer of the demo's index.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// Where the CI job's runner is, as the index's proxy sees it.
pub(super) const RUNNER: &str = "192.0.2.10";

/// A request of the CI job.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) target: &'a str,
    /// The address that the index's proxy says it comes from.
    pub(super) from: &'static str,
    pub(super) authorization: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

/// Sends the request to `host` (address and port) and reads its answer.
pub(super) async fn send(host: &str, request: &Request<'_>) -> Result<Answer, DemoFailed> {
    let doing = failed("asking the index over HTTP");
    let mut connection = TcpStream::connect(host).await.map_err(&doing)?;
    connection.write_all(&head(host, request)).await.map_err(&doing)?;
    connection.write_all(request.body).await.map_err(&doing)?;
    let mut answer = Vec::new();
    connection.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await.map_err(&doing)?;
    read(&answer).ok_or_else(|| DemoFailed::new("the index's answer is not readable"))
}

fn head(host: &str, request: &Request<'_>) -> Vec<u8> {
    let Request { method, target, from, authorization, body } = request;
    let length = body.len();
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         X-Forwarded-For: {from}\r\nContent-Length: {length}\r\n"
    );
    if let Some(authorization) = authorization {
        head += &format!("Authorization: {authorization}\r\n");
    }
    head += "\r\n";
    head.into_bytes()
}

fn read(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: serde_json::from_str(body).ok()? })
}
