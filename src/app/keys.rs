//! The keyring's folder, looked at again and again while the service runs.

use crate::{config::KeyringConfig, macaroon::Keyring};

/// Looks at the folder, and remembers what it said last: a mistake that stays is
/// told once.
pub(super) struct KeyFolder {
    config: KeyringConfig,
    told: String,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing that wasn't known.
    Same,
    /// Other keys than those that are held.
    Changed(Keyring),
    /// It can't be read, for another reason than the last time.
    Mistaken(String),
}

impl KeyFolder {
    pub(super) fn new(config: KeyringConfig) -> Self {
        Self { config, told: String::new() }
    }

    /// Reads the folder, and compares it with the keys that are held.
    pub(super) fn look(&mut self, held: &Keyring) -> Look {
        let (look, told) = match self.config.load_changed(held) {
            Ok(None) => (Look::Same, String::new()),
            Ok(Some(keyring)) => (Look::Changed(keyring), String::new()),
            Err(mistakes) if mistakes.to_string() == self.told => return Look::Same,
            Err(mistakes) => (Look::Mistaken(mistakes.to_string()), mistakes.to_string()),
        };
        self.told = told;
        look
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::macaroon::KeyId;

    #[test]
    fn a_change_is_told_as_long_as_it_is_not_taken_and_a_mistake_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |id: &str, text: &str| fs::write(folder.path().join(id), text).unwrap();
        write("a", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        let current = KeyId::parse("a").unwrap();
        let config = KeyringConfig { directory: folder.path().to_owned(), current };
        let held = config.load().unwrap();
        let mut keys = KeyFolder::new(config);
        let mut look = || match keys.look(&held) {
            Look::Same => "same".to_owned(),
            Look::Changed(keyring) => keyring.ids().map(KeyId::as_str).collect(),
            Look::Mistaken(sentences) => sentences.lines().count().to_string(),
        };
        assert_eq!(look(), "same");
        write("b", "broken");
        assert_eq!([look(), look(), look()], ["1", "same", "same"]);
        write("c", "broken");
        assert_eq!([look(), look()], ["2", "same"], "another mistake is news");
        fs::remove_file(folder.path().join("c")).unwrap();
        assert_eq!([look(), look()], ["1", "same"]);
        write("b", "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=");
        assert_eq!([look(), look()], ["ab", "ab"]);
        write("b", "broken");
        assert_eq!([look(), look()], ["1", "same"], "the same mistake, made again");
    }
}
