//! `cargo bench`: what the kernel's steps cost, with the bare limits beside them,
//! measured in the same run on the same core.
//!
//! It fails where a step doesn't do what it is measured for. The times themselves
//! decide nothing: on a shared machine they come and go, by half and more. So two
//! versions are compared by running their binaries (`target/release/deps/kernel-*
//! --bench`) by turns, several times, and only where the bare limits agree;
//! allocations are the same in every run.

#[path = "../shared/claims.rs"]
mod claims;
mod fixture;
mod harness;
mod id_tokens;
mod mints;
#[path = "../shared/paper.rs"]
mod paper;
mod table;
mod tokens;

use std::{error::Error, process::ExitCode};

use fixture::Fixture;
use harness::Effort;

/// How many projects.
const SIZES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for a person")]
fn main() -> ExitCode {
    match figures(Effort::asked()) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            eprintln!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn figures(effort: Effort) -> Result<String, Box<dyn Error>> {
    let fixture = Fixture::new()?;
    let id_tokens = id_tokens::rows(&fixture, effort)?;
    let mints = mints::rows(&fixture, effort)?;
    let tokens = tokens::rows(&fixture, effort)?;
    Ok(match effort {
        Effort::Once => "every operation holds; `cargo bench` measures them".to_owned(),
        Effort::Measured => [
            "\nOne ID token: 31 claims, RS256\n\n".to_owned(),
            table::at_one_size("operation", &id_tokens),
            "\nMinting for a publisher with so many projects, at most 50 ids in the token\n\n"
                .to_owned(),
            table::by_size("projects", &SIZES, &mints),
            "\nUpload tokens with so many project ids of 8 characters in them (–: more than the \
             16 KiB of a token's text)\n\n"
                .to_owned(),
            table::by_size("projects", &SIZES, &tokens),
        ]
        .concat(),
    })
}
