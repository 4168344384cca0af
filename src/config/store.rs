//! Where replicas agree on marks, uses, limits and revocations.
//!
//! ```toml
//! [store]
//! kind = "memory"
//! ```
//!
//! `memory` is for one replica; `max_entries` (default 500,000) bounds it. When
//! it is full it refuses rather than forgets what still counts.

use crate::service::OnStoreFailure;

use super::reader::{Section, integer, one_of};

/// Which store, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In this process; for one replica.
    Memory {
        /// Facts kept at most; each takes about 150 bytes.
        max_entries: usize,
    },
}

const DEFAULT_MAX_ENTRIES: usize = 500_000;

#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Redis,
}

const ON_STORE_FAILURE: [(&str, OnStoreFailure); 2] =
    [("allow", OnStoreFailure::Allow), ("refuse", OnStoreFailure::Refuse)];

/// Reads `[store]`.
pub(super) fn read(mut section: Section<'_>) -> (StoreConfig, OnStoreFailure) {
    let kinds = one_of(&[("memory", Kind::Memory), ("redis", Kind::Redis)]);
    let kind = section.or("kind", Kind::Memory, kinds);
    let on_failure =
        section.or("on_store_failure", OnStoreFailure::Allow, one_of(&ON_STORE_FAILURE));
    let max_entries = section.or("max_entries", DEFAULT_MAX_ENTRIES, integer(1..=100_000_000));
    match kind {
        Kind::Memory => section.end(),
        Kind::Redis => {
            section.wrong("kind", "is \"redis\", but this version has only the memory store");
            section.abandon();
        }
    }
    (StoreConfig::Memory { max_entries }, on_failure)
}
