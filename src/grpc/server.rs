//! The four calls: who calls, what for, the use case, the answer, the audit.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::pb::health_server::HealthServer;

use super::{
    MAX_MESSAGE_BYTES, MAX_NAME_MESSAGE_BYTES, Served, SharedCallers,
    audit::{self, Call, CredentialHash, Outcome},
    callers::{Guarded, Proven},
    convert::{self, VerifyCredential},
    health::PhaseHealth,
    instruments::{Credential, IndexAt, Instruments},
    proto::{
        self,
        token_service_server::{TokenService, TokenServiceServer},
    },
    rpc::Rpc,
    spans,
    status::{reason_name, status},
    transport::Phase,
};
use crate::{
    oidc::VerifiedIdToken,
    service::{Admitted, Caller, Client, Refusal, Right, Service, Verdict, VerifyAnswer},
};

/// The service behind the contract's four calls. It serves no call that didn't
/// come through a [`Guarded`].
#[derive(Clone)]
pub struct TokenServer {
    service: Arc<Service>,
    instruments: Arc<Instruments>,
}

impl TokenServer {
    /// The calls of a service, and what they are counted by.
    pub fn new(service: Arc<Service>, instruments: Arc<Instruments>) -> Self {
        Self { service, instruments }
    }
}

/// Everything that is served on the gRPC port: the contract for those who prove
/// themselves; health, and reflection in the version that tools ask for and the
/// one before it, for everybody.
pub(crate) fn served(
    server: TokenServer,
    callers: SharedCallers,
    phase: watch::Receiver<Phase>,
) -> Result<Served, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let instruments = Arc::clone(&server.instruments);
    let tokens = TokenServiceServer::new(server)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX);
    let health = HealthServer::new(PhaseHealth::new(phase));
    let health = health.max_decoding_message_size(MAX_NAME_MESSAGE_BYTES);
    let v1 = reflection().build_v1()?.max_decoding_message_size(MAX_NAME_MESSAGE_BYTES);
    let v1alpha = reflection().build_v1alpha()?.max_decoding_message_size(MAX_NAME_MESSAGE_BYTES);
    let others = Routes::new(health).add_service(v1).add_service(v1alpha).prepare();
    Ok(Served::new(Guarded::new(tokens, callers, instruments), others))
}

#[tonic::async_trait]
impl TokenService for TokenServer {
    async fn mint(
        &self,
        request: Request<proto::MintRequest>,
    ) -> Result<Response<proto::MintResponse>, Status> {
        let message = request.get_ref();
        let id_token = match &message.subject {
            Some(proto::mint_request::Subject::TrustedPublishing(of)) => of.id_token.as_str(),
            Some(proto::mint_request::Subject::User(_)) | None => "",
        };
        let mut told = self.told(Rpc::Mint, &message.index, id_token);
        let answer = self.minted(&mut told, request).await;
        told.end(answer)
    }

    async fn verify(
        &self,
        request: Request<proto::VerifyRequest>,
    ) -> Result<Response<proto::VerifyResponse>, Status> {
        let message = request.get_ref();
        let credential = match &message.credential {
            Some(proto::verify_request::Credential::UploadToken(of)) => of.token.as_str(),
            Some(proto::verify_request::Credential::IdToken(of)) => of.id_token.as_str(),
            None => "",
        };
        let mut told = self.told(Rpc::Verify, &message.index, credential);
        let answer = self.verified(&mut told, request).await;
        told.end(answer)
    }

    async fn attenuate(
        &self,
        request: Request<proto::AttenuateRequest>,
    ) -> Result<Response<proto::AttenuateResponse>, Status> {
        let message = request.get_ref();
        let mut told = self.told(Rpc::Attenuate, &message.index, &message.token);
        let answer = self.attenuated(&mut told, request);
        told.end(answer)
    }

    async fn revoke(
        &self,
        request: Request<proto::RevokeRequest>,
    ) -> Result<Response<proto::RevokeResponse>, Status> {
        let message = request.get_ref();
        let token = match &message.target {
            Some(proto::revoke_request::Target::Token(token)) => token.as_str(),
            Some(proto::revoke_request::Target::TokenId(_)) | None => "",
        };
        let mut told = self.told(Rpc::Revoke, &message.index, token);
        let answer = self.revoked(&mut told, request).await;
        told.end(answer)
    }
}

