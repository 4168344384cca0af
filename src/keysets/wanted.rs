//! What a flight wants, and whether a set that another replica fetched will do.
//!
//! Held against what this replica has, so that no set is taken twice and none is
//! exchanged for an older one. Moments of other replicas are by their clocks:
//! these differ by some seconds, and what that costs at worst is a fetch of our
//! own, or a set that stays fresh by so much longer.

use std::time::Duration;

use super::decision::{COOLDOWN, Cause, Fetch, elapsed};
use crate::clock::Timestamp;

/// What a flight wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Why it flies.
    pub(super) cause: Cause,
    /// When it began.
    pub(super) now: Timestamp,
    /// When the set was fetched that is held, if there is one.
    pub(super) newer_than: Option<Timestamp>,
    /// How old a set may be while the issuer is down.
    pub(super) max_stale: Duration,
}

/// What a set is worth that another replica fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It will do; the issuer needn't be asked.
    Enough,
    /// The issuer must be asked, and this will do should it not answer.
    Spare,
    /// Nothing: it is no newer than what is held, or too old for anything.
    Nothing,
}

impl Wanted {
    /// What the set is worth that this fetch brought.
    ///
    /// A flight because of age takes one that needn't be renewed yet, so that the
    /// set that is ending here isn't taken again. A flight for an unknown key takes
    /// one that was itself fetched for an unknown key, within the cooldown: all
    /// replicas together then ask as often as one would. Any other set may be
    /// older than the key.
    pub(super) fn worth(&self, fetch: &Fetch) -> Worth {
        let newer = self.newer_than.is_none_or(|held| fetch.at > held);
        let age = elapsed(fetch.at, self.now);
        if !newer || age >= self.max_stale {
            return Worth::Nothing;
        }
        let young = fetch.is_young(self.max_stale, self.now);
        let enough = match (self.cause, fetch.cause) {
            (Cause::Age, _) => young,
            (Cause::UnknownKey, Cause::UnknownKey) => young && age < COOLDOWN,
            (Cause::UnknownKey, Cause::Age) => false,
        };
        if enough { Worth::Enough } else { Worth::Spare }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    /// What a set fetched then is worth to a flight at second 0.
    fn worth(wants: Cause, held: Option<i64>, fetched: i64, for_: Cause) -> Worth {
        let wanted = Wanted {
            cause: wants,
            now: at(0),
            newer_than: held.map(at),
            max_stale: Duration::from_secs(3_600),
        };
        wanted.worth(&Fetch { at: at(fetched), cause: for_, max_age: None })
    }

    #[test]
    fn a_flight_because_of_age_takes_what_is_newer_and_young() {
        for (name, held, fetched, expected) in [
            ("cold", None, 0, Worth::Enough),
            ("cold, the last young second", None, -239, Worth::Enough),
            ("cold, about to end", None, -240, Worth::Spare),
            ("cold, ended", None, -300, Worth::Spare),
            ("cold, the last second of any use", None, -3_599, Worth::Spare),
            ("cold, dead", None, -3_600, Worth::Nothing),
            ("the same set as is held", Some(-240), -240, Worth::Nothing),
            ("an older one", Some(-240), -241, Worth::Nothing),
            ("renewed by another", Some(-240), -1, Worth::Enough),
            ("newer, but about to end too", Some(-300), -240, Worth::Spare),
            ("by a clock that is ahead", Some(-240), 20, Worth::Enough),
            ("by a clock that is out of its mind", None, 61, Worth::Nothing),
            ("held by a clock that was put back", Some(9_999), 0, Worth::Nothing),
        ] {
            for fetched_for in [Cause::Age, Cause::UnknownKey] {
                assert_eq!(worth(Cause::Age, held, fetched, fetched_for), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_flight_for_an_unknown_key_takes_what_was_fetched_for_one_within_the_cooldown() {
        use Cause::{Age, UnknownKey};

        for (name, held, fetched, fetched_for, expected) in [
            ("another asked just now", -100, 0, UnknownKey, Worth::Enough),
            ("within the cooldown", -100, -29, UnknownKey, Worth::Enough),
            ("after it", -100, -30, UnknownKey, Worth::Spare),
            ("no newer than what lacks the key", -10, -10, UnknownKey, Worth::Nothing),
            ("renewed by another meanwhile", -100, -1, Age, Worth::Spare),
            ("by a clock that is ahead", -100, 20, UnknownKey, Worth::Enough),
            ("by a clock that is behind", -100, -20, UnknownKey, Worth::Enough),
            (
                "by one that is further behind than the held set is old",
                -10,
                -20,
                UnknownKey,
                Worth::Nothing,
            ),
        ] {
            assert_eq!(worth(UnknownKey, Some(held), fetched, fetched_for), expected, "{name}");
        }
    }

    #[test]
    fn what_the_issuer_says_of_age_counts_for_every_replica() {
        let wanted = Wanted {
            cause: Cause::Age,
            now: at(0),
            newer_than: None,
            max_stale: Duration::from_secs(600),
        };
        for (max_age, fetched, expected) in [
            (Some(60), -47, Worth::Enough),
            (Some(60), -48, Worth::Spare),
            (Some(1), -47, Worth::Enough),
            (Some(u64::MAX), -479, Worth::Enough),
            (Some(u64::MAX), -480, Worth::Spare),
            (Some(u64::MAX), -600, Worth::Nothing),
        ] {
            let max_age = max_age.map(Duration::from_secs);
            let fetch = Fetch { at: at(fetched), cause: Cause::Age, max_age };
            assert_eq!(wanted.worth(&fetch), expected, "{max_age:?} {fetched}");
        }
    }
}
