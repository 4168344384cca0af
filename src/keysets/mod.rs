//! The issuers' key sets: fetched over HTTPS, held in this process.
//!
//! - [`KeySetCache`] is the first layer and the port's implementation: a key
//!   that is held is handed out without a lock and without waiting;
//! - behind it stands one `Source` per issuer; today that is HTTPS, and whatever
//!   will lie between is a `Source` that asks another;
//! - *when* to fetch, and what to answer meanwhile, is decided in `decision`, by
//!   functions that neither fetch nor know the time.
//!
//! What a key may be used for, and whether a signature is its own, is
//! [`oidc`](crate::oidc)'s business.

mod cache;
mod decision;
mod http;
mod max_age;
mod source;

pub use cache::{IssuerKeys, KeySetCache, MAX_STALE, Timing};
pub use http::IssuerUnusable;

use http::HttpSource;
use source::{FetchFailed, Published, Source};
