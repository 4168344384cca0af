//! `mintage token attenuate`: a narrower token, made offline.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use clap::{ArgGroup, Args};
use ipnet::IpNet;
use pep440_rs::Version;
use sha2::{Digest as _, Sha256};

use crate::{
    caveat::{self, Caveat, Unaskable},
    cli::{Failed, print},
    clock::Timestamp,
    config::duration,
    macaroon::{Embedded, Macaroon, TokenPrefix},
    paint::{CARE, FAINT},
    publisher::ProjectName,
    world,
};

use super::{TokenSource, words};

/// The restrictions to add. Those of tags 64 and up are Mintage's own: an index
/// takes them where its configuration says `extended_caveats = true`, and any
/// other index denies a token that holds one.
#[derive(Args)]
#[command(
    override_usage = "mintage token attenuate <RESTRICTIONS> [TOKEN]",
    after_help = EXAMPLE,
)]
#[command(group = ArgGroup::new("restriction").required(true).multiple(true).args([
    "expires_in", "expires_at", "project", "version", "file", "filename", "sha256", "action",
    "client_network", "uses",
]))]
pub(in crate::cli) struct Attenuate {
    #[command(flatten)]
    token: TokenSource,

    /// Ends after this time: 15m, 90s, 1h30m.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, conflicts_with = "expires_at",
          help_heading = "Restrictions that every index knows")]
    expires_in: Option<Duration>,
    /// Ends at this moment: 2026-11-21T12:00:00Z, or Unix seconds.
    #[arg(long, value_name = "MOMENT", value_parser = moment,
          help_heading = "Restrictions that every index knows")]
    expires_at: Option<i64>,
    /// Only for this project, by its name in any spelling.
    #[arg(long, value_name = "NAME", help_heading = "Restrictions that every index knows")]
    project: Vec<String>,

    /// Only for this file: its SHA-256, its name, and the project and version
    /// that its name says.
    #[arg(long, value_name = "PATH", help_heading = EXTENDED)]
    file: Vec<PathBuf>,
    /// Only for this version, in any spelling that PEP 440 takes for it.
    #[arg(long, value_name = "VERSION", help_heading = EXTENDED)]
    version: Vec<String>,
    /// Only for a file of this name.
    #[arg(long, value_name = "NAME", help_heading = EXTENDED)]
    filename: Vec<String>,
    /// Only for a file with this SHA-256, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = sha256, help_heading = EXTENDED)]
    sha256: Vec<Sha256Digest>,
    /// Only for this action, such as upload.
    #[arg(long, value_name = "ACTION", help_heading = EXTENDED)]
    action: Vec<String>,
    /// Only from this network or address: `192.0.2.0/24` or `2001:db8::1`.
    #[arg(long, value_name = "NETWORK", help_heading = EXTENDED)]
    client_network: Vec<String>,
    /// Good for so many uses. The token needs an end for it.
    #[arg(long, value_name = "COUNT", help_heading = EXTENDED)]
    uses: Option<u32>,
}

const EXTENDED: &str = "Restrictions that an index knows with extended_caveats (tags 64 and up)";

const EXAMPLE: &str = "Example, a token for one file and a quarter of an hour:
  mintage token attenuate --expires-in 15m --file dist/sample-1.0.tar.gz < token";

type Sha256Digest = [u8; 32];

impl Attenuate {
    pub(super) fn run(mut self) -> Result<(), Failed> {
        for path in std::mem::take(&mut self.file) {
            self.add_file(&path)?;
        }
        let now = world::now();
        let asked = self.caveats(now)?;
        let text = self.token.read()?;
        let (macaroon, prefix) = read(&text)?;
        if self.uses.is_some() && !has_end(&macaroon, &asked) {
            return Err(Failed::one(
                "a number of uses needs an end: add --expires-in or --expires-at",
            ));
        }
        let random =
            world::random().ok_or_else(|| Failed::one("the system has no random bytes to give"))?;
        let narrower = narrow(macaroon, asked, &random, &prefix)?;
        print(&format!("{narrower}\n"))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Failed> {
        let cant = |cause: String| Failed::one(format!("{}: {cause}", path.display()));
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| cant("has no name that an index could know".to_owned()))?;
        let digest = digest(path).map_err(|error| cant(format!("can't be read: {error}")))?;
        match release(name) {
            Some((project, version)) => {
                self.project.push(project.as_str().to_owned());
                self.version.push(version.to_string());
            }
            None => anstream::eprintln!(
                "{CARE}note:{CARE:#} {name} is not named like a wheel or an sdist, so neither its \
                 project nor its version is known"
            ),
        }
        self.filename.push(name.to_owned());
        self.sha256.push(digest);
        Ok(())
    }

    /// One caveat for each kind of restriction that was asked for.
    fn caveats(&mut self, now: Timestamp) -> Result<Vec<Caveat<'static>>, Failed> {
        for name in &mut self.project {
            // What is no name is refused below, with the others.
            if let Ok(normal) = ProjectName::parse(name) {
                *name = normal.as_str().to_owned();
            }
        }
        for list in [&mut self.project, &mut self.version, &mut self.filename, &mut self.action] {
            unique(list);
        }
        let end = self.expires_in.map(|time| now.plus(time).seconds_ceil()).or(self.expires_at);
        if end.is_some_and(|end| end <= now.seconds()) {
            return Err(Failed::one("the token would be over already: choose a later end"));
        }
        let projects = self.project.iter().map(String::as_str);
        let versions = self.version.iter().map(String::as_str);
        let filenames = self.filename.iter().map(String::as_str);
        let actions = self.action.iter().map(String::as_str);
        let networks: Vec<String> = self.client_network.iter().map(|text| network(text)).collect();
        let asked = [
            end.map(|end| Caveat::expiration(0, end)),
            any(&self.project).then(|| Caveat::project_names(projects)),
            any(&self.version).then(|| Caveat::versions(versions)),
            any(&self.filename).then(|| Caveat::filenames(filenames)),
            any(&self.sha256).then(|| Caveat::digests(self.sha256.iter().map(|one| &one[..]))),
            any(&self.action).then(|| Caveat::actions(actions)),
            any(&networks).then(|| Caveat::client_networks(networks.iter().map(String::as_str))),
            self.uses.map(Caveat::uses),
        ];
        asked
            .into_iter()
            .flatten()
            .collect::<Result<_, Unaskable>>()
            .map_err(|unaskable| Failed::one(unaskable.to_string()))
    }
}

