//! Rate limits as one pure function (GCRA, the generic cell rate algorithm of
//! ITU-T I.371, as a virtual schedule).
//!
//! A limiter's whole state is one moment, the *theoretical arrival time*: when
//! its bucket would be at rest again. Stores only keep it, and may forget it
//! once it has passed, since a limiter at rest and one never seen are the same.
//! Which limits there are, and for whom, is not decided here.

use std::time::Duration;

use crate::clock::Timestamp;

/// So many at once, and so many per period after that.
///
/// A zero is read as the least value that makes sense (1, or 1 µs), so that
/// no rate divides by zero or admits nothing for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many are admitted at once from rest; at least 1.
    pub burst: u32,
    /// How many come back per period; at least 1.
    pub count: u32,
    /// The period; more than zero.
    pub period: Duration,
}

impl Rate {
    /// How long one unit takes to come back: `period / count` in whole
    /// microseconds, rounded up, so that a limit never admits more than it says.
    pub fn interval(self) -> Duration {
        let micros = self.period.as_micros().div_ceil(u128::from(self.count.max(1)));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).max(1))
    }

    /// How long a limiter that was just emptied takes to be at rest again.
    pub fn refill(self) -> Duration {
        self.interval().saturating_mul(self.burst.max(1))
    }
}

/// The answer of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There was room.
    Admitted {
        /// The theoretical arrival time to be kept from now on.
        arrival: Timestamp,
    },
    /// There was none, and what is kept stays as it is.
    Refused {
        /// How long until there is room, if nobody else takes it. Never zero.
        retry_after: Duration,
    },
}

/// Nothing that is kept lies further ahead than a limiter takes to be at rest,
/// but for the differences between clocks. What lies further ahead by more than
/// this was kept by a clock that has been put back since, and would lock its
/// party out until the clock is there again.
const AHEAD_AT_MOST: Duration = Duration::from_secs(60);

