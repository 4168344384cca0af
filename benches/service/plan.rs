//! The course of a run: what is started, what is measured when, how often.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use mintage::grpc::proto;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    Failure,
    child::{Cores, Mintage, Role},
    issuer::TestIssuer,
    load::{Connections, Work},
    paper::grouped,
    redis_server::Redis,
    report::{Growth, Latency, Report, Started},
    rounds::{Figures, Lane, Measured, Rpc, Served, Store, Turn, What, median},
    scene::{self, Folder, INDEX, Pool, Requests, Sizes, WEB, WIDE_INDEX},
};

/// Streams at once.
pub(super) const STREAMS: [usize; 4] = [1, 16, 64, 256];

/// The ones that the bounds are about.
pub(super) const BOUND_STREAMS: usize = 64;

/// Projects of a publisher.
pub(super) const PROJECTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// Project ids that fit into a token.
const EMBEDDED: usize = 1_000;

/// Streams at which growth is measured: enough to keep a core at work.
const GROWTH_STREAMS: usize = 16;

/// How much is asked of the run.
#[derive(Clone)]
pub(super) struct Effort {
    rounds: usize,
    /// Only what has this in its name, and only at the streams of the bounds; for
    /// whoever looks at one call with a profiler.
    only: Option<String>,
    /// Whether figures are shown. Those of a handful of calls say nothing.
    shown: bool,
    /// Mints in a turn. Each needs an ID token.
    mints: usize,
    /// Other calls in a turn.
    others: usize,
    /// Starts of the service.
    starts: usize,
    /// Seconds for which a pace is kept.
    paced: f64,
}

impl Effort {
    /// What the command line asks for. Cargo adds `--bench` where it benches, and
    /// nothing where it tests.
    pub(super) fn asked(arguments: &[&str]) -> Self {
        let mut effort = if arguments.contains(&"--bench") {
            Self {
                rounds: 7,
                only: None,
                shown: true,
                mints: 1_500,
                others: 4_000,
                starts: 7,
                paced: 1.0,
            }
        } else {
            Self {
                rounds: 1,
                only: None,
                shown: false,
                mints: 8,
                others: 16,
                starts: 1,
                paced: 0.05,
            }
        };
        let after = |name| {
            let at = arguments.iter().position(|argument| *argument == name)?;
            arguments.get(at + 1)
        };
        effort.only = after("--only").map(ToString::to_string);
        if let Some(rounds) = after("--rounds").and_then(|rounds| rounds.parse().ok()) {
            effort.rounds = rounds;
        }
        effort
    }

    /// Whether this has its turns.
    fn includes(&self, what: What) -> bool {
        let name = format!("{what:?}").to_lowercase();
        self.only.as_ref().is_none_or(|only| name.contains(&only.to_lowercase()))
    }

    fn streams(&self) -> impl Iterator<Item = usize> {
        let all = self.only.is_none();
        STREAMS.into_iter().filter(move |streams| all || *streams == BOUND_STREAMS)
    }

    /// Fewer where one waits for the other.
    const fn calls(&self, what: What, streams: usize) -> usize {
        let calls = match what {
            What::Mint(_) => self.mints,
            What::Verify(_)
            | What::Attenuate
            | What::Forged
            | What::Stranger
            | What::EchoOf(_)
            | What::Rsa
            | What::EvalSha => self.others,
        };
        if streams == 1 { calls.div_ceil(3) } else { calls }
    }

    /// Fewer where the messages are large.
    const fn growth_calls(&self, projects: usize) -> usize {
        match projects {
            0..1_000 => self.others.div_ceil(8),
            1_000..10_000 => self.others.div_ceil(16),
            _ => self.others.div_ceil(64),
        }
    }

    /// ID tokens that one service gets to see.
    fn id_tokens(&self) -> usize {
        let streams: usize =
            self.streams().map(|streams| self.calls(What::Mint(Store::Memory), streams)).sum();
        let growth: usize = PROJECTS.iter().map(|projects| self.growth_calls(*projects)).sum();
        let growth = growth + self.growth_calls(0) + EXTRA;
        self.rounds * (streams + growth) + PACES * MOST_PACED + EXTRA
    }
}

/// Single Mints, for their answers.
const EXTRA: usize = 32;

/// How often a pace is kept.
const PACES: usize = 3;

/// Calls of a pace.
const MOST_PACED: usize = 4_000;

/// Everything, as text.
pub(super) fn figures(effort: Effort) -> Result<String, Failure> {
    Cores::Others.keep_to();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Run::start(effort).await?.measure().await })
}

