//! What a token will be good for: projects, lifetime, features and caveats,
//! decided before anything is redeemed and written once it is.
//!
//! Pure: a grant is a value; the moment and the chance that a macaroon needs
//! come in with the [`Seed`] when it is written.

use std::{collections::HashSet, fmt, str::FromStr, time::Duration};

use crate::{
    caveat::{Caveat, Offered, finish},
    clock::Timestamp,
    mark::Seed,
    publisher::{Project, ProjectName, Publisher},
};

/// A publisher's token lives at least so long from the request on (PEP 807).
pub const MIN_PUBLISHER_LIFETIME: Duration = Duration::from_secs(900);

/// And at most so long (PEP 807).
pub const MAX_PUBLISHER_LIFETIME: Duration = Duration::from_secs(21_600);

/// A token's beginning lies so far back, for a replica whose clock does.
pub const CLOCK_SLACK: Duration = Duration::from_secs(30);

/// A feature that PEP 807 names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// The token may be used until it ends.
    MultiUse,
    /// The token is good for one upload.
    SingleUse,
}

impl Feature {
    /// Its name in PEP 807.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MultiUse => "multi-use-token",
            Self::SingleUse => "single-use-token",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Feature {
    type Err = GrantRefused;

    fn from_str(name: &str) -> Result<Self, GrantRefused> {
        [Self::MultiUse, Self::SingleUse]
            .into_iter()
            .find(|feature| feature.name() == name)
            .ok_or_else(|| GrantRefused::FeatureUnsupported { feature: shortened(name) })
    }
}

/// What an index grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPolicy {
    /// How long a publisher's token lives where nobody asks.
    pub lifetime: Duration,
    /// The shortest lifetime that may be asked for; none: no bound but PEP 807's.
    pub min_lifetime: Option<Duration>,
    /// The longest; none: no bound but PEP 807's, which users' tokens don't have.
    pub max_lifetime: Option<Duration>,
    /// The features that may be asked for.
    pub features: Vec<Feature>,
    /// The features of a publisher's token where nobody asks.
    pub default_features: Vec<Feature>,
    /// Up to so many project ids stand in a token; the ids of 113 projects
    /// overflow an 8 KiB header.
    pub max_embedded_projects: usize,
    /// Which caveats may be asked for.
    pub offered: Offered,
}

/// What a request asks for beyond what its subject brings.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// How long the token should live.
    pub lifetime: Option<Duration>,
    /// PEP 807 features, by name.
    pub features: Vec<String>,
    /// More caveats.
    pub caveats: Vec<Caveat<'static>>,
    /// The projects that a publisher's token should be narrowed to, by their PEP
    /// 503 names. Empty: all.
    pub projects: Vec<String>,
}

/// Why there is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// Not a feature, or not one of this index's.
    #[error("this index does not offer the feature \"{feature}\"")]
    FeatureUnsupported {
        /// The feature.
        feature: String,
    },
    /// Both features at once.
    #[error("\"single-use-token\" and \"multi-use-token\" contradict each other")]
    FeaturesContradict,
    /// Out of bounds.
    #[error("the lifetime must {}", bounds(.min, .max))]
    Lifetime {
        /// The shortest.
        min: Duration,
        /// The longest; none: no bound.
        max: Option<Duration>,
    },
    /// Too many wanted projects.
    #[error("{wanted} projects are wanted, and a token can name {most}")]
    TooManyProjects {
        /// How many are wanted.
        wanted: usize,
        /// How many may be.
        most: usize,
    },
    /// An extended caveat where the index has not switched them on.
    #[error("this index does not offer the caveat with tag {tag}")]
    CaveatNotOffered {
        /// The tag.
        tag: u8,
    },
    /// A count without an end.
    #[error("a limit of uses needs a token with an expiration")]
    UsesWithoutEnd,
    /// The publisher has no project, or none of the wanted ones.
    #[error("{}", no_project(.wanted))]
    NoEligibleProject {
        /// The projects that were wanted.
        wanted: Vec<String>,
    },
}

/// What a token will be good for. Holding one proves that the index grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    scope: Vec<Caveat<'static>>,
    lifetime: Option<Duration>,
    /// From the request on, no end is later than this.
    latest: Option<Duration>,
    added: Vec<Caveat<'static>>,
    /// The feature in force.
    pub feature: Feature,
    /// The projects that the token is good for; empty where that is decided
    /// when it is used, and for a user's token.
    pub projects: Vec<Project>,
}

