//! Moments and spans of time in words.

use std::time::Duration;

use crate::clock::Timestamp;

/// `2026-11-21 23:07:49 UTC`.
pub(crate) fn moment(moment: Timestamp) -> String {
    moment.to_string()
}

/// The same, of a Unix second; one that no calendar has stays a number.
pub(crate) fn seconds(second: i64) -> String {
    Timestamp::from_seconds(second).to_string()
}

/// `14 minutes`: a span in its largest fitting unit.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        172_800.. => (seconds / 86_400, "day"),
        7_200.. => (seconds / 3_600, "hour"),
        120.. => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// `2026-11-21 23:07:49 UTC, 3 minutes ago`, `…, in 3 minutes`, or `…, just now`.
pub(crate) fn relative(then: Timestamp, now: Timestamp) -> String {
    let moment = moment(then);
    match (now.since(then), then.since(now)) {
        (ago, ahead) if ago.as_secs() == 0 && ahead.as_secs() == 0 => format!("{moment}, just now"),
        (Duration::ZERO, ahead) => format!("{moment}, in {}", span(ahead)),
        (ago, _) => format!("{moment}, {} ago", span(ago)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_read_well() {
        let then = Timestamp::from_seconds(1_795_302_469);
        let now = then.plus(Duration::from_secs(200));
        assert_eq!(relative(then, now), "2026-11-21 23:07:49 UTC, 3 minutes ago");
        assert_eq!(relative(now, then), "2026-11-21 23:11:09 UTC, in 3 minutes");
        assert_eq!(seconds(i64::MAX), "Unix second 9223372036854");
        for (seconds, words) in
            [(0, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (7_199, "119 minutes")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
    }
}
