//! Caveats that somebody asks for in a Mint or an Attenuate: put in their normal
//! form, and refused where no access could ever clear them. Such a caveat is a
//! mistake, and better heard of now than at the upload.

use std::{borrow::Cow, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ipnet::{IpNet, Ipv4Net};
use pep440_rs::Version;

use super::{Action, Caveat, MAX_FILENAME_BYTES, Texts, clear::quoted, hex};
use crate::{macaroon::Subject, publisher::ProjectName};

/// Why a caveat can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say what each one means")]
pub enum Unaskable {
    #[error("the list is empty, so nothing could ever be allowed")]
    Empty,
    #[error("it would end at {expires_at}, before it begins at {not_before}")]
    NeverValid { not_before: i64, expires_at: i64 },
    #[error("a use count of 0 would allow nothing")]
    NoUses,
    #[error("{} is not a project name (PEP 508)", quoted(.0))]
    ProjectName(String),
    #[error("an id is 1 to 128 characters of printable ASCII")]
    Id,
    #[error("{} is not a version (PEP 440)", quoted(.0))]
    Version(String),
    #[error("{} is not a file name", quoted(.0))]
    Filename(String),
    #[error("a SHA-256 has 32 bytes, and this has {0}")]
    Digest(usize),
    #[error("{} is not an IPv4 or IPv6 network in CIDR form", quoted(.0))]
    Network(String),
    #[error("{} is not an action: 1 to 64 characters out of a-z, 0-9, \"_\" and \"-\"", quoted(.0))]
    Action(String),
}

impl Caveat<'static> {
    /// Asks for an interval, in Unix seconds.
    pub fn expiration(not_before: i64, expires_at: i64) -> Result<Self, Unaskable> {
        if not_before < expires_at {
            Ok(Self::Expiration { expires_at, not_before })
        } else {
            Err(Unaskable::NeverValid { not_before, expires_at })
        }
    }

    /// Asks for projects, by any spelling of their names.
    pub fn project_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, Unaskable> {
        texts(names, |name| {
            let parsed = ProjectName::parse(name);
            parsed
                .map(|name| name.as_str().to_owned())
                .map_err(|_| Unaskable::ProjectName(name.into()))
        })
        .map(Self::ProjectNames)
    }

    /// Asks for projects, by the index's own ids.
    pub fn project_ids<'i>(ids: impl IntoIterator<Item = &'i str>) -> Result<Self, Unaskable> {
        texts(ids, subject_id).map(Self::ProjectIds)
    }

    /// Asks for a user.
    pub fn user_id(id: &str) -> Result<Self, Unaskable> {
        subject_id(id).map(|id| Self::UserId(id.into()))
    }

    /// Asks for a publisher.
    pub fn publisher_id(id: &str) -> Result<Self, Unaskable> {
        subject_id(id).map(|id| Self::PublisherId(id.into()))
    }

    /// Asks for a number of uses. Its nonce must be set before it is written:
    /// see [`finish`].
    pub fn uses(count: u32) -> Result<Self, Unaskable> {
        if count == 0 { Err(Unaskable::NoUses) } else { Ok(Self::Uses { nonce: "".into(), count }) }
    }

    /// Asks for versions.
    pub fn versions<'v>(versions: impl IntoIterator<Item = &'v str>) -> Result<Self, Unaskable> {
        texts(versions, |version| match Version::from_str(version) {
            Ok(_) => Ok(version.to_owned()),
            Err(_) => Err(Unaskable::Version(version.to_owned())),
        })
        .map(Self::Versions)
    }

    /// Asks for files, by name.
    pub fn filenames<'f>(names: impl IntoIterator<Item = &'f str>) -> Result<Self, Unaskable> {
        texts(names, |name| {
            let odd = name.contains(['/', '\\']) || name.contains(char::is_control);
            if odd || !(1..=MAX_FILENAME_BYTES).contains(&name.len()) {
                Err(Unaskable::Filename(name.to_owned()))
            } else {
                Ok(name.to_owned())
            }
        })
        .map(Self::Filenames)
    }

    /// Asks for files, by SHA-256.
    pub fn digests<'d>(digests: impl IntoIterator<Item = &'d [u8]>) -> Result<Self, Unaskable> {
        let digests: Texts<'static> = digests
            .into_iter()
            .map(|digest| match digest.len() {
                32 => Ok(hex(digest).into()),
                other => Err(Unaskable::Digest(other)),
            })
            .collect::<Result<_, _>>()?;
        not_empty(digests).map(Self::Digests)
    }

    /// Asks for client networks. Bits beyond the prefix are cleared, and IPv4 in
    /// its IPv6 form becomes IPv4, as a client's address does.
    pub fn client_networks<'n>(
        networks: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, Unaskable> {
        texts(networks, |network| match network.parse::<IpNet>() {
            Ok(network) => Ok(canonical(network.trunc()).to_string()),
            Err(_) => Err(Unaskable::Network(network.to_owned())),
        })
        .map(Self::ClientNetworks)
    }

    /// Asks for actions.
    pub fn actions<'a>(actions: impl IntoIterator<Item = &'a str>) -> Result<Self, Unaskable> {
        texts(actions, |action| match Action::parse(action) {
            Ok(parsed) if !action.is_empty() => Ok(parsed.as_str().to_owned()),
            _ => Err(Unaskable::Action(action.to_owned())),
        })
        .map(Self::Actions)
    }
}

/// Puts asked caveats in the order in which they are written, and names what
/// their uses are counted under.
///
/// Expirations go before the rest, because a count needs an end before it (see
/// [`super::UseWanted::until`]).
pub fn finish(mut caveats: Vec<Caveat<'static>>, random: &[u8; 16]) -> Vec<Caveat<'static>> {
    caveats.sort_by_key(|caveat| !matches!(caveat, Caveat::Expiration { .. }));
    let nonces = caveats.iter_mut().filter_map(|caveat| match caveat {
        Caveat::Uses { nonce, .. } => Some(nonce),
        _ => None,
    });
    for (at, nonce) in nonces.enumerate() {
        let random = URL_SAFE_NO_PAD.encode(random);
        *nonce = Cow::Owned(if at == 0 { random } else { format!("{random}.{at}") });
    }
    caveats
}

fn canonical(network: IpNet) -> IpNet {
    let own = match network {
        IpNet::V4(_) => None,
        IpNet::V6(mapped) => mapped
            .prefix_len()
            .checked_sub(MAPPED_PREFIX_BITS)
            .zip(mapped.addr().to_ipv4_mapped())
            .and_then(|(bits, address)| Ipv4Net::new(address, bits).ok()),
    };
    own.map_or(network, IpNet::V4)
}

/// `::ffff:0:0/96` is IPv4 (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX_BITS: u8 = 96;

fn texts<'t>(
    items: impl IntoIterator<Item = &'t str>,
    normal: impl Fn(&str) -> Result<String, Unaskable>,
) -> Result<Texts<'static>, Unaskable> {
    let texts: Texts<'static> =
        items.into_iter().map(|item| normal(item).map(Cow::Owned)).collect::<Result<_, _>>()?;
    not_empty(texts)
}

fn not_empty(texts: Texts<'static>) -> Result<Texts<'static>, Unaskable> {
    if texts.is_empty() { Err(Unaskable::Empty) } else { Ok(texts) }
}

fn subject_id(id: &str) -> Result<String, Unaskable> {
    match Subject::user(id) {
        Ok(_) => Ok(id.to_owned()),
        Err(_) => Err(Unaskable::Id),
    }
}
