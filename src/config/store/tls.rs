//! What a TLS connection to Redis needs: the files' contents, so that nothing
//! is read a second time when a connection is made.

use super::super::{
    certificates::{Own, authorities, chain, fit, private_key},
    reader::Section,
    secret::SecretBytes,
};

const AUTHORITIES: &str = "ca_file";
const CERTIFICATE: &str = "client_certificate_file";
const KEY: &str = "client_key_file";

/// How a Redis is met over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// PEM certificates of authorities; these alone are trusted. Where there
    /// are none, the usual ones are.
    pub ca: Option<Vec<u8>>,
    /// What we prove ourselves with.
    pub client: Option<ClientPem>,
}

/// A certificate of ours and its key, which fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPem {
    /// PEM certificates: ours, then what leads from it to its authority.
    pub certificate: Vec<u8>,
    /// The private key in PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: SecretBytes,
}

/// Reads the keys that need TLS. `tls`: whether the URL asks for it, where the
/// URL could be read.
pub(super) fn read(section: &mut Section<'_>, tls: Option<bool>) -> Option<RedisTls> {
    if tls == Some(false) {
        for key in [AUTHORITIES, CERTIFICATE, KEY] {
            section.optional(key, |_| Err::<(), _>("needs a URL with rediss://".to_owned()));
        }
        return None;
    }
    let path = section.path_reader();
    let ca = section.optional(AUTHORITIES, |found| authorities(&path(found)?));
    let client = client(section);
    tls.map(|_| RedisTls { ca, client })
}

/// Both files, or none.
fn client(section: &mut Section<'_>) -> Option<ClientPem> {
    match (section.has(CERTIFICATE), section.has(KEY)) {
        (true, false) => section.wrong(KEY, "is missing beside client_certificate_file"),
        (false, true) => section.wrong(CERTIFICATE, "is missing beside client_key_file"),
        _ => {}
    }
    let path = section.path_reader();
    let certificate = section.optional(CERTIFICATE, |found| chain(&path(found)?));
    let key = section.optional(KEY, |found| private_key(&path(found)?));
    let ((certificate, chain), (key, signing)) = certificate.zip(key)?;
    if let Err((wrong, sentence)) = fit(chain, signing, Own { certificate: CERTIFICATE, key: KEY })
    {
        section.wrong(wrong, sentence);
        return None;
    }
    Some(ClientPem { certificate, key })
}
