//! The wiring: a configuration becomes a running service. Knows everything,
//! decides nothing.
//!
//! One runtime of one thread for each core, each with its own listening socket on
//! the same port: a request is served on the core that its connection came in on,
//! which costs half of what one shared runtime does. Beside them one more thread
//! steers: the admin port, the keyring's folder, the end.

mod admin;
mod keys;
mod parts;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    config::{Config, KeyringConfig},
    grpc::{
        self, TokenServer,
        gate::Gate,
        transport::{self, Phase},
    },
    macaroon::Keyring,
    ports::{Clock, Randomness},
    service::Service,
};

use keys::{KeyFolder, Look};
pub use parts::{SystemClock, SystemRandomness};

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
    /// The system has no thread, no runtime or no signal handler left to give.
    #[error("the system does not let the service start: {0}")]
    System(#[from] io::Error),
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

/// Runs the service until it is told to stop, by SIGTERM or SIGINT.
pub fn run(config: &Config, keyring: Keyring) -> Result<(), StartFailed> {
    let signals = Builder::new_current_thread().enable_all().build()?;
    // Before anybody hears that the service listens: a signal that came first
    // would end the process in the middle of its calls.
    let told_to_stop = signals.block_on(async { stop_signals() })?;
    let server = Server::start(config, keyring, World::system())?;
    signals.block_on(told_to_stop);
    tracing::info!(grace = ?config.server.shutdown_grace, "stopping: running calls may end");
    server.stop();
    tracing::info!("stopped");
    Ok(())
}

/// Listens for SIGTERM and SIGINT from now on.
fn stop_signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

impl Server {
    /// Starts the service, and comes back when its ports are open.
    pub fn start(config: &Config, keyring: Keyring, world: World) -> Result<Self, StartFailed> {
        let service = Arc::new(parts::service(config, keyring, world)?);
        let listeners =
            transport::listen(config.listen, config.server.threads).map_err(|error| {
                StartFailed::Listen { key: "listen", address: config.listen, error }
            })?;
        let admin = config.admin_listen.map(admin::listen).transpose()?;
        let addresses = (
            listeners.first().map_or(Ok(config.listen), std::net::TcpListener::local_addr)?,
            admin.as_ref().map(std::net::TcpListener::local_addr).transpose()?,
        );

        let (phase, phases) = watch::channel(Phase::Serving);
        let server = TokenServer::new(Arc::clone(&service));
        let routes = grpc::routes(server, parts::callers(config), phases.clone())?;
        let (gate_bounds, connection_bounds) = parts::bounds(&config.server);
        let gate = Gate::new(routes, gate_bounds);
        let places = transport::places(connection_bounds);

        let mut threads = Vec::with_capacity(listeners.len() + 1);
        for (at, listener) in listeners.into_iter().enumerate() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (gate, places, phases) = (gate.clone(), Arc::clone(&places), phases.clone());
            threads.push(named(format!("mintage-{at}"), move || {
                runtime.block_on(async move {
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => {
                            transport::serve(listener, gate, connection_bounds, places, phases)
                                .await;
                        }
                        Err(error) => tracing::error!(%error, "a listener could not be used"),
                    }
                });
            })?);
        }
        let (stop, stopped) = mpsc::channel(1);
        let steering = Steering {
            service,
            keyring: config.keyring.clone(),
            phase,
            grace: config.server.shutdown_grace,
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        threads.push(named("mintage-steer".to_owned(), move || {
            steering.run(&runtime, admin, stopped);
        })?);
        let (grpc, admin) = addresses;
        tracing::info!(%grpc, admin = admin.map(tracing::field::display), "listening");
        Ok(Self { grpc, admin, stop, threads })
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where the probes are served.
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

/// What runs beside the serving: probes, keys, the end.
struct Steering {
    service: Arc<Service>,
    keyring: KeyringConfig,
    phase: watch::Sender<Phase>,
    grace: Duration,
}

/// How often the keyring's folder is looked at. A key must be everywhere before
/// it mints anywhere, and nobody rotates in less than a minute.
const KEYRING_INTERVAL: Duration = Duration::from_secs(5);

impl Steering {
    fn run(
        self,
        runtime: &Runtime,
        admin: Option<std::net::TcpListener>,
        mut stopped: mpsc::Receiver<()>,
    ) {
        runtime.block_on(async {
            if let Some(listener) = admin {
                tokio::spawn(admin::serve(listener, self.phase.clone()));
            }
            tokio::select! {
                _ = stopped.recv() => {}
                () = self.watch_keyring() => {}
            }
            // Whoever watches or asks for health, or for the probes, hears it now.
            let until = Instant::now() + self.grace;
            self.phase.send_replace(Phase::Draining { until });
            // The probes answer until the last call has ended.
            self.phase.closed().await;
        });
    }

    /// Takes every change of the keyring's folder.
    async fn watch_keyring(&self) {
        let mut ticks = interval(KEYRING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut folder = KeyFolder::new(self.keyring.clone());
        loop {
            ticks.tick().await;
            match folder.look(&self.service.keyring()) {
                Look::Same => {}
                Look::Changed(keyring) => {
                    let keys = format!("{keyring:?}");
                    self.service.replace_keyring(keyring);
                    tracing::info!(keys, "the keyring changed");
                }
                Look::Mistaken(mistakes) => {
                    tracing::error!(%mistakes, "the keyring can't be read again; the one in memory stays");
                }
            }
        }
    }
}
