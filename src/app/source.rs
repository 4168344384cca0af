//! The configuration's file, and those that it names, looked at again and again while
//! the service runs: who may call, which key mints, and what the store is reached with
//! are taken from there without a restart, and nothing else.

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{KEYRING_INTERVAL, instruments::Reloads, parts, store};
use crate::{
    config::{Callers, Config, Seen, Source, StoreConfig},
    grpc::SharedCallers,
    macaroon::KeyId,
    store::SharedCredentials,
};

/// What the service runs with, and the file that it came from.
pub(super) struct SourceFile {
    source: Source,
    takers: Takers,
    /// What is in use.
    held: Config,
    /// The files as they were when all was well with them, and which those were.
    seen: Option<Seen>,
    paths: Vec<PathBuf>,
    /// What was wrong the last time: a mistake that stays is told once.
    told: String,
    /// What else changed, once it was told: it waits for a restart.
    waiting: Option<Config>,
}

/// Who takes what changed.
pub(super) struct Takers {
    /// Those that calls are held against.
    pub(super) callers: SharedCallers,
    /// What the store's connections are opened with, if there are any.
    pub(super) credentials: Option<SharedCredentials>,
    /// The key that mints, if the keyring has it.
    pub(super) current: watch::Sender<KeyId>,
}

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nothing that wasn't known.
    Same,
    /// Something else than before.
    Changed(Changed),
    /// It can't be taken, for another reason than the last time.
    Mistaken(String),
}

/// What changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changed {
    callers: bool,
    credentials: bool,
    /// The keyring says whether it follows.
    current: bool,
    /// Anything else, which is not taken.
    rest: bool,
}

impl SourceFile {
    /// `held` is what `source` said when the service started.
    pub(super) fn new(source: Source, takers: Takers, held: Config) -> Self {
        let (seen, told, waiting) = (None, String::new(), None);
        Self { source, takers, paths: held.paths.clone(), held, seen, told, waiting }
    }

    /// Takes every change, as often as the keyring's folder is looked at.
    pub(super) async fn watch(mut self, reloads: Arc<Reloads>) -> Infallible {
        let mut ticks = interval(KEYRING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look() {
                Look::Same => {}
                Look::Changed(changed) => {
                    if changed.is_taken() {
                        reloads.configuration.taken();
                    }
                    changed.tell();
                }
                Look::Mistaken(mistakes) => {
                    tracing::error!(%mistakes, "the configuration can't be read again; the one in memory stays");
                }
            }
            reloads.configuration.looked(!self.told.is_empty());
        }
    }

    fn look(&mut self) -> Look {
        let seen = self.source.look(&self.paths);
        if self.seen.as_ref() == Some(&seen) {
            self.told.clear();
            return Look::Same;
        }
        let (look, told) = match self.taken() {
            Ok(changed) => {
                self.seen = Some(seen);
                let look =
                    if changed == Changed::default() { Look::Same } else { Look::Changed(changed) };
                (look, String::new())
            }
            Err(mistakes) if mistakes == self.told => return Look::Same,
            Err(mistakes) => (Look::Mistaken(mistakes.clone()), mistakes),
        };
        self.told = told;
        look
    }

    fn taken(&mut self) -> Result<Changed, String> {
        let mut fresh = self.source.config().map_err(|mistakes| mistakes.to_string())?;
        // Whether callers come from the configuration, or from a mesh that decides, is
        // settled when the port is opened.
        let (known, told) = (is_known(&self.held.callers), is_known(&fresh.callers));
        if known != told {
            return Err(
                "callers: the first one comes, and the last one goes, with a restart".into()
            );
        }
        self.paths.clone_from(&fresh.paths);
        let changed = Changed {
            callers: self.take_callers(&fresh),
            credentials: self.take_credentials(&fresh),
            current: self.take_current(&fresh),
            rest: false,
        };
        leave_to_others(&mut fresh, &self.held);
        if let Some(waiting) = &mut self.waiting {
            leave_to_others(waiting, &self.held);
        }
        let rest = fresh != self.held && self.waiting.as_ref() != Some(&fresh);
        self.waiting = (fresh != self.held).then_some(fresh);
        Ok(Changed { rest, ..changed })
    }

    fn take_callers(&mut self, fresh: &Config) -> bool {
        let changed = fresh.callers != self.held.callers;
        if changed {
            self.takers.callers.replace(parts::callers(&fresh.callers));
            self.held.callers.clone_from(&fresh.callers);
        }
        changed
    }

    fn take_credentials(&mut self, fresh: &Config) -> bool {
        let (Some(credentials), StoreConfig::Redis(held), StoreConfig::Redis(fresh)) =
            (&self.takers.credentials, &mut self.held.store, &fresh.store)
        else {
            return false;
        };
        let next = held.with_credentials_of(fresh);
        let changed = next != **held;
        if changed {
            credentials.replace(store::credentials(&next));
            **held = next;
        }
        changed
    }

    fn take_current(&mut self, fresh: &Config) -> bool {
        let current = &fresh.keyring.current;
        let changed = *current != self.held.keyring.current;
        if changed {
            self.takers.current.send_replace(current.clone());
            self.held.keyring.current.clone_from(current);
        }
        changed
    }
}

const fn is_known(callers: &Callers) -> bool {
    match callers {
        Callers::Anonymous => false,
        Callers::Known(_) => true,
    }
}

