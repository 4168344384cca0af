//! The package indexes that tokens are minted for.
//!
//! ```toml
//! [indexes.pypi]
//! audience = "pypi"
//! location = "index.example"
//! ```
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `audience` | | what an ID token's `aud` must be |
//! | `location` | | stands in every token as a hint where it belongs |
//! | `prefix` | `"pypi"` | what every token begins with |
//! | `issuers` | `[]` | URLs of the issuers whose ID tokens it takes |
//! | `extended_caveats` | `false` | whether tags 64 and up are offered |
//! | `lifetime` | `"15m"` | of a publisher's token; 15 minutes to 6 hours |
//! | `features` | what is possible | PEP 807 features on offer |
//! | `default_features` | `["multi-use-token"]` | the one in force where none is asked for |
//! | `retry_window` | `"60s"` | how long a Mint can be repeated |
//! | `max_embedded_projects` | `50` | beyond, the scope is the publisher's projects at use |
//! | `min_lifetime`, `max_lifetime` | none | bounds of a token's lifetime; a publisher's keeps to 15 minutes to 6 hours besides |

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    grant::{Feature, MAX_PUBLISHER_LIFETIME, MIN_PUBLISHER_LIFETIME},
    macaroon::TokenPrefix,
};

use super::reader::{Found, Read, Section, boolean, integer, one_of, printable, string, time};

/// Longest name, in bytes; it stands in every root key's derivation and request.
const MAX_NAME_BYTES: usize = 128;

/// Longest audience and longest location, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// A retry window never outlives the shortest token that it would repeat.
const MAX_RETRY_WINDOW: Duration = MIN_PUBLISHER_LIFETIME;

/// A thousand ids of ten digits fill most of a token's 16 KiB.
const MAX_EMBEDDED_PROJECTS: usize = 1_000;

/// Ten years: further ahead nobody means it.
const MAX_USER_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A package index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexConfig {
    /// What an ID token's `aud` must be.
    pub audience: String,
    /// The macaroons' location.
    pub location: String,
    /// What its upload tokens begin with.
    pub prefix: TokenPrefix,
    /// URLs of its issuers; each one is configured.
    pub issuers: Vec<String>,
    /// Whether caveats with tags 64 and up are offered.
    pub extended_caveats: bool,
    /// How long a publisher's token lives unless the request says otherwise;
    /// 15 minutes to 6 hours.
    pub lifetime: Duration,
    /// The features on offer; never empty, each once.
    pub features: Vec<Feature>,
    /// The feature in force where a request asks for none; one of `features`.
    pub default_feature: Feature,
    /// How long after a Mint the same request gets the same token; zero: never.
    pub retry_window: Duration,
    /// A publisher's token names at most so many projects.
    pub max_embedded_projects: usize,
    /// Shortest life that may be asked for.
    pub min_lifetime: Option<Duration>,
    /// Longest life that may be asked for. None: a user's token may have no end.
    pub max_lifetime: Option<Duration>,
}

const FEATURES: [(&str, Feature); 2] = [
    (Feature::SingleUse.name(), Feature::SingleUse),
    (Feature::MultiUse.name(), Feature::MultiUse),
];

