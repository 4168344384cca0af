//! Whether one caveat allows one access.

use std::{borrow::Cow, str::FromStr};

use ipnet::IpNet;
use pep440_rs::Version;

use super::{Access, Caveat};
use crate::{clock::Timestamp, macaroon::Subject};

/// Why a caveat does not allow an access. The sentence may be shown to the bearer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say what each one means")]
pub enum Uncleared {
    #[error("the token holds a restriction that this service cannot read")]
    Unreadable,
    #[error(
        "the token limits its uses, and the expiration that must stand before that limit is missing"
    )]
    UsesWithoutEnd,
    #[error("the token holds a restriction (tag {tag}) that this index has not switched on")]
    NotOffered { tag: u8 },
    #[error("the token expired at {}, and now it is {}", second(.expires_at), second(.now))]
    Expired { expires_at: i64, now: i64 },
    #[error("the token is not valid before {}, and now it is {}", second(.not_before), second(.now))]
    NotYetValid { not_before: i64, now: i64 },
    #[error("the token is for {allowed}, and this is for {found}")]
    Project { allowed: String, found: String },
    #[error("the token was narrowed to another user than the one it was minted for")]
    User,
    #[error("the token was narrowed to a user, and was minted for a publisher")]
    SubjectNotUser,
    #[error("the token was narrowed to another publisher than the one it was minted for")]
    Publisher,
    #[error("the token's publisher can only act on a project, and this concerns none")]
    PublisherWithoutProject,
    #[error("the token's publisher is not, or no longer, registered to the project \"{project}\"")]
    PublisherNotRegistered { project: String },
    #[error("the token has no use left: it was good for {count}")]
    UsesSpent { count: u32 },
    #[error("the token is for {allowed}, and this is {found}")]
    Version { allowed: String, found: String },
    #[error("the token is for {allowed}, and this is {found}")]
    Filename { allowed: String, found: String },
    #[error("the token is for other contents: the file's SHA-256 is {found}")]
    Digest { found: String },
    #[error("the token is for use from {allowed}, and this comes from {found}")]
    ClientNetwork { allowed: String, found: String },
    #[error("the token is for {allowed}, and this is {found}")]
    Action { allowed: String, found: String },
}

/// Holds one caveat against one access. A Uses caveat clears here while its count
/// is not 0; whether a use is left only the store can tell.
pub fn clear(caveat: &Caveat<'_>, access: &Access<'_>) -> Result<(), Uncleared> {
    match caveat {
        Caveat::Expiration { expires_at, not_before } => in_time(*expires_at, *not_before, access),
        Caveat::ProjectNames(names) => {
            project(names, "project", access, |project| Some(&project.name))
        }
        Caveat::ProjectIds(ids) => project(ids, "project id", access, |project| project.id),
        Caveat::UserId(id) => user(id, access),
        Caveat::AnyUser => match access.subject {
            Subject::User(_) => Ok(()),
            Subject::Publisher(_) => Err(Uncleared::SubjectNotUser),
        },
        Caveat::PublisherId(id) => publisher(id, access),
        Caveat::Uses { count: 0, .. } => Err(Uncleared::UsesSpent { count: 0 }),
        Caveat::Uses { .. } => Ok(()),
        Caveat::Versions(versions) => version(versions, access),
        Caveat::Filenames(names) => {
            let found = access.filename;
            one_of(names, found).ok_or_else(|| Uncleared::Filename {
                allowed: listed("file", names),
                found: found.map_or_else(|| "no named file".to_owned(), quoted),
            })
        }
        Caveat::Digests(digests) => {
            let found = access.sha256.map(|digest| hex(&digest));
            one_of(digests, found.as_deref()).ok_or_else(|| Uncleared::Digest {
                found: found.unwrap_or_else(|| "not known here".to_owned()),
            })
        }
        Caveat::ClientNetworks(networks) => client(networks, access),
        Caveat::Actions(actions) => {
            let found = access.action.as_str();
            one_of(actions, Some(found)).ok_or_else(|| Uncleared::Action {
                allowed: listed("action", actions),
                found: quoted(found),
            })
        }
    }
}

