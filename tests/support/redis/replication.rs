//! A primary with replicas: alone, or watched by Sentinels.

use std::fs;

use ::redis::RedisResult;
use tempfile::TempDir;

use super::{Binary, Options, RedisServer, settled};

/// A primary and its replicas.
#[derive(Debug)]
pub struct Replicated {
    /// The one that takes writes, until somebody promotes another.
    pub primary: RedisServer,
    /// Those that follow it.
    pub replicas: Vec<RedisServer>,
}

impl Replicated {
    /// A primary and so many replicas, once they are in step.
    pub async fn start(binary: &'static Binary, options: &Options, replicas: usize) -> Self {
        // A replica joins at once, not after five seconds of waiting for others.
        let quick = options.clone().arguments(&["--repl-diskless-sync-delay", "0"]);
        let primary = RedisServer::start_with(binary, quick.clone()).await;
        let mut group = Self { primary, replicas: Vec::new() };
        for _ in 0..replicas {
            let replica = RedisServer::start_with(binary, quick.clone()).await;
            replica.follow(&group.primary);
            group.replicas.push(replica);
        }
        group.in_step().await;
        group
    }

    /// Waits until every replica has everything.
    pub async fn in_step(&self) {
        settled("replicas are in step", || {
            self.replicas.iter().all(|replica| replica.is_in_step_with(&self.primary))
        })
        .await;
    }

    /// Makes a replica the primary, whatever became of the old one; nobody tells the
    /// others.
    pub fn promote(&self, replica: usize) {
        self.replicas[replica].command(&["REPLICAOF", "NO", "ONE"]);
    }
}

impl RedisServer {
    /// Becomes a replica of another, and loses what it has.
    pub fn follow(&self, primary: &Self) {
        let port = primary.port().to_string();
        self.command(&["REPLICAOF", "127.0.0.1", &port]);
    }

    /// Whether its link is up and it has all that the primary has.
    pub fn is_in_step_with(&self, primary: &Self) -> bool {
        let mine = self.try_info("slave_repl_offset");
        let link = self.try_info("master_link_status");
        let port = self.try_info("master_port");
        link.is_ok_and(|link| link == "up")
            && port.is_ok_and(|port| port == primary.port().to_string())
            && mine.is_ok_and(|mine| Ok(mine) == primary.try_info("master_repl_offset"))
    }

    /// Whether it takes itself for a primary; no while it is away.
    pub fn is_primary(&self) -> bool {
        self.try_info("role").is_ok_and(|role| role == "master")
    }
}

/// A primary, its replicas, and three Sentinels of which two must agree.
#[derive(Debug)]
pub struct Sentinels {
    /// All servers; which one is the primary changes.
    pub servers: Vec<RedisServer>,
    /// Those who watch.
    pub sentinels: Vec<RedisServer>,
    _configurations: TempDir,
}

impl Sentinels {
    /// What the group is called.
    pub const NAME: &'static str = "marks";

    /// A primary, two replicas and three Sentinels, once they know each other.
    /// `options` are those of the servers, `watching` those of the Sentinels.
    pub async fn start(binary: &'static Binary, options: &Options, watching: &Options) -> Self {
        let Replicated { primary, replicas } = Replicated::start(binary, options, 2).await;
        let configurations = tempfile::tempdir().unwrap();
        let mut sentinels = Vec::new();
        for number in 0..3 {
            // It keeps what it learns in its configuration, so it needs a file.
            let file = configurations.path().join(format!("{number}.conf"));
            fs::write(&file, watched(&primary, options)).unwrap();
            let options = watching.clone().configuration(&file).arguments(&["--sentinel"]);
            sentinels.push(RedisServer::start_with(binary, options).await);
        }
        let mut servers = vec![primary];
        servers.extend(replicas);
        let group = Self { servers, sentinels, _configurations: configurations };
        group.acquainted().await;
        group
    }

    /// Waits until each Sentinel knows the others and the replicas.
    async fn acquainted(&self) {
        settled("Sentinels know each other", || {
            let knows = |about: &str, count: usize| {
                self.sentinels.iter().all(|sentinel| sentinel.count(about) == Ok(count))
            };
            knows("SENTINELS", 2) && knows("REPLICAS", 2)
        })
        .await;
    }

    /// Where the Sentinels listen, as the service's configuration names them.
    pub fn url(&self) -> String {
        let addresses: Vec<String> =
            self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
        format!("redis://{}", addresses.join(","))
    }

    /// Waits until every server has what the primary has.
    pub async fn in_step(&self) {
        settled("servers are in step", || {
            let Some(primary) = self.primary() else { return false };
            self.follow_all_but(&[primary], &self.servers[primary])
        })
        .await;
    }

    /// Whether all servers but these have what this one has.
    fn follow_all_but(&self, these: &[usize], primary: &RedisServer) -> bool {
        let others = self.servers.iter().enumerate().filter(|(index, _)| !these.contains(index));
        others.map(|(_, server)| server).all(|server| server.is_in_step_with(primary))
    }

    /// Which of the servers the Sentinels say is the primary, where all agree.
    pub fn primary(&self) -> Option<usize> {
        let mut said = self.sentinels.iter().map(|sentinel| {
            sentinel.try_ask::<(String, u16)>(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME])
        });
        let (_, port) = said.next()?.ok()?;
        let agreed = said.all(|said| said.is_ok_and(|(_, other)| other == port));
        let server = self.servers.iter().position(|server| server.port() == port);
        server.filter(|_| agreed)
    }

    /// The same, once they agree.
    pub async fn agreed(&self) -> usize {
        settled("Sentinels agree", || self.primary().is_some()).await;
        self.primary().unwrap_or_else(|| panic!("Sentinels changed their minds at once"))
    }

    /// Waits until this server has what the primary has, whichever that is: on a machine
    /// that stalls, Sentinels may depose another one meanwhile.
    pub async fn follows(&self, server: usize) {
        settled("the server follows", || {
            let primary = self.primary().map(|primary| &self.servers[primary]);
            primary.is_some_and(|primary| self.servers[server].is_in_step_with(primary))
        })
        .await;
    }

    /// Kills the primary and waits until another one has taken over, and the last
    /// one left follows it. The index of the one killed.
    pub async fn fail_over(&mut self) -> usize {
        let old = self.agreed().await;
        self.servers[old].kill();
        self.taken_over(old).await;
        old
    }

    /// Waits until another server than this one is the primary.
    pub async fn taken_over(&self, old: usize) {
        settled("another server has taken over", || {
            let Some(new) = self.primary().filter(|&new| new != old) else { return false };
            let primary = &self.servers[new];
            primary.is_primary() && self.follow_all_but(&[old, new], primary)
        })
        .await;
    }
}

impl RedisServer {
    /// How many of these a Sentinel knows.
    fn count(&self, about: &str) -> RedisResult<usize> {
        let known: Vec<::redis::Value> = self.try_ask(&["SENTINEL", about, Sentinels::NAME])?;
        Ok(known.len())
    }
}

/// What a Sentinel is told: two must agree that the primary has been away for two
/// seconds, and an attempt that comes to nothing is soon made again.
fn watched(primary: &RedisServer, options: &Options) -> String {
    let name = Sentinels::NAME;
    let port = primary.port();
    let password = options.the_password();
    let password = password.map(|it| format!("sentinel auth-pass {name} {it}\n"));
    format!(
        "sentinel monitor {name} 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds {name} 2000\n\
         sentinel failover-timeout {name} 4000\n\
         {}",
        password.unwrap_or_default()
    )
}
