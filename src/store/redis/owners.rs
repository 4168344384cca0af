//! Which server has which place: known to all runtimes alike.
//!
//! One server has everything; of several, sentinels or the nodes of a cluster are
//! asked, all at once, and the first good answer counts. What turns out wrong is
//! forgotten and asked for again; a failed search is left at that for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures_util::future::{self, FutureExt as _};
use redis::{Cmd, Value, cmd};

use super::{
    Address, Credentials, RedisSettings, Tls, Topology,
    lines::{Failed, locked},
    link::{Line, Trouble},
    place::Place,
    settings::Login,
    slots,
};

/// Which server has which place.
pub(super) struct Owners {
    settings: Arc<RedisSettings>,
    places: Vec<Place>,
    known: Mutex<HashMap<Place, Address>>,
    /// Held by who finds out.
    finding: tokio::sync::Mutex<Option<Failed>>,
    /// Connections for questions.
    asked: Mutex<HashMap<Address, Arc<Line>>>,
}

impl Owners {
    pub(super) fn new(settings: Arc<RedisSettings>, places: Vec<Place>) -> Self {
        Self {
            settings,
            places,
            known: Mutex::default(),
            finding: tokio::sync::Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// The server that has a place.
    pub(super) async fn owner(&self, place: Place) -> Result<Address, Trouble> {
        if let Some(address) = self.known(place) {
            return Ok(address);
        }
        let mut failed = self.finding.lock().await;
        if let Some(address) = self.known(place) {
            return Ok(address);
        }
        if let Some(cause) = failed.as_ref().and_then(Failed::lasting) {
            return Err(Trouble::Refused(cause));
        }
        // Stands as well if this call is given up while it waits.
        *failed = Some(Failed::now("who has which keys can't be found out in time".to_owned()));
        match self.find().await {
            Ok(found) => {
                *failed = None;
                let owner = found.get(&place).cloned();
                locked(&self.known).extend(found);
                owner.ok_or_else(|| Trouble::Refused("no server has these keys".to_owned()))
            }
            Err(trouble) => {
                *failed = Some(Failed::now(trouble.cause()));
                Err(trouble)
            }
        }
    }

    /// Another server has the place.
    pub(super) fn moved(&self, place: Place, to: Address) {
        locked(&self.known).insert(place, to);
    }

    /// A server may have nothing any more.
    pub(super) fn forget(&self, address: &Address) {
        locked(&self.known).retain(|_, owner| owner != address);
    }

    /// Finds out anew, even if what is known seems right.
    pub(super) async fn look_again(&self) -> Result<(), Trouble> {
        let found = self.find().await?;
        *locked(&self.known) = found;
        Ok(())
    }

    fn known(&self, place: Place) -> Option<Address> {
        match &self.settings.topology {
            Topology::Single(address) => Some(address.clone()),
            Topology::Sentinel { .. } | Topology::Cluster(_) => {
                locked(&self.known).get(&place).cloned()
            }
        }
    }

    async fn find(&self) -> Result<HashMap<Place, Address>, Trouble> {
        let all_at =
            |address: &Address| self.places.iter().map(|place| (*place, address.clone())).collect();
        match &self.settings.topology {
            Topology::Single(address) => Ok(all_at(address)),
            Topology::Sentinel { sentinels, primary } => {
                let mut asked = Vec::with_capacity(sentinels.len());
                for sentinel in sentinels {
                    asked.push(self.ask_sentinel(sentinel, primary).boxed());
                }
                first(asked).await.map(|address| all_at(&address))
            }
            Topology::Cluster(nodes) => {
                let mut all = nodes.clone();
                all.extend(locked(&self.known).values().cloned());
                all.sort_unstable();
                all.dedup();
                let mut asked = Vec::with_capacity(all.len());
                for node in &all {
                    asked.push(self.ask_node(node).boxed());
                }
                first(asked).await
            }
        }
    }

    async fn ask_sentinel(&self, sentinel: &Address, primary: &str) -> Result<Address, Trouble> {
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
        let credentials = self.settings.credentials.now();
        let Credentials { tls, sentinel_login, .. } = &*credentials;
        let answer = self.ask(sentinel, tls.as_ref(), sentinel_login, &question).await?;
        slots::primary(&answer).ok_or_else(|| {
            Trouble::Refused(format!("the sentinel {sentinel} knows no primary \"{primary}\""))
        })
    }

    async fn ask_node(&self, node: &Address) -> Result<HashMap<Place, Address>, Trouble> {
        let mut question = cmd("CLUSTER");
        question.arg("SLOTS");
        let credentials = self.settings.credentials.now();
        let Credentials { tls, login, .. } = &*credentials;
        let answer = self.ask(node, tls.as_ref(), login, &question).await?;
        let map = slots::read(&answer, node);
        let owned = |place: &Place| Some((*place, slots::owner(&map, place.slot())?.clone()));
        let owners: HashMap<_, _> = self.places.iter().filter_map(owned).collect();
        if owners.is_empty() {
            return Err(Trouble::Refused(format!("the node {node} knows of no slots")));
        }
        Ok(owners)
    }

    async fn ask(
        &self,
        address: &Address,
        tls: Option<&Tls>,
        login: &Login,
        question: &Cmd,
    ) -> Result<Value, Trouble> {
        let kept = locked(&self.asked).get(address).filter(|line| line.is_open()).cloned();
        let line = match kept {
            Some(line) => line,
            None => {
                let line = Arc::new(Line::open(address, tls, login, 0).await?);
                locked(&self.asked).insert(address.clone(), Arc::clone(&line));
                line
            }
        };
        // Taken out while it is asked: a question without an answer is not put again.
        locked(&self.asked).remove(address);
        let answer = line.ask(question).await?;
        locked(&self.asked).insert(address.clone(), line);
        Ok(answer)
    }
}

/// The first good answer, or the last bad one.
async fn first<T>(asked: Vec<future::BoxFuture<'_, Result<T, Trouble>>>) -> Result<T, Trouble> {
    if asked.is_empty() {
        return Err(Trouble::Refused("there is nobody to ask".to_owned()));
    }
    future::select_ok(asked).await.map(|(answer, _)| answer)
}
