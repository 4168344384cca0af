//! The connections of one runtime.
//!
//! Every runtime has its own, so that no request crosses threads. One multiplexed
//! connection per server carries all its calls. Nothing is sent twice: a request
//! whose connection broke may have been carried out.
//!
//! What can't be reached is tried again after a pause, by the first call that
//! comes; until then calls fail at once. A connection that gave no answer in time
//! is given up, since what is at its other end may be gone without a word.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Address, RedisSettings,
    link::{Link, Trouble},
    notices::Notices,
};

/// After a server could not be reached, it is left alone for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections of one runtime.
pub(super) struct Lines {
    settings: Arc<RedisSettings>,
    notices: Arc<Notices>,
    servers: Mutex<HashMap<Address, Arc<Slot>>>,
}

/// The link to one server, if there is one.
#[derive(Default)]
struct Slot {
    link: Mutex<Option<Arc<Link>>>,
    /// Held by who opens a link.
    opening: tokio::sync::Mutex<Option<Failed>>,
}

/// The last try, which failed or was given up.
pub(super) struct Failed {
    at: Instant,
    cause: String,
}

impl Failed {
    pub(super) fn now(cause: String) -> Self {
        Self { at: Instant::now(), cause }
    }

    /// The cause, as long as it is left at that.
    pub(super) fn lasting(&self) -> Option<String> {
        (self.at.elapsed() < PAUSE).then(|| self.cause.clone())
    }
}

impl Lines {
    pub(super) fn new(settings: Arc<RedisSettings>, notices: Arc<Notices>) -> Self {
        Self { settings, notices, servers: Mutex::default() }
    }

    /// A link to a server, opened if there is none.
    pub(super) async fn link(&self, address: &Address) -> Result<Arc<Link>, Trouble> {
        let slot = Arc::clone(locked(&self.servers).entry(address.clone()).or_default());
        if let Some(link) = slot.open_link() {
            return Ok(link);
        }
        let mut failed = slot.opening.lock().await;
        if let Some(link) = slot.open_link() {
            return Ok(link);
        }
        if let Some(cause) = failed.as_ref().and_then(Failed::lasting) {
            return Err(Trouble::Broken(cause));
        }
        // Stands as well if this call is given up while it waits.
        *failed = Some(Failed::now(format!("{address} doesn't answer")));
        match Link::open(&self.settings, address).await {
            Ok(link) => {
                *failed = None;
                self.notices.met(address, link.server());
                let link = Arc::new(link);
                *locked(&slot.link) = Some(Arc::clone(&link));
                Ok(link)
            }
            Err(trouble) => {
                let cause = format!("{address}: {}", trouble.cause());
                *failed = Some(Failed::now(cause.clone()));
                Err(Trouble::Broken(cause))
            }
        }
    }

    /// Gives up a server's connection.
    pub(super) fn give_up(&self, address: &Address) {
        if let Some(slot) = locked(&self.servers).get(address) {
            *locked(&slot.link) = None;
        }
    }
}

impl Slot {
    fn open_link(&self) -> Option<Arc<Link>> {
        locked(&self.link).as_ref().filter(|link| link.is_open()).cloned()
    }
}

/// What was being written when a thread panicked is whole all the same: each of
/// these is one assignment.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
