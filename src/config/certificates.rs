//! Files of certificates: read once with the configuration, so that `config
//! check` says of one that is no good what starting the service would.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{file, reader::Read};

/// Longest file of certificates, in bytes. A system's whole bundle has a
/// quarter of a megabyte.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// A file of PEM certificates, each of which can be trusted as an authority.
/// There must be one at least; what else the file holds is left alone.
pub(super) fn authorities(path: &Path) -> Read<Vec<u8>> {
    let (pem, certificates) = chain(path)?;
    let mut trusted = RootCertStore::empty();
    for certificate in certificates {
        trusted
            .add(certificate)
            .map_err(|_| wrong(path, "holds a certificate that can't be used as an authority"))?;
    }
    Ok(pem)
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

fn wrong(path: &Path, what: &str) -> String {
    format!("names {}, which {what}", path.display())
}
