//! Whether the service may be sent calls, from what the probes of its store said.
//!
//! A pure decision: who probes, tells and logs stands in `app.rs`. It is quick to
//! come back and slow to go. One lost connection, or a failover that takes a second
//! or two, must not turn every replica away from its callers at once; and where the
//! store answers again, nothing is left to wait for.
//!
//! At the start it is the other way round: nobody depends on this replica yet. One
//! that has never reached its store isn't ready, so that a rollout with a wrong
//! address or password stops before it replaces what works.

use std::time::Duration;

use tokio::time::Instant;

/// For so long a store may be out of reach, seen from the beginning of the first
/// probe that failed, before the service stops being ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It was not probed yet.
    Starting,
    /// It answered the last probe.
    Ready,
    /// It answers no more, but not for long: the service still counts as ready.
    Missed {
        /// When the first probe began that failed.
        since: Instant,
    },
    /// It is out of reach, and the service isn't ready.
    Lost {
        /// When the first probe began that failed.
        since: Instant,
    },
}

/// One probe, as it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    /// Whether the store answered.
    pub(super) answered: bool,
    /// When the probe began.
    pub(super) began: Instant,
    /// When it ended.
    pub(super) ended: Instant,
}

/// What a probe changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// Ready for the first time.
    Begun,
    /// Not ready, from now on.
    Lost,
    /// Ready again.
    Back {
        /// How long the store was out of reach.
        after: Duration,
    },
}

impl Readiness {
    /// What is known after a probe, and what it changed.
    pub(super) fn after(self, probed: Probed) -> (Self, Turn) {
        if probed.answered { self.answered(probed.ended) } else { self.failed(probed) }
    }

    fn answered(self, at: Instant) -> (Self, Turn) {
        let turn = match self {
            Self::Starting => Turn::Begun,
            Self::Ready | Self::Missed { .. } => Turn::None,
            Self::Lost { since } => Turn::Back { after: at.duration_since(since) },
        };
        (Self::Ready, turn)
    }

    fn failed(self, probed: Probed) -> (Self, Turn) {
        match self {
            Self::Lost { .. } => (self, Turn::None),
            Self::Starting => (Self::Lost { since: probed.began }, Turn::Lost),
            Self::Ready => Self::missed(probed.began, probed.ended),
            Self::Missed { since } => Self::missed(since, probed.ended),
        }
    }

    fn missed(since: Instant, now: Instant) -> (Self, Turn) {
        if now.duration_since(since) < PATIENCE {
            (Self::Missed { since }, Turn::None)
        } else {
            (Self::Lost { since }, Turn::Lost)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes by when they began and ended, in milliseconds, and whether they were
    /// answered; and what each changed.
    type Story = &'static [(u64, u64, bool, &'static str)];

    const STORIES: [(&str, Story); 9] = [
        ("reached at once", &[(0, 1, true, "begun"), (1_000, 1_001, true, "")]),
        ("never reached", &[(0, 5, false, "lost"), (1_000, 1_001, false, "")]),
        ("reached late", &[(0, 1_000, false, "lost"), (1_000, 1_500, true, "back after 1500")]),
        (
            "refused for three seconds",
            &[
                (0, 1, true, "begun"),
                (1_000, 1_001, false, ""),
                (2_000, 2_001, false, ""),
                (3_000, 3_999, false, ""),
                (4_000, 4_001, false, "lost"),
                (5_000, 5_001, false, ""),
            ],
        ),
        (
            "silent for three seconds",
            &[
                (0, 1, true, "begun"),
                (1_000, 2_000, false, ""),
                (2_000, 3_000, false, ""),
                (3_000, 4_000, false, "lost"),
            ],
        ),
        (
            "one answer ends it",
            &[
                (0, 1, true, "begun"),
                (1_000, 1_001, false, ""),
                (4_000, 4_001, false, "lost"),
                (5_000, 5_001, true, "back after 4001"),
                (6_000, 6_001, true, ""),
            ],
        ),
        (
            "one answer forgives what failed before",
            &[
                (0, 1, true, "begun"),
                (1_000, 1_001, false, ""),
                (3_000, 3_001, false, ""),
                (3_500, 3_501, true, ""),
                (4_500, 4_501, false, ""),
                (7_400, 7_499, false, ""),
                (7_500, 7_501, false, "lost"),
            ],
        ),
        (
            "lost again",
            &[
                (0, 1, false, "lost"),
                (1_000, 1_001, true, "back after 1001"),
                (2_000, 2_001, false, ""),
                (5_000, 5_001, false, "lost"),
                (9_000, 9_001, true, "back after 7001"),
            ],
        ),
        ("one long silence", &[(0, 1, true, "begun"), (1_000, 4_000, false, "lost")]),
    ];

    #[test]
    fn it_goes_after_three_seconds_and_comes_back_with_the_first_answer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (name, story) in STORIES {
            let mut readiness = Readiness::Starting;
            for (began, ended, answered, expected) in story {
                let probed = Probed { answered: *answered, began: at(*began), ended: at(*ended) };
                let (next, turn) = readiness.after(probed);
                readiness = next;
                let told = match turn {
                    Turn::None => String::new(),
                    Turn::Begun => "begun".to_owned(),
                    Turn::Lost => "lost".to_owned(),
                    Turn::Back { after } => format!("back after {}", after.as_millis()),
                };
                assert_eq!(told, *expected, "{name}, at {ended}");
            }
        }
    }
}