/// Makes alike what was taken already, and what somebody else looks after, so that what
/// differs still is what waits for a restart.
fn leave_to_others(fresh: &mut Config, held: &Config) {
    fresh.callers.clone_from(&held.callers);
    fresh.keyring.current.clone_from(&held.keyring.current);
    if let (StoreConfig::Redis(fresh), StoreConfig::Redis(held)) = (&mut fresh.store, &held.store) {
        **fresh = fresh.with_credentials_of(held);
    }
    // The certificates' own watch.
    if let (Some(fresh), Some(held)) = (&mut fresh.tls, &held.tls) {
        fresh.content = held.content.clone();
    }
    // Other files of the same content are no difference.
    fresh.paths.clone_from(&held.paths);
}

impl Changed {
    /// Whether something came into use by it. The keyring tells of the key that mints.
    const fn is_taken(self) -> bool {
        self.callers || self.credentials
    }

    fn tell(self) {
        if self.callers {
            tracing::info!("the callers changed");
        }
        if self.credentials {
            tracing::info!("the store's credentials changed; connections that are open go on");
        }
        if self.rest {
            tracing::warn!("the configuration changed in what needs a restart; that waits for one");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const TOML: &str = r#"
        keyring = { directory = "keys", current = "k1" }
        indexes.pypi = { audience = "pypi", location = "index.example" }
        [store]
        kind = "redis"
        url_file = "url"
        [[callers]]
        name = "web"
        san = "web.index.internal"
        may = ["verify"]
        [server.tls]
        certificate_file = "own"
        key_file = "key"
        client_ca_file = "own"
    "#;

    /// Lays the files of a configuration down.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), "mintage.toml", TOML);
        put(home.path(), "url", "redis://:before@redis.internal");
        certify(home.path());
        home
    }

    fn put(home: &Path, name: &str, content: &str) {
        fs::write(home.join(name), content).unwrap();
    }

    fn certify(home: &Path) {
        let made = rcgen::generate_simple_self_signed(["mintage".to_owned()]).unwrap();
        put(home, "own", &made.cert.pem());
        put(home, "key", &made.signing_key.serialize_pem());
    }

    fn file(home: &Path) -> SourceFile {
        let source = Source::new(home.join("mintage.toml"), std::iter::empty());
        let held = source.config().unwrap();
        let StoreConfig::Redis(redis) = &held.store else { panic!("a Redis is configured") };
        let takers = Takers {
            callers: SharedCallers::new(parts::callers(&held.callers)),
            credentials: Some(SharedCredentials::new(store::credentials(redis))),
            current: watch::channel(held.keyring.current.clone()).0,
        };
        SourceFile::new(source, takers, held)
    }

    #[test]
    fn each_change_is_taken_by_whom_it_concerns_and_the_rest_waits() {
        let home = home();
        let home = home.path();
        let mut file = file(home);
        let none = Changed::default();
        let (callers, credentials) =
            (Changed { callers: true, ..none }, Changed { credentials: true, ..none });
        let (current, rest) = (Changed { current: true, ..none }, Changed { rest: true, ..none });
        let with =
            |before: &str, after: &str| put(home, "mintage.toml", &TOML.replace(before, after));
        let mut looks = || [file.look(), file.look()];

        assert_eq!(looks(), [Look::Same, Look::Same]);
        put(home, "url", "redis://:after@redis.internal");
        assert_eq!(looks(), [Look::Changed(credentials), Look::Same]);
        put(home, "url", "redis://:after@redis.elsewhere");
        assert_eq!(looks(), [Look::Changed(rest), Look::Same]);
        put(home, "url", "redis://:again@redis.elsewhere");
        assert_eq!(looks(), [Look::Changed(credentials), Look::Same], "the rest was told of");
        put(home, "url", "redis://:again@redis.internal");
        assert_eq!(looks(), [Look::Same, Look::Same]);
        with("\"k1\"", "\"k2\"");
        assert_eq!(looks(), [Look::Changed(current), Look::Same]);
        with("\"k1\"", "\"k3\"");
        assert_eq!(looks(), [Look::Changed(current), Look::Same]);
        with("[\"verify\"]", "[\"revoke\"]");
        let both = Changed { current: true, ..callers };
        assert_eq!(looks(), [Look::Changed(both), Look::Same]);
        with("kind = \"redis\"", "kind = \"redis\"\ntimeout = \"1s\"");
        let both = Changed { rest: true, ..callers };
        assert_eq!(looks(), [Look::Changed(both), Look::Same]);
        assert_eq!(file.takers.current.borrow().as_str(), "k1");
    }

    #[test]
    fn certificates_are_left_to_who_looks_after_them() {
        let home = home();
        let mut file = file(home.path());
        assert_eq!(file.look(), Look::Same);
        certify(home.path());
        assert_eq!(file.look(), Look::Same);
    }

    #[test]
    fn a_mistake_is_told_once_and_changes_nothing() {
        let home = home();
        let home = home.path();
        let mut file = file(home);
        put(home, "url", "http://redis.internal");
        put(home, "mintage.toml", &TOML.replace("\"k1\"", "\"k2\""));
        let mistake = match file.look() {
            Look::Mistaken(mistake) => mistake,
            other => panic!("{other:?}"),
        };
        assert!(mistake.starts_with("store.url_file: names "), "{mistake}");
        assert_eq!([file.look(), file.look()], [Look::Same, Look::Same]);
        assert_eq!(file.takers.current.borrow().as_str(), "k1");
        // Half a file, as somebody who writes in place leaves it for a moment.
        put(home, "mintage.toml", TOML.split_once("[server.tls]").unwrap().0);
        assert!(matches!(file.look(), Look::Mistaken(_)), "another mistake is news");
        put(home, "mintage.toml", TOML);
        put(home, "url", "redis://:before@redis.internal");
        assert_eq!(file.look(), Look::Same);
    }
}