/// All that runs.
struct Run {
    effort: Effort,
    issuer: TestIssuer,
    memory: Stage,
    redis: Option<Stage>,
    echo: Rc<Served>,
    rsa: Rc<RefCell<Role>>,
    evalsha: Option<Rc<RefCell<Role>>>,
    _server: Option<Redis>,
    _folders: Vec<Folder>,
}

/// A Mintage with a store.
struct Stage {
    store: Store,
    mintage: Rc<Mintage>,
    served: Rc<Served>,
    started: Started,
}

#[expect(clippy::print_stderr, reason = "a person waits for minutes")]
fn say(words: &str) {
    eprintln!("  {words}");
}

impl Run {
    async fn start(effort: Effort) -> Result<Self, Failure> {
        say("starting the service and the bare limits …");
        let issuer = TestIssuer::start();
        let server = Redis::find().await?;
        let own = Folder::new(&issuer, "kind = \"memory\"")?;
        let memory = Stage::start(Store::Memory, &effort, &own).await?;
        let mut folders = vec![own];
        let (mut redis, mut evalsha) = (None, None);
        if let Some(server) = &server {
            let own = Folder::new(&issuer, &format!("kind = \"redis\", url = \"{}\"", server.url))?;
            redis = Some(Stage::start(Store::Redis, &effort, &own).await?);
            let role = Role::start("evalsha", &[&server.url])?;
            evalsha = Some(Rc::new(RefCell::new(role)));
            folders.push(own);
        }
        let mut role = Role::start("echo", &[])?;
        let address = role.order("where")?.parse()?;
        let echo = Rc::new(Served {
            process: Rc::new(role),
            connections: Connections::open(address, 256, WEB).await?,
            used: Arc::default(),
        });
        let rsa = Rc::new(RefCell::new(Role::start("rsa", &[])?));
        Ok(Self {
            effort,
            issuer,
            memory,
            redis,
            echo,
            rsa,
            evalsha,
            _server: server,
            _folders: folders,
        })
    }

    fn stages(&self) -> impl Iterator<Item = &Stage> {
        [&self.memory].into_iter().chain(&self.redis)
    }

    async fn measure(self) -> Result<String, Failure> {
        let requests = Requests::new(&self.issuer);
        for stage in self.stages() {
            stage.warm(&self.issuer, &requests).await?;
        }
        let count = self.effort.id_tokens();
        say(&format!("signing {} ID tokens …", grouped(count as u64)));
        let pool = Arc::new(Pool::sign(&self.issuer, count)?);
        let one = Samples::take(&self, &requests, &pool).await?;
        let mut lanes = self.lanes(&requests, &pool, &one);
        lanes.retain(|lane| self.effort.includes(lane.what));
        let mut figures = Figures::default();
        for streams in self.effort.streams() {
            say(&format!("{streams} streams …"));
            self.rounds(&lanes, streams, &mut figures).await?;
        }
        let crowded = self.stages().map(|stage| Ok(stage.mintage.child.memory()?.1));
        let crowded = crowded.collect::<Result<Vec<_>, Failure>>()?;
        let (mut latencies, mut growth) = (vec![], vec![]);
        if self.effort.only.is_none() {
            say("half of saturation …");
            latencies = self.latencies(&lanes, &figures).await?;
            say("1 to 10,000 projects …");
            growth = self.growth(&requests, &pool).await?;
        }
        self.audited().await?;
        if !self.effort.shown {
            let redis = if self.redis.is_some() { "" } else { " (without a Redis)" };
            return Ok(format!("every call holds{redis}; `make bench` measures them"));
        }
        Ok(Report {
            figures,
            started: self.stages().map(|stage| (stage.store, stage.started)).collect(),
            crowded: self.stages().map(|stage| stage.store).zip(crowded).collect(),
            latencies,
            growth,
            kept_to_cores: Cores::kept(),
        }
        .to_string())
    }

    /// Everything that takes turns.
    fn lanes(&self, requests: &Requests, pool: &Arc<Pool>, one: &Samples) -> Vec<Lane> {
        let lane = |what, served: &Rc<Served>, work| Lane {
            what,
            turn: Turn::Calls { served: Rc::clone(served), work: Arc::new(work) },
        };
        let echo = |rpc, sizes| lane(What::EchoOf(rpc), &self.echo, scene::echo(sizes));
        let mint = |stage: &Stage| {
            let template = requests.publishing(INDEX, 1);
            let work = requests.mint(pool, &stage.served.used, &template);
            lane(What::Mint(stage.store), &stage.served, work)
        };
        let verify = |stage: &Stage| {
            lane(What::Verify(stage.store), &stage.served, scene::verify(INDEX, &one.token))
        };
        let bare = |what, turn| Lane { what, turn };
        let mut lanes = vec![
            echo(Rpc::Mint, one.mint),
            bare(What::Rsa, Turn::Rsa(Rc::clone(&self.rsa))),
            mint(&self.memory),
        ];
        if let (Some(redis), Some(role)) = (&self.redis, &self.evalsha) {
            lanes.push(bare(What::EvalSha, Turn::EvalSha(Rc::clone(role))));
            lanes.push(mint(redis));
        }
        let memory = &self.memory.served;
        lanes.extend([
            lane(What::Forged, memory, requests.refused_mint(&one.forged)),
            lane(What::Stranger, memory, requests.refused_mint(&one.stranger)),
            echo(Rpc::Refused, one.refused),
            echo(Rpc::Verify, one.verify),
        ]);
        lanes.extend(self.stages().map(verify));
        lanes.extend([
            lane(What::Attenuate, memory, scene::attenuate(&one.token)),
            echo(Rpc::Attenuate, one.attenuate),
        ]);
        lanes
    }

