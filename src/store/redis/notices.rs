//! What an operator is told about Redis, once each and not per call.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;

use super::{Address, lines::locked, place::Place, server::Server};
use crate::clock::Timestamp;

/// Clocks further apart than this are told of. A mark outlives its end by a minute.
const CLOCKS_APART: Duration = Duration::from_secs(20);

/// Failed calls are told of no more often than this: each second may have thousands.
const BETWEEN_FAILURES: Duration = Duration::from_secs(10);

/// Remembers what was told.
#[derive(Default)]
pub(super) struct Notices {
    /// The process that was last met at an address.
    met: Mutex<HashMap<Address, String>>,
    clocks: Mutex<HashSet<Address>>,
    failures: Mutex<Failures>,
}

/// Calls that got no answer.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    /// Those since then.
    untold: u64,
}

impl Notices {
    /// A link was opened.
    pub(super) fn met(&self, address: &Address, server: &Server) {
        let before = locked(&self.met).insert(address.clone(), server.run.clone());
        if before.as_deref() == Some(server.run.as_str()) {
            tracing::debug!(%address, "connected to Redis again");
            return;
        }
        tracing::info!(%address, server = %server.name(), "connected to Redis");
        for warning in server.warnings() {
            tracing::error!(%address, "Redis: {warning}");
        }
    }

    /// A place's memory begins anew.
    pub(super) fn began(&self, address: &Address, place: Place, known_before: bool) {
        if known_before {
            tracing::warn!(
                %address,
                place = place.number(),
                "Redis's memory begins anew (a restart, a failover, FLUSHALL, or a slot that \
                 moved): ID tokens issued and tokens with uses minted before are refused"
            );
        } else {
            tracing::info!(%address, place = place.number(), "Redis's memory begins");
        }
    }

    /// What time it is at a server.
    pub(super) fn clock(&self, address: &Address, server: Timestamp, now: Timestamp) {
        let apart = server.since(now).max(now.since(server));
        let mut told = locked(&self.clocks);
        if apart < CLOCKS_APART {
            told.remove(address);
        } else if told.insert(address.clone()) {
            tracing::warn!(
                %address,
                apart = ?Duration::from_secs(apart.as_secs()),
                "Redis's clock and this machine's are apart: marks may be held for lost"
            );
        }
    }

    /// A call got no answer. Its caller hears that the store is out of reach, and
    /// no more; a server that answers but won't write has nothing else to say it.
    pub(super) fn failed(&self, cause: &str) {
        let mut failures = locked(&self.failures);
        failures.untold += 1;
        if failures.told.is_some_and(|told| told.elapsed() < BETWEEN_FAILURES) {
            return;
        }
        let calls = failures.untold;
        *failures = Failures { told: Some(Instant::now()), untold: 0 };
        tracing::warn!(cause, calls, "calls get no answer from Redis");
    }
}
