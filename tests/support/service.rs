//! The real service in this process: real sockets, a real client, a real issuer,
//! and a clock that the test moves.
//!
//! ```ignore
//! let scene = Scene::start();                       // one index, one issuer
//! let token = scene.mint(publishing(&scene, 1)).await.unwrap();
//! scene.clock.advance(Duration::from_secs(60));
//! ```

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use mintage::{
    app::{Server, SystemRandomness, World},
    clock::Timestamp,
    config::Config,
    grpc::proto::{self, token_service_client::TokenServiceClient},
    macaroon::{KeyId, Keyring, MasterKey},
    ports::Clock,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};
use tonic_types::StatusExt as _;

use super::{clock::ManualClock, issuer::TestIssuer};

/// The moment at which every scene begins: no round number, so that seconds,
/// milliseconds and microseconds can't be mixed up unnoticed.
pub const BEGIN: Timestamp = Timestamp::from_micros(1_790_000_123_456_789);

/// The bearer token of the caller "web", who may do everything.
pub const WEB: &str = "the web tier's token, made for tests";

/// The bearer token of the caller "scanner", who may only revoke.
pub const SCANNER: &str = "the scanner's token, made for tests";

/// The master key of every scene, under the id `k1`. For tests alone.
pub const MASTER_KEY: [u8; 32] = [0x5a; 32];

/// A running service with everything around it.
pub struct Scene {
    /// The service.
    pub server: Server,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// The issuer of the index `pypi`, with GitHub's rules.
    pub issuer: TestIssuer,
    /// A client that proves itself as `web`.
    pub client: Client,
}

/// What a client of the service looks like.
pub type Client =
    TokenServiceClient<tonic::service::interceptor::InterceptedService<Channel, Bearer>>;

/// Adds a bearer token to every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<tonic::metadata::Ascii>>);

impl Bearer {
    /// This one, or none.
    pub fn of(token: Option<&str>) -> Self {
        Self(token.map(|token| format!("Bearer {token}").parse().unwrap()))
    }
}

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Scene {
    /// One index `pypi` with extended caveats, one GitHub issuer, two callers.
    pub async fn start() -> Self {
        Self::start_with("", "").await
    }

    /// The same, with more lines in `[indexes.pypi]` and more sections.
    pub async fn start_with(index_lines: &str, sections: &str) -> Self {
        let issuer = TestIssuer::start();
        let url = issuer.url();
        Self::start_at(issuer, &configuration(&url, index_lines, sections), BEGIN).await
    }

    /// With a configuration of the test's own, and a clock that begins then.
    pub async fn start_at(issuer: TestIssuer, toml: &str, begin: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::at(begin));
        let server = server(toml, &clock);
        let client = client(&server, Some(WEB)).await;
        Self { server, clock, issuer, client }
    }

    /// Calls Mint.
    pub async fn mint(&self, request: proto::MintRequest) -> Result<proto::MintResponse, Refused> {
        let answer = self.client.clone().mint(request).await;
        answer.map(tonic::Response::into_inner).map_err(Refused::from)
    }

    /// Calls Verify.
    pub async fn verify(
        &self,
        request: proto::VerifyRequest,
    ) -> Result<proto::VerifyResponse, Refused> {
        let answer = self.client.clone().verify(request).await;
        answer.map(tonic::Response::into_inner).map_err(Refused::from)
    }

    /// Calls Attenuate.
    pub async fn attenuate(
        &self,
        request: proto::AttenuateRequest,
    ) -> Result<proto::AttenuateResponse, Refused> {
        let answer = self.client.clone().attenuate(request).await;
        answer.map(tonic::Response::into_inner).map_err(Refused::from)
    }

    /// Calls Revoke.
    pub async fn revoke(
        &self,
        request: proto::RevokeRequest,
    ) -> Result<proto::RevokeResponse, Refused> {
        let answer = self.client.clone().revoke(request).await;
        answer.map(tonic::Response::into_inner).map_err(Refused::from)
    }

    /// The present second.
    pub fn now(&self) -> i64 {
        self.clock.now().seconds()
    }

    /// [`github_claims`], issued now.
    pub fn github_claims(&self, jti: &str) -> Value {
        github_claims(self.now(), jti)
    }

    /// An ID token of these claims.
    pub fn github_id_token(&self, jti: &str) -> String {
        self.issuer.id_token(&self.github_claims(jti))
    }

    /// A Mint for the job with this `jti`, for the publisher `p1` with two projects.
    pub fn publishing(&self, jti: &str) -> proto::MintRequest {
        self.publishing_with(self.github_id_token(jti))
    }

    /// The same with an ID token of the test's own.
    pub fn publishing_with(&self, id_token: String) -> proto::MintRequest {
        publishing(&self.issuer.url(), id_token)
    }
}

