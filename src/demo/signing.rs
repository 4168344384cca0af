//! An RSA key made on the spot, that signs ID tokens for the demo and the tests.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// An issuer's private key, with the name under which its public half is published.
pub struct SigningKey {
    kid: String,
    pair: KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The machine could not make or use an RSA key.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no RSA key could be made or used on this machine")]
pub struct SigningFailed;

impl SigningKey {
    /// A fresh RSA-2048 key.
    pub fn generate(kid: &str) -> Result<Self, SigningFailed> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningFailed)?;
        Ok(Self { kid: kid.to_owned(), pair })
    }

    /// The name of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "kty": "RSA",
            "kid": self.kid,
            "use": "sig",
            "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// An RS256 ID token of these claims under the usual header.
    pub fn id_token(&self, claims: &Value) -> Result<String, SigningFailed> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.kid});
        self.sign_parts(&header.to_string(), &claims.to_string())
    }

    /// Signs a header and a payload exactly as they are, well-formed or not.
    pub fn sign_parts(&self, header: &str, payload: &str) -> Result<String, SigningFailed> {
        let head = URL_SAFE_NO_PAD.encode(header);
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(payload));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
            .map_err(|_| SigningFailed)?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("{message}.{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::oidc::{Algorithm, KeySet};

    use super::*;

    #[test]
    fn what_it_signs_its_published_key_verifies() {
        let key = SigningKey::generate("one").unwrap();
        let token = key.id_token(&json!({"iss": "https://issuer.example"})).unwrap();
        let set = KeySet::parse(json!({"keys": [key.jwk()]}).to_string().as_bytes()).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let published = set.key("one").unwrap();
        assert!(published.verifies(Algorithm::RS256, message.as_bytes(), &signature));
        assert!(!published.verifies(Algorithm::RS384, message.as_bytes(), &signature));
    }
}
