//! `[server.tls]`, and callers by certificate: what is read, and every mistake with its
//! sentence.

use std::fs;

use mintage::{
    config::{Callers, ClientCertificates, Config, Mistakes},
    service::San,
};

use super::{Identity, SMALLEST};

/// A folder with the files, thrown away at the end.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let (own, other) = (Identity::new(), Identity::new());
        home.write("own.pem", &own.certificate);
        home.write("own.key", &own.key);
        home.write("other.key", &other.key);
        home.write("clients.pem", &other.certificate);
        home.write("broken.key", &own.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
        home.write("empty", "");
        home
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    /// The configuration whose `[server.tls]` has these lines.
    fn read(&self, lines: &str) -> Result<Config, Mistakes> {
        let text = format!("{SMALLEST}\n[server.tls]\n{lines}");
        Config::parse(&text, self.0.path(), std::iter::empty())
    }
}

#[test]
fn the_files_are_read_and_shown_nowhere() {
    let home = Home::new();
    let two = "certificate_file = 'own.pem'\nkey_file = 'own.key'";
    let tls = home.read(two).unwrap().tls.unwrap();
    assert!(tls.content.client_ca.is_none() && tls.files.client_ca.is_none());
    assert_eq!(tls.files.key, home.0.path().join("own.key"));
    assert!(tls.files.load_changed(&tls.content).unwrap().is_none());

    for (more, expected) in [
        ("client_ca_file = 'clients.pem'", ClientCertificates::Required),
        (
            "client_ca_file = 'clients.pem'\nclient_certificates = 'optional'",
            ClientCertificates::Optional,
        ),
    ] {
        let tls = home.read(&format!("{two}\n{more}")).unwrap().tls.unwrap();
        assert_eq!(tls.client_certificates, expected);
        assert_eq!(tls.content.client_ca.as_ref().unwrap().len(), 1);
        let shown = format!("{tls:?}");
        let key = fs::read_to_string(home.0.path().join("own.key")).unwrap();
        assert!(key.lines().all(|line| !shown.contains(line)), "{shown}");
    }
    assert_eq!(Config::parse(SMALLEST, home.0.path(), std::iter::empty()).unwrap().tls, None);
}

#[test]
fn every_mistake_of_the_files_is_one_sentence() {
    let home = Home::new();
    let (certificate, key) = ("certificate_file = 'own.pem'", "key_file = 'own.key'");
    for (lines, expected) in [
        (String::new(), &["certificate_file: is missing", "key_file: is missing"][..]),
        (certificate.to_owned(), &["key_file: is missing"]),
        (
            "certificate_file = 'gone.pem'\nkey_file = 'empty'\nclient_ca_file = 'own.key'"
                .to_owned(),
            &[
                "certificate_file: names gone.pem, which can't be read: \
                 No such file or directory (os error 2)",
                "key_file: names empty, which holds no private key in PEM that is readable \
                 without a password",
                "client_ca_file: names own.key, which holds no PEM certificate",
            ],
        ),
        (
            format!("{certificate}\nkey_file = 'other.key'"),
            &["key_file: is not the key of the first certificate in certificate_file"],
        ),
        (
            format!("{certificate}\nkey_file = 'broken.key'"),
            &["key_file: names broken.key, which holds no private key in PEM that is readable \
               without a password"],
        ),
        (
            format!("certificate_file = 'empty'\n{key}"),
            &["certificate_file: names empty, which holds no PEM certificate"],
        ),
        (
            format!("{certificate}\n{key}\nclient_certificates = 'optional'"),
            &["client_certificates: needs client_ca_file beside it"],
        ),
        (
            format!(
                "{certificate}\n{key}\nclient_ca_file = 'clients.pem'\nclient_certificates = 'no'"
            ),
            &["client_certificates: must be one of \"required\", \"optional\""],
        ),
        (
            format!("{certificate}\n{key}\nca_file = 'clients.pem'"),
            &["ca_file: is unknown; known here: certificate_file, key_file, client_ca_file, \
               client_certificates"],
        ),
    ] {
        let folder = format!("{}/", home.0.path().display());
        let mistakes = home.read(&lines).unwrap_err();
        let found: Vec<_> =
            mistakes.iter().map(|mistake| mistake.to_string().replace(&folder, "")).collect();
        let expected: Vec<_> = expected.iter().map(|one| format!("server.tls.{one}")).collect();
        assert_eq!(found, expected, "{lines}");
    }
}

/// A caller of this name that proves itself with these lines.
fn caller(name: &str, proof: &str) -> String {
    format!("[[callers]]\nname = '{name}'\nmay = ['verify']\n{proof}\n")
}

#[test]
fn a_caller_proves_itself_by_a_token_a_name_or_both() {
    let home = Home::new();
    let tls = "certificate_file = 'own.pem'\nkey_file = 'own.key'\nclient_ca_file = 'clients.pem'";
    let token = format!("token_sha256 = '{}'", "ab".repeat(32));
    let (name, id) = ("san = 'Web.internal'", "san = 'spiffe://internal/web'");
    let both = format!("{token}\n{name}");
    let callers = [caller("by name", name), caller("by id", id), caller("by both", &both)].concat();
    let config = home.read(&format!("{tls}\n{callers}")).unwrap();
    let Callers::Known(known) = config.callers else { panic!("callers are configured") };
    let name = San::Dns("web.internal".to_owned());
    let id = San::Uri("spiffe://internal/web".to_owned());
    let sans: Vec<_> = known.iter().map(|known| known.proof.san().unwrap()).collect();
    assert_eq!(sans, [&name, &id, &name]);
    assert_eq!(known[2].proof.token_sha256(), Some(&[0xab; 32]));

    for (tls, callers, expected) in [
        (
            tls,
            caller("one", ""),
            "callers[0].token_sha256: is missing, and so is san: one of them must be there",
        ),
        (
            "certificate_file = 'own.pem'\nkey_file = 'own.key'",
            caller("one", "san = 'web.internal'"),
            "callers[0].san: needs client_ca_file in [server.tls]: no client shows a certificate",
        ),
        (
            tls,
            caller("one", "san = '*.internal'"),
            "callers[0].san: must be a DNS name such as \"web.index.internal\", without a wildcard, \
             or a URI such as \"spiffe://index.internal/web\"",
        ),
        (
            tls,
            caller("one", "san = 'web.internal'") + &caller("two", "san = 'WEB.internal'"),
            "callers[1].san: is that of the caller \"one\" too",
        ),
        (
            tls,
            caller("one", &both) + &caller("two", &token),
            "callers[1].token_sha256: is that of the caller \"one\" too",
        ),
    ] {
        let mistakes = home.read(&format!("{tls}\n{callers}")).unwrap_err();
        let found: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected]);
    }
}
