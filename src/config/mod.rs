//! The configuration: one TOML file, the environment over it, parsed once into
//! types.
//!
//! Whatever is wrong is reported at once, each mistake with its path: see
//! [`Mistakes`]. Nothing here is a default by accident: every struct documents
//! its own, and the smallest TOML for it stands in its module.
//!
//! The smallest configuration:
//!
//! ```toml
//! listen = "127.0.0.1:50051"
//!
//! [keyring]
//! directory = "keys"
//! current = "2026-11"
//!
//! [indexes.pypi]
//! audience = "pypi"
//! location = "index.example"
//! ```
//!
//! Every value can also come from the environment: `MINTAGE__LISTEN`,
//! `MINTAGE__INDEXES__PYPI__LIFETIME`, `MINTAGE__CALLERS__0__NAME`. A value is
//! read as TOML, and as plain text where it isn't. A variable that names no key
//! is a mistake like an unknown key in the file.
//!
//! Times are strings with units (`"15m"`, `"1h30m"`, `"250ms"`) or whole
//! seconds. Relative paths start at the configuration file's folder.

mod callers;
mod certificates;
pub mod duration;
mod environment;
mod file;
mod indexes;
mod issuers;
mod keyring;
mod limits;
mod log;
mod mistake;
mod reader;
mod secret;
mod server;
mod source;
mod store;
mod telemetry;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::Table;

use crate::{
    macaroon::Keyring,
    service::{Limits, OnStoreFailure},
};

pub use callers::{Callers, KnownCaller};
pub use indexes::IndexConfig;
pub use issuers::IssuerConfig;
pub use keyring::KeyringConfig;
pub use log::{LogConfig, LogFormat};
pub use mistake::{Mistake, Mistakes};
pub use secret::{SecretBytes, SecretText};
pub use server::{ClientCertificates, ServerConfig, TlsConfig, TlsContent, TlsFiles};
pub use source::{Seen, Source};
pub use store::{ClientPem, Endpoint, RedisConfig, RedisTls, RedisTopology, StoreConfig};
pub use telemetry::{OtlpConfig, Ratio, TelemetryConfig};

use reader::{Reading, Section, address, boolean, string};

/// Longest configuration file, in bytes. Ten thousand indexes fit.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// Everything that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where gRPC is served; `127.0.0.1:50051` where not given.
    pub listen: SocketAddr,
    /// Where metrics and probes are served; None where not given, or `""`.
    pub admin_listen: Option<SocketAddr>,
    /// The master keys.
    pub keyring: KeyringConfig,
    /// The store.
    pub store: StoreConfig,
    /// What a Verify does that can't ask for revocations; `[store]
    /// on_store_failure`, `"allow"` where not given.
    pub on_store_failure: OnStoreFailure,
    /// Who may call. Anonymous callers only on loopback, unless
    /// `allow_anonymous_callers = true` says that somebody else keeps watch.
    pub callers: Callers,
    /// Whose ID tokens are accepted; each URL once.
    pub issuers: Vec<IssuerConfig>,
    /// The indexes by name; never empty.
    pub indexes: BTreeMap<String, IndexConfig>,
    /// How often somebody may ask.
    pub limits: Limits,
    /// What is logged.
    pub log: LogConfig,
    /// Bounds of the server.
    pub server: ServerConfig,
    /// TLS on the gRPC port; `[server.tls]`, none where not given.
    pub tls: Option<TlsConfig>,
    /// Where traces and metrics go.
    pub telemetry: TelemetryConfig,
    /// Every path that it names: what lies there may change while the service runs.
    pub paths: Vec<PathBuf>,
}

impl Config {
    /// Reads the file, with the environment over it.
    pub fn load(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let draft = Draft::load(path, environment)?;
        Mistakes::or(draft.mistakes, draft.config)
    }

    /// The same, and the keys of the keyring too: mistakes of both at once.
    pub fn load_with_keyring(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, Keyring), Mistakes> {
        let mut draft = Draft::load(path, environment)?;
        let keyring = match draft.keyring.as_ref().map(KeyringConfig::load) {
            Some(Ok(keyring)) => Some(keyring),
            Some(Err(mistakes)) => {
                draft.mistakes.extend(mistakes.iter().cloned());
                None
            }
            None => None,
        };
        Mistakes::or(draft.mistakes, draft.config.zip(keyring))
    }

