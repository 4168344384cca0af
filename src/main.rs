//! The `mintage` command.

use std::process::ExitCode;

/// Its heap is steadier than the system's under many small, short requests.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mintage::cli::run()
}
