//! The four calls: who calls, what for, the use case, the answer, the audit.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::pb::health_server::HealthServer;

use super::{
    MAX_MESSAGE_BYTES, MAX_NAME_MESSAGE_BYTES, Served, SharedCallers,
    audit::{self, Call, Outcome},
    callers::{Guarded, Proven},
    convert::{self, VerifyCredential},
    health::PhaseHealth,
    proto::{
        self,
        token_service_server::{TokenService, TokenServiceServer},
    },
    spans,
    status::{reason_name, status},
    transport::Phase,
};
use crate::service::{Admitted, Caller, Client, Refusal, Right, Service, Verdict, VerifyAnswer};

/// The service behind the contract's four calls. It serves no call that didn't
/// come through a [`Guarded`].
#[derive(Clone)]
pub struct TokenServer {
    service: Arc<Service>,
}

impl TokenServer {
    /// The calls of a service.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service }
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
    let tokens = TokenServiceServer::new(server)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX);
    let health = HealthServer::new(PhaseHealth::new(phase));
    let health = health.max_decoding_message_size(MAX_NAME_MESSAGE_BYTES);
    let v1 = reflection().build_v1()?.max_decoding_message_size(MAX_NAME_MESSAGE_BYTES);
    let v1alpha = reflection().build_v1alpha()?.max_decoding_message_size(MAX_NAME_MESSAGE_BYTES);
    let others = Routes::new(health).add_service(v1).add_service(v1alpha).prepare();
    Ok(Served::new(Guarded::new(tokens, callers), others))
}

#[tonic::async_trait]
impl TokenService for TokenServer {
    async fn mint(
        &self,
        request: Request<proto::MintRequest>,
    ) -> Result<Response<proto::MintResponse>, Status> {
        let mut told = Told::new("Mint", &request.get_ref().index);
        let answer = self.minted(&mut told, request).await;
        told.end(answer)
    }

    async fn verify(
        &self,
        request: Request<proto::VerifyRequest>,
    ) -> Result<Response<proto::VerifyResponse>, Status> {
        let mut told = Told::new("Verify", &request.get_ref().index);
        let answer = self.verified(&mut told, request).await;
        told.end(answer)
    }

    async fn attenuate(
        &self,
        request: Request<proto::AttenuateRequest>,
    ) -> Result<Response<proto::AttenuateResponse>, Status> {
        let mut told = Told::new("Attenuate", &request.get_ref().index);
        let answer = self.attenuated(&mut told, request);
        told.end(answer)
    }

    async fn revoke(
        &self,
        request: Request<proto::RevokeRequest>,
    ) -> Result<Response<proto::RevokeResponse>, Status> {
        let mut told = Told::new("Revoke", &request.get_ref().index);
        let answer = self.revoked(&mut told, request).await;
        told.end(answer)
    }
}

impl TokenServer {
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
        let answer = self.service.mint(&at, wanted).await?;
        let outcome = Outcome {
            token_id: answer.token_id.clone(),
            issuer: answer.identity.as_ref().map_or("", |token| token.issuer()).to_owned(),
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
        let answered = |answer: VerifyAnswer<'_>| {
            let outcome = verify_outcome(&answer);
            (convert::verify_response(answer), outcome)
        };
        match convert::verify_request(request.into_inner(), &at.index().name)? {
            VerifyCredential::UploadToken(wanted) => {
                told.client.clone_from(&wanted.client);
                let read = Service::read_upload_token(&at, &wanted.token.0);
                let read = read.as_ref().map_err(Clone::clone);
                self.service.verify_upload_token(&at, &wanted, read).await.map(answered)
            }
            VerifyCredential::IdToken(publishing, client) => {
                told.client.clone_from(&client);
                self.service.verify_id_token(&at, &publishing, &client).await.map(answered)
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
        let outcome =
            Outcome { token_id: answer.token_id.clone(), cause, ..Outcome::of("revoked") };
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
        issuer: answer.identity.as_ref().map_or("", |token| token.issuer()).to_owned(),
        reasons: reasons.join(","),
        ..outcome
    }
}

/// What the audit trail is told of a call, as it becomes known. A call that is
/// dropped in the middle (its deadline, its caller gone, a panic) is told as well:
/// it may have redeemed an ID token.
struct Told {
    rpc: &'static str,
    index: String,
    caller: Option<Arc<Caller>>,
    client: Client,
    began: Instant,
    ended: bool,
}

/// How much of an index's name is told that nobody has looked up yet.
const TOLD_INDEX_CHARS: usize = 64;

impl Told {
    fn new(rpc: &'static str, index: &str) -> Self {
        let index = index.chars().take(TOLD_INDEX_CHARS).collect();
        let (client, began) = (Client::default(), Instant::now());
        Self { rpc, index, caller: None, client, began, ended: false }
    }

    fn call(&self) -> Call<'_> {
        Call {
            rpc: self.rpc,
            caller: self.caller.as_ref().map_or("", |caller| &caller.name),
            index: &self.index,
            client: &self.client,
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
