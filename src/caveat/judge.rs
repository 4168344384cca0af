//! All caveats of one token against one access. Pure: what only the store can
//! tell comes out as uses to spend.

use super::{Access, Caveat, Offered, Uncleared, clear, read};
use crate::macaroon::{Embedded, VerifiedMacaroon};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Judgement<'a> {
    /// Every caveat that refused, in order: all are held against the access even
    /// after one refused, so that the bearer hears everything at once.
    pub denials: Vec<Denial>,
    /// What the store must still spend, where nothing refused.
    pub uses: Vec<UseWanted>,
    /// The embedded caveats, in order.
    pub caveats: Vec<ReadCaveat<'a>>,
    /// The earliest end among the embedded expirations, in Unix seconds.
    pub expires_at: Option<i64>,
}

/// One caveat that refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Its position: embedded caveats first, then stored ones.
    pub caveat: u32,
    /// Why.
    pub why: Uncleared,
}

/// One use that must be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseWanted {
    /// Position of its caveat.
    pub caveat: u32,
    /// What is counted.
    pub nonce: String,
    /// How many allowed answers it is good for.
    pub count: u32,
    /// Until when the count must be kept, in Unix seconds: the earliest end
    /// among the expirations *before* it, since those are in every token that
    /// shares this count.
    pub until: i64,
}

/// An embedded caveat, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadCaveat<'a> {
    /// Read.
    Known(Caveat<'a>),
    /// Not of any form that this version knows, or a third party's.
    Unreadable(&'a [u8]),
}

impl<'a> ReadCaveat<'a> {
    /// Reads an embedded caveat.
    pub fn of(embedded: Embedded<'a>) -> Self {
        match embedded {
            Embedded::FirstParty(predicate) => {
                read(predicate).map_or(Self::Unreadable(predicate), Self::Known)
            }
            Embedded::ThirdParty { identifier, .. } => Self::Unreadable(identifier),
        }
    }
}

/// Holds every caveat against the access: the embedded ones, then those that
/// the index stores for the token.
pub fn judge<'a>(
    macaroon: VerifiedMacaroon<'a>,
    stored: &[ReadCaveat<'_>],
    access: &Access<'_>,
    offered: Offered,
) -> Judgement<'a> {
    let caveats: Vec<_> = macaroon.caveats().map(ReadCaveat::of).collect();
    let expires_at = caveats.iter().filter_map(ReadCaveat::end).min();
    let (mut denials, mut uses, mut end) = (Vec::new(), Vec::new(), None);
    for (caveat, read) in (0..).zip(caveats.iter().chain(stored)) {
        match weigh(read, access, offered, end) {
            Err(why) => denials.push(Denial { caveat, why }),
            Ok(None) => {}
            Ok(Some(counted)) => uses.push(UseWanted { caveat, ..counted }),
        }
        end = earlier(end, read.end());
    }
    Judgement { denials, uses, caveats, expires_at }
}

/// One caveat: refused, cleared, or cleared while uses last.
fn weigh(
    read: &ReadCaveat<'_>,
    access: &Access<'_>,
    offered: Offered,
    end_so_far: Option<i64>,
) -> Result<Option<UseWanted>, Uncleared> {
    let caveat = match read {
        ReadCaveat::Unreadable(_) => return Err(Uncleared::Unreadable),
        ReadCaveat::Known(caveat) => caveat,
    };
    if !offered.includes(caveat) {
        return Err(Uncleared::NotOffered { tag: caveat.tag() });
    }
    clear(caveat, access)?;
    match caveat {
        Caveat::Uses { nonce, count } => {
            // An expiration after the count could be missing in a sibling that
            // outlives this token, and would then be no end to keep it until. It
            // would also make a narrower token good for more than a wider one.
            let until = end_so_far.ok_or(Uncleared::UsesWithoutEnd)?;
            let nonce = nonce.clone().into_owned();
            Ok(Some(UseWanted { caveat: 0, nonce, count: *count, until }))
        }
        _ => Ok(None),
    }
}

impl ReadCaveat<'_> {
    /// Its end in Unix seconds, where it has one.
    pub fn end(&self) -> Option<i64> {
        match self {
            Self::Known(caveat) => caveat.end(),
            Self::Unreadable(_) => None,
        }
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (end, None) | (None, end) => end,
    }
}
