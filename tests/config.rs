//! The configuration as an operator meets it: every mistake at once, each with
//! its path and a sentence.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

#[path = "config/redis.rs"]
mod redis;
#[path = "config/telemetry.rs"]
mod telemetry;
#[path = "config/tls.rs"]
mod tls;

use std::{fs, path::Path, time::Duration};

use mintage::{
    config::{Callers, Config, KeyringConfig, LogFormat, Mistakes, StoreConfig},
    grant::Feature,
    macaroon::KeyId,
    oidc::{Algorithm, Provider},
    service::Right,
};

const SMALLEST: &str = r#"
[keyring]
directory = "keys"
current = "2026-11"

[indexes.pypi]
audience = "pypi"
location = "index.example"
"#;

const WHOLE: &str = r#"
listen = "0.0.0.0:50051"
admin_listen = "127.0.0.1:9090"

[keyring]
directory = "keys"
current = "2026-11"

[store]
kind = "memory"
max_entries = 1000

[[callers]]
name = "web"
token_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
may = ["mint-publisher", "mint-user", "verify", "attenuate", "revoke"]

[[callers]]
name = "scanner"
token_sha256 = "60303AE22B998861BCE3B28F33EEC1BE758A213C86C93C076DBE9F558C11C752"
may = ["revoke"]
indexes = ["pypi"]

[[issuers]]
url = "https://token.actions.githubusercontent.com"
provider = "github"

[[issuers]]
url = "https://gitlab.example:8443/gitlab"
provider = "gitlab"
algorithms = ["RS256", "ES256"]
jwks_hosts = ["Keys.example", "keys.example:8443"]
max_stale = "20m"
enabled = false

[indexes.pypi]
audience = "pypi"
location = "index.example"
prefix = "pypi"
issuers = ["https://token.actions.githubusercontent.com"]
extended_caveats = true
lifetime = "1h30m"
features = ["multi-use-token", "single-use-token"]
default_features = ["single-use-token"]
retry_window = 30
max_embedded_projects = 10
min_lifetime = "1m"
max_lifetime = "365d"

[limits]
refused_mint_per_client = { burst = 3, count = 2, period = "10s" }
denied_verify_per_client = { enabled = false }

[log]
filter = "warn,mintage=debug"
format = "json"

[server]
max_in_flight = 8
threads = 3
shutdown_grace = "5s"
"#;

/// A certificate and its key, in PEM.
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        Self { certificate, key: key.serialize_pem() }
    }
}

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::parse(text, Path::new("/etc/mintage"), variables)
}

