//! Where a configuration comes from, so that it can be read again.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Config, Mistakes, file};
use crate::macaroon::Keyring;

/// What the names of our variables begin with.
const OURS: &str = "MINTAGE__";

/// A file, and the environment over it as it was when the process began.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    environment: Vec<(String, String)>,
}

impl Source {
    /// Of the environment only what is about the configuration is kept.
    pub fn new(path: PathBuf, environment: impl Iterator<Item = (String, String)>) -> Self {
        Self { path, environment: environment.filter(|(name, _)| name.starts_with(OURS)).collect() }
    }

    /// The configuration and the keys of its keyring: see [`Config::load_with_keyring`].
    pub fn load(&self) -> Result<(Config, Keyring), Mistakes> {
        Config::load_with_keyring(&self.path, self.environment.iter().cloned())
    }

    /// The whole configuration as it is now, but for the keys.
    pub fn config(&self) -> Result<Config, Mistakes> {
        Config::load(&self.path, self.environment.iter().cloned())
    }

    /// What the file holds now, and each of these.
    pub fn look(&self, paths: &[PathBuf]) -> Seen {
        let mut hash = Sha256::new();
        for path in std::iter::once(&self.path).chain(paths) {
            hash.update(content_hash(path));
        }
        Seen(hash.finalize().into())
    }
}

/// What files held at one moment, to see whether they changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen([u8; 32]);

/// One and the same for whatever can't be read, a folder for instance.
fn content_hash(path: &Path) -> [u8; 32] {
    let content = file::content(path, super::MAX_FILE_BYTES).map(Zeroizing::new);
    content.map(|content| Sha256::digest(&*content).into()).unwrap_or_default()
}
