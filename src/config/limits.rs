//! How often somebody may ask.
//!
//! ```toml
//! [limits.mint_per_publisher]
//! burst = 600
//! count = 600
//! period = "1m"
//! ```
//!
//! The limits are `mint_per_client`, `mint_per_publisher`,
//! `refused_mint_per_client` and `denied_verify_per_client`. Each admits `burst`
//! calls at once, and `count` more per `period`; what isn't given keeps its
//! default. `enabled = false` switches one off, and in `[limits]` all of them.

use std::time::Duration;

use crate::{limits::Rate, service::Limits};

use super::reader::{Section, boolean, integer, time};

/// Largest burst and largest count: beyond, there is no limit worth a name.
const MAX_UNITS: u32 = 1_000_000;

/// Reads `[limits]`.
pub(super) fn read(mut section: Section<'_>) -> Limits {
    let enabled = section.or("enabled", true, boolean);
    let mut limit = |key, per_minute| rate(section.section(key), enabled, per_minute);
    let limits = Limits {
        // Runners of a CI provider share addresses.
        mint_per_client: limit("mint_per_client", 1_200),
        // A monorepo releases hundreds of projects at once.
        mint_per_publisher: limit("mint_per_publisher", 600),
        refused_mint_per_client: limit("refused_mint_per_client", 300),
        denied_verify_per_client: limit("denied_verify_per_client", 600),
    };
    section.end();
    limits
}

fn rate(mut section: Section<'_>, enabled: bool, per_minute: u32) -> Option<Rate> {
    let enabled = section.or("enabled", true, boolean) && enabled;
    let period = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let rate = Rate {
        burst: section.or("burst", per_minute, integer(1..=MAX_UNITS)),
        count: section.or("count", per_minute, integer(1..=MAX_UNITS)),
        period: section.or("period", Duration::from_secs(60), time(period)),
    };
    section.end();
    enabled.then_some(rate)
}
