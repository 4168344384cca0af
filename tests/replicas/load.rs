//! Jobs that mint all the time while something befalls the store, as uv and a mesh
//! would: what fails is tried again elsewhere under the same `request_id`. And
//! somebody who has seen the ID token tries it too, as a call of his own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mintage::{
    app::SystemClock, clock::Timestamp, demo::signing::SigningKey, grpc::proto, ports::Clock as _,
};
use tokio::task::JoinSet;

use super::{
    REUSED, UNAVAILABLE,
    support::{
        issuer::key_one,
        redis::{prefix, settled},
        replicas::{Replicas, mint, named},
        service::{Client, github_claims, publishing},
    },
    told,
};

/// How many jobs run at the same time.
const WORKERS: usize = 4;

/// How long a job waits before it tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// Jobs, until they are told to end.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Progress>,
    jobs: JoinSet<Vec<Job>>,
}

#[derive(Default)]
struct Progress {
    minted: AtomicUsize,
    failed: AtomicUsize,
}

/// What became of one job's ID token.
struct Job {
    id_token: String,
    /// What the job heard, then what the other heard, in order.
    told: Vec<String>,
    /// At which replica each, and when.
    when: Vec<(usize, Timestamp)>,
    tokens: BTreeSet<String>,
}

/// Everything that was heard.
pub(crate) struct Seen {
    jobs: Vec<Job>,
}

impl Load {
    /// Jobs at these replicas, in turn.
    pub(crate) fn on(replicas: &Replicas) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Progress::default());
        let mut jobs = JoinSet::new();
        for worker in 0..WORKERS {
            let caller = Caller {
                clients: (0..replicas.count()).map(|replica| replicas.client(replica)).collect(),
                issuer: replicas.issuer.url(),
                key: key_one(),
                seen: Arc::clone(&seen),
            };
            let stop = Arc::clone(&stop);
            jobs.spawn(async move {
                let mut done = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    done.push(caller.job(worker + done.len()).await);
                }
                done
            });
        }
        Self { stop, seen, jobs }
    }

    /// Waits until so many more jobs have their tokens.
    pub(crate) async fn minted(&self, more: usize) {
        let before = self.seen.minted.load(Ordering::SeqCst);
        let enough = || self.seen.minted.load(Ordering::SeqCst) >= before + more;
        settled("jobs get their tokens", enough).await;
    }

    /// Waits until so many more calls have failed.
    pub(crate) async fn failed(&self, more: usize) {
        let before = self.seen.failed.load(Ordering::SeqCst);
        let enough = || self.seen.failed.load(Ordering::SeqCst) >= before + more;
        settled("jobs notice", enough).await;
    }

    /// Ends them, and says what was heard.
    pub(crate) async fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut jobs = Vec::new();
        while let Some(done) = self.jobs.join_next().await {
            jobs.extend(done.unwrap());
        }
        Seen { jobs }
    }
}

/// Who makes the calls.
struct Caller {
    clients: Vec<Client>,
    issuer: String,
    key: &'static SigningKey,
    seen: Arc<Progress>,
}

impl Caller {
    /// One job: it tries up to three times, and then somebody else once.
    async fn job(&self, first: usize) -> Job {
        let jti = prefix();
        let mut claims = github_claims(SystemClock.now().seconds(), &jti);
        claims["iss"] = self.issuer.clone().into();
        let id_token = self.key.id_token(&claims).unwrap();
        let request = publishing(&self.issuer, id_token.clone());
        let mut job = Job { id_token, told: Vec::new(), when: Vec::new(), tokens: BTreeSet::new() };
        for replica in first..first + 3 {
            if self.call(&mut job, replica, named(request.clone(), &jti)).await {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.call(&mut job, first + 1, named(request, "somebody else")).await;
        job
    }

    async fn call(&self, job: &mut Job, replica: usize, request: proto::MintRequest) -> bool {
        let client = self.clients[replica % self.clients.len()].clone();
        let answer = mint(client, request).await;
        job.when.push((replica % self.clients.len(), SystemClock.now()));
        job.told.push(told(&answer));
        let Ok(minted) = answer else {
            if job.told.last().is_some_and(|told| told != REUSED) {
                self.seen.failed.fetch_add(1, Ordering::SeqCst);
            }
            return false;
        };
        self.seen.minted.fetch_add(1, Ordering::SeqCst);
        job.tokens.insert(minted.token);
        true
    }
}

impl Seen {
    /// Holds all that callers heard against what they may have: a token, that the
    /// ID token is used up, or that nobody can tell now. And no ID token made two.
    pub(crate) fn is_sound(&self) -> &Self {
        for job in &self.jobs {
            assert!(job.tokens.len() <= 1, "granted twice: {:?} {:?}", job.told, job.when);
            for told in &job.told {
                assert!(["minted", REUSED, UNAVAILABLE].contains(&told.as_str()), "{told}");
            }
        }
        self
    }

    /// How often what was heard.
    pub(crate) fn tally(&self) -> BTreeMap<&str, usize> {
        let mut tally = BTreeMap::new();
        for told in self.jobs.iter().flat_map(|job| &job.told) {
            *tally.entry(told.as_str()).or_default() += 1;
        }
        tally
    }

    /// The ID tokens that made a token.
    pub(crate) fn redeemed(&self) -> Vec<String> {
        let redeemed = self.jobs.iter().filter(|job| !job.tokens.is_empty());
        redeemed.map(|job| job.id_token.clone()).collect()
    }
}