/// A Mint with this ID token, for the publisher `p1` with two projects.
pub fn publishing(issuer: &str, id_token: String) -> proto::MintRequest {
    proto::MintRequest {
        index: "pypi".to_owned(),
        subject: Some(proto::mint_request::Subject::TrustedPublishing(proto::TrustedPublishing {
            id_token,
            candidates: vec![github_publisher(issuer, "p1")],
            projects: vec![],
        })),
        ..Default::default()
    }
}

/// The claims of a GitHub job that [`github_publisher`] matches, issued at this
/// second, good for five minutes, with this `jti`.
pub fn github_claims(now: i64, jti: &str) -> Value {
    json!({
        "jti": jti,
        "aud": "pypi",
        "sub": "repo:octo/sample:environment:release",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "repository": "octo/sample",
        "repository_owner": "octo",
        "repository_owner_id": "4711",
        "repository_id": "815",
        "job_workflow_ref": "octo/sample/.github/workflows/release.yml@refs/tags/v1.0",
        "ref": "refs/tags/v1.0",
        "sha": "f3a1c0de",
        "environment": "release",
        "event_name": "push",
    })
}

/// The claims of a request's trusted publishing, to change them.
pub fn trusted(request: &mut proto::MintRequest) -> &mut proto::TrustedPublishing {
    match &mut request.subject {
        Some(proto::mint_request::Subject::TrustedPublishing(publishing)) => publishing,
        other => panic!("not for a publisher: {other:?}"),
    }
}

/// A service of this configuration, by this clock, in this process.
pub fn server(toml: &str, clock: &Arc<ManualClock>) -> Server {
    server_by(toml, Arc::clone(clock) as _)
}

/// The same, by a clock of the test's own kind.
pub fn server_by(toml: &str, clock: Arc<dyn Clock>) -> Server {
    let config = Config::parse(toml, Path::new("/"), std::iter::empty())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let key_id = KeyId::parse("k1").unwrap();
    let keys = [(key_id.clone(), MasterKey::new(&MASTER_KEY).unwrap())];
    let keyring = Keyring::new(keys.into(), key_id).unwrap();
    let world = World { clock, randomness: Arc::new(SystemRandomness) };
    Server::start(&config, keyring, world).unwrap()
}

/// A client that proves itself with this token, or with none.
pub async fn client(server: &Server, token: Option<&str>) -> Client {
    client_at(server.grpc_address(), token).await
}