impl TokenServer {
    /// A call that begins: of this index, with this credential.
    fn told(&self, rpc: Rpc, index: &str, credential: &str) -> Told {
        Told {
            rpc,
            index: index.chars().take(TOLD_INDEX_CHARS).collect(),
            at: IndexAt::default(),
            caller: None,
            client: Client::default(),
            credential: CredentialHash::of(credential),
            projects: String::new(),
            began: Instant::now(),
            instruments: Arc::clone(&self.instruments),
            ended: false,
        }
    }

    /// The first checks of every call.
    fn admit<T>(
        &self,
        told: &mut Told,
        request: &Request<T>,
        right: impl FnOnce(&Caller) -> Right,
        index: &str,
    ) -> Result<Admitted, Refusal> {
        let caller = told.caller.insert(Proven::caller(request)?);
        let admitted = self.service.admit(caller, right(caller), index)?;
        told.index.clone_from(&admitted.index().name);
        told.at = self.instruments.index(&told.index);
        spans::index(&told.index);
        Ok(admitted)
    }

    async fn minted(
        &self,
        told: &mut Told,
        request: Request<proto::MintRequest>,
    ) -> Result<(proto::MintResponse, Outcome), Refusal> {
        use proto::mint_request::Subject;

        let message = request.get_ref();
        let right = |caller: &Caller| match &message.subject {
            Some(Subject::TrustedPublishing(_)) => Right::MintPublisher,
            Some(Subject::User(_)) => Right::MintUser,
            // Whoever may mint at all hears what is wrong with the request.
            None if caller.may.contains(&Right::MintUser) => Right::MintUser,
            None => Right::MintPublisher,
        };
        let at = self.admit(told, &request, right, &message.index)?;
        let wanted = convert::mint_request(request.into_inner(), &at.index().name)?;
        told.client.clone_from(&wanted.client);
        told.projects = audit::projects(wanted.wish.projects.iter().map(String::as_str));
        let answer = self.service.mint(&at, wanted).await?;
        let issuer = answer.identity.as_ref().map(VerifiedIdToken::issuer);
        self.instruments.minted(told.at, issuer, answer.minted);
        let granted = answer.projects.iter().map(|project| project.name.as_str());
        let outcome = Outcome {
            token_id: answer.token_id.clone(),
            subject: Some(answer.subject.clone()),
            issuer: issuer.unwrap_or_default().to_owned(),
            projects: Some(audit::projects(granted)),
            ..Outcome::of("minted")
        };
        Ok((convert::mint_response(answer), outcome))
    }

