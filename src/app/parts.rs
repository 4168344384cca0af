//! From the configuration's values to the service's.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{StartFailed, World, store::Shared};
use crate::{
    caveat::Offered,
    clock::Timestamp,
    config::{Callers, Config, IndexConfig, IssuerConfig, ServerConfig},
    grant::GrantPolicy,
    grpc::{
        CallerTokens,
        gate::GateBounds,
        instruments::Names,
        transport::{self, ConnectionBounds},
    },
    keysets::{IssuerKeys, KeySetCache, Observing, Sharing, Timing},
    macaroon::Keyring,
    oidc::Issuer,
    ports::{Clock, KeySetShelf, Randomness},
    service::{Caller, Index, Parts, Service},
    telemetry::Telemetry,
    world,
};

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        world::now()
    }
}

/// The system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    #[expect(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "the one place where the service gets its chance; without any, nothing it mints \
                  could be told apart, so a call must not go on"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system gives random bytes");
    }
}

/// The service of a configuration.
pub(super) fn service(
    config: &Config,
    keyring: Keyring,
    Shared { store, shelf, .. }: Shared,
    world: World,
    telemetry: &Telemetry,
) -> Result<Service, StartFailed> {
    let keyring = Arc::new(ArcSwap::from_pointee(keyring));
    let key_sets = key_sets(&config.issuers, shelf, &keyring, &world, telemetry)?;
    let issuers: Vec<_> =
        config.issuers.iter().map(|configured| Arc::new(configured.issuer.clone())).collect();
    let indexes =
        config.indexes.iter().map(|(name, configured)| index(name, configured, &issuers)).collect();
    Ok(Service::new(Parts {
        indexes,
        keyring,
        key_sets: Arc::new(key_sets),
        store,
        clock: world.clock,
        randomness: world.randomness,
        limits: config.limits,
        on_store_failure: config.on_store_failure,
    }))
}

/// The issuers' key sets, shared with other replicas where there is a shelf.
fn key_sets(
    issuers: &[IssuerConfig],
    shelf: Option<Arc<dyn KeySetShelf>>,
    keyring: &Arc<ArcSwap<Keyring>>,
    world: &World,
    telemetry: &Telemetry,
) -> Result<KeySetCache, StartFailed> {
    let keys = issuers.iter().map(issuer_keys).collect();
    let (timing, clock) = (Timing::default(), Arc::clone(&world.clock));
    let sharing = shelf.map(|shelf| {
        let (keyring, randomness) = (Arc::clone(keyring), Arc::clone(&world.randomness));
        Sharing { shelf, keyring, randomness }
    });
    let tracer = telemetry.spans().tracer();
    let observing = Observing { meter: telemetry.metrics().meter(), tracer };
    let made = KeySetCache::observed(keys, timing, clock, sharing.as_ref(), &observing);
    made.map_err(|unusable| {
        let sentences: Vec<_> = unusable.iter().map(ToString::to_string).collect();
        StartFailed::Issuers(sentences.join("; "))
    })
}

fn issuer_keys(configured: &IssuerConfig) -> IssuerKeys {
    IssuerKeys {
        issuer: configured.issuer.clone(),
        ca_file: configured.ca_file.clone(),
        jwks_hosts: configured.jwks_hosts.clone(),
        max_stale: configured.max_stale,
    }
}

fn index(name: &str, configured: &IndexConfig, issuers: &[Arc<Issuer>]) -> Index {
    let own = |issuer: &&Arc<Issuer>| configured.issuers.contains(&issuer.url);
    Index {
        name: name.to_owned(),
        audience: configured.audience.clone(),
        location: configured.location.clone(),
        prefix: configured.prefix.clone(),
        issuers: issuers.iter().filter(own).cloned().collect(),
        policy: GrantPolicy {
            lifetime: configured.lifetime,
            min_lifetime: configured.min_lifetime,
            max_lifetime: configured.max_lifetime,
            features: configured.features.clone(),
            default_features: vec![configured.default_feature],
            max_embedded_projects: configured.max_embedded_projects,
            offered: if configured.extended_caveats {
                Offered::Extended
            } else {
                Offered::Standard
            },
        },
        retry_window: configured.retry_window,
    }
}

/// Who may call.
pub(super) fn callers(config: &Callers) -> CallerTokens {
    match config {
        Callers::Anonymous => CallerTokens::anonymous(),
        Callers::Known(callers) => {
            let known = callers.iter().map(|known| (known.proof.clone(), known.caller.clone()));
            CallerTokens::Known(known.collect())
        }
    }
}

/// The names that labels may have.
pub(super) fn names(config: &Config) -> Names {
    let callers = match &config.callers {
        Callers::Anonymous => vec![Caller::anonymous().name],
        Callers::Known(callers) => callers.iter().map(|known| known.caller.name.clone()).collect(),
    };
    let indexes = config.indexes.iter();
    let indexes = indexes.map(|(name, index)| (name.clone(), index.issuers.clone())).collect();
    Names { indexes, callers }
}

/// The bounds of calls, and those of connections.
pub(super) fn bounds(config: &ServerConfig) -> (GateBounds, ConnectionBounds) {
    (
        GateBounds {
            max_in_flight: config.max_in_flight,
            max_health: config.max_connections,
            request_timeout: config.request_timeout,
        },
        ConnectionBounds {
            max_connections: config.max_connections,
            max_age: config.max_connection_age,
            age_grace: config.connection_age_grace,
            preface_timeout: transport::PREFACE_TIMEOUT,
            keepalive_interval: transport::KEEPALIVE_INTERVAL,
            keepalive_timeout: transport::KEEPALIVE_TIMEOUT,
        },
    )
}
