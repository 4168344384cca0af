//! The wiring: a configuration becomes a running service. Knows everything,
//! decides nothing.
//!
//! One runtime of one thread for each core, each with its own listening socket on
//! the same port: a request is served on the core that its connection came in on,
//! which costs half of what one shared runtime does. Beside them one more thread
//! steers: the admin port, the keyring's folder, the certificates, the store's health, the end.

mod admin;
mod certificates;
mod core;
mod instruments;
mod keys;
mod parts;
mod readiness;
mod source;
mod store;

use std::{
    io,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, mpsc as blocking},
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    config::{Config, KeyringConfig, Source},
    grpc::{
        self, SharedCallers, TokenServer,
        gate::Gate,
        instruments::{Instruments, Room, observe_rooms},
        transport::{self, Phase},
    },
    macaroon::{KeyId, Keyring},
    ports::{Clock, Randomness, Store},
    service::Service,
    telemetry::{NoTelemetry, Telemetry, process, trace::Traced},
};

use self::core::Core;
use certificates::Certificates;
use instruments::Reloads;
use keys::KeyFolder;
pub use parts::{SystemClock, SystemRandomness};
use readiness::{Probed, Readiness, Turn};
use source::{SourceFile, Takers};

/// Why the service did not start: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum StartFailed {
    /// An address that can't be had.
    #[error("{key} = \"{address}\": {}", cannot_listen(.error))]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Issuers whose certificates or URLs can't be used.
    #[error("{0}")]
    Issuers(String),
    /// Certificates that the TLS library can't use.
    #[error("server.tls: {0}")]
    Tls(String),
    /// The system has no thread, no runtime or no signal handler left to give.
    #[error("the system does not let the service start: {0}")]
    System(#[from] io::Error),
    /// Nothing can be counted.
    #[error("telemetry: {0}")]
    Telemetry(#[from] NoTelemetry),
    /// Reflection could not be built from the compiled contract.
    #[error("the compiled contract can't be read: {0}")]
    Contract(#[from] tonic_reflection::server::Error),
}

fn cannot_listen(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there already".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not listen there".to_owned(),
        _ => format!("nothing can listen there: {error}"),
    }
}

/// What the service takes from the world: time and chance.
#[derive(Clone)]
pub struct World {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
}

impl World {
    /// The system's.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), randomness: Arc::new(SystemRandomness) }
    }
}

