//! Where a configuration comes from, so that it can be read again.

use std::path::PathBuf;

use super::{Callers, Config, Mistakes, file};
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

    /// Who may call, according to the whole configuration as it is now.
    pub fn callers(&self) -> Result<Callers, Mistakes> {
        Config::load(&self.path, self.environment.iter().cloned()).map(|config| config.callers)
    }

    /// The file as it is now, to see whether it changed; empty where it can't be read.
    pub fn text(&self) -> Vec<u8> {
        file::content(&self.path, super::MAX_FILE_BYTES).unwrap_or_default()
    }
}
