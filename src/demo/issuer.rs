//! The demo's CI provider: an OIDC issuer with an RSA key of its own, that
//! publishes what GitHub's does and signs the same claims.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, extract::State, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world;

use super::{DemoFailed, failed, signing::SigningKey};

/// An OIDC issuer on loopback.
pub(super) struct Issuer {
    url: String,
    key: SigningKey,
    signed: AtomicU64,
}

/// A workflow that runs, and wants to say so.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) repository: &'static str,
    pub(super) workflow: &'static str,
    pub(super) environment: &'static str,
}

/// Binds a port of loopback and serves the two documents of OIDC discovery.
pub(super) async fn start() -> Result<Arc<Issuer>, DemoFailed> {
    let key = SigningKey::generate("demo-key").map_err(failed("making the issuer's key"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed("starting the issuer"))?;
    let address = listener.local_addr().map_err(failed("starting the issuer"))?;
    let url = format!("http://{address}");
    let issuer = Arc::new(Issuer { url, key, signed: AtomicU64::new(0) });
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(key_set))
        .with_state(issuer.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(issuer)
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> String {
    let url = &issuer.url;
    json!({"issuer": url, "jwks_uri": format!("{url}/jwks")}).to_string()
}

async fn key_set(State(issuer): State<Arc<Issuer>>) -> String {
    json!({"keys": [issuer.key.jwk()]}).to_string()
}

impl Issuer {
    /// The issuer's identifier, as in `iss`.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What a job gets when it asks its provider for an ID token: the claims and
    /// the token. Each has a `jti` of its own.
    pub(super) fn id_token(&self, job: Job, audience: &str) -> Result<(Value, String), DemoFailed> {
        let number = self.signed.fetch_add(1, Ordering::Relaxed);
        let claims = self.claims(job, audience, number);
        let token = self.key.id_token(&claims).map_err(failed("signing an ID token"))?;
        Ok((claims, token))
    }

    fn claims(&self, job: Job, audience: &str, number: u64) -> Value {
        let Job { repository, workflow, environment } = job;
        let (owner, _) = repository.split_once('/').unwrap_or_default();
        let now = world::now().seconds();
        let workflow_ref = format!("{repository}/.github/workflows/{workflow}@refs/tags/v1.0");
        json!({
            "iss": self.url,
            "aud": audience,
            "sub": format!("repo:{repository}:environment:{environment}"),
            "jti": format!("demo-{number}"),
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "repository": repository,
            "repository_id": "70107",
            "repository_owner": owner,
            "repository_owner_id": "65",
            "workflow_ref": workflow_ref,
            "job_workflow_ref": workflow_ref,
            "environment": environment,
            "event_name": "push",
            "ref": "refs/tags/v1.0",
            "ref_type": "tag",
            "sha": "5f2b8c1d9e3a47060e1c2b3a4d5e6f708192a3b4",
            "run_id": "4711",
        })
    }
}