/// A running service. [`Server::stop`] ends it; dropped, it is told to stop as
/// well, and nobody waits for it.
pub struct Server {
    grpc: SocketAddr,
    admin: Option<SocketAddr>,
    stop: mpsc::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

/// Runs the service until it is told to stop, by SIGTERM or SIGINT; told again, it hurries. What may change while it
/// runs is taken from the configuration's source.
pub fn run(config: &Config, keyring: Keyring, source: Source) -> Result<(), StartFailed> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // Before anybody hears that the service listens: a signal that came first
    // would end the process in the middle of its calls.
    let mut signals = runtime.block_on(async { StopSignals::heard() })?;
    let server = Server::start_from(Some(source), config, keyring, World::system())?;
    runtime.block_on(signals.next());
    let hurry = server.stop.clone();
    let (tell, mut stopped) = oneshot::channel();
    let stopping = named("mintage-stop".to_owned(), move || {
        server.stop();
        // Whoever listened has gone on.
        let _ = tell.send(());
    })?;
    runtime.block_on(async {
        while tokio::select! { _ = &mut stopped => false, () = signals.next() => true } {
            // A full channel: it hurries already.
            let _ = hurry.try_send(());
        }
    });
    let _ = stopping.join();
    tracing::info!("stopped");
    Ok(())
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on they are heard.
    fn heard() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Server {
    /// Starts the service, and comes back when its ports are open and its store was
    /// asked whether it is there: whoever asks for health from then on hears the truth.
    pub fn start(config: &Config, keyring: Keyring, world: World) -> Result<Self, StartFailed> {
        Self::start_from(None, config, keyring, world)
    }

    fn start_from(
        source: Option<Source>,
        config: &Config,
        keyring: Keyring,
        world: World,
    ) -> Result<Self, StartFailed> {
        let mut chance = [0; 16];
        world.randomness.fill(&mut chance);
        let telemetry = Telemetry::start(&config.telemetry, chance)?;
        process::observe(&telemetry.metrics().meter());
        let clock = Arc::clone(&world.clock);
        let shared = store::store(&config.store, clock.now(), &telemetry);
        let (store, credentials) = (Arc::clone(&shared.store), shared.credentials.clone());
        let service = Arc::new(parts::service(config, keyring, shared, world, &telemetry)?);
        let certificates = config.tls.clone().map(Certificates::new).transpose()?;
        let listeners =
            transport::listen(config.listen, config.server.threads).map_err(|error| {
                StartFailed::Listen { key: "listen", address: config.listen, error }
            })?;
        let admin = config.admin_listen.map(admin::listen).transpose()?;
        let addresses = (
            listeners.first().map_or(Ok(config.listen), std::net::TcpListener::local_addr)?,
            admin.as_ref().map(std::net::TcpListener::local_addr).transpose()?,
        );

        let (phase, phases) = watch::channel(Phase::Cut);
        let meter = telemetry.metrics().meter();
        let instruments = Instruments::new(&meter, &parts::names(config));
        let server = TokenServer::new(Arc::clone(&service), Arc::clone(&instruments));
        let callers = SharedCallers::new(parts::callers(&config.callers));
        let served = grpc::served(server, callers.clone(), phases.clone())?;
        let (gate_bounds, connection_bounds) = parts::bounds(&config.server);
        let served = Traced::new(served, telemetry.spans(), addresses.0);
        let gate = Gate::new(served, gate_bounds, Arc::clone(&instruments));
        let places = transport::places(connection_bounds);
        let connections =
            Room { free: Arc::clone(&places), places: connection_bounds.max_connections };
        observe_rooms(&meter, gate.room(), connections);
        let reloads = Reloads::new(&meter);
        instruments::observe(&meter, &phase, &service, certificates.as_ref());

        let mut threads = Vec::with_capacity(listeners.len() + 1);
        for (at, listener) in listeners.into_iter().enumerate() {
            let core = Core {
                listener,
                gate: gate.clone(),
                bounds: connection_bounds,
                places: Arc::clone(&places),
                tls: certificates.as_ref().map(Certificates::tls),
                phases: phases.clone(),
            };
            threads.push(named(format!("mintage-{at}"), core.served()?)?);
        }
        let (stop, stopped) = mpsc::channel(2);
        let (current, currents) = watch::channel(config.keyring.current.clone());
        let steering = Steering {
            service,
            store,
            clock,
            keyring: config.keyring.clone(),
            currents,
            phase,
            telemetry,
            instruments,
            reloads: Arc::clone(&reloads),
            delay: config.server.drain_delay,
            grace: config.server.shutdown_grace,
        };
        let tls = certificates.is_some();
        let takers = Takers { callers, credentials, current };
        let source = source.map(|source| SourceFile::new(source, takers, config.clone()));
        let watched = Watched { certificates, source, reloads };
        let (first_probe, first_probed) = blocking::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        threads.push(named("mintage-steer".to_owned(), move || {
            steering.run(&runtime, admin, watched, first_probe, stopped);
        })?);
        // Nothing is ever sent: it is heard that the other end was dropped.
        let _ = first_probed.recv();
        let (grpc, admin) = addresses;
        tracing::info!(%grpc, admin = admin.map(tracing::field::display), tls, "listening");
        Ok(Self { grpc, admin, stop, threads })
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where probes and metrics are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Tells the service to stop, and comes back when it has: running calls
    /// ended, or their time was over.
    pub fn stop(self) {
        // A full or closed channel: it is stopping already.
        let _ = self.stop.try_send(());
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the service panicked");
            }
        }
    }
}

fn named(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(body)
}

/// What runs beside the serving: probes, keys, the store's health, the end.
struct Steering {
    service: Arc<Service>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keyring: KeyringConfig,
    /// The key that mints, as the configuration names it.
    currents: watch::Receiver<KeyId>,
    phase: watch::Sender<Phase>,
    telemetry: Telemetry,
    instruments: Arc<Instruments>,
    reloads: Arc<Reloads>,
    delay: Duration,
    grace: Duration,
}

/// Files whose changes are taken while the service runs, beside the keyring's.
struct Watched {
    certificates: Option<Certificates>,
    source: Option<SourceFile>,
    reloads: Arc<Reloads>,
}

/// How often the keyring's folder is looked at, and other files: reading them costs next to
/// nothing, and whoever changes something waits until every replica has taken it.
const KEYRING_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is told that calls were refused because there were too many.
const REFUSALS_INTERVAL: Duration = Duration::from_secs(10);

/// How often the store is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A store bounds its own answers, as its configuration says; this bounds a store
/// that doesn't.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

impl Steering {
    fn run(
        self,
        runtime: &Runtime,
        admin: Option<std::net::TcpListener>,
        watched: Watched,
        first_probe: blocking::Sender<()>,
        mut stopped: mpsc::Receiver<()>,
    ) {
        runtime.block_on(async {
            if let Some(listener) = admin {
                let metrics = self.telemetry.metrics().clone();
                tokio::spawn(admin::serve(listener, self.phase.clone(), metrics));
            }
            let reloads = || Arc::clone(&watched.reloads);
            watched.certificates.map(|files| tokio::spawn(files.watch(reloads())));
            watched.source.map(|file| tokio::spawn(file.watch(reloads())));
            tokio::select! {
                _ = stopped.recv() => {}
                () = self.watch_keyring() => {}
                () = self.watch_store(first_probe) => {}
                () = self.watch_gate() => {}
            }
            // Nothing but the end changes the phase from here on.
            self.leave(&mut stopped).await;
            self.drain(&mut stopped).await;
        });
        self.telemetry.end();
    }

