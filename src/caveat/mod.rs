//! Caveats: what an upload token is restricted to, and whether an access keeps
//! within it.
//!
//! On the wire a caveat is compact JSON, `[tag, field…]`. Tags 0 to 4 and three
//! legacy objects are PyPI's and mean what they mean in Warehouse
//! (`warehouse/macaroons/caveats`); 64 and up are Mintage's own. Reading is
//! strict and closed by default: whatever is not exactly of its tag's form
//! denies, because a service that shrugs at a restriction it can't read has
//! lifted it.
//!
//! Clearing is conjunction: every caveat must clear by itself, and nothing but
//! that answer is ever read out of one.

mod access;
mod asked;
mod clear;
mod judge;
mod wire;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use access::{Access, AccessProject, Action, ActionInvalid};
pub use asked::{Unaskable, finish};
pub(crate) use clear::hex;
pub use clear::{Uncleared, clear};
pub use judge::{Denial, Judgement, ReadCaveat, UseWanted, judge};
pub use wire::{Unreadable, read};

/// A file name is at most so long: what file systems take.
pub const MAX_FILENAME_BYTES: usize = 255;

/// Names, ids, versions…: borrowed from the token wherever they can be.
pub type Texts<'a> = Vec<Cow<'a, str>>;

/// One restriction, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caveat<'a> {
    /// Tag 0: `not_before <= now < expires_at`, in Unix seconds.
    Expiration {
        /// The first second at which it no longer holds.
        expires_at: i64,
        /// The first second at which it holds.
        not_before: i64,
    },
    /// Tag 1: the project's PEP 503 name is one of these.
    ProjectNames(Texts<'a>),
    /// Tag 2: the project's id is one of these.
    ProjectIds(Texts<'a>),
    /// Tag 3: the subject is this user.
    UserId(Cow<'a, str>),
    /// `{"version":1,"permissions":"user"}`: the subject is a user. PyPI's
    /// tokens of 2019 name nobody; the index's record says who it is.
    AnyUser,
    /// Tag 4: the subject is this publisher, and the publisher is registered to
    /// the project at the time of use.
    PublisherId(Cow<'a, str>),
    /// Tag 64: good for `count` allowed answers, counted per nonce.
    Uses {
        /// What is counted.
        nonce: Cow<'a, str>,
        /// How many.
        count: u32,
    },
    /// Tag 65: the release's version equals one of these (PEP 440).
    Versions(Texts<'a>),
    /// Tag 66: the file's name is one of these.
    Filenames(Texts<'a>),
    /// Tag 67: the file's SHA-256, in lower-case hexadecimal, is one of these.
    Digests(Texts<'a>),
    /// Tag 68: the client's address lies in one of these networks.
    ClientNetworks(Texts<'a>),
    /// Tag 69: the action is one of these.
    Actions(Texts<'a>),
}

/// Which tags an index has switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// PyPI's own, 0 to 4.
    Standard,
    /// Mintage's too, 64 and up.
    Extended,
}

impl Offered {
    /// Whether an index that offers this reads that caveat.
    pub fn includes(self, caveat: &Caveat<'_>) -> bool {
        match self {
            Self::Extended => true,
            Self::Standard => caveat.tag() < FIRST_EXTENDED_TAG,
        }
    }
}

/// PyPI keeps 5 to 63 for itself.
const FIRST_EXTENDED_TAG: u8 = 64;

impl Caveat<'_> {
    /// The number it begins with on the wire; for a legacy form, the number of
    /// its modern one.
    pub const fn tag(&self) -> u8 {
        match self {
            Self::Expiration { .. } => 0,
            Self::ProjectNames(_) => 1,
            Self::ProjectIds(_) => 2,
            Self::UserId(_) | Self::AnyUser => 3,
            Self::PublisherId(_) => 4,
            Self::Uses { .. } => 64,
            Self::Versions(_) => 65,
            Self::Filenames(_) => 66,
            Self::Digests(_) => 67,
            Self::ClientNetworks(_) => 68,
            Self::Actions(_) => 69,
        }
    }

    /// Its end in Unix seconds, where it has one. Not an answer, and so of use
    /// only to those who write caveats or tell people about them.
    pub const fn end(&self) -> Option<i64> {
        match self {
            Self::Expiration { expires_at, .. } => Some(*expires_at),
            Self::ProjectNames(_)
            | Self::ProjectIds(_)
            | Self::UserId(_)
            | Self::AnyUser
            | Self::PublisherId(_)
            | Self::Uses { .. }
            | Self::Versions(_)
            | Self::Filenames(_)
            | Self::Digests(_)
            | Self::ClientNetworks(_)
            | Self::Actions(_) => None,
        }
    }
}