/// Spends one unit at `now`. `arrival` is what the last [`Decision::Admitted`]
/// handed out; None for a limiter never seen. What a clock handed out that has
/// been put back since counts for nothing.
pub fn spend(rate: Rate, arrival: Option<Timestamp>, now: Timestamp) -> Decision {
    let full = now.plus(rate.refill());
    let credible = arrival.filter(|arrival| *arrival <= full.plus(AHEAD_AT_MOST));
    let start = credible.map_or(now, |arrival| arrival.max(now));
    let next = start.plus(rate.interval());
    if next <= full {
        Decision::Admitted { arrival: next }
    } else {
        Decision::Refused { retry_after: next.since(full) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(burst: u32, count: u32, period: Duration) -> Rate {
        Rate { burst, count, period }
    }

    /// Spends at each moment and says who was admitted.
    fn run(rate: Rate, moments: &[Timestamp]) -> Vec<bool> {
        let mut kept = None;
        moments
            .iter()
            .map(|now| match spend(rate, kept, *now) {
                Decision::Admitted { arrival } => {
                    kept = Some(arrival);
                    true
                }
                Decision::Refused { .. } => false,
            })
            .collect()
    }

    #[test]
    fn a_burst_is_admitted_at_once_and_then_one_per_interval() {
        let rate = rate(3, 6, Duration::from_secs(60));
        let at = Timestamp::from_seconds;
        let moments = [0, 0, 0, 0, 9, 10, 10, 19, 20, 50, 50, 50, 50].map(at);
        let admitted = run(rate, &moments);
        let told = [
            true, true, true, false, // the burst
            false, true, false, // one unit after ten seconds
            false, true, // another
            true, true, true, false, // three after thirty
        ];
        assert_eq!(admitted, told);
    }

    #[test]
    fn an_interval_is_rounded_up_to_whole_microseconds() {
        for (count, period, micros) in [
            (1, Duration::from_secs(1), 1_000_000),
            (3, Duration::from_secs(1), 333_334),
            (7, Duration::from_secs(60), 8_571_429),
            (u32::MAX, Duration::from_secs(1), 1),
            (1, Duration::from_nanos(1), 1),
            (0, Duration::ZERO, 1),
        ] {
            let interval = rate(1, count, period).interval();
            assert_eq!(interval, Duration::from_micros(micros), "{count} per {period:?}");
        }
    }

    #[test]
    fn numbers_at_the_edge_neither_panic_nor_refuse_the_first() {
        let now = Timestamp::from_seconds(1_800_000_000);
        for odd in [
            rate(0, 0, Duration::ZERO),
            rate(u32::MAX, u32::MAX, Duration::MAX),
            rate(1, 1, Duration::MAX),
            rate(u32::MAX, 1, Duration::MAX),
        ] {
            assert!(matches!(spend(odd, None, now), Decision::Admitted { .. }), "{odd:?}");
            let far = Some(Timestamp::from_micros(i64::MAX));
            let _ = spend(odd, far, Timestamp::from_micros(i64::MIN));
        }
    }

    #[test]
    fn a_limiter_never_seen_and_one_at_rest_are_the_same() {
        let rate = rate(5, 1, Duration::from_secs(7));
        let now = Timestamp::from_seconds(100);
        assert_eq!(spend(rate, None, now), spend(rate, Some(now), now));
        assert_eq!(spend(rate, None, now), spend(rate, Some(Timestamp::from_seconds(3)), now));
    }

    #[test]
    fn what_a_clock_said_that_was_put_back_counts_for_nothing() {
        let rate = rate(2, 1, Duration::from_secs(10));
        let now = Timestamp::from_seconds(1_800_000_000);
        let far = now.plus(rate.refill()).plus(AHEAD_AT_MOST);
        let retry_after = AHEAD_AT_MOST + rate.interval();
        assert_eq!(spend(rate, Some(far), now), Decision::Refused { retry_after });
        let further = far.plus(Duration::from_micros(1));
        assert_eq!(spend(rate, Some(further), now), spend(rate, None, now));
    }

    /// The slow model: a bucket of `burst` units that gains one every interval,
    /// counted in fractions of a unit (microseconds of refill).
    struct Bucket {
        level: u128,
        at: Timestamp,
    }

    impl Bucket {
        fn spend(&mut self, rate: Rate, now: Timestamp) -> Result<(), Duration> {
            let unit = rate.interval().as_micros();
            let brim = unit * u128::from(rate.burst);
            self.level = (self.level + now.since(self.at).as_micros()).min(brim);
            self.at = now;
            if self.level >= unit {
                self.level -= unit;
                return Ok(());
            }
            let missing = u64::try_from(unit - self.level).unwrap();
            Err(Duration::from_micros(missing))
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_a_bucket_does_and_the_wait_is_the_true_wait(
            burst in 1_u32..20,
            count in 1_u32..50,
            period in 1_u64..5_000_000,
            steps in prop::collection::vec(0_u64..400_000, 1..200),
        ) {
            let rate = rate(burst, count, Duration::from_micros(period));
            let mut now = Timestamp::from_seconds(1_800_000_000);
            let mut bucket =
                Bucket { level: rate.refill().as_micros(), at: now };
            let mut kept = None;
            for step in steps {
                now = now.plus(Duration::from_micros(step));
                match (spend(rate, kept, now), bucket.spend(rate, now)) {
                    (Decision::Admitted { arrival }, Ok(())) => kept = Some(arrival),
                    (Decision::Refused { retry_after }, Err(wait)) => {
                        prop_assert_eq!(retry_after, wait);
                        let later = now.plus(retry_after);
                        let sooner = later.minus(Duration::from_micros(1));
                        let admits = |at| matches!(spend(rate, kept, at), Decision::Admitted { .. });
                        prop_assert!(admits(later) && !admits(sooner));
                    }
                    (ours, model) => prop_assert!(false, "{:?} against {:?}", ours, model),
                }
            }
        }

        #[test]
        fn no_window_ever_admits_more_than_the_burst_and_what_came_back(
            burst in 1_u32..10,
            count in 1_u32..10,
            period in 1_u64..1_000_000,
            steps in prop::collection::vec(0_u64..200_000, 1..80),
        ) {
            let rate = rate(burst, count, Duration::from_micros(period));
            let mut now = Timestamp::from_seconds(0);
            let moments: Vec<_> = steps
                .into_iter()
                .map(|step| {
                    now = now.plus(Duration::from_micros(step));
                    now
                })
                .collect();
            let answers = run(rate, &moments);
            let admitted: Vec<_> =
                moments.iter().zip(&answers).filter(|(_, yes)| **yes).map(|(at, _)| *at).collect();
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let back = to.since(*from).as_micros() / rate.interval().as_micros();
                    prop_assert!((last - first + 1) as u128 <= u128::from(burst) + back);
                }
            }
        }
    }
}
