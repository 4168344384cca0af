//! The keyring's folder, looked at again and again while the service runs.

use crate::{
    config::KeyringConfig,
    macaroon::{KeyId, Keyring},
};

/// Looks at the folder, and remembers what it said last: a mistake that stays is
/// told once.
pub(super) struct KeyFolder {
    config: KeyringConfig,
    told: String,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) struct Look {
    /// Other keys than those that are held, or another one that mints.
    pub(super) changed: Option<Keyring>,
    /// Why not everything can be taken, if the reason isn't the last time's.
    pub(super) mistaken: Option<String>,
}

impl KeyFolder {
    pub(super) fn new(config: KeyringConfig) -> Self {
        Self { config, told: String::new() }
    }

    /// This key is to mint from the next look on that finds it.
    pub(super) fn promote(&mut self, current: KeyId) {
        self.config.current = current;
    }

    /// Whether it couldn't be read the last time.
    pub(super) fn is_mistaken(&self) -> bool {
        !self.told.is_empty()
    }

    /// Reads the folder, and compares it with the keys that are held.
    pub(super) fn look(&mut self, held: &Keyring) -> Look {
        let (changed, told) = match self.config.load_changed(held) {
            Ok(changed) => (changed, String::new()),
            Err(mistakes) => (self.without_promotion(held), mistakes.to_string()),
        };
        let mistaken = (!told.is_empty() && told != self.told).then(|| told.clone());
        self.told = told;
        Look { changed, mistaken }
    }

    /// What can be taken all the same while the key that is to mint isn't there: what it
    /// replaces goes on, and keys come and go.
    fn without_promotion(&self, held: &Keyring) -> Option<Keyring> {
        let current = held.current().clone();
        if self.config.current == current {
            return None;
        }
        let as_before = KeyringConfig { current, ..self.config.clone() };
        as_before.load_changed(held).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn a_change_is_told_as_long_as_it_is_not_taken_and_a_mistake_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |id: &str, text: &str| fs::write(folder.path().join(id), text).unwrap();
        write("a", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        let current = KeyId::parse("a").unwrap();
        let config = KeyringConfig { directory: folder.path().to_owned(), current };
        let held = config.load().unwrap();
        let mut keys = KeyFolder::new(config);
        let mut look = || told(keys.look(&held));
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

    #[test]
    fn a_key_mints_once_it_is_named_and_there_whichever_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let write = |id: &str, byte: u8| {
            let text = STANDARD.encode([byte; 32]);
            fs::write(folder.path().join(id), text).unwrap();
        };
        write("a", 1);
        let id = |text: &str| KeyId::parse(text).unwrap();
        let config = KeyringConfig { directory: folder.path().to_owned(), current: id("a") };
        let mut held = config.load().unwrap();
        let mut keys = KeyFolder::new(config);
        let mut look = |keys: &mut KeyFolder| {
            let look = keys.look(&held);
            let told = look.mistaken.unwrap_or_default();
            if let Some(changed) = look.changed {
                held = changed;
            }
            let ids: Vec<_> = held.ids().map(KeyId::as_str).collect();
            (format!("{} {}", held.current(), ids.concat()), told)
        };
        let without = |named: &str| {
            let folder = folder.path().display();
            format!("{folder}: has no key \"{named}\", which keyring.current names")
        };
        let well = |keys: &str| (keys.to_owned(), String::new());

        // The file, then its name.
        write("b", 2);
        assert_eq!(look(&mut keys), well("a ab"));
        keys.promote(id("b"));
        assert_eq!(look(&mut keys), well("b ab"));

        // Its name, then the file; meanwhile other keys come and go.
        keys.promote(id("c"));
        assert_eq!(look(&mut keys), ("b ab".to_owned(), without("c")));
        assert_eq!(look(&mut keys), well("b ab"), "told once");
        fs::remove_file(folder.path().join("a")).unwrap();
        assert_eq!(look(&mut keys), well("b b"));
        write("c", 3);
        assert_eq!(look(&mut keys), well("c bc"));

        // Neither: the one that mints is gone, and what should mint isn't there.
        keys.promote(id("d"));
        fs::remove_file(folder.path().join("c")).unwrap();
        assert_eq!(look(&mut keys), ("c bc".to_owned(), without("d")));
    }

    /// The keys that there are to take, or in how many sentences there are none.
    fn told(Look { changed, mistaken }: Look) -> String {
        match (changed, mistaken) {
            (None, None) => "same".to_owned(),
            (Some(keyring), None) => keyring.ids().map(KeyId::as_str).collect(),
            (None, Some(sentences)) => sentences.lines().count().to_string(),
            both @ (Some(_), Some(_)) => panic!("{both:?}"),
        }
    }
}
