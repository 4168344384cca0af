//! `mintage token`: what a holder can do with an upload token offline, which is
//! to look at it and to narrow it.

mod attenuate;
mod inspect;
mod parts;
mod words;

use std::io::{IsTerminal as _, Read as _, stdin};

use clap::{Args, Subcommand};

use super::Failed;

/// More than any token, and enough to tell what somebody pasted instead.
const MAX_INPUT_BYTES: u64 = 64 * 1024;

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Say what an upload token holds, also of a damaged one.
    ///
    /// Shows whose it is, what it is restricted to, and whether it is still in
    /// time; of a damaged one, what is wrong with it and what can still be read.
    ///
    /// The signature is neither shown nor checked: checking takes the master key,
    /// which only the service has. So nothing that this says is proven.
    Inspect(inspect::Inspect),
    /// Add restrictions to an upload token and print the narrower one.
    ///
    /// Whoever holds a token can narrow it, without any key, and nobody can widen
    /// it again. Every option adds one restriction; an option given several times
    /// allows any of its values. The original token stays as good as it was.
    Attenuate(Box<attenuate::Attenuate>),
}

impl TokenCommand {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Inspect(command) => command.run(),
            Self::Attenuate(command) => command.run(),
        }
    }
}

#[derive(Args)]
struct TokenSource {
    /// The upload token. Better left out, or "-": it is read from standard input
    /// then, and does not stay in your shell's history.
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
}

impl TokenSource {
    /// The text, without white space around it.
    fn read(self) -> Result<String, Failed> {
        match self.token {
            Some(token) if token != "-" => Ok(token.trim().to_owned()),
            _ => from_stdin(),
        }
    }
}

fn from_stdin() -> Result<String, Failed> {
    let mut bytes = Vec::new();
    if stdin().is_terminal() {
        anstream::eprintln!("Paste the upload token and press Enter:");
        let mut line = String::new();
        stdin().read_line(&mut line).map_err(unreadable)?;
        bytes = line.into_bytes();
    } else {
        stdin().lock().take(MAX_INPUT_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    match String::from_utf8_lossy(&bytes).trim() {
        "" => Err(Failed::one("there is no upload token on standard input")),
        text => Ok(text.to_owned()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn unreadable(error: std::io::Error) -> Failed {
    Failed::one(format!("standard input can't be read: {error}"))
}