fn read(text: &str) -> Result<(Macaroon, TokenPrefix), Failed> {
    let hint = "`mintage token inspect` says more";
    let prefix = TokenPrefix::of(text).map_err(|_| {
        Failed::one(format!("this is no upload token: it has no prefix such as \"pypi-\"; {hint}"))
    })?;
    let macaroon =
        Macaroon::read(text, &prefix).map_err(|error| Failed::one(format!("{error}; {hint}")))?;
    Ok((macaroon, prefix))
}

fn narrow(
    mut macaroon: Macaroon,
    asked: Vec<Caveat<'static>>,
    random: &[u8; 16],
    prefix: &TokenPrefix,
) -> Result<String, Failed> {
    let too_large = |error| Failed::one(format!("with these restrictions, {error}"));
    for caveat in caveat::finish(asked, random) {
        macaroon.attenuate(&caveat.write()).map_err(too_large)?;
        if io::stderr().is_terminal() {
            let says = words::says(&caveat);
            anstream::eprintln!("{FAINT}added: {says}{FAINT:#}");
        }
    }
    macaroon.write(prefix).map_err(too_large)
}

/// Whether the token ends, or will.
fn has_end(macaroon: &Macaroon, asked: &[Caveat<'_>]) -> bool {
    let ends = |caveat: &Caveat<'_>| matches!(caveat, Caveat::Expiration { .. });
    let embedded = |embedded| match embedded {
        Embedded::FirstParty(predicate) => caveat::read(predicate).is_ok_and(|read| ends(&read)),
        Embedded::ThirdParty { .. } => false,
    };
    asked.iter().any(ends) || macaroon.unverified_caveats().any(embedded)
}

const fn any<T>(list: &[T]) -> bool {
    !list.is_empty()
}

fn unique(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

/// A lone address is the network of that address.
fn network(text: &str) -> String {
    text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |ip| IpNet::from(ip).to_string())
}

fn moment(text: &str) -> Result<i64, &'static str> {
    text.parse()
        .or_else(|_| jiff::Timestamp::from_str(text).map(jiff::Timestamp::as_second))
        .map_err(|_| "neither Unix seconds nor a moment such as 2026-11-21T12:00:00Z")
}

fn sha256(text: &str) -> Result<Sha256Digest, &'static str> {
    let wrong = "a SHA-256 has 64 hexadecimal digits";
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong);
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = text
            .get(2 * at..2 * at + 2)
            .map_or(Err(wrong), |pair| u8::from_str_radix(pair, 16).map_err(|_| wrong))?;
    }
    Ok(digest)
}

fn digest(path: &Path) -> io::Result<Sha256Digest> {
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Project and version, as the name of a wheel or an sdist has them.
fn release(name: &str) -> Option<(ProjectName<'_>, Version)> {
    let (project, version) = if let Some(wheel) = name.strip_suffix(".whl") {
        let mut parts = wheel.split('-');
        let named = (parts.next()?, parts.next()?);
        // Three tags follow, and perhaps a build number before them.
        if !(3..=4).contains(&parts.count()) {
            return None;
        }
        named
    } else {
        let stem = name.strip_suffix(".tar.gz").or_else(|| name.strip_suffix(".zip"))?;
        stem.rsplit_once('-')?
    };
    Some((ProjectName::parse(project).ok()?, Version::from_str(version).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_says_project_and_version_where_it_can() {
        for (name, expected) in [
            ("sample_package-1.0-py3-none-any.whl", Some(("sample-package", "1.0"))),
            (
                "sample_package-1.0-1-cp313-cp313-manylinux_2_28_x86_64.whl",
                Some(("sample-package", "1.0")),
            ),
            ("sample_package-1.0.tar.gz", Some(("sample-package", "1.0"))),
            ("old-style-name-1.0rc1.zip", Some(("old-style-name", "1.0rc1"))),
            ("sample-1.0.exe", None),
            ("sample.tar.gz", None),
            ("sample-latest.tar.gz", None),
            ("sample-1.0.whl", None),
            ("-1.0.tar.gz", None),
        ] {
            let found = release(name);
            let found = found.as_ref().map(|(name, version)| (name.as_str(), version.to_string()));
            let expected = expected.map(|(name, version)| (name, version.to_owned()));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn moments_and_digests_are_read_or_refused() {
        assert_eq!(moment("1795302469"), Ok(1_795_302_469));
        assert_eq!(moment("2026-11-21T23:07:49Z"), Ok(1_795_302_469));
        assert_eq!(moment("2026-11-22T00:07:49+01:00"), Ok(1_795_302_469));
        assert!(moment("tomorrow").is_err());
        assert_eq!(sha256(&"aB".repeat(32)), Ok([0xab; 32]));
        assert!(sha256(&"+1".repeat(32)).is_err());
        assert!(sha256("ab").is_err());
    }
}
