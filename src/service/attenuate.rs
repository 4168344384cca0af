//! Attenuate: text → macaroon → append → text. Needs no key, and checks no
//! signature: whoever holds a macaroon may narrow it.

use super::{Admitted, Refusal, Secret, Service};
use crate::{
    caveat::{Caveat, ReadCaveat, finish},
    grant::GrantRefused,
    macaroon::Macaroon,
};

/// A token, and how to narrow it.
#[derive(Debug)]
pub struct AttenuateRequest {
    /// The upload token.
    pub token: Secret,
    /// What to append; at least one.
    pub caveats: Vec<Caveat<'static>>,
}

/// The narrower token. Read its caveats with [`Macaroon::unverified_caveats`].
pub struct AttenuateAnswer {
    /// The narrower token.
    pub token: String,
    /// The same as a value.
    pub macaroon: Macaroon,
}

impl Service {
    /// Narrows an upload token.
    pub fn attenuate(
        &self,
        at: &Admitted,
        request: AttenuateRequest,
    ) -> Result<AttenuateAnswer, Refusal> {
        let index = at.index();
        if let Some(refused) =
            request.caveats.iter().find(|caveat| !index.policy.offered.includes(caveat))
        {
            return Err(GrantRefused::CaveatNotOffered { tag: refused.tag() }.into());
        }
        let mut macaroon = Self::read_upload_token(at, &request.token.0)?;
        let counted = request.caveats.iter().any(|caveat| matches!(caveat, Caveat::Uses { .. }));
        if counted && !has_end(&macaroon) && !request.caveats.iter().any(|one| one.end().is_some())
        {
            return Err(GrantRefused::UsesWithoutEnd.into());
        }
        // Nothing but the nonce of a Uses caveat comes from chance.
        let nonce_bits = if counted { self.random() } else { Default::default() };
        for caveat in finish(request.caveats, &nonce_bits) {
            macaroon.attenuate(&caveat.write())?;
        }
        let token = macaroon.write(&index.prefix)?;
        Ok(AttenuateAnswer { token, macaroon })
    }
}

fn has_end(macaroon: &Macaroon) -> bool {
    macaroon.unverified_caveats().map(ReadCaveat::of).any(|caveat| caveat.end().is_some())
}

impl AttenuateAnswer {
    /// Every caveat in the new token, in order.
    pub fn caveats(&self) -> impl Iterator<Item = ReadCaveat<'_>> {
        self.macaroon.unverified_caveats().map(ReadCaveat::of)
    }
}

impl std::fmt::Debug for AttenuateAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttenuateAnswer").field("macaroon", &self.macaroon).finish_non_exhaustive()
    }
}
