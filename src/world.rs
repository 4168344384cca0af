//! Time and chance for commands and the demo: where they come in by the door.

use crate::clock::Timestamp;

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "a command is told the time here, and only here")]
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_micros(0).plus(since.unwrap_or_default())
}

/// Random bytes. None, where the system has none to give.
#[expect(clippy::disallowed_methods, reason = "a command gets its chance here, and only here")]
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}
