//! Which services may call, and what each of them may do.
//!
//! ```toml
//! [[callers]]
//! name = "web"
//! token_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! may = ["mint-publisher", "verify"]
//! ```
//!
//! `may` takes `mint-publisher`, `mint-user`, `verify`, `attenuate` and
//! `revoke`. `indexes = ["pypi"]` keeps a caller to those; without it, it may
//! call for all.

use std::collections::BTreeSet;

use crate::service::{Caller, Right};

use super::reader::{Found, Read, Section, printable, string};

/// SHA-256 of nothing: somebody hashed a variable that was empty.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Whoever reaches the port: loopback, or a mesh that decides.
    Anonymous,
    /// These, each by its bearer token; never empty.
    Known(Vec<KnownCaller>),
}

/// A service that calls, and what it proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCaller {
    /// SHA-256 of its bearer token; unique.
    pub token_sha256: [u8; 32],
    /// Who it is (its name is unique) and what it may do.
    pub caller: Caller,
}

/// Reads `[[callers]]`. `indexes`: the names of all configured indexes.
pub(super) fn read(sections: Vec<Section<'_>>, indexes: &BTreeSet<String>) -> Vec<KnownCaller> {
    let (mut callers, mut names) = (Vec::<KnownCaller>::new(), BTreeSet::new());
    for mut section in sections {
        let name = section.required("name", printable(128));
        let token_sha256 = section.required("token_sha256", sha256);
        let may = rights(&mut section);
        let indexes = only_indexes(&mut section, indexes);
        if name.clone().is_some_and(|name| !names.insert(name)) {
            section.wrong("name", "is the name of another caller too");
        }
        if let Some(other) = callers.iter().find(|one| token_sha256 == Some(one.token_sha256)) {
            section.wrong(
                "token_sha256",
                format!("is that of the caller \"{}\" too", other.caller.name),
            );
        }
        section.end();
        if let (Some(name), Some(token_sha256)) = (name, token_sha256) {
            callers.push(KnownCaller { token_sha256, caller: Caller { name, may, indexes } });
        }
    }
    callers
}

fn rights(section: &mut Section<'_>) -> BTreeSet<Right> {
    if !section.has("may") {
        section.wrong("may", "is missing");
    }
    section
        .filled_list("may", |found| {
            string(found)?.parse::<Right>().map_err(|_| {
                let names = Right::ALL.map(|right| format!("{:?}", right.name())).join(", ");
                format!("must be one of {names}")
            })
        })
        .into_iter()
        .flatten()
        .collect()
}

fn only_indexes(section: &mut Section<'_>, known: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let listed = section.filled_list("indexes", |found| {
        let name = string(found)?;
        if known.contains(&name) {
            Ok(name)
        } else {
            Err(format!("names the index {name:?}, which is not configured"))
        }
    })?;
    Some(listed.into_iter().collect())
}

/// 64 hexadecimal digits. What was found is not repeated: it might be the token.
fn sha256(found: &Found<'_>) -> Read<[u8; 32]> {
    let text = string(found)?.to_ascii_lowercase();
    if text == HASH_OF_NOTHING {
        return Err("is the SHA-256 of an empty token".to_owned());
    }
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let bytes: Option<Vec<u8>> = digits.map(|digits| {
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
    });
    bytes
        .filter(|_| text.len() == 64)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "must be a SHA-256 in 64 hexadecimal digits".to_owned())
}
