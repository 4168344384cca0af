//! Key sets over HTTPS: OpenID Connect Discovery 1.0, section 4, then the
//! `jwks_uri`. The one file that names `reqwest`.
//!
//! What comes back is a stranger's: no redirects (they would lead past the
//! checks of host and scheme), a bound of time over the whole exchange, a
//! bound of size held while reading. Proxies from the environment are not used:
//! what decides whom we trust stands in the configuration. Connections aren't
//! kept, since the next fetch is minutes away and perhaps on another runtime.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{
    Certificate, Client, ClientBuilder, StatusCode,
    header::{ACCEPT, CACHE_CONTROL},
    redirect,
};
use serde::Deserialize;
use url::{Host, Url};

use super::{
    IssuerKeys,
    decision::{Fetch, Origin},
    max_age::max_age,
    source::{Failed, FetchFailed, MAX_DOCUMENT, Published, Source},
    wanted::Wanted,
};

const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// One issuer, over HTTPS.
pub(super) struct HttpSource {
    way: Way,
    issuer: String,
    origin: Url,
    discovery: Url,
    jwks_hosts: Vec<JwksHost>,
    timeout: Duration,
}

/// An issuer whose keys can't be fetched as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum IssuerUnusable {
    /// Not a URL that keys may be fetched from.
    #[error(
        "the issuer {issuer} is not an https URL without user, query and fragment (http is for loopback only)"
    )]
    Url {
        /// The issuer's URL.
        issuer: String,
    },
    /// Not a host, with or without a port.
    #[error("{host:?} among the jwks_hosts of the issuer {issuer} is not a host or host:port")]
    JwksHost {
        /// The issuer's URL.
        issuer: String,
        /// The entry.
        host: String,
    },
    /// The CA file could not be read.
    #[error("the CA file {file} of the issuer {issuer} can't be read: {cause}")]
    CaUnreadable {
        /// The issuer's URL.
        issuer: String,
        /// The file.
        file: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The CA file holds nothing that could be trusted.
    #[error("the CA file {file} of the issuer {issuer} holds no PEM certificates that can be used")]
    CaUnusable {
        /// The issuer's URL.
        issuer: String,
        /// The file.
        file: String,
    },
    /// No TLS on this machine.
    #[error("no TLS client can be made for the issuer {issuer}: {cause}")]
    Tls {
        /// The issuer's URL.
        issuer: String,
        /// What the TLS library said.
        cause: String,
    },
}

