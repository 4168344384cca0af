//! What is measured on: one issuer, one index with its web tier, CI jobs with ID
//! tokens that nobody has used yet.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mintage::grpc::proto::{
    self, caveat::Kind, mint_request::Subject, publisher::Identity, verify_request::Credential,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{
    Failure,
    claims::github_claims,
    issuer::TestIssuer,
    load::{Answer, Work},
    roles::EchoMessage,
};

/// The index that embeds at most 50 projects, as by default.
pub(super) const INDEX: &str = "pypi";

/// The index that embeds as many as may be.
pub(super) const WIDE_INDEX: &str = "wide";

/// The audience of both.
const AUDIENCE: &str = "pypi";

/// The web tier's token.
pub(super) const WEB: &str = "the web tier's token, made for benchmarks";

const MINT: &str = "/mintage.v1.TokenService/Mint";
const VERIFY: &str = "/mintage.v1.TokenService/Verify";
const ATTENUATE: &str = "/mintage.v1.TokenService/Attenuate";
const ECHO: &str = "/bench.Echo/Echo";

/// A folder for a service of its own.
pub(super) struct Folder {
    folder: TempDir,
}

impl Folder {
    /// With a keyring, and a configuration with this store.
    pub(super) fn new(issuer: &TestIssuer, store: &str) -> Result<Self, Failure> {
        let folder = Self { folder: tempfile::tempdir()? };
        let keys = folder.folder.path().join("keys");
        fs::create_dir(&keys)?;
        fs::write(keys.join("k1"), STANDARD.encode([0x5a; 32]))?;
        fs::write(folder.configuration(), configuration(&issuer.url(), store))?;
        Ok(folder)
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.folder.path().join("mintage.toml")
    }
}

/// As an operator would have it, but for limits that one client can't spend.
fn configuration(issuer: &str, store: &str) -> String {
    let digest = Sha256::digest(WEB);
    let web: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let limits: String = [
        "mint_per_client",
        "mint_per_publisher",
        "refused_mint_per_client",
        "denied_verify_per_client",
    ]
    .map(|limit| format!("{limit} = {{ burst = 1000000, count = 1000000, period = \"1s\" }}\n"))
    .concat();
    format!(
        r#"
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
keyring = {{ directory = "keys", current = "k1" }}
store = {{ {store} }}
log = {{ format = "json" }}

[limits]
{limits}

[[callers]]
name = "web"
token_sha256 = "{web}"
may = ["mint-publisher", "mint-user", "verify", "attenuate", "revoke"]

[[issuers]]
url = "{issuer}"
provider = "github"

[indexes.{INDEX}]
audience = "{AUDIENCE}"
location = "index.example"
issuers = ["{issuer}"]
extended_caveats = true

[indexes.{WIDE_INDEX}]
audience = "{AUDIENCE}"
location = "index.example"
issuers = ["{issuer}"]
max_embedded_projects = 1000
"#
    )
}

/// ID tokens that were signed beforehand, since signing costs ten times what
/// minting does. Each service takes every one of them once.
pub(super) struct Pool {
    tokens: Vec<String>,
}

impl Pool {
    /// Signs so many, on all cores.
    pub(super) fn sign(issuer: &TestIssuer, count: usize) -> Result<Self, Failure> {
        let now = now()?;
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let signers = thread::available_parallelism()?.get();
        let sign = |signer: usize| {
            (signer..count).step_by(signers).map(|at| id_token(issuer, now, run, at)).collect()
        };
        let tokens = thread::scope(|scope| {
            let running: Vec<_> = (0..signers)
                .map(|signer| scope.spawn(move || -> Vec<_> { sign(signer) }))
                .collect();
            running.into_iter().filter_map(|signer| signer.join().ok()).flatten().collect()
        });
        Ok(Self { tokens })
    }

    /// Any of them.
    pub(super) fn any(&self) -> Option<&str> {
        self.tokens.first().map(String::as_str)
    }
}

#[expect(clippy::disallowed_methods, reason = "ID tokens for a service that takes the real time")]
fn now() -> Result<i64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().try_into()?)
}

fn id_token(issuer: &TestIssuer, now: i64, run: usize, at: usize) -> String {
    let jti = format!("{run:08x}-7f5d-4b43-9b5e-{at:012x}");
    issuer.id_token(&github_claims(&issuer.url(), AUDIENCE, now, &jti))
}

/// What is asked of a service.
pub(super) struct Requests {
    issuer: String,
}

impl Requests {
    pub(super) fn new(issuer: &TestIssuer) -> Self {
        Self { issuer: issuer.url() }
    }

    /// Mints, each with an ID token of its own.
    pub(super) fn mint(
        &self,
        pool: &Arc<Pool>,
        used: &Arc<AtomicUsize>,
        template: &proto::MintRequest,
    ) -> Work {
        let (pool, used, template) = (Arc::clone(pool), Arc::clone(used), template.clone());
        Work {
            path: MINT,
            next: Box::new(move || {
                let token = pool.tokens.get(used.fetch_add(1, Ordering::Relaxed))?;
                Some(with_token(&template, token).encode_to_vec().into())
            }),
            holds: Result::is_ok,
        }
    }

