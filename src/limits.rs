//! Rate limits as one pure function (GCRA, the generic cell rate algorithm).
//!
//! A limiter's whole state is one moment, the *theoretical arrival time*; stores
//! only keep it.

use std::time::Duration;

use crate::clock::Timestamp;

/// So many at once, and so many per period after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many are admitted at once from rest; at least 1.
    pub burst: u32,
    /// How many come back per period; at least 1.
    pub count: u32,
    /// The period; more than zero.
    pub period: Duration,
}
