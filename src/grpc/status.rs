//! How a refusal looks on the wire. The one table, and the one place where a
//! `tonic::Status` is made.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::proto::ErrorReason;
use crate::service::{Reason, Refusal};

/// The domain of every `google.rpc.ErrorInfo` from here.
pub const ERROR_DOMAIN: &str = "mintage.v1";

/// What a caller hears of a defect: nothing that it could be made of.
const INTERNAL_SENTENCE: &str = "the service has a defect; its operator can see it in the log";

/// The reason in the contract.
pub const fn contract_reason(reason: Reason) -> ErrorReason {
    row(reason).0
}

/// The status code of a refusal of Mint, Attenuate and Revoke.
pub const fn code(reason: Reason) -> Code {
    row(reason).1
}

/// A line for each reason.
const fn row(reason: Reason) -> (ErrorReason, Code) {
    use {Code as C, ErrorReason as E, Reason as R};
    match reason {
        R::RequestInvalid => (E::RequestInvalid, C::InvalidArgument),
        R::IndexUnknown => (E::IndexUnknown, C::InvalidArgument),
        R::CallerUnknown => (E::CallerUnknown, C::Unauthenticated),
        R::CallerForbidden => (E::CallerForbidden, C::PermissionDenied),
        R::FeatureUnsupported => (E::FeatureUnsupported, C::InvalidArgument),
        R::RateLimited => (E::RateLimited, C::ResourceExhausted),
        // Not RESOURCE_EXHAUSTED: a mesh takes that for success.
        R::Unavailable => (E::Unavailable, C::Unavailable),
        R::Internal => (E::Internal, C::Internal),
        R::IdTokenMalformed => (E::IdTokenMalformed, C::InvalidArgument),
        R::IssuerUnknown => (E::IssuerUnknown, C::PermissionDenied),
        R::IssuerDisabled => (E::IssuerDisabled, C::PermissionDenied),
        R::IdTokenKeyUnknown => (E::IdTokenKeyUnknown, C::PermissionDenied),
        R::IdTokenSignature => (E::IdTokenSignature, C::PermissionDenied),
        R::IdTokenExpired => (E::IdTokenExpired, C::PermissionDenied),
        R::IdTokenNotYetValid => (E::IdTokenNotYetValid, C::PermissionDenied),
        R::IdTokenAudience => (E::IdTokenAudience, C::PermissionDenied),
        R::IdTokenClaims => (E::IdTokenClaims, C::PermissionDenied),
        R::IdTokenReused => (E::IdTokenReused, C::AlreadyExists),
        R::EventForbidden => (E::EventForbidden, C::PermissionDenied),
        R::PublisherNotFound => (E::PublisherNotFound, C::PermissionDenied),
        R::NoEligibleProject => (E::NoEligibleProject, C::PermissionDenied),
        R::TokenMalformed => (E::TokenMalformed, C::InvalidArgument),
        R::TokenKeyUnknown => (E::TokenKeyUnknown, C::PermissionDenied),
        R::TokenSignature => (E::TokenSignature, C::PermissionDenied),
        R::TokenTooLarge => (E::TokenTooLarge, C::InvalidArgument),
        // From here on only Verify says so, in a denial; the code is what a
        // refusal for it would be.
        R::TokenRevoked => (E::TokenRevoked, C::PermissionDenied),
        R::CaveatUnreadable => (E::CaveatUnreadable, C::PermissionDenied),
        R::CaveatNotOffered => (E::CaveatNotOffered, C::InvalidArgument),
        R::CaveatExpired => (E::CaveatExpired, C::PermissionDenied),
        R::CaveatNotYetValid => (E::CaveatNotYetValid, C::PermissionDenied),
        R::CaveatProject => (E::CaveatProject, C::PermissionDenied),
        R::CaveatUser => (E::CaveatUser, C::PermissionDenied),
        R::CaveatPublisher => (E::CaveatPublisher, C::PermissionDenied),
        R::CaveatUsesSpent => (E::CaveatUsesSpent, C::PermissionDenied),
        R::CaveatVersion => (E::CaveatVersion, C::PermissionDenied),
        R::CaveatFilename => (E::CaveatFilename, C::PermissionDenied),
        R::CaveatDigest => (E::CaveatDigest, C::PermissionDenied),
        R::CaveatClientNetwork => (E::CaveatClientNetwork, C::PermissionDenied),
        R::CaveatAction => (E::CaveatAction, C::PermissionDenied),
    }
}

/// The name of a reason as callers and logs see it: the contract's, without the
/// prefix that protobuf wants.
pub fn reason_name(reason: Reason) -> &'static str {
    let name = contract_reason(reason).as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// The status of a refusal.
pub fn status(refusal: Refusal) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(
        reason_name(refusal.reason),
        ERROR_DOMAIN,
        HashMap::<String, String>::new(),
    );
    if let Some(retry_after) = refusal.retry_after {
        details.set_retry_info(Some(retry_after));
    }
    let message = match refusal.reason {
        Reason::Internal => INTERNAL_SENTENCE.to_owned(),
        _ => refusal.message,
    };
    if let Some(field) = refusal.field {
        details.add_bad_request_violation(field, message.as_str());
    }
    Status::with_error_details(code(refusal.reason), message, details)
}

/// Too much at once.
pub fn overloaded() -> Status {
    let message = "the service is at its limit of calls at present; try again at once or elsewhere";
    status(Refusal::unavailable(message, OVERLOAD_RETRY))
}

/// A call that took longer than its deadline, or ours where it had none.
pub fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the call did not end before its deadline")
}

/// A health check for something that isn't served here.
pub fn no_such_service() -> Status {
    Status::not_found("no service of this name is served here")
}

/// A defect that nobody caught sooner.
pub fn defect() -> Status {
    status(Refusal::new(Reason::Internal, INTERNAL_SENTENCE))
}

/// A message that is larger than it may be, or not of its type.
pub fn unreadable_message(too_large: bool) -> Status {
    let message = if too_large {
        "the request is larger than 4 MiB"
    } else {
        "the request is not a readable message of its type"
    };
    status(Refusal::new(Reason::RequestInvalid, message))
}

/// Soon: whatever was in flight has ended by then.
const OVERLOAD_RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_refusals_is_the_published_one() {
        let table = Reason::ALL
            .iter()
            .map(|reason| {
                format!(
                    "{:<24} {:<20} {:?}",
                    reason_name(*reason),
                    format!("{:?}", code(*reason)),
                    reason.blame()
                )
            })
            .collect::<Vec<_>>()
            .join("\n");
        insta::assert_snapshot!("refusals", table);
    }

    #[test]
    fn every_reason_of_the_contract_has_its_own_here() {
        let mut named: Vec<i32> =
            Reason::ALL.iter().map(|reason| contract_reason(*reason) as i32).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), Reason::ALL.len());
        // Numbers 1 to 72 that the contract gives a meaning to.
        let in_contract = (1..100).filter(|number| ErrorReason::try_from(*number).is_ok()).count();
        assert_eq!(named.len(), in_contract);
    }

    #[test]
    fn a_defect_is_told_in_one_fixed_sentence() {
        let status = status(Refusal::new(Reason::Internal, "the secret inner error"));
        assert_eq!(status.message(), INTERNAL_SENTENCE);
    }
}