/// The same for a service that listens there.
pub async fn client_at(address: SocketAddr, token: Option<&str>) -> Client {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = channel.connect().await.unwrap();
    TokenServiceClient::with_interceptor(channel, Bearer::of(token))
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

/// The configuration of [`Scene::start_with`].
pub fn configuration(issuer: &str, index_lines: &str, sections: &str) -> String {
    configuration_with("shutdown_grace = \"5s\", threads = 2", issuer, index_lines, sections)
}

/// The same with bounds of the test's own.
pub fn configuration_with(bounds: &str, issuer: &str, index_lines: &str, sections: &str) -> String {
    format!(
        r#"
listen = "127.0.0.1:0"
keyring = {{ directory = "keys", current = "k1" }}
server = {{ {bounds} }}

[[callers]]
name = "web"
token_sha256 = "{web}"
may = ["mint-publisher", "mint-user", "verify", "attenuate", "revoke"]

[[callers]]
name = "scanner"
token_sha256 = "{scanner}"
may = ["revoke"]

[[issuers]]
url = "{issuer}"
provider = "github"

[indexes.pypi]
audience = "pypi"
location = "index.example"
issuers = ["{issuer}"]
extended_caveats = true
{index_lines}

{sections}
"#,
        web = sha256_hex(WEB),
        scanner = sha256_hex(SCANNER),
    )
}

/// SHA-256 of a caller's token, as the configuration has it.
pub fn sha256_hex(text: &str) -> String {
    use sha2::{Digest as _, Sha256};

    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The publisher that [`Scene::github_claims`] is about, with the projects
/// `sample` (`id-1`) and `Other.Project` (`id-2`).
pub fn github_publisher(issuer: &str, id: &str) -> proto::Publisher {
    proto::Publisher {
        id: id.to_owned(),
        projects: vec![project("id-1", "sample"), project("id-2", "Other.Project")],
        issuer: issuer.to_owned(),
        projects_at_use: false,
        identity: Some(proto::publisher::Identity::Github(proto::GitHub {
            repository_owner: "octo".to_owned(),
            repository_owner_id: "4711".to_owned(),
            repository_name: "sample".to_owned(),
            workflow_filename: "release.yml".to_owned(),
            environment: "release".to_owned(),
            repository_id: String::new(),
        })),
    }
}

/// A project.
pub fn project(id: &str, name: &str) -> proto::Project {
    proto::Project { id: id.to_owned(), name: name.to_owned() }
}

/// A Mint for the user `u1`, living for so long.
pub fn for_user(lifetime: Option<Duration>) -> proto::MintRequest {
    proto::MintRequest {
        index: "pypi".to_owned(),
        subject: Some(proto::mint_request::Subject::User(proto::User { user_id: "u1".to_owned() })),
        lifetime: lifetime.map(|lifetime| lifetime.try_into().unwrap()),
        ..Default::default()
    }
}

/// An upload of version 1.0 of `sample` (`id-1`), to which `p1` is registered.
pub fn upload() -> proto::Access {
    proto::Access {
        action: String::new(),
        project: Some(project("id-1", "sample")),
        publisher_ids: vec!["p1".to_owned()],
        version: "1.0".to_owned(),
        filename: "sample-1.0.tar.gz".to_owned(),
        sha256: vec![0xab; 32],
    }
}

/// A Verify of an upload token for [`upload`].
pub fn verifying(token: &str) -> proto::VerifyRequest {
    verifying_access(token, upload())
}

/// A Verify of an upload token for an access.
pub fn verifying_access(token: &str, access: proto::Access) -> proto::VerifyRequest {
    proto::VerifyRequest {
        index: "pypi".to_owned(),
        credential: Some(proto::verify_request::Credential::UploadToken(proto::UploadToken {
            token: token.to_owned(),
            access: Some(access),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// The upload token of a request, to change what is asked about it.
pub fn uploading(request: &mut proto::VerifyRequest) -> &mut proto::UploadToken {
    match &mut request.credential {
        Some(proto::verify_request::Credential::UploadToken(upload)) => upload,
        other => panic!("not about an upload token: {other:?}"),
    }
}

/// A caveat of this kind.
pub fn caveat(kind: proto::caveat::Kind) -> proto::Caveat {
    proto::Caveat { kind: Some(kind) }
}

/// A refusal as a caller sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status code.
    pub code: Code,
    /// The reason in the `google.rpc.ErrorInfo`; empty where there is none.
    pub reason: String,
    /// Its domain.
    pub domain: String,
    /// The sentence.
    pub message: String,
    /// The field of the `google.rpc.BadRequest`; empty where there is none.
    pub field: String,
    /// The time of the `google.rpc.RetryInfo`.
    pub retry_after: Option<Duration>,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|request| &request.field_violations);
        Self {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            domain: info.map(|info| info.domain.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            field: violations
                .and_then(|violations| violations.first())
                .map(|violation| violation.field.clone())
                .unwrap_or_default(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

/// The reasons of a Verify's denials, in order.
pub fn reasons(answer: &proto::VerifyResponse) -> Vec<String> {
    let name = |denial: &proto::Denial| {
        let name = denial.reason().as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name).to_owned()
    };
    answer.denials.iter().map(name).collect()
}
