//! Time as a value. The kernel never asks what time it is: `now` comes in as an
//! argument, always of this type.

use std::{fmt, time::Duration};

const MICROS: i64 = 1_000_000;

/// A moment: microseconds since the Unix epoch. Arithmetic saturates, so that
/// a hostile number far in the future stays far in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment at which a Unix second begins.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS))
    }

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The Unix second that this moment lies in.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// The first Unix second that does not lie before this moment.
    pub const fn seconds_ceil(self) -> i64 {
        let whole = self.seconds();
        if self.0.rem_euclid(MICROS) == 0 { whole } else { whole.saturating_add(1) }
    }

    /// This moment and some time.
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This moment less some time.
    pub fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long this moment lies after another; zero where it lies before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// For people, to the second: `2026-11-21 23:07:49 UTC`. What no calendar has
    /// stays a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.seconds()) {
            Ok(moment) => write!(f, "{}", moment.strftime("%Y-%m-%d %H:%M:%S UTC")),
            Err(_) => write!(f, "Unix second {}", self.seconds()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_down_and_seconds_ceil_rounds_up_also_before_the_epoch() {
        for (micros, down, up) in [
            (0, 0, 0),
            (1, 0, 1),
            (999_999, 0, 1),
            (1_000_000, 1, 1),
            (-1, -1, 0),
            (-1_000_000, -1, -1),
        ] {
            let moment = Timestamp::from_micros(micros);
            assert_eq!((moment.seconds(), moment.seconds_ceil()), (down, up), "{micros} µs");
        }
    }

    #[test]
    fn moments_are_shown_as_dates_and_what_no_calendar_has_as_a_number() {
        for (second, shown) in [
            (1_795_302_469, "2026-11-21 23:07:49 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (i64::MAX, "Unix second 9223372036854"),
        ] {
            assert_eq!(Timestamp::from_seconds(second).to_string(), shown);
        }
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let far = Timestamp::from_seconds(i64::MAX);
        assert_eq!(far.plus(Duration::from_secs(1)), far);
        assert_eq!(Timestamp::from_seconds(5).since(Timestamp::from_seconds(9)), Duration::ZERO);
    }
}
