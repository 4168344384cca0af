//! A certificate authority for one test: a server's certificate and a client's.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// The files of an authority that nobody else trusts, and of what it signed.
#[derive(Debug)]
pub struct Certificates(TempDir);

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificates {
    /// For a server on 127.0.0.1 and for one client.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL tells authorities apart by their names alone.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority no. {} for tests", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let authority = Issuer::new(params, key);
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        for (name, alternative) in [("server", "127.0.0.1"), ("client", "mintage")] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([alternative.to_owned()]).unwrap();
            // OpenSSL takes a certificate that is named as its issuer for its own issuer.
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &authority).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self(folder)
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The server's certificate.
    pub fn server(&self) -> PathBuf {
        self.file("server.pem")
    }

    /// Its key.
    pub fn server_key(&self) -> PathBuf {
        self.file("server.key")
    }

    /// The client's certificate.
    pub fn client(&self) -> PathBuf {
        self.file("client.pem")
    }

    /// Its key.
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }
}
