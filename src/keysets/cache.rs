//! The key sets that this process holds.
//!
//! Any number of runtimes may share the cache (the service runs one per core).
//! A fetch is a *flight*: one per issuer at a time, in a task of its own on the
//! runtime of the call that started it, so that it outlives a caller who hangs
//! up. Whoever needs its outcome waits for it to land and looks again.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use opentelemetry::context::FutureExt as _;
use tokio::{runtime::Handle, sync::watch};

use super::{
    decision::{Cause, Origin, Record, Step},
    http::{HttpSource, IssuerUnusable},
    observed::{self, ObservedSource, Observing, Standing},
    shared::{SharedSource, Sharing},
    source::{Failed, FetchFailed, Published, Source},
};
use crate::{
    clock::Timestamp,
    oidc::{Issuer, KeySet, VerifyingKey},
    ports::{Clock, KeyAbsent, KeySets},
};

/// Calls of one issuer that wait at a time. The next ones are answered at once,
/// so that an issuer that hangs doesn't fill the service with waiting calls.
const MOST_WAITING: usize = 256;

/// Where to find the keys of an issuer, and whom to trust for it.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    /// The issuer.
    pub issuer: Issuer,
    /// PEM certificates. Where given, they alone are trusted, for this issuer
    /// alone; otherwise the machine's.
    pub ca_file: Option<PathBuf>,
    /// Hosts (`keys.example` or `keys.example:8443`) that the `jwks_uri` may name
    /// besides the issuer's own, over https.
    pub jwks_hosts: Vec<String>,
    /// How old its key set may be while it is down; [`MAX_STALE`] unless somebody
    /// says otherwise.
    pub max_stale: Duration,
}

/// A key that its issuer withdrew dies within this, also where the issuer can't
/// be asked.
pub const MAX_STALE: Duration = Duration::from_secs(3_600);

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The bound of one exchange: both documents, from the first look-up of a
    /// name to the last byte. Default: 5 s.
    pub exchange: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { exchange: Duration::from_secs(5) }
    }
}

/// The key sets of the configured issuers, fetched when they are first needed.
pub struct KeySetCache {
    slots: HashMap<String, Arc<Slot>>,
}

impl KeySetCache {
    /// A cache that holds nothing yet and has asked nobody. Every issuer that
    /// can't be used is reported; of two with the same URL the last counts.
    pub fn new(
        issuers: Vec<IssuerKeys>,
        timing: Timing,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Vec<IssuerUnusable>> {
        Self::over(issuers, timing, clock, None, None)
    }

    /// The same for one of several replicas.
    pub fn shared(
        issuers: Vec<IssuerKeys>,
        timing: Timing,
        clock: Arc<dyn Clock>,
        sharing: &Sharing,
    ) -> Result<Self, Vec<IssuerUnusable>> {
        Self::over(issuers, timing, clock, Some(sharing), None)
    }

    /// Either of them, which tells how its fetches go and what it holds.
    pub fn observed(
        issuers: Vec<IssuerKeys>,
        timing: Timing,
        clock: Arc<dyn Clock>,
        sharing: Option<&Sharing>,
        observing: &Observing,
    ) -> Result<Self, Vec<IssuerUnusable>> {
        Self::over(issuers, timing, clock, sharing, Some(observing))
    }

    fn over(
        issuers: Vec<IssuerKeys>,
        timing: Timing,
        clock: Arc<dyn Clock>,
        sharing: Option<&Sharing>,
        observing: Option<&Observing>,
    ) -> Result<Self, Vec<IssuerUnusable>> {
        let (sources, mistakes) = HttpSource::for_all(&issuers, timing.exchange);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let slots = issuers.into_iter().zip(sources).map(move |(keys, http)| {
            let mut source: Box<dyn Source> = Box::new(http);
            if let Some(sharing) = sharing {
                source = Box::new(SharedSource::new(&keys, source, &clock, sharing));
            }
            if let Some(observing) = observing {
                source = Box::new(ObservedSource::new(source, &keys.issuer.url, observing));
            }
            let url = keys.issuer.url;
            let slot = Slot::new(url.clone(), source, keys.max_stale, &clock);
            (url, Arc::new(slot))
        });
        let slots: HashMap<_, _> = slots.collect();
        if let Some(Observing { meter, .. }) = observing {
            observed::observe(&slots.values().cloned().collect::<Vec<_>>(), meter);
        }
        Ok(Self { slots })
    }
}

#[async_trait]
impl KeySets for KeySetCache {
    fn held(&self, issuer: &Issuer, kid: &str) -> Option<Arc<VerifyingKey>> {
        let slot = self.slots.get(&issuer.url)?;
        match slot.look(kid) {
            Step::Serve(key) => Some(key),
            Step::ServeAndRenew(key) => {
                slot.renew(kid);
                Some(key)
            }
            Step::Fetch { .. } | Step::Absent(_) => None,
        }
    }

