//! What several test binaries need. Each uses a part of it.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unreachable_pub, reason = "the test binaries are the public")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    reason = "a test that can't go on has failed"
)]

pub mod clock;
pub mod http2;
pub mod issuer;
pub mod process;
pub mod redis;
pub mod replicas;
pub mod scrape;
pub mod service;
pub mod tls;

use std::time::Duration;

/// Waits until the condition holds, looking often, for a minute at most: a shared machine stalls.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let looking = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), looking).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}
