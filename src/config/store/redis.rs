//! The store that replicas share: Redis 7.0 or later, or Valkey.
//!
//! ```toml
//! [store]
//! kind = "redis"
//! url = "redis://redis.internal"
//! ```
//!
//! The URL is `redis://` or, for TLS, `rediss://`, then `user@` where there is
//! one, the hosts, and `/` with the database's number (0 where left out). It is
//! in `url`, or in the file that `url_file` names; with a password in it, only
//! there. `topology` is `single` (the default, one host), `sentinel` (hosts and
//! ports of sentinels, and `sentinel_master`), or `cluster` (any of its nodes,
//! database 0 only). A port that is left out is 6379, a sentinel's 26379.
//!
//! `username` and `password_file` are for Redis, `sentinel_username` and
//! `sentinel_password_file` for sentinels that ask for any; a credential that
//! is `""` is none. `ca_file` is trusted in place of the usual authorities,
//! `client_certificate_file` and `client_key_file` are what we prove ourselves
//! with. `prefix` (`"mintage"`) begins every key; `timeout` (`"250ms"`, 10 ms
//! to 10 s) bounds a call; `max_waiting` (1,024) bounds how many wait at once;
//! a mark counts once `wait_replicas` (0) of Redis's replicas have it.

use std::{fmt, time::Duration};

use super::{
    super::{
        reader::{Found, Read, Section, integer, one_of, string, time, word},
        secret::{self, SecretText},
    },
    tls::{self, RedisTls},
    url::{MAX_USERNAME_BYTES, RedisUrl},
};

/// Every key of `[store]` that only Redis has.
pub(super) const KEYS: [&str; 15] = [
    "url",
    "url_file",
    "topology",
    "sentinel_master",
    "username",
    "password_file",
    "sentinel_username",
    "sentinel_password_file",
    "ca_file",
    "client_certificate_file",
    "client_key_file",
    "prefix",
    "timeout",
    "max_waiting",
    "wait_replicas",
];

/// The keys that only sentinels need.
const OF_SENTINELS: [&str; 3] = ["sentinel_master", "sentinel_username", "sentinel_password_file"];

/// Longest prefix, in bytes: every key carries it, over the wire and in Redis.
const MAX_PREFIX_BYTES: usize = 64;

/// Longest name of a master, in bytes. Sentinel knows no bound; people do.
const MAX_MASTER_BYTES: usize = 256;

const REDIS_PORT: u16 = 6_379;

const SENTINEL_PORT: u16 = 26_379;

const DEFAULT_PREFIX: &str = "mintage";

const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);

/// Shorter, and a store that is well fails too; longer, and a store that is
/// down holds every call for as long as a caller waits.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);

/// As many as the server has calls in flight.
const DEFAULT_MAX_WAITING: usize = 1_024;

/// Each takes a few hundred bytes while it waits.
const MOST_WAITING: usize = 1_000_000;

/// More replicas than hang on one master: each gets everything that is written.
/// One that isn't there makes every mark time out.
const MOST_WAIT_REPLICAS: u32 = 16;

/// A shared store, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where it is.
    pub topology: RedisTopology,
    /// What TLS needs; None without TLS. Sentinels are met in the same way.
    pub tls: Option<RedisTls>,
    /// The user of Redis's ACL; None for the one that Redis calls `default`.
    /// Never without a password.
    pub username: Option<String>,
    /// What Redis asks for.
    pub password: Option<SecretText>,
    /// The sentinels' own user; never without a password.
    pub sentinel_username: Option<String>,
    /// What the sentinels ask for.
    pub sentinel_password: Option<SecretText>,
    /// The database's number; 0 in a cluster.
    pub database: u16,
    /// What every key begins with: printable ASCII without white space, and
    /// without braces, which would steer the slot of a key in a cluster.
    pub prefix: String,
    /// How long a call may take, from asking for a place to the answer.
    pub timeout: Duration,
    /// How many calls wait at once; one more fails at once.
    pub max_waiting: usize,
    /// How many of Redis's replicas have a mark before it counts.
    pub wait_replicas: u32,
}

