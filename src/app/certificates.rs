//! The files of TLS on the gRPC port, looked at again and again while the service
//! runs.

use std::{convert::Infallible, sync::Arc};

use tokio::time::{MissedTickBehavior, interval};

use super::{KEYRING_INTERVAL, StartFailed, instruments::Reloads};
use crate::{
    config::{ClientCertificates, TlsConfig, TlsContent},
    grpc::tls::{Clients, Credentials, Tls},
};

/// What connections are met with, and the files that it came from.
pub(super) struct Certificates {
    tls: Tls,
    config: TlsConfig,
    /// What was wrong the last time: a mistake that stays is told once.
    told: String,
}

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nothing that wasn't known.
    Same,
    /// Other files, which new connections are met with.
    Changed,
    /// They can't be used, for another reason than the last time.
    Mistaken(String),
}

impl Certificates {
    /// TLS with what the files held when the configuration was read.
    pub(super) fn new(config: TlsConfig) -> Result<Self, StartFailed> {
        let credentials = credentials(&config.content, config.client_certificates);
        let tls = Tls::new(credentials).map_err(|error| StartFailed::Tls(error.to_string()))?;
        Ok(Self { tls, config, told: String::new() })
    }

    /// What connections are met with.
    pub(super) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Takes every change of the files, as often as the keyring's folder is looked at.
    pub(super) async fn watch(mut self, reloads: Arc<Reloads>) -> Infallible {
        let mut ticks = interval(KEYRING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look() {
                Look::Same => {}
                Look::Changed => {
                    reloads.certificates.taken();
                    tracing::info!("the certificates changed");
                }
                Look::Mistaken(mistakes) => {
                    tracing::error!(%mistakes, "the certificates can't be read again; those in memory stay");
                }
            }
            reloads.certificates.looked(!self.told.is_empty());
        }
    }

    fn look(&mut self) -> Look {
        let (look, told) = match self.taken() {
            Ok(false) => (Look::Same, String::new()),
            Ok(true) => (Look::Changed, String::new()),
            Err(mistakes) if mistakes == self.told => return Look::Same,
            Err(mistakes) => (Look::Mistaken(mistakes.clone()), mistakes),
        };
        self.told = told;
        look
    }

    /// Whether there was something new, which is in use now.
    fn taken(&mut self) -> Result<bool, String> {
        let fresh = self.config.files.load_changed(&self.config.content);
        let Some(fresh) = fresh.map_err(|mistakes| mistakes.to_string())? else {
            return Ok(false);
        };
        self.tls
            .replace(credentials(&fresh, self.config.client_certificates))
            .map_err(|error| error.to_string())?;
        self.config.content = fresh;
        Ok(true)
    }
}

fn credentials(content: &TlsContent, certificates: ClientCertificates) -> Credentials {
    let clients = match (content.client_ca.clone(), certificates) {
        (None, _) => Clients::Unasked,
        (Some(roots), ClientCertificates::Optional) => Clients::Asked(roots),
        (Some(roots), ClientCertificates::Required) => Clients::Required(roots),
    };
    Credentials { own: Arc::clone(&content.own), clients }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::config::Config;

    const TOML: &str = r#"
        keyring = { directory = "keys", current = "k1" }
        indexes.pypi = { audience = "pypi", location = "index.example" }
        [server.tls]
        certificate_file = "tls.crt"
        key_file = "tls.key"
        client_ca_file = "ca.crt"
    "#;

    /// Files of one generation, in a folder of their own, as Kubernetes lays them down.
    fn generation(home: &Path, name: &str) {
        let made = rcgen::generate_simple_self_signed(["mintage".to_owned()]).unwrap();
        let folder = home.join(name);
        fs::create_dir(&folder).unwrap();
        for (file, content) in [
            ("tls.crt", made.cert.pem()),
            ("ca.crt", made.cert.pem()),
            ("tls.key", made.signing_key.serialize_pem()),
        ] {
            fs::write(folder.join(file), content).unwrap();
        }
    }

    /// Lets `..data` lead to another generation, at once.
    fn turn_to(home: &Path, name: &str) {
        std::os::unix::fs::symlink(name, home.join("draft")).unwrap();
        fs::rename(home.join("draft"), home.join("..data")).unwrap();
    }

    #[test]
    fn a_mounted_secret_that_changes_is_taken_and_a_mistake_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        generation(home, "..one");
        generation(home, "..two");
        turn_to(home, "..one");
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::os::unix::fs::symlink(Path::new("..data").join(file), home.join(file)).unwrap();
        }
        let config = Config::parse(TOML, home, std::iter::empty()).unwrap();
        let mut certificates = Certificates::new(config.tls.unwrap()).unwrap();
        assert_eq!(certificates.look(), Look::Same);
        turn_to(home, "..two");
        assert_eq!(certificates.look(), Look::Changed);
        assert_eq!(certificates.look(), Look::Same);

        // The key is still the one of the other generation.
        fs::copy(home.join("..one/tls.crt"), home.join("..two/tls.crt")).unwrap();
        let mistake = "server.tls.key_file: is not the key of the first certificate in \
                       certificate_file";
        assert_eq!(certificates.look(), Look::Mistaken(mistake.to_owned()));
        assert_eq!(certificates.look(), Look::Same);
        fs::write(home.join("..two/ca.crt"), "").unwrap();
        let Look::Mistaken(mistakes) = certificates.look() else {
            panic!("another mistake is news")
        };
        assert_eq!(mistakes.lines().count(), 2, "{mistakes}");
        turn_to(home, "..one");
        assert_eq!(certificates.look(), Look::Changed);
        fs::remove_file(home.join("tls.key")).unwrap();
        assert!(matches!(certificates.look(), Look::Mistaken(_)));
    }
}
