//! `mintage smoke`: what is asked of a running service, and how the answers look.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{Failed, print};
use crate::{
    config::duration,
    paint,
    smoke::{self, Asked, Bearer, OwnCertificate, Step, Tls, Tokens},
};

/// Longest file with a caller's token, in bytes: more than any header may have.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

#[derive(Args)]
pub(super) struct Smoke {
    /// Where the service is: http://HOST:PORT, or https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    address: String,
    /// Ask for its health, and for nothing else.
    #[arg(long)]
    health_only: bool,
    /// The index whose tokens are minted. Needed where the service has several.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    index: String,
    /// A file with the token of a caller who may mint-user and verify.
    #[arg(long, value_name = "FILE", conflicts_with = "health_only")]
    token_file: Option<PathBuf>,
    /// How long the minted token lives: as short as the index allows.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration::parse)]
    lifetime: Duration,
    /// With https: the authorities of the service's certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// With https: a client's certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "ca_file", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// With https: its key, in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
    /// How long any one answer may take.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,
}

impl Smoke {
    pub(super) fn run(self) -> Result<(), Failed> {
        let asked = self.asked()?;
        let steps = smoke::run(&asked).map_err(|failed| Failed::one(failed.to_string()))?;
        let wrong = steps.iter().filter(|step| !step.held).count();
        print(&table(steps))?;
        match wrong {
            0 => Ok(()),
            _ => Err(Failed::one(format!("{wrong} of these answers should have been others"))),
        }
    }

    fn asked(self) -> Result<Asked, Failed> {
        let own = self.certificate_file.zip(self.key_file);
        let own = own.map(|(certificate, key)| OwnCertificate { certificate, key });
        let caller = self.token_file.as_deref().map(bearer).transpose()?;
        let (index, lifetime) = (self.index, self.lifetime);
        Ok(Asked {
            address: self.address,
            tls: self.ca_file.map(|ca| Tls { ca, own }),
            patience: self.timeout,
            tokens: (!self.health_only).then_some(Tokens { index, caller, lifetime }),
        })
    }
}

/// The token, without white space around it. No message repeats it.
fn bearer(path: &Path) -> Result<Bearer, Failed> {
    let wrong = |what: &str| Failed::one(format!("{} {what}", path.display()));
    let unreadable = |error| wrong(&format!("can't be read: {error}"));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_TOKEN_BYTES {
        return Err(wrong("is longer than 16 KiB, so it holds no caller's token"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    match text.trim() {
        "" => Err(wrong("is empty")),
        token => Bearer::new(token).ok_or_else(|| wrong("holds what no header can")),
    }
}

fn table(steps: Vec<Step>) -> String {
    let row = |step: Step| {
        let mark = if step.held { "yes" } else { "NO" };
        [step.what.to_owned(), step.wanted.to_owned(), step.found, mark.to_owned()]
    };
    paint::table(["asked", "expected", "answer", "good"], steps.into_iter().map(row).collect())
}
