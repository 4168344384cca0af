//! Where replicas agree on marks, uses, limits and revocations.
//!
//! ```toml
//! [store]
//! kind = "memory"
//! ```
//!
//! `memory` is for one replica; `max_entries` (default 500,000) bounds it. When
//! it is full it refuses rather than forgets what still counts. `redis` is for
//! any number of replicas: see `store/redis.rs`.

mod redis;
mod tls;
mod url;

use crate::service::OnStoreFailure;

use super::reader::{Section, integer, one_of};

pub use redis::{Endpoint, RedisConfig, RedisTopology};
pub use tls::{ClientPem, RedisTls};

/// Which store, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In this process; for one replica.
    Memory {
        /// Facts kept at most; each takes about 150 bytes.
        max_entries: usize,
    },
    /// Redis, or Valkey; for any number of replicas.
    Redis(Box<RedisConfig>),
}

const DEFAULT_MAX_ENTRIES: usize = 500_000;

#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Redis,
}

const KINDS: [(&str, Kind); 2] = [("memory", Kind::Memory), ("redis", Kind::Redis)];

/// What only the memory store has.
const OF_MEMORY: [&str; 1] = ["max_entries"];

const ON_STORE_FAILURE: [(&str, OnStoreFailure); 2] =
    [("allow", OnStoreFailure::Allow), ("refuse", OnStoreFailure::Refuse)];

/// Reads `[store]`. None: it could not be read.
pub(super) fn read(mut section: Section<'_>) -> (Option<StoreConfig>, OnStoreFailure) {
    let kind = section.chosen("kind", Kind::Memory, one_of(&KINDS));
    let on_failure =
        section.or("on_store_failure", OnStoreFailure::Allow, one_of(&ON_STORE_FAILURE));
    let store = match kind {
        Some(Kind::Memory) => {
            let max_entries =
                section.or("max_entries", DEFAULT_MAX_ENTRIES, integer(1..=100_000_000));
            section.misplaced(&redis::KEYS, "is for kind = \"redis\" only");
            section.end();
            Some(StoreConfig::Memory { max_entries })
        }
        Some(Kind::Redis) => {
            let redis = redis::read(&mut section);
            section.misplaced(&OF_MEMORY, "is for kind = \"memory\" only");
            section.end();
            redis.map(|redis| StoreConfig::Redis(Box::new(redis)))
        }
        None => {
            section.abandon();
            None
        }
    };
    (store, on_failure)
}
