//! The use cases: what each call of the API does, in the words of the domain.
//!
//! Async, because keys and marks come from elsewhere; but no vendor is named
//! here, and nothing is decided that the kernel could decide. The order of
//! checks is the same everywhere: the caller, the index, the bounds of the
//! request, the credential.

mod attenuate;
mod caller;
mod error;
mod id_token;
mod known;
mod limits;
mod mint;
mod proof;
mod revoke;
mod verify;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

pub use attenuate::{AttenuateAnswer, AttenuateRequest};
pub use caller::{Caller, Right, RightUnknown};
pub use error::{Bearer, Blame, MAX_SENTENCE_BYTES, Reason, Refusal};
pub use known::Kept;
pub use limits::{Limit, Limits};
pub use mint::{MintAnswer, MintRequest, MintSubject, Minted, TrustedPublishing};
pub use proof::{Proof, San, SanUnreadable};
pub use revoke::{RevokeAnswer, RevokeRequest, RevokeTarget};
pub use verify::{
    AccessWanted, Denial, Revocations, Secret, TokenFacts, UploadTokenRequest, Verdict,
    VerifyAnswer,
};

use crate::{
    grant::GrantPolicy,
    macaroon::{Keyring, TokenPrefix},
    oidc::Issuer,
    ports::{Clock, KeySets, LimitSpend, LimitsSpent, Randomness, Store},
};

/// A mark outlives what it is about by so much, for replicas whose clocks differ
/// and for a clock that is put right.
const MARK_SLACK: Duration = Duration::from_secs(30);

/// One package index, as configured.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its name in requests and in the derivation of root keys.
    pub name: String,
    /// The one audience of ID tokens that are meant for it.
    pub audience: String,
    /// The location in its macaroons.
    pub location: String,
    /// What its upload tokens begin with.
    pub prefix: TokenPrefix,
    /// The issuers whose ID tokens it takes.
    pub issuers: Vec<Arc<Issuer>>,
    /// What it grants.
    pub policy: GrantPolicy,
    /// For how long the same call gets the same answer.
    pub retry_window: Duration,
}

/// What Verify does about a token without uses while the store is out of reach,
/// so that nobody can say whether it was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// Allow it: it is short-lived.
    Allow,
    /// Give no answer.
    Refuse,
}

/// The party at the other end of the index's HTTP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its address; an IPv4 address never in its IPv6 form. None: unknown.
    pub ip: Option<IpAddr>,
    /// Only for the audit trail.
    pub user_agent: String,
}

/// An id under which a call may come again, and a hash of everything that must
/// be the same then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The id that the caller chose; not empty.
    pub request_id: String,
    /// SHA-256 of the request, the client and the id left aside.
    pub fingerprint: [u8; 32],
}

/// What the service is made of.
pub struct Parts {
    /// The indexes, by name.
    pub indexes: Vec<Index>,
    /// The master keys. Whoever else holds them sees them replaced.
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// The issuers' keys.
    pub key_sets: Arc<dyn KeySets>,
    /// What replicas agree on.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
    /// How much is allowed.
    pub limits: Limits,
    /// What a Verify does that can't ask for revocations.
    pub on_store_failure: OnStoreFailure,
}

/// The service: Mint, Verify, Attenuate, Revoke.
pub struct Service {
    indexes: BTreeMap<String, Arc<Index>>,
    keyring: Arc<ArcSwap<Keyring>>,
    key_sets: Arc<dyn KeySets>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    limits: Limits,
    on_store_failure: OnStoreFailure,
}

/// Proof that a caller may do something at an index. Made by [`Service::admit`]
/// alone.
#[derive(Clone, Debug)]
pub struct Admitted {
    caller: Arc<Caller>,
    index: Arc<Index>,
    right: Right,
}

impl Service {
    /// Puts the service together.
    pub fn new(parts: Parts) -> Self {
        let by_name = |index: Index| (index.name.clone(), Arc::new(index));
        Self {
            indexes: parts.indexes.into_iter().map(by_name).collect(),
            keyring: parts.keyring,
            key_sets: parts.key_sets,
            store: parts.store,
            clock: parts.clock,
            randomness: parts.randomness,
            limits: parts.limits,
            on_store_failure: parts.on_store_failure,
        }
    }

    /// The keyring in use.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Takes another keyring, from the next call on, for all who hold it.
    pub fn replace_keyring(&self, keyring: Keyring) {
        self.keyring.store(Arc::new(keyring));
    }

    /// The first checks of every call: may this caller do this, and at which
    /// index. An empty name stands for the only one.
    pub fn admit(
        &self,
        caller: &Arc<Caller>,
        right: Right,
        index: &str,
    ) -> Result<Admitted, Refusal> {
        if !caller.may.contains(&right) {
            let message =
                format!("the caller \"{}\" does not have the right \"{right}\"", caller.name);
            return Err(Refusal::new(Reason::CallerForbidden, message));
        }
        let index = self.index(index)?;
        if !caller.may_at(&index.name) {
            let message = format!("the caller \"{}\" has no rights at this index", caller.name);
            return Err(Refusal::new(Reason::CallerForbidden, message));
        }
        Ok(Admitted { caller: Arc::clone(caller), index: Arc::clone(index), right })
    }

    fn index(&self, name: &str) -> Result<&Arc<Index>, Refusal> {
        let unknown = |message: &str| Refusal::new(Reason::IndexUnknown, message).at("index");
        match (name, self.indexes.len()) {
            ("", 1) => self.indexes.values().next(),
            ("", _) => return Err(unknown("several indexes are configured, so one must be named")),
            _ => self.indexes.get(name),
        }
        .ok_or_else(|| unknown("no index of this name is configured"))
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.randomness.fill(&mut bytes);
        bytes
    }

    /// Spends a limit that a refusal costs. Where it is spent, that is the answer
    /// instead; where the store can't tell, the refusal stands.
    async fn charge(&self, limit: Option<LimitSpend>) -> Charged {
        let Some(limit) = limit else { return Charged::Within };
        match self.store.spend_limits(&[limit], self.clock.now()).await {
            Ok(LimitsSpent::Beyond { limit: _, retry_after }) => Charged::Beyond { retry_after },
            Ok(LimitsSpent::Within) | Err(_) => Charged::Within,
        }
    }
}

/// What came of charging for a refusal.
enum Charged {
    Within,
    Beyond { retry_after: Duration },
}

impl Admitted {
    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Where.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Guards a use case against having been admitted to another one.
    fn must_have(&self, right: Right) -> Result<(), Refusal> {
        if self.right == right {
            return Ok(());
        }
        let message = format!("the call was admitted to {}, not to {right}", self.right);
        Err(Refusal::new(Reason::CallerForbidden, message))
    }
}