    async fn rounds(
        &self,
        lanes: &[Lane],
        streams: usize,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        for _ in 0..self.effort.rounds {
            for lane in lanes {
                let sample = lane.take(streams, self.effort.calls(lane.what, streams)).await?;
                figures.add(lane.what, streams, sample);
            }
        }
        Ok(())
    }

    /// Percentiles at half of what a service takes.
    async fn latencies(&self, lanes: &[Lane], figures: &Figures) -> Result<Vec<Latency>, Failure> {
        let mut latencies = Vec::new();
        for lane in lanes {
            let (What::Mint(_) | What::Verify(_), Turn::Calls { served, work }) =
                (lane.what, &lane.turn)
            else {
                continue;
            };
            let most = figures.median(lane.what, BOUND_STREAMS, |sample| sample.per_second);
            let pace = most.unwrap_or_default() / 2.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small positive number, which is cut below"
            )]
            let calls = (pace * self.effort.paced) as usize;
            let (mut half, mut all) = (Vec::new(), Vec::new());
            for _ in 0..PACES {
                let calls = calls.clamp(1, MOST_PACED);
                let mut took = served.connections.pace(work, pace, calls).await?;
                took.sort_unstable();
                let at = |percent: usize| took.get(took.len() * percent / 100).copied();
                half.push(at(50).unwrap_or_default().as_secs_f64());
                all.push(at(99).unwrap_or_default().as_secs_f64());
            }
            let millis = |of: Vec<f64>| median(of.into_iter()).unwrap_or_default() * 1e3;
            latencies.push(Latency { what: lane.what, pace, p50: millis(half), p99: millis(all) });
        }
        Ok(latencies)
    }

    /// What a publisher with many projects costs, or a token with many ids in it.
    async fn growth(&self, requests: &Requests, pool: &Arc<Pool>) -> Result<Vec<Growth>, Failure> {
        let stage = &self.memory;
        let mut growth = vec![];
        for projects in PROJECTS.into_iter().chain([0]) {
            let template = requests.publishing(INDEX, projects);
            let work = requests.mint(pool, &stage.served.used, &template);
            let (answer, sizes) = stage.ask::<proto::MintResponse>(&work).await?;
            let name =
                if projects == 0 { "Mint, projects at use" } else { "Mint, projects listed" };
            growth.push(self.grown(name, projects, sizes, answer.token.len(), work).await?);
        }
        for ids in PROJECTS.into_iter().filter(|ids| *ids <= EMBEDDED) {
            let template = requests.publishing(WIDE_INDEX, ids);
            let mint = requests.mint(pool, &stage.served.used, &template);
            let token = stage.ask::<proto::MintResponse>(&mint).await?.0.token;
            let work = scene::verify(WIDE_INDEX, &token);
            let (_, sizes) = stage.ask::<proto::VerifyResponse>(&work).await?;
            growth
                .push(self.grown("Verify, ids in the token", ids, sizes, token.len(), work).await?);
        }
        Ok(growth)
    }

    async fn grown(
        &self,
        name: &'static str,
        projects: usize,
        sizes: Sizes,
        token_bytes: usize,
        work: Work,
    ) -> Result<Growth, Failure> {
        let calls = self.effort.growth_calls(projects);
        let lane = |what, served: &Rc<Served>, work| Lane {
            what,
            turn: Turn::Calls { served: Rc::clone(served), work: Arc::new(work) },
        };
        // Whose figures these are doesn't matter here.
        let ours = lane(What::Mint(Store::Memory), &self.memory.served, work);
        let echo = lane(What::EchoOf(Rpc::Mint), &self.echo, scene::echo(sizes));
        let mut figures = Figures::default();
        for _ in 0..self.effort.rounds {
            for lane in [&ours, &echo] {
                figures.add(lane.what, projects, lane.take(GROWTH_STREAMS, calls).await?);
            }
        }
        let cpu = |what| figures.median(what, projects, |sample| sample.cpu).unwrap_or_default();
        Ok(Growth {
            name,
            projects,
            bytes: sizes.request + sizes.answer,
            token_bytes,
            cpu: cpu(ours.what),
            echo: cpu(echo.what),
        })
    }

    /// Every call is in the audit trail, or the figures are of another service.
    async fn audited(&self) -> Result<(), Failure> {
        let began = Instant::now();
        for stage in self.stages() {
            let asked = stage.served.connections.asked();
            while stage.mintage.audited() != asked {
                if began.elapsed() > Duration::from_secs(10) {
                    let audited = stage.mintage.audited();
                    return Err(format!("{asked} calls, but {audited} audit events").into());
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }
}

/// One of each, for their answers and sizes.
struct Samples {
    token: String,
    forged: String,
    stranger: String,
    mint: Sizes,
    verify: Sizes,
    attenuate: Sizes,
    refused: Sizes,
}

impl Samples {
    async fn take(run: &Run, requests: &Requests, pool: &Arc<Pool>) -> Result<Self, Failure> {
        let stage = &run.memory;
        let template = requests.publishing(INDEX, 1);
        let mint = requests.mint(pool, &stage.served.used, &template);
        let (minted, mint) = stage.ask::<proto::MintResponse>(&mint).await?;
        let verify = scene::verify(INDEX, &minted.token);
        let (_, verify) = stage.ask::<proto::VerifyResponse>(&verify).await?;
        let attenuate = scene::attenuate(&minted.token);
        let (_, attenuate) = stage.ask::<proto::AttenuateResponse>(&attenuate).await?;
        let id_token = pool.any().ok_or("no ID token")?;
        let forged = forged(id_token).ok_or("an ID token without a signature")?;
        let stranger =
            run.issuer.id_token(&json!({"iss": "https://elsewhere.example", "jti": "1"}));
        let refused = Sizes { answer: REFUSAL_BYTES, ..mint };
        Ok(Self { token: minted.token, forged, stranger, mint, verify, attenuate, refused })
    }
}

/// A refusal's details, which go where an answer's message would.
const REFUSAL_BYTES: usize = 200;

/// The same with another signature of the same length.
fn forged(id_token: &str) -> Option<String> {
    let (signed, signature) = id_token.rsplit_once('.')?;
    let (first, rest) = signature.split_at_checked(signature.len() / 2)?;
    let other = if rest.starts_with('A') { 'B' } else { 'A' };
    Some(format!("{signed}.{first}{other}{}", rest.get(1..)?))
}

impl Stage {
    /// Starts the service some times, and keeps the last one.
    async fn start(store: Store, effort: &Effort, folder: &Folder) -> Result<Self, Failure> {
        let mut times = Vec::new();
        loop {
            let began = Instant::now();
            let mintage = Rc::new(Mintage::start(&folder.configuration())?);
            let address = format!("http://{}", mintage.address);
            let channel = Endpoint::from_shared(address)?.connect().await?;
            HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            if times.len() < effort.starts {
                continue;
            }
            let (idle, _) = mintage.child.memory()?;
            let ready = median(times.into_iter()).unwrap_or_default();
            let served = Rc::new(Served {
                connections: Connections::open(mintage.address, 256, WEB).await?,
                process: Rc::clone(&mintage) as Rc<dyn Measured>,
                used: Arc::new(AtomicUsize::new(0)),
            });
            return Ok(Self { store, mintage, served, started: Started { ready, idle } });
        }
    }

    /// Mints until the service does: its first ID token makes it fetch keys, and
    /// what was issued before a store's memory begins is refused.
    async fn warm(&self, issuer: &TestIssuer, requests: &Requests) -> Result<(), Failure> {
        let began = Instant::now();
        let template = requests.publishing(INDEX, 1);
        loop {
            let pool = Arc::new(Pool::sign(issuer, 1)?);
            let work = requests.mint(&pool, &Arc::default(), &template);
            match self.served.connections.call(&work).await? {
                Ok(_) => return Ok(()),
                Err(status) if began.elapsed() > Duration::from_secs(10) => {
                    return Err(status.message().into());
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// One call: its answer, and how long its messages are.
    async fn ask<A: prost::Message + Default>(&self, work: &Work) -> Result<(A, Sizes), Failure> {
        let request: Bytes = (work.next)().ok_or("nothing is left to send")?;
        let message = request.clone();
        let one = Work {
            path: work.path,
            next: Box::new(move || Some(message.clone())),
            holds: work.holds,
        };
        let answer =
            self.served.connections.call(&one).await?.map_err(|status| status.to_string())?;
        let sizes = Sizes { request: request.len(), answer: answer.len() };
        Ok((A::decode(answer)?, sizes))
    }
}
