//! Caveats in words.

use std::{borrow::Cow, time::Duration};

use crate::{
    caveat::{self, Caveat},
    cli::time::{seconds, span},
    clock::Timestamp,
    paint::harmless,
};

/// Values of one caveat that are shown; the rest is counted.
const SHOWN: usize = 12;

/// Characters of an unreadable caveat that are shown.
const SHOWN_CHARACTERS: usize = 160;

/// A caveat as a person reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Its number on the wire.
    pub(super) tag: String,
    /// What it says.
    pub(super) says: String,
    /// What can be told of it at this moment.
    pub(super) now: String,
}

/// Puts a first-party caveat into words.
pub(super) fn of(predicate: &[u8], now: Timestamp) -> Words {
    match caveat::read(predicate) {
        Ok(caveat) => {
            Words { tag: caveat.tag().to_string(), says: says(&caveat), now: judged(&caveat, now) }
        }
        Err(_) => Words {
            tag: "?".to_owned(),
            says: format!("unreadable: {}", raw(predicate)),
            now: "denies".to_owned(),
        },
    }
}

/// Puts a third-party caveat into words.
pub(super) fn of_third_party(location: &[u8]) -> Words {
    Words {
        tag: "?".to_owned(),
        says: format!("needs a proof from a third party, {}", raw(location)),
        now: "denies".to_owned(),
    }
}

/// Bytes from a stranger, cut and made harmless.
pub(super) fn raw(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    harmless(&shown)
}

/// What the caveat says.
pub(super) fn says(caveat: &Caveat<'_>) -> String {
    match caveat {
        Caveat::Expiration { expires_at, not_before } => {
            let until = seconds(*expires_at);
            match not_before {
                ..=0 => format!("until {until}"),
                _ => format!("from {} until {until}", seconds(*not_before)),
            }
        }
        Caveat::ProjectNames(names) => one_of("project", "", names),
        Caveat::ProjectIds(ids) => one_of("project", " with the id", ids),
        Caveat::UserId(id) => format!("only as user {}", harmless(id)),
        Caveat::AnyUser => "only as the user that the index has it for".to_owned(),
        Caveat::PublisherId(id) => format!(
            "only as publisher {}, and only for projects that it is registered to by then",
            harmless(id)
        ),
        Caveat::Uses { count: 1, .. } => "only once".to_owned(),
        Caveat::Uses { count, .. } => format!("at most {count} times"),
        Caveat::Versions(versions) => one_of("version", "", versions),
        Caveat::Filenames(names) => one_of("file", " named", names),
        Caveat::Digests(digests) => one_of("file", " with the SHA-256", digests),
        Caveat::ClientNetworks(networks) => match networks.as_slice() {
            [] => "from no network at all".to_owned(),
            _ => format!("only from {}", listed(networks)),
        },
        Caveat::Actions(actions) => one_of("action", "", actions),
    }
}

fn one_of(what: &str, by: &str, values: &[Cow<'_, str>]) -> String {
    match values.len() {
        0 => format!("no {what} at all"),
        1 => format!("only the {what}{by} {}", listed(values)),
        _ => format!("only the {what}s{by} {}", listed(values)),
    }
}

fn listed(values: &[Cow<'_, str>]) -> String {
    let shown: Vec<String> = values.iter().take(SHOWN).map(|value| harmless(value)).collect();
    match values.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn judged(caveat: &Caveat<'_>, now: Timestamp) -> String {
    match caveat {
        Caveat::Expiration { expires_at, not_before } => in_time(*expires_at, *not_before, now),
        Caveat::Uses { count: 0, .. } => "denies".to_owned(),
        Caveat::ProjectNames(texts)
        | Caveat::ProjectIds(texts)
        | Caveat::Versions(texts)
        | Caveat::Filenames(texts)
        | Caveat::Digests(texts)
        | Caveat::ClientNetworks(texts)
        | Caveat::Actions(texts)
            if texts.is_empty() =>
        {
            "denies".to_owned()
        }
        Caveat::Uses { .. } => "counted at use".to_owned(),
        Caveat::UserId(_)
        | Caveat::AnyUser
        | Caveat::PublisherId(_)
        | Caveat::ProjectNames(_)
        | Caveat::ProjectIds(_)
        | Caveat::Versions(_)
        | Caveat::Filenames(_)
        | Caveat::Digests(_)
        | Caveat::ClientNetworks(_)
        | Caveat::Actions(_) => "decided at use".to_owned(),
    }
}

/// As the service judges it: whole seconds, no leeway.
fn in_time(expires_at: i64, not_before: i64, now: Timestamp) -> String {
    let second = now.seconds();
    let apart = |from: i64, to: i64| {
        span(Duration::from_secs(u64::try_from(to.saturating_sub(from)).unwrap_or(0)))
    };
    if second >= expires_at {
        format!("over for {}", apart(expires_at, second))
    } else if second < not_before {
        format!("begins in {}", apart(second, not_before))
    } else {
        format!("{} left", apart(second, expires_at))
    }
}
