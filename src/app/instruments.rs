//! What the process tells of its state: whether it is ready, what it took of files that
//! changed, when its certificate ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use opentelemetry::{KeyValue, metrics::Meter};
use tokio::sync::watch;

use super::certificates::Certificates;
use crate::{grpc::transport::Phase, service::Service, telemetry};

/// Tells of the state of a service.
///
/// It looks at the phase through a sender: the end waits for every receiver.
pub(super) fn observe(
    meter: &Meter,
    phase: &watch::Sender<Phase>,
    service: &Arc<Service>,
    certificates: Option<&Certificates>,
) {
    let phase = phase.clone();
    meter
        .u64_observable_gauge("mintage.ready")
        .with_description("1 where /readyz says so.")
        .with_callback(move |told| told.observe((*phase.borrow() == Phase::Serving).into(), &[]))
        .build();
    let service = Arc::clone(service);
    meter
        .u64_observable_gauge("mintage.keyring_keys")
        .with_description("Master keys held.")
        .with_callback(move |told| told.observe(service.keyring().ids().count() as u64, &[]))
        .build();
    meter
        .u64_observable_counter("mintage.log.lines_lost")
        .with_description("Lines of the log that were lost, because nobody read it.")
        .with_callback(|told| told.observe(telemetry::lines_lost(), &[]))
        .build();
    let Some(tls) = certificates.map(Certificates::tls) else { return };
    meter
        .i64_observable_gauge("mintage.tls.certificate_not_after_timestamp")
        .with_unit("s")
        .with_description("The end of the server's certificate, in Unix seconds.")
        .with_callback(move |told| {
            if let Some(not_after) = tls.not_after() {
                told.observe(not_after, &[]);
            }
        })
        .build();
}

/// Files that are looked at while the service runs, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    pub(super) keyring: Reload,
    /// Callers, and what the store is reached with.
    pub(super) configuration: Reload,
    pub(super) certificates: Reload,
}

/// Files of one kind.
#[derive(Debug, Default)]
pub(super) struct Reload {
    taken: AtomicU64,
    failed: AtomicBool,
}

impl Reload {
    /// A change was taken.
    pub(super) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// The files were looked at, and could be taken or not.
    pub(super) fn looked(&self, failed: bool) {
        self.failed.store(failed, Ordering::Relaxed);
    }
}

impl Reloads {
    pub(super) fn new(meter: &Meter) -> Arc<Self> {
        let reloads = Arc::new(Self::default());
        let told_of = Arc::clone(&reloads);
        meter
            .u64_observable_gauge("mintage.reload_failed")
            .with_description("1 while the newest files can't be taken.")
            .with_callback(move |told| {
                for (reload, what) in told_of.each() {
                    told.observe(reload.failed.load(Ordering::Relaxed).into(), &[what]);
                }
            })
            .build();
        let told_of = Arc::clone(&reloads);
        meter
            .u64_observable_counter("mintage.reloads")
            .with_description("Changes of files taken.")
            .with_callback(move |told| {
                for (reload, what) in told_of.each() {
                    told.observe(reload.taken.load(Ordering::Relaxed), &[what]);
                }
            })
            .build();
        reloads
    }

    fn each(&self) -> [(&Reload, KeyValue); 3] {
        [
            (&self.keyring, KeyValue::new("what", "keyring")),
            (&self.configuration, KeyValue::new("what", "configuration")),
            (&self.certificates, KeyValue::new("what", "certificates")),
        ]
    }
}
