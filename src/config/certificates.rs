//! Files of certificates and their keys: read with the configuration, so that
//! `config check` says of one that is no good what starting the service would.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    Error, RootCertStore,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SigningKey},
};
use zeroize::Zeroizing;

use super::{
    file,
    reader::Read,
    secret::{self, SecretBytes},
};

/// Longest file of certificates, in bytes. A system's whole bundle has a
/// quarter of a megabyte.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// Longest file with a private key, in bytes: RSA with 16,384 bits takes 13 KiB.
const MAX_KEY_FILE_BYTES: usize = 16 * 1024;

/// A file of PEM certificates, each of which can be trusted as an authority.
/// There must be one at least; what else the file holds is left alone.
pub(super) fn authorities(path: &Path) -> Read<Vec<u8>> {
    trusted(path).map(|(pem, _)| pem)
}

/// The same file, and who is trusted by it.
pub(super) fn trusted(path: &Path) -> Read<(Vec<u8>, RootCertStore)> {
    let (pem, certificates) = chain(path)?;
    let mut trusted = RootCertStore::empty();
    for certificate in certificates {
        trusted
            .add(certificate)
            .map_err(|_| wrong(path, "holds a certificate that can't be used as an authority"))?;
    }
    Ok((pem, trusted))
}

/// The same, for who reads the file again when it is used.
pub(super) fn authorities_at(path: PathBuf) -> Read<PathBuf> {
    authorities(&path).map(|_| path)
}

/// A file of PEM certificates, one at least, and these themselves.
pub(super) fn chain(path: &Path) -> Read<(Vec<u8>, Vec<CertificateDer<'static>>)> {
    let pem = file::content(path, MAX_FILE_BYTES)
        .map_err(|error| wrong(path, &format!("can't be read: {error}")))?;
    if pem.len() > MAX_FILE_BYTES {
        return Err(wrong(path, "is longer than 4 MiB, so it holds no certificates"));
    }
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| wrong(path, "is not well-formed PEM"))?;
    if certificates.is_empty() {
        return Err(wrong(path, "holds no PEM certificate"));
    }
    Ok((pem, certificates))
}

/// A file with one private key, and that key.
pub(super) fn private_key(path: &Path) -> Read<(SecretBytes, Arc<dyn SigningKey>)> {
    let pem = secret::content(path, MAX_KEY_FILE_BYTES)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map(Zeroizing::new).map_err(|_| {
        wrong(path, "holds no private key in PEM that is readable without a password")
    })?;
    let signing = any_supported_type(&key)
        .map_err(|_| wrong(path, "holds a private key that can't be used for TLS"))?;
    Ok((SecretBytes::new(pem.to_vec()), signing))
}

/// The configuration's keys for a certificate of ours and for its private key.
#[derive(Clone, Copy)]
pub(super) struct Own {
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
}

/// A certificate and its key, if they fit together; else which of the two is wrong,
/// and how.
pub(super) fn fit(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    named: Own,
) -> Result<CertifiedKey, (&'static str, String)> {
    let own = CertifiedKey::new(chain, key);
    match own.keys_match() {
        Ok(()) => Ok(own),
        Err(Error::InconsistentKeys(_)) => {
            let certificate = named.certificate;
            Err((named.key, format!("is not the key of the first certificate in {certificate}")))
        }
        Err(_) => {
            let sentence = "begins with a certificate that can't be used for TLS";
            Err((named.certificate, sentence.to_owned()))
        }
    }
}

fn wrong(path: &Path, what: &str) -> String {
    format!("names {}, which {what}", path.display())
}