/// A wish that the policy allows, whoever's it is: everything that can be said
/// before the credential is looked at.
#[derive(Clone, Debug)]
pub struct AllowedWish {
    lifetime: Option<Duration>,
    feature: Feature,
    caveats: Vec<Caveat<'static>>,
    projects: Vec<String>,
}

impl GrantPolicy {
    /// Holds a publisher's wish against the policy.
    pub fn allow_publisher(&self, wish: Wish) -> Result<AllowedWish, GrantRefused> {
        let (min, max) = self.publisher_bounds();
        let lifetime = wish.lifetime.unwrap_or(self.lifetime.clamp(min, max));
        if wish.projects.len() > self.max_embedded_projects {
            return Err(GrantRefused::TooManyProjects {
                wanted: wish.projects.len(),
                most: self.max_embedded_projects,
            });
        }
        self.allow(wish, Some(lifetime), (min, Some(max)), &self.default_features)
    }

    /// Holds a user's wish against the policy. Without a lifetime the token has
    /// no end, unless the index sets a longest one.
    pub fn allow_user(&self, wish: Wish) -> Result<AllowedWish, GrantRefused> {
        let bounds = (self.min_lifetime.unwrap_or(Duration::from_secs(1)), self.max_lifetime);
        let lifetime = wish.lifetime.or(self.max_lifetime);
        self.allow(wish, lifetime, bounds, &[Feature::MultiUse])
    }

    /// PEP 807's bounds, drawn closer where the index's configuration does.
    fn publisher_bounds(&self) -> (Duration, Duration) {
        let within = |bound: Duration| bound.clamp(MIN_PUBLISHER_LIFETIME, MAX_PUBLISHER_LIFETIME);
        let max = within(self.max_lifetime.unwrap_or(MAX_PUBLISHER_LIFETIME));
        (within(self.min_lifetime.unwrap_or(MIN_PUBLISHER_LIFETIME)).min(max), max)
    }

    fn allow(
        &self,
        wish: Wish,
        lifetime: Option<Duration>,
        (min, max): (Duration, Option<Duration>),
        default_features: &[Feature],
    ) -> Result<AllowedWish, GrantRefused> {
        let feature = self.feature(&wish.features, default_features)?;
        if lifetime.is_some_and(|asked| asked < min || max.is_some_and(|max| asked > max)) {
            return Err(GrantRefused::Lifetime { min, max });
        }
        let mut caveats = wish.caveats;
        if let Some(refused) = caveats.iter().find(|caveat| !self.offered.includes(caveat)) {
            return Err(GrantRefused::CaveatNotOffered { tag: refused.tag() });
        }
        if feature == Feature::SingleUse {
            caveats.insert(0, Caveat::Uses { nonce: "".into(), count: 1 });
        }
        let counted = caveats.iter().any(|caveat| matches!(caveat, Caveat::Uses { .. }));
        let ends = caveats.iter().any(|caveat| matches!(caveat, Caveat::Expiration { .. }));
        if counted && lifetime.is_none() && !ends {
            return Err(GrantRefused::UsesWithoutEnd);
        }
        Ok(AllowedWish { lifetime, feature, caveats, projects: wish.projects })
    }

    fn feature(&self, asked: &[String], defaults: &[Feature]) -> Result<Feature, GrantRefused> {
        let asked = asked.iter().map(|name| name.parse()).collect::<Result<Vec<Feature>, _>>()?;
        if let Some(missing) = asked.iter().find(|feature| !self.features.contains(feature)) {
            return Err(GrantRefused::FeatureUnsupported { feature: missing.to_string() });
        }
        let wanted = if asked.is_empty() { defaults } else { &asked };
        match (wanted.contains(&Feature::SingleUse), wanted.contains(&Feature::MultiUse)) {
            (true, true) => Err(GrantRefused::FeaturesContradict),
            (true, false) => Ok(Feature::SingleUse),
            (false, _) => Ok(Feature::MultiUse),
        }
    }
}

impl Grant {
    /// A publisher's token: tag 4, then its scope.
    pub fn for_publisher(
        publisher: &Publisher,
        wish: AllowedWish,
        max_embedded_projects: usize,
    ) -> Result<Self, GrantRefused> {
        let mut scope = vec![Caveat::PublisherId(publisher.id.clone().into())];
        let projects = if publisher.projects_at_use {
            named(&wish.projects, &mut scope)
        } else {
            listed(&publisher.projects, &wish.projects, max_embedded_projects, &mut scope)?
        };
        let latest = Some(MAX_PUBLISHER_LIFETIME);
        Ok(Self { latest, ..Self::of(scope, wish, projects) })
    }