    /// The same Mint over and over, which must be refused.
    pub(super) fn refused_mint(&self, id_token: &str) -> Work {
        let message = with_token(&self.publishing(INDEX, 1), id_token);
        Work { holds: Result::is_err, ..same(MINT, &message) }
    }

    /// A Mint without its ID token, for a publisher with so many projects.
    pub(super) fn publishing(&self, index: &str, projects: usize) -> proto::MintRequest {
        let project = |n| proto::Project {
            id: format!("{}", 10_000_000 + n),
            name: format!("Sample.Project-{n}"),
        };
        let publisher = proto::Publisher {
            id: "publisher-1".to_owned(),
            projects: (0..projects).map(project).collect(),
            issuer: self.issuer.clone(),
            projects_at_use: projects == 0,
            identity: Some(Identity::Github(proto::GitHub {
                repository_owner: "octo-org".to_owned(),
                repository_owner_id: "1234567".to_owned(),
                repository_name: "sample-project".to_owned(),
                workflow_filename: "release.yml".to_owned(),
                environment: "release".to_owned(),
                repository_id: String::new(),
            })),
        };
        proto::MintRequest {
            index: index.to_owned(),
            subject: Some(Subject::TrustedPublishing(proto::TrustedPublishing {
                id_token: String::new(),
                candidates: vec![publisher],
                projects: vec![],
            })),
            client: Some(client()),
            ..Default::default()
        }
    }
}

/// A Mint with an ID token, and the request id that a web tier makes of it.
fn with_token(template: &proto::MintRequest, id_token: &str) -> proto::MintRequest {
    let mut message = template.clone();
    let tail = id_token.len().saturating_sub(REQUEST_ID_BYTES);
    message.request_id = id_token.get(tail..).unwrap_or_default().to_owned();
    if let Some(Subject::TrustedPublishing(publishing)) = &mut message.subject {
        publishing.id_token = id_token.to_owned();
    }
    message
}

/// As long as a SHA-256 in hexadecimal.
const REQUEST_ID_BYTES: usize = 64;

fn client() -> proto::Client {
    proto::Client {
        ip: "192.0.2.7".to_owned(),
        user_agent: "uv/0.13.0 (Ubuntu 24.04; x86_64; CPython 3.14)".to_owned(),
    }
}

/// Verifies of an upload token for what it is good for.
pub(super) fn verify(index: &str, token: &str) -> Work {
    let access = proto::Access {
        action: String::new(),
        project: Some(proto::Project {
            id: "10000000".to_owned(),
            name: "Sample.Project-0".to_owned(),
        }),
        publisher_ids: vec!["publisher-1".to_owned()],
        version: "1.24.0".to_owned(),
        filename: "sample_project_0-1.24.0.tar.gz".to_owned(),
        sha256: vec![0xab; 32],
    };
    let message = proto::VerifyRequest {
        index: index.to_owned(),
        credential: Some(Credential::UploadToken(proto::UploadToken {
            token: token.to_owned(),
            access: Some(access),
            ..Default::default()
        })),
        client: Some(client()),
        ..Default::default()
    };
    Work { holds: allowed, ..same(VERIFY, &message) }
}

fn allowed(answer: &Answer) -> bool {
    let answer =
        answer.as_ref().ok().and_then(|bytes| proto::VerifyResponse::decode(&**bytes).ok());
    answer.is_some_and(|answer| answer.verdict() == proto::Verdict::Allowed)
}

/// Attenuates of an upload token, to one file.
pub(super) fn attenuate(token: &str) -> Work {
    let filenames = vec!["sample_project_0-1.24.0.tar.gz".to_owned()];
    let kinds = [
        Kind::Filenames(proto::Filenames { filenames }),
        Kind::Digests(proto::Digests { sha256: vec![vec![0xab; 32]] }),
    ];
    let message = proto::AttenuateRequest {
        index: INDEX.to_owned(),
        token: token.to_owned(),
        caveats: kinds.map(|kind| proto::Caveat { kind: Some(kind) }).into(),
    };
    same(ATTENUATE, &message)
}

/// Echoes of messages as long as those of some other call and its answer.
pub(super) fn echo(sizes: Sizes) -> Work {
    let payload = vec![b'x'; sizes.request].into();
    let answer_bytes = u32::try_from(sizes.answer).unwrap_or(u32::MAX);
    same(ECHO, &EchoMessage { answer_bytes, payload })
}

/// How long the messages of a call are, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) request: usize,
    pub(super) answer: usize,
}

fn same(path: &'static str, message: &impl prost::Message) -> Work {
    let message: Bytes = message.encode_to_vec().into();
    Work { path, next: Box::new(move || Some(message.clone())), holds: Result::is_ok }
}
