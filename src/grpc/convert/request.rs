//! Requests, checked field by field.

use std::{collections::HashSet, str::FromStr as _, time::Duration};

use pep440_rs::Version;
use sha2::{Digest as _, Sha256};

use super::{caveat, client, own_id, proto, publisher, request_id, subject};
use crate::{
    caveat::{Action, MAX_FILENAME_BYTES},
    grant::Wish,
    macaroon::{RootKey, Subject},
    ports::SpendMode,
    publisher::ProjectName,
    service::{
        AccessWanted, AttenuateRequest, Client, Kept, MintRequest, MintSubject, Refusal, Retry,
        RevokeRequest, RevokeTarget, Secret, TrustedPublishing, UploadTokenRequest,
    },
};

/// A cause is at most so long.
const MAX_CAUSE_BYTES: usize = 256;

/// A Mint, for the index of this name.
pub(in crate::grpc) fn mint_request(
    mut message: proto::MintRequest,
    index: &str,
) -> Result<MintRequest, Refusal> {
    let client = client(message.client.take())?;
    let id = std::mem::take(&mut message.request_id);
    request_id(&id)?;
    index.clone_into(&mut message.index);
    let retry = retry(id, &message);
    let mut wish = Wish {
        lifetime: message.lifetime.map(lifetime).transpose()?,
        features: message.features,
        caveats: caveat::asked(message.caveats)?,
        projects: Vec::new(),
    };
    let subject = match message.subject {
        None => {
            let message = "exactly one of trusted_publishing and user must be given";
            return Err(Refusal::field("subject", message));
        }
        Some(proto::mint_request::Subject::User(user)) => {
            let subject = Subject::user(&user.user_id)
                .map_err(|error| Refusal::field("user.user_id", error.to_string()))?;
            MintSubject::User(subject)
        }
        Some(proto::mint_request::Subject::TrustedPublishing(publishing)) => {
            wish.projects = wanted(&publishing.projects, "trusted_publishing.projects")?;
            MintSubject::TrustedPublishing(proof(publishing, "trusted_publishing")?)
        }
    };
    Ok(MintRequest { subject, wish, client, retry })
}

/// What a Verify is asked about.
#[derive(Debug)]
pub(in crate::grpc) enum VerifyCredential {
    UploadToken(Box<UploadTokenRequest>),
    IdToken(TrustedPublishing, Client),
}

/// A Verify, for the index of this name.
pub(in crate::grpc) fn verify_request(
    mut message: proto::VerifyRequest,
    index: &str,
) -> Result<VerifyCredential, Refusal> {
    use proto::verify_request::Credential;

    let client = client(message.client.take())?;
    let id = std::mem::take(&mut message.request_id);
    request_id(&id)?;
    index.clone_into(&mut message.index);
    // The token's text has many spellings, so it is no part of the fingerprint.
    let token = match &mut message.credential {
        Some(Credential::UploadToken(upload)) => std::mem::take(&mut upload.token),
        Some(Credential::IdToken(_)) | None => String::new(),
    };
    let retry = retry(id, &message);
    match message.credential {
        None => {
            let message = "exactly one of upload_token and id_token must be given";
            Err(Refusal::field("credential", message))
        }
        Some(Credential::IdToken(publishing)) => {
            wanted(&publishing.projects, "id_token.projects")?;
            Ok(VerifyCredential::IdToken(proof(publishing, "id_token")?, client))
        }
        Some(Credential::UploadToken(upload)) => {
            Ok(VerifyCredential::UploadToken(Box::new(UploadTokenRequest {
                token: Secret(token),
                access: access(upload.access.unwrap_or_default())?,
                stored: caveat::stored(upload.stored_caveats)?,
                kept: upload.kept.map(|record| kept(&record, "upload_token.kept")).transpose()?,
                mode: if upload.dry_run { SpendMode::Look } else { SpendMode::Spend },
                client,
                retry,
            })))
        }
    }
}

/// An Attenuate.
pub(in crate::grpc) fn attenuate_request(
    message: proto::AttenuateRequest,
) -> Result<AttenuateRequest, Refusal> {
    if message.caveats.is_empty() {
        return Err(Refusal::field("caveats", "at least one caveat must be given"));
    }
    let caveats = caveat::asked(message.caveats)?;
    Ok(AttenuateRequest { token: Secret(message.token), caveats })
}