    /// A user's token: tag 3.
    pub fn for_user(user_id: &str, wish: AllowedWish) -> Self {
        Self::of(vec![Caveat::UserId(user_id.to_owned().into())], wish, Vec::new())
    }

    fn of(scope: Vec<Caveat<'static>>, wish: AllowedWish, projects: Vec<Project>) -> Self {
        Self {
            scope,
            lifetime: wish.lifetime,
            latest: None,
            added: wish.caveats,
            feature: wish.feature,
            projects,
        }
    }

    /// The caveats in the order in which they are written: Warehouse's, then
    /// what the request added.
    pub fn caveats(&self, seed: &Seed) -> Vec<Caveat<'static>> {
        let mut caveats = self.scope.clone();
        let interval = |lifetime| interval(lifetime, self.latest, seed.minted_at);
        caveats.extend(self.lifetime.map(interval));
        caveats.extend(finish(self.added.clone(), &seed.nonce_bits));
        caveats
    }
}

/// From a little before the request until its lifetime has passed in full, in whole
/// seconds: PEP 807 forbids an end less than 900 s from the request, and one more than
/// 21,600 s from it.
fn interval(lifetime: Duration, latest: Option<Duration>, minted_at: Timestamp) -> Caveat<'static> {
    let seconds = lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let expires_at = minted_at.seconds_ceil().saturating_add(seconds);
    let latest = latest.map_or(i64::MAX, |latest| minted_at.plus(latest).seconds());
    Caveat::Expiration {
        expires_at: expires_at.min(latest),
        not_before: minted_at.minus(CLOCK_SLACK).seconds(),
    }
}

/// The scope of a publisher whose projects are looked up at use: tag 4 has it
/// already, and wanted projects go in by name.
fn named(wanted: &[String], scope: &mut Vec<Caveat<'static>>) -> Vec<Project> {
    if wanted.is_empty() {
        return Vec::new();
    }
    scope.push(Caveat::ProjectNames(wanted.iter().cloned().map(Into::into).collect()));
    wanted.iter().map(|name| Project { id: String::new(), name: name.clone() }).collect()
}

/// The scope of a publisher with a list: the ids of what is wanted, or of all
/// while they are few enough; beyond that tag 4 alone.
fn listed(
    projects: &[Project],
    wanted: &[String],
    most: usize,
    scope: &mut Vec<Caveat<'static>>,
) -> Result<Vec<Project>, GrantRefused> {
    if wanted.is_empty() && projects.len() > most {
        return Ok(Vec::new());
    }
    let names: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    let mut room = String::new();
    let is_wanted = |project: &&Project| {
        wanted.is_empty()
            || ProjectName::parse_in(&project.name, &mut room)
                .is_ok_and(|name| names.contains(name.as_str()))
    };
    let chosen: Vec<Project> = projects.iter().filter(is_wanted).take(most).cloned().collect();
    if chosen.is_empty() {
        return Err(GrantRefused::NoEligibleProject { wanted: wanted.to_vec() });
    }
    let ids = chosen.iter().map(|project| project.id.clone().into()).collect();
    scope.push(Caveat::ProjectIds(ids));
    Ok(chosen)
}

fn no_project(wanted: &[String]) -> String {
    match wanted {
        [] => "the publisher is registered to no project".to_owned(),
        [one] => {
            format!("the publisher is not registered to the project \"{}\"", shortened(one))
        }
        [first, rest @ ..] => format!(
            "the publisher is registered to none of \"{}\" and {} more",
            shortened(first),
            rest.len()
        ),
    }
}

fn shown(lifetime: &Duration) -> String {
    match lifetime.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

fn bounds(min: &Duration, max: &Option<Duration>) -> String {
    match max {
        None => format!("be at least {}", shown(min)),
        Some(max) if min == max => format!("be exactly {}", shown(max)),
        Some(max) => format!("lie between {} and {}", shown(min), shown(max)),
    }
}

/// Names come from strangers; real ones are shorter.
fn shortened(name: &str) -> String {
    name.chars().filter(|one| !one.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests;