    async fn verified(
        &self,
        told: &mut Told,
        request: Request<proto::VerifyRequest>,
    ) -> Result<(proto::VerifyResponse, Outcome), Refusal> {
        let index = &request.get_ref().index;
        let at = self.admit(told, &request, |_| Right::Verify, index)?;
        let told_at = told.at;
        let answered = |credential, answer: VerifyAnswer<'_>| {
            let (verdict, revocations) = (answer.verdict(), answer.revocations);
            let denials = &answer.denials;
            self.instruments.verified(told_at, credential, verdict, denials, revocations);
            let outcome = verify_outcome(&answer);
            (convert::verify_response(answer), outcome)
        };
        match convert::verify_request(request.into_inner(), &at.index().name)? {
            VerifyCredential::UploadToken(wanted) => {
                told.client.clone_from(&wanted.client);
                let project = wanted.access.project.as_ref().map(|(_, name)| name.as_str());
                told.projects = audit::projects(project.into_iter());
                let read = Service::read_upload_token(&at, &wanted.token.0);
                let read = read.as_ref().map_err(Clone::clone);
                let answer = self.service.verify_upload_token(&at, &wanted, read).await?;
                Ok(answered(Credential::UploadToken, answer))
            }
            VerifyCredential::IdToken(publishing, client) => {
                told.client.clone_from(&client);
                let answer = self.service.verify_id_token(&at, &publishing, &client).await?;
                Ok(answered(Credential::IdToken, answer))
            }
        }
    }

    fn attenuated(
        &self,
        told: &mut Told,
        request: Request<proto::AttenuateRequest>,
    ) -> Result<(proto::AttenuateResponse, Outcome), Refusal> {
        let index = &request.get_ref().index;
        let at = self.admit(told, &request, |_| Right::Attenuate, index)?;
        let wanted = convert::attenuate_request(request.into_inner())?;
        let answer = self.service.attenuate(&at, wanted)?;
        self.instruments.attenuated(told.at);
        let token_id = String::from_utf8_lossy(answer.macaroon.identifier()).into_owned();
        let outcome = Outcome { token_id, ..Outcome::of("attenuated") };
        Ok((convert::attenuate_response(answer), outcome))
    }

    async fn revoked(
        &self,
        told: &mut Told,
        request: Request<proto::RevokeRequest>,
    ) -> Result<(proto::RevokeResponse, Outcome), Refusal> {
        let index = &request.get_ref().index;
        let at = self.admit(told, &request, |_| Right::Revoke, index)?;
        let (wanted, client, cause) = convert::revoke_request(request.into_inner())?;
        told.client = client;
        let answer = self.service.revoke(&at, wanted).await?;
        self.instruments.revoked(told.at);
        let outcome = Outcome {
            token_id: answer.token_id.clone(),
            subject: answer.subject.clone(),
            cause,
            ..Outcome::of("revoked")
        };
        Ok((convert::revoke_response(answer), outcome))
    }
}

fn verify_outcome(answer: &VerifyAnswer<'_>) -> Outcome {
    let outcome = match answer.verdict() {
        Verdict::Allowed => Outcome::of("allowed"),
        Verdict::Denied => Outcome::of("denied"),
    };
    let reasons: Vec<_> = answer.denials.iter().map(|denial| reason_name(denial.reason)).collect();
    Outcome {
        token_id: answer.token.as_ref().map_or("", |token| &token.token_id).to_owned(),
        subject: answer.token.as_ref().map(|token| token.subject.clone()),
        publisher: answer.publisher_id.clone(),
        revocations: answer.revocations,
        issuer: answer.identity.as_ref().map_or("", |token| token.issuer()).to_owned(),
        reasons: reasons.join(","),
        ..outcome
    }
}

/// What the audit trail is told of a call, as it becomes known. A call that is
/// dropped in the middle (its deadline, its caller gone, a panic) is told as well:
/// it may have redeemed an ID token.
struct Told {
    rpc: Rpc,
    /// As the request has it, until it is looked up.
    index: String,
    /// Where it stands, once the caller was admitted to it.
    at: IndexAt,
    caller: Option<Arc<Caller>>,
    client: Client,
    credential: Option<CredentialHash>,
    projects: String,
    began: Instant,
    instruments: Arc<Instruments>,
    ended: bool,
}

/// How much of an index's name is told that nobody has looked up yet.
const TOLD_INDEX_CHARS: usize = 64;

impl Told {
    fn call(&self) -> Call<'_> {
        Call {
            rpc: Some(self.rpc),
            caller: self.caller.as_ref().map_or("", |caller| &caller.name),
            index: &self.index,
            client: &self.client,
            credential: self.credential.as_ref(),
            projects: &self.projects,
            took: self.began.elapsed(),
        }
    }

    /// The end of every call: one event, and the answer or its status.
    fn end<T>(mut self, answer: Result<(T, Outcome), Refusal>) -> Result<Response<T>, Status> {
        self.ended = true;
        match answer {
            Ok((message, outcome)) => {
                spans::reasons(&outcome.reasons);
                audit::answered(&self.call(), &outcome);
                Ok(Response::new(message))
            }
            Err(refusal) => {
                spans::reasons(reason_name(refusal.reason));
                self.instruments.refused(self.rpc, self.at, &refusal);
                audit::refused(&self.call(), &refusal);
                Err(status(refusal))
            }
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.ended {
            audit::unanswered(&self.call());
        }
    }
}
