//! What calls are counted by. `docs/metrics.md` has the table.
//!
//! A label is a name that the configuration has, or one of a fixed set: nothing that a
//! stranger wrote ever becomes one, so nobody can fill the memory with them. Until the
//! caller, the index or the issuer is known for sure, its label is empty.
//!
//! A call pays for as little as can be. Its numbers are atomics that lie ready for each
//! set of labels, and become a metric only when somebody reads them; the histogram is
//! bound to its labels the first time.

use std::{
    array,
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    KeyValue, StringValue,
    metrics::{AsyncInstrument, BoundHistogram, Histogram, Meter},
};
use tokio::sync::Semaphore;
use tonic::Code;

use super::{rpc::Rpc, status::reason_name};
use crate::service::{Denial, Limit, Minted, Reason, Refusal, Revocations, Verdict};

/// The names that labels may have, as the configuration has them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The indexes, and the issuers of each.
    pub indexes: Vec<(String, Vec<String>)>,
    /// The callers at first; others may come.
    pub callers: Vec<String>,
}

/// What calls are counted by. Cheap to use, from any thread.
#[derive(Debug)]
pub struct Instruments {
    counts: Arc<Counts>,
    durations: Histogram<f64>,
    /// By call and code; each once it is needed.
    bound: [[OnceLock<BoundHistogram<f64>>; CODES.len()]; Rpc::ALL.len()],
}

/// An index among those that are configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexAt(usize);

/// What a Verify was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An upload token.
    UploadToken,
    /// An ID token.
    IdToken,
}

/// All numbers. The first index and the first issuer are none, with an empty name.
#[derive(Debug)]
struct Counts {
    indexes: Vec<OfIndex>,
    index_at: HashMap<String, usize>,
    issuers: Vec<StringValue>,
    issuer_at: HashMap<String, usize>,
    /// By index and issuer, most of which never meet.
    refusals: Vec<OnceLock<Box<Refused>>>,
    /// By the caller's name, and call.
    callers: RwLock<HashMap<String, [AtomicU64; Rpc::ALL.len()]>>,
    limits: [AtomicU64; Limit::ALL.len()],
    overloads: AtomicU64,
    panics: AtomicU64,
}

/// By call and reason.
type Refused = [[AtomicU64; Reason::ALL.len()]; Rpc::ALL.len()];

#[derive(Debug)]
struct OfIndex {
    name: StringValue,
    /// By issuer, of which only its own are ever used, and [`Minted`].
    minted: Vec<[AtomicU64; 2]>,
    /// Which issuers are its own. The first, for users, always is.
    own: Vec<bool>,
    /// By [`Credential`] and [`Verdict`].
    verdicts: [[AtomicU64; 2]; 2],
    denials: [AtomicU64; Reason::ALL.len()],
    attenuated: AtomicU64,
    revoked: AtomicU64,
    without_store: AtomicU64,
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    array::from_fn(|_| AtomicU64::new(0))
}

