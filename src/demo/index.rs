//! What an index's web tier would be: PEP 807 and an upload API over HTTP
//! outside, gRPC to Mintage inside. It owns the projects and their publishers,
//! and decides nothing about tokens.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tonic::{Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::grpc::proto::{
    Access, Client, Denial, GitHub, MintRequest, Project, Publisher, TrustedPublishing,
    UploadToken, Verdict, VerifyRequest, VerifyResponse, mint_request::Subject,
    publisher::Identity, token_service_client::TokenServiceClient, verify_request::Credential,
};

use super::{
    DemoFailed, failed,
    service::{Service, hex},
};

/// The index's web tier on loopback.
pub(super) struct Index {
    host: String,
    issuer: String,
    mintage: TokenServiceClient<Channel>,
    authorization: String,
    corrected: AtomicBool,
}

/// Serves the index's endpoints.
pub(super) async fn start(service: &Service, issuer: &str) -> Result<Arc<Index>, DemoFailed> {
    let doing = failed("starting the index");
    let mintage = TokenServiceClient::connect(format!("http://{}", service.address()))
        .await
        .map_err(failed("reaching the service over gRPC"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(&doing)?;
    let index = Arc::new(Index {
        host: listener.local_addr().map_err(&doing)?.to_string(),
        issuer: issuer.to_owned(),
        mintage,
        authorization: format!("Bearer {}", service.caller_token()),
        corrected: AtomicBool::new(false),
    });
    let routes = Router::new()
        .route("/.well-known/pytp", get(discovery))
        .route("/_/oidc/audience", get(async || json!({"audience": "demo"}).to_string()))
        .route("/_/oidc/mint-token", post(mint))
        .route("/legacy/", post(upload))
        .with_state(index.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(index)
}

impl Index {
    /// Its address and port.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Asks Mintage why a publisher doesn't match an ID token: what an index
    /// shows to the maintainer who registered it. Redeems nothing.
    pub(super) async fn explain(&self, id_token: &str) -> Result<Vec<Denial>, DemoFailed> {
        let credential = Credential::IdToken(TrustedPublishing {
            id_token: id_token.to_owned(),
            candidates: self.candidates(id_token),
            projects: Vec::new(),
        });
        let request = VerifyRequest { credential: Some(credential), ..VerifyRequest::default() };
        let answer = self.mintage.clone().verify(self.call(request)).await;
        Ok(answer.map_err(failed("asking Verify about an ID token"))?.into_inner().denials)
    }

    /// The publishers registered for the repository that the ID token claims. An
    /// unverified claim is good enough to look something up by: Mintage holds
    /// each candidate against the verified ones.
    fn candidates(&self, id_token: &str) -> Vec<Publisher> {
        let claimed = unverified_claim(id_token, "repository").unwrap_or_default();
        let mut publishers = self.publishers();
        publishers.retain(|publisher| match &publisher.identity {
            Some(Identity::Github(github)) => {
                claimed == format!("{}/{}", github.repository_owner, github.repository_name)
            }
            _ => false,
        });
        publishers
    }

    /// The maintainer of the mistyped publisher corrects it.
    pub(super) fn correct(&self) {
        self.corrected.store(true, Ordering::Relaxed);
    }

    /// What the index has registered: one publisher as it should be, and one
    /// whose maintainer mistyped the workflow's file name.
    fn publishers(&self) -> Vec<Publisher> {
        let corrected = self.corrected.load(Ordering::Relaxed);
        let workflow = if corrected { "release.yml" } else { "relaese.yml" };
        let publisher = |id: &str, project: &str, project_id: &str, workflow: &str| Publisher {
            id: id.to_owned(),
            projects: vec![Project { id: project_id.to_owned(), name: project.to_owned() }],
            issuer: self.issuer.clone(),
            projects_at_use: false,
            identity: Some(Identity::Github(GitHub {
                repository_owner: "octo".to_owned(),
                repository_owner_id: "65".to_owned(),
                repository_name: project.to_owned(),
                workflow_filename: workflow.to_owned(),
                environment: "release".to_owned(),
                repository_id: String::new(),
            })),
        };
        vec![
            publisher("42", "sample-package", "7", "release.yml"),
            publisher("43", "other-package", "8", workflow),
        ]
    }

    /// A call with the proof of who makes it.
    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(value) = self.authorization.parse() {
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
}

async fn discovery(State(index): State<Arc<Index>>) -> String {
    let host = &index.host;
    json!({
        "audience-endpoint": format!("http://{host}/_/oidc/audience"),
        "token-mint-endpoint": format!("http://{host}/_/oidc/mint-token"),
        "features": ["multi-use-token", "single-use-token"],
        "default-features": ["multi-use-token"],
    })
    .to_string()
}

async fn mint(State(index): State<Arc<Index>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id_token = body.get("token").and_then(Value::as_str).unwrap_or_default();
    let features = body.get("features").and_then(Value::as_array).into_iter().flatten();
    let client = client(&headers);
    // The same job that asks again gets the same answer; nobody else does.
    let request_id = hex(&Sha256::digest(format!("{id_token} {}", client.ip)));
    let request = MintRequest {
        request_id,
        subject: Some(Subject::TrustedPublishing(TrustedPublishing {
            id_token: id_token.to_owned(),
            candidates: index.candidates(id_token),
            projects: Vec::new(),
        })),
        features: features.filter_map(Value::as_str).map(str::to_owned).collect(),
        client: Some(client),
        ..MintRequest::default()
    };
    match index.mintage.clone().mint(index.call(request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let expires = answer.expires_at.map(|end| end.seconds);
            json!({"success": true, "token": answer.token, "expires": expires})
                .to_string()
                .into_response()
        }
        Err(status) => refusal(&status),
    }
}

/// The upload: a file, with its metadata in the query to keep the demo short.
async fn upload(
    State(index): State<Arc<Index>>,
    uri: Uri,
    headers: HeaderMap,
    file: Bytes,
) -> Response {
    let query = uri.query().unwrap_or_default();
    let field = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let project = field("name").unwrap_or_default();
    let publishers = index.publishers();
    let registered = publishers
        .iter()
        .find_map(|one| Some((&one.id, one.projects.iter().find(|own| own.name == project)?)));
    let access = Access {
        action: "upload".to_owned(),
        project: registered.map(|(_, project)| project.clone()),
        publisher_ids: registered.iter().map(|(id, _)| (*id).clone()).collect(),
        version: field("version").unwrap_or_default(),
        filename: field("filename").unwrap_or_default(),
        sha256: Sha256::digest(&file).to_vec(),
    };
    let request = VerifyRequest {
        credential: Some(Credential::UploadToken(UploadToken {
            token: password(&headers).unwrap_or_default(),
            access: Some(access),
            ..UploadToken::default()
        })),
        client: Some(client(&headers)),
        ..VerifyRequest::default()
    };
    match index.mintage.clone().verify(index.call(request)).await {
        Ok(answer) => judged(&answer.into_inner()),
        Err(status) => refusal(&status),
    }
}

fn judged(answer: &VerifyResponse) -> Response {
    if answer.verdict() == Verdict::Allowed {
        return json!({"uploaded": true}).to_string().into_response();
    }
    let errors = answer.denials.iter().map(|denial| {
        let code = denial.reason().as_str_name().trim_start_matches("ERROR_REASON_");
        json!({"code": code, "description": denial.message})
    });
    problem(StatusCode::FORBIDDEN, &errors.collect::<Vec<_>>())
}

/// A refusal as PEP 807 and today's clients read it.
fn refusal(status: &Status) -> Response {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let (http, code) = match reason {
        "ID_TOKEN_REUSED" => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-reuse-token"),
        "PUBLISHER_NOT_FOUND" => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-publisher"),
        "RATE_LIMITED" => (StatusCode::TOO_MANY_REQUESTS, "rate-limited"),
        "UNAVAILABLE" => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        other if other.starts_with("ID_TOKEN_") => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid-token")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    problem(http, &[json!({"code": code, "description": status.message()})])
}

fn problem(status: StatusCode, errors: &[Value]) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({"title": title, "status": status.as_u16(), "errors": errors});
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

fn unverified_claim(id_token: &str, name: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get(name)?.as_str().map(str::to_owned)
}

fn client(headers: &HeaderMap) -> Client {
    let ip = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    Client { ip: ip.unwrap_or_default().to_owned(), user_agent: "mintage demo".to_owned() }
}

/// The password of HTTP Basic: the upload token.
fn password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(decoded).ok()?.strip_prefix("__token__:").map(str::to_owned)
}
