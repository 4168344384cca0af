//! A Cluster on loopback, made with its own commands.

use super::{Binary, Options, RedisServer, settled};

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// Masters that share the slots, each with or without a replica.
#[derive(Debug)]
pub struct Cluster {
    /// The masters of the beginning, in the order of their slots, then their
    /// replicas in the same order.
    pub nodes: Vec<RedisServer>,
    masters: usize,
}

impl Cluster {
    /// Three masters without replicas.
    pub async fn start(binary: &'static Binary, options: &Options) -> Self {
        Self::form(binary, options, false).await
    }

    /// Three masters with a replica each.
    pub async fn with_replicas(binary: &'static Binary, options: &Options) -> Self {
        Self::form(binary, options, true).await
    }

    async fn form(binary: &'static Binary, options: &Options, replicas: bool) -> Self {
        const MASTERS: usize = 3;
        let mut nodes = Vec::new();
        for _ in 0..if replicas { 2 * MASTERS } else { MASTERS } {
            // Long enough not to take a busy machine for a dead node.
            let options = options.clone().arguments(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "3000",
                "--repl-diskless-sync-delay",
                "0",
            ]);
            // The bus has a port of its own, and the usual one may lie too high.
            let bus = super::free_port().to_string();
            let options = options.arguments(&["--cluster-port", &bus]);
            nodes.push(RedisServer::start_with(binary, options).await);
        }
        let cluster = Self { nodes, masters: MASTERS };
        cluster.share_slots();
        cluster.meet().await;
        cluster.replicate().await;
        cluster.agreed().await;
        cluster
    }

    fn share_slots(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            // Different from the start, so that nobody has to argue.
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        for (number, master) in self.nodes[..self.masters].iter().enumerate() {
            let begin = |number: usize| usize::from(SLOTS) * number / self.masters;
            let (first, last) = (begin(number), begin(number + 1) - 1);
            master.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
    }

    async fn meet(&self) {
        for node in &self.nodes[1..] {
            let bus: (String, String) = node.ask(&["CONFIG", "GET", "cluster-port"]);
            let port = node.port().to_string();
            self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus.1]);
        }
        settled("nodes know each other", || {
            self.nodes.iter().all(|node| {
                let known = node.ask::<String>(&["CLUSTER", "NODES"]);
                known.lines().count() == self.nodes.len() && !known.contains("handshake")
            })
        })
        .await;
    }

    async fn replicate(&self) {
        let (masters, replicas) = self.nodes.split_at(self.masters);
        for (master, replica) in masters.iter().zip(replicas) {
            replica.command(&["CLUSTER", "REPLICATE", &master.cluster_id()]);
        }
        settled("replicas are in step", || {
            let mut pairs = masters.iter().zip(replicas);
            pairs.all(|(master, replica)| replica.is_in_step_with(master))
        })
        .await;
    }

    /// Waits until every node that runs says that all slots are served, by the same
    /// nodes.
    pub async fn agreed(&self) {
        settled("the cluster agrees", || {
            let seen = |node: &RedisServer| {
                let info: String = node.try_ask(&["CLUSTER", "INFO"]).ok()?;
                let nodes: String = node.try_ask(&["CLUSTER", "NODES"]).ok()?;
                let served = info.contains("cluster_state:ok") && !nodes.contains("fail?");
                served.then(|| owners(&nodes))
            };
            let mut seen = self.nodes.iter().filter(|node| node.has_process()).map(seen);
            let first = seen.next().flatten();
            first.is_some() && seen.all(|other| other == first)
        })
        .await;
    }

    /// Some nodes, as the service's configuration names them.
    pub fn url(&self) -> String {
        let addresses: Vec<String> =
            self.nodes[..self.masters].iter().map(|node| node.address().to_string()).collect();
        format!("redis://{}", addresses.join(","))
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        let node = self.nodes.iter().find(|node| node.has_process()).unwrap();
        node.ask(&["CLUSTER", "KEYSLOT", key])
    }

    /// The node that serves a slot, as it says itself.
    pub fn master_of(&self, slot: u16) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let known = node.try_ask::<String>(&["CLUSTER", "NODES"]).unwrap_or_default();
            let myself = known.lines().find(|line| line.contains("myself,master"));
            myself.is_some_and(|line| serves(line, slot))
        })
    }

    /// Begins to move a slot: from now on keys are asked for in both places.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (from, to, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.cluster_id()]);
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.cluster_id()]);
    }

    /// Carries the keys over; how many.
    pub fn carry_over(&self, slot: u16, from: usize, to: usize) -> usize {
        let (from, port) = (&self.nodes[from], self.nodes[to].port().to_string());
        let mut carried = 0;
        loop {
            let keys: Vec<String> =
                from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"]);
            if keys.is_empty() {
                return carried;
            }
            carried += keys.len();
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000"];
            let password = from.password();
            if let Some(password) = password {
                command.extend(["AUTH", password]);
            }
            command.push("KEYS");
            command.extend(keys.iter().map(String::as_str));
            from.command(&command);
        }
    }

    /// Ends the move: everybody hears whose the slot is now.
    pub async fn end_move(&self, slot: u16, to: usize) {
        let id = self.nodes[to].cluster_id();
        // The new owner first, so that nobody is sent to one who doesn't know.
        let others = (0..self.nodes.len()).filter(|&node| node != to);
        for node in std::iter::once(to).chain(others) {
            if self.nodes[node].is_primary() {
                self.nodes[node].command(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &id]);
            }
        }
        self.agreed().await;
    }

    /// Moves a slot with all its keys; how many.
    pub async fn move_slot(&self, slot: u16, to: usize) -> usize {
        let from = self.master_of(slot).unwrap();
        self.begin_move(slot, from, to);
        let carried = self.carry_over(slot, from, to);
        self.end_move(slot, to).await;
        carried
    }

    /// Kills the master that serves this slot and waits until its replica does.
    /// The one killed.
    pub async fn lose_master_of(&mut self, slot: u16) -> usize {
        let lost = self.master_of(slot).unwrap();
        self.nodes[lost].kill();
        settled("a replica was elected", || {
            self.master_of(slot).is_some_and(|master| master != lost)
        })
        .await;
        self.agreed().await;
        lost
    }
}

impl RedisServer {
    fn cluster_id(&self) -> String {
        self.ask(&["CLUSTER", "MYID"])
    }
}

/// Who serves what, from the answer to `CLUSTER NODES`.
fn owners(nodes: &str) -> Vec<(String, Vec<String>)> {
    let mut owners: Vec<_> = nodes
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            // A slot on its way is shown in brackets, by those concerned alone.
            let slots = words[8..].iter().filter(|word| !word.starts_with('['));
            (words[0].to_owned(), slots.map(|&word| word.to_owned()).collect())
        })
        .collect();
    owners.sort();
    owners
}

/// Whether a line of `CLUSTER NODES` names this slot.
fn serves(line: &str, slot: u16) -> bool {
    line.split(' ').skip(8).filter(|word| !word.starts_with('[')).any(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        first.parse().is_ok_and(|first| slot >= first)
            && last.parse().is_ok_and(|last| slot <= last)
    })
}
