//! The `mintage` command.

fn main() {}
