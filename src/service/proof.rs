//! What a caller proves itself with: a token, the name in a certificate, or both.

use std::net::IpAddr;

/// What a configured caller must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The bearer token with this SHA-256, on whatever connection.
    Token([u8; 32]),
    /// A connection whose client certificate has this name, and no token.
    San(San),
    /// The token, on a connection whose client certificate has this name.
    Both([u8; 32], San),
}

impl Proof {
    /// The SHA-256 of the token, where there must be one.
    pub const fn token_sha256(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Token(hash) | Self::Both(hash, _) => Some(hash),
            Self::San(_) => None,
        }
    }

    /// The name in the certificate, where there must be one.
    pub const fn san(&self) -> Option<&San> {
        match self {
            Self::San(san) | Self::Both(_, san) => Some(san),
            Self::Token(_) => None,
        }
    }
}

/// A name in a certificate (subject alternative name) that a caller can have. Two are
/// equal as written; DNS names have no case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum San {
    /// `web.index.internal`, in lower case; never a pattern.
    Dns(String),
    /// `spiffe://index.internal/web`.
    Uri(String),
}

/// Longest URI, in bytes: SPIFFE's own bound.
const MAX_URI_BYTES: usize = 2_048;

/// Longest DNS name, in bytes (RFC 1035, without its last dot).
const MAX_DNS_BYTES: usize = 253;

/// Longest part of a DNS name between dots.
const MAX_LABEL_BYTES: usize = 63;

/// Not the name of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a DNS name such as \"web.index.internal\", without a wildcard, or a URI such as \
     \"spiffe://index.internal/web\""
)]
pub struct SanUnreadable;

impl San {
    /// Reads either kind.
    pub fn parse(text: &str) -> Result<Self, SanUnreadable> {
        let read = if text.contains(':') { Self::uri(text) } else { Self::dns(text) };
        read.ok_or(SanUnreadable)
    }

    /// A URI: a scheme, `:`, and the rest in printable ASCII.
    pub fn uri(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let begins = scheme.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
        let good = begins
            && scheme.bytes().all(letter)
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
            && text.len() <= MAX_URI_BYTES;
        good.then(|| Self::Uri(text.to_owned()))
    }

    /// A DNS name. An address is none, nor is a pattern.
    pub fn dns(text: &str) -> Option<Self> {
        let label = |label: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(good)
        };
        let good = text.len() <= MAX_DNS_BYTES
            && text.split('.').all(label)
            && text.parse::<IpAddr>().is_err();
        good.then(|| Self::Dns(text.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_name_or_a_uri_and_no_pattern() {
        let dns = |text: &str| Ok(San::Dns(text.to_owned()));
        let uri = |text: &str| Ok(San::Uri(text.to_owned()));
        let label = "a".repeat(64);
        let long = format!("spiffe://{}", "a".repeat(2_048));
        for (text, expected) in [
            ("web.index.internal", dns("web.index.internal")),
            ("Web.INDEX.internal", dns("web.index.internal")),
            ("web", dns("web")),
            ("my_service-1", dns("my_service-1")),
            ("spiffe://index.internal/web", uri("spiffe://index.internal/web")),
            ("spiffe://Index/Web", uri("spiffe://Index/Web")),
            ("urn:service:web", uri("urn:service:web")),
            ("*.index.internal", Err(SanUnreadable)),
            ("web.index.internal.", Err(SanUnreadable)),
            ("web..internal", Err(SanUnreadable)),
            ("10.0.0.1", Err(SanUnreadable)),
            ("::1", Err(SanUnreadable)),
            ("web index", Err(SanUnreadable)),
            ("wéb", Err(SanUnreadable)),
            ("spiffe:", Err(SanUnreadable)),
            ("://web", Err(SanUnreadable)),
            ("spiffe://a b", Err(SanUnreadable)),
            ("1a://web", Err(SanUnreadable)),
            ("", Err(SanUnreadable)),
            (&label, Err(SanUnreadable)),
            (&long, Err(SanUnreadable)),
        ] {
            assert_eq!(San::parse(text), expected, "{text}");
        }
    }
}
