//! The command line: what is said, which part of the program it means, and how
//! an answer looks to a person.
//!
//! What a command made goes to standard output, and nothing else does; what a
//! person should know beside it goes to standard error. Exit codes: 0 done,
//! 1 not done, 2 a wrong command line.

mod check;
mod keys;
mod smoke;
mod time;
mod token;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, builder::Styles};

use crate::{
    app,
    config::{Mistakes, Source},
    demo,
    paint::{self, BAD, HEAD, NAME},
    telemetry,
};

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(sentences)) => {
            for sentence in sentences {
                anstream::eprintln!("{BAD}error:{BAD:#} {sentence}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Why a command did not do what it was told: one sentence each. None, where
/// everything was said already.
#[derive(Debug)]
struct Failed(Vec<String>);

impl Failed {
    fn one(sentence: impl Into<String>) -> Self {
        Self(vec![sentence.into()])
    }

    /// The command's own output said it.
    fn said() -> Self {
        Self(Vec::new())
    }
}

/// What a command made goes to standard output; a script must hear of it where it
/// can't.
fn print(text: &str) -> Result<(), Failed> {
    paint::print(text)
        .map_err(|error| Failed::one(format!("standard output can't be written: {error}")))
}

impl From<Mistakes> for Failed {
    fn from(mistakes: Mistakes) -> Self {
        Self(mistakes.iter().map(ToString::to_string).collect())
    }
}

const STYLES: Styles =
    Styles::styled().header(HEAD).usage(HEAD).literal(NAME).placeholder(paint::FAINT).error(BAD);

/// Mints, checks and narrows the upload tokens of a Python package index:
/// trusted publishing (PEP 807) as a gRPC service.
///
/// To see the whole story on this machine, run `mintage demo`.
#[derive(Parser)]
#[command(
    name = "mintage",
    version,
    styles = STYLES,
    max_term_width = 92,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 not done (each reason is one line), 2 a wrong command line."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service.
    ///
    /// Reads the configuration and the keyring, reports everything that is wrong
    /// with them at once, and serves until it is told to stop (SIGTERM, Ctrl-C).
    Serve(ConfigFile),
    /// Check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make master keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look at an upload token, or narrow it. Needs no service and no key.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Ask a running service whether it answers as it should.
    ///
    /// Its health, and then, with a caller's proof, what an index would ask for: a
    /// token for a user of a name that no index has, good for a minute, which is
    /// verified for its project, denied for another, and revoked where the caller
    /// may. Fails if any answer isn't the right one; shows no token.
    Smoke(Box<smoke::Smoke>),
    /// Show the whole story on this machine: a CI job publishes to an index.
    ///
    /// Runs the real service beside a small OIDC issuer of its own, on loopback
    /// and in a folder that is thrown away, and shows step by step what a CI job
    /// and an index see. Fails if any step doesn't go as told.
    Demo,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Read the configuration and the keyring as `serve` would, and say what is
    /// wrong with them.
    Check(ConfigFile),
}

#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration, in TOML. Every value in it can also come from the
    /// environment, as `MINTAGE__LISTEN` or `MINTAGE__INDEXES__PYPI__LIFETIME`.
    #[arg(long = "config", value_name = "FILE")]
    path: PathBuf,
}

impl ConfigFile {
    fn source(&self) -> Source {
        // A variable that isn't UTF-8 is no value of ours; `std::env::vars` would panic.
        let environment = std::env::vars_os()
            .filter_map(|(name, text)| name.into_string().ok().zip(text.into_string().ok()));
        Source::new(self.path.clone(), environment)
    }
}

impl Command {
    fn run(self) -> Result<(), Failed> {
        match self {
            Self::Serve(file) => serve(&file),
            Self::Config(ConfigCommand::Check(file)) => {
                let (config, keyring) = file.source().load()?;
                print(&check::report(&file.path, &config, &keyring))
            }
            Self::Keys(command) => command.run(),
            Self::Token(command) => command.run(),
            Self::Smoke(command) => command.run(),
            Self::Demo => {
                demo::run().map_err(|failed| Failed::one(format!("the demo failed: {failed}")))
            }
        }
    }
}

fn serve(file: &ConfigFile) -> Result<(), Failed> {
    let source = file.source();
    let (config, keyring) = source.load()?;
    let _log = telemetry::start(&config.log).map_err(|error| Failed::one(error.to_string()))?;
    app::run(&config, keyring, source).map_err(|failed| Failed::one(failed.to_string()))
}
