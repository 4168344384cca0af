//! Answers, written as messages.

use prost_types::{Struct, Value, value};

use super::{caveat, proto};
use crate::{
    clock::Timestamp,
    grpc::status::contract_reason,
    macaroon::Subject,
    oidc::{ClaimValue, VerifiedIdToken},
    ports::Revoked,
    service::{
        AttenuateAnswer, Denial, MintAnswer, RevokeAnswer, TokenFacts, Verdict, VerifyAnswer,
    },
};

/// The answer to a Mint.
pub(in crate::grpc) fn mint_response(answer: MintAnswer) -> proto::MintResponse {
    proto::MintResponse {
        token: answer.token,
        token_id: answer.token_id,
        expires_at: answer.expires_at.map(seconds),
        features: vec![answer.feature.name().to_owned()],
        publisher_id: answer.publisher_id.unwrap_or_default(),
        projects: answer
            .projects
            .into_iter()
            .map(|project| proto::Project { id: project.id, name: project.name })
            .collect(),
        caveats: answer
            .caveats
            .into_iter()
            .map(|one| proto::Caveat { kind: Some(caveat::told_kind(one)) })
            .collect(),
        identity: answer.identity.map(identity),
    }
}

/// The answer to a Verify.
pub(in crate::grpc) fn verify_response(answer: VerifyAnswer<'_>) -> proto::VerifyResponse {
    let verdict = match answer.verdict() {
        Verdict::Allowed => proto::Verdict::Allowed,
        Verdict::Denied => proto::Verdict::Denied,
    };
    proto::VerifyResponse {
        verdict: verdict.into(),
        denials: answer.denials.into_iter().map(denial).collect(),
        token: answer.token.map(token_facts),
        identity: answer.identity.map(identity),
        publisher_id: answer.publisher_id.unwrap_or_default(),
    }
}

/// The answer to an Attenuate.
pub(in crate::grpc) fn attenuate_response(answer: AttenuateAnswer) -> proto::AttenuateResponse {
    let caveats = answer.caveats().map(caveat::told).collect();
    proto::AttenuateResponse { token: answer.token, caveats }
}

/// The answer to a Revoke.
pub(in crate::grpc) fn revoke_response(answer: RevokeAnswer) -> proto::RevokeResponse {
    let again = match answer.revoked {
        Revoked::Now => false,
        Revoked::Before => true,
    };
    proto::RevokeResponse { token_id: answer.token_id, again }
}

fn denial(denial: Denial) -> proto::Denial {
    proto::Denial {
        reason: contract_reason(denial.reason).into(),
        message: denial.message,
        caveat: denial.caveat,
        mismatch: denial.mismatch.map(|mismatch| proto::Mismatch {
            publisher_id: mismatch.publisher_id,
            claim: mismatch.claim,
            expected: mismatch.expected,
            found: mismatch.found,
        }),
    }
}

fn token_facts(facts: TokenFacts<'_>) -> proto::TokenFacts {
    use proto::subject::Kind;

    let subject = match facts.subject {
        Subject::User(id) => Kind::UserId(id),
        Subject::Publisher(id) => Kind::PublisherId(id),
    };
    proto::TokenFacts {
        token_id: facts.token_id,
        subject: Some(proto::Subject { kind: Some(subject) }),
        key_id: facts.key_id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        caveats: facts.caveats.into_iter().map(caveat::told).collect(),
        minted_at: facts.minted_at.map(moment),
        expires_at: facts.expires_at.map(seconds),
    }
}

fn identity(token: VerifiedIdToken) -> proto::Identity {
    proto::Identity {
        issuer: token.issuer().to_owned(),
        subject: token.subject().unwrap_or_default().to_owned(),
        expires_at: token.expires_at().map(seconds),
        claims: Some(fields(token.into_claims())),
    }
}

fn fields(members: impl IntoIterator<Item = (String, ClaimValue)>) -> Struct {
    Struct { fields: members.into_iter().map(|(name, one)| (name, value(one))).collect() }
}

fn value(claim: ClaimValue) -> Value {
    use value::Kind;

    Value {
        kind: Some(match claim {
            ClaimValue::Null => Kind::NullValue(0),
            ClaimValue::Bool(yes) => Kind::BoolValue(yes),
            // The message has doubles and nothing else, as JSON has to most readers.
            #[allow(clippy::cast_precision_loss, reason = "the message has doubles only")]
            ClaimValue::Integer(integer) => Kind::NumberValue(integer as f64),
            ClaimValue::Number(number) => Kind::NumberValue(number),
            ClaimValue::String(text) => Kind::StringValue(text),
            ClaimValue::Array(items) => Kind::ListValue(prost_types::ListValue {
                values: items.into_iter().map(value).collect(),
            }),
            ClaimValue::Object(members) => Kind::StructValue(fields(members)),
        }),
    }
}

/// Unix seconds as a timestamp; what no calendar has is cut to what one has.
fn seconds(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: seconds.clamp(FIRST_SECOND, LAST_SECOND), nanos: 0 }
}

fn moment(moment: Timestamp) -> prost_types::Timestamp {
    let rest = moment.since(Timestamp::from_seconds(moment.seconds()));
    let nanos = i32::try_from(rest.subsec_nanos()).unwrap_or(0);
    prost_types::Timestamp { nanos, ..seconds(moment.seconds()) }
}

/// 0001-01-01T00:00:00Z, the first second of `google.protobuf.Timestamp`.
const FIRST_SECOND: i64 = -62_135_596_800;

/// 9999-12-31T23:59:59Z, the last one.
const LAST_SECOND: i64 = 253_402_300_799;
