//! Where a key set comes from: the one trait of every layer behind the cache.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Timestamp;

/// Where one issuer's key set comes from.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Asks once, within the source's own bound of time.
    async fn fetch(&self, now: Timestamp) -> Result<Published, FetchFailed>;
}

/// A key set as its issuer published it, not parsed yet.
#[derive(Debug)]
pub(super) struct Published {
    /// The JWKS document.
    pub(super) document: Bytes,
    /// When the issuer was asked for it.
    pub(super) fetched_at: Timestamp,
    /// For how long the issuer calls it fresh, where it says so.
    pub(super) max_age: Option<Duration>,
}

/// Why there is no key set; for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchFailed {
    #[error("the exchange failed: {0}")]
    Broken(String),
    #[error("the exchange took longer than {0:?}")]
    TooSlow(Duration),
    #[error("the answer's status is {0}, and only 200 will do")]
    Status(u16),
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the discovery document is not JSON with an issuer and a jwks_uri")]
    DiscoveryUnreadable,
    #[error("the discovery document names another issuer")]
    OtherIssuer,
    #[error("the jwks_uri is not a URL of the issuer's origin or of a configured host")]
    JwksElsewhere,
    #[error(transparent)]
    Unreadable(#[from] crate::oidc::KeySetUnreadable),
}
