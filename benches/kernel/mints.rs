//! Mints by how many projects the publisher has: the kernel's whole way from an
//! ID token to an upload token, and its last part alone.
//!
//! Up to 50 ids stand in the token; beyond, the publisher alone does.

use std::error::Error;

use mintage::{
    grant::{GrantPolicy, Wish},
    oidc::UnverifiedIdToken,
    publisher::{self, Publisher},
};

use super::{
    SIZES,
    fixture::{Fixture, INDEX, NOW, grant, policy, publisher},
    harness::{Broken, Effort},
    table::Row,
};

/// The default of `max_embedded_projects`.
const EMBEDDED: usize = 50;

/// Every row.
pub(super) fn rows(fixture: &Fixture, effort: Effort) -> Result<Vec<Row>, Box<dyn Error>> {
    let policy = policy(EMBEDDED);
    let listed: Vec<_> = SIZES.iter().map(|size| vec![publisher(1, *size)]).collect();
    let at_use: Vec<_> = SIZES
        .iter()
        .map(|size| vec![Publisher { projects_at_use: true, ..publisher(1, *size) }])
        .collect();
    let all = |operation, samples: &[Vec<Publisher>], holds: &dyn Fn(&[Publisher]) -> bool| {
        let measured = |sample: &Vec<Publisher>| effort.measure(operation, || holds(sample));
        let costs = samples.iter().map(|sample| measured(sample).map(Some));
        Ok::<_, Broken>(Row { operation, costs: costs.collect::<Result<_, _>>()? })
    };
    let way = Way { fixture, policy: &policy };
    Ok(vec![
        all("ID token → upload token", &listed, &|candidates| {
            way.whole(candidates, Wish::default()).is_some()
        })?,
        all("grant → upload token", &listed, &|candidates| {
            candidates.first().and_then(|one| way.rest(one, Wish::default())).is_some()
        })?,
        all("… with one project wanted", &listed, &|candidates| {
            let last = candidates.first().and_then(|one| one.projects.last());
            let name = last.map(|project| project.name.to_lowercase().replace('.', "-"));
            let wish = Wish { projects: name.into_iter().collect(), ..Wish::default() };
            candidates.first().and_then(|one| way.rest(one, wish)).is_some()
        })?,
        all("… with projects_at_use", &at_use, &|candidates| {
            candidates.first().and_then(|one| way.rest(one, Wish::default())).is_some()
        })?,
    ])
}

struct Way<'a> {
    fixture: &'a Fixture,
    policy: &'a GrantPolicy,
}

impl Way<'_> {
    fn whole(&self, candidates: &[Publisher], wish: Wish) -> Option<String> {
        let Fixture { issuer, key, id_token, .. } = self.fixture;
        let id_token = UnverifiedIdToken::parse(id_token).ok()?.verify(issuer, key).ok()?;
        let claims = id_token.accept(issuer, INDEX, NOW).ok()?;
        self.rest(publisher::find(&claims, candidates).ok()?, wish)
    }

    fn rest(&self, publisher: &Publisher, wish: Wish) -> Option<String> {
        let grant = grant(publisher, self.policy, wish)?;
        self.fixture.mint(publisher, &grant)?.write(&self.fixture.prefix).ok()
    }
}
