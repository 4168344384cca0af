//! A request and its answer: to whoever has the keys, within its time.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use redis::Value;
use tokio::runtime::{Handle, Id};

use super::{
    Address, RedisSettings, Topology,
    lines::{Lines, locked},
    link::{Link, Trouble},
    micros,
    notices::Notices,
    owners::Owners,
    place::{Place, Places},
    request::{BEGIN, Request},
};
use crate::{clock::Timestamp, ports::StoreFailure};

/// How often one request may be sent on, each time after it was not carried out.
const MOST_TRIES: usize = 6;

/// How long keys that move from one server to another are waited for at a time.
const ON_THE_WAY: Duration = Duration::from_millis(10);

/// When to try again where Redis can't be reached: it may take a moment to come
/// back, and a client that has waited a second has lost little.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Requests and answers, for all runtimes of the process.
pub(super) struct Exchange {
    settings: Arc<RedisSettings>,
    places: Places,
    owners: Owners,
    notices: Arc<Notices>,
    /// Each runtime's connections.
    lines: RwLock<HashMap<Id, Arc<Lines>>>,
    /// Places whose memory this process has known.
    known: Mutex<HashSet<Place>>,
    waiting: AtomicUsize,
}

impl Exchange {
    pub(super) fn new(settings: RedisSettings) -> Self {
        let prefix = settings.prefix.clone();
        let places = match settings.topology {
            Topology::Single(_) | Topology::Sentinel { .. } => Places::one(prefix),
            Topology::Cluster(_) => Places::of_a_cluster(prefix),
        };
        let settings = Arc::new(settings);
        Self {
            owners: Owners::new(Arc::clone(&settings), places.all().collect()),
            notices: Arc::default(),
            lines: RwLock::default(),
            known: Mutex::default(),
            waiting: AtomicUsize::new(0),
            settings,
            places,
        }
    }

    /// The names of keys.
    pub(super) const fn places(&self) -> &Places {
        &self.places
    }

    /// Whether what is written waits for replicas.
    pub(super) fn waits(&self) -> bool {
        self.settings.wait_replicas > 0
    }

    /// Sends a request to the server that has its place. At once a failure where
    /// too many wait already.
    pub(super) async fn send(
        &self,
        place: Place,
        request: &Request,
        now: Timestamp,
    ) -> Result<Value, StoreFailure> {
        self.send_in_time(place, request, now).await.map_err(|cause| {
            self.notices.failed(&cause);
            failure(cause)
        })
    }