fn mistakes(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    read(text, variables).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_configuration_is_read_into_types() {
    let config = read(WHOLE, &[]).unwrap();
    let Callers::Known(callers) = &config.callers else { panic!("callers are configured") };
    assert_eq!(callers[0].caller.name, "web");
    assert_eq!(callers[0].proof.token_sha256().unwrap()[..2], [0x9f, 0x86]);
    assert!(
        callers[0].caller.may.contains(&Right::MintUser) && callers[0].caller.indexes.is_none()
    );
    assert!(
        callers[1].caller.may.contains(&Right::Revoke)
            && !callers[1].caller.may.contains(&Right::Verify)
    );
    assert!(callers[1].caller.indexes.as_ref().unwrap().contains("pypi"));
    assert_eq!(config.store, StoreConfig::Memory { max_entries: 1000 });
    assert_eq!(config.keyring.directory, Path::new("/etc/mintage/keys"));

    let gitlab = &config.issuers[1];
    assert_eq!(gitlab.issuer.host, "gitlab.example:8443");
    assert_eq!(gitlab.issuer.provider, Provider::GitLab);
    assert_eq!(gitlab.issuer.algorithms, [Algorithm::RS256, Algorithm::ES256]);
    assert!(!gitlab.issuer.enabled);
    assert_eq!(gitlab.jwks_hosts, ["keys.example", "keys.example:8443"]);
    let stale = [&config.issuers[0], gitlab].map(|issuer| issuer.max_stale.as_secs());
    assert_eq!(stale, [3_600, 1_200]);

    let index = &config.indexes["pypi"];
    assert_eq!(index.lifetime, Duration::from_secs(5_400));
    assert_eq!(index.retry_window, Duration::from_secs(30));
    assert_eq!(index.default_feature, Feature::SingleUse);
    assert_eq!(index.max_lifetime, Some(Duration::from_secs(365 * 86_400)));
    assert_eq!(config.limits.refused_mint_per_client.unwrap().burst, 3);
    assert_eq!(config.limits.denied_verify_per_client, None);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!((config.server.threads, config.server.max_in_flight), (3, 8));
}

#[test]
fn every_mistake_is_reported_at_once_with_its_path() {
    let text = r#"
listen = "0.0.0.0"
admin_listen = 9090
allow_anonymous_callers = "yes"
colour = "blue"

[keyring]
directory = ""
current = "november 2026"

[store]
kind = "memory"
max_entries = -1

[[callers]]
name = "web"
token_sha256 = "secret"
may = ["mint"]
indexes = ["npm"]

[[callers]]
name = "web"
token_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
may = []
colour = 1

[[issuers]]
url = "http://issuer.example"
provider = "githib"

[[issuers]]
url = "https://issuer.example"
provider = "claims"
algorithms = ["HS256"]
ca_file = "missing.pem"
jwks_hosts = ["https://keys.example/"]
max_stale = "30s"

[indexes.pypi]
location = ""
prefix = "py-pi"
issuers = ["https://elsewhere.example", "http://issuer.example"]
lifetime = "5m"
features = ["single-use-token"]
default_features = ["multi-use-token"]
retry_window = "soon"
max_embedded_projects = 0.5
min_lifetime = "2h"
max_lifetime = "1h"

[indexes."an index"]
audience = "x"
location = "x"

[limits]
mint_per_client = { burst = 0, period = "0s" }
mint_per_user = {}

[log]
filter = "info,,=["
format = "xml"

[server]
threads = 0
"#;
    let expected = r#"listen: must be an IP address and a port, such as "127.0.0.1:50051"
admin_listen: must be a string, but is a whole number
keyring.directory: must not be empty
keyring.current: is no key id: a key id is 1 to 32 characters out of A-Z, a-z, 0-9, "_" and "-"
store.max_entries: must lie between 1 and 100000000, but is -1
callers[0].token_sha256: must be a SHA-256 in 64 hexadecimal digits
callers[0].may[0]: must be one of "mint-publisher", "mint-user", "verify", "attenuate", "revoke"
callers[0].indexes[0]: names the index "npm", which is not configured
callers[1].token_sha256: is the SHA-256 of an empty token
callers[1].may: must not be empty
callers[1].name: is the name of another caller too
callers[1].colour: is unknown; known here: name, token_sha256, san, may, indexes
allow_anonymous_callers: must be true or false, but is a string
issuers[0].url: must be an https URL; http is for loopback only
issuers[0].provider: must be one of "github", "gitlab", "google", "activestate", "claims"
issuers[1].algorithms[0]: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA
issuers[1].ca_file: names /etc/mintage/missing.pem, which can't be read: No such file or directory (os error 2)
issuers[1].jwks_hosts[0]: must be a host, such as "keys.example" or "keys.example:8443"
issuers[1].max_stale: must lie between 1m and 1d, but is 30s
indexes."an index": must have a name of 1 to 128 letters, digits, ".", "_" and "-"
indexes.pypi.audience: is missing
indexes.pypi.location: must not be empty
indexes.pypi.prefix: a token prefix is 1 to 32 characters out of A-Z, a-z, 0-9 and "_"
indexes.pypi.issuers[0]: names "https://elsewhere.example", for which there is no [[issuers]]
indexes.pypi.lifetime: must lie between 15m and 6h, but is 5m
indexes.pypi.features: offers "single-use-token", which needs extended_caveats = true
indexes.pypi.default_features: names "multi-use-token", which is not among the features
indexes.pypi.retry_window: must be a time such as "15m", "90s", "1h30m" or "250ms"
indexes.pypi.max_embedded_projects: must be a whole number, but is a number with a fraction
indexes.pypi.min_lifetime: must not be longer than max_lifetime
limits.mint_per_client.burst: must lie between 1 and 1000000, but is 0
limits.mint_per_client.period: must lie between 1s and 1d, but is 0s
limits.mint_per_user: is unknown; known here: enabled, mint_per_client, mint_per_publisher, refused_mint_per_client, denied_verify_per_client
log.filter: is no log filter such as "info,mintage=debug": invalid filter directive
log.format: must be one of "text", "json"
server.threads: must lie between 1 and 1024, but is 0
colour: is unknown; known here: listen, admin_listen, keyring, store, indexes, callers, allow_anonymous_callers, issuers, limits, log, server, telemetry"#;
    assert_eq!(mistakes(text, &[]).join("\n"), expected);
}

#[test]
fn a_variable_goes_over_the_file() {
    let config = read(
        SMALLEST,
        &[
            ("MINTAGE__LISTEN", "[::1]:7"),
            ("MINTAGE__ADMIN_LISTEN", ""),
            ("MINTAGE__KEYRING__CURRENT", "2026-11-21"),
            ("MINTAGE__INDEXES__PYPI__LIFETIME", "20m"),
            ("MINTAGE__INDEXES__PYPI__RETRY_WINDOW", "5"),
            ("MINTAGE__INDEXES__PYPI__ISSUERS", "['https://issuer.example']"),
            ("MINTAGE__INDEXES__TEST__AUDIENCE", "42"),
            ("MINTAGE__INDEXES__TEST__LOCATION", "test.example"),
            ("MINTAGE__ISSUERS", "[{url = 'https://issuer.example', provider = 'claims'}]"),
            ("MINTAGE__CALLERS__0__NAME", "web"),
            ("MINTAGE__CALLERS__0__TOKEN_SHA256", &"ab".repeat(32)),
            ("MINTAGE__CALLERS__0__MAY", "['verify']"),
            ("MINTAGE__LOG__FORMAT", "json"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:7");
    assert_eq!(config.keyring.current.as_str(), "2026-11-21", "a date to TOML, a string here");
    assert_eq!(config.indexes["pypi"].lifetime, Duration::from_secs(1_200));
    assert_eq!(config.indexes["pypi"].retry_window, Duration::from_secs(5));
    assert_eq!(config.indexes["test"].audience, "42");
    assert!(matches!(config.callers, Callers::Known(callers) if callers[0].caller.name == "web"));
}

#[test]
fn a_wrong_variable_is_a_mistake_that_names_it() {
    for (name, value, expected) in [
        ("MINTAGE__LISTN", "x", "listn (MINTAGE__LISTN): is unknown; known here: listen"),
        (
            "MINTAGE__INDEXES__PYPI__LIFETIME",
            "7h",
            "indexes.pypi.lifetime (MINTAGE__INDEXES__PYPI__LIFETIME): \
             must lie between 15m and 6h, but is 7h",
        ),
        (
            "MINTAGE__LISTEN__PORT",
            "1",
            "MINTAGE__LISTEN__PORT: reaches into listen, which is a single value",
        ),
    ] {
        let text = format!("listen = '127.0.0.1:1'\n{SMALLEST}");
        let found = mistakes(&text, &[(name, value)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn without_callers_only_loopback_is_served() {
    for (listen, more, allowed) in [
        ("127.0.0.1:1", "", true),
        ("[::1]:1", "", true),
        ("[::ffff:127.0.0.1]:1", "", true),
        ("0.0.0.0:1", "", false),
        ("[::]:1", "", false),
        ("10.0.0.1:1", "callers = []", false),
        ("0.0.0.0:1", "allow_anonymous_callers = false", false),
        ("0.0.0.0:1", "allow_anonymous_callers = true", true),
    ] {
        let answer = read(&format!("listen = '{listen}'\n{more}\n{SMALLEST}"), &[]);
        assert_eq!(answer.is_ok(), allowed, "{listen} {more}");
    }
    let both = format!("allow_anonymous_callers = true\n{WHOLE}");
    assert_eq!(
        mistakes(&both, &[]),
        ["allow_anonymous_callers: must not be true where there are [[callers]]"]
    );
}

#[test]
fn one_mistake_is_one_sentence() {
    let with = |line: &str| WHOLE.replace("max_embedded_projects = 10", line);
    for (text, expected) in [
        (
            WHOLE.replace(
                "https://gitlab.example:8443/gitlab",
                "https://token.actions.githubusercontent.com",
            ),
            "issuers[1].url: configures \"https://token.actions.githubusercontent.com\" a second time",
        ),
        (
            WHOLE.replace("[\"single-use-token\"]", "[\"single-use-token\", \"multi-use-token\"]"),
            "indexes.pypi.default_features: must name one feature: \
             single-use and multi-use contradict each other",
        ),
        (
            with("max_embedded_projects = 1001"),
            "indexes.pypi.max_embedded_projects: must lie between 1 and 1000, but is 1001",
        ),
        (
            with("max_embedded_project = 5"),
            "indexes.pypi.max_embedded_project: is unknown; known here: audience, location, prefix, \
             issuers, extended_caveats, lifetime, features, default_features, retry_window, \
             max_embedded_projects, min_lifetime, max_lifetime",
        ),
        (
            WHOLE.replace("lifetime = \"1h30m\"", "lifetime = 899"),
            "indexes.pypi.lifetime: must lie between 15m and 6h, but is 14m59s",
        ),
        (
            WHOLE.replace("127.0.0.1:9090", "0.0.0.0:50051"),
            "admin_listen: must be another address than listen",
        ),
        (
            WHOLE.replace(
                "60303AE22B998861BCE3B28F33EEC1BE758A213C86C93C076DBE9F558C11C752",
                "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            ),
            "callers[1].token_sha256: is that of the caller \"web\" too",
        ),
    ] {
        assert_eq!(mistakes(&text, &[]), [expected]);
    }
}

#[test]
fn a_syntax_error_is_one_mistake_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mintage.toml");
    fs::write(&file, "listen = \"127.0.0.1:1\"\n[keyring\ncurrent = 1\n").unwrap();
    let mistakes = Config::load(&file, std::iter::empty()).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert!(mistakes.to_string().contains("mintage.toml, line 2, column "));
}

#[test]
fn a_file_that_can_not_be_read_is_one_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Config::load(&folder.path().join("mintage.toml"), std::iter::empty());
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .ends_with("can't be read: No such file or directory (os error 2)")
    );
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    let unreadable = Config::load(&binary, std::iter::empty()).unwrap_err();
    assert!(unreadable.to_string().ends_with("binary.toml: is not a text in UTF-8"));
}

/// A keyring's files, relative to a folder that is thrown away.
fn keyring(files: &[(&str, &[u8])]) -> (tempfile::TempDir, KeyringConfig) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let current = KeyId::parse("one").unwrap();
    let config = KeyringConfig { directory: folder.path().to_owned(), current };
    (folder, config)
}

const ONE: &[u8] = b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
const TWO: &[u8] = b"ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

#[test]
fn a_keyring_is_read_from_a_mounted_kubernetes_secret() {
    let (folder, mut config) = keyring(&[]);
    let data = folder.path().join("..2026_11_21");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("one"), ONE).unwrap();
    fs::write(data.join("two"), TWO).unwrap();
    std::os::unix::fs::symlink("..2026_11_21", folder.path().join("..data")).unwrap();
    for name in ["one", "two"] {
        let target = Path::new("..data").join(name);
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    }
    let held = config.load().unwrap();
    assert_eq!(held.ids().map(KeyId::as_str).collect::<Vec<_>>(), ["one", "two"]);
    assert!(config.load_changed(&held).unwrap().is_none());

    fs::write(data.join("two"), b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\r\n").unwrap();
    assert!(config.load_changed(&held).unwrap().is_some(), "another secret under the same name");
    config.current = KeyId::parse("two").unwrap();
    assert_eq!(config.load_changed(&held).unwrap().unwrap().current().as_str(), "two");
}

#[test]
fn every_mistake_of_a_keyring_is_reported_at_once_without_its_bytes() {
    let (folder, config) = keyring(&[
        ("one", b"MDEyMzQ1Njc4OWFiY2RlZg=="),
        ("two", TWO),
        ("three", TWO),
        ("four", b"not base64, but secret"),
        ("five", &[b'A'; 5000]),
        ("six.key", ONE),
        (".hidden", b"anything"),
    ]);
    fs::create_dir(folder.path().join("seven")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("zero")).unwrap();
    let mistakes = config.load().unwrap_err().to_string();
    let place = format!("{}/", folder.path().display());
    assert_eq!(
        mistakes.replace(&place, ""),
        "five: is longer than 4096 bytes, so it is no key\n\
         four: does not hold one line of standard base64\n\
         one: holds 16 bytes; a key has at least 32\n\
         seven: can't be read: it is not a file\n\
         six.key: is not named like a key: a key id is 1 to 32 characters out of A-Z, a-z, 0-9, \
         \"_\" and \"-\"\n\
         two: is the same secret as the key \"three\"\n\
         zero: can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_keyring_without_its_current_key_or_without_a_folder_is_a_mistake() {
    let (folder, config) = keyring(&[("two", TWO)]);
    let place = folder.path().display().to_string();
    let missing = config.load().unwrap_err().to_string();
    assert_eq!(missing, format!("{place}: has no key \"one\", which keyring.current names"));
    drop(folder);
    let gone = config.load().unwrap_err().to_string();
    assert_eq!(gone, format!("{place}: can't be read: No such file or directory (os error 2)"));
}

#[test]
fn mistakes_of_the_file_and_of_the_keyring_come_together() {
    let (folder, _) = keyring(&[("two", b"x")]);
    let file = folder.path().join(".mintage.toml");
    let text = SMALLEST.replace("\"keys\"", "\".\"").replace("\"pypi\"", "7");
    fs::write(&file, text).unwrap();
    let mistakes = Config::load_with_keyring(&file, std::iter::empty()).unwrap_err();
    let found: Vec<_> = mistakes.iter().map(|mistake| mistake.sentence.as_str()).collect();
    assert_eq!(
        found,
        [
            "must be a string, but is a whole number",
            "does not hold one line of standard base64",
            "has no key \"2026-11\", which keyring.current names",
        ]
    );
}

#[test]
fn a_ca_file_holds_certificates_that_can_be_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content, expected) in [
        ("one", own.clone(), None),
        ("two, with words between", format!("{own}\nThe next one:\n{own}"), None),
        ("a key beside it", format!("{}{own}", key.serialize_pem()), None),
        ("nothing", String::new(), Some("holds no PEM certificate")),
        ("a key alone", key.serialize_pem(), Some("holds no PEM certificate")),
        ("the end is missing", own.replace("-----END", ""), Some("is not well-formed PEM")),
        (
            "no certificate inside",
            format!("{own}{garbled}"),
            Some("holds a certificate that can't be used as an authority"),
        ),
    ] {
        let path = folder.path().join("ca.pem");
        fs::write(&path, content).unwrap();
        let text = WHOLE.replace("max_stale = \"20m\"", &format!("ca_file = {path:?}"));
        match expected {
            None => assert_eq!(read(&text, &[]).unwrap().issuers[1].ca_file, Some(path), "{name}"),
            Some(sentence) => {
                let expected =
                    format!("issuers[1].ca_file: names {}, which {sentence}", path.display());
                assert_eq!(mistakes(&text, &[]), [expected], "{name}");
            }
        }
    }
}
