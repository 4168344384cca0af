//! How to reach Redis, and what may be asked of it.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where it is, and of which kind.
    pub topology: Topology,
    /// What a connection proves itself with, and by what it knows the server.
    pub credentials: SharedCredentials,
    /// The number of the database; 0 in a cluster.
    pub database: u16,
    /// What every key begins with. Without braces, which would steer a cluster.
    pub prefix: String,
    /// The bound of one call, from asking for a place to the answer.
    pub timeout: Duration,
    /// Calls that wait for Redis at once; one more fails at once.
    pub max_waiting: usize,
    /// Replicas that must have a mark before it counts; 0: none.
    pub wait_replicas: u32,
}

/// What a connection is opened with.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Certificates, where it is reached over TLS.
    pub tls: Option<Tls>,
    /// As whom.
    pub login: Login,
    /// As whom at the sentinels.
    pub sentinel_login: Login,
}

/// Credentials as the next connection gets them. Its clones are the same ones.
#[derive(Clone, Debug)]
pub struct SharedCredentials(Arc<ArcSwap<Credentials>>);

impl SharedCredentials {
    /// These, until others replace them.
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(credentials)))
    }

    /// Every connection from now on is opened with these. Those that are open go on
    /// with what they began with.
    pub fn replace(&self, credentials: Credentials) {
        self.0.store(Arc::new(credentials));
    }

    /// Those for a connection that is opened now.
    pub(super) fn now(&self) -> Arc<Credentials> {
        self.0.load_full()
    }
}

/// What stands at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single(Address),
    /// Servers of which sentinels know the primary.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<Address>,
        /// What they call the primary.
        primary: String,
    },
    /// A cluster, of which some nodes are known.
    Cluster(Vec<Address>),
}

/// A server's host and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address, an IPv6 one without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Address {
    /// A node of a cluster that doesn't know its own host names only a port: the
    /// host is then that of the node which said so.
    pub(super) fn or_of(self, asked: &Self) -> Self {
        match self.host.as_str() {
            "" | "?" => Self { host: asked.host.clone(), port: self.port },
            _ => self,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Certificates of a connection, in PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authorities that are trusted; None: the machine's.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate, and its key.
    pub client: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// A user and a password, as far as there are any.
#[derive(Clone, Default)]
pub struct Login {
    /// The ACL user; None: Redis's default user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Zeroizing<String>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}
