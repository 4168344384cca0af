//! The issuers' key sets: fetched over HTTPS, shared by replicas, held in this
//! process.
//!
//! - [`KeySetCache`] is the first layer and the port's implementation: a key
//!   that is held is handed out without a lock and without waiting;
//! - behind it stands one `Source` per issuer: HTTPS or, where replicas share a
//!   store, a shelf in it (`shared`) with HTTPS behind. What lies on the shelf is
//!   sealed (`seal`);
//! - *when* to fetch, what to answer meanwhile (`decision`), and whether a set off
//!   the shelf will do (`wanted`) is decided by functions that neither fetch nor
//!   know the time.
//!
//! What a key may be used for, and whether a signature is its own, is
//! [`oidc`](crate::oidc)'s business.

mod cache;
mod decision;
mod http;
mod max_age;
mod observed;
mod seal;
mod shared;
mod source;
mod wanted;

pub use cache::{IssuerKeys, KeySetCache, MAX_STALE, Timing};
pub use http::IssuerUnusable;
pub use observed::Observing;
pub use shared::Sharing;
