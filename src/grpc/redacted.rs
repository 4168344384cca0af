//! `Debug` of the messages that hold a secret: everything but the secret.
//!
//! Generated messages would show all they hold, and a request is the first thing
//! that somebody logs who looks for a mistake. `build.rs` names the same messages.

use std::fmt::{Debug, Formatter, Result};

use super::proto::{
    AttenuateRequest, AttenuateResponse, KeptToken, MintResponse, RevokeRequest, TrustedPublishing,
    UploadToken, revoke_request::Target,
};

/// In place of a secret: how long it is, which tells whether it is there at all.
struct Hidden(usize);

impl Debug for Hidden {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "… ({} bytes)", self.0)
    }
}

impl Debug for TrustedPublishing {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { id_token, candidates, projects } = self;
        f.debug_struct("TrustedPublishing")
            .field("id_token", &Hidden(id_token.len()))
            .field("candidates", candidates)
            .field("projects", projects)
            .finish()
    }
}

impl Debug for MintResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self {
            token,
            token_id,
            expires_at,
            features,
            publisher_id,
            projects,
            caveats,
            identity,
        } = self;
        f.debug_struct("MintResponse")
            .field("token", &Hidden(token.len()))
            .field("token_id", token_id)
            .field("expires_at", expires_at)
            .field("features", features)
            .field("publisher_id", publisher_id)
            .field("projects", projects)
            .field("caveats", caveats)
            .field("identity", identity)
            .finish()
    }
}

impl Debug for UploadToken {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { token, access, stored_caveats, kept, dry_run } = self;
        f.debug_struct("UploadToken")
            .field("token", &Hidden(token.len()))
            .field("access", access)
            .field("stored_caveats", stored_caveats)
            .field("kept", kept)
            .field("dry_run", dry_run)
            .finish()
    }
}

impl Debug for KeptToken {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { root_key, subject } = self;
        f.debug_struct("KeptToken")
            .field("root_key", &Hidden(root_key.len()))
            .field("subject", subject)
            .finish()
    }
}

impl Debug for AttenuateRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { index, token, caveats } = self;
        f.debug_struct("AttenuateRequest")
            .field("index", index)
            .field("token", &Hidden(token.len()))
            .field("caveats", caveats)
            .finish()
    }
}

impl Debug for AttenuateResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { token, caveats } = self;
        f.debug_struct("AttenuateResponse")
            .field("token", &Hidden(token.len()))
            .field("caveats", caveats)
            .finish()
    }
}

impl Debug for RevokeRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { index, target, kept, cause, client } = self;
        f.debug_struct("RevokeRequest")
            .field("index", index)
            .field("target", target)
            .field("kept", kept)
            .field("cause", cause)
            .field("client", client)
            .finish()
    }
}

impl Debug for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Token(token) => f.debug_tuple("Token").field(&Hidden(token.len())).finish(),
            Self::TokenId(id) => f.debug_tuple("TokenId").field(id).finish(),
        }
    }
}