    async fn find(&self, issuer: &Issuer, kid: &str) -> Result<Arc<VerifyingKey>, KeyAbsent> {
        let slot = self.slots.get(&issuer.url).ok_or(KeyAbsent::Unpublished)?;
        match slot.look(kid) {
            Step::Serve(key) => return Ok(key),
            Step::ServeAndRenew(key) => {
                slot.renew(kid);
                return Ok(key);
            }
            Step::Absent(absent) => return Err(absent),
            Step::Fetch { .. } => slot.wait_for_flight(kid).await,
        }
        if slot.takes_another_flight(kid) {
            slot.wait_for_flight(kid).await;
        }
        match slot.look(kid) {
            Step::Serve(key) | Step::ServeAndRenew(key) => Ok(key),
            Step::Absent(absent) | Step::Fetch { otherwise: absent, .. } => Err(absent),
        }
    }
}

/// One issuer's place in the cache.
pub(super) struct Slot {
    issuer: String,
    source: Box<dyn Source>,
    max_stale: Duration,
    clock: Arc<dyn Clock>,
    /// Replaced as a whole, and only by a flight.
    held: ArcSwap<Held>,
    /// Whether a flight is under way.
    flying: AtomicBool,
    /// Told when a flight has landed, whatever it brought.
    landed: watch::Sender<()>,
    waiting: AtomicUsize,
}

/// What is held of an issuer.
#[derive(Default)]
struct Held {
    keys: Arc<KeySet>,
    record: Record,
    origin: Origin,
}

impl Held {
    fn look(&self, kid: &str, max_stale: Duration, now: Timestamp) -> Step<Arc<VerifyingKey>> {
        self.record.step(self.keys.key(kid).cloned(), max_stale, now)
    }
}

impl Slot {
    fn new(
        issuer: String,
        source: Box<dyn Source>,
        max_stale: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            issuer,
            source,
            max_stale,
            clock: Arc::clone(clock),
            held: ArcSwap::default(),
            flying: AtomicBool::new(false),
            landed: watch::Sender::new(()),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The issuer's URL.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What is held of the issuer.
    pub(super) fn standing(&self) -> Standing {
        let held = self.held.load();
        let times = held.record.times(self.max_stale);
        Standing { keys: held.keys.len(), skipped: held.keys.skipped(), times }
    }

    fn look(&self, kid: &str) -> Step<Arc<VerifyingKey>> {
        self.held.load().look(kid, self.max_stale, self.clock.now())
    }

    fn takes_another_flight(&self, kid: &str) -> bool {
        let held = self.held.load();
        held.look(kid, self.max_stale, self.clock.now()).takes_another_flight(held.origin)
    }

    /// Starts a flight in the background, unless one is under way.
    fn renew(self: &Arc<Self>, kid: &str) {
        // Without a runtime there is no background; the next call may have one.
        if let Ok(runtime) = Handle::try_current() {
            self.take_off(&runtime, kid);
        }
    }

    /// Waits until a flight has landed: the one under way, or a new one. Comes
    /// back at once where too many wait already.
    async fn wait_for_flight(self: &Arc<Self>, kid: &str) {
        let Ok(runtime) = Handle::try_current() else { return };
        let Some(_seat) = Seat::take(&self.waiting) else { return };
        // Before the take-off, so that no landing goes unseen: a flight that is
        // still under way when we fail to start one lands after this line.
        let mut landed = self.landed.subscribe();
        self.take_off(&runtime, kid);
        // The sender lives as long as the slot.
        let _ = landed.changed().await;
    }

    fn take_off(self: &Arc<Self>, runtime: &Handle, kid: &str) {
        let Some(flight) = Flight::claim(self) else { return };
        // Another flight may have landed since the caller looked.
        let cause = match self.look(kid) {
            Step::ServeAndRenew(_) => Cause::Age,
            Step::Fetch { cause, .. } => cause,
            Step::Serve(_) | Step::Absent(_) => return,
        };
        // It flies in the trace of the call that caused it.
        runtime.spawn(flight.fly(cause).with_current_context());
    }
}

/// The right to fetch for an issuer. Dropped, however that comes about, it
/// lets the next one fly and wakes those who wait.
struct Flight(Arc<Slot>);

impl Flight {
    fn claim(slot: &Arc<Slot>) -> Option<Self> {
        let busy = slot.flying.swap(true, Ordering::AcqRel);
        (!busy).then(|| Self(Arc::clone(slot)))
    }

    async fn fly(self, cause: Cause) {
        let slot = &self.0;
        let began = slot.clock.now();
        let before = slot.held.load_full();
        let wanted = before.record.wanted(cause, slot.max_stale, began);
        let outcome = slot.source.fetch(wanted).await;
        let landed = slot.clock.now();
        let after = match outcome {
            Ok(Published { keys, fetch, origin, .. }) => {
                log_success(&slot.issuer, &keys, origin);
                let record = before.record.after_success(fetch, landed);
                Held { keys: Arc::new(keys), record, origin }
            }
            Err(Failed { why, instead }) => {
                log_failure(&slot.issuer, &why);
                let record = before.record.after_failure(cause, began, landed);
                match instead.map(|published| *published) {
                    Some(Published { keys, fetch, origin, .. }) => {
                        let record = record.falling_back_on(fetch);
                        Held { keys: Arc::new(keys), record, origin }
                    }
                    None => Held { keys: Arc::clone(&before.keys), record, origin: before.origin },
                }
            }
        };
        slot.held.store(Arc::new(after));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.flying.store(false, Ordering::Release);
        self.0.landed.send_replace(());
    }
}

fn log_success(issuer: &str, keys: &KeySet, origin: Origin) {
    match (origin, keys.skipped()) {
        // Whoever fetched it told the rest.
        (Origin::Shelf, _) => {
            tracing::debug!(issuer, keys = keys.len(), "took the key set of another replica");
        }
        (Origin::Issuer, 0) => tracing::debug!(issuer, keys = keys.len(), "fetched the key set"),
        (Origin::Issuer, skipped) => {
            tracing::warn!(
                issuer,
                keys = keys.len(),
                skipped,
                "left out unusable keys of a key set"
            );
        }
    }
}

fn log_failure(issuer: &str, cause: &FetchFailed) {
    tracing::warn!(issuer, %cause, "could not fetch the key set");
}

/// A place among those who wait for an issuer.
struct Seat<'a>(&'a AtomicUsize);

impl<'a> Seat<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let seat = Self(waiting);
        // Given back right away by the drop where there was none left.
        (waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
