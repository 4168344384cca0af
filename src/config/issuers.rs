//! Whose ID tokens are accepted.
//!
//! ```toml
//! [[issuers]]
//! url = "https://token.actions.githubusercontent.com"
//! provider = "github"
//! ```
//!
//! `provider` is one of `github`, `gitlab`, `google`, `activestate`, `claims`.
//! `algorithms` (default `["RS256"]`) are the signatures accepted; `ca_file`
//! holds the PEM certificates of a self-managed issuer's authority; `jwks_hosts`
//! (`host` or `host:port`) may serve its key set beside its own host; `max_stale`
//! (default `"1h"`, 1 minute to 1 day) is how old its keys may get while it is
//! down; `enabled = false` refuses its ID tokens for the time being.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use url::{Host, Url};

use crate::oidc::{Algorithm, Issuer, Provider};

use super::certificates::authorities_at;
use super::reader::{Found, Read, Section, boolean, one_of, printable, string, time};

/// Longest issuer URL, in bytes. The longest in use have fewer than 100.
const MAX_URL_BYTES: usize = 1024;

const HOUR: Duration = Duration::from_secs(3_600);

const PROVIDERS: [(&str, Provider); 5] = [
    ("github", Provider::GitHub),
    ("gitlab", Provider::GitLab),
    ("google", Provider::Google),
    ("activestate", Provider::ActiveState),
    ("claims", Provider::Claims),
];

/// An issuer, and how its keys are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// What its ID tokens are held against.
    pub issuer: Issuer,
    /// PEM certificates to trust for it, in place of the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Hosts (`host` or `host:port`, in lower case) that may serve its key set
    /// beside its own.
    pub jwks_hosts: Vec<String>,
    /// How old its key set may get while it is down, and be used.
    pub max_stale: Duration,
}

/// Every issuer that was read, and the URL of every one that was declared.
pub(super) struct Issuers {
    pub(super) read: Vec<IssuerConfig>,
    pub(super) declared: BTreeSet<String>,
}

/// Reads `[[issuers]]`.
pub(super) fn read(root: &mut Section<'_>) -> Issuers {
    let max_stale = Duration::from_secs(60)..=Duration::from_secs(86_400);
    let mut issuers = Issuers { read: Vec::new(), declared: BTreeSet::new() };
    for mut section in root.sections("issuers") {
        let declared = section.required("url", printable(MAX_URL_BYTES));
        let host = declared.as_deref().and_then(|url| {
            host_of_issuer(url).map_err(|sentence| section.wrong("url", sentence)).ok()
        });
        let provider = section.required("provider", one_of(&PROVIDERS));
        let algorithms = algorithms(&mut section);
        let enabled = section.or("enabled", true, boolean);
        let path = section.path_reader();
        let ca_file = section.optional("ca_file", |found| authorities_at(path(found)?));
        let jwks_hosts = section.list("jwks_hosts", jwks_host).unwrap_or_default();
        let max_stale = section.or("max_stale", HOUR, time(max_stale.clone()));
        if let Some(url) = &declared
            && !issuers.declared.insert(url.clone())
        {
            section.wrong("url", format!("configures \"{url}\" a second time"));
        }
        section.end();
        if let (Some(url), Some(host), Some(provider)) = (declared, host, provider) {
            let issuer = Issuer { url, host, provider, algorithms, enabled };
            issuers.read.push(IssuerConfig { issuer, ca_file, jwks_hosts, max_stale });
        }
    }
    issuers
}

fn algorithms(section: &mut Section<'_>) -> Vec<Algorithm> {
    let listed = section.filled_list("algorithms", |found| {
        string(found)?.parse::<Algorithm>().map_err(|_| {
            let names = Algorithm::ALL.map(Algorithm::name).join(", ");
            format!("must be one of {names}")
        })
    });
    listed.unwrap_or_else(|| vec![Algorithm::RS256])
}

/// The host of an issuer's URL, with its port where it has one.
///
/// The URL is compared with `iss` byte for byte, so one that a URL parser would
/// silently mend (white space, backslashes, other forms of the host) is refused.
fn host_of_issuer(text: &str) -> Read<String> {
    let parsed = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    let (Some(host), Some((scheme, rest))) = (parsed.host(), text.split_once("://")) else {
        return Err("must be an https URL with a host".to_owned());
    };
    let loopback = match &host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    match scheme {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err("must be an https URL; http is for loopback only".to_owned()),
        _ => return Err("must be an https URL".to_owned()),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("must not hold a user or a password".to_owned());
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err("must have neither a query nor a fragment".to_owned());
    }
    let with_port = match parsed.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    let written = rest.split('/').next().unwrap_or_default();
    if written.eq_ignore_ascii_case(&with_port) {
        Ok(with_port)
    } else {
        Err(format!("must write its host as \"{with_port}\""))
    }
}

fn jwks_host(found: &Found<'_>) -> Read<String> {
    let wrong = || "must be a host, such as \"keys.example\" or \"keys.example:8443\"".to_owned();
    let text = string(found)?.to_ascii_lowercase();
    if text.contains(['/', '?', '#', '@', '\\']) {
        return Err(wrong());
    }
    match host_of_issuer(&format!("https://{text}")) {
        Ok(host) if host == text => Ok(host),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuers_host_has_its_port_where_the_url_has_one() {
        for (url, host) in [
            ("https://token.actions.githubusercontent.com", "token.actions.githubusercontent.com"),
            ("https://gitlab.example:8443/gitlab", "gitlab.example:8443"),
            ("https://issuer.example/", "issuer.example"),
            ("http://127.0.0.1:4711", "127.0.0.1:4711"),
            ("http://[::1]:4711", "[::1]:4711"),
            ("http://localhost", "localhost"),
        ] {
            assert_eq!(host_of_issuer(url), Ok(host.to_owned()), "{url}");
        }
    }

    #[test]
    fn urls_that_no_iss_should_be_are_refused() {
        for url in [
            "",
            "issuer.example",
            "http://issuer.example",
            "http://127.0.0.1.example",
            "ftp://issuer.example",
            "HTTPS://issuer.example",
            "https:issuer.example",
            "https:/issuer.example",
            "https:///issuer.example",
            "https:\\\\issuer.example",
            "https://issuer.example\\@evil.example",
            "https://user@issuer.example",
            "https://@issuer.example",
            "https://issuer.example?query",
            "https://issuer.example?",
            "https://issuer.example#fragment",
            " https://issuer.example",
            "https://0x7f000001",
            "https://issuer.example:443",
            "https://issuer.example:",
            "https://%69ssuer.example",
        ] {
            assert!(host_of_issuer(url).is_err(), "{url}");
        }
    }
}