/// A Revoke: what, for whom, and why.
pub(in crate::grpc) fn revoke_request(
    message: proto::RevokeRequest,
) -> Result<(RevokeRequest, Client, String), Refusal> {
    use proto::revoke_request::Target;

    let client = client(message.client)?;
    if message.cause.len() > MAX_CAUSE_BYTES {
        return Err(Refusal::field("cause", "a cause has at most 256 bytes"));
    }
    let kept = message.kept.map(|record| kept(&record, "kept")).transpose()?;
    let target = match message.target {
        None => {
            let message = "exactly one of token and token_id must be given";
            return Err(Refusal::field("target", message));
        }
        Some(Target::Token(token)) => RevokeTarget::Token(Secret(token), kept),
        Some(Target::TokenId(id)) => RevokeTarget::TokenId(id),
    };
    Ok((RevokeRequest { target }, client, message.cause))
}

/// Under which the same call may come again: the message, as it is now, is what
/// must be the same.
fn retry(request_id: String, message: &impl prost::Message) -> Option<Retry> {
    if request_id.is_empty() {
        return None;
    }
    let fingerprint = Sha256::digest(message.encode_to_vec()).into();
    Some(Retry { request_id, fingerprint })
}

fn proof(message: proto::TrustedPublishing, path: &str) -> Result<TrustedPublishing, Refusal> {
    let candidates = publisher::candidates(message.candidates, path)?;
    Ok(TrustedPublishing { id_token: message.id_token, candidates })
}

/// Wanted projects, by their PEP 503 names, each once.
fn wanted(names: &[String], path: &str) -> Result<Vec<String>, Refusal> {
    let mut seen = HashSet::new();
    let mut normal = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let name = ProjectName::parse(name)
            .map_err(|error| Refusal::field(format!("{path}[{at}]"), error.to_string()))?;
        if seen.insert(name.clone()) {
            normal.push(name.into_string());
        }
    }
    Ok(normal)
}

fn lifetime(message: prost_types::Duration) -> Result<Duration, Refusal> {
    let refused = || Refusal::field("lifetime", "the lifetime is not a positive time");
    let seconds = u64::try_from(message.seconds).map_err(|_| refused())?;
    let nanos = u32::try_from(message.nanos).map_err(|_| refused())?;
    // A second more in the fraction is no duration (google/protobuf/duration.proto).
    if nanos >= NANOS_PER_SECOND || (seconds, nanos) == (0, 0) {
        return Err(refused());
    }
    Ok(Duration::new(seconds, nanos))
}

const NANOS_PER_SECOND: u32 = 1_000_000_000;

fn access(message: proto::Access) -> Result<AccessWanted, Refusal> {
    let refused = |field: &str, message: &str| Refusal::field(access_path(field), message);
    for (at, id) in message.publisher_ids.iter().enumerate() {
        own_id(id, || access_path(&format!("publisher_ids[{at}]")))?;
    }
    let version = match message.version.as_str() {
        "" => None,
        text => {
            let invalid = |_| refused("version", "the version is not one that PEP 440 knows");
            Some(Version::from_str(text).map_err(invalid)?)
        }
    };
    if message.filename.len() > MAX_FILENAME_BYTES {
        return Err(refused("filename", "a file name has at most 255 bytes"));
    }
    let sha256 = match message.sha256.as_slice() {
        [] => None,
        bytes => Some(
            <[u8; 32]>::try_from(bytes).map_err(|_| refused("sha256", "a SHA-256 has 32 bytes"))?,
        ),
    };
    Ok(AccessWanted {
        action: Action::parse(&message.action)
            .map_err(|error| refused("action", &error.to_string()))?,
        project: message.project.map(project_wanted).transpose()?,
        publisher_ids: message.publisher_ids,
        version,
        filename: Some(message.filename).filter(|name| !name.is_empty()),
        sha256,
    })
}

/// The index's own id, where it told one, and the PEP 503 name.
fn project_wanted(message: proto::Project) -> Result<(Option<String>, String), Refusal> {
    let name = ProjectName::parse(&message.name)
        .map_err(|error| Refusal::field(access_path("project.name"), error.to_string()))?
        .into_string();
    if message.id.is_empty() {
        return Ok((None, name));
    }
    own_id(&message.id, || access_path("project.id"))?;
    Ok((Some(message.id), name))
}

fn access_path(field: &str) -> String {
    format!("upload_token.access.{field}")
}

fn kept(message: &proto::KeptToken, path: &str) -> Result<Kept, Refusal> {
    if message.root_key.is_empty() || message.root_key.len() > RootKey::MAX_KEPT_BYTES {
        let field = format!("{path}.root_key");
        return Err(Refusal::field(field, "a kept token's root key has 1 to 64 bytes"));
    }
    let subject = subject(message.subject.clone(), &format!("{path}.subject"))?;
    Ok(Kept { root_key: RootKey::new(&message.root_key), subject })
}
