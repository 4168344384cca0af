//! The master keys, one file each.
//!
//! ```toml
//! [keyring]
//! directory = "keys"
//! current = "2026-11"
//! ```
//!
//! A file's name is the key's id, its content at least 32 random bytes in
//! standard base64, with or without a line end. Names that begin with a dot are
//! left alone and links are followed, so that a Kubernetes secret can be mounted
//! as it is. To change keys: add a file, wait until every replica has it, then
//! move `current`; take the old file away when its last token has ended. All of it
//! is taken while the service runs.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::macaroon::{KeyId, Keyring, MasterKey};

use super::{
    file,
    mistake::{Mistake, Mistakes},
    reader::{Section, string},
};

/// Longest key file, in bytes: many times what any key needs.
const MAX_FILE_BYTES: usize = 4_096;

/// The most keys. One a month for five years, and room.
const MAX_KEYS: usize = 64;

/// Where the master keys are, and which one mints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringConfig {
    /// The folder with one file per key.
    pub directory: PathBuf,
    /// The key that mints.
    pub current: KeyId,
}

/// Reads `[keyring]`, not the keys.
pub(super) fn read(mut section: Section<'_>) -> Option<KeyringConfig> {
    let path = section.path_reader();
    let directory = section.required("directory", path);
    let current = section.required("current", |found| {
        KeyId::parse(&string(found)?).map_err(|error| format!("is no key id: {error}"))
    });
    section.end();
    Some(KeyringConfig { directory: directory?, current: current? })
}

impl KeyringConfig {
    /// Reads every key. All mistakes at once; none of them shows a key's bytes.
    pub fn load(&self) -> Result<Keyring, Mistakes> {
        let mut reading = KeyFiles::default();
        match key_files(&self.directory) {
            Ok(files) => files.iter().for_each(|path| reading.read(path)),
            Err(error) => reading.wrong(&self.directory, format!("can't be read: {error}")),
        }
        reading.into_keyring(self)
    }

    /// Reads every key again: a new keyring, or None where it is the one that is
    /// held already.
    pub fn load_changed(&self, held: &Keyring) -> Result<Option<Keyring>, Mistakes> {
        let fresh = self.load()?;
        let same = fresh.current() == held.current()
            && fresh.ids().eq(held.ids())
            && fresh.ids().all(|id| fresh.key(id) == held.key(id));
        Ok(if same { None } else { Some(fresh) })
    }
}

/// The paths of all key files, sorted by name.
fn key_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        if !path.file_name().is_some_and(hidden) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What was read of the keyring's files so far.
#[derive(Default)]
struct KeyFiles {
    keys: BTreeMap<KeyId, MasterKey>,
    spoilt: Vec<KeyId>,
    mistakes: Vec<Mistake>,
}

impl KeyFiles {
    fn read(&mut self, path: &Path) {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        let id = match KeyId::parse(&name) {
            Ok(id) => id,
            Err(error) => return self.wrong(path, format!("is not named like a key: {error}")),
        };
        match master_key(path) {
            Ok(key) => self.add(path, id, key),
            Err(sentence) => {
                self.spoilt.push(id);
                self.wrong(path, sentence);
            }
        }
    }

    fn add(&mut self, path: &Path, id: KeyId, key: MasterKey) {
        match self.keys.iter().find(|(_, other)| **other == key) {
            Some((other, _)) => {
                let sentence = format!("is the same secret as the key \"{other}\"");
                self.spoilt.push(id);
                self.wrong(path, sentence);
            }
            None => drop(self.keys.insert(id, key)),
        }
    }

    fn wrong(&mut self, path: &Path, sentence: impl Into<String>) {
        let place = path.display().to_string();
        self.mistakes.push(Mistake { place, sentence: sentence.into() });
    }

    fn into_keyring(mut self, config: &KeyringConfig) -> Result<Keyring, Mistakes> {
        let found = self.keys.len() + self.spoilt.len();
        if found > MAX_KEYS {
            let sentence = format!("holds {found} keys, and at most {MAX_KEYS} are read");
            self.wrong(&config.directory, sentence);
        }
        let current = &config.current;
        let unreadable = self.spoilt.contains(current) || found == 0 && !self.mistakes.is_empty();
        if !self.keys.contains_key(current) && !unreadable {
            let sentence = format!("has no key \"{current}\", which keyring.current names");
            self.wrong(&config.directory, sentence);
        }
        if !self.mistakes.is_empty() {
            return Mistakes::or(self.mistakes, None);
        }
        Keyring::new(self.keys, current.clone()).map_err(|error| {
            Mistakes::one(config.directory.display().to_string(), error.to_string())
        })
    }
}

fn master_key(path: &Path) -> Result<MasterKey, String> {
    let content =
        file::secret(path, MAX_FILE_BYTES).map_err(|error| format!("can't be read: {error}"))?;
    if content.len() > MAX_FILE_BYTES {
        return Err(format!("is longer than {MAX_FILE_BYTES} bytes, so it is no key"));
    }
    let mut bytes = Zeroizing::new(vec![0; MAX_FILE_BYTES]);
    let length = STANDARD
        .decode_slice(content.trim_ascii_end(), &mut bytes)
        .map_err(|_| "does not hold one line of standard base64".to_owned())?;
    MasterKey::new(bytes.get(..length).unwrap_or_default())
        .map_err(|_| format!("holds {length} bytes; a key has at least {}", MasterKey::MIN_BYTES))
}