    /// Reads a configuration from its text. Relative paths start at `directory`.
    pub fn parse(
        text: &str,
        directory: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let document = document(text, "the configuration")?;
        let draft = Draft::read(document, directory, environment);
        Mistakes::or(draft.mistakes, draft.config)
    }
}

/// A configuration as far as it could be read.
struct Draft {
    config: Option<Config>,
    keyring: Option<KeyringConfig>,
    mistakes: Vec<Mistake>,
}

impl Draft {
    fn load(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let place = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| Mistakes::one(&place, format!("can't be read: {error}")))?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(Mistakes::one(place, "is longer than 4 MiB, so it is no configuration"));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Mistakes::one(&place, "is not a text in UTF-8"))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Ok(Self::read(document(&text, &place)?, directory, environment))
    }

    fn read(
        document: Table,
        directory: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut mistakes = Vec::new();
        let (table, variables) = environment::overlay(document, environment, &mut mistakes);
        let reading = Reading::new(directory, variables, mistakes);
        let (config, keyring) = whole(reading.root(table));
        Self { config, keyring, mistakes: reading.into_mistakes() }
    }
}

/// Parses the TOML; a syntax error is one mistake with its line and column.
fn document(text: &str, place: &str) -> Result<Table, Mistakes> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let place = format!("{place}, line {line}, column {column}");
        Mistakes::one(place, format!("is not TOML: {}", error.message()))
    })
}

/// Reads the whole document, in the order in which a person reads it.
fn whole(mut root: Section<'_>) -> (Option<Config>, Option<KeyringConfig>) {
    let listen = root.or("listen", SocketAddr::from(([127, 0, 0, 1], 50_051)), address);
    let admin_listen = root.optional("admin_listen", |found| match string(found)?.as_str() {
        "" => Ok(None),
        _ => address(found).map(Some),
    });
    let admin_listen = admin_listen.flatten();
    if admin_listen == Some(listen) && listen.port() != 0 {
        root.wrong("admin_listen", "must be another address than listen");
    }
    let keyring = keyring::read(root.section("keyring"));
    let (store, on_store_failure) = store::read(root.section("store"));

    let sections = root.named_sections("indexes");
    let names: BTreeSet<String> = sections.iter().map(|(name, _)| name.clone()).collect();
    let callers = callers(&mut root, listen, &names);
    let issuers = issuers::read(&mut root);
    if sections.is_empty() {
        root.wrong("indexes", "must hold at least one index, as in [indexes.pypi]");
    }
    let indexes = indexes::read(sections, &issuers.declared);
    let limits = limits::read(root.section("limits"));
    let log = log::read(root.section("log"));
    let (server, tls) = server::read(root.section("server"));
    let telemetry = telemetry::read(root.section("telemetry"));
    let paths = root.paths();
    root.end();

    let config = keyring.clone().zip(store).map(|(keyring, store)| Config {
        listen,
        admin_listen,
        keyring,
        store,
        on_store_failure,
        callers,
        issuers: issuers.read,
        indexes,
        limits,
        log,
        server,
        tls,
        telemetry,
        paths,
    });
    (config, keyring)
}

/// Whoever reaches Mint for a user can become that user: without callers, only
/// this machine reaches it, unless the configuration says that a mesh decides.
fn callers(root: &mut Section<'_>, listen: SocketAddr, indexes: &BTreeSet<String>) -> Callers {
    let sections = root.sections("callers");
    let configured = !sections.is_empty();
    let certificates = root.holds(&["server", "tls", "client_ca_file"]);
    let known = callers::read(sections, &callers::Known { indexes, certificates });
    let anonymous = root.or("allow_anonymous_callers", false, boolean);
    if configured && anonymous {
        root.wrong("allow_anonymous_callers", "must not be true where there are [[callers]]");
    }
    if !configured && !anonymous && !listen.ip().to_canonical().is_loopback() {
        root.wrong(
            "listen",
            "must be a loopback address where no [[callers]] are configured, \
             unless allow_anonymous_callers = true",
        );
    }
    if known.is_empty() { Callers::Anonymous } else { Callers::Known(known) }
}
