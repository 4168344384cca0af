//! When a key set may be used, and when to ask the issuer again: functions from
//! what is on record, the key if there is one, and the moment.
//!
//! ```text
//! fetched        4/5 of fresh     fresh (1 to 15 min)            max_stale (1 h)
//!    |  Fresh         |  Renew         |  Stale, or Unsure              |  Dead
//! ```
//!
//! An old set is served at once only where the issuer is known to be down;
//! where nobody asked it lately, it is asked first, and the old set is served
//! if that fails. So a key that the issuer withdrew dies within minutes while
//! the issuer is up, and within `max_stale` while it is not.

use std::time::Duration;

use super::wanted::Wanted;
use crate::{clock::Timestamp, ports::KeyAbsent};

/// How long a set is fresh where the issuer doesn't say.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// However short the issuer says: it isn't asked more often than this.
const FRESH_AT_LEAST: Duration = Duration::from_secs(60);
/// However long the issuer says: a withdrawn key dies within this.
const FRESH_AT_MOST: Duration = Duration::from_secs(15 * 60);

/// Between two fetches that unknown keys cause, and after a failed fetch of any
/// cause: whoever floods us must not make us flood the issuer.
pub(super) const COOLDOWN: Duration = Duration::from_secs(30);
/// To which the wait grows, doubling, while fetches keep failing.
const LONGEST_BACKOFF: Duration = Duration::from_secs(120);
/// For how long a failed fetch proves that the issuer is down.
const KNOWN_DOWN: Duration = Duration::from_secs(5 * 60);
/// A fetch that didn't come about can be tried again so soon.
const SOON: Duration = Duration::from_secs(1);

/// Moments may lie so far ahead, because threads read the clock one by one. What
/// lies further ahead was seen by a clock that has been put back since.
const AHEAD_AT_MOST: Duration = Duration::from_secs(60);

/// What is on record about an issuer's key set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    fetched: Option<Fetch>,
    /// The last failure, if nothing was fetched since.
    failure: Option<Failure>,
    /// When the last fetch began that an unknown key caused.
    unknown_key: Option<Timestamp>,
}

/// The fetch that brought a set, by whichever replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    /// When it began, by the clock of who made it.
    pub(super) at: Timestamp,
    /// Why it was made.
    pub(super) cause: Cause,
    /// For how long the issuer calls the set fresh, where it says so.
    pub(super) max_age: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    at: Timestamp,
    in_a_row: u32,
}

/// Why a fetch is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no set, or it is getting old. Opens no cooldown.
    Age,
    /// The set has no key of this name. Opens the cooldown.
    UnknownKey,
}

/// What to do for a caller who wants a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<K> {
    /// Hand it out.
    Serve(K),
    /// Hand it out, and fetch in the background.
    ServeAndRenew(K),
    /// Fetch, wait, and look again.
    Fetch {
        /// Why.
        cause: Cause,
        /// The answer, should the fetch leave the caller where it was.
        otherwise: KeyAbsent,
    },
    /// There is none, and the issuer isn't asked.
    Absent(KeyAbsent),
}

impl<K> Step<K> {
    /// Whether a caller whose flight has landed should wait for another one: a set
    /// that came off the shelf may be older than the key it lacks. The second
    /// flight asks for no older set than the cooldown allows, so that there is
    /// never a third.
    pub(super) const fn takes_another_flight(&self, origin: Origin) -> bool {
        matches!((self, origin), (Self::Fetch { cause: Cause::UnknownKey, .. }, Origin::Shelf))
    }
}

/// Where the set came from that is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// This replica asked the issuer for it.
    #[default]
    Issuer,
    /// Another replica did, perhaps minutes ago.
    Shelf,
}

/// How a set stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Use it.
    Fresh,
    /// Use it; it is time to renew it.
    Renew,
    /// No longer fresh, and the issuer is known to be down: use it.
    Stale,
    /// No longer fresh, and nobody asked lately: ask first.
    Unsure,
    /// Too old to be used, or there is none.
    Dead,
}

