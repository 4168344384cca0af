//! Caveats, asked for, stored, and told of.

use std::borrow::Cow;

use super::proto::{self, caveat::Kind};
use crate::{
    caveat::{Caveat, ReadCaveat, Texts, Unaskable, hex},
    service::Refusal,
};

/// A request asks for at most so many caveats.
const MAX_ASKED: usize = 64;

/// An index stores at most so many for one token.
const MAX_STORED: usize = 128;

/// Caveats that a Mint or an Attenuate asks for.
pub(super) fn asked(messages: Vec<proto::Caveat>) -> Result<Vec<Caveat<'static>>, Refusal> {
    if messages.len() > MAX_ASKED {
        return Err(Refusal::field("caveats", "at most 64 caveats can be asked for"));
    }
    (0..)
        .zip(messages)
        .map(|(at, message): (usize, _)| {
            let path = || format!("caveats[{at}]");
            match message.kind {
                None => Err(Refusal::field(path(), "the caveat is of no kind")),
                Some(kind) => one(kind, path),
            }
        })
        .collect()
}

fn one(kind: Kind, path: impl Fn() -> String) -> Result<Caveat<'static>, Refusal> {
    let asked: Result<_, Unaskable> = match kind {
        Kind::Expiration(wanted) => Caveat::expiration(wanted.not_before, wanted.expires_at),
        Kind::ProjectNames(wanted) => Caveat::project_names(strs(&wanted.names)),
        Kind::ProjectIds(wanted) => Caveat::project_ids(strs(&wanted.ids)),
        Kind::UserId(wanted) => Caveat::user_id(&wanted.id),
        Kind::PublisherId(wanted) => Caveat::publisher_id(&wanted.id),
        Kind::Uses(wanted) => Caveat::uses(wanted.count),
        Kind::Versions(wanted) => Caveat::versions(strs(&wanted.versions)),
        Kind::Filenames(wanted) => Caveat::filenames(strs(&wanted.filenames)),
        Kind::Digests(wanted) => Caveat::digests(wanted.sha256.iter().map(Vec::as_slice)),
        Kind::ClientNetworks(wanted) => Caveat::client_networks(strs(&wanted.networks)),
        Kind::Actions(wanted) => Caveat::actions(strs(&wanted.actions)),
        Kind::Unreadable(_) => {
            return Err(Refusal::field(path(), "an unreadable caveat can't be asked for"));
        }
    };
    asked.map_err(|refused| Refusal::from(refused).at(path()))
}

fn strs(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(String::as_str)
}

/// Caveats that the index keeps outside of a token: taken as they are, since
/// they only ever restrict.
pub(super) fn stored(messages: Vec<proto::Caveat>) -> Result<Vec<ReadCaveat<'static>>, Refusal> {
    let path = "upload_token.stored_caveats";
    if messages.len() > MAX_STORED {
        return Err(Refusal::field(path, "at most 128 caveats can be stored for a token"));
    }
    (0..)
        .zip(messages)
        .map(|(at, message): (usize, _)| match message.kind {
            None => Err(Refusal::field(format!("{path}[{at}]"), "the caveat is of no kind")),
            Some(Kind::Uses(_)) => Err(Refusal::field(
                format!("{path}[{at}].uses"),
                "uses are counted by what stands in the token, so a stored caveat can't limit them",
            )),
            Some(kind) => Ok(kept(kind)),
        })
        .collect()
}

fn kept(kind: Kind) -> ReadCaveat<'static> {
    let texts =
        |texts: Vec<String>| -> Texts<'static> { texts.into_iter().map(Into::into).collect() };
    ReadCaveat::Known(match kind {
        Kind::Expiration(kept) => {
            Caveat::Expiration { expires_at: kept.expires_at, not_before: kept.not_before }
        }
        Kind::ProjectNames(kept) => Caveat::ProjectNames(texts(kept.names)),
        Kind::ProjectIds(kept) => Caveat::ProjectIds(texts(kept.ids)),
        Kind::UserId(kept) if kept.id.is_empty() => Caveat::AnyUser,
        Kind::UserId(kept) => Caveat::UserId(kept.id.into()),
        Kind::PublisherId(kept) => Caveat::PublisherId(kept.id.into()),
        Kind::Versions(kept) => Caveat::Versions(texts(kept.versions)),
        Kind::Filenames(kept) => Caveat::Filenames(texts(kept.filenames)),
        Kind::Digests(kept) => {
            Caveat::Digests(kept.sha256.iter().map(|digest| hex(digest).into()).collect())
        }
        Kind::ClientNetworks(kept) => Caveat::ClientNetworks(texts(kept.networks)),
        Kind::Actions(kept) => Caveat::Actions(texts(kept.actions)),
        Kind::Uses(_) | Kind::Unreadable(_) => return ReadCaveat::Unreadable(b""),
    })
}

/// A caveat in an answer.
pub(super) fn told(caveat: ReadCaveat<'_>) -> proto::Caveat {
    let kind = match caveat {
        ReadCaveat::Unreadable(bytes) => Kind::Unreadable(bytes.to_vec()),
        ReadCaveat::Known(caveat) => told_kind(caveat),
    };
    proto::Caveat { kind: Some(kind) }
}

/// The same for one that is known to be readable.
pub(super) fn told_kind(caveat: Caveat<'_>) -> Kind {
    let strings = |texts: Texts<'_>| texts.into_iter().map(Cow::into_owned).collect();
    match caveat {
        Caveat::Expiration { expires_at, not_before } => {
            Kind::Expiration(proto::Expiration { expires_at, not_before })
        }
        Caveat::ProjectNames(names) => {
            Kind::ProjectNames(proto::ProjectNames { names: strings(names) })
        }
        Caveat::ProjectIds(ids) => Kind::ProjectIds(proto::ProjectIds { ids: strings(ids) }),
        Caveat::UserId(id) => Kind::UserId(proto::UserId { id: id.into_owned() }),
        Caveat::AnyUser => Kind::UserId(proto::UserId::default()),
        Caveat::PublisherId(id) => Kind::PublisherId(proto::PublisherId { id: id.into_owned() }),
        Caveat::Uses { nonce, count } => {
            Kind::Uses(proto::Uses { nonce: nonce.into_owned(), count })
        }
        Caveat::Versions(versions) => {
            Kind::Versions(proto::Versions { versions: strings(versions) })
        }
        Caveat::Filenames(names) => Kind::Filenames(proto::Filenames { filenames: strings(names) }),
        Caveat::Digests(digests) => Kind::Digests(proto::Digests {
            sha256: digests.iter().map(|digest| unhex(digest).unwrap_or_default()).collect(),
        }),
        Caveat::ClientNetworks(networks) => {
            Kind::ClientNetworks(proto::ClientNetworks { networks: strings(networks) })
        }
        Caveat::Actions(actions) => Kind::Actions(proto::Actions { actions: strings(actions) }),
    }
}

/// The bytes of lower-case hexadecimal; none for anything else.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back_and_only_in_lower_case() {
        assert_eq!(unhex(&hex(&[0, 0xab, 255])), Some(vec![0, 0xab, 255]));
        for text in ["a", "AB", "zz", "é"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