    /// Says that calls are better sent elsewhere, and takes those that come all the same:
    /// whoever sends them needs a moment to hear of it.
    async fn leave(&self, hurry: &mut mpsc::Receiver<()>) {
        if self.delay.is_zero() {
            return;
        }
        tracing::info!(delay = ?self.delay, "leaving: not ready any more, and calls are still taken");
        self.phase.send_replace(Phase::Leaving);
        tokio::select! {
            () = sleep(self.delay) => {}
            Some(()) = hurry.recv() => {}
        }
    }

    /// Lets running calls end, until their time is over.
    async fn drain(&self, hurry: &mut mpsc::Receiver<()>) {
        tracing::info!(grace = ?self.grace, "stopping: running calls may end");
        // Whoever watches or asks for health, or for the probes, hears it now.
        let until = Instant::now() + self.grace;
        self.phase.send_replace(Phase::Draining { until });
        // The probes answer until the last call has ended.
        tokio::select! {
            () = self.phase.closed() => return,
            Some(()) = hurry.recv() => {}
        }
        tracing::warn!("stopping at once: calls that still run are cut");
        self.phase.send_replace(Phase::Draining { until: Instant::now() });
        self.phase.closed().await;
    }

    /// Takes every change of the keyring's folder, and of the key that mints.
    async fn watch_keyring(&self) {
        let mut ticks = interval(KEYRING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut folder = KeyFolder::new(self.keyring.clone());
        let mut currents = self.currents.clone();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = currents.changed() => folder.promote(currents.borrow_and_update().clone()),
            }
            let look = folder.look(&self.service.keyring());
            if let Some(keyring) = look.changed {
                let keys = format!("{keyring:?}");
                self.service.replace_keyring(keyring);
                self.reloads.keyring.taken();
                tracing::info!(keys, "the keyring changed");
            }
            if let Some(mistakes) = look.mistaken {
                tracing::error!(%mistakes, "the keyring can't be read again; the one in memory stays");
            }
            self.reloads.keyring.looked(folder.is_mistaken());
        }
    }

    /// Tells of calls that were refused at the gate: their number, not each of them.
    async fn watch_gate(&self) {
        let mut ticks = interval(REFUSALS_INTERVAL);
        let mut told = 0;
        loop {
            ticks.tick().await;
            let refused = self.instruments.overloads();
            if refused > told {
                let calls = refused - told;
                tracing::warn!(calls, "refused: more calls at once than the service can do");
                told = refused;
            }
        }
    }

    /// Probes the store for as long as the service runs. `first` is dropped after the
    /// first time, which whoever waits for it hears.
    async fn watch_store(&self, first: blocking::Sender<()>) {
        let mut readiness = self.look_at_store(Readiness::Starting).await;
        drop(first);
        let mut ticks = interval(PROBE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            readiness = self.look_at_store(readiness).await;
        }
    }

    async fn look_at_store(&self, readiness: Readiness) -> Readiness {
        let began = Instant::now();
        let answer = self.probe().await;
        let probed = Probed { answered: answer.is_ok(), began, ended: Instant::now() };
        let (next, turn) = readiness.after(probed);
        self.tell(turn, answer.as_ref().err());
        next
    }

    /// Asks the store once. Err says why there was no answer.
    async fn probe(&self) -> Result<(), String> {
        let asked = async { self.store.probe(self.clock.now()).await };
        match timeout(PROBE_TIMEOUT, AssertUnwindSafe(asked).catch_unwind()).await {
            Ok(Ok(answer)) => answer.map_err(|failure| failure.cause),
            // It would end this thread otherwise, and with it the service.
            Ok(Err(_panic)) => {
                self.instruments.panicked();
                Err("the probe panicked".to_owned())
            }
            Err(_elapsed) => Err(format!("no answer for {PROBE_TIMEOUT:?}")),
        }
    }

    /// Tells everybody what a probe changed.
    fn tell(&self, turn: Turn, cause: Option<&String>) {
        match turn {
            Turn::None => {}
            Turn::Begun => {
                self.phase.send_replace(Phase::Serving);
            }
            Turn::Lost => {
                self.phase.send_replace(Phase::Cut);
                tracing::warn!(cause, "not ready: the store is out of reach");
            }
            Turn::Back { after } => {
                self.phase.send_replace(Phase::Serving);
                tracing::info!(?after, "ready again: the store is back");
            }
        }
    }
}