impl RedisConfig {
    /// The same, reached with the other's credentials: users, passwords, and what TLS
    /// needs where both have it.
    pub fn with_credentials_of(&self, other: &Self) -> Self {
        let tls = if self.tls.is_some() == other.tls.is_some() { &other.tls } else { &self.tls };
        Self {
            tls: tls.clone(),
            username: other.username.clone(),
            password: other.password.clone(),
            sentinel_username: other.sentinel_username.clone(),
            sentinel_password: other.sentinel_password.clone(),
            ..self.clone()
        }
    }
}

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisTopology {
    /// One server.
    Single(Endpoint),
    /// The master that these sentinels name.
    Sentinel {
        /// Some of the sentinels; never empty.
        sentinels: Vec<Endpoint>,
        /// The name under which they know the master.
        master: String,
    },
    /// The cluster that these nodes know; never empty.
    Cluster(Vec<Endpoint>),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

const TOPOLOGIES: [(&str, Kind); 3] =
    [("single", Kind::Single), ("sentinel", Kind::Sentinel), ("cluster", Kind::Cluster)];

/// Reads what `[store]` says of Redis.
pub(super) fn read(section: &mut Section<'_>) -> Option<RedisConfig> {
    let url = Address::read(section);
    let kind = section.chosen("topology", Kind::Single, one_of(&TOPOLOGIES));
    let sentinels = Sentinels::read(section, kind);
    let topology = url
        .as_ref()
        .zip(kind)
        .and_then(|(url, kind)| topology(section, kind, url, sentinels.master));
    let login = Login::of_redis(section, url.as_ref());
    let tls = tls::read(section, url.as_ref().map(|url| url.says.tls));
    let prefix = section.or("prefix", DEFAULT_PREFIX.to_owned(), prefix);
    let timeout = section.or("timeout", DEFAULT_TIMEOUT, time(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT));
    let max_waiting = section.or("max_waiting", DEFAULT_MAX_WAITING, integer(1..=MOST_WAITING));
    let wait_replicas = section.or("wait_replicas", 0, integer(0..=MOST_WAIT_REPLICAS));
    Some(RedisConfig {
        topology: topology?,
        tls,
        username: login.username,
        password: login.password,
        sentinel_username: sentinels.login.username,
        sentinel_password: sentinels.login.password,
        database: url?.says.database.unwrap_or(0),
        prefix,
        timeout,
        max_waiting,
        wait_replicas,
    })
}

/// The URL, and the key from which it came.
struct Address {
    key: &'static str,
    says: RedisUrl,
}

impl Address {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        match (section.has("url"), section.has("url_file")) {
            (true, true) => section.wrong("url", "must not stand beside url_file"),
            (false, false) => section.wrong("url", "is missing, and so is url_file"),
            _ => {}
        }
        let path = section.path_reader();
        let written = section.optional("url", |found| written(&string(found)?));
        let in_file = section.optional("url_file", |found| {
            let path = path(found)?;
            RedisUrl::parse(secret::line(&path)?.expose())
                .map_err(|sentence| format!("names {}, whose URL {sentence}", path.display()))
        });
        let written = written.map(|says| Self { key: "url", says });
        written.or(in_file.map(|says| Self { key: "url_file", says }))
    }
}

/// A URL that anybody may read.
fn written(text: &str) -> Read<RedisUrl> {
    let url = RedisUrl::parse(text)?;
    match url.password {
        Some(_) => Err("must not hold a password: secrets come from files only, \
                        so use password_file or url_file"
            .to_owned()),
        None => Ok(url),
    }
}

/// What is read for the sentinels' sake.
#[derive(Default)]
struct Sentinels {
    master: Option<String>,
    login: Login,
}

