//! Revoke: ends an upload token, and every token narrowed from it, before its time.

use super::{
    Admitted, Bearer, Index, Kept, MARK_SLACK, Reason, Refusal, Secret, Service,
    known::{known, token_id},
};
use crate::{
    clock::Timestamp,
    grant::MAX_PUBLISHER_LIFETIME,
    macaroon::{Identifier, Subject},
    mark::Mark,
    ports::Revoked,
};

/// What to revoke.
#[derive(Debug)]
pub struct RevokeRequest {
    /// Which token.
    pub target: RevokeTarget,
}

/// Which token.
#[derive(Debug)]
pub enum RevokeTarget {
    /// The token itself, and what the index knows of it where the index minted it.
    Token(Secret, Option<Kept>),
    /// Its id, from a Mint or a Verify.
    TokenId(String),
}

/// The token is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeAnswer {
    /// Its id.
    pub token_id: String,
    /// Whose it is, where its id or the index says so.
    pub subject: Option<Subject>,
    /// Whether it had been before.
    pub revoked: Revoked,
}

/// Longest token id: the longest identifier, in base64url.
const MAX_TOKEN_ID_BYTES: usize = 344;

impl Service {
    /// Revokes a token. Safe to repeat.
    pub async fn revoke(
        &self,
        at: &Admitted,
        request: RevokeRequest,
    ) -> Result<RevokeAnswer, Refusal> {
        let now = self.clock.now();
        let (token_id, subject) = match request.target {
            RevokeTarget::TokenId(id) if id.is_empty() || id.len() > MAX_TOKEN_ID_BYTES => {
                let message = "a token id has 1 to 344 bytes";
                return Err(Refusal::new(Reason::RequestInvalid, message).at("token_id"));
            }
            // It would revoke nothing, and be told in the audit trail.
            RevokeTarget::TokenId(id) if looks_like_a_token(&id, at.index()) => {
                let message = "this is an upload token, not the id of one; it belongs in token";
                return Err(Refusal::new(Reason::RequestInvalid, message).at("token_id"));
            }
            RevokeTarget::TokenId(id) => {
                let identifier = Identifier::parse(id.as_bytes()).ok();
                (id, identifier.map(|identifier| identifier.subject().clone()))
            }
            RevokeTarget::Token(token, kept) => {
                let macaroon = Self::read_upload_token(at, &token.0)?;
                let known = known(at.index(), kept.as_ref(), &macaroon, &self.keyring.load())?;
                (token_id(&macaroon), Some(known.subject().clone()))
            }
        };
        let revoked = match end_of_family(&token_id) {
            // Nothing is left that could be revoked.
            Some(end) if end <= now => Revoked::Now,
            until => {
                let mark = Mark::revoked(&at.index().name, &token_id);
                match self.store.revoke(mark, until, now).await {
                    Ok(revoked) => revoked,
                    Err(failure) => {
                        let bearer = Bearer { subject, token_id: Some(token_id), issuer: None };
                        return Err(Refusal::from(failure).of(bearer));
                    }
                }
            }
        };
        Ok(RevokeAnswer { token_id, subject, revoked })
    }
}

fn looks_like_a_token(id: &str, index: &Index) -> bool {
    id.strip_prefix(index.prefix.as_str()).is_some_and(|rest| rest.starts_with('-'))
}

/// The moment after which no token of this identifier can be valid. A holder may
/// have appended an expiration, so none is read out of the caveats: a wider token
/// would come back to life. A publisher's token can't outlive PEP 807's bound;
/// of a user's, and of a kept one, no end is sure.
fn end_of_family(token_id: &str) -> Option<Timestamp> {
    let identifier = Identifier::parse(token_id.as_bytes()).ok()?;
    match identifier.subject() {
        Subject::Publisher(_) => {
            Some(identifier.minted_at().plus(MAX_PUBLISHER_LIFETIME).plus(MARK_SLACK))
        }
        Subject::User(_) => None,
    }
}