/// Reads `[indexes.*]`. `issuers`: the URLs of all declared issuers.
pub(super) fn read(
    sections: Vec<(String, Section<'_>)>,
    issuers: &BTreeSet<String>,
) -> BTreeMap<String, IndexConfig> {
    let mut indexes = BTreeMap::new();
    for (name, mut section) in sections {
        if !fit_for_name(&name) {
            section.wrong_here(format!(
                "must have a name of 1 to {MAX_NAME_BYTES} letters, digits, \".\", \"_\" and \"-\""
            ));
        }
        let index = index(&mut section, issuers);
        section.end();
        indexes.extend(index.map(|index| (name, index)));
    }
    indexes
}

fn fit_for_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

fn index(section: &mut Section<'_>, issuers: &BTreeSet<String>) -> Option<IndexConfig> {
    let audience = section.required("audience", printable(MAX_TEXT_BYTES));
    let location = section.required("location", printable(MAX_TEXT_BYTES));
    let prefix = section.optional("prefix", prefix).or_else(|| TokenPrefix::parse("pypi").ok());
    let issuers = own_issuers(section, issuers);
    let extended_caveats = section.or("extended_caveats", false, boolean);
    let publisher = MIN_PUBLISHER_LIFETIME..=MAX_PUBLISHER_LIFETIME;
    let lifetime = section.or("lifetime", MIN_PUBLISHER_LIFETIME, time(publisher));
    let (features, default_feature) = features(section, extended_caveats);
    let retry_window = Duration::ZERO..=MAX_RETRY_WINDOW;
    let retry_window = section.or("retry_window", Duration::from_secs(60), time(retry_window));
    let embedded = integer(1..=MAX_EMBEDDED_PROJECTS);
    let max_embedded_projects = section.or("max_embedded_projects", 50, embedded);
    let (min_lifetime, max_lifetime) = user_lifetimes(section);
    Some(IndexConfig {
        audience: audience?,
        location: location?,
        prefix: prefix?,
        issuers,
        extended_caveats,
        lifetime,
        features,
        default_feature,
        retry_window,
        max_embedded_projects,
        min_lifetime,
        max_lifetime,
    })
}

fn prefix(found: &Found<'_>) -> Read<TokenPrefix> {
    TokenPrefix::parse(&string(found)?).map_err(|error| error.to_string())
}

fn own_issuers(section: &mut Section<'_>, configured: &BTreeSet<String>) -> Vec<String> {
    let listed = section.list("issuers", |found| {
        let url = string(found)?;
        if configured.contains(&url) {
            Ok(url)
        } else {
            Err(format!("names {url:?}, for which there is no [[issuers]]"))
        }
    });
    let mut issuers = Vec::new();
    for url in listed.into_iter().flatten() {
        if issuers.contains(&url) {
            section.wrong("issuers", format!("names {url:?} twice"));
        } else {
            issuers.push(url);
        }
    }
    issuers
}

/// The features on offer and the one in force unasked.
fn features(section: &mut Section<'_>, extended_caveats: bool) -> (Vec<Feature>, Feature) {
    let offered = match section.filled_list("features", one_of(&FEATURES)) {
        Some(listed) => checked(section, listed, extended_caveats),
        None if extended_caveats => vec![Feature::MultiUse, Feature::SingleUse],
        None => vec![Feature::MultiUse],
    };
    let usual = match offered.as_slice() {
        [only] => *only,
        _ => Feature::MultiUse,
    };
    let Some(listed) = section.filled_list("default_features", one_of(&FEATURES)) else {
        return (offered, usual);
    };
    match listed.as_slice() {
        [] => {}
        [one] if offered.contains(one) => return (offered, *one),
        [one] => {
            let sentence = format!("names \"{}\", which is not among the features", one.name());
            section.wrong("default_features", sentence);
        }
        _ => section.wrong(
            "default_features",
            "must name one feature: single-use and multi-use contradict each other",
        ),
    }
    (offered, usual)
}

fn checked(section: &Section<'_>, listed: Vec<Feature>, extended_caveats: bool) -> Vec<Feature> {
    if listed.contains(&Feature::SingleUse) && !extended_caveats {
        section
            .wrong("features", "offers \"single-use-token\", which needs extended_caveats = true");
    }
    let mut features = Vec::new();
    for feature in listed {
        if features.contains(&feature) {
            section.wrong("features", format!("names \"{}\" twice", feature.name()));
        } else {
            features.push(feature);
        }
    }
    features
}

fn user_lifetimes(section: &mut Section<'_>) -> (Option<Duration>, Option<Duration>) {
    let bounds = Duration::from_secs(1)..=MAX_USER_LIFETIME;
    let min = section.optional("min_lifetime", time(bounds.clone()));
    let max = section.optional("max_lifetime", time(bounds));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        section.wrong("min_lifetime", "must not be longer than max_lifetime");
    }
    (min, max)
}