impl HttpSource {
    /// The sources in the order of the issuers, and all mistakes. Issuers
    /// without a CA file of their own share a client.
    pub(super) fn for_all(
        issuers: &[IssuerKeys],
        timeout: Duration,
    ) -> (Vec<Self>, Vec<IssuerUnusable>) {
        let mut clients = Clients::default();
        let mut sources = Vec::new();
        let mut mistakes = Vec::new();
        for keys in issuers {
            match Self::new(keys, timeout, &mut clients) {
                Ok(source) => sources.push(source),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        (sources, mistakes)
    }

    fn new(
        keys: &IssuerKeys,
        timeout: Duration,
        clients: &mut Clients,
    ) -> Result<Self, IssuerUnusable> {
        let issuer = &keys.issuer.url;
        let unusable = || IssuerUnusable::Url { issuer: issuer.clone() };
        let origin = Url::parse(issuer).ok().filter(may_be_asked).ok_or_else(unusable)?;
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let discovery = Url::parse(&format!("{base}{DISCOVERY_PATH}")).map_err(|_| unusable())?;
        let jwks_hosts = keys
            .jwks_hosts
            .iter()
            .map(|host| {
                let mistake =
                    || IssuerUnusable::JwksHost { issuer: issuer.clone(), host: host.clone() };
                JwksHost::parse(host).ok_or_else(mistake)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let plain = origin.scheme() == "http" && jwks_hosts.is_empty();
        let way = match &keys.ca_file {
            Some(file) => Way::ByFile(ByFile::new(issuer, file)?),
            None if plain => Way::Fixed(clients.plain().map_err(|cause| no_tls(issuer, &cause))?),
            None => Way::Fixed(clients.machine().map_err(|cause| no_tls(issuer, &cause))?),
        };
        Ok(Self { way, issuer: issuer.clone(), origin, discovery, jwks_hosts, timeout })
    }

    async fn exchange(&self, wanted: Wanted) -> Result<Published, FetchFailed> {
        let client = self.way.client();
        let (document, _) = read(&client, self.discovery.clone()).await?;
        let jwks_uri = self.jwks_uri(&document)?;
        let (document, max_age) = read(&client, jwks_uri).await?;
        let fetch = Fetch { at: wanted.now, cause: wanted.cause, max_age };
        Ok(Published::read(document, fetch, Origin::Issuer)?)
    }

    /// Where the key set is, if the document is this issuer's and may say so.
    fn jwks_uri(&self, document: &[u8]) -> Result<Url, FetchFailed> {
        let discovery: Discovery =
            serde_json::from_slice(document).map_err(|_| FetchFailed::DiscoveryUnreadable)?;
        if discovery.issuer != self.issuer {
            return Err(FetchFailed::OtherIssuer);
        }
        Url::parse(&discovery.jwks_uri)
            .ok()
            .filter(|url| self.may_hold_keys(url))
            .ok_or(FetchFailed::JwksElsewhere)
    }

    fn may_hold_keys(&self, url: &Url) -> bool {
        let same_origin = url.origin() == self.origin.origin();
        // Plain HTTP leads on only from an issuer that is on loopback itself.
        let scheme = match url.scheme() {
            "https" => true,
            "http" => self.origin.scheme() == "http" && is_loopback(url),
            _ => false,
        };
        let named = scheme && self.jwks_hosts.iter().any(|host| host.is_of(url));
        without_user(url) && (same_origin || named)
    }
}

async fn read(client: &Client, url: Url) -> Result<(Bytes, Option<Duration>), FetchFailed> {
    let request = client.get(url).header(ACCEPT, "application/json");
    let mut response = request.send().await.map_err(broken)?;
    if response.status() != StatusCode::OK {
        return Err(FetchFailed::Status(response.status().as_u16()));
    }
    let said = response.headers().get_all(CACHE_CONTROL);
    let max_age = max_age(said.iter().filter_map(|value| value.to_str().ok()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len().saturating_add(chunk.len()) > MAX_DOCUMENT {
            return Err(FetchFailed::TooLarge(MAX_DOCUMENT));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.into(), max_age))
}

#[async_trait]
impl Source for HttpSource {
    async fn fetch(&self, wanted: Wanted) -> Result<Published, Failed> {
        let outcome = tokio::time::timeout(self.timeout, self.exchange(wanted))
            .await
            .unwrap_or(Err(FetchFailed::TooSlow(self.timeout)));
        outcome.map_err(Failed::from)
    }
}

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A host that may hold an issuer's key set, with its port: `host` or `host:port`.
struct JwksHost(String);

impl JwksHost {
    fn parse(host: &str) -> Option<Self> {
        let url = Url::parse(&format!("https://{host}/")).ok()?;
        let alone = without_user(&url)
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && !host.contains(['/', '\\', '@', '?', '#']);
        alone.then(|| Self(host.to_owned()))
    }

    fn is_of(&self, url: &Url) -> bool {
        let own = Url::parse(&format!("{}://{}/", url.scheme(), self.0));
        own.is_ok_and(|own| own.origin() == url.origin())
    }
}

/// What an issuer is asked through.
enum Way {
    /// It trusts the same authorities for as long as the service runs.
    Fixed(Client),
    /// It trusts those in a file, which may change.
    ByFile(ByFile),
}

impl Way {
    fn client(&self) -> Client {
        match self {
            Self::Fixed(client) => client.clone(),
            Self::ByFile(by_file) => by_file.client(),
        }
    }
}

/// A client that trusts the certificates in a file and no others. The file is looked at
/// before each fetch, of which there are few: so it can be replaced.
struct ByFile {
    issuer: String,
    file: PathBuf,
    held: Mutex<Held>,
}

/// What the file held the last time, and a client that trusts what it held when it was good.
struct Held {
    pem: Vec<u8>,
    client: Client,
}

impl ByFile {
    fn new(issuer: &str, file: &Path) -> Result<Self, IssuerUnusable> {
        let pem = read_ca(issuer, file)?;
        let held = Mutex::new(Held { client: client_of(issuer, file, &pem)?, pem });
        Ok(Self { issuer: issuer.to_owned(), file: file.to_owned(), held })
    }

    fn client(&self) -> Client {
        // Each of its values is whole, whoever panicked.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = read_ca(&self.issuer, &self.file).and_then(|pem| {
            if pem == held.pem {
                return Ok(None);
            }
            held.pem.clone_from(&pem);
            client_of(&self.issuer, &self.file, &pem).map(Some)
        });
        match fresh {
            Ok(None) => {}
            Ok(Some(client)) => {
                tracing::info!(issuer = self.issuer, "the issuer's authorities changed");
                held.client = client;
            }
            Err(error) => {
                tracing::error!(%error, "an issuer's authorities can't be read again; those in memory stay");
            }
        }
        held.client.clone()
    }
}

fn no_tls(issuer: &str, cause: &reqwest::Error) -> IssuerUnusable {
    IssuerUnusable::Tls { issuer: issuer.to_owned(), cause: sentence(cause) }
}

/// The clients that issuers share, made when the first one needs them.
#[derive(Default)]
struct Clients {
    machine: Option<Client>,
    plain: Option<Client>,
}

impl Clients {
    /// Trusts whom the machine trusts.
    fn machine(&mut self) -> reqwest::Result<Client> {
        kept(&mut self.machine, || builder().build())
    }

    /// Trusts nobody, and so works on a machine without any certificates; for
    /// plain HTTP on loopback.
    fn plain(&mut self) -> reqwest::Result<Client> {
        kept(&mut self.plain, || client_with(Vec::new()))
    }
}

fn kept(
    place: &mut Option<Client>,
    make: impl FnOnce() -> reqwest::Result<Client>,
) -> reqwest::Result<Client> {
    if let Some(client) = place {
        return Ok(client.clone());
    }
    Ok(place.insert(make()?).clone())
}

/// Trusts these certificates and no others.
fn client_with(trusted: Vec<Certificate>) -> reqwest::Result<Client> {
    builder().tls_certs_only(trusted).build()
}

#[expect(clippy::disallowed_methods, reason = "the one place that the ban refers to")]
fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("mintage/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .pool_max_idle_per_host(0)
}

fn read_ca(issuer: &str, file: &Path) -> Result<Vec<u8>, IssuerUnusable> {
    fs::read(file).map_err(|cause| IssuerUnusable::CaUnreadable {
        issuer: issuer.to_owned(),
        file: file.display().to_string(),
        cause,
    })
}

/// A client that trusts what a file held.
fn client_of(issuer: &str, file: &Path, pem: &[u8]) -> Result<Client, IssuerUnusable> {
    let certificates = Certificate::from_pem_bundle(pem)
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| IssuerUnusable::CaUnusable {
            issuer: issuer.to_owned(),
            file: file.display().to_string(),
        })?;
    client_with(certificates).map_err(|cause| no_tls(issuer, &cause))
}

/// An issuer's URL: https, or http on loopback; neither user nor query nor fragment
/// (OpenID Connect Core 1.0, section 2).
fn may_be_asked(url: &Url) -> bool {
    let scheme = match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    };
    scheme && without_user(url) && url.query().is_none() && url.fragment().is_none()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn without_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` calls it")]
fn broken(error: reqwest::Error) -> FetchFailed {
    FetchFailed::Broken(sentence(&error))
}

/// An error with its causes, in one line.
fn sentence(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        cause = inner.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::{Algorithm, Issuer, Provider};

    fn keys(url: &str, jwks_hosts: &[&str]) -> IssuerKeys {
        let issuer = Issuer {
            url: url.to_owned(),
            host: "unused".to_owned(),
            provider: Provider::Claims,
            algorithms: vec![Algorithm::RS256],
            enabled: true,
        };
        let jwks_hosts = jwks_hosts.iter().map(|host| (*host).to_owned()).collect();
        IssuerKeys { issuer, ca_file: None, jwks_hosts, max_stale: crate::keysets::MAX_STALE }
    }

    /// A source that trusts nobody: these tests fetch nothing.
    fn source(url: &str, jwks_hosts: &[&str]) -> Result<HttpSource, IssuerUnusable> {
        let mut clients = Clients::default();
        clients.machine = Some(clients.plain().unwrap());
        HttpSource::new(&keys(url, jwks_hosts), Duration::from_secs(5), &mut clients)
    }

    #[test]
    fn the_discovery_document_lies_below_the_issuer() {
        for (issuer, discovery) in [
            ("https://a.example", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/b/c", "https://a.example/b/c/.well-known/openid-configuration"),
            ("https://a.example/b/", "https://a.example/b/.well-known/openid-configuration"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/.well-known/openid-configuration"),
            ("http://[::1]/x", "http://[::1]/x/.well-known/openid-configuration"),
            ("http://localhost", "http://localhost/.well-known/openid-configuration"),
        ] {
            assert_eq!(source(issuer, &[]).ok().unwrap().discovery.as_str(), discovery);
        }
    }

    #[test]
    fn only_https_and_loopback_are_asked() {
        for issuer in [
            "http://a.example",
            "http://10.0.0.1",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "ftp://a.example",
            "file:///etc/passwd",
            "https://user@a.example",
            "https://user:word@a.example",
            "https://a.example?x=y",
            "https://a.example#x",
            "a.example",
            "",
        ] {
            let mistake = source(issuer, &[]).err();
            assert!(matches!(mistake, Some(IssuerUnusable::Url { .. })), "{issuer}");
        }
    }

    #[test]
    fn the_jwks_uri_is_the_issuers_or_on_a_configured_host() {
        let hosts = ["keys.example", "other.example:8443"];
        let source = source("https://a.example/path", &hosts).ok().unwrap();
        for (jwks_uri, fine) in [
            ("https://a.example/keys", true),
            ("https://a.example:443/keys?x=y", true),
            ("https://A.EXAMPLE/keys", true),
            ("https://keys.example/keys", true),
            ("https://other.example:8443/keys", true),
            ("http://a.example/keys", false),
            ("https://a.example:444/keys", false),
            ("https://a.example.evil/keys", false),
            ("https://sub.a.example/keys", false),
            ("https://a.example@evil.example/keys", false),
            ("https://user@a.example/keys", false),
            ("http://keys.example/keys", false),
            ("https://keys.example:8443/keys", false),
            ("https://other.example/keys", false),
            ("file:///keys", false),
            ("/keys", false),
            ("", false),
        ] {
            let document =
                serde_json::json!({"issuer": "https://a.example/path", "jwks_uri": jwks_uri});
            let read = source.jwks_uri(document.to_string().as_bytes());
            assert_eq!(read.is_ok(), fine, "{jwks_uri}");
        }
    }

    #[test]
    fn plain_http_leads_on_from_loopback_to_loopback_alone() {
        let hosts = ["127.0.0.1:9", "keys.example"];
        for (issuer, jwks_uri, fine) in [
            ("http://127.0.0.1:8", "http://127.0.0.1:9/keys", true),
            ("http://127.0.0.1:8", "https://keys.example/keys", true),
            ("http://127.0.0.1:8", "http://keys.example/keys", false),
            ("http://127.0.0.1:8", "http://127.0.0.1:10/keys", false),
            ("https://a.example", "http://127.0.0.1:9/keys", false),
        ] {
            let source = source(issuer, &hosts).ok().unwrap();
            let document = serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri});
            let read = source.jwks_uri(document.to_string().as_bytes());
            assert_eq!(read.is_ok(), fine, "{issuer}: {jwks_uri}");
        }
    }

    #[test]
    fn the_document_names_the_issuer_byte_for_byte() {
        let source = source("https://a.example", &[]).ok().unwrap();
        for issuer in ["https://a.example/", "https://A.example", "https://a.example:443", ""] {
            let document =
                serde_json::json!({"issuer": issuer, "jwks_uri": "https://a.example/keys"});
            let read = source.jwks_uri(document.to_string().as_bytes());
            assert!(matches!(read, Err(FetchFailed::OtherIssuer)), "{issuer}");
        }
        for document in [
            "",
            "[]",
            r#"{"issuer": "https://a.example"}"#,
            r#"{"issuer": "https://a.example", "jwks_uri": 1}"#,
            r#"{"issuer": "https://a.example", "issuer": "x", "jwks_uri": "https://a.example/"}"#,
        ] {
            let read = source.jwks_uri(document.as_bytes());
            assert!(matches!(read, Err(FetchFailed::DiscoveryUnreadable)), "{document}");
        }
    }

    #[test]
    fn a_jwks_host_is_a_host_and_nothing_else() {
        for host in ["", "https://keys.example", "keys.example/x", "u@keys.example", "a b", "a:b"] {
            let mistake = source("https://a.example", &[host]).err();
            assert!(matches!(mistake, Some(IssuerUnusable::JwksHost { .. })), "{host}");
        }
    }
}