impl Record {
    /// What to do at `now` for the key that was looked up in the set on record.
    pub(super) fn step<K>(&self, key: Option<K>, max_stale: Duration, now: Timestamp) -> Step<K> {
        match (self.standing(max_stale, now), key) {
            (Standing::Fresh, Some(key)) => Step::Serve(key),
            (Standing::Renew | Standing::Stale, Some(key)) if self.wait(now).is_zero() => {
                Step::ServeAndRenew(key)
            }
            (Standing::Renew | Standing::Stale, Some(key)) => Step::Serve(key),
            (Standing::Fresh | Standing::Renew | Standing::Stale, None) => self.unknown_key(now),
            (Standing::Unsure | Standing::Dead, _) => match self.wait(now) {
                Duration::ZERO => Step::Fetch {
                    cause: Cause::Age,
                    otherwise: KeyAbsent::OutOfReach { retry_after: SOON },
                },
                retry_after => Step::Absent(KeyAbsent::OutOfReach { retry_after }),
            },
        }
    }

    /// What a flight wants that begins at `now`.
    pub(super) fn wanted(&self, cause: Cause, max_stale: Duration, now: Timestamp) -> Wanted {
        Wanted { cause, now, newer_than: self.fetched.map(|fetch| fetch.at), max_stale }
    }

    /// The record after a set came in, at `landed`, that this fetch brought.
    ///
    /// Where another replica fetched it for an unknown key, the cooldown counts
    /// from its fetch here too; should its clock be ahead, from now.
    pub(super) fn after_success(self, fetch: Fetch, landed: Timestamp) -> Self {
        let unknown_key = match fetch.cause {
            Cause::Age => self.unknown_key,
            Cause::UnknownKey => Some(fetch.at.min(landed)),
        };
        Self { fetched: Some(fetch), failure: None, unknown_key }
    }

    /// The record after a fetch that began and failed at these moments.
    pub(super) fn after_failure(self, cause: Cause, began: Timestamp, failed: Timestamp) -> Self {
        let before = self.failure.map_or(0, |failure| failure.in_a_row);
        Self {
            fetched: self.fetched,
            failure: Some(Failure { at: failed, in_a_row: before.saturating_add(1) }),
            unknown_key: match cause {
                Cause::Age => self.unknown_key,
                Cause::UnknownKey => Some(began),
            },
        }
    }

    /// The same record with the older set that this fetch brought, for want of a
    /// new one.
    pub(super) const fn falling_back_on(self, fetch: Fetch) -> Self {
        Self { fetched: Some(fetch), ..self }
    }

    /// When the set on record was fetched, until when it is fresh, and until when it may
    /// be used.
    pub(super) fn times(&self, max_stale: Duration) -> Option<[Timestamp; 3]> {
        let fetch = self.fetched?;
        let Fetch { at, .. } = fetch;
        Some([at, at.plus(fetch.fresh_for(max_stale)), at.plus(max_stale)])
    }

    fn standing(&self, max_stale: Duration, now: Timestamp) -> Standing {
        let Some(fetch) = self.fetched else { return Standing::Dead };
        let age = elapsed(fetch.at, now);
        if age >= max_stale {
            Standing::Dead
        } else if fetch.is_young(max_stale, now) {
            Standing::Fresh
        } else if age < fetch.fresh_for(max_stale) {
            Standing::Renew
        } else if self.failure.is_some_and(|failure| elapsed(failure.at, now) < KNOWN_DOWN) {
            Standing::Stale
        } else {
            Standing::Unsure
        }
    }

    fn unknown_key<K>(&self, now: Timestamp) -> Step<K> {
        let cooled = self.unknown_key.is_none_or(|began| elapsed(began, now) >= COOLDOWN);
        if cooled && self.wait(now).is_zero() {
            Step::Fetch { cause: Cause::UnknownKey, otherwise: KeyAbsent::Unpublished }
        } else {
            Step::Absent(KeyAbsent::Unpublished)
        }
    }

    /// How long until the issuer may be asked again after failures.
    fn wait(&self, now: Timestamp) -> Duration {
        let Some(failure) = self.failure else { return Duration::ZERO };
        let doublings = failure.in_a_row.saturating_sub(1).min(16);
        let backoff = COOLDOWN.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
        backoff.saturating_sub(elapsed(failure.at, now))
    }
}

impl Fetch {
    /// Whether it is too early to fetch again because of the set's age.
    pub(super) fn is_young(&self, max_stale: Duration, now: Timestamp) -> bool {
        elapsed(self.at, now) < self.fresh_for(max_stale) / 5 * 4
    }

    fn fresh_for(&self, max_stale: Duration) -> Duration {
        let said = self.max_age.map_or(FRESH, |age| age.clamp(FRESH_AT_LEAST, FRESH_AT_MOST));
        said.min(max_stale)
    }
}

