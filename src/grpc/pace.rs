//! How many refusals a core can afford, and when its connections are read.
//!
//! Where more comes in than the service may have under way, calls are refused at once.
//! But a refusal costs a part of what an answer does, and whoever is refused may ask
//! again at once: at ten times the load a core would do nothing but refuse. So
//! refusals have a pace. Where they come faster, the core's connections are left
//! unread until there are places again, or the pace allows more: what waits there
//! costs nothing, and the peer's own flow control holds the rest back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

/// Each refusal may be followed by the next after so long: 5,000 a second, which take
/// about a twentieth of a core.
const INTERVAL: Duration = Duration::from_micros(200);

/// So many may come at once.
const BURST: Duration = INTERVAL.saturating_mul(256);

/// Connections are left unread at most so long at a time, whatever came at once: who
/// asks for health there must not take the service for dead.
const LONGEST: Duration = Duration::from_millis(100);

/// After so many milliseconds it is looked whether there are places again, now sooner,
/// now later: connections that all looked at once would let the same ones go first
/// every time. A core answers some hundred calls meanwhile.
const LOOK_AGAIN: [u64; 8] = [2, 7, 4, 9, 3, 8, 5, 6];

/// As many places as one connection can take at once are enough to read it.
const ENOUGH: usize = 128;

/// The pace of one core's refusals. Its clones are about the same core.
#[derive(Clone, Debug)]
pub struct Pace(Arc<State>);

#[derive(Debug)]
struct State {
    places: Arc<Semaphore>,
    enough: usize,
    began: Instant,
    /// How often a connection was left unread.
    looks: AtomicUsize,
    /// When all refusals so far are paid for, in microseconds since `began`.
    paid: AtomicU64,
}

impl Pace {
    /// Of a core that has refused nothing yet, in front of these places, all of which
    /// are free.
    pub fn new(places: Arc<Semaphore>, now: Instant) -> Self {
        let enough = (places.available_permits() / 2).clamp(1, ENOUGH);
        Self(Arc::new(State {
            places,
            enough,
            began: now,
            looks: AtomicUsize::new(0),
            paid: AtomicU64::new(0),
        }))
    }

    /// One more was refused.
    pub(super) fn refused(&self, now: Instant) {
        // One thread does all this; where another refuses too, a unit may get lost.
        let paid = Duration::from_micros(self.0.paid.load(Ordering::Relaxed));
        let now = self.since_began(now);
        let paid = (paid.max(now) + INTERVAL).min(now + BURST + LONGEST);
        self.0.paid.store(u64::try_from(paid.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Until when the core's connections should be left unread; then ask again. None:
    /// they may be read.
    pub(super) fn unread_until(&self, now: Instant) -> Option<Instant> {
        let paid = Duration::from_micros(self.0.paid.load(Ordering::Relaxed));
        let until = self.0.began + paid.saturating_sub(BURST);
        let unread = until > now && self.0.places.available_permits() < self.0.enough;
        unread.then(|| until.min(now + self.look_again()))
    }

    fn look_again(&self) -> Duration {
        let look = self.0.looks.fetch_add(1, Ordering::Relaxed) % LOOK_AGAIN.len();
        Duration::from_millis(LOOK_AGAIN.get(look).copied().unwrap_or(1))
    }

    fn since_began(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pace in front of so many places, all of which are taken, and the places.
    fn taken(places: usize, now: Instant) -> (Pace, Arc<Semaphore>) {
        let semaphore = Arc::new(Semaphore::new(places));
        let pace = Pace::new(Arc::clone(&semaphore), now);
        semaphore.forget_permits(places);
        (pace, semaphore)
    }

    #[test]
    fn a_burst_of_refusals_is_free_and_what_exceeds_it_is_paid_for() {
        let start = Instant::now();
        let (pace, _places) = taken(1_000, start);
        for _ in 0..256 {
            pace.refused(start);
        }
        assert_eq!(pace.unread_until(start), None);
        for _ in 0..5 {
            pace.refused(start);
        }
        let until = start + INTERVAL * 5;
        assert_eq!(pace.unread_until(start), Some(until));
        assert_eq!(pace.unread_until(until - Duration::from_micros(1)), Some(until));
        assert_eq!(pace.unread_until(until), None);
        pace.refused(until);
        assert_eq!(pace.unread_until(until), Some(until + INTERVAL));
    }

    #[test]
    fn connections_are_read_as_soon_as_there_are_places_and_soon_in_any_case() {
        for (places, enough) in [(1_024, 128), (200, 100), (2, 1), (1, 1)] {
            let start = Instant::now();
            let (pace, free) = taken(places, start);
            for _ in 0..100_000 {
                pace.refused(start);
            }
            for milliseconds in LOOK_AGAIN {
                let look = start + Duration::from_millis(milliseconds);
                assert_eq!(pace.unread_until(start), Some(look), "{places}");
            }
            let last = start + LONGEST - Duration::from_micros(1);
            assert_eq!(pace.unread_until(last), Some(start + LONGEST), "{places}");
            assert_eq!(pace.unread_until(start + LONGEST), None, "{places}");
            free.add_permits(enough - 1);
            assert!(pace.unread_until(start).is_some(), "{places}");
            free.add_permits(1);
            assert_eq!(pace.unread_until(start), None, "{places}");
        }
    }

    #[test]
    fn refusals_at_the_pace_leave_no_connection_unread() {
        let start = Instant::now();
        let (pace, _places) = taken(1_000, start);
        for at in 0..10_000 {
            let now = start + INTERVAL * at;
            pace.refused(now);
            assert_eq!(pace.unread_until(now), None);
        }
    }
}
