//! What the service remembers, through the real port: which ID tokens were
//! redeemed, which calls may come again, how many uses are left, how much of a
//! limit, and what was revoked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

#[path = "../support/mod.rs"]
mod support;

mod kept;
mod limits;
mod memory;
mod redeeming;
mod replicas;
mod retries;
mod revoking;
mod uses;

use std::{collections::BTreeMap, future::Future, time::Duration};

use mintage::{
    clock::Timestamp,
    grpc::proto::{self, publisher::Identity},
};
use serde_json::json;
use support::{
    issuer::TestIssuer,
    redis::{Kind, prefix, shared},
    service::{BEGIN, Client, Refused, Scene, WEB, client, configuration, trusted},
};

/// The least time that the clock knows.
const TICK: Duration = Duration::from_micros(1);

/// A store of one part, so that every call clears away what has ended.
const ONE_PART: &str = "[store]\nmax_entries = 1000\n";

/// Where a service keeps what it remembers.
struct Backing {
    /// A Redis that other tests use too; none: in memory.
    redis: Option<String>,
}

/// The present of services over Redis: later than the server's own, from which on it
/// remembers.
const LATER: Timestamp = Timestamp::from_seconds(4_000_000_000);

impl Backing {
    fn in_memory() -> Self {
        Self { redis: None }
    }

    /// None, and said loudly, where there is no server.
    async fn in_redis() -> Option<Self> {
        for kind in [Kind::Given, Kind::Redis, Kind::Redis8, Kind::Valkey] {
            if let Some(url) = shared(kind).await {
                return Some(Self { redis: Some(url) });
            }
        }
        None
    }

    /// A scene whose service remembers nothing, with more sections.
    async fn scene(&self, sections: &str) -> Scene {
        let store = self.redis.as_ref().map_or_else(String::new, |url| {
            format!(
                "[store]\nkind = \"redis\"\nurl = \"{url}\"\nprefix = \"{}\"\ntimeout = \"5s\"\n",
                prefix()
            )
        });
        let issuer = TestIssuer::start();
        let toml = configuration(&issuer.url(), "", &format!("{sections}\n{store}"));
        Scene::start_at(issuer, &toml, LATER).await
    }
}

/// Another caller who may do everything.
const MIRROR: &str = "the mirror's token, made for tests";

/// `[[callers]]` for [`MIRROR`].
fn mirror() -> String {
    format!(
        "[[callers]]\nname = \"mirror\"\ntoken_sha256 = \"{}\"\n\
         may = [\"mint-publisher\", \"mint-user\", \"verify\", \"attenuate\", \"revoke\"]\n",
        support::service::sha256_hex(MIRROR)
    )
}

/// Makes so many calls at once, over eight connections.
async fn at_once<T, F>(scene: &Scene, count: usize, call: impl Fn(Client) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(client(&scene.server, Some(WEB)).await);
    }
    let calls: Vec<_> =
        clients.into_iter().cycle().take(count).map(|client| tokio::spawn(call(client))).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

/// Mints through a client of the test's own.
async fn mint(
    mut client: Client,
    request: proto::MintRequest,
) -> Result<proto::MintResponse, Refused> {
    client.mint(request).await.map(tonic::Response::into_inner).map_err(Refused::from)
}

/// Verifies through a client of the test's own.
async fn verify(
    mut client: Client,
    request: proto::VerifyRequest,
) -> Result<proto::VerifyResponse, Refused> {
    client.verify(request).await.map(tonic::Response::into_inner).map_err(Refused::from)
}

/// How many were refused for which reason; none is `minted`.
fn tally(answers: &[Result<proto::MintResponse, Refused>]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        let told = answer.as_ref().map_or_else(|refused| refused.reason.as_str(), |_| "minted");
        *counts.entry(told).or_default() += 1;
    }
    counts
}

/// A scene whose issuer follows another provider's rules.
async fn scene_of(provider: &str, index_lines: &str) -> Scene {
    let issuer = TestIssuer::start();
    let toml = configuration(&issuer.url(), index_lines, ONE_PART)
        .replace("provider = \"github\"", &format!("provider = \"{provider}\""));
    Scene::start_at(issuer, &toml, BEGIN).await
}

/// A Mint for a Google service account, with an ID token issued then.
fn for_google(scene: &Scene, iat: i64) -> proto::MintRequest {
    let email = "robot@project.example".to_owned();
    let id_token = scene.issuer.id_token(&json!({
        "aud": "pypi", "sub": "1234", "email": email, "email_verified": true,
        "iat": iat, "exp": iat + 3600,
    }));
    let google = proto::Google { email, subject: String::new() };
    let mut request = scene.publishing_with(id_token);
    trusted(&mut request).candidates[0].identity = Some(Identity::Google(google));
    request
}

/// A Mint for a job that is known by its `sub` alone, with an ID token issued then.
fn by_claims(scene: &Scene, jti: Option<&str>, iat: i64) -> proto::MintRequest {
    let mut claims = json!({"aud": "pypi", "sub": "job 1", "iat": iat, "exp": iat + 300});
    if let Some(jti) = jti {
        claims["jti"] = jti.into();
    }
    let condition = proto::claim_rule::Condition::Equals("job 1".to_owned());
    let rule = proto::ClaimRule { claim: "sub".to_owned(), condition: Some(condition) };
    let policy = proto::ClaimPolicy { rules: vec![rule] };
    let mut request = scene.publishing_with(scene.issuer.id_token(&claims));
    trusted(&mut request).candidates[0].identity = Some(Identity::Claims(policy));
    request
}
