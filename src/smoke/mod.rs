//! `mintage smoke`: whether a running service answers as it should, asked over its
//! real port by a real client.
//!
//! It asks for nothing that an index wouldn't ask for. What it mints is good for a user
//! and a project of names that no index has, for a minute, and is revoked where the
//! caller may do that; no token is shown.

mod connection;

use std::{fmt, time::Duration};

use tonic::{
    Request, Status,
    metadata::{AsciiMetadataValue, MetadataValue},
    transport::Channel,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use crate::grpc::proto::{
    Access, Caveat, Denial, MintRequest, Project, ProjectNames, RevokeRequest, UploadToken, User,
    Verdict, VerifyRequest, VerifyResponse, caveat, mint_request::Subject, revoke_request::Target,
    token_service_client::TokenServiceClient, verify_request::Credential,
};

pub(crate) use connection::{OwnCertificate, Tls};

/// The user and the project that tokens are minted for: names that tell in an audit
/// trail where they come from.
const SUBJECT: &str = "mintage-smoke-test";

/// A project that such a token isn't good for.
const OTHER_PROJECT: &str = "mintage-smoke-test-other";

/// What is asked, and of whom.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `http://host:port` or `https://host:port`.
    pub(crate) address: String,
    /// How it is met, where the address is an https one.
    pub(crate) tls: Option<Tls>,
    /// How long any one answer may take.
    pub(crate) patience: Duration,
    /// What is minted and verified; None: only health is asked for.
    pub(crate) tokens: Option<Tokens>,
}

/// What is minted and verified.
pub(crate) struct Tokens {
    /// The index; empty where the service has but one.
    pub(crate) index: String,
    /// What the caller proves itself with; None where a certificate does, or nothing.
    pub(crate) caller: Option<Bearer>,
    /// How long the token lives.
    pub(crate) lifetime: Duration,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A caller's token as it is sent.
#[derive(Clone)]
pub(crate) struct Bearer(AsciiMetadataValue);

impl Bearer {
    /// None: it holds what no header can.
    pub(crate) fn new(token: &str) -> Option<Self> {
        let mut value = MetadataValue::try_from(format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

/// One question, and its answer.
#[derive(Debug)]
pub(crate) struct Step {
    /// What was asked.
    pub(crate) what: &'static str,
    /// What the answer should be.
    pub(crate) wanted: &'static str,
    /// What it was.
    pub(crate) found: String,
    /// Whether that is as it should be.
    pub(crate) held: bool,
}

/// Why nothing could be asked: one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SmokeFailed(String);

/// Asks, one after the other, up to the first answer without which the next question
/// makes no sense.
pub(crate) fn run(asked: &Asked) -> Result<Vec<Step>, SmokeFailed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| SmokeFailed(format!("starting: {error}")))?;
    runtime.block_on(async {
        let channel = connection::connect(asked).await?;
        let mut steps = vec![health(channel.clone()).await];
        if let Some(tokens) = &asked.tokens {
            let client = TokenServiceClient::new(channel);
            Story { client, tokens, steps: &mut steps }.tell().await;
        }
        Ok(steps)
    })
}

async fn health(channel: Channel) -> Step {
    let request = HealthCheckRequest { service: "mintage.v1.TokenService".to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    let found = match answer {
        Ok(answer) => answer.into_inner().status().as_str_name().to_owned(),
        Err(status) => refused(&status),
    };
    let wanted = ServingStatus::Serving.as_str_name();
    Step { what: "health", wanted, held: found == wanted, found }
}

/// Tokens: minted, verified, narrowed away, revoked.
struct Story<'a> {
    client: TokenServiceClient<Channel>,
    tokens: &'a Tokens,
    steps: &'a mut Vec<Step>,
}

impl Story<'_> {
    async fn tell(mut self) {
        let Some(token) = self.mint().await else { return };
        let good = self.verify("verify for its project", SUBJECT, &token, "allowed").await;
        if !good {
            return;
        }
        self.verify("verify for another project", OTHER_PROJECT, &token, "CAVEAT_PROJECT").await;
        if self.revoke(&token).await {
            self.verify("verify once more", SUBJECT, &token, "TOKEN_REVOKED").await;
        }
    }

    async fn mint(&mut self) -> Option<String> {
        let names = ProjectNames { names: vec![SUBJECT.to_owned()] };
        let lifetime = prost_types::Duration::try_from(self.tokens.lifetime).ok();
        let request = MintRequest {
            index: self.tokens.index.clone(),
            subject: Some(Subject::User(User { user_id: SUBJECT.to_owned() })),
            caveats: vec![Caveat { kind: Some(caveat::Kind::ProjectNames(names)) }],
            lifetime,
            ..MintRequest::default()
        };
        let answer = self.client.mint(self.call(request)).await;
        let (found, token) = match answer {
            Ok(answer) => ("a token".to_owned(), Some(answer.into_inner().token)),
            Err(status) => (refused(&status), None),
        };
        self.note("mint for a user", "a token", found, token.is_some());
        token
    }

    /// `wanted` is `allowed`, or the reason for which it should be denied.
    async fn verify(
        &mut self,
        what: &'static str,
        project: &str,
        token: &str,
        wanted: &'static str,
    ) -> bool {
        let project = Project { id: project.to_owned(), name: project.to_owned() };
        let access = Access { project: Some(project), ..Access::default() };
        let upload =
            UploadToken { token: token.to_owned(), access: Some(access), ..UploadToken::default() };
        let request = VerifyRequest {
            index: self.tokens.index.clone(),
            credential: Some(Credential::UploadToken(upload)),
            ..VerifyRequest::default()
        };
        let found = match self.client.verify(self.call(request)).await {
            Ok(answer) => judged(answer.get_ref()),
            Err(status) => refused(&status),
        };
        let held = found == wanted;
        self.note(what, wanted, found, held);
        held
    }

    /// Whether it is revoked now. A caller without the right to is no fault.
    async fn revoke(&mut self, token: &str) -> bool {
        let request = RevokeRequest {
            index: self.tokens.index.clone(),
            target: Some(Target::Token(token.to_owned())),
            cause: SUBJECT.to_owned(),
            ..RevokeRequest::default()
        };
        let answer = self.client.revoke(self.call(request)).await;
        let (found, held) = match &answer {
            Ok(_) => ("revoked".to_owned(), true),
            Err(status) if reason(status) == "CALLER_FORBIDDEN" => {
                ("this caller may not; it ends by itself".to_owned(), true)
            }
            Err(status) => (refused(status), false),
        };
        self.note("revoke", "revoked", found, held);
        answer.is_ok()
    }

    fn note(&mut self, what: &'static str, wanted: &'static str, found: String, held: bool) {
        self.steps.push(Step { what, wanted, found, held });
    }

    /// A call with the proof of who makes it.
    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(Bearer(value)) = &self.tokens.caller {
            request.metadata_mut().insert("authorization", value.clone());
        }
        request
    }
}

/// `allowed`, or the reasons of the denial.
fn judged(answer: &VerifyResponse) -> String {
    if answer.verdict() == Verdict::Allowed {
        return "allowed".to_owned();
    }
    let reason = |denial: &Denial| {
        denial.reason().as_str_name().trim_start_matches("ERROR_REASON_").to_owned()
    };
    answer.denials.iter().map(reason).collect::<Vec<_>>().join(", ")
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map_or(String::new(), |info| info.reason.clone())
}

/// What a person needs of a status.
fn refused(status: &Status) -> String {
    let reason = reason(status);
    let name = if reason.is_empty() { status.code().to_string() } else { reason };
    format!("{name}: {}", status.message())
}