impl Sentinels {
    /// `kind`: None where it could not be read, so that nothing is out of place.
    fn read(section: &mut Section<'_>, kind: Option<Kind>) -> Self {
        if matches!(kind, Some(Kind::Single | Kind::Cluster)) {
            section.misplaced(&OF_SENTINELS, "is for topology = \"sentinel\" only");
            return Self::default();
        }
        let master = match kind {
            Some(_) => section.required("sentinel_master", word(MAX_MASTER_BYTES)),
            None => section.optional("sentinel_master", word(MAX_MASTER_BYTES)),
        };
        let login = Login::read(section, "sentinel_username", "sentinel_password_file");
        login.check(section, "sentinel_username", "sentinel_password_file");
        Self { master, login }
    }
}

/// Who we say that we are, and how we prove it.
#[derive(Default)]
struct Login {
    username: Option<String>,
    password: Option<SecretText>,
    /// There is a password, but it could not be read.
    spoilt: bool,
}

impl Login {
    fn read(section: &mut Section<'_>, username: &'static str, file: &'static str) -> Self {
        let username = section.optional(username, |found| {
            unless_empty(found, |found| word(MAX_USERNAME_BYTES)(found))
        });
        let (given, path) = (section.has(file), section.path_reader());
        let password = section
            .optional(file, |found| unless_empty(found, |found| secret::line(&path(found)?)));
        Self {
            username: username.flatten(),
            spoilt: given && password.is_none(),
            password: password.flatten(),
        }
    }

    /// The same for Redis itself, where the URL can say it too.
    fn of_redis(section: &mut Section<'_>, url: Option<&Address>) -> Self {
        let mut login = Self::read(section, "username", "password_file");
        let Some(Address { key, says }) = url else { return login };
        if login.username.is_some() && says.username.is_some() {
            section.wrong("username", format!("stands in {key} too"));
        }
        if (login.password.is_some() || login.spoilt) && says.password.is_some() {
            section.wrong("password_file", format!("stands beside the password in {key}"));
        }
        let place = if login.username.is_some() { "username" } else { key };
        login.username = login.username.or_else(|| says.username.clone());
        login.password = login.password.or_else(|| says.password.clone());
        login.check(section, place, "password_file");
        login
    }

    /// A user alone would be left out on the way, and somebody else log in.
    fn check(&self, section: &Section<'_>, place: &str, file: &str) {
        if self.username.is_some() && self.password.is_none() && !self.spoilt {
            section.wrong(place, format!("names a user, but there is no {file}"));
        }
    }
}

/// None for `""`.
fn unless_empty<T>(found: &Found<'_>, read: impl Fn(&Found<'_>) -> Read<T>) -> Read<Option<T>> {
    if string(found)?.is_empty() { Ok(None) } else { read(found).map(Some) }
}

/// Hosts, as many and with such ports as the topology has.
fn topology(
    section: &Section<'_>,
    kind: Kind,
    Address { key, says }: &Address,
    master: Option<String>,
) -> Option<RedisTopology> {
    if kind == Kind::Single && says.hosts.len() > 1 {
        let sentence =
            format!("names {} hosts, but topology = \"single\" has one", says.hosts.len());
        section.wrong(key, sentence);
    }
    if kind == Kind::Cluster && says.database.is_some_and(|database| database > 0) {
        section.wrong(key, "must name no database but 0, the only one that a cluster has");
    }
    let port = if kind == Kind::Sentinel { SENTINEL_PORT } else { REDIS_PORT };
    let mut endpoints: Vec<_> = says
        .hosts
        .iter()
        .map(|(host, own)| Endpoint { host: host.clone(), port: own.unwrap_or(port) })
        .collect();
    match kind {
        Kind::Single => endpoints.pop().map(RedisTopology::Single),
        Kind::Sentinel => {
            master.map(|master| RedisTopology::Sentinel { sentinels: endpoints, master })
        }
        Kind::Cluster => Some(RedisTopology::Cluster(endpoints)),
    }
}

/// What every key begins with.
fn prefix(found: &Found<'_>) -> Read<String> {
    let prefix = word(MAX_PREFIX_BYTES)(found)?;
    if prefix.contains(['{', '}']) {
        return Err("must not hold braces, which would steer a key's slot in a cluster".to_owned());
    }
    Ok(prefix)
}
