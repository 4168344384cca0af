//! Compiles `proto/` with protox, so that no machine needs a protoc.

use std::{env, error::Error, path::PathBuf};

const PROTO_FILES: &[&str] = &["mintage/v1/token_service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTO_FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .file_descriptor_set_path(out.join("mintage.bin"))
        .compile_fds(descriptors)?;
    Ok(())
}