    /// The same; else why there is no answer.
    async fn send_in_time(
        &self,
        place: Place,
        request: &Request,
        now: Timestamp,
    ) -> Result<Value, String> {
        let Some(_seat) = Seat::take(&self.waiting, self.settings.max_waiting) else {
            return Err("too many calls wait for Redis".to_owned());
        };
        let lines = self.lines();
        let used = Mutex::new(None);
        let sent = self.send_on(&lines, place, request, now, &used);
        match tokio::time::timeout(self.settings.timeout, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(trouble)) => Err(trouble.cause()),
            Err(_elapsed) => {
                let within = format!("Redis gave no answer within {:?}", self.settings.timeout);
                let Some(address) = locked(&used).take() else { return Err(within) };
                self.give_up(&lines, &address);
                Err(format!("{within}: {address}"))
            }
        }
    }

    /// Sends a request, and sends it on as long as it was surely not carried out.
    async fn send_on(
        &self,
        lines: &Lines,
        place: Place,
        request: &Request,
        now: Timestamp,
        used: &Mutex<Option<Address>>,
    ) -> Result<Value, Trouble> {
        let mut asked = None;
        for _ in 0..MOST_TRIES {
            let asking = asked.is_some();
            let address = match asked.take() {
                Some(address) => address,
                None => self.owners.owner(place).await?,
            };
            *locked(used) = Some(address.clone());
            let sent = match lines.link(&address).await {
                Ok(link) => match link.send(request, asking).await {
                    Ok(answer) if is_strange(&answer) => {
                        self.begin(&address, &link, place, asking, now).await.map(|()| None)
                    }
                    sent => sent.map(Some),
                },
                Err(trouble) => Err(trouble),
            };
            match sent {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(Trouble::Moved(to)) => self.owners.moved(place, to.or_of(&address)),
                Err(Trouble::Asked(to)) => asked = Some(to.or_of(&address)),
                Err(Trouble::OnTheWay) => tokio::time::sleep(ON_THE_WAY).await,
                Err(Trouble::Refused(cause)) => return Err(Trouble::Refused(cause)),
                Err(Trouble::Broken(cause)) => {
                    self.give_up(lines, &address);
                    return Err(Trouble::Broken(cause));
                }
            }
        }
        Err(Trouble::Refused("Redis sends from one server to the next".to_owned()))
    }

    /// Has a place's memory begin, at the server process of this link.
    async fn begin(
        &self,
        address: &Address,
        link: &Link,
        place: Place,
        asking: bool,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let known = locked(&self.known).contains(&place);
        let steps: &[&str] = if self.waits() { &["announce", "begin"] } else { &["begin"] };
        for step in steps {
            let request = Request::Run {
                script: &BEGIN,
                keys: vec![self.places.memory(place)],
                arguments: vec![
                    micros(now),
                    if known { "1" } else { "0" }.to_owned(),
                    (*step).to_owned(),
                ],
                lasting: true,
            };
            let (began, time) = memory(&link.send(&request, asking).await?)?;
            self.notices.clock(address, time, now);
            match began {
                Began::Before => break,
                Began::Announced => {}
                Began::Anew => self.notices.began(address, place, known),
            }
        }
        locked(&self.known).insert(place);
        Ok(())
    }

    /// Looks after everything: which server has what, and each place's memory.
    /// A failure only where no place at all can be reached.
    pub(super) async fn probe(&self, now: Timestamp) -> Result<(), StoreFailure> {
        let within = self.settings.timeout;
        if matches!(self.settings.topology, Topology::Sentinel { .. }) {
            // Where no sentinel answers, the primary may still.
            let _ = tokio::time::timeout(within, self.owners.look_again()).await;
        }
        let lines = self.lines();
        let looks = self.places.all().map(|place| {
            let lines = &lines;
            async move {
                tokio::time::timeout(within, self.look_after(lines, place, now))
                    .await
                    .unwrap_or_else(|_| {
                        Err(Trouble::Broken(format!("Redis gave no answer within {within:?}")))
                    })
            }
        });
        let mut worst = None;
        for look in join_all(looks).await {
            match look {
                Ok(()) => return Ok(()),
                Err(trouble) => worst = Some(trouble),
            }
        }
        Err(failure(worst.map_or_else(String::new, |trouble| trouble.cause())))
    }

    async fn look_after(&self, lines: &Lines, place: Place, now: Timestamp) -> Result<(), Trouble> {
        let address = self.owners.owner(place).await?;
        let mut look = Look { exchange: self, lines, address: &address, answered: false };
        let looked = match lines.link(&address).await {
            Ok(link) => self.begin(&address, &link, place, false, now).await,
            Err(trouble) => Err(trouble),
        };
        look.answered = !matches!(looked, Err(Trouble::Broken(_)));
        if let Err(Trouble::Moved(to)) = &looked {
            self.owners.moved(place, to.clone().or_of(&address));
        }
        looked
    }

    fn give_up(&self, lines: &Lines, address: &Address) {
        lines.give_up(address);
        self.owners.forget(address);
    }

    /// This runtime's connections.
    fn lines(&self) -> Arc<Lines> {
        let id = Handle::current().id();
        let read = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = read.get(&id) {
            return Arc::clone(lines);
        }
        drop(read);
        let mut write = self.lines.write().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Lines::new(Arc::clone(&self.settings), Arc::clone(&self.notices)));
        Arc::clone(write.entry(id).or_insert_with(made))
    }
}

/// What became of the memory of a place.
enum Began {
    /// It is whole.
    Before,
    /// It is about to begin.
    Announced,
    /// Just now.
    Anew,
}

/// What the script says of a memory, and what time it is at the server.
fn memory(answer: &Value) -> Result<(Began, Timestamp), Trouble> {
    let strange = || Trouble::Refused("Redis's answer is not that of a memory".to_owned());
    let Value::Array(parts) = answer else { return Err(strange()) };
    let [Value::Int(began), Value::Int(time)] = parts.as_slice() else { return Err(strange()) };
    let began = match began {
        0 => Began::Before,
        1 => Began::Anew,
        2 => Began::Announced,
        _ => return Err(strange()),
    };
    Ok((began, Timestamp::from_micros(*time)))
}

/// The failure of a call, with its cause for the log.
pub(super) fn failure(cause: String) -> StoreFailure {
    StoreFailure { cause, retry_after: RETRY_AFTER }
}

fn is_strange(answer: &Value) -> bool {
    match answer {
        Value::Array(parts) => {
            matches!(parts.first(), Some(Value::BulkString(word)) if word == b"strange")
        }
        _ => false,
    }
}

/// A look after a server. Cut short, by its time or by whoever asked, it had no
/// answer: nobody else looks over the same connection, so it would be dead for ever.
struct Look<'a> {
    exchange: &'a Exchange,
    lines: &'a Lines,
    address: &'a Address,
    answered: bool,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.exchange.give_up(self.lines, self.address);
        }
    }
}

/// A place among the calls that wait.
struct Seat<'a>(&'a AtomicUsize);

impl<'a> Seat<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let seat = Self(waiting);
        // Given back right away by the drop where there was none left.
        (waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
