//! Where replicas agree on marks, uses, limits and revocations: the stores
//! behind [`ports::Store`](crate::ports::Store).
//!
//! [`MemoryStore`] is the embedded one, [`RedisStore`] the one that replicas share.
//! What every store must do alike stands here, and `tests/store.rs` runs one suite
//! over each of them. No rule about tokens is decided here: a store knows marks and
//! moments, and nothing else.

mod memory;
mod redis;

pub use self::{
    memory::MemoryStore,
    redis::{
        Address, Credentials, Login, RedisSettings, RedisStore, SharedCredentials, Tls, Topology,
    },
};

use std::time::Duration;

use crate::{clock::Timestamp, ports::SHORTEST_MARK};

/// The longest time after which a full store asks to be tried again: a mark
/// may end sooner than it said, and another process may take over.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The end of a mark that is set at `now` and should live until `until`.
fn end_of_mark(until: Timestamp, now: Timestamp) -> Timestamp {
    if until > now { until } else { now.plus(SHORTEST_MARK) }
}
