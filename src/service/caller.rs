//! Who calls the service, and what they may do. Whoever reaches Mint for a user
//! can become that user, so every right is given by name.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// One thing that a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Mint for a CI job that proves itself.
    MintPublisher,
    /// Mint for a user, on the caller's word.
    MintUser,
    /// Verify upload tokens and ID tokens.
    Verify,
    /// Narrow upload tokens.
    Attenuate,
    /// Revoke upload tokens.
    Revoke,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 5] =
        [Self::MintPublisher, Self::MintUser, Self::Verify, Self::Attenuate, Self::Revoke];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MintPublisher => "mint-publisher",
            Self::MintUser => "mint-user",
            Self::Verify => "verify",
            Self::Attenuate => "attenuate",
            Self::Revoke => "revoke",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a right is one of mint-publisher, mint-user, verify, attenuate and revoke")]
pub struct RightUnknown;

impl FromStr for Right {
    type Err = RightUnknown;

    fn from_str(name: &str) -> Result<Self, RightUnknown> {
        Self::ALL.into_iter().find(|right| right.name() == name).ok_or(RightUnknown)
    }
}

/// A service that calls this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name, in the audit trail and in front of its request ids.
    pub name: String,
    /// What it may do.
    pub may: BTreeSet<Right>,
    /// At which indexes. None: at all of them.
    pub indexes: Option<BTreeSet<String>>,
}

impl Caller {
    /// The caller where none is configured: the mesh, or the loopback interface,
    /// decides who gets here.
    pub fn anonymous() -> Self {
        Self { name: "anonymous".to_owned(), may: Right::ALL.into(), indexes: None }
    }

    pub(super) fn may_at(&self, index: &str) -> bool {
        self.indexes.as_ref().is_none_or(|indexes| indexes.contains(index))
    }
}
