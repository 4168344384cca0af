//! What is measured on: one index, one issuer with a real RSA key, one job.

use std::{error::Error, sync::Arc};

use mintage::{
    caveat::{Caveat, Offered},
    clock::Timestamp,
    demo::signing::SigningKey,
    grant::{Feature, Grant, GrantPolicy, MIN_PUBLISHER_LIFETIME, Wish},
    macaroon::{Identifier, KeyId, Keyring, Macaroon, MasterKey, Subject, TokenPrefix},
    mark::Seed,
    oidc::{Algorithm, Issuer, KeySet, Provider, VerifyingKey},
    publisher::{GitHub, Identity, Project, Publisher},
};
use serde_json::{Value, json};

use super::claims::github_claims;

/// The moment at which everything happens.
pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// The index, which is also its audience.
pub(super) const INDEX: &str = "pypi";

const LOCATION: &str = "index.example";

const ISSUER: &str = "https://token.actions.githubusercontent.com";

const JTI: &str = "2f9c1b7e-7f5d-4b43-9b5e-0d2a7a1c9e55";

/// Everything that an index and its issuer have.
pub(super) struct Fixture {
    pub(super) keyring: Keyring,
    pub(super) prefix: TokenPrefix,
    pub(super) issuer: Issuer,
    pub(super) key: Arc<VerifyingKey>,
    /// The issuer's key set, to parse its keys in other ways.
    pub(super) jwk: Value,
    /// An ID token with the claims that GitHub's have.
    pub(super) id_token: String,
    /// What a macaroon takes from time and chance.
    seed: Seed,
}

impl Fixture {
    pub(super) fn new() -> Result<Self, Box<dyn Error>> {
        let key_id = KeyId::parse("2026-11")?;
        let keys = [(key_id.clone(), MasterKey::new(&[0x5a; 32])?)];
        let signing = SigningKey::generate("0123456789ABCDEF0123456789ABCDEF01234567")?;
        let key_set = KeySet::parse(json!({"keys": [signing.jwk()]}).to_string().as_bytes())?;
        let key = key_set.key(signing.kid()).ok_or("the issuer's key is not in its key set")?;
        Ok(Self {
            keyring: Keyring::new(keys.into(), key_id.clone())?,
            prefix: TokenPrefix::parse("pypi")?,
            issuer: Issuer {
                url: ISSUER.to_owned(),
                host: "token.actions.githubusercontent.com".to_owned(),
                provider: Provider::GitHub,
                algorithms: vec![Algorithm::RS256],
                enabled: true,
            },
            key: Arc::clone(key),
            jwk: signing.jwk(),
            id_token: signing.id_token(&github_claims(ISSUER, INDEX, NOW.seconds() - 5, JTI))?,
            seed: Seed {
                minted_at: NOW,
                uuid_bits: [0x33; 10],
                nonce_bits: [0x44; 16],
                key_id: key_id.as_str().to_owned(),
            },
        })
    }

    /// The macaroon of a grant, as the service writes it.
    pub(super) fn mint(&self, publisher: &Publisher, grant: &Grant) -> Option<Macaroon> {
        let key_id = KeyId::parse(&self.seed.key_id).ok()?;
        let key = self.keyring.key(&key_id)?;
        let subject = Subject::publisher(&publisher.id).ok()?;
        let token_id =
            Identifier::new(key_id, self.seed.minted_at, &self.seed.uuid_bits, subject).to_string();
        let root_key = key.root_key(INDEX, token_id.as_bytes());
        let mut macaroon = Macaroon::mint(&root_key, LOCATION, &token_id);
        let caveats: Vec<Caveat<'static>> = grant.caveats(&self.seed);
        for caveat in &caveats {
            macaroon.attenuate(&caveat.write()).ok()?;
        }
        Some(macaroon)
    }
}

/// A policy that embeds at most so many ids.
pub(super) fn policy(max_embedded_projects: usize) -> GrantPolicy {
    GrantPolicy {
        lifetime: MIN_PUBLISHER_LIFETIME,
        min_lifetime: None,
        max_lifetime: None,
        features: vec![Feature::MultiUse, Feature::SingleUse],
        default_features: vec![Feature::MultiUse],
        max_embedded_projects,
        offered: Offered::Extended,
    }
}

/// What a publisher's token will be good for under a policy.
pub(super) fn grant(publisher: &Publisher, policy: &GrantPolicy, wish: Wish) -> Option<Grant> {
    let wish = policy.allow_publisher(wish).ok()?;
    Grant::for_publisher(publisher, wish, policy.max_embedded_projects).ok()
}

/// A publisher that the ID token matches, with so many projects.
pub(super) fn publisher(id: usize, projects: usize) -> Publisher {
    Publisher {
        id: format!("publisher-{id}"),
        projects: (0..projects)
            .map(|n| Project { id: project_id(n), name: format!("Sample.Project-{n}") })
            .collect(),
        issuer: ISSUER.to_owned(),
        projects_at_use: false,
        identity: Identity::GitHub(GitHub {
            repository_owner: "octo-org".to_owned(),
            repository_owner_id: "1234567".to_owned(),
            repository_name: "sample-project".to_owned(),
            workflow_filename: "release.yml".to_owned(),
            environment: "release".to_owned(),
            repository_id: String::new(),
        }),
    }
}

/// Eight characters, so that 1,000 ids fit into a token of 16 KiB.
fn project_id(n: usize) -> String {
    format!("{}", 10_000_000 + n)
}
