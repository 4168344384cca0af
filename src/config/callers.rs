//! Which services may call, and what each of them may do.
//!
//! ```toml
//! [[callers]]
//! name = "web"
//! token_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! may = ["mint-publisher", "verify"]
//! ```
//!
//! A caller proves itself by a bearer token, or by the name in its client certificate:
//! `san = "web.index.internal"` or `san = "spiffe://index.internal/web"`, which needs
//! `client_ca_file` in `[server.tls]`. With both, it must bring both.
//!
//! `may` takes `mint-publisher`, `mint-user`, `verify`, `attenuate` and
//! `revoke`. `indexes = ["pypi"]` keeps a caller to those; without it, it may
//! call for all.

use std::collections::BTreeSet;

use crate::service::{Caller, Proof, Right, San};

use super::reader::{Found, Read, Section, printable, string};

/// SHA-256 of nothing: somebody hashed a variable that was empty.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Whoever reaches the port: loopback, or a mesh that decides.
    Anonymous,
    /// These, each by its proof; never empty.
    Known(Vec<KnownCaller>),
}

/// A service that calls, and what it proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCaller {
    /// What it must show. Nobody else has its token, and of those without a token
    /// nobody else its name in a certificate.
    pub proof: Proof,
    /// Who it is (its name is unique) and what it may do.
    pub caller: Caller,
}

/// What callers may be configured with.
pub(super) struct Known<'a> {
    /// The names of all configured indexes.
    pub(super) indexes: &'a BTreeSet<String>,
    /// Whether clients are asked for certificates.
    pub(super) certificates: bool,
}

/// Reads `[[callers]]`.
pub(super) fn read(sections: Vec<Section<'_>>, known: &Known<'_>) -> Vec<KnownCaller> {
    let (mut callers, mut names) = (Vec::<KnownCaller>::new(), BTreeSet::new());
    for mut section in sections {
        let name = section.required("name", printable(128));
        let proof = proof(&mut section, known.certificates);
        let may = rights(&mut section);
        let indexes = only_indexes(&mut section, known.indexes);
        if name.clone().is_some_and(|name| !names.insert(name)) {
            section.wrong("name", "is the name of another caller too");
        }
        if let Some((key, other)) = proof.as_ref().and_then(|proof| taken(proof, &callers)) {
            section.wrong(key, format!("is that of the caller \"{}\" too", other.caller.name));
        }
        section.end();
        if let (Some(name), Some(proof)) = (name, proof) {
            callers.push(KnownCaller { proof, caller: Caller { name, may, indexes } });
        }
    }
    callers
}

/// A token, a certificate's name, or both.
fn proof(section: &mut Section<'_>, certificates: bool) -> Option<Proof> {
    let (by_token, by_san) = (section.has(TOKEN), section.has(SAN));
    if !by_token && !by_san {
        section.wrong(TOKEN, "is missing, and so is san: one of them must be there");
    }
    if by_san && !certificates {
        section.wrong(SAN, "needs client_ca_file in [server.tls]: no client shows a certificate");
    }
    let token = section.optional(TOKEN, sha256);
    let san = section.optional(SAN, |found| {
        San::parse(&string(found)?).map_err(|unreadable| unreadable.to_string())
    });
    match (token, san) {
        (Some(token), Some(san)) => Some(Proof::Both(token, san)),
        (Some(token), None) if !by_san => Some(Proof::Token(token)),
        (None, Some(san)) if !by_token => Some(Proof::San(san)),
        _ => None,
    }
}

/// The caller who proves itself by the same already, and which key says so.
fn taken<'a>(proof: &Proof, callers: &'a [KnownCaller]) -> Option<(&'static str, &'a KnownCaller)> {
    let same_token = |other: &&KnownCaller| {
        proof.token_sha256().is_some_and(|token| other.proof.token_sha256() == Some(token))
    };
    let same_san = |other: &&KnownCaller| matches!(proof, Proof::San(_)) && other.proof == *proof;
    let by_token = callers.iter().find(same_token).map(|other| (TOKEN, other));
    by_token.or_else(|| callers.iter().find(same_san).map(|other| (SAN, other)))
}

const TOKEN: &str = "token_sha256";
const SAN: &str = "san";

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
