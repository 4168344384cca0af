//! Upload tokens by how many project ids stand in them.
//!
//! The text of a token ends at 16 KiB, where about 1,000 of these ids (and 300
//! UUIDs) fit. Beyond that no token can be read or written; what lies below the
//! text is measured all the same, since it is to grow with the bytes and no faster.

use std::error::Error;

use hmac::{Hmac, KeyInit as _, Mac as _};
use mintage::{
    caveat::{Access, AccessProject, Action, Offered, clear, judge, read},
    grant::Wish,
    macaroon::{Identifier, Macaroon, RootKey, Subject, VerifiedMacaroon},
    publisher::Publisher,
};
use sha2::{Digest as _, Sha256};

use super::{
    SIZES,
    fixture::{Fixture, INDEX, NOW, grant, policy, publisher},
    harness::{Broken, Cost, Effort},
    table::Row,
};

const CLEAR: &str = "clear: every caveat read and held";

/// Every row, the bare limits last.
pub(super) fn rows(fixture: &Fixture, effort: Effort) -> Result<Vec<Row>, Box<dyn Error>> {
    let samples: Vec<Sample> = SIZES
        .iter()
        .map(|size| Sample::new(fixture, *size))
        .collect::<Option<_>>()
        .ok_or("no upload token could be minted")?;
    let all = |operation, measure: &dyn Fn(&Sample) -> Result<Option<Cost>, Broken>| {
        let costs = samples.iter().map(measure).collect::<Result<_, _>>();
        costs.map(|costs| Row { operation, costs })
    };
    let each = |operation, holds: &dyn Fn(&Sample) -> bool| {
        all(operation, &|sample| effort.measure(operation, || holds(sample)).map(Some))
    };
    let each_text = |operation, holds: &dyn Fn(&Sample, &str) -> bool| {
        all(operation, &|sample| {
            let measured = |text| effort.measure(operation, || holds(sample, text));
            sample.text.as_deref().map(measured).transpose()
        })
    };
    Ok(vec![
        each("mint: publisher → grant → macaroon", &|sample| sample.mint(fixture).is_some())?,
        each_text("write: macaroon → text", &|sample, _| {
            sample.macaroon.write(&fixture.prefix).is_ok()
        })?,
        each_text("decode: text → macaroon", &|_, text| {
            Macaroon::read(text, &fixture.prefix).is_ok()
        })?,
        each("verify: root key, HMAC chain", &|sample| {
            verified(fixture, &sample.macaroon).is_some()
        })?,
        all(CLEAR, &|sample| {
            let verified = sample.macaroon.verify(&sample.root_key).map_err(|_| Broken(CLEAR))?;
            effort.measure(CLEAR, || sample.allows(verified)).map(Some)
        })?,
        each_text("decode + verify + clear", &|sample, text| {
            Macaroon::read(text, &fixture.prefix).is_ok_and(|macaroon| {
                verified(fixture, &macaroon).is_some_and(|verified| sample.allows(verified))
            })
        })?,
        each("the ids' caveat alone: read, clear", &|sample| {
            read(&sample.predicate).is_ok_and(|caveat| clear(&caveat, &sample.access()).is_ok())
        })?,
        each("bare: serde_json of that caveat", &|sample| {
            serde_json::from_slice::<(u8, Vec<&str>)>(&sample.predicate)
                .is_ok_and(|(tag, ids)| tag == 2 && !ids.is_empty())
        })?,
        each("bare: HMAC chain of four, same bytes", &|sample| sample.bare_chain())?,
        each("bare: SHA-256, same bytes", &|sample| {
            Sha256::digest(&sample.bytes) != Sha256::digest([])
        })?,
    ])
}

/// A token, and an upload that it allows: to the last of its projects.
struct Sample {
    publisher: Publisher,
    macaroon: Macaroon,
    /// None: it does not fit.
    text: Option<String>,
    root_key: RootKey,
    /// The caveat with the ids, as it stands in the token.
    predicate: Vec<u8>,
    /// What its chain signs: the identifier and the caveats.
    links: Vec<Vec<u8>>,
    /// The same in one piece.
    bytes: Vec<u8>,
    subject: Subject,
    action: Action,
    publisher_ids: Vec<String>,
}

impl Sample {
    fn new(fixture: &Fixture, projects: usize) -> Option<Self> {
        let publisher = publisher(1, projects);
        let macaroon = mint(fixture, &publisher)?;
        let key = fixture.keyring.key(fixture.keyring.current())?;
        let caveats: Vec<_> = macaroon
            .unverified_caveats()
            .map(|one| match one {
                mintage::macaroon::Embedded::FirstParty(bytes) => Some(bytes.to_vec()),
                mintage::macaroon::Embedded::ThirdParty { .. } => None,
            })
            .collect::<Option<_>>()?;
        let predicate = caveats.get(1)?.clone();
        let links = [vec![macaroon.identifier().to_vec()], caveats].concat();
        Some(Self {
            text: macaroon.write(&fixture.prefix).ok(),
            root_key: key.root_key(INDEX, macaroon.identifier()),
            predicate,
            bytes: links.concat(),
            links,
            subject: Subject::publisher(&publisher.id).ok()?,
            action: Action::parse("upload").ok()?,
            publisher_ids: vec![publisher.id.clone()],
            publisher,
            macaroon,
        })
    }

    fn mint(&self, fixture: &Fixture) -> Option<Macaroon> {
        mint(fixture, &self.publisher)
    }

    fn access(&self) -> Access<'_> {
        let last = self.publisher.projects.last();
        Access {
            now: NOW,
            subject: &self.subject,
            action: self.action.clone(),
            project: last.map(|project| AccessProject {
                id: Some(&project.id),
                name: "sample-project".to_owned(),
            }),
            publisher_ids: &self.publisher_ids,
            version: None,
            filename: None,
            sha256: None,
            client_ip: None,
        }
    }

    fn allows(&self, macaroon: VerifiedMacaroon<'_>) -> bool {
        judge(macaroon, &[], &self.access(), Offered::Extended).denials.is_empty()
    }

    fn bare_chain(&self) -> bool {
        let mut link = [0; 32];
        for bytes in &self.links {
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&link) else { return false };
            mac.update(bytes);
            link = mac.finalize().into_bytes().into();
        }
        link != [0; 32]
    }
}

/// With every id in the token.
fn mint(fixture: &Fixture, publisher: &Publisher) -> Option<Macaroon> {
    let policy = policy(publisher.projects.len());
    fixture.mint(publisher, &grant(publisher, &policy, Wish::default())?)
}

/// As the service finds a token's root key.
fn verified<'m>(fixture: &Fixture, macaroon: &'m Macaroon) -> Option<VerifiedMacaroon<'m>> {
    let identifier = Identifier::parse(macaroon.identifier()).ok()?;
    let key = fixture.keyring.key(identifier.key_id())?;
    macaroon.verify(&key.root_key(INDEX, macaroon.identifier())).ok()
}