fn add(count: Option<&AtomicU64>) {
    if let Some(count) = count {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Instruments {
    /// Instruments that nothing was counted by yet.
    pub fn new(meter: &Meter, names: &Names) -> Arc<Self> {
        let counts = Arc::new(Counts::new(names));
        for counter in COUNTERS {
            let counts = Arc::clone(&counts);
            meter
                .u64_observable_counter(counter.name)
                .with_description(counter.description)
                .with_callback(move |told| (counter.tell)(&counts, told))
                .build();
        }
        let durations = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description(
                "How long answered calls took, from their first byte to their answer.",
            )
            .build();
        let bound = array::from_fn(|_| array::from_fn(|_| OnceLock::new()));
        Arc::new(Self { counts, durations, bound })
    }

    /// The index of this name.
    pub fn index(&self, name: &str) -> IndexAt {
        IndexAt(self.counts.index_at.get(name).copied().unwrap_or_default())
    }

    /// A call was answered.
    pub fn answered(&self, rpc: Rpc, code: Code, took: Duration) {
        let bound = self.bound.get(rpc as usize).and_then(|of| of.get(code as usize));
        let Some(bound) = bound else { return };
        let bind = || {
            let name = CODES.get(code as usize).copied().unwrap_or("UNKNOWN");
            self.durations.bind(&[
                KeyValue::new("rpc.method", rpc.full_name()),
                KeyValue::new("rpc.response.status_code", name),
                KeyValue::new("rpc.system.name", "grpc"),
            ])
        };
        bound.get_or_init(bind).record(took.as_secs_f64());
    }

    /// A configured caller called, or, with an empty name, somebody else.
    pub fn called(&self, caller: &str, rpc: Rpc) {
        let callers = &self.counts.callers;
        let known = callers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = known.get(caller) {
            return add(calls.get(rpc as usize));
        }
        drop(known);
        let mut known = callers.write().unwrap_or_else(PoisonError::into_inner);
        add(known.entry(caller.to_owned()).or_insert_with(zeros).get(rpc as usize));
    }

    /// A call was refused, or failed.
    pub fn refused(&self, rpc: Rpc, index: IndexAt, refusal: &Refusal) {
        let issuer = refusal.bearer.as_ref().and_then(|bearer| bearer.issuer.as_deref());
        self.counts.refused(rpc, index, self.counts.issuer(issuer), refusal.reason);
        if let Some(limit) = refusal.limit {
            add(self.counts.limits.get(limit as usize));
        }
    }

    /// A call was refused before anything of it was known.
    pub fn refused_at_once(&self, rpc: Rpc, reason: Reason) {
        self.counts.refused(rpc, IndexAt::default(), 0, reason);
    }

    /// A call was refused since there were too many.
    pub fn overloaded(&self, rpc: Option<Rpc>) {
        add(Some(&self.counts.overloads));
        if let Some(rpc) = rpc {
            self.refused_at_once(rpc, Reason::Unavailable);
        }
    }

    /// How many were, since the start.
    pub fn overloads(&self) -> u64 {
        read(&self.counts.overloads)
    }

    /// A defect came to light.
    pub fn panicked(&self) {
        add(Some(&self.counts.panics));
    }

    /// An upload token was handed out, for an ID token of this issuer or for a user.
    pub fn minted(&self, index: IndexAt, issuer: Option<&str>, minted: Minted) {
        let issuer = self.counts.issuer(issuer);
        let of = self.counts.indexes.get(index.0).and_then(|of| of.minted.get(issuer));
        add(of.and_then(|of| of.get(minted as usize)));
    }

    /// A Verify was answered.
    pub fn verified(
        &self,
        index: IndexAt,
        credential: Credential,
        verdict: Verdict,
        denials: &[Denial],
        revocations: Revocations,
    ) {
        let Some(of) = self.counts.indexes.get(index.0) else { return };
        let verdicts = of.verdicts.get(credential as usize);
        add(verdicts.and_then(|verdicts| verdicts.get(verdict as usize)));
        for denial in denials {
            add(of.denials.get(denial.reason as usize));
        }
        match revocations {
            Revocations::Heeded => {}
            Revocations::Unknown => add(Some(&of.without_store)),
        }
    }

    /// An upload token was narrowed.
    pub fn attenuated(&self, index: IndexAt) {
        add(self.counts.indexes.get(index.0).map(|of| &of.attenuated));
    }

    /// An upload token was revoked.
    pub fn revoked(&self, index: IndexAt) {
        add(self.counts.indexes.get(index.0).map(|of| &of.revoked));
    }
}

impl Counts {
    fn new(names: &Names) -> Self {
        let mut issuers = vec![String::new()];
        for issuer in names.indexes.iter().flat_map(|(_, own)| own) {
            if !issuers.contains(issuer) {
                issuers.push(issuer.clone());
            }
        }
        let nowhere = (String::new(), Vec::new());
        let indexes: Vec<_> = [&nowhere].into_iter().chain(&names.indexes).collect();
        let at = |names: Vec<&String>| {
            names.into_iter().enumerate().map(|(at, name)| (name.clone(), at)).collect()
        };
        Self {
            index_at: at(indexes.iter().map(|(name, _)| name).collect()),
            issuer_at: at(issuers.iter().collect()),
            refusals: (0..indexes.len() * issuers.len()).map(|_| OnceLock::new()).collect(),
            indexes: indexes.iter().map(|(name, own)| OfIndex::new(name, own, &issuers)).collect(),
            issuers: issuers.into_iter().map(shared).collect(),
            callers: RwLock::new(names.callers.iter().map(|one| (one.clone(), zeros())).collect()),
            limits: zeros(),
            overloads: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    /// Where this issuer stands; whoever isn't known is none.
    fn issuer(&self, url: Option<&str>) -> usize {
        url.and_then(|url| self.issuer_at.get(url)).copied().unwrap_or_default()
    }

    fn refused(&self, rpc: Rpc, index: IndexAt, issuer: usize, reason: Reason) {
        let of = self.refusals.get(index.0 * self.issuers.len() + issuer);
        let of = of.map(|of| of.get_or_init(|| Box::new(array::from_fn(|_| zeros()))));
        let of = of.and_then(|of| of.get(rpc as usize));
        add(of.and_then(|of| of.get(reason as usize)));
    }
}

impl OfIndex {
    fn new(name: &str, own: &[String], issuers: &[String]) -> Self {
        Self {
            name: shared(name.to_owned()),
            minted: issuers.iter().map(|_| zeros()).collect(),
            own: issuers.iter().map(|one| one.is_empty() || own.contains(one)).collect(),
            verdicts: array::from_fn(|_| zeros()),
            denials: zeros(),
            attenuated: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
            without_store: AtomicU64::new(0),
        }
    }
}

/// A text that is cheap to clone.
fn shared(text: String) -> StringValue {
    Arc::<str>::from(text).into()
}

/// A counter that is read from the counts.
#[derive(Clone, Copy)]
struct Counter {
    name: &'static str,
    description: &'static str,
    tell: fn(&Counts, &dyn AsyncInstrument<u64>),
}

/// Series that stand at zero are told where they are few: whoever asks how a counter
/// has grown must see where it began. Of refusals and denials there would be thousands.
const COUNTERS: [Counter; 11] = [
    Counter {
        name: "mintage.tokens.minted",
        description: "Upload tokens handed out.",
        tell: |counts, told| {
            for (of, index) in counts.configured() {
                for ((counted, issuer), own) in of.minted.iter().zip(&counts.issuers).zip(&of.own) {
                    let for_user = issuer.as_str().is_empty();
                    let [fresh, again] = counted;
                    let tell = |count, repeated: &'static str| {
                        let subject = if for_user { "user" } else { "publisher" };
                        told.observe(
                            read(count),
                            &[
                                index.clone(),
                                KeyValue::new("issuer", issuer.clone()),
                                KeyValue::new("repeated", repeated),
                                KeyValue::new("subject", subject),
                            ],
                        );
                    };
                    if *own {
                        tell(fresh, "false");
                    }
                    // A user's Mint is never repeated.
                    if *own && !for_user {
                        tell(again, "true");
                    }
                }
            }
        },
    },
    Counter {
        name: "mintage.refusals",
        description: "Calls refused or failed with a reason.",
        tell: |counts, told| {
            for (at, refused) in counts.refusals.iter().enumerate() {
                let Some(refused) = refused.get() else { continue };
                let index = counts.indexes.get(at / counts.issuers.len());
                let issuer = counts.issuers.get(at % counts.issuers.len());
                let (Some(index), Some(issuer)) = (index, issuer) else { continue };
                for (rpc, reasons) in Rpc::ALL.iter().zip(refused.iter()) {
                    for (reason, count) in counted(reasons) {
                        told.observe(
                            count,
                            &[
                                KeyValue::new("index", index.name.clone()),
                                KeyValue::new("issuer", issuer.clone()),
                                KeyValue::new("reason", reason_name(reason)),
                                KeyValue::new("rpc", rpc.name()),
                            ],
                        );
                    }
                }
            }
        },
    },
    Counter {
        name: "mintage.verdicts",
        description: "Answers of Verify.",
        tell: |counts, told| {
            for (of, index) in counts.configured() {
                for (credential, verdicts) in ["upload_token", "id_token"].iter().zip(&of.verdicts)
                {
                    for (verdict, count) in ["allowed", "denied"].iter().zip(verdicts) {
                        told.observe(
                            read(count),
                            &[
                                KeyValue::new("credential", *credential),
                                index.clone(),
                                KeyValue::new("verdict", *verdict),
                            ],
                        );
                    }
                }
            }
        },
    },
    Counter {
        name: "mintage.denials",
        description: "Reasons in denials, of which one may have several.",
        tell: |counts, told| {
            for (of, index) in counts.configured() {
                for (reason, count) in counted(&of.denials) {
                    told.observe(
                        count,
                        &[index.clone(), KeyValue::new("reason", reason_name(reason))],
                    );
                }
            }
        },
    },
    Counter {
        name: "mintage.tokens.attenuated",
        description: "Upload tokens narrowed.",
        tell: |counts, told| counts.of_indexes(told, |of| &of.attenuated),
    },
    Counter {
        name: "mintage.tokens.revoked",
        description: "Upload tokens revoked.",
        tell: |counts, told| counts.of_indexes(told, |of| &of.revoked),
    },
    Counter {
        name: "mintage.verified_without_store",
        description: "Tokens allowed although nobody could say whether they were revoked.",
        tell: |counts, told| counts.of_indexes(told, |of| &of.without_store),
    },
    Counter {
        name: "mintage.calls",
        description: "Calls, by whom.",
        tell: |counts, told| {
            for (caller, calls) in &*counts.callers.read().unwrap_or_else(PoisonError::into_inner) {
                let caller = KeyValue::new("caller", caller.clone());
                for (rpc, count) in Rpc::ALL.iter().zip(calls) {
                    told.observe(read(count), &[caller.clone(), KeyValue::new("rpc", rpc.name())]);
                }
            }
        },
    },
    Counter {
        name: "mintage.limits_reached",
        description: "Calls refused since a limit was spent.",
        tell: |counts, told| {
            for (limit, count) in Limit::ALL.iter().zip(&counts.limits) {
                told.observe(read(count), &[KeyValue::new("limit", limit.name())]);
            }
        },
    },
    Counter {
        name: "mintage.overload_refusals",
        description: "Calls refused since there were too many at once.",
        tell: |counts, told| told.observe(read(&counts.overloads), &[]),
    },
    Counter {
        name: "mintage.panics",
        description: "Defects: code that panicked.",
        tell: |counts, told| told.observe(read(&counts.panics), &[]),
    },
];

impl Counts {
    /// The indexes that are configured, each with its label.
    fn configured(&self) -> impl Iterator<Item = (&OfIndex, KeyValue)> {
        let label = |of: &OfIndex| KeyValue::new("index", of.name.clone());
        self.indexes.iter().skip(1).map(move |of| (of, label(of)))
    }

    fn of_indexes(&self, told: &dyn AsyncInstrument<u64>, count: fn(&OfIndex) -> &AtomicU64) {
        for (of, index) in self.configured() {
            told.observe(read(count(of)), &[index]);
        }
    }
}

/// The reasons that were counted, and how often.
fn counted(reasons: &[AtomicU64; Reason::ALL.len()]) -> impl Iterator<Item = (Reason, u64)> {
    let counts = Reason::ALL.into_iter().zip(reasons.iter().map(read));
    counts.filter(|(_, count)| *count > 0)
}

/// Places for something, of which some are taken.
#[derive(Clone, Debug)]
pub struct Room {
    /// Those that are free.
    pub free: Arc<Semaphore>,
    /// How many there are.
    pub places: usize,
}

/// Tells how many calls and connections there are, and may be.
pub fn observe_rooms(meter: &Meter, calls: Room, connections: Room) {
    let gauge = |name, description, read: fn(&Room) -> usize, room: Room| {
        meter
            .u64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |told| told.observe(read(&room) as u64, &[]))
            .build();
    };
    let taken = |room: &Room| room.places.saturating_sub(room.free.available_permits());
    let places = |room: &Room| room.places;
    let name = "mintage.calls.in_flight";
    gauge(name, "Calls of the contract that have not ended.", taken, calls.clone());
    let name = "mintage.calls.in_flight_limit";
    gauge(name, "As many calls are taken in at once.", places, calls);
    let name = "mintage.connections";
    gauge(name, "Open gRPC connections.", taken, connections.clone());
    let name = "mintage.connections_limit";
    gauge(name, "As many connections are taken in at once.", places, connections);
}

/// The names of status codes, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_numbers_lie_by_is_numbered_in_order() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "{reason:?}");
        }
        for (at, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, at, "{limit:?}");
        }
        for (at, rpc) in Rpc::ALL.into_iter().enumerate() {
            assert_eq!(rpc as usize, at, "{rpc:?}");
        }
        assert_eq!((Minted::Now as usize, Minted::Before as usize), (0, 1));
        assert_eq!((Verdict::Allowed as usize, Verdict::Denied as usize), (0, 1));
        assert_eq!((Credential::UploadToken as usize, Credential::IdToken as usize), (0, 1));
        for (at, name) in CODES.into_iter().enumerate() {
            let code = Code::from_i32(i32::try_from(at).unwrap());
            let shown = format!("{code:?}").to_lowercase();
            assert_eq!(name.replace('_', "").to_lowercase(), shown);
            assert_eq!(code as usize, at);
        }
    }
}
