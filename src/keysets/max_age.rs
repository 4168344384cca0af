//! What a `Cache-Control` header says of freshness (RFC 9111, section 5.2.2).

use std::time::Duration;

/// For how long the answer calls itself fresh; None where it doesn't say, or
/// says it unreadably. Of several ages the shortest counts; `no-store` and
/// `no-cache` are an age of zero. A shared cache's `s-maxage` is not for us.
pub(super) fn max_age<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Duration> {
    headers.flat_map(|header| header.split(',')).filter_map(|part| age(part.trim())).min()
}

fn age(directive: &str) -> Option<Duration> {
    let (name, value) = match directive.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (directive, None),
    };
    if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
        return Some(Duration::ZERO);
    }
    let digits = value.filter(|_| name.eq_ignore_ascii_case("max-age"))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than fit is a very long time, as the RFC has it.
    Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_says() {
        for (headers, seconds) in [
            (&["max-age=60"][..], Some(60)),
            (&["public, Max-Age = 300 , must-revalidate"], Some(300)),
            (&["max-age=300", "max-age=60"], Some(60)),
            (&["max-age=60, no-cache"], Some(0)),
            (&["no-store"], Some(0)),
            (&["max-age=99999999999999999999999"], Some(u64::MAX)),
            (&["max-age=-1"], None),
            (&["max-age=+5"], None),
            (&["max-age=1.5"], None),
            (&["max-age=\"60\""], None),
            (&["max-age="], None),
            (&["max-age"], None),
            (&["s-maxage=60, public"], None),
            (&["x-max-age=60"], None),
            (&[""], None),
            (&[], None),
        ] {
            let said = max_age(headers.iter().copied());
            assert_eq!(said, seconds.map(Duration::from_secs), "{headers:?}");
        }
    }
}