fn in_time(expires_at: i64, not_before: i64, access: &Access<'_>) -> Result<(), Uncleared> {
    // Whole seconds and no leeway, as in Warehouse: with whole bounds the
    // fraction of the present second decides nothing.
    let now = access.now.seconds();
    if now >= expires_at {
        Err(Uncleared::Expired { expires_at, now })
    } else if now < not_before {
        Err(Uncleared::NotYetValid { not_before, now })
    } else {
        Ok(())
    }
}

fn project<'p>(
    allowed: &[Cow<'_, str>],
    what: &str,
    access: &'p Access<'_>,
    key: impl Fn(&'p super::AccessProject<'_>) -> Option<&'p str>,
) -> Result<(), Uncleared> {
    one_of(allowed, access.project.as_ref().and_then(key)).ok_or_else(|| Uncleared::Project {
        allowed: listed(what, allowed),
        found: access
            .project
            .as_ref()
            .map_or_else(|| "no project".to_owned(), |project| quoted(&project.name)),
    })
}

fn user(id: &str, access: &Access<'_>) -> Result<(), Uncleared> {
    match access.subject {
        Subject::User(subject) if subject == id => Ok(()),
        Subject::User(_) => Err(Uncleared::User),
        Subject::Publisher(_) => Err(Uncleared::SubjectNotUser),
    }
}

fn publisher(id: &str, access: &Access<'_>) -> Result<(), Uncleared> {
    if !matches!(access.subject, Subject::Publisher(subject) if subject == id) {
        return Err(Uncleared::Publisher);
    }
    let Some(project) = &access.project else {
        return Err(Uncleared::PublisherWithoutProject);
    };
    if access.publisher_ids.iter().any(|registered| registered == id) {
        Ok(())
    } else {
        Err(Uncleared::PublisherNotRegistered { project: project.name.clone() })
    }
}

fn version(allowed: &[Cow<'_, str>], access: &Access<'_>) -> Result<(), Uncleared> {
    let found = access.version.as_ref();
    let equal = |text: &Cow<'_, str>| found == Version::from_str(text).ok().as_ref();
    if found.is_some() && allowed.iter().any(equal) {
        Ok(())
    } else {
        Err(Uncleared::Version {
            allowed: listed("version", allowed),
            found: found
                .map_or_else(|| "no version".to_owned(), |version| quoted(&version.to_string())),
        })
    }
}

fn client(allowed: &[Cow<'_, str>], access: &Access<'_>) -> Result<(), Uncleared> {
    let holds = |text: &Cow<'_, str>| {
        text.parse::<IpNet>().ok().zip(access.client_ip).is_some_and(|(net, ip)| net.contains(&ip))
    };
    if allowed.iter().any(holds) {
        Ok(())
    } else {
        Err(Uncleared::ClientNetwork {
            allowed: listed("network", allowed),
            found: access
                .client_ip
                .map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string()),
        })
    }
}

/// Equal to one of them, byte for byte.
fn one_of(allowed: &[Cow<'_, str>], found: Option<&str>) -> Option<()> {
    let found = found?;
    allowed.iter().any(|one| one == found).then_some(())
}

/// Names shown in a denial; a longer list is cut, as the sentence goes to people.
const SHOWN: usize = 3;

/// Characters of one name shown in a denial: names come from strangers.
const SHOWN_CHARACTERS: usize = 80;

fn listed(what: &str, items: &[Cow<'_, str>]) -> String {
    let shown = items.iter().take(SHOWN).map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    let plural = if items.len() == 1 { "" } else { "s" };
    match items.len() {
        0 => format!("no {what} at all"),
        count if count > SHOWN => format!("the {what}s {shown} and {} more", count - SHOWN),
        _ => format!("the {what}{plural} {shown}"),
    }
}

/// A Unix second, for people.
fn second(second: &i64) -> Timestamp {
    Timestamp::from_seconds(*second)
}

/// In quotation marks, cut, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARACTERS)
        .map(|one| if one.is_control() { '\u{fffd}' } else { one })
        .collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(digit).collect()
}
