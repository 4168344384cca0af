//! `make bench`, its second part: the release server over loopback, with the bare
//! limits beside it, measured in the same run.
//!
//! What counts is the processor time that the server process has for one call; a
//! shared machine gives no steady times otherwise. Each figure stands beside what
//! no such service can do without: a tonic echo of messages of the same sizes, an
//! RSA-2048 verify, an EVALSHA. They take turns, so that noise hits them alike.
//!
//! It fails where a call doesn't do what it is measured for. The figures decide
//! nothing; one over its bound is marked, and a person looks why.

mod child;
#[path = "../shared/claims.rs"]
mod claims;
#[path = "../../tests/support/issuer.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "the tests' issuer, of which a part is used here"
)]
mod issuer;
mod load;
#[path = "../shared/paper.rs"]
mod paper;
mod plan;
mod redis_server;
mod report;
mod roles;
mod rounds;
mod scene;

use std::{error::Error, process::ExitCode};

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why there are no figures.
type Failure = Box<dyn Error + Send + Sync>;

/// The argument after which the name of a role comes.
const ROLE: &str = "--role";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for a person")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [ROLE, name, rest @ ..] => roles::play(name, rest.first().copied()).map(|()| String::new()),
        others => plan::figures(plan::Effort::asked(others)),
    };
    match done {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
