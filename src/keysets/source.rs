//! Where a key set comes from: the one trait of every layer behind the cache.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    decision::{Fetch, Origin},
    wanted::Wanted,
};
use crate::oidc::{KeySet, KeySetUnreadable};

/// A discovery document or a key set may be this long. The largest known key
/// set has 20 KiB.
pub(super) const MAX_DOCUMENT: usize = 256 * 1024;

/// Where one issuer's key set comes from.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// Asks once, within the source's own bound of time.
    async fn fetch(&self, wanted: Wanted) -> Result<Published, Failed>;
}

/// A key set as its issuer published it.
#[derive(Debug)]
pub(super) struct Published {
    /// What of it can be used.
    pub(super) keys: KeySet,
    /// The JWKS document itself.
    pub(super) document: Bytes,
    /// How it was fetched from the issuer.
    pub(super) fetch: Fetch,
    /// By whom.
    pub(super) origin: Origin,
}

impl Published {
    /// Reads a JWKS document.
    pub(super) fn read(
        document: Bytes,
        fetch: Fetch,
        origin: Origin,
    ) -> Result<Self, KeySetUnreadable> {
        Ok(Self { keys: KeySet::parse(&document)?, document, fetch, origin })
    }
}

/// The issuer gave no key set.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why.
    pub(super) why: FetchFailed,
    /// An older set, newer than what is held; not too old for want of any other.
    pub(super) instead: Option<Box<Published>>,
}

impl From<FetchFailed> for Failed {
    fn from(why: FetchFailed) -> Self {
        Self { why, instead: None }
    }
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
    Unreadable(#[from] KeySetUnreadable),
}
