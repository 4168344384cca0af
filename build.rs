//! Compiles `proto/` with protox, so that no machine needs a protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTO_FILES: &[&str] = &["mintage/v1/token_service.proto"];

/// Messages that hold a token or a key: their `Debug` is in `src/grpc/redacted.rs`.
const SECRET_MESSAGES: &[&str] = &[
    ".mintage.v1.TrustedPublishing",
    ".mintage.v1.MintResponse",
    ".mintage.v1.UploadToken",
    ".mintage.v1.KeptToken",
    ".mintage.v1.AttenuateRequest",
    ".mintage.v1.AttenuateResponse",
    ".mintage.v1.RevokeRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTO_FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Server reflection answers from it.
    fs::write(out.join("mintage.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().skip_debug(SECRET_MESSAGES).compile_fds(descriptors)?;
    Ok(())
}