/// How long ago something was. What a clock saw that has been put back since
/// was so long ago that nothing rests on it.
pub(super) fn elapsed(at: Timestamp, now: Timestamp) -> Duration {
    if at > now.plus(AHEAD_AT_MOST) { Duration::MAX } else { now.since(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    fn fetched(seconds: i64, max_age: Option<u64>) -> Record {
        let max_age = max_age.map(Duration::from_secs);
        let fetch = Fetch { at: at(seconds), cause: Cause::Age, max_age };
        Record::default().after_success(fetch, at(seconds))
    }

    fn then(record: Record, cause: Cause, seconds: i64) -> Record {
        record.after_success(Fetch { at: at(seconds), cause, max_age: None }, at(seconds))
    }

    fn failed(record: Record, cause: Cause, seconds: i64) -> Record {
        record.after_failure(cause, at(seconds), at(seconds))
    }

    const fn out_of_reach(seconds: u64) -> KeyAbsent {
        KeyAbsent::OutOfReach { retry_after: Duration::from_secs(seconds) }
    }

    const ASK: Step<()> = Step::Fetch { cause: Cause::Age, otherwise: out_of_reach(1) };
    const ASK_FOR_KEY: Step<()> =
        Step::Fetch { cause: Cause::UnknownKey, otherwise: KeyAbsent::Unpublished };
    const UNPUBLISHED: Step<()> = Step::Absent(KeyAbsent::Unpublished);

    #[test]
    fn a_known_key_by_the_age_of_its_set() {
        let set = fetched(0, None);
        let tried = failed(set, Cause::Age, 299);
        for (name, record, now, step) in [
            ("just fetched", set, 0, Step::Serve(())),
            ("before it is time", set, 239, Step::Serve(())),
            ("time to renew", set, 240, Step::ServeAndRenew(())),
            ("the last fresh second", set, 299, Step::ServeAndRenew(())),
            ("nobody asked", set, 300, ASK),
            ("nobody asked for long", set, 3_599, ASK),
            ("dead", set, 3_600, ASK),
            ("failed: wait", tried, 300, Step::Serve(())),
            ("failed: try again", tried, 329, Step::ServeAndRenew(())),
            ("failed: still known", tried, 598, Step::ServeAndRenew(())),
            ("failed long ago: ask", tried, 599, ASK),
            ("failed, and dead", tried, 3_600, ASK),
            (
                "failed, dead, and to wait",
                failed(set, Cause::Age, 3_590),
                3_600,
                Step::Absent(out_of_reach(20)),
            ),
            ("failed, the last second", failed(set, Cause::Age, 3_590), 3_599, Step::Serve(())),
        ] {
            assert_eq!(record.step(Some(()), HOUR, at(now)), step, "{name}");
        }
    }

    #[test]
    fn an_unknown_key_causes_one_fetch_per_cooldown() {
        let set = fetched(0, None);
        let asked = then(set, Cause::UnknownKey, 10);
        let renewed = then(asked, Cause::Age, 20);
        let down = failed(set, Cause::UnknownKey, 10);
        for (name, record, now, step) in [
            ("the first fetch opens no cooldown", set, 0, ASK_FOR_KEY),
            ("asked", asked, 39, UNPUBLISHED),
            ("cooled", asked, 40, ASK_FOR_KEY),
            ("a renewal neither opens nor closes it", renewed, 39, UNPUBLISHED),
            ("cooled after a renewal", renewed, 40, ASK_FOR_KEY),
            ("failed", down, 39, UNPUBLISHED),
            ("cooled after a failure", down, 40, ASK_FOR_KEY),
            ("a failed renewal opens it too", failed(set, Cause::Age, 10), 39, UNPUBLISHED),
        ] {
            assert_eq!(record.step(None, HOUR, at(now)), step, "{name}");
        }
    }

    #[test]
    fn without_a_set_the_issuer_is_out_of_reach_until_it_may_be_asked() {
        let mut record = Record::default();
        assert_eq!(record.step(None, HOUR, at(0)), ASK);
        let mut now = 0;
        for wait in [30, 60, 120, 120, 120] {
            record = failed(record, Cause::Age, now);
            let absent: Step<()> = Step::Absent(out_of_reach(1));
            assert_eq!(record.step(None, HOUR, at(now + wait - 1)), absent, "{wait}");
            assert_eq!(record.step(None, HOUR, at(now + wait)), ASK, "{wait}");
            now += wait;
        }
        let record = then(record, Cause::Age, now);
        assert_eq!(failed(record, Cause::Age, now).wait(at(now)), COOLDOWN, "counted anew");
    }

    #[test]
    fn the_issuer_says_how_long_within_bounds() {
        for (max_age, max_stale, renew, unsure) in [
            (None, HOUR, 240, 300),
            (Some(0), HOUR, 48, 60),
            (Some(100), HOUR, 80, 100),
            (Some(u64::MAX), HOUR, 720, 900),
            (None, Duration::from_secs(100), 80, 100),
        ] {
            let set = fetched(0, max_age);
            let step = |now| set.step(Some(()), max_stale, at(now));
            assert_eq!(step(renew - 1), Step::Serve(()), "{max_age:?}");
            assert_eq!(step(renew), Step::ServeAndRenew(()), "{max_age:?}");
            assert_eq!(step(unsure - 1), Step::ServeAndRenew(()), "{max_age:?}");
            assert_eq!(step(unsure), ASK, "{max_age:?}");
        }
    }

    #[test]
    fn a_clock_that_was_put_back_holds_nothing_up() {
        let set = fetched(100_000, None);
        assert_eq!(set.step(Some(()), HOUR, at(0)), ASK);
        assert_eq!(set.step(Some(()), HOUR, at(99_999)), Step::Serve(()), "threads disagree a bit");
        let down = failed(Record::default(), Cause::Age, 100_000);
        assert_eq!(down.step(None, HOUR, at(0)), ASK);
    }

    #[test]
    fn a_set_of_another_replica_counts_from_its_own_fetch() {
        let theirs = |seconds| Fetch { at: at(seconds), cause: Cause::UnknownKey, max_age: None };
        for (name, fetch, cooled, renewed) in [
            ("fetched just now", theirs(0), 30, 240),
            ("fetched before", theirs(-10), 20, 230),
            ("by a clock that is ahead", theirs(20), 30, 260),
        ] {
            let record = Record::default().after_success(fetch, at(0));
            assert_eq!(record.step(None, HOUR, at(cooled - 1)), UNPUBLISHED, "{name}");
            assert_eq!(record.step(None, HOUR, at(cooled)), ASK_FOR_KEY, "{name}");
            assert_eq!(record.step(Some(()), HOUR, at(renewed - 1)), Step::Serve(()), "{name}");
            let renews = record.step(Some(()), HOUR, at(renewed));
            assert_eq!(renews, Step::ServeAndRenew(()), "{name}");
        }
    }

    #[test]
    fn an_old_set_of_another_replica_is_served_while_the_issuer_is_down() {
        let theirs = Fetch { at: at(-1_000), cause: Cause::Age, max_age: None };
        let record = failed(Record::default(), Cause::Age, 0).falling_back_on(theirs);
        for (now, step) in
            [(0, Step::Serve(())), (30, Step::ServeAndRenew(())), (300, ASK), (2_600, ASK)]
        {
            assert_eq!(record.step(Some(()), HOUR, at(now)), step, "{now}");
        }
        let absent = Step::Absent(out_of_reach(20));
        let late = failed(record, Cause::Age, 2_550);
        assert_eq!(late.step(Some(()), HOUR, at(2_599)), Step::Serve(()), "{late:?}");
        assert_eq!(failed(late, Cause::Age, 2_560).step(Some(()), HOUR, at(2_660)), absent);
    }

    #[test]
    fn only_a_key_that_a_set_off_the_shelf_lacks_takes_another_flight() {
        for (step, origin, another) in [
            (ASK_FOR_KEY, Origin::Shelf, true),
            (ASK_FOR_KEY, Origin::Issuer, false),
            (ASK, Origin::Shelf, false),
            (UNPUBLISHED, Origin::Shelf, false),
            (Step::Serve(()), Origin::Shelf, false),
            (Step::ServeAndRenew(()), Origin::Shelf, false),
        ] {
            assert_eq!(step.takes_another_flight(origin), another, "{step:?} {origin:?}");
        }
    }

    #[test]
    fn whoever_is_unsure_may_ask() {
        const { assert!(KNOWN_DOWN.as_secs() > LONGEST_BACKOFF.as_secs()) };
    }
}
