//! Files of certificates: read once with the configuration, so that `config
//! check` says of one that is no good what starting the service would.

use std::{fs, path::PathBuf};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::reader::Read;

/// A file of PEM certificates, each of which can be trusted as an authority.
/// There must be one at least; what else the file holds is left alone.
pub(super) fn certificates(path: PathBuf) -> Read<PathBuf> {
    let wrong = |what: &str| format!("names {}, which {what}", path.display());
    let pem = fs::read(&path).map_err(|error| wrong(&format!("can't be read: {error}")))?;
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| wrong("is not well-formed PEM"))?;
        trusted
            .add(certificate)
            .map_err(|_| wrong("holds a certificate that can't be used as an authority"))?;
    }
    if trusted.is_empty() { Err(wrong("holds no PEM certificate")) } else { Ok(path) }
}
