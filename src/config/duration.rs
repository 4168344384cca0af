//! Times as people write them: `15m`, `90s`, `1h30m`, `250ms`.

use std::time::Duration;

/// Units and their milliseconds, largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Not a time as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time such as \"15m\", \"90s\", \"1h30m\" or \"250ms\"")]
pub struct DurationUnreadable;

/// Reads one or more whole numbers with a unit each (d, h, m, s, ms), larger
/// units first. A number without a unit is not a time.
pub fn parse(text: &str) -> Result<Duration, DurationUnreadable> {
    let mut rest = text;
    let mut allowed = &UNITS[..];
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |letter| !letter.is_ascii_digit());
        let (unit, after) = split_where(after, |letter| letter.is_ascii_digit());
        let position =
            allowed.iter().position(|(name, _)| *name == unit).ok_or(DurationUnreadable)?;
        let (found, smaller) = allowed.split_at(position + 1);
        let each = found.last().map_or(0, |(_, millis)| *millis);
        let count: u64 = number.parse().map_err(|_| DurationUnreadable)?;
        millis = count
            .checked_mul(each)
            .and_then(|part| millis.checked_add(part))
            .ok_or(DurationUnreadable)?;
        (rest, allowed) = (after, smaller);
    }
    if text.is_empty() { Err(DurationUnreadable) } else { Ok(Duration::from_millis(millis)) }
}

/// The shortest way to write a time of whole milliseconds: `1h30m`.
pub fn display(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, millis) in UNITS {
        if rest >= millis {
            text.push_str(&format!("{}{name}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_people_do() {
        for (text, millis) in
            [("0s", 0), ("250ms", 250), ("90s", 90_000), ("15m", 900_000), ("1h30m", 5_400_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, shown) in [("90s", "1m30s"), ("0ms", "0s"), ("1500ms", "1s500ms"), ("24h", "1d")]
        {
            assert_eq!(display(parse(text).unwrap()), shown);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "15",
            "m",
            "15 m",
            "-5m",
            "1.5h",
            "15M",
            "30m1h",
            "1h1h",
            "5m ",
            "99999999999999999999s",
            "18446744073709551615d",
            "٣m",
        ] {
            assert_eq!(parse(text), Err(DurationUnreadable), "{text:?}");
        }
    }
}
